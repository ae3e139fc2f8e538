"""Measurements that are taken while a model trains, and change nothing of what it learns.

To add a probe: one entry in PROBES, a function from a View to one value per model for each of its curves, and which
layers have which curve. The curves of layers are called "metric/1", "metric/2", ..., input side first; all layers with
weights count. Unless it says otherwise, a probe uses one batch of training examples, the same at every step and for all
arms of a seed, of the size that the trial trains on, in training mode.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.errors import lookup
from harness.training.probes.gradients import gradient_norms
from harness.training.probes.layers import Layer
from harness.training.probes.view import Values, View
from harness.training.probes.weights import weights
from harness.trial import PROBE_JOIN


@dataclass(frozen=True, slots=True)
class Probe:
    """A measurement, and the curves that it makes."""

    measure: Callable[[View], Values]
    layered: Mapping[str, Callable[[Layer], bool]]  # curve -> which layers have one
    whole: tuple[str, ...] = ()  # curves of whole models


def _every(layer: Layer) -> bool:  # noqa: ARG001
    return True


PROBES: dict[str, Probe] = {
    "gradients": Probe(gradient_norms, {"gradient_norm": _every}),
    "weights": Probe(weights, {"weight_norm": _every, "effective_lr": lambda layer: layer.norm is not None}),
}


def probes_of(names: str) -> list[Probe]:
    """The probes of a trial, by its word for them."""
    return [lookup(PROBES, name, "probe") for name in names.split(PROBE_JOIN) if name]


def curves_of(probes: Iterable[Probe], layers: Sequence[Layer]) -> list[str]:
    """The names of all curves that probes make of a net of these layers."""
    found: list[str] = []
    for probe in probes:
        found += probe.whole
        for metric, has in probe.layered.items():
            found += [f"{metric}/{i}" for i, layer in enumerate(layers, 1) if has(layer)]
    return found
