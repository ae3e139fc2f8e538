"""What surrounds training at scale: ten thousand finished trials with a hundred points each, from records to report."""

import math
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.spec.loader import load_suite
from harness.spec.trial import Trial
from harness.storage.records import TRAINED, Record, ResultsDir, write_record

SUITE = '''"""How much wider is the range of learning rates?"""
from harness import Claim, Suite, log_grid
suite = Suite(dataset="digits", model="mlp-8", norm=["none", "batch"], lr=log_grid(1e-3, 10.0, per_decade=12),
    batch_size=50, steps=990, eval_every=10, seed=range(102), target_accuracy=0.9,
    claims=[Claim.wider_lr_range("batch", than="none", at_least_decades=0.5)])
'''
POINTS = 100


def made_up(trial: Trial) -> Record:
    """A record as training would leave it, by a law of learning: batch norm trains at ten times the lr."""
    best = 1.0 if trial.norm == "batch" else 0.1
    reach = 1 / (1 + (math.log10(trial.lr / best) / 1.2) ** 4) * (0.97 + 0.01 * math.sin(trial.seed))
    steps = [10 * i for i in range(POINTS)]
    rise = [1 - math.exp(-step / 100) for step in steps]
    curves = {
        f"{s}.accuracy": {"step": steps, "value": [0.1 + (reach - 0.1) * r for r in rise]} for s in ("val", "test")
    }
    curves |= {f"{s}.loss": {"step": steps, "value": [2.3 - 2.2 * reach * r for r in rise]} for s in ("val", "test")}
    ends = {"step": [0, 990]}
    curves["train.loss"] = {**ends, "value": [2.3, 2.3 - 2.25 * reach]}
    curves["train.accuracy"] = {**ends, "value": [0.1, reach]}
    facts = {
        "steps": 990, "steps_per_epoch": 19, "norm_batch": 50, "train_examples": 987, "test_examples": 540,
        "classes": 10, "guess_loss": 2.3, "parameters": 610, "fail_step": None,
    }  # fmt: skip
    return Record(key=trial.key, trial=trial.content, outcome=TRAINED, facts=facts, curves=curves)


def harness(*words: str, cwd: Path) -> tuple[float, float]:
    """Seconds and peak memory (MB) of a command of the harness, which must succeed."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "harness", *words], cwd=cwd, check=True, capture_output=True)
    return time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


@pytest.mark.timeout(600)
def test_aim_6_ten_thousand_trials(benchmark, tmp_path, row):
    (tmp_path / "many.py").write_text(SUITE)
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])
    trials = list(load_suite(tmp_path / "many.py").trials(device="cpu"))
    place = ResultsDir(tmp_path / "results" / "many")
    place.records.mkdir(parents=True)
    for trial in trials:
        write_record(place, made_up(trial))
    first, memory = benchmark.pedantic(harness, args=("run", "many"), kwargs={"cwd": tmp_path}, rounds=1)
    count = f"{len(trials):,} trials with {POINTS} points each"
    row("6", f"records to tables to report of {count}, seconds", "< 60", f"{first:.0f}")
    row("6", f"records to tables to report of {len(trials):,} trials, peak memory in MB", "< 2048", f"{memory:.0f}")
    row(
        "6",
        f"resume a finished suite of {len(trials):,} trials, seconds",
        "< 3",
        f"{harness('run', 'many', cwd=tmp_path)[0]:.1f}",
    )
    row(
        "6",
        f"`status` of a suite of {len(trials):,} trials, seconds",
        "< 1.5",
        f"{harness('status', 'many', cwd=tmp_path)[0]:.1f}",
    )
