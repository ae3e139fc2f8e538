"""Measures that are made when they are asked for: values of curves, and what trials along an axis make up."""

import math
import re
from collections.abc import Callable
from dataclasses import replace

from harness.analysis import formatting
from harness.analysis.formatting import PLAIN, SHARE, TIMES
from harness.analysis.measures.measure import MORE, RATIO, SHARE_OF_LOSS, UNKNOWN_WORDS, Measure, Policy, unit_of
from harness.spec.measured import Measured, crossing_of
from harness.spec.probes import PROBE_CURVES

CURVE = re.compile(r"(?P<split>[a-z]+)\.(?P<name>.+?)(?: \((?P<at>first|mean|range|[^()]+ <= [^()]+)\))?")
# How the name of a metric reads that several trials make up -> what it is, made from the metric that it is based on.
DERIVED: dict[re.Pattern[str], Callable[..., Measure]] = {
    re.compile(r"(?P<base>.+) per doubling of (?P<axis>\w+)"): lambda metric, axis: replace(
        metric,
        words=f"slope of {metric.words} per doubling of {formatting.axis(axis)}",
        template=f"per doubling of {formatting.axis(axis)}, {metric.words} changes by an amount that is {{difference}}",
        lead=(
            f"the lead of {{arm}} over {{than}} in {metric.words} grows with each doubling of "
            f"{formatting.axis(axis)}{{by}}"
        ),
    ),
    re.compile(r"(?P<base>.+) at the best (?P<axis>\w+)"): lambda metric, axis: replace(
        metric,
        words=f"{metric.words} at the best {formatting.axis(axis)}",
        template=f"with the {formatting.full_axis(axis)} chosen on the other seeds, {metric.template}",
        lead=f"with the {formatting.full_axis(axis)} chosen on the other seeds, {metric.lead_of}",
    ),
    re.compile(r"(?P<base>.+) recovered"): lambda metric: replace(
        metric,
        words=f"share of the {metric.words} recovered",
        template="{difference}",
        difference=SHARE_OF_LOSS,
        unit=SHARE,
        lead="{arm} recovers more than {margin} of what {than} loses",
    ),
    re.compile(r"(?P<base>.+) as a ratio"): lambda metric: replace(
        metric,
        words=f"{metric.words}, as a ratio",
        difference=RATIO,
        unit=TIMES,
        sign=1,
        failed=metric.sign * metric.failed,
        lead=MORE.replace("{words}", metric.words).replace("{better}", "higher"),
    ),
}
AT_WORDS = {  # which value of a curve -> how its name reads
    "first": "{} at the start",
    "mean": "{} on average over training",
    "range": "range of {} over training",
    None: "{} at the end",
}


def _curve_words(split: str, name: str, of_suite: Measured) -> str:
    """What a curve is called, whichever value of it is meant."""
    quantity, _, layer = name.partition("/")
    spec = of_suite.metrics.get(quantity)
    described = PROBE_CURVES[quantity].words if quantity in PROBE_CURVES else quantity.replace("_", " ")
    if split == "batch":  # an arm may be called so
        return f"{described} of the training batches"
    on_split = "" if split == "probe" else f"{split} "
    return f"{on_split}{spec.words if spec else described}{f' in layer {layer}' if layer else ''}"


def _at_words(at: str | None, of_suite: Measured) -> str:
    """How the name of one value of a curve reads, with {} for the curve."""
    crossing = crossing_of(at)
    if crossing is None:
        return AT_WORDS[at]
    split, _, name = crossing.curve.partition(".")
    return f"{{}} where the {_curve_words(split, name, of_suite)} first falls to {formatting.number(crossing.level)}"


def curve_metric(name: str, of_suite: Measured) -> Measure:
    """What "split.name" or "split.name/layer" means: a value of a curve. Neither more nor less of it is good."""
    curve = CURVE.fullmatch(name)
    if curve is None:
        raise KeyError(name)
    spec = of_suite.metrics.get(curve["name"].partition("/")[0])
    words = _at_words(curve["at"], of_suite).format(_curve_words(curve["split"], curve["name"], of_suite))
    policy = Policy(f"what was measured of it; a value that is missing is {UNKNOWN_WORDS}", lambda trials: trials[name])
    return Measure(
        name=name,
        words=words,
        template=f"{words} is {{difference}}",
        unit=unit_of(spec) if spec else PLAIN,
        better="higher",
        worse="lower",
        policy=policy,
        sign=1,
        failed=0,
        lead=MORE,
        low=spec.low if spec else -math.inf,
        high=spec.high if spec else math.inf,
    )
