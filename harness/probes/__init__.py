"""The functions that measure what harness/spec/probes.py declares; to add a probe, see there."""

from collections.abc import Callable, Iterable, Sequence

from harness.errors import lookup
from harness.probes.activations import activations
from harness.probes.context import ProbeContext, Values
from harness.probes.gradients import gradient_norms
from harness.probes.landscape import landscape
from harness.probes.layers import Layer
from harness.probes.rank import rank
from harness.probes.running_statistics import running_errors
from harness.probes.sharpness import sharpness
from harness.probes.weights import weights
from harness.spec.probes import PROBES
from harness.spec.trial import split_names

MEASURES: dict[str, Callable[[ProbeContext], Values]] = {  # probe -> its values, one per model for each curve
    "activations": activations,
    "gradients": gradient_norms,
    "landscape": landscape,
    "rank": rank,
    "running": running_errors,
    "sharpness": sharpness,
    "weights": weights,
}


def probes_of(names: str) -> list[str]:
    """The probes of a trial, whose field has their names joined; SuiteError where one is unknown."""
    probes = [name for name in split_names(names) if name]
    for name in probes:
        lookup(PROBES, name, "probe")
    return probes


def curve_names(probes: Iterable[str], layers: Sequence[Layer]) -> list[str]:
    """The names of all curves that probes make of a net of these layers."""
    names: list[str] = []
    for probe in probes:
        for name, curve in PROBES[probe].items():
            if curve.layers is None:
                names.append(name)
            else:
                names += [f"{name}/{i}" for i, layer in enumerate(layers, 1) if curve.layers(layer)]
    return names
