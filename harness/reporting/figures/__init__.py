"""Every figure of the report, from results. To add one: a function, and its entry in FIGURES."""

from collections.abc import Callable, Iterator

from harness.reporting.figures.batches import over_batch_size
from harness.reporting.figures.boundaries import boundary_maps
from harness.reporting.figures.costs import step_costs
from harness.reporting.figures.curves import learning_curves, time_to_target
from harness.reporting.figures.data import data_scatter
from harness.reporting.figures.effect import effect_at_each_point
from harness.reporting.figures.frame import MAX_POINTS, ReportFigure, points_left_out, speaks_of_scores
from harness.reporting.figures.maps import lr_and_batch_size
from harness.reporting.figures.own_curves import logged_curves
from harness.reporting.figures.probes import activation_percentiles, landscape_bands, probes_by_layer
from harness.reporting.figures.ranges import failure_map, usable_ranges
from harness.reporting.figures.recovered import recovered
from harness.reporting.figures.tasks import task_profile
from harness.reporting.figures.tuning import best_of_k_curve
from harness.spec.manifest import is_own
from harness.storage.tables import Results

__all__ = ["FIGURES", "MAX_POINTS", "ReportFigure", "figures", "points_left_out"]

FIGURES: list[Callable[[Results], Iterator[ReportFigure]]] = [  # each yields nothing where it has no data
    data_scatter,
    boundary_maps,
    effect_at_each_point,
    usable_ranges,
    best_of_k_curve,
    task_profile,
    over_batch_size,
    lr_and_batch_size,
    recovered,
    step_costs,
    time_to_target,
    learning_curves,
    activation_percentiles,
    probes_by_layer,
    landscape_bands,
    failure_map,
]


OF_SCORES = {effect_at_each_point, usable_ranges, best_of_k_curve, over_batch_size, lr_and_batch_size}

OF_OWN_TRAINING: list[Callable[[Results], Iterator[ReportFigure]]] = [
    effect_at_each_point,
    usable_ranges,
    recovered,
    logged_curves,
    failure_map,
]


def figures(results: Results) -> Iterator[ReportFigure]:
    """All figures that these results allow, in the order of the page; each is drawn when it is asked for."""
    has_scores = speaks_of_scores(results.manifest)
    for draw in OF_OWN_TRAINING if is_own(results.manifest) else FIGURES:
        if has_scores or draw not in OF_SCORES:
            yield from draw(results)
