"""The frame of every figure: the trials that it shows, what all captions say, and checks on its words.

A figure is a function from results to figures. It draws its panels and writes the sentences that are particular to it;
`report_figure` adds the grid point and the count of seeds. Failures by arm, how they are scored, and the setting are
the same for all figures of a report: the section on method says them once.
"""

import io
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from harness.analysis import formatting, pairing
from harness.analysis.comparison import Comparison
from harness.analysis.measures.measure import Measure
from harness.analysis.metrics import FAILED, FINISHED, judged_by, metrics_of
from harness.analysis.validation import baseline_arm, over_lr
from harness.reporting.figures.style import DASHES, STYLE, color_of
from harness.reporting.svg import with_titles
from harness.reporting.upkeep.staleness import IMAGE_FORMATS
from harness.reporting.variants import point_words
from harness.spec.claim import Claim
from harness.spec.manifest import Manifest, is_own, measured_of
from harness.spec.measured import LOSS
from harness.spec.trial import Trial
from harness.storage.records import TELEMETRY
from harness.storage.tables import OUTCOMES, Results
from harness.text import LINES, printable

STEP_TIME = "step_time"
MAX_POINTS = 6  # grid points that get a figure of their own; the tables have all of them
UNTESTED = "not tested here"
TABLE_COLUMNS = {*OUTCOMES, *TELEMETRY, *(field.name for field in fields(Trial))}
NO_WORDS = {"None", "nan", *(column for column in TABLE_COLUMNS if "_" in column)}  # for Python and tables only


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultSlice:
    """What one figure shows of the results: the trials of one grid point, or of all."""

    results: Results
    trials: pd.DataFrame
    point: str = ""  # in words; empty where the figure is of all points
    suffix: str = ""  # of the names of its files

    @classmethod
    def whole(cls, results: Results) -> "ResultSlice":
        """All trials of all grid points."""
        return cls(results=results, trials=results.trials)

    @property
    def manifest(self) -> Manifest:
        return self.results.manifest

    @property
    def compare(self) -> str:
        """The axis whose values are the arms."""
        return self.manifest.compare

    @property
    def arms(self) -> list[Any]:
        return pairing.arms(self.manifest)

    @property
    def baseline(self) -> Any:
        return baseline_arm(self.manifest)

    @property
    def metric(self) -> Measure:
        """What the trials are judged by, on test data."""
        return self.judged_by("test")

    @property
    def validated_by(self) -> Measure:
        """The same on validation data."""
        return self.judged_by("val")

    def judged_by(self, split: str) -> Measure:
        """What the figures show of a split: what most claims speak of, else what trials are judged by."""
        tasks = {*self.trials.get("task", pd.Series(dtype="str")).dropna()} & {*measured_of(self.manifest).tasks}
        task = tasks.pop() if len(tasks) == 1 else None
        return claimed_metric(self.manifest, split, task) or judged_by(self.manifest, split, task)

    @property
    def palette(self) -> dict[Any, str]:
        return {arm: color_of(arm, index) for index, arm in enumerate(self.arms)}

    def line(self, arm: Any) -> Any:
        """How the line of an arm looks: its colour, and dashes that let the lines of earlier arms show through."""
        return {"color": self.palette[arm], "ls": DASHES[self.arms.index(arm) % len(DASHES)]}

    def by_arm(self, rows: pd.DataFrame) -> Iterator[tuple[Any, pd.DataFrame]]:
        """The arms that have any of these rows, in the order of the manifest, with their rows."""
        for arm in self.arms:
            rows_of_arm = rows[rows[self.compare] == arm]
            if not rows_of_arm.empty:
                yield arm, rows_of_arm


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFigure:
    """A figure with all that stands around it on a page; its words are checked when it is made."""

    name: str  # of its files
    title: str
    figure: Figure
    caption: str
    alt: str  # what the figure shows, for those who can't see it
    comparisons: tuple[Comparison, ...] = ()
    quoted: frozenset[str] = frozenset()  # words of the manifest, which may be any

    def __post_init__(self) -> None:
        for part in ("title", "caption", "alt"):
            faults = list(_faults(getattr(self, part), self.quoted, is_prose=part != "title"))
            assert not faults, f"figure {self.name}: its {part} {' and '.join(faults)}"

    def lay_out(self) -> None:
        """Find room for all that is in the figure, once for all formats."""
        with mpl.rc_context(STYLE):
            self.figure.draw_without_rendering()
            self.figure.set_layout_engine(None)

    def image(self, suffix: str) -> bytes:
        """The figure in one of the formats, for a notebook or for a page that has no files beside it."""
        self.lay_out()
        return _image_bytes(self.figure, suffix, IMAGE_FORMATS[suffix])

    def files(self) -> dict[str, bytes]:
        """The figure as files, by their names."""
        self.lay_out()
        return {
            f"{self.name}.{suffix}": _image_bytes(self.figure, suffix, metadata)
            for suffix, metadata in IMAGE_FORMATS.items()
        }


def _faults(text: str, quoted: frozenset[str], *, is_prose: bool) -> Iterator[str]:
    """What is wrong with the words of a figure."""
    if not text.strip():
        yield "is empty"
    elif is_prose and not text.endswith("."):
        yield "does not end in a full stop"
    for word in sorted(NO_WORDS.intersection(_words(text)) - quoted):
        yield f"says {word!r}"


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text))


def _image_bytes(figure: Figure, suffix: str, metadata: Mapping[str, Any]) -> bytes:
    sink = io.BytesIO()
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        warnings.simplefilter("ignore", BytesWarning)  # matplotlib makes ids of str(bytes), which python -bb refuses
        figure.savefig(sink, format=suffix, dpi=160, metadata=dict(metadata))
    data = sink.getvalue()
    # It holds the texts of the figure as comments beside their outlines.
    return with_titles(printable(data.decode(), keep=LINES)).encode() if suffix == "svg" else data


def report_figure(
    data: ResultSlice,
    figure: Figure,
    *,
    name: str,
    title: str,
    caption: str,
    alt: str,
    shown: tuple[int, int, str] | None = None,  # how many of how many, and of what
    sample: str | None = None,  # what n is, where it is not the seeds that have a result
    shows_trials: bool = True,
    comparisons: tuple[Comparison, ...] = (),
) -> ReportFigure:
    """The figure, its caption completed by its sample; what is the same for all figures, Method says once."""
    sentences = [caption, _left_out(*shown) if shown else ""]
    if shows_trials:
        sentences.append(seeds(data.trials) if sample is None else sample)
    return ReportFigure(
        name=f"{name}{data.suffix}",
        title=title + (f" ({data.point})" if data.point else ""),
        figure=figure,
        caption=" ".join(filter(None, sentences)),
        alt=alt,
        comparisons=comparisons,
        quoted=_words_of_suite(data.manifest),
    )


def _left_out(shown: int, total: int, noun: str) -> str:
    return f"Shown: {shown} of {total} {noun}." if shown < total else ""


def _words_of_suite(manifest: Manifest) -> frozenset[str]:
    """The words in values that the suite gives to axes and settings, and in metrics."""
    values = [*manifest.settings.values(), *(value for values in manifest.axes.values() for value in values)]
    metrics = [declared.claim.metric for declared in manifest.claims if declared.claim.metric not in OUTCOMES]
    own = [text for name, spec in measured_of(manifest).metrics.items() for text in (name, spec.words, spec.unit)]
    return frozenset(word for text in [*values, *metrics, *own] if isinstance(text, str) for word in _words(text))


def seeds(trials: pd.DataFrame) -> str:
    """How many seeds there are to see, as a sentence of a figure in which nothing is tested."""
    n = trials.loc[trials["status"].isin(FINISHED), "seed"].nunique()
    few = "" if n > 1 else " (descriptive: nothing can be said of other seeds)"
    return f"n = {formatting.count(n, 'seed')}{few}, {UNTESTED}."


def failures(data: ResultSlice) -> str:
    """How many failed in each arm of those that ended, as a sentence."""
    parts = []
    for arm in data.arms:
        status = data.trials.loc[data.trials[data.compare] == arm, "status"]
        failed, ended = (int(status.isin(statuses).sum()) for statuses in (FAILED, FINISHED))
        parts.append(f"{failed} of {ended} {formatting.with_arm(formatting.value(arm), data.compare)}")
    return f"Failed to train: {formatting.listing(parts)}."


def setting(manifest: Manifest) -> str:
    """What is the same for all, as sentences: model, data, init; and what intervals over seeds cover."""
    if is_own(manifest):
        return "Intervals are over seeds, with whatever else the function that trains keeps fixed."
    constants = [
        f"{name} {formatting.value(manifest.settings[name])}"
        for name in ("model", "dataset", "init", "optimizer")
        if manifest.settings.get(name) is not None
    ]
    return f"Setting: {', '.join(constants)}. Intervals are over seeds, on one fixed split of the data."


def claims_of(results: Results, kind: str) -> Iterator[tuple[int, Claim]]:
    """The claims of one kind, each with its number in the manifest."""
    for number, declared in enumerate(results.manifest.claims, start=1):
        if declared.claim.kind == kind:
            yield number, declared.claim


def claimed_metric(manifest: Manifest, split: str = "test", task: str | None = None) -> Measure | None:
    """The metric that most claims speak of, on a split; None where a target says which, or no claim speaks of one."""
    of_suite = measured_of(manifest)
    if of_suite.target is not None or of_suite.is_own or not manifest.claims:
        return None
    names = [declared.claim.metric.removeprefix("test_") for declared in manifest.claims if _is_of_test(declared.claim)]
    known = [name for name in names if name == LOSS or name in (of_suite.tasks[task] if task else of_suite.metrics)]
    return metrics_of(manifest)[f"{split}_{Counter(known).most_common(1)[0][0]}"] if known else None


def _is_of_test(claim: Claim) -> bool:
    return claim.metric.startswith("test_")


def speaks_of_scores(manifest: Manifest) -> bool:
    """Whether there is a claim on what training comes to, or none at all: else no figure of scores belongs on the page.

    Claims on the time of a step, and on what probes see, are asked of nets that need not learn anything.
    """
    outcomes = metrics_of(manifest).outcomes
    metrics = [declared.claim.metric for declared in manifest.claims]
    return not metrics or any(metric in outcomes and metric != STEP_TIME for metric in metrics)


def points_left_out(results: Results) -> int:
    """How many grid points have no figures of their own."""
    without = ["lr"] if over_lr(results.manifest) else []
    return max(0, len(list(pairing.by_point(results.trials, pairing.axes(results.manifest, *without)))) - MAX_POINTS)


def points_of(results: Results, *without: str) -> Iterator[ResultSlice]:
    """The trials of each grid point but for some axes, as far as points get figures of their own."""
    over = pairing.axes(results.manifest, *without)
    for number, (point, trials) in enumerate(pairing.by_point(results.trials, over), start=1):
        if number > MAX_POINTS:
            return
        suffix = f"_{number}" if over else ""
        words = point_words(formatting.point(point), results.manifest)
        yield ResultSlice(results=results, trials=trials, point=words, suffix=suffix)
