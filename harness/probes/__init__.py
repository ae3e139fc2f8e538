"""Measurements that are taken while a model trains, and change nothing of what it learns.

To add a probe: one entry in PROBES, a function from a View to one value per model for each of its curves, and which
layers have which curve. The curves of layers are called "metric/1", "metric/2", ..., input side first; all layers with
weights count. Unless it says otherwise, a probe uses one batch of training examples, the same at every step and for all
arms of a seed, of the size and in the parts that the trial trains on, in training mode.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.errors import lookup
from harness.probes.activations import PERCENTILES, activations
from harness.probes.context import ProbeContext, Values
from harness.probes.gradients import gradient_norms
from harness.probes.landscape import landscape
from harness.probes.layers import Layer
from harness.probes.running_statistics import running_errors
from harness.probes.sharpness import sharpness
from harness.probes.weights import weights
from harness.spec.trial import PROBE_JOIN


@dataclass(frozen=True, slots=True)
class Probe:
    """A measurement, and the curves that it makes."""

    measure: Callable[[ProbeContext], Values]
    layered: Mapping[str, Callable[[Layer], bool]]  # curve -> which layers have one
    per_model: tuple[str, ...] = ()  # curves of whole models


def _every(layer: Layer) -> bool:  # noqa: ARG001
    return True


def _has_nonlinearity(layer: Layer) -> bool:
    return layer.nonlinearity is not None


PROBES: dict[str, Probe] = {
    "activations": Probe(
        activations,
        {
            **dict.fromkeys(("activation_mean", "activation_std"), _has_nonlinearity),
            **dict.fromkeys((f"activation_p{p}" for p in PERCENTILES), _has_nonlinearity),
            "saturated": lambda layer: layer.nonlinearity is not None and layer.nonlinearity.slope is not None,
            "dead": lambda layer: layer.nonlinearity is not None and layer.nonlinearity.dies,
        },
    ),
    "gradients": Probe(gradient_norms, {"gradient_norm": _every}, ("gradient_growth",)),
    "landscape": Probe(
        landscape,
        {},
        (
            *("landscape_loss_min", "landscape_loss_max", "landscape_loss_range"),
            *("landscape_gradient_change_min", "landscape_gradient_change_max", "effective_beta"),
        ),
    ),
    "running": Probe(
        running_errors,
        dict.fromkeys(("running_mean_error", "running_var_error"), lambda layer: layer.has_running_stats),
    ),
    "sharpness": Probe(sharpness, {}, ("sharpness",)),
    "weights": Probe(weights, {"weight_norm": _every, "effective_lr": lambda layer: layer.is_scale_free}),
}


def probes_of(names: str) -> list[Probe]:
    """The probes of a trial, by its word for them."""
    return [lookup(PROBES, name, "probe") for name in names.split(PROBE_JOIN) if name]


def curves_of(probes: Iterable[Probe], layers: Sequence[Layer]) -> list[str]:
    """The names of all curves that probes make of a net of these layers."""
    found: list[str] = []
    for probe in probes:
        found += probe.per_model
        for metric, has in probe.layered.items():
            found += [f"{metric}/{i}" for i, layer in enumerate(layers, 1) if has(layer)]
    return found
