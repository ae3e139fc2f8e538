"""What goes on inside: activations, gradients, dead units and the loss landscape, from what probes measured.

A probe's curve is called NAME, or NAME/LAYER where it is of one layer, counted from 1 at the input. What
curves there are, and which are drawn over the layers: harness/spec/probes.py.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from harness.analysis import formatting, pairing
from harness.reporting.figures.curves import telling_lrs
from harness.reporting.figures.frame import (
    ReportFigure,
    canvas,
    color_of,
    counted,
    label_text,
    legend,
    line_of,
    over_lr,
    plain_numbers,
    points_of,
    seeds,
    setting,
)
from harness.spec.manifest import Manifest
from harness.spec.probes import PROBE_CURVES
from harness.storage.tables import Results

MOST_ARMS = 4  # beside each other
MOST_LAYERS = 3  # below each other
PERCENTILES = ("activation_p15", "activation_p50", "activation_p85")
LANDSCAPE = {  # what of it is drawn -> its two curves, its scale
    "loss along the step": ("landscape_loss_min", "landscape_loss_max", "log"),
    "change of the gradient": ("landscape_gradient_change_min", "landscape_gradient_change_max", "linear"),
}


BY_LAYER = {name: curve for name, curve in PROBE_CURVES.items() if curve.question}


def activation_percentiles(results: Results) -> Iterator[ReportFigure]:
    """The 15th, 50th and 85th percentiles of activations over training (Ioffe & Szegedy 2015, figure 1)."""
    arms = pairing.arms(results.manifest)[:MOST_ARMS]
    for suffix, where, curves in _probed(results):
        layers = _ends_and_middle(curves.loc[curves["name"] == PERCENTILES[1], "layer"])
        if not layers:
            continue
        with canvas(1.1 + 1.35 * len(layers)) as figure:
            panels = figure.subplots(len(layers), len(arms), sharex=True, sharey="row", squeeze=False)
            for row, layer in enumerate(layers):
                here = curves[(curves["layer"] == layer) & curves["name"].isin(PERCENTILES)]
                for axes, arm in zip(panels[row], arms, strict=True):
                    _percentiles(axes, here[here[results.manifest.compare] == arm], color_of(arm, arms))
                panels[row][0].set_ylabel(f"layer {layer}")
            for axes, arm in zip(panels[0], arms, strict=True):
                axes.set_title(label_text(arm))
            for axes in panels[-1]:
                axes.set_xlabel("step")
        yield ReportFigure(
            name=f"activations{suffix}",
            title="How do activations move in training?" + where,
            figure=figure,
            caption=(
                f"The 15th, 50th and 85th percentile of what a layer hands to its nonlinearity, the band between the "
                f"outer two shaded; thin lines are the medians of single seeds, all others means over seeds. "
                f"{_about(results, curves)}"
            ),
            alt=f"Percentiles of activations over steps, by arm, for layers {formatting.listing(map(str, layers))}.",
        )


def _percentiles(axes: Axes, curves: pd.DataFrame, tint: str) -> None:
    for _, own in curves[curves["name"] == PERCENTILES[1]].groupby("key", sort=False):
        axes.plot(own["step"], own["value"], lw=0.6, alpha=0.35, color=tint)
    mean = curves.pivot_table(index="step", columns="name", values="value", aggfunc="mean", dropna=False)
    if set(PERCENTILES) <= set(mean.columns):
        low, middle, high = (mean[name].to_numpy("float64") for name in PERCENTILES)
        axes.fill_between(mean.index, low, high, alpha=0.18, lw=0, color=tint)
        for values, width in ((low, 0.9), (middle, 1.8), (high, 0.9)):
            axes.plot(mean.index, values, lw=width, color=tint)


def probes_by_layer(results: Results) -> Iterator[ReportFigure]:
    """Each curve of BY_LAYER over the layers, input side first, at the start, in the middle and at the end."""
    manifest = results.manifest
    for suffix, where, curves in _probed(results):
        for name, curve in BY_LAYER.items():
            here = curves[(curves["name"] == name) & curves["layer"].notna()]
            steps = _ends_and_middle(here["step"])
            if not steps:
                continue
            with canvas(2.9) as figure:
                panels = figure.subplots(1, len(steps), sharex=True, sharey=True, squeeze=False)[0]
                for axes, step in zip(panels, steps, strict=True):
                    _profile(axes, here[here["step"] == step], manifest)
                    axes.set(title=f"step {step}", xlabel="layer")
                    axes.xaxis.get_major_locator().set_params(integer=True)
                _scale(panels[0], here["value"], curve.scale)
                panels[0].set_ylabel(curve.words)
                legend(figure, panels, manifest.compare)
            yield ReportFigure(
                name=f"{name}{suffix}",
                title=curve.question + where,
                figure=figure,
                caption=(
                    f"The {curve.words} of each layer, the input side first. Every seed is a thin line, their mean "
                    f"is thick. {_about(results, here)}"
                ),
                alt=f"The {curve.words} over the layers, by arm, at steps {formatting.listing(map(str, steps))}.",
            )


def _profile(axes: Axes, curves: pd.DataFrame, manifest: Manifest) -> None:
    arms = pairing.arms(manifest)
    for arm in arms:
        mine = curves[curves[manifest.compare] == arm].sort_values("layer")
        for _, own in mine.groupby("key", sort=False):
            axes.plot(own["layer"], own["value"], lw=0.6, alpha=0.35, color=color_of(arm, arms))
        mean = mine.groupby("layer")["value"].mean()
        if len(mean):
            axes.plot(mean.index, mean, marker="o", ms=3, lw=1.6, label=label_text(arm), **line_of(arm, arms))


def landscape(results: Results) -> Iterator[ReportFigure]:
    """The range of the loss along the gradient, and of the gradient's change (Santurkar et al. 2018, figure 4)."""
    manifest = results.manifest
    for suffix, where, curves in _probed(results):
        drawn = {label: ends for label, ends in LANDSCAPE.items() if set(ends[:2]) <= set(curves["name"])}
        if not drawn:
            continue
        with canvas(3.0) as figure:
            panels = figure.subplots(1, len(drawn), sharex=True, squeeze=False)[0]
            for axes, (label, (low, high, scale)) in zip(panels, drawn.items(), strict=True):
                _bands(axes, curves, (low, high), manifest)
                _scale(axes, curves.loc[curves["name"].isin((low, high)), "value"], scale)
                axes.set(xlabel="step", ylabel=label)
            legend(figure, panels, manifest.compare)
        yield ReportFigure(
            name=f"landscape{suffix}",
            title="How smooth is the loss along the gradient?" + where,
            figure=figure,
            caption=(
                f"From the smallest to the largest value that is met along the direction of the gradient, at several "
                f"step sizes, over training: the {formatting.listing(drawn)} (l2 distance). Bands are means "
                f"over seeds of "
                f"both ends; a narrow band is a smooth landscape. {_about(results, curves)}"
            ),
            alt=f"Bands over steps by arm: {formatting.listing(drawn)}.",
        )


def _bands(axes: Axes, curves: pd.DataFrame, ends: tuple[str, str], manifest: Manifest) -> None:
    arms = pairing.arms(manifest)
    for arm in arms:
        mine = curves[(curves[manifest.compare] == arm) & curves["name"].isin(ends)]
        mean = mine.pivot_table(index="step", columns="name", values="value", aggfunc="mean")
        if set(ends) <= set(mean.columns):
            low, high = (mean[end].to_numpy("float64") for end in ends)
            axes.fill_between(mean.index, low, high, alpha=0.25, lw=0, color=color_of(arm, arms))
            axes.plot(mean.index, low, lw=0.8, **line_of(arm, arms))
            axes.plot(mean.index, high, lw=1.4, label=label_text(arm), **line_of(arm, arms))


def _probed(results: Results) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """What was probed at each grid point, at one lr where it is an axis: a suffix, the point in words, the curves."""
    probed = results.curves[results.curves["split"] == "probe"]
    if probed.empty:
        return
    name = probed["metric"].str.partition("/")
    probed = probed.assign(name=name[0], layer=pd.to_numeric(name[2], errors="coerce"))
    manifest = results.manifest
    columns = list(dict.fromkeys(["key", "lr", "seed", manifest.compare]))
    for suffix, where, trials in points_of(results, *(["lr"] if over_lr(manifest) else [])):
        said = [where]
        if over_lr(manifest):
            lrs = telling_lrs(trials, manifest, 1)
            trials = trials[trials["lr"].isin(lrs)]
            said = [*(formatting.point({"lr": lr}) for lr in lrs), where]
        curves = probed.merge(trials[columns], on="key")
        if not curves.empty:
            point = ", ".join(filter(None, said))
            yield suffix, f" ({point})" if point else "", curves


def _ends_and_middle(found: "pd.Series[Any]") -> list[int]:
    """The first, the middle and the last of what there is."""
    known = np.unique(found.dropna().to_numpy("int64"))
    return sorted({int(known[i]) for i in (0, len(known) // 2, -1)}) if len(known) else []


def _scale(axes: Axes, values: "pd.Series[Any]", scale: str) -> None:
    """A log axis where one is asked for and there is something on it."""
    if scale == "log" and (values > 0).any():
        axes.set_yscale("log")
        plain_numbers(axes.yaxis)


def _about(results: Results, curves: pd.DataFrame) -> str:
    trials = results.trials[results.trials["key"].isin(curves["key"])]
    return f"{seeds(trials)} {counted(trials, results.manifest)} {setting(results)}"
