"""For each kind of claim a world in which it is true, one in which it is false, and one in which nobody could tell."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from harness.spec.claim import Claim
from harness.storage.tables import Results
from tests.support.simulated import simulate

SEEDS = 20
TOO_FEW = 3
NORMS = ["batch", "none"]
LRS = [0.01, 0.03, 0.1, 0.3, 1.0]


@dataclass(frozen=True, kw_only=True)
class ClaimWorld:
    """A claim, and results that depend on the size of an effect."""

    claim: Claim
    axes: Mapping[str, Any]
    results: Callable[[Results, float, np.random.Generator], Results]  # untrained results, effect, noise -> results
    if_true: float  # effects
    if_false: float
    at_margin: float
    unanswerable: Claim  # which a suite with these axes can't answer
    because: str  # part of the error


def simulated(folder: Path, world: ClaimWorld, effect: float, *, seeds: int = SEEDS, keep: float = 1.0) -> Results:
    """The results of a world at this effect, of so many seeds; the first share `keep` of the trials was trained."""
    axes = {**world.axes, "seed": range(seeds)}
    results = simulate(folder, axes, claims=[world.claim], evaluations=2, keep=keep)
    trained = results.trials["status"] != "interrupted"
    results = replace(results, trials=results.trials.assign(status=results.trials["status"].mask(trained, "ok")))
    return world.results(results, effect, np.random.default_rng(5))


def with_column(column: str, level: float, noise: float = 0.004, **more: float) -> Any:
    """Results in which a column is higher by the effect where the norm is batch."""

    def results(untrained: Results, effect: float, rng: np.random.Generator) -> Results:
        batch = untrained.trials["norm"] == "batch"
        return with_noise(untrained, rng, **{column: (level + effect * batch, noise)}, **more)

    return results


def with_noise(results: Results, rng: np.random.Generator, **columns: Any) -> Results:
    """The results with columns of trials.csv: name -> (means, deviation of the noise)."""
    trials = results.trials
    drawn = {name: means + rng.normal(0, scale, len(trials)) for name, (means, scale) in columns.items()}
    return replace(results, trials=trials.assign(**drawn))


def with_ranges(results: Results, effect: float, rng: np.random.Generator) -> Results:
    """An arm trains at three learning rates or at one, all inside the grid; at an effect of 0 by turns."""
    trials = results.trials
    turns = effect if effect else np.where(trials["seed"] % 2, 1.0, -1.0)
    is_wide = (trials["norm"] == "batch") == (turns > 0)
    trains = np.where(is_wide, trials["lr"].between(0.02, 0.5), trials["lr"].between(0.05, 0.2))
    return with_noise(results, rng, test_accuracy=(np.where(trains, 0.97, 0.3), 0.004))


def with_optimum(results: Results, effect: float, rng: np.random.Generator) -> Results:
    """Both arms are best at lr 0.1, and batch is better there by the effect."""
    trials = results.trials
    height = 0.9 - 0.1 * np.log10(trials["lr"] / 0.1).abs() + effect * (trials["norm"] == "batch")
    return with_noise(results, rng, test_accuracy=(height, 0.004), val_accuracy=(height, 0.004))


def with_slope(results: Results, effect: float, rng: np.random.Generator) -> Results:
    """The lead of batch grows by the effect with each doubling of the batch size."""
    lead = effect * np.log2(results.trials["batch_size"].astype(float)) * (results.trials["norm"] == "batch")
    return with_noise(results, rng, test_accuracy=(0.7 + lead, 0.004))


def with_recovery(results: Results, effect: float, rng: np.random.Generator) -> Results:
    """Two ranks lose 5 points, of which sync_batch recovers a share, the effect."""
    trials = results.trials
    recovered = np.where(trials["norm"] == "sync_batch", effect, 0.0)
    lost = 0.05 * (trials["world_size"] > 1) * (1 - recovered)
    return with_noise(results, rng, test_accuracy=(0.95 - lost, 0.004))


def with_step_times(results: Results, effect: float, rng: np.random.Generator) -> Results:
    """A step of batch takes so many times as long, the effect."""
    telemetry = results.telemetry
    norm = results.trials.set_index("key")["norm"].reindex(telemetry["key"])
    times = np.where(norm == "batch", effect, 1.0) * np.exp(rng.normal(0, 0.03, len(telemetry)))
    return replace(results, telemetry=telemetry.assign(step_ms=times))


PLAIN = {"norm": NORMS}
OVER_LR = {"norm": NORMS, "lr": LRS}
WORLDS = {  # kind of claim -> its world
    "better": ClaimWorld(
        claim=Claim.better("batch", than="none", by=0.01),
        axes=PLAIN,
        results=with_column("test_accuracy", 0.8),
        if_true=0.1,
        if_false=-0.1,
        at_margin=0.01,
        unanswerable=Claim.better("batch", than="none", metric="val.loss"),
        because="use Claim.more or Claim.less",
    ),
    "more": ClaimWorld(
        claim=Claim.more("batch", than="none", metric="test_loss", by=0.02),
        axes=PLAIN,
        results=with_column("test_loss", 0.5),
        if_true=0.2,
        if_false=-0.2,
        at_margin=0.02,
        unanswerable=Claim.more("batch", than="none", metric="probe.dead/1"),
        because="the suite has none",
    ),
    "less": ClaimWorld(
        claim=Claim.less("batch", than="none", metric="test_loss", by=0.02),
        axes=PLAIN,
        results=with_column("test_loss", 0.5),
        if_true=-0.2,
        if_false=0.2,
        at_margin=-0.02,
        unanswerable=Claim.less("batch", than="none", metric="test_loss", at="mean"),
        because="is an outcome",
    ),
    "equivalent": ClaimWorld(
        claim=Claim.equivalent("batch", to="none", within=0.02),
        axes=PLAIN,
        results=with_column("test_accuracy", 0.8),
        if_true=0.0,
        if_false=0.1,
        at_margin=0.02,
        unanswerable=Claim.equivalent("batch", to="none", within=0),
        because="give a margin above 0",
    ),
    "matches": ClaimWorld(
        claim=Claim.matches("batch", published=0.8, within=0.02),
        axes=PLAIN,
        results=with_column("test_accuracy", 0.8),
        if_true=0.0,
        if_false=0.1,
        at_margin=0.02,
        unanswerable=Claim.matches("batch", published=80, within=0.02),
        because="accuracy is a fraction",
    ),
    "wider_lr_range": ClaimWorld(
        claim=Claim.wider_lr_range("batch", than="none", at_least_decades=0.1),
        axes=OVER_LR,
        results=with_ranges,
        if_true=1.0,
        if_false=-1.0,
        at_margin=0.0,
        unanswerable=Claim.wider_lr_range("batch", than="none", lr=[0.01, 1.0]),
        because="2 learning rates a decade",
    ),
    "best_tuned": ClaimWorld(
        claim=Claim.best_tuned("batch", than="none", by=0.01),
        axes=OVER_LR,
        results=with_optimum,
        if_true=0.05,
        if_false=-0.05,
        at_margin=0.01,
        unanswerable=Claim.best_tuned("batch", than="none", metric="val_accuracy"),
        because="judged on test data",
    ),
    "trend": ClaimWorld(
        claim=Claim.trend("batch", than="none", along="batch_size", by=0.005),
        axes={"norm": NORMS, "batch_size": [4, 16, 64]},
        results=with_slope,
        if_true=0.03,
        if_false=-0.03,
        at_margin=0.005,
        unanswerable=Claim.trend("batch", than="none", along="lr"),
        because="no axis of this suite",
    ),
    "sooner": ClaimWorld(
        claim=Claim.sooner("batch", than="none", by_steps=10),
        axes=PLAIN,
        results=with_column("steps_to_target", 200.0, noise=4.0),
        if_true=-100.0,
        if_false=100.0,
        at_margin=-10.0,
        unanswerable=Claim.sooner("batch", than="layer"),
        because="no arm 'layer'",
    ),
    "recovers": ClaimWorld(
        claim=Claim.recovers("sync_batch", lost_by="batch", against={"world_size": 1}, at_least=0.5, world_size=2),
        axes={"norm": ["batch", "sync_batch"], "world_size": [1, 2]},
        results=with_recovery,
        if_true=1.0,
        if_false=0.0,
        at_margin=0.5,
        unanswerable=Claim.recovers("sync_batch", lost_by="batch", against={}),
        because="where the one big batch stands",
    ),
    "costs": ClaimWorld(
        claim=Claim.costs("batch", than="none", at_most=1.5),
        axes=PLAIN,
        results=with_step_times,
        if_true=1.1,
        if_false=2.5,
        at_margin=1.5,
        unanswerable=Claim.costs("batch", than="layer", at_most=1.5),
        because="no arm 'layer'",
    ),
}
