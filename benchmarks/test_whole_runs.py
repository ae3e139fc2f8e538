"""What a user waits for: a suite from the command to its report, and the first result of a fresh install."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SUITE = "lr_sweep"
POLL = 0.02  # seconds


def seconds_of(words: list[str], environment: dict[str, str], records: Path | None = None) -> tuple[float, float]:
    """Seconds of a command of the harness, which must succeed, and those until the first record is there."""
    command = [sys.executable, "-m", "harness", *words]
    started = time.perf_counter()
    first = float("nan")
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            if records is not None and any(records.glob("*.json")):
                first, records = time.perf_counter() - started, None
            time.sleep(POLL)
    assert process.returncode == 0
    return time.perf_counter() - started, first


@pytest.mark.timeout(600)
def test_aim_8_a_whole_suite(tmp_path, row):
    # What an install keeps for the user, such as a compiled library, is not there yet.
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    results = tmp_path / "results"
    words = [f"suites/{SUITE}", "--results", str(results)]
    _, first = seconds_of(["run", *words], environment, results / SUITE / "records")
    row("8", "the first result of a fresh install, seconds", "<= 6", f"{first:.1f}")
    shutil.rmtree(results)
    whole, _ = seconds_of(["run", *words], environment)
    row("8", f"{SUITE} whole, from the command to its report, seconds", "<= 15", f"{whole:.1f}")
    (results / SUITE / "report" / "index.html").unlink()
    report, _ = seconds_of(["report", *words], environment)
    row("8", f"the report of {SUITE}, seconds", "<= 5", f"{report:.1f}")
