"""The tables of the page: texts as a reader wants them, with numbers beside them by which they sort."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from harness.analysis import formatting, pairing
from harness.analysis.comparison import Comparison
from harness.spec.manifest import Manifest, measured_of

MAX_TABLE_ROWS = 2000  # of a table on the page
MAIN_COLUMNS = 5  # of comparisons, that are shown at first
COMPARISON_COLUMNS = (
    "verdict",
    "where",
    "arms",
    "mean difference or ratio",
    "seeds ahead, behind, level",
    "shown in",
    "metric",
    "pairs",
    "mean",
    "mean of the other",
    "means as measured (scores replaced)",
    "median difference (95 %)",
    "95 % interval of the mean",
    "p (exact sign test)",
    "p (Holm)",
    "failed (95 % Wilson)",
    "other failed (95 % Wilson)",
    "p of failures (McNemar, Holm)",
)

Cell = tuple[str, str]  # what is shown, and the number that it sorts by, empty where it sorts as text


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of a page; `label` says what it holds to those who can't see it."""

    name: str  # of its place on the page
    label: str
    columns: tuple[str, ...]
    rows: list[list[Cell]]
    left_out: int = 0
    main_columns: int = 0  # how many are shown at first; 0: all
    links: tuple[str, ...] = ()  # where the first cell of each row leads to; empty where nowhere


def trials_table(name: str, label: str, trials: pd.DataFrame, manifest: Manifest) -> Table:
    """Trials with what varies between them and what came of them."""
    of_suite = measured_of(manifest)
    judged_by = dict.fromkeys(map(of_suite.judged_by, of_suite.tasks))
    scores = [f"{split}_{metric}" for metric in judged_by for split in ("test", "val")]
    found = of_suite.columns if of_suite.is_own else [*scores, "train_loss", "steps_to_target"]
    columns = ["key", *manifest.axes, "status", *found, "fail_step"]
    shown = trials[columns].head(MAX_TABLE_ROWS)
    return Table(
        name=name,
        label=label,
        columns=tuple(map(formatting.axis, columns)),
        rows=[[_table_cell(value) for value in row] for row in shown.itertuples(index=False)],
        left_out=len(trials) - len(shown),
    )


def failures_table(failed: pd.DataFrame, manifest: Manifest) -> Table:
    """Failures by arm and status: how many, and at which grid points."""
    over, rows = pairing.axes(manifest), []
    for (arm, status), trials in failed.groupby([manifest.compare, "status"], sort=False):
        points = [
            f"{formatting.point(point) or 'everywhere'} ({len(at_point)})"
            for point, at_point in pairing.by_point(trials, over)
        ]
        rows.append(
            [
                _table_cell(formatting.value(arm)),
                _table_cell(str(status)),
                _table_cell(len(trials)),
                _table_cell("; ".join(points)),
            ]
        )
    columns = (formatting.axis(manifest.compare), "status", "trials", "where (trials)")
    return Table(name="failed", label="Trials that failed to train", columns=columns, rows=rows)


def comparisons_table(name: str, label: str, comparisons: Iterable[Comparison]) -> Table:
    """Comparisons with the numbers that a verdict or a figure rests on."""
    comparisons = list(comparisons)
    rows = [_comparison_cells(comparison) for comparison in comparisons[:MAX_TABLE_ROWS]]
    return Table(
        name=name,
        label=label,
        columns=COMPARISON_COLUMNS,
        rows=rows,
        left_out=len(comparisons) - len(rows),
        main_columns=MAIN_COLUMNS,
    )


def _comparison_cells(c: Comparison) -> list[Cell]:
    unit = c.unit
    return [
        (c.verdict, ""),
        (c.point or "all", ""),
        (f"{c.arm} against {c.than}", ""),
        _keyed(formatting.format_bound(c.estimate, unit, c.bound), formatting.to_unit(c.estimate, unit)),
        (_counted(c), ""),
        (c.shown_in, ""),
        (c.definition.words, ""),
        _table_cell(c.n),
        _keyed(formatting.format_value(c.arm_mean, unit), formatting.to_unit(c.arm_mean, unit)),
        _keyed(formatting.format_value(c.than_mean, unit), formatting.to_unit(c.than_mean, unit)),
        (_measured(c), ""),
        _keyed(_median(c), formatting.to_unit(c.median, unit)),
        _keyed(formatting.span(c.low, c.high, unit), min(formatting.to_unit(end, unit) for end in (c.low, c.high))),
        _keyed(formatting.p_value(c.p), c.p),
        _keyed(formatting.p_value(c.p_adjusted), c.p_adjusted),
        _rate(c.arm_failed, c.arm_finished, c.arm_failed_low, c.arm_failed_high),
        _rate(c.than_failed, c.than_finished, c.than_failed_low, c.than_failed_high),
        _keyed(formatting.p_value(c.failures_p_adjusted), c.failures_p_adjusted),
    ]


def _measured(c: Comparison) -> str:
    """Both means as they were measured, where scores of failed trials were replaced; and how many were."""
    if not c.arm_replaced + c.than_replaced:
        return ""
    unit = c.unit
    means = ", ".join(formatting.format_value(mean, unit) for mean in (c.arm_measured, c.than_measured))
    return f"{means} ({c.arm_replaced}, {c.than_replaced})"


def _counted(c: Comparison) -> str:
    """How many seeds lie on which side of the margin; of an equality, how many within it at either end."""
    if c.is_equivalence:
        return f"{c.below_upper} and {c.above_lower} within"
    return f"{c.wins}, {c.losses}, {c.ties}"


def _median(c: Comparison) -> str:
    unit = c.definition.unit.fitted(c.median_low, c.median_high)
    ends = "" if np.isnan(c.median_low) else f" ({formatting.span(c.median_low, c.median_high, unit)})"
    return f"{formatting.format_value(c.median, unit)}{ends}"


def _table_cell(value: Any) -> Cell:
    if pd.isna(value):
        return "", ""
    plain = value.item() if hasattr(value, "item") else value
    return formatting.value(plain), "" if isinstance(plain, str) else repr(float(plain))


def _keyed(text: str, number: float) -> Cell:
    """A text that sorts by a number; nothing where there is none."""
    return ("", "") if np.isnan(number) else (text, repr(float(number)))


def _rate(failed: int, finished: int, low: float, high: float) -> Cell:
    interval = f" ({100 * low:.0f} to {100 * high:.0f} %)" if finished and not np.isnan(low) else ""
    return f"{failed} of {finished}{interval}", repr(failed / finished) if finished else ""
