"""Trials, drawn at random."""

from typing import Any

from hypothesis import strategies as st

from harness.spec.trial import Trial

AXES: dict[str, st.SearchStrategy[Any]] = {  # values that any trial may have, whatever its other fields say
    "dataset": st.sampled_from(["digits", "circles"]),
    "model": st.sampled_from(["mlp-8", "mlp-8x3", "cnn"]),
    "activation": st.sampled_from(["relu", "tanh"]),
    "norm": st.sampled_from(["none", "batch", "layer"]),
    "norm_eps": st.sampled_from([1e-5, 1e-3]),
    "norm_momentum": st.just("cumulative") | st.floats(0, 1),
    "norm_affine": st.booleans(),
    "lr": st.floats(1e-9, 1e9),
    "batch_size": st.integers(2, 500),
    "seed": st.integers(0, 2**63 - 1),
    "init": st.sampled_from(["default", "he", "normal"]),
    "init_scale": st.floats(1e-3, 1e3),
    "momentum": st.floats(0, 0.99),
    "weight_decay": st.floats(0, 1),
    "decay_norms": st.booleans(),
    "max_grad_norm": st.none() | st.floats(1e-3, 1e3),
    "precision": st.sampled_from(["float32", "bfloat16", "float64"]),
    "augment": st.sampled_from(["none", "flip", "flip+crop"]),
    "label_noise": st.floats(0, 1),
    "warmup_steps": st.integers(0, 99),
    "steps": st.integers(1, 2**31 - 1),
}
REQUIRED = ("dataset", "model", "lr", "batch_size", "steps")


def contents() -> st.SearchStrategy[dict[str, Any]]:
    """Fields of a trial: those that it must have, and any of the others."""
    optional = {axis: values for axis, values in AXES.items() if axis not in REQUIRED}
    return st.fixed_dictionaries({axis: AXES[axis] for axis in REQUIRED}, optional=optional)


def trials() -> st.SearchStrategy[Trial]:
    """Any trial."""
    return contents().map(lambda content: Trial(**content))


def a_trial(**changes: Any) -> Trial:
    """A trial that is right, but for the changes."""
    return Trial(**{"dataset": "digits", "model": "mlp-8", "lr": 0.1, "batch_size": 7, "steps": 5, **changes})
