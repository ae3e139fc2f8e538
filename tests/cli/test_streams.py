"""Where the program is started: closed streams, terminals that go away, encodings that can't hold the text."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from harness.cli.summary import print_summary

PRINT = "from harness.cli.streams import prepare_streams; prepare_streams(); "


def python(code, redirections="", **environment):
    command = ["bash", "-c", f'exec "$0" -c "$1" {redirections}', sys.executable, code]
    return subprocess.run(command, capture_output=True, check=False, env={**os.environ, **environment})


@pytest.mark.parametrize("redirections", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed_can_be_written_to_and_no_file_takes_their_numbers(redirections, tmp_path):
    file = tmp_path / "file"
    code = (
        f"{PRINT}import sys; f = open({str(file)!r}, 'w'); print('out'); print('err', file=sys.stderr); "
        "sys.stdout.isatty(); f.write(str(f.fileno() > 2))"
    )
    assert python(code, redirections).returncode == 0
    assert file.read_text() == "True"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_what_is_not_ascii_is_escaped_where_the_encoding_is_not_utf_8(encoding):
    ran = python(f"{PRINT}print('x \\u2265 3'); print('\\udcff \\u00f6')", PYTHONIOENCODING=encoding)
    assert ran.stdout.decode("ascii") == "x \\u2265 3\n\\udcff \\xf6\n", ran.stderr


def test_a_terminal_that_is_gone_ends_nothing(tmp_path):
    ours, theirs = os.openpty()
    code = f"{PRINT}import sys; sys.stdin.readline(); print('lost', flush=True); open('went on', 'w')"
    started = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=theirs, stderr=theirs, cwd=tmp_path
    )
    os.close(theirs)
    os.close(ours)
    started.communicate(b"\n", timeout=60)
    assert (started.returncode, (tmp_path / "went on").exists()) == (0, True)


def test_a_line_break_in_a_path_is_escaped(capsys):
    trials = pd.DataFrame({"status": ["ok"], "key": ["k"]})
    result = SimpleNamespace(suite=SimpleNamespace(path=Path("s.py")), trials=trials, report="two\nlines", verdicts=[])
    assert print_summary(result, SimpleNamespace(suites=["s.py"], given={}), None) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_what_a_suite_and_its_children_print_does_not_get_into_output_for_programs():
    code = (
        f"{PRINT}import os; from harness.cli.streams import stdout_to_stderr\n"
        "with stdout_to_stderr(): print('suite'); os.system('echo child')\n"
        "print('[]')"
    )
    ran = python(code)
    assert (ran.stdout, sorted(ran.stderr.split())) == (b"[]\n", [b"child", b"suite"])
