"""`verify`: whatever bit of a results folder changes is named, set aside where asked, and made again by a run."""

import json
import shutil

import pytest

from harness.cli import main
from harness.io import dump_checked_json
from tests.cli.conftest import TINY, CommandLine

SAVING = TINY.replace("seed=range(3)", "seed=range(1), save_models=True")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    line = CommandLine(tmp_path_factory.mktemp("saved"))
    line.suite(SAVING)
    ran = line("run", "tiny", "--progress", "none")
    assert ran.code == 0, ran.err
    return line


@pytest.fixture
def copy(saved, tmp_path):
    shutil.copytree(saved.folder, tmp_path / "copy")
    return CommandLine(tmp_path / "copy")


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_whole_results_are_whole(saved, capsys):
    assert main(["verify", str(saved.results)]) == 0
    assert capsys.readouterr().out == "22 files read, 0 damaged\n"


KINDS = ["suite.json", "records/*.json", "trials.csv", "curves.parquet", "telemetry.csv", "models/*.best"]


@pytest.mark.parametrize("pattern", KINDS)
def test_a_changed_bit_is_named_set_aside_and_made_again(saved, copy, capsys, pattern):
    path = sorted((copy.results / "tiny").glob(pattern))[0]
    flip(path)
    damaged = path.read_bytes()
    assert main(["verify", str(copy.results)]) == 4
    out = capsys.readouterr().out
    assert str(path) in out
    assert "1 damaged" in out
    assert path.read_bytes() == damaged, "without --repair nothing is touched"
    assert main(["verify", str(copy.results / "tiny"), "--repair"]) == 0
    assert not path.exists()
    aside = copy.results / "tiny" / "damaged" / path.relative_to(copy.results / "tiny")
    assert aside.read_bytes() == damaged
    ran = copy("run", "tiny", "--progress", "none")
    assert ran.code == 0, ran.err
    assert copy.tables() == saved.tables()
    assert main(["verify", str(copy.results)]) == 0


def test_a_file_of_a_newer_version_is_named_and_stays(copy, capsys):
    path = sorted((copy.results / "tiny" / "records").iterdir())[0]
    content = json.loads(path.read_text("utf-8"))
    del content["sha256"]
    path.write_bytes(dump_checked_json({**content, "schema": 99}))
    before = path.read_bytes()
    assert main(["verify", str(copy.results), "--repair"]) == 4
    assert "a newer version has written it" in capsys.readouterr().out
    assert path.read_bytes() == before


def test_a_list_of_tables_by_a_stranger_names_no_file_outside(copy, tmp_path):
    outside = tmp_path / "outside.txt"
    outside.write_text("mine", "utf-8")
    cache = copy.results / "tiny" / ".merged"
    cache.write_bytes(dump_checked_json({"of": "", "tables": {str(outside): "0"}, "outcomes": {}}))
    main(["verify", str(copy.results), "--repair"])
    assert outside.read_text("utf-8") == "mine"


@pytest.mark.parametrize("executor", ["local", "in-process"])
def test_a_damaged_model_is_named_by_run_and_trained_again_to_the_same_bytes(saved, copy, executor):
    path = sorted((copy.results / "tiny" / "models").glob("*.best"))[1]
    whole, record = path.read_bytes(), copy.results / "tiny" / "records" / f"{path.stem}.json"
    known = record.read_bytes()
    assert copy("run", "tiny", "--progress", "none").err == ""
    flip(path)
    ran = copy("run", "tiny", "--progress", "none", "--executor", executor)
    assert ran.code == 0, ran.err
    assert f"{path.relative_to(copy.folder)} is damaged" in ran.err
    assert ran.err.endswith("it is trained again\n")
    assert path.read_bytes() == whole
    assert record.read_bytes() == known
    assert copy.tables() == saved.tables()
    assert copy("run", "tiny", "--progress", "none").err == ""
