"""Trials on several ranks through the real command line: what becomes of them when ranks are killed."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from harness.storage.records import ResultsDir, read_record
from tests.support.processes import wait_for

TWO_RANKS = '''"""Does a tiny suite train on two ranks?"""

from harness import Suite

suite = Suite(
    dataset="digits", model="mlp-16", norm=["batch", "sync_batch"], lr=0.1, batch_size=100, seed=range(2), steps=200,
    eval_every=10, world_size=2,
)
'''


def processes() -> dict[int, tuple[int, str, str]]:
    """Every process: its parent, its state, its command."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent, state = (folder / "stat").read_text().rpartition(")")[2].split()[1::-1]
            found[int(folder.name)] = int(parent), state, (folder / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue  # it has just ended
    return found


def children(pid: int) -> dict[int, tuple[str, str]]:
    """State and command of all that came from a process."""
    everything, family, found = processes(), {pid}, {}
    for _ in range(4):
        family |= {child for child, (parent, *_) in everything.items() if parent in family}
    for child in family - {pid}:
        found[child] = everything[child][1:]
    return found


def ranks_of(pid: int) -> list[int]:
    return sorted(
        child
        for child, (_, command) in children(pid).items()
        if "execution.rank_worker" in command and "launch" not in command
    )


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The tables of a run in peace."""
    from tests.cli.conftest import CommandLine

    line = CommandLine(tmp_path_factory.mktemp("undisturbed"))
    line.suite(TWO_RANKS)
    ran = line("run", "tiny", "--progress", "none")
    assert ran.code == 0, ran.err
    return line.tables()


def disturb(harness, seed, number=signal.SIGKILL):
    """Run the suite, and send a rank a signal at a random moment; what the run came to."""
    harness.suite(TWO_RANKS)
    rng = random.Random(seed)
    process = harness.start("run", "tiny", "--progress", "none")
    ranks = wait_for(lambda: len(found := ranks_of(process.pid)) == 2 and found)
    if rng.random() < 0.8:  # in training
        wait_for(
            lambda: (
                any((harness.results / "tiny").glob("checkpoints/*"))
                or any((harness.results / "tiny").glob("records/*"))
            )
        )
    time.sleep(rng.random())
    with suppress(ProcessLookupError):  # the run was sooner
        os.kill(rng.choice(ranks), number)
    out, err = process.communicate(timeout=240)
    return process.returncode, out, err, ranks


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 20))])
def test_a_rank_killed_at_any_moment_changes_nothing_in_the_end(harness, undisturbed, seed):
    code, _, err, ranks = disturb(harness, seed)
    assert code == 0, err
    assert harness.tables() == undisturbed
    assert not ranks_of(os.getpid())
    assert not any(rank in processes() for rank in ranks), "a rank is left, if only as a zombie"


@pytest.mark.slow
def test_ranks_are_gone_when_their_supervisor_is_killed_and_the_same_command_goes_on(harness, undisturbed):
    harness.suite(TWO_RANKS)
    process = harness.start("run", "tiny", "--progress", "none")
    ranks = wait_for(lambda: len(found := ranks_of(process.pid)) == 2 and found)
    process.kill()
    process.communicate()
    wait_for(lambda: not any(processes().get(rank, (0, "Z", ""))[1] != "Z" for rank in ranks), 10)
    ran = harness("run", "tiny", "--progress", "none")
    assert ran.code == 0, ran.err
    assert harness.tables() == undisturbed


@pytest.mark.slow
def test_a_stopped_run_is_saved_by_all_ranks_together_and_goes_on(harness, undisturbed):
    harness.suite(TWO_RANKS)
    process = harness.start("run", "tiny", "--progress", "none")
    wait_for(
        lambda: (
            any((harness.results / "tiny").glob("checkpoints/*")) or any((harness.results / "tiny").glob("records/*"))
        )
    )
    process.terminate()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75, err
    ran = harness("run", "tiny", "--progress", "none")
    assert ran.code == 0, ran.err
    assert harness.tables() == undisturbed


def test_a_model_that_raises_on_one_rank_crashes_its_trial_alone(harness):
    text = TWO_RANKS.replace(
        "from harness",
        """import os
from torch import nn

def fragile(inputs, classes):
    class Net(nn.Sequential):
        def forward(self, x):
            if self.training and os.environ.get("RANK") == "1":
                raise ValueError("this rank is out of sorts")
            return super().forward(x)
    return Net(nn.Flatten(), nn.Linear(64, classes))

from harness""",
        1,
    ).replace('model="mlp-16", norm=["batch", "sync_batch"]', 'model=[fragile, "mlp-16"]')
    harness.suite(text)
    ran = harness("run", "tiny", "--progress", "none")
    assert ran.code == 1, ran.err
    place = ResultsDir(harness.results / "tiny")
    records = [read_record(path) for path in place.records.iterdir()]
    assert sorted(record.outcome for record in records) == ["crashed", "crashed", "trained", "trained"]
    assert {record.error for record in records} == {"", "ValueError: this rank is out of sorts"}
    logs = [path.read_text() for path in place.logs.iterdir()]
    assert len(logs) == 4  # of both trials: a failure is confirmed before it is recorded
    assert all("rank 1: Traceback" in log and "in forward\n" in log for log in logs)


@pytest.mark.slow
def test_under_torchrun_the_tables_are_those_of_a_plain_start_and_what_does_not_fit_is_skipped(harness, undisturbed):
    harness.suite(TWO_RANKS)
    assert torchrun(harness, 2, "--progress", "none").returncode == 0
    assert harness.tables() == undisturbed
    harness.suite(TWO_RANKS, name="large")
    ran = torchrun(harness, 3, "--progress", "none", suite="large")
    assert "exitcode  : 4" in ran.stderr
    assert "4 skipped" in ran.stdout


@pytest.mark.slow
def test_under_torchrun_the_time_budget_stops_what_each_process_trains_by_itself(harness):
    harness.suite(TWO_RANKS.replace("world_size=2", "max_cohort_size=1").replace("steps=200", "steps=10**8"))
    ran = torchrun(harness, 2, "--progress", "none", "--time-budget", "20s")
    assert ran.returncode == 0, "torchrun would start again what ended with another code"
    assert "Traceback" not in ran.stderr
    assert "the time budget is used up: 0 of 4 trials" in ran.stdout
    saved = {path.name.partition(".")[0] for path in (harness.results / "tiny").glob("checkpoints/*.snapshot")}
    assert len(saved) <= 2, "each of the two has begun one trial at most, and neither begins another to stop it"


def test_under_torchrun_the_first_rank_alone_says_what_is_wrong(harness):
    harness.suite(TWO_RANKS)
    ran = torchrun(harness, 2, "--progress", "none", suite="tyni")
    assert ran.returncode != 0
    assert [line for line in ran.stderr.splitlines() if line.startswith("harness:")] == [
        "harness: no suite file tyni.py; suites in ./: tiny"
    ]


def torchrun(harness, size, *words, suite="tiny"):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={size}"]
    return subprocess.run(
        [*command, "-m", "harness", "run", suite, *words],
        cwd=harness.folder,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={**os.environ, "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"},
    )
