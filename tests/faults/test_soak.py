"""Run after run in one process, each with a fault: it keeps no files, no memory, no descriptors and no threads."""

import json
import os
import random
import subprocess
import sys

import pytest

from tests.cli.conftest import TINY, CommandLine

pytestmark = pytest.mark.faults
SECONDS = float(os.environ.get("HARNESS_SOAK_SECONDS", "0"))
SCRIPT = """
import json, os, random, resource, shutil, sys, tempfile, threading, time
from pathlib import Path
from harness.cli import main
from harness.fault_injection import arm

seconds, least, seed = float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
rng, begun, number = random.Random(seed), time.monotonic(), 0
stdout = os.dup(1)
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
os.dup2(1, 2)
while number < least or time.monotonic() - begun < seconds:
    number += 1
    place = rng.choice(["storage", "storage", "step", "read"])
    kind = rng.choice(["eio", "enospc", "oom", "sigterm"] if place != "read" else ["eio", "oom"])
    os.environ.update(HARNESS_FAULT=f"{kind}@{place}:{rng.randint(1, 60)}", HARNESS_FAULT_FILE="counts")
    # In one process no other one confirms a failure, so it is recorded.
    words = ["run", "tiny", "--executor", "in-process", "--progress", "none", "--retry", "oom,crashed"]
    codes = [main(words)]
    del os.environ["HARNESS_FAULT"]
    arm()  # which closes the file of the counts
    while codes[-1] != 0 and len(codes) < 5:
        codes.append(main(words))
    files = sum(path.is_file() for path in Path("results").rglob("*") if path.parent.name != "logs")
    shutil.rmtree("results")
    Path("counts").unlink()
    known = {
        "codes": codes,
        "files": files,
        "temporary": len(os.listdir(tempfile.gettempdir())),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "kilobytes": int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024,
    }
    os.write(stdout, (json.dumps(known) + "\\n").encode())
"""


def soak(folder, seconds: float, least: int) -> list[dict]:
    """What is known of the process after each run."""
    seed = random.randrange(10**6)
    print(f"seed of the soak: {seed}")
    line = CommandLine(folder)
    line.suite(TINY.replace("0.03, 0.3, 1e30", "0.3"))
    (folder / "temporary").mkdir()
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(seconds), str(least), str(seed)],
        cwd=folder,
        env={**os.environ, "TMPDIR": str(folder / "temporary"), "MPLBACKEND": "agg"},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert ran.returncode == 0
    return [json.loads(row) for row in ran.stdout.splitlines()]


def assert_nothing_grows(rows: list[dict]) -> None:
    assert {row["codes"][-1] for row in rows} == {0}
    assert len({row["files"] for row in rows}) == 1, "a fault leaves files behind"
    warm = rows[len(rows) // 3 :]
    for name in ("temporary", "descriptors", "threads"):
        assert warm[-1][name] <= warm[0][name], f"{name}: {[row[name] for row in rows]}"


def test_faults_leave_no_files_descriptors_or_threads(tmp_path):
    assert_nothing_grows(soak(tmp_path, 0.0, 4))


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_memory_does_not_grow_over_many_runs(tmp_path):
    rows = soak(tmp_path, SECONDS, 30)
    assert_nothing_grows(rows)
    third = len(rows) // 3
    before, after = (max(row["kilobytes"] for row in part) for part in (rows[third : 2 * third], rows[2 * third :]))
    print(f"{len(rows)} runs; {before} kB at most in the second third of them, {after} kB in the last")
    assert after < 1.1 * before
