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
