"""Every wrong suite and every misused option: one line (what, the value, what to do), the exit code, no traceback."""

import os
from pathlib import Path

import pandas as pd
import pytest

from harness.cli import main
from harness.cli.verbs.doctor import system_findings

FIELDS = 'dataset="digits", model="mlp-16", norm=["batch", "none"], lr=0.1, batch_size=100, seed=[0, 1], steps=5'


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Run a command in this process, in an empty folder; its exit code and what it says on standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        code = main(words)
        return code, capsys.readouterr().err

    run.folder = tmp_path
    return run


def write(folder, changes, name="wrong"):
    text = f'"""Q?"""\nfrom harness import Claim, Suite, log_grid\nsuite = Suite(**{{**dict({FIELDS}), {changes}}})\n'
    (folder / f"{name}.py").write_text(text, "utf-8")


def assert_refused(said, code, word):
    assert said[0] == code
    assert said[1].count("\n") == 1, said[1]
    assert said[1].startswith("harness: ")
    assert word in said[1]
    assert "Traceback" not in said[1]


WRONG_SUITES = [  # changes, exit code, what the line says
    ('"nrom": "batch"', 2, "did you mean 'norm'"),
    ('"batch_size": 1', 2, "norm_batch 1"),
    ('"lr": 0', 2, "lr must be positive and finite, got 0.0"),
    ('"lr": -0.1', 2, "got -0.1"),
    ('"lr": float("nan")', 2, "got nan"),
    ('"lr": 1e400', 2, "got inf"),
    ('"lr": [0.1, 1e-1]', 2, "0.1 twice"),
    ('"lr": []', 2, "'lr' is empty"),
    ('"epochs": 2', 2, "either steps or epochs"),
    ('"steps": None', 2, "either steps or epochs"),
    ('"norm": True', 2, "norm must be str, got True"),
    ('"seed": "a"', 2, "seed must be int, got 'a'"),
    ('"seed": -1', 2, "seed must be zero or more"),
    ('"seed": True', 2, "seed must be int, got True"),
    ('"nesterov": True', 2, "needs momentum > 0"),
    ('"compare": "nrm"', 2, "did you mean 'norm'"),
    ('"target_accuracy": 95', 2, "fraction above 0 and at most 1, got 95"),
    ('"only_if": 3', 2, "only_if must be a function"),
    ('"save_models": "best"', 2, "save_models must be True or False, got 'best'"),
    ('"only_if": lambda trial: trial.nrm', 2, "only_if failed"),
    ('"only_if": lambda trial: False', 2, "no trial"),
    ('"model": [lambda: 3, lambda: 4]', 2, "got 'lambda' twice; give it a name: write `def`"),
    ('"dataset": "missing.npz"', 2, "no file missing.npz"),
    ('"source": "x"', 2, "leave it out"),
    ('"target_accuracy": "high"', 2, "fraction above 0 and at most 1, got 'high'"),
    ('"target_accuracy": True', 2, "fraction above 0 and at most 1, got True"),
    ('"compare": 1', 2, "unknown field '1'"),
    ('"seed": __import__("itertools").count()', 2, "axis 'seed' has more than 100000 values"),
    ('"also": {"lr": 0.2}', 2, "also must be a list of dictionaries"),
    ('"also": 1', 2, "also must be a list of dictionaries"),
    ('"claims": ["x"]', 2, "Claim.better"),
    ('"claims": 1', 2, "claims must be made by Claim.better"),
    ('"claims": [Claim.better("bach", than="none")]', 2, "did you mean 'batch'"),
    ('"claims": [Claim.better("batch", than="batch")]', 2, "two arms"),
    ('"claims": [Claim.better("batch", than="none", lrr=0.1)]', 2, "claim 1 (better)"),
    ('"claims": [Claim.wider_lr_range("batch", than="none")]', 2, "target_accuracy"),
    ('"claims": [Claim.equivalent("batch", to="none", within=0.0)]', 2, "margin above 0"),
    ('"lr": log_grid(1, 0.1, per_decade=3)', 2, "log_grid needs"),
]

FOR_THE_PREFLIGHT = [  # what only torch knows
    ('"norm": "btach"', 2, "did you mean 'batch'"),
    ('"model": "mlpp-16"', 2, "did you mean 'mlp'"),
    ('"model": "mlp-16x"', 2, "mlp-64x8"),
    ('"dataset": "digitz"', 2, "did you mean 'digits'"),
    ('"batch_size": 5000', 2, "at most the 987 training examples"),
    ('"optimizer": "adm"', 2, "did you mean 'adam'"),
    ('"optimizer": "adamw", "momentum": 0.9', 2, "momentum is of sgd"),
    ('"schedule": "cos"', 2, "did you mean 'cosine'"),
    ('"init": "heh"', 2, "did you mean 'he'"),
    ('"activation": "rel"', 2, "did you mean 'relu'"),
    ('"probes": ["weights", "gradiens"]', 2, "did you mean 'gradients'"),
    ('"norm": "instance"', 2, "pixels"),
    ('"norm": "group", "norm_groups": 3', 2, "must divide"),
    ('"device": "gpu"', 2, "unknown device 'gpu'"),
    ('"device": "cuda:77"', 4, "not on this machine"),
]


@pytest.mark.parametrize(("changes", "code", "word"), WRONG_SUITES)
def test_a_wrong_suite_is_refused_in_one_line_before_any_process_is_started(command, changes, code, word, monkeypatch):
    monkeypatch.setattr("harness.execution.executors.scheduler.pool_of", lambda *_: pytest.fail("a worker was started"))
    write(command.folder, changes)
    assert_refused(command("run", "wrong"), code, word)
    assert not list(command.folder.glob("results/*/*")), "something was written"


@pytest.mark.parametrize(("changes", "code", "word"), FOR_THE_PREFLIGHT)
def test_what_only_torch_knows_is_refused_before_anything_is_trained(command, changes, code, word):
    write(command.folder, changes)
    assert_refused(command("run", "wrong", "--executor", "in-process"), code, word)
    assert not list(command.folder.glob("results/*/records/*"))


@pytest.mark.parametrize(
    ("words", "code", "word"),
    [
        ((), 2, "say what to do"),
        (("rn", "right"), 2, "did you mean 'run'"),
        (("run",), 2, "required: SUITE"),
        (("run", "nowhere"), 2, "no suite file nowhere.py; suites in ./: right"),
        (("run", "."), 2, "all stands for all suites in that folder"),
        (("run", "right", "extra"), 2, "extra"),
        (("run", "right", "--bogus"), 2, "--bogus"),
        (("run", "right", "--workers", "0"), 2, "--workers must be auto or a number"),
        (("run", "right", "--workers", "many"), 2, "got 'many'"),
        (("run", "right", "--device", "cudda"), 2, "unknown device 'cudda'"),
        (("run", "right", "--device", "cuda:77"), 4, "not on this machine"),
        (("run", "right", "--executor", "slurm"), 2, "needs --workers N"),
        (("run", "right", "--executor", "kubernetes"), 2, "choose from 'local', 'in-process'"),
        (("run", "right", "--retry", "ok"), 2, "got 'ok'"),
        (("run", "right", "--time-budget", "soon"), 2, "got 'soon'"),
        (("run", "right", "--time-budget", "0s"), 2, "got '0s'"),
        (("run", "right", "--progress", "loud"), 2, "invalid choice"),
        (("run", "right", "--only", "norm"), 2, "AXIS=VALUE"),
        (("run", "right", "--only", "nrm=batch"), 2, "did you mean 'norm'"),
        (("run", "right", "--only", "lr=high"), 2, "can't be 'high'"),
        (("run", "right", "--only", "norm=bath"), 2, "--only norm=bath: no trial has it; did you mean batch?"),
        (("run", "right", "--only", "key=zz"), 2, "--only key=zz: no trial has it"),
        (("run", "right", "--results", "right.py"), 4, "can't write results"),
        (("run", "right", "--results", "/proc/nowhere"), 4, "can't write results"),
        (("plan", "right", "--only", "norm=batch,layer"), 2, "--only norm=layer: no trial has it"),
        (("plan", "nowhere"), 2, "no suite file"),
        (("status", "nowhere"), 2, "no suite file"),
        (("status", "right"), 2, "make some with: python -m harness run right.py"),
        (("report", "right"), 2, "make some with"),
        (("report",), 2, "required"),
        (("show", "zz"), 2, "16 hex digits"),
        (("show", "../../etc/passwd"), 2, "16 hex digits"),
        (("show", "abc"), 2, "no trial in results"),
        (("doctor", "now"), 2, "now"),
        (("merge", "nowhere"), 2, "no folder nowhere"),
        (("merge", "."), 2, "no results in ."),
        *(
            (("merge", ".", "--recheck", amount), 2, "--recheck must be a share")
            for amount in ("0", "0%", "101%", "x", "2%%", "%")
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value)[:12],
)
def test_a_misused_option_is_refused_in_one_line(command, words, code, word):
    write(command.folder, "", name="right")
    assert_refused(command(*words), code, word)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (b"suite = (", ":1:"),
        (b"x = 1", "declares no suite"),
        (b"suite = 3", "declares no suite"),
        (b"import nowhere_to_be_found", "nowhere_to_be_found"),
        (b"1 / 0", ":1: ZeroDivisionError"),
        (b"\xff\xfe\x00", "wrong.py"),
        (b"x = '\x00'", "wrong.py"),
        (b"", "declares no suite"),
        (b"raise SystemExit(7)", "SystemExit"),
        (b"class Odd(BaseException): pass\nraise Odd('no error')", ":2: Odd: no error"),
        (
            b"class Mute(Exception):\n    def __str__(self): return 1 / 0\nraise Mute()",
            ":3: Mute: (its text can't be made)",
        ),
        (b"class Mute:\n    def __repr__(self): return 1 / 0\n{}[Mute()]", ":3: KeyError: (its text can't be made)"),
    ],
    ids=str,
)
def test_a_file_that_is_no_suite_is_refused_in_one_line(command, text, word):
    (command.folder / "wrong.py").write_bytes(text)
    assert_refused(command("run", "wrong"), 2, word)


@pytest.mark.parametrize(
    ("own", "word"),
    [
        ("def net(): raise ValueError('no such size')", "model 'net' with norm 'none' can't be trained: ValueError"),
        ("def data(): return torch.rand(60, 2).numpy(), numpy.arange(60) % 3", "dataset 'data' is not deterministic"),
        (
            "def data(): return numpy.ones((60, 2)), torch.randint(3, (60,)).numpy()",
            "dataset 'data' is not deterministic",
        ),
        ("def data(): sys.exit(3)", "dataset 'data' can't be loaded: SystemExit: 3"),
        ("def data(): raise Odd('x')", "dataset 'data' can't be loaded: Odd: x"),
        ("def data(): raise Mute", "dataset 'data' can't be loaded: Mute: (its text can't be made)"),
        ("def net(inputs, classes): raise Odd('x')", "model 'net' with norm 'none' can't be trained: Odd: x"),
        (
            "def net(inputs, classes): raise Mute",
            "model 'net' with norm 'none' can't be trained: Mute: (its text can't be made)",
        ),
        ("def net(inputs, classes, norm): sys.exit(3)", "model 'net' with norm 'none' can't be trained: SystemExit: 3"),
    ],
)
def test_code_of_the_suites_own_that_fails_or_draws_without_a_seed_is_named(command, own, word):
    name = own[4:].partition("(")[0]
    settings = {"net": "dataset='circles', model=net", "data": "dataset=data, model='mlp-8'"}[name]
    errors = "class Odd(BaseException): pass\nclass Mute(Exception):\n    def __str__(self): return 1 / 0\n"
    text = f"import numpy, sys, torch\nfrom harness import Suite\n{errors}{own}\n"
    text += f"suite = Suite({settings}, lr=0.1, batch_size=10, steps=1)\n"
    (command.folder / "wrong.py").write_text(text, "utf-8")
    assert_refused(command("run", "wrong", "--executor", "in-process"), 2, word)


@pytest.mark.parametrize("executor", ["local", "in-process"])
@pytest.mark.parametrize("error", ["Odd('x')", "Mute()", "Late()"])
def test_a_model_that_raises_what_can_not_be_told_is_a_crashed_trial(command, error, executor):
    text = f'''"""Q?"""
import torch
from harness import Suite

class Odd(BaseException): pass
class Mute(Exception):
    def __str__(self): return 1 / 0
class Late(RuntimeError):
    def __str__(self): raise Odd("x")

def net(inputs, classes):
    class Net(torch.nn.Linear):
        def forward(self, x):
            if len(x) == 20 and torch.is_grad_enabled():
                raise {error}
            return super().forward(x)
    return Net(*inputs, classes)

suite = Suite(dataset="circles", model=[net, "mlp-4"], lr=0.1, batch_size=20, steps=2)
'''
    (command.folder / "odd.py").write_text(text, "utf-8")
    code, err = command("run", "odd", "--progress", "none", "--executor", executor, "--workers", "1")
    assert code == 1, err
    assert f"crashed: {error.partition('(')[0]}: " in err
    assert "Traceback" not in err
    assert list(pd.read_csv("results/odd/trials.csv").sort_values("model")["status"] == "crashed") == [False, True]


def test_a_suite_whose_name_no_table_could_hold_is_refused_in_one_line(command):
    name = os.fsdecode(b"wr\xf6ng")
    write(command.folder, "", name=name)
    assert_refused(command("run", name), 2, "no text in UTF-8; rename it")


def test_doctor_says_that_a_file_is_no_place_for_results(command):
    (command.folder / "taken").touch()
    assert {what: found for what, found, _ in system_findings(Path("taken"))}["results"].endswith("can't be written")


def test_help_and_version_say_what_there_is(capsys):
    for words in (["--help"], ["run", "--help"], ["--version"]):
        with pytest.raises(SystemExit) as end:
            main(words)
        assert end.value.code == 0
        assert "harness" in capsys.readouterr().out
