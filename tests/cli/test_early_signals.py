"""A signal that comes while the program still loads its modules ends it as a stopped run ends: in one line."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(("number", "code", "name"), [(1, 75, "SIGHUP"), (2, 130, "Ctrl-C"), (15, 75, "SIGTERM")])
@pytest.mark.parametrize("module", ["harness.cli", "harness.cli.options", "harness.cli.verbs.run", "pandas"])
def test_a_signal_while_modules_are_loaded_is_one_line(tmp_path, module, number, code, name):
    (tmp_path / "tiny.py").write_text("from harness import Suite\nsuite = Suite()", "utf-8")
    program = f"""
import os, sys
from importlib.abc import MetaPathFinder
from harness.__main__ import run_and_exit

class Interrupting(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), {number})

sys.meta_path.insert(0, Interrupting())
sys.argv = ["harness", "run", "tiny"]
run_and_exit()
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert ran.returncode == code, ran.stderr
    assert ran.stderr.startswith(f"harness: stopped by {name}")
    assert len(ran.stderr.splitlines()) == 1
