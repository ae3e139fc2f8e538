"""The real command line on tiny suites."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.fault_injection import FILE_VARIABLE, VARIABLE, count_operations

TINY = '''"""Is a tiny suite enough to try the command line?"""

from harness import Claim, Suite

suite = Suite(
    dataset="digits", model="mlp-16", norm=["batch", "none"], lr=[0.03, 0.3, 1e30], batch_size=100, seed=range(3),
    steps=12, target_accuracy=0.5, claims=[Claim.better("batch", than="none", lr=0.3)],
)
'''


@dataclass(frozen=True)
class Ran:
    """What a command came to."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class CommandLine:
    """The program, in a folder of its own."""

    folder: Path

    @property
    def results(self) -> Path:
        return self.folder / "results"

    def start(self, *words: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "harness", *words]
        # Without this, what Ctrl-C does to the tests' own group would be tried on the tests.
        return subprocess.Popen(
            command, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )

    def __call__(self, *words: str) -> Ran:
        process = self.start(*words)
        out, err = process.communicate(timeout=240)
        return Ran(process.returncode, out, err)

    def suite(self, text: str = TINY, name: str = "tiny") -> Path:
        (self.folder / f"{name}.py").write_text(text, "utf-8")
        return self.folder / f"{name}.py"

    def tables(self, name: str = "tiny", results: str = "results") -> dict[str, bytes]:
        """The bytes that no interruption may change."""
        folder = self.folder / results / name
        return {table: (folder / table).read_bytes() for table in ("trials.csv", "curves.parquet")}


@pytest.fixture
def harness(tmp_path) -> CommandLine:
    return CommandLine(tmp_path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> CommandLine:
    """A tiny suite that has been run; tests read it and leave it as it is."""
    line = CommandLine(tmp_path_factory.mktemp("finished"))
    line.suite()
    ran = line("run", "tiny", "--progress", "none")
    assert ran.code == 0, ran.err
    return line


@pytest.fixture
def kill_all() -> Callable[[subprocess.Popen], None]:
    def kill(process: subprocess.Popen) -> None:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()

    return kill


@pytest.fixture
def whole_and_killed(tmp_path, monkeypatch) -> Callable[..., tuple[CommandLine, CommandLine]]:
    """Run a suite to its end, and in another folder until it is killed, at any operation from `after` on, and again."""

    def run_both(text: str, words: Sequence[str], after: float = 0.0) -> tuple[CommandLine, CommandLine]:
        whole, killed = CommandLine(tmp_path / "whole"), CommandLine(tmp_path / "killed")
        for line in (whole, killed):
            line.folder.mkdir()
            line.suite(text)
        counts = tmp_path / "counts"
        monkeypatch.setenv(FILE_VARIABLE, str(counts))
        monkeypatch.setenv(VARIABLE, "kill@storage:999999")
        assert whole(*words).code == 0
        operations = count_operations(counts.read_text(), "storage")
        counts.unlink()
        monkeypatch.setenv(VARIABLE, f"kill@storage:{random.randint(max(1, int(operations * after)), operations - 1)}")
        assert killed(*words).code == -9
        monkeypatch.delenv(VARIABLE)
        assert killed(*words).code == 0
        return whole, killed

    return run_both
