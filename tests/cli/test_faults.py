"""What nobody has foreseen: one line, exit code 70, and a log with the traceback; limits of the machine are named."""

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import harness
from harness.cli import main
from harness.cli.faults import report_fault
from harness.errors import RunAborted


class Mute(Exception):
    def __str__(self):
        raise ValueError("no text")


class Odd(BaseException):
    """No Exception."""


@pytest.mark.parametrize("error", [KeyError("suite.json"), Mute(), Odd("two\nlines \x1b[31m"), RecursionError("deep")])
def test_a_surprise_is_one_line_and_a_log(monkeypatch, capsys, tmp_path, error):
    def surprised(_):
        raise error

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("harness.cli.verbs.status.status", surprised)
    assert main(["status", "suites/circles"]) == 70
    said = capsys.readouterr().err
    assert said.startswith(f"harness: a fault of the harness: {type(error).__name__}")
    assert len(said.splitlines()) == 1
    assert "\x1b" not in said
    (log,) = tmp_path.iterdir()
    assert str(log) in said
    assert "in surprised" in log.read_text("utf-8")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ModuleNotFoundError("No module named 'pandas'", name="pandas"), 4, "package 'pandas' is not installed"),
        (MemoryError(), 4, "not enough memory"),
        (OSError(errno.EMFILE, "Too many open files", "x"), 4, "ulimit -n"),
        (RuntimeError("can't start new thread"), 4, "ulimit -u"),
        (ImportError("libtorch.so: failed to map segment from shared object"), 4, "not enough memory"),
        (RunAborted("stopped by SIGTERM", 75), 75, "stopped by SIGTERM"),
    ],
)
def test_a_limit_of_the_machine_is_named_with_what_to_do(capsys, error, code, said):
    assert report_fault(error) == code
    assert said in capsys.readouterr().err


def test_a_fault_that_can_not_even_be_logged_is_told(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    monkeypatch.setattr(Path, "cwd", lambda: tmp_path / "none")
    assert report_fault(KeyError("x")) == 70
    assert "a fault of the harness: KeyError: 'x'" in capsys.readouterr().err


def test_an_exit_that_argparse_asks_for_is_no_fault(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert "usage" in capsys.readouterr().out


LIMITED = [  # what stands before the command, options of Python, what the line says
    ("ulimit -n 10", "", "too many files are open; raise the limit (ulimit -n)"),
    ("ulimit -v 300000", "", "the limit of address space (ulimit -v) is 292 MiB"),
    ("ulimit -v 1300000", "", "the limit of address space (ulimit -v) is 1269 MiB"),
    ("true", "-S", "is not installed for"),
]


@pytest.mark.parametrize(("before", "option", "said"), LIMITED, ids=["files", "memory", "address space", "packages"])
def test_a_machine_that_lacks_something_is_told_so_in_one_line(tmp_path, before, option, said):
    (tmp_path / "s.py").write_text(
        '"""Q?"""\nfrom harness import Suite\n'
        'suite = Suite(dataset="circles", model="mlp-4", lr=0.1, batch_size=50, steps=2)\n',
        "utf-8",
    )
    command = f'{before} && exec "$0" {option} -m harness run s --workers 1'
    home = tmp_path / "home"  # of this package alone: what is installed beside it would be found there
    home.mkdir()
    (home / "harness").symlink_to(Path(harness.__file__).parent)
    variables = {**os.environ, "PYTHONPATH": str(home), "OPENBLAS_NUM_THREADS": "1"}
    ran = subprocess.run(
        ["bash", "-c", command, sys.executable],
        cwd=tmp_path,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 4, ran.stderr
    assert ran.stderr.startswith("harness: ")
    assert len(ran.stderr.splitlines()) == 1
    assert said in ran.stderr
