"""Commands that train: their words, their outcomes, and how they fail."""

import sys

import pytest

from harness.errors import SuiteError
from harness.spec.own_training.command import Command
from harness.spec.own_training.own_trial import OwnTrial

TRIAL = OwnTrial(train="train", settings=(("lr", 0.5), ("name", "two words; echo")), seed=3)


def ran(tmp_path, program: str, words: str = "--lr {lr}") -> tuple[dict, list]:
    (tmp_path / "train.py").write_text(f"import json, sys\n{program}\n", "utf-8")
    logged: list = []
    made = Command(f"{sys.executable} train.py {words}", tmp_path)
    return made(TRIAL, lambda **numbers: logged.append(numbers), None), logged


def test_its_last_line_is_its_outcomes_and_lines_with_a_step_are_logged(tmp_path):
    program = 'print("begins")\nprint(json.dumps({"step": 1, "loss": 2}))\nprint(json.dumps({"words": sys.argv[1:]}))'
    outcomes, logged = ran(tmp_path, program, "--lr {lr} {seed} {name} {{}}")
    assert outcomes == {"words": ["--lr", "0.5", "3", "two words; echo", "{}"]}  # and no shell has read them
    assert logged == [{"step": 1, "loss": 2}]


def test_a_file_may_hold_its_outcomes(tmp_path):
    outcomes, _ = ran(tmp_path, 'json.dump({"acc": 1}, open(sys.argv[1], "w"))\nprint("done")', "{outcomes}")
    assert outcomes == {"acc": 1}


def test_it_is_named_after_its_program(tmp_path):
    (tmp_path / "train.py").touch()
    assert Command("python train.py", tmp_path).__name__ == "train"
    assert Command("./fit-it --lr 1", tmp_path).__name__ == "command"
    assert Command("/opt/bin/fit", tmp_path).__name__ == "fit"


@pytest.mark.parametrize(
    ("program", "error", "says"),
    [
        ("print('done')", SuiteError, "train must write a JSON object to {outcomes}, or print one as its last line"),
        ("print([1])", SuiteError, "train must write a JSON object"),
        ("sys.exit('no such data')", RuntimeError, "exit code 1: no such data"),
    ],
)
def test_what_went_wrong_is_said(tmp_path, program, error, says):
    with pytest.raises(error, match=says):
        ran(tmp_path, program)


def test_a_program_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SuiteError, match=r"'./train' can't be run in .*No such file"):
        Command("./train", tmp_path)(TRIAL, print, None)


@pytest.mark.parametrize("text", ["", "a 'b", 3, None])
def test_what_is_no_command_is_refused(tmp_path, text):
    with pytest.raises(SuiteError, match="command needs the text of a command"):
        Command(text, tmp_path)


def test_python_is_the_one_that_runs_the_harness_wherever_that_lies(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "train.py").write_text("import json, sys\nprint(json.dumps({'python': sys.prefix}))", "utf-8")
    assert Command("python train.py", tmp_path)(TRIAL, print, None) == {"python": sys.prefix}


@pytest.mark.parametrize("words", ["python fits/train.py --lr {lr}", "python -m fits.train --lr {lr}"])
def test_what_a_python_program_imports_from_its_folder_is_part_of_it(tmp_path, words):
    home = tmp_path / "fits" if "train.py" in words else tmp_path
    (tmp_path / "fits").mkdir()
    (tmp_path / "fits/train.py").write_text("import json, first\nfrom nets.small import net\n", "utf-8")
    (home / "nets").mkdir()
    for name in ("first.py", "second.py", "third.py", "nets/__init__.py", "nets/small.py", "nets/large.py"):
        (home / name).write_text("import second\n" if name == "first.py" else "", "utf-8")
    before = Command(words, tmp_path).file_parts()
    where = home.relative_to(tmp_path)
    names = ("first.py", "second.py", "nets/__init__.py", "nets/small.py", "nets/large.py")
    assert before.keys() == {"fits/train.py", *((where / name).as_posix() for name in names)}
    (home / "second.py").write_text("x = 1\n", "utf-8")
    after = Command(words, tmp_path).file_parts()
    assert {name for name in before if after[name] != before[name]} == {(where / "second.py").as_posix()}
