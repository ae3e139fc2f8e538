"""What is removed while a run is at work, or is no folder where one should be: one line, and the same results later."""

import os
import shutil
from pathlib import Path

import pytest

from harness.cli import main
from harness.execution.executors import in_process
from harness.execution.messages import Finished
from tests.cli.conftest import TINY, CommandLine

SMALL = TINY.replace("seed=range(3)", "seed=range(2)").replace("steps=12", "steps=4")
RUN = ("run", "tiny", "--progress", "none", "--executor", "in-process")
CODES = {0, 1, 2, 4}
REMOVED = {
    "the results": lambda folder: shutil.rmtree(folder.parent),
    "the folder of the suite": shutil.rmtree,
    "suite.json": lambda folder: (folder / "suite.json").unlink(),
    "records": lambda folder: shutil.rmtree(folder / "records"),
    "a record": lambda folder: sorted((folder / "records").iterdir())[0].unlink(),
}


@pytest.fixture
def line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = CommandLine(tmp_path)
    line.suite(SMALL)
    return line


@pytest.fixture(scope="module")
def right(tmp_path_factory):
    """The tables of a run in which nothing was removed."""
    line = CommandLine(tmp_path_factory.mktemp("right"))
    line.suite(SMALL)
    ran = line(*RUN)
    assert ran.code == 0, ran.err
    return line


def remove_after_first_cohort(monkeypatch, remove):
    done = []

    def follow_up(request, message, right=in_process.follow_up):
        answer = right(request, message)
        if isinstance(message, Finished) and not done:
            done.append(remove(request.root))
        return answer

    monkeypatch.setattr(in_process, "follow_up", follow_up)


@pytest.mark.parametrize("what", REMOVED)
def test_what_is_removed_in_mid_run_is_told_and_made_again(line, right, monkeypatch, capsys, what):
    with monkeypatch.context() as patch:
        remove_after_first_cohort(patch, REMOVED[what])
        code = main(RUN)
    said = capsys.readouterr()
    assert code in CODES, said.err
    assert "Traceback" not in said.err
    assert len(said.err.splitlines()) <= 1
    is_lost = what != "suite.json"
    assert code == (1 if is_lost else 0)
    if is_lost:
        assert "interrupted; the report is" in said.out
        assert "try again with: python -m harness run tiny.py" in said.out.splitlines()[-1]
    assert main(RUN) == 0
    assert line.tables() == right.tables()


PLACES = ("records", "checkpoints", "models", "logs", "report", "data")


def a_file(path: Path) -> None:
    path.write_text("no folder", "utf-8")


def a_loop(path: Path) -> None:
    path.symlink_to(path.name)


@pytest.mark.parametrize("kind", [a_file, os.mkfifo, a_loop], ids=["file", "pipe", "loop"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.timeout(120)
def test_what_is_no_folder_is_told_in_one_line(right, line, capsys, place, kind):
    shutil.copytree(right.results, line.results)
    folder = line.results / "tiny"
    key = sorted((folder / "records").iterdir())[0].stem
    if (folder / place).exists():
        shutil.rmtree(folder / place)
    kind(folder / place)
    verbs = [("status", "tiny"), ("report", "tiny"), ("show", key), ("verify", "results"), ("plan", "tiny"), RUN]
    for words in verbs:
        code = main(words)
        said = capsys.readouterr()
        assert code in CODES, (words, said.err)
        assert len(said.err.splitlines()) <= 1, (words, said.err)
        assert "fault of the harness" not in said.err, (words, said.err)
    if place in ("records", "checkpoints", "models"):
        assert main(("verify", "results")) == 4
        assert main(("verify", "results", "--repair")) == 0
        assert main(RUN) == 0
        assert line.tables() == right.tables()
