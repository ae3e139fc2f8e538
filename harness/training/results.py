"""What a trained cohort comes to, trial by trial: facts and curves as plain numbers, ready for its records."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from harness.nn.norms import sync_bn
from harness.spec.trial import Trial
from harness.training.state import PROBE, Program

Curve = dict[str, list[Any]]  # step, value; a value that is not finite is None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is known of one trial after training."""

    trial: Trial
    facts: Mapping[str, Any]
    curves: Mapping[str, Curve]


def outcomes(program: Program) -> list[Outcome]:
    """The outcome of every trial of the cohort, in its order."""
    fail_steps = program.fail_step.tolist()
    curves = {name: _points(program, name, curve.double().cpu()) for name, curve in program.curves.items()}
    return [
        Outcome(
            trial,
            {**_facts(program, i, trial), "fail_step": fail_steps[i] if fail_steps[i] >= 0 else None},
            {name: {"step": steps, "value": rows[i]} for name, (steps, rows) in curves.items()},
        )
        for i, trial in enumerate(program.trials)
    ]


def _facts(program: Program, i: int, trial: Trial) -> dict[str, Any]:
    return {
        "steps": program.steps,
        "steps_per_epoch": program.steps_per_epoch,
        "norm_batch": trial.statistics_batch,
        **({"sync_bn": sync_bn(trial)} if trial.norm == "sync_batch" and trial.world_size > 1 else {}),
        "train_examples": program.dataset.size("train"),
        "test_examples": program.dataset.size("test"),
        "classes": program.dataset.classes,
        "guess_loss": _entropy(_labels(program, i)),
        "parameters": sum(weight[0].numel() for weight in program.stack.weights.values()),
    }


def _labels(program: Program, i: int) -> NDArray[np.int64]:
    """The training labels of one model, with its label noise."""
    y = program.data["train"][1].cpu().numpy()
    return y[i] if y.ndim == 2 else y


def _entropy(labels: NDArray[np.int64]) -> float:
    """The cross-entropy of predicting every example by the frequencies of the classes, in nats: the least without x."""
    shares = np.unique(labels, return_counts=True)[1] / len(labels)
    return float(-(shares * np.log(shares)).sum())


def _points(program: Program, name: str, curve: Tensor) -> tuple[list[int], list[list[float | None]]]:
    """The steps at which a curve has values, and the values model by model."""
    marks = list(program.probe_marks if name.startswith(f"{PROBE}.") else program.marks)
    if name == "batch.loss":
        # The mean since the mark before; sums are kept, so that evaluating twice changes nothing.
        since = curve.new_tensor(marks).diff()
        curve, marks = curve.diff(dim=0) / since[:, None], marks[1:]
    elif name.startswith("train."):
        curve, marks = curve[[0, -1]], [marks[0], marks[-1]]
    return marks, [[value if math.isfinite(value) else None for value in row] for row in curve.T.tolist()]
