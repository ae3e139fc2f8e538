"""What goes on inside: activations, gradients, dead units and the loss landscape, from what probes measured.

A probe's curve is called NAME, or NAME/LAYER where it is of one layer, counted from 1 at the input. What
curves there are, and which are drawn over the layers: harness/spec/probes.py.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from harness.analysis import formatting
from harness.analysis.validation import over_lr
from harness.reporting.figures.curves import curves_with_arms, telling_lrs
from harness.reporting.figures.drawing import canvas, lines_per_trial, plain_numbers
from harness.reporting.figures.frame import ReportFigure, ResultSlice, points_of, report_figure
from harness.reporting.figures.style import label_text
from harness.spec.probes import PROBE_CURVES
from harness.storage.tables import Results

MAX_ARM_COLUMNS = 4  # arms beside each other
PERCENTILE_CURVES = ("activation_p15", "activation_p50", "activation_p85")
LANDSCAPE = {  # label -> the curves of both ends, scale
    "loss along the step": ("landscape_loss_min", "landscape_loss_max", "log"),
    "change of the gradient": ("landscape_gradient_change_min", "landscape_gradient_change_max", "linear"),
}


BY_LAYER = {name: curve for name, curve in PROBE_CURVES.items() if curve.question}


def activation_percentiles(results: Results) -> Iterator[ReportFigure]:
    """The 15th, 50th and 85th percentiles of activations over training (Ioffe & Szegedy 2015, figure 1)."""
    for data, curves in _probed(results):
        arms = data.arms[:MAX_ARM_COLUMNS]
        curves = curves[curves["name"].isin(PERCENTILE_CURVES)]
        layers = _ends_and_middle(curves.loc[curves["name"] == PERCENTILE_CURVES[1], "layer"])
        if not layers:
            continue
        with canvas(1.1 + 1.35 * len(layers)) as figure:
            panels = figure.subplots(len(layers), len(arms), sharex=True, sharey="row", squeeze=False)
            for row, layer in zip(panels, layers, strict=True):
                for axes, arm in zip(row, arms, strict=True):
                    rows = curves[(curves["layer"] == layer) & (curves[data.compare] == arm)]
                    _draw_percentiles(axes, rows, data, data.palette[arm])
                row[0].set_ylabel(f"layer {layer}")
            for arm, first, last in zip(arms, panels[0], panels[-1], strict=True):
                first.set_title(label_text(arm))
                last.set_xlabel("step")
        yield report_figure(
            data,
            figure,
            name="activations",
            title="How do activations move in training?",
            caption=(
                "The 15th, 50th and 85th percentile of what a layer hands to its nonlinearity, the band between the "
                "outer two shaded; thin lines are the medians of single seeds, all others means over seeds."
            ),
            alt=f"Percentiles of activations over steps, by arm, for layers {formatting.listing(map(str, layers))}.",
            shown=(len(arms), len(data.arms), "arms"),
        )


def _draw_percentiles(axes: Axes, curves: pd.DataFrame, data: ResultSlice, color: str) -> None:
    lines_per_trial(axes, curves[curves["name"] == PERCENTILE_CURVES[1]], "step", data)
    mean = curves.pivot_table(index="step", columns="name", values="value", aggfunc="mean", dropna=False)
    if set(PERCENTILE_CURVES) <= set(mean.columns):
        low, middle, high = (mean[name].to_numpy("float64") for name in PERCENTILE_CURVES)
        axes.fill_between(mean.index, low, high, alpha=0.18, lw=0, color=color)
        for values, width in ((low, 0.9), (middle, 1.8), (high, 0.9)):
            axes.plot(mean.index, values, lw=width, color=color)


def probes_by_layer(results: Results) -> Iterator[ReportFigure]:
    """Each curve of BY_LAYER over the layers, input side first, at the start, in the middle and at the end."""
    for data, every_curve in _probed(results):
        for name, curve in BY_LAYER.items():
            curves = every_curve[(every_curve["name"] == name) & every_curve["layer"].notna()]
            steps = _ends_and_middle(curves["step"])
            if not steps:
                continue
            with canvas(2.9, data.compare) as figure:
                panels = figure.subplots(1, len(steps), sharex=True, sharey=True, squeeze=False)[0]
                for axes, step in zip(panels, steps, strict=True):
                    _draw_profile(axes, curves[curves["step"] == step], data)
                    axes.set(title=f"step {step}", xlabel="layer")
                    axes.xaxis.get_major_locator().set_params(integer=True)
                _set_scale(panels[0], curves["value"], curve.scale)
                panels[0].set_ylabel(curve.words)
            yield report_figure(
                data,
                figure,
                name=name,
                title=curve.question,
                caption=(
                    f"The {curve.words} of each layer, the input side first. Every seed is a thin line, their mean "
                    f"is thick."
                ),
                alt=f"The {curve.words} over the layers, by arm, at steps {formatting.listing(map(str, steps))}.",
            )


def _draw_profile(axes: Axes, curves: pd.DataFrame, data: ResultSlice) -> None:
    lines_per_trial(axes, curves, "layer", data)
    for arm, rows in data.by_arm(curves):
        mean = rows.groupby("layer")["value"].mean()
        axes.plot(mean.index, mean, marker="o", ms=3, lw=1.6, label=label_text(arm), **data.line(arm))


def landscape_bands(results: Results) -> Iterator[ReportFigure]:
    """The range of the loss along the gradient, and of the gradient's change (Santurkar et al. 2018, figure 4)."""
    for data, curves in _probed(results):
        bands = {label: band for label, band in LANDSCAPE.items() if set(band[:2]) <= set(curves["name"])}
        if not bands:
            continue
        with canvas(3.0, data.compare) as figure:
            panels = figure.subplots(1, len(bands), sharex=True, squeeze=False)[0]
            for axes, (label, (low, high, scale)) in zip(panels, bands.items(), strict=True):
                rows = curves[curves["name"].isin((low, high))]
                _draw_bands(axes, rows, (low, high), data)
                _set_scale(axes, rows["value"], scale)
                axes.set(xlabel="step", ylabel=label)
        yield report_figure(
            data,
            figure,
            name="landscape",
            title="How smooth is the loss along the gradient?",
            caption=(
                f"From the smallest to the largest value that is met along the direction of the gradient, at several "
                f"step sizes, over training: the {formatting.listing(bands)} (l2 distance). Bands are means over seeds "
                f"of both ends; a narrow band is a smooth landscape."
            ),
            alt=f"Bands over steps by arm: {formatting.listing(bands)}.",
        )


def _draw_bands(axes: Axes, curves: pd.DataFrame, ends: tuple[str, str], data: ResultSlice) -> None:
    for arm, rows in data.by_arm(curves):
        mean = rows.pivot_table(index="step", columns="name", values="value", aggfunc="mean")
        if set(ends) <= set(mean.columns):
            low, high = (mean[end].to_numpy("float64") for end in ends)
            axes.fill_between(mean.index, low, high, alpha=0.25, lw=0, color=data.palette[arm])
            axes.plot(mean.index, low, lw=0.8, **data.line(arm))
            axes.plot(mean.index, high, lw=1.4, label=label_text(arm), **data.line(arm))


def _probed(results: Results) -> Iterator[tuple[ResultSlice, pd.DataFrame]]:
    """What was probed at each grid point, at one lr where it is an axis: the trials and their curves."""
    probed = results.curves[results.curves["split"] == "probe"]
    if probed.empty:
        return
    name = probed["metric"].str.partition("/")
    probed = probed.assign(name=name[0], layer=pd.to_numeric(name[2], errors="coerce"))
    at_lr = over_lr(results.manifest)
    for data in points_of(results, *(["lr"] if at_lr else [])):
        lrs = telling_lrs(data, 1) if at_lr else []
        trials = data.trials[data.trials["lr"].isin(lrs)] if at_lr else data.trials
        curves = curves_with_arms(replace(data, trials=trials), probed)
        if not curves.empty:
            point = ", ".join(filter(None, [*(formatting.point({"lr": lr}) for lr in lrs), data.point]))
            yield replace(data, trials=trials[trials["key"].isin(curves["key"])], point=point), curves


def _ends_and_middle(values: "pd.Series[Any]") -> list[int]:
    """The first, the middle and the last of the different values."""
    different = np.unique(values.dropna().to_numpy("int64"))
    return sorted({int(different[i]) for i in (0, len(different) // 2, -1)}) if len(different) else []


def _set_scale(axes: Axes, values: "pd.Series[Any]", scale: str) -> None:
    """A log axis where one is asked for and there is something on it."""
    if scale == "log" and (values > 0).any():
        axes.set_yscale("log")
        plain_numbers(axes.yaxis)
