"""The results of a trained cohort, trial by trial: facts and curves as plain numbers, ready for its records."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from harness.nn.norms import resolve_sync_bn_impl
from harness.spec.measured import guess_column, is_guessed
from harness.spec.trial import Trial
from harness.tasks.scores import guess_scores
from harness.training.state import PROBE, TrainState

Curve = dict[str, list[Any]]  # step, value; a value that is not finite is None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one trial."""

    trial: Trial
    facts: Mapping[str, Any]
    curves: Mapping[str, Curve]


def outcomes(state: TrainState) -> list[Outcome]:
    """The outcome of every trial of the cohort, in its order."""
    fail_steps = state.fail_step.tolist()
    differ = state.data["train"][1].ndim == 2  # each model has labels of its own
    guesses = [_guesses(state, i) for i in range(len(state.trials) if differ else 1)]
    curves = {name: _points(state, name, curve.double().cpu()) for name, curve in state.curves.items()}
    return [
        Outcome(
            trial,
            {
                **_facts_of_trial(state, trial, guesses[i if differ else 0]),
                "fail_step": fail_steps[i] if fail_steps[i] >= 0 else None,
            },
            {name: {"step": steps, "value": rows[i]} for name, (steps, rows) in curves.items()},
        )
        for i, trial in enumerate(state.trials)
    ]


def _facts_of_trial(state: TrainState, trial: Trial, guesses: Mapping[str, float | None]) -> dict[str, Any]:
    is_synchronised = trial.norm == "sync_batch" and trial.world_size > 1
    sync_bn = {"sync_bn_impl": resolve_sync_bn_impl(trial)} if is_synchronised else {}
    return {
        "steps": state.steps,
        "steps_per_epoch": state.steps_per_epoch,
        "norm_batch": trial.statistics_batch,
        **sync_bn,
        "train_examples": state.dataset.size("train"),
        "test_examples": state.dataset.size("test"),
        "classes": state.dataset.classes or None,
        **({"labels": list(state.dataset.labels)} if state.dataset.labels else {}),
        **guesses,
        "parameters": sum(weight[0].numel() for weight in state.ensemble.weights.values()),
    }


def _guesses(state: TrainState, i: int) -> dict[str, float | None]:
    """What comes of the best guess without examples: its loss in training, and the metrics of test examples."""
    objective, outputs = state.objective, state.dataset.outputs
    train, test = (state.data[split][1].cpu() for split in ("train", "test"))
    train = train[i] if train.ndim == 2 else train
    if objective.has_compiled_form:
        loss = _entropy(train.numpy())
    else:
        loss = guess_scores(replace(objective, own_metrics={}), train, train, outputs)["loss"]
    facts: dict[str, float | None] = {"guess_loss": loss} if math.isfinite(loss) else {}
    names = [name for name in objective.metrics if is_guessed(objective.name, name)]
    found = guess_scores(objective, train, test, outputs) if names else {}
    return facts | {guess_column(name): found[name] if math.isfinite(found[name]) else None for name in names}


def _entropy(labels: NDArray[np.int64]) -> float:
    """The cross-entropy in nats of predicting the frequencies of the classes for every example: the best without x."""
    shares = np.unique(labels, return_counts=True)[1] / len(labels)
    return float(-(shares * np.log(shares)).sum())


def _points(state: TrainState, name: str, curve: Tensor) -> tuple[list[int], list[list[float | None]]]:
    """The steps at which a curve has values, and the values model by model."""
    steps = list(state.probe_steps if name.startswith(f"{PROBE}.") else state.eval_steps)
    if name == "batch.loss":
        # The mean since the evaluation before.
        counts = curve.new_tensor(steps).diff()
        curve, steps = curve[1:] / counts[:, None], steps[1:]
    elif name.startswith("train."):
        curve, steps = curve[[0, -1]], [steps[0], steps[-1]]
    return steps, [[value if math.isfinite(value) else None for value in row] for row in curve.T.tolist()]
