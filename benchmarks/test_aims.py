"""What fusing is worth, held against the other ways to train the same trials: each aim is a ratio within one run."""

import os
import statistics
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import rivals
import torch
from own_models import OWN_MODELS
from timing import DATA, cohort_step, tutorial_step

from harness import log_grid
from harness.spec.cohorts import make_cohorts
from harness.spec.loader import load_suite
from harness.spec.trial import Trial

CORES = len(os.sched_getaffinity(0))
SMALL = Trial(
    dataset="circles", model="mlp-64-32", lr=0.1, batch_size=32, steps=2150, eval_every=43, device="cpu"
)  # fmt: skip
FEW_STEPS = 40  # of models that take milliseconds a step
SAMPLE = 3  # trials of each arm that are trained one at a time, for all of them

GRID = """
from harness import Suite, log_grid
suite = Suite(dataset={dataset!r}, model={model!r}, norm=["none", "batch"], lr=log_grid(0.01, 10.0, per_decade=4),
    batch_size={batch_size}, steps={steps}, eval_every={eval_every}, seed=range({seeds}))
"""


def whole_run(tmp_path: Path, trial: Trial, seeds: int) -> tuple[float, list[Trial]]:
    """Seconds from the first job to the last record, with a worker for each core, and the trials."""
    path = tmp_path / f"grid{seeds}.py"
    fields = ("dataset", "model", "batch_size", "steps", "eval_every")
    path.write_text('"""?"""\n' + GRID.format(seeds=seeds, **{name: getattr(trial, name) for name in fields}))
    command = [sys.executable, str(Path(__file__).with_name("grid.py")), str(path), str(tmp_path / f"results{seeds}")]
    seconds = subprocess.run([*command, str(CORES)], stdout=subprocess.PIPE, check=True, text=True).stdout
    return float(seconds), list(load_suite(path).trials(device="cpu"))


def one_at_a_time(trials: list[Trial], threads: int) -> float:
    """Seconds that the tutorial's loop would take for all trials, by some of each arm."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    data = DATA[trials[0].dataset]
    rivals.tutorial(replace(trials[0], steps=20), data)
    total = 0.0
    for norm in ("none", "batch"):
        arm = [trial for trial in trials if trial.norm == norm]
        some = arm[:: len(arm) // SAMPLE][:SAMPLE]
        total += statistics.mean(rivals.tutorial(trial, data) for trial in some) * len(arm)
    torch.set_num_threads(before)
    return total


def in_processes(trials: list[Trial]) -> float:
    """Seconds that a pool of processes would take for all trials, by some of each arm."""
    some = [t for norm in ("none", "batch") for t in [t for t in trials if t.norm == norm][: SAMPLE * CORES]]
    return rivals.in_processes(some, DATA[trials[0].dataset], CORES) * len(trials) / len(some)


def test_aim_1_a_grid_at_batch_32(benchmark, tmp_path, row):
    seconds, trials = benchmark.pedantic(whole_run, args=(tmp_path, SMALL, 10), rounds=1)
    alone, pool = one_at_a_time(trials, CORES) / seconds, in_processes(trials) / seconds
    row("1", "260 MLPs at batch 32, against the tutorial's loop", ">= 80", f"{alone:.1f}")
    row("1", f"260 MLPs at batch 32, against that loop in {CORES} processes", ">= 40", f"{pool:.1f}")


def test_aim_3_a_grid_at_full_batch(benchmark, tmp_path, row):
    full = replace(SMALL, batch_size=1400, steps=60, eval_every=1)
    seconds, trials = benchmark.pedantic(whole_run, args=(tmp_path, full, 4), rounds=1)
    row("3", "104 MLPs at full batch, against the tutorial's loop", ">= 4",
        f"{one_at_a_time(trials, CORES) / seconds:.1f}")  # fmt: skip


def test_aim_4_a_grid_of_small_cnns(benchmark, tmp_path, row):
    cnn = replace(SMALL, dataset="digits", model="cnn-8-16", steps=120, eval_every=30)
    seconds, trials = benchmark.pedantic(whole_run, args=(tmp_path, cnn, 4), rounds=1)
    row("4", "104 CNNs on digits at batch 32, against the tutorial's loop", ">= 25",
        f"{one_at_a_time(trials, CORES) / seconds:.1f}")  # fmt: skip


@pytest.mark.usefixtures("one_core")
@pytest.mark.parametrize(("norm", "most"), [("none", 0.75), ("batch", 0.9)])
def test_aim_2_a_step_against_others_on_one_core(benchmark, row, norm, most):
    trial = replace(SMALL, norm=norm, eval_every=10_000)
    times = []
    benchmark.pedantic(lambda: times.extend(cohort_step(trial, m) for m in (32, 64)), rounds=3, warmup_rounds=1)
    ours = min(times)
    stacked, vmap = (min(cohort_step(trial, m, name) for m in (32, 64)) for name in ("stacked", "vmap"))
    floor = min(rivals.matrix_products(trial, DATA["circles"], 64, 50) / 50 / 64 for _ in range(3)) * 1e6
    row("2", f"a step at batch 32, {norm}: us per model of a cohort", "", f"{ours:.1f}")
    row("2", f"a step at batch 32, {norm}: against its matrix products alone", f"<= {most}", f"{ours / floor:.2f}")
    row("2", f"a step at batch 32, {norm}: times as fast as stacked layers", "", f"{stacked / ours:.1f}")
    row("2", f"a step at batch 32, {norm}: times as fast as torch.func.vmap", "", f"{vmap / ours:.1f}")
    pytest.importorskip("jax", reason="no JAX to compare with")
    jax = min(rivals.jax_scan(trial, DATA["circles"], m, 200) / 200 / m * 1e6 for m in (16, 64, 256))
    row("2", f"a step at batch 32, {norm}: times as fast as JAX jit(vmap(scan))", ">= 2", f"{jax / ours:.2f}")


def test_aim_5_one_large_model_alone(benchmark, row):
    trial = replace(SMALL, dataset="digits", model="cnn-32-64-128", norm="batch", batch_size=256, eval_every=10_000)
    ratios = []

    def both() -> None:
        ratios.append(cohort_step(trial, 1, count=12) / tutorial_step(trial, 12))

    benchmark.pedantic(both, rounds=5, warmup_rounds=1)
    row("5", "one large CNN alone, against a loop by hand", "<= 1.03", f"{statistics.median(ratios):.3f}")


@pytest.mark.parametrize("model", OWN_MODELS)
def test_aim_5_a_small_model_of_ones_own(benchmark, row, model):
    trial = replace(SMALL, dataset="digits", model=model, init="default", batch_size=64, eval_every=10_000)
    alone, together = [], []

    def all_ways() -> None:
        by_hand = tutorial_step(trial, FEW_STEPS, OWN_MODELS)
        alone.append(cohort_step(replace(trial, max_cohort_size=1), 1, None, FEW_STEPS, OWN_MODELS) / by_hand)
        together.append(cohort_step(trial, 8, None, FEW_STEPS, OWN_MODELS) / by_hand)

    benchmark.pedantic(all_ways, rounds=5, warmup_rounds=1)
    name = {"vit": "ViT", "lstm": "LSTM"}[model]
    row(
        "5",
        f"a small {name} of a suite's own, alone, against a loop by hand",
        "<= 1.10",
        f"{statistics.median(alone):.3f}",
    )
    row(
        "5",
        f"the same {name} in a cohort of 8, a model's step against a loop by hand",
        "",
        f"{statistics.median(together):.3f}",
    )


def test_aim_6_time_grows_as_the_trials_do(benchmark, tmp_path, row):
    short = replace(SMALL, steps=430)
    few, _ = whole_run(tmp_path, short, 4)
    many, _ = benchmark.pedantic(whole_run, args=(tmp_path, short, 40), rounds=1)
    row("6", "ten times the trials take so many times as long", "<= 10", f"{many / few:.1f}")


def test_aim_6_a_plan_of_100_000_trials(benchmark, row):
    from harness import Suite

    suite = Suite(
        dataset="digits", model="mlp-8", norm=["none", "batch"], lr=log_grid(1e-4, 10.0, per_decade=10), batch_size=32,
        seed=range(981), steps=100,
    )  # fmt: skip
    benchmark.pedantic(lambda: make_cohorts(suite.trials()), rounds=1)
    row("6", "plan 100,000 trials, seconds", "< 5", f"{benchmark.stats.stats.min:.1f}")
