"""Results as a run would write them, from a made-up law of learning: no training, any size, any fault."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness._version import __version__
from harness.spec.claim import Claim
from harness.spec.manifest import Manifest, with_metrics
from harness.spec.measured import CLASSIFICATION, SPLITS, Aim, Measured, measured
from harness.spec.metric import MetricSpec
from harness.spec.trial import Trial
from harness.storage.records import TELEMETRY
from harness.storage.tables import CURVES, Results, outcome_columns
from tests.support.manifests import declared

HIGHEST_LR = {"batch": 2.0, "none": 0.25, "layer": 0.8}  # what an arm still trains at, in this world
CLASSES, STEPS, TARGET = 10, 400, 0.9

DEFAULTS: dict[str, Any] = {
    "dataset": "digits",
    "model": "mlp-64x8",
    "activation": "relu",
    "norm": "batch",
    "norm_eps": 1e-5,
    "lr": 0.1,
    "batch_size": 64,
    "seed": 0,
    "init": "he",
    "optimizer": "sgd",
    "schedule": "constant",
    "steps": STEPS,
    "epochs": None,
    "device": "cpu",
    "world_size": 1,
}


def simulate(
    folder: Path,
    axes: Mapping[str, Sequence[Any]],
    *,
    claims: Sequence[Claim] = (),
    keep: float = 1.0,
    evaluations: int = 21,
    name: str = "lr_sweep",
    question: str = "How much wider is the range of learning rates that works with batch normalisation?",
    target_accuracy: float | None = None,
    target: Mapping[str, float] | None = None,
    own: Mapping[str, MetricSpec] | None = None,
    status: str | None = None,
    **settings: Any,
) -> Results:
    """Results of the whole grid; only the first share `keep` of its trials, seed by seed, has been trained."""
    fixed = {**DEFAULTS, **settings, **({"metrics": "+".join(sorted(own))} if own else {})}
    is_classification = "task" not in fixed
    target_accuracy = target_accuracy if target or not is_classification else target_accuracy or TARGET
    aim = Aim(own=own or {}, target_accuracy=target_accuracy, target=target or {})
    of_suite = measured([fixed.get("task", CLASSIFICATION)], [fixed.get("metrics", "")], aim)
    outcomes = outcome_columns(of_suite)
    grid = [dict(zip(axes, point, strict=True)) for point in itertools.product(*axes.values())]
    grid.sort(key=lambda point: point.get("seed", 0))
    trials, curves = [], []
    for i, point in enumerate(grid):
        row = {**dict.fromkeys(f.name for f in fields(Trial)), **fixed, **point, "suite": name, "key": f"{i:016x}"}
        trained = i < round(keep * len(grid))
        outcome, curve = _train(row, status, evaluations) if trained else ({"status": "interrupted"}, [])
        if trained and not is_classification:
            outcome, curve = _measured_otherwise(outcome, curve, of_suite)
        trials.append({**row, **dict.fromkeys(outcomes), **outcome})
        curves += curve
    columns = ["suite", "key", *(f.name for f in fields(Trial)), *outcomes]
    numeric = {column: kind for column, kind in outcomes.items() if kind != "str"}
    frame = pd.DataFrame(trials, columns=columns).astype({"status": "str", **numeric})
    telemetry = [_telemetry(row["key"]) for row in trials if row["status"] != "interrupted"]
    return Results(
        folder=folder,
        manifest=Manifest(
            name=name,
            question=question,
            path=f"suites/{name}.py",
            compare="norm",
            target_accuracy=target_accuracy,
            target=target or {},
            metrics=own or {},
            axes={axis: list(values) for axis, values in axes.items() if len(values) > 1},
            settings={**fixed, **{axis: values[0] for axis, values in axes.items() if len(values) == 1}},
            claims=declared(*with_metrics(claims, of_suite)),
            harness=__version__,
            fingerprint={"machine": "x86_64", "cpu": "a CPU", "torch": "2.13.0", "python": "3.11.7", "threads": 1},
            trials=len(grid),
        ),
        trials=frame,
        curves=pd.DataFrame(curves, columns=CURVES.names).astype({"step": "int32", "epoch": float, "value": float}),
        telemetry=pd.DataFrame(telemetry, columns=list(TELEMETRY)),
    )


def _train(row: Mapping[str, Any], status: str | None, evaluations: int) -> tuple[dict[str, Any], list[Any]]:
    """The outcome of one trial, and its curves."""
    rng = np.random.default_rng([row["seed"], 7])  # arms share what a seed brings: pairs correlate
    own = np.random.default_rng([int(row["key"], 16), 11])
    luck = 0.006 * rng.standard_normal() + 0.004 * own.standard_normal()
    highest = HIGHEST_LR.get(str(row["norm"]), 1.0) * math.exp(0.25 * own.standard_normal())
    if status is None:
        status = "ok" if row["lr"] < highest else ("nonfinite" if row["lr"] > 4 * highest else "no_better_than_init")
    speed = row["lr"] * 25
    steps = np.unique(np.linspace(0, row["steps"], evaluations).round().astype(int))
    learnt = 1 - np.exp(-speed * steps / row["steps"])
    learnt = learnt if status == "ok" else np.zeros(len(steps))
    accuracy = 1 / CLASSES + (0.97 - 1 / CLASSES) * learnt + luck * learnt
    loss = math.log(CLASSES) * (1 - 0.985 * learnt) * np.exp(0.05 * own.standard_normal(len(steps)))
    if status != "ok":
        loss, accuracy = loss + 0.4 * np.arange(len(steps)), np.full(len(steps), 1 / CLASSES + 0.02)
    if status == "nonfinite":
        loss[len(steps) // 3 :] = np.nan
    curve = []
    for split, metric, values in (
        ("batch", "loss", loss[1:]),
        ("val", "accuracy", accuracy),
        ("test", "accuracy", accuracy - 0.003),
        ("test", "loss", loss * 1.1),
    ):
        at = steps[-len(values) :]
        curve += [(row["key"], step, step / 20, split, metric, value) for step, value in zip(at, values, strict=True)]
    if status == "ok" and accuracy[-1] - 0.003 < TARGET:
        status = "below_target"
    reached = steps[accuracy >= TARGET]
    return {
        "norm_batch": row["batch_size"],
        "train_examples": 1077,
        "test_examples": 360,
        "classes": CLASSES,
        "parameters": 38_000,
        "status": status,
        "fail_step": int(steps[len(steps) // 3]) if status == "nonfinite" else None,
        "initial_loss": float(loss[0]),
        "train_loss": float(loss[-1]),
        "val_loss": float(loss[-1]),
        "test_loss": float(loss[-1]) * 1.1,
        "train_accuracy": float(accuracy[-1]),
        "val_accuracy": float(accuracy[-1]),
        "test_accuracy": float(accuracy[-1]) - 0.003,
        "best_step": int(steps[accuracy.argmax()]),
        "steps_to_target": int(reached[0]) if len(reached) and status == "ok" else None,
    }, curve


LEVELS = {  # metric -> what guessing comes to, and the most that is learnt
    **{"rmse": (80.0, 50.0), "mae": (65.0, 41.0), "r2": (-0.01, 0.6), "f1": (0.2, 0.75), "label_accuracy": (0.8, 0.95)},
    **{"exact_match": (0.3, 0.8), "accuracy": (0.2, 0.6), "perplexity": (900.0, 9.0)},
}


def _measured_otherwise(
    outcome: dict[str, Any], curve: list[Any], of_suite: Measured
) -> tuple[dict[str, Any], list[Any]]:
    """What a trial of another task comes to that has learnt as much as this one of classification."""
    accuracies = [row for row in curve if row[4] == "accuracy"]
    curve = [row for row in curve if row[4] != "accuracy"]
    kept = {name: value for name, value in outcome.items() if not name.endswith("_accuracy")}
    for metric in of_suite.metrics:
        guess, best = LEVELS.get(metric, (30.0, 6.0))

        def level(accuracy: float, guess: float = guess, best: float = best) -> float:
            learnt = (accuracy - 1 / CLASSES) / (0.97 - 1 / CLASSES)
            return guess * (best / guess) ** learnt if guess > 100 else guess + (best - guess) * learnt

        curve += [(*row[:4], metric, level(row[5])) for row in accuracies]
        kept |= {f"{split}_{metric}": level(outcome[f"{split}_accuracy"]) for split in SPLITS}
        kept |= {f"guess_{metric}": guess}
    if of_suite.target and kept["status"] in ("ok", "below_target"):
        is_reached = of_suite.target.is_reached(kept[f"test_{of_suite.target.metric}"])
        kept["status"] = "ok" if is_reached else "below_target"
    return kept, curve


def _telemetry(key: str) -> dict[str, Any]:
    return {
        **dict.fromkeys(TELEMETRY),
        "key": key,
        "seconds_train": 2.5,
        "step_ms": 0.4,
        "cohort_size": 65,
        "attempts": 1,
        "resumes": 0,
        "host": "a-host",
        "device_name": "a CPU",
        "threads": 1,
        "torch": "2.13.0",
        "python": "3.11.7",
        "commit": "0123abc",
        "dirty": False,
    }
