"""A claim: a statement that a suite puts to the test, declared with its margin before the run."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.errors import SuiteError
from harness.spec.measured import crossing_of
from harness.spec.trial import Value, as_python


class DefaultMetric(str):
    """The metric of a claim that names none: the suite puts the one in its place that its task is judged by."""

    __slots__ = ()


DEFAULT_METRIC = DefaultMetric("test_accuracy")
PREDICTED = "predicted"  # what stands for the other arm where theory predicts the figure
TAU = 0.15  # 19 seeds without a lone failure show as much
AT = ("last", "mean", "first", "range")  # the value of a curve that a claim is about; range: its largest less its least


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A statement about one arm against another; the report answers with a verdict.

    Make one by the constructor of its kind: `Claim.wider_lr_range("batch", than="none", at_least_decades=0.5)`.
    `where` keeps some grid points only: a value or a list of values for an axis. Points are never pooled: a claim that
    covers several holds if it holds at each. `against` is the grid point of the other arm if
    that is not the same: `against={"world_size": 1}`; equal seeds are paired all the same.
    """

    kind: str
    arm: Value
    than: Value
    margin: float  # in the unit of the metric; decades for wider_lr_range, steps for sooner, a ratio for costs
    metric: str = DEFAULT_METRIC  # an outcome, or "split.name" of any curve
    where: Mapping[str, Value | Sequence[Value]] = field(default_factory=dict)
    at: str = "last"  # which value of a curve: one of AT, or where another curve falls to a level
    along: str = ""  # the axis that a trend goes along, or that is tuned
    against: Mapping[str, Value | Sequence[Value]] = field(default_factory=dict)
    within: float | None = None  # of recovers: the margin within which arm and one big batch count as equal
    published: float | None = None  # of matches: the figure, published or predicted
    is_ratio: bool = False  # of more and less: the margin is a factor
    tau: float = TAU  # of equality: the share of seeds in which either arm may fail to train alone

    def __post_init__(self) -> None:
        for name in ("arm", "than", "margin"):
            object.__setattr__(self, name, as_python(getattr(self, name)))
        for name in ("where", "against"):
            if isinstance(point := getattr(self, name), Mapping):
                object.__setattr__(self, name, {axis: _plain(values) for axis, values in point.items()})
        if self.arm == self.than and not self.against:
            raise SuiteError(f"a claim compares two arms, got {self.arm!r} twice")
        if not (is_number(self.margin) and 0 <= self.margin < math.inf):
            raise SuiteError(f"the margin of a claim must be a number, zero or more, got {self.margin!r}")
        if not (is_number(self.tau) and 0 < self.tau < 1):
            raise SuiteError(f"tau is a share of seeds between 0 and 1, such as {TAU}, got {self.tau!r}")
        if self.at not in AT and crossing_of(self.at) is None:
            raise SuiteError(f"at must be one of {', '.join(AT)}, or such as 'batch.loss <= 0.1', got {self.at!r}")
        if not isinstance(self.against, Mapping):
            raise SuiteError(f'against must be a mapping such as {{"world_size": 1}}, got {self.against!r}')

    @classmethod
    def better(
        cls,
        arm: str,
        *,
        than: str,
        by: float = 0.0,
        metric: str = DEFAULT_METRIC,
        against: Mapping[str, Any] | None = None,
        **where: Any,
    ) -> "Claim":
        """The arm's metric is better, by more than `by`, at each grid point `where`."""
        return cls(kind="better", arm=arm, than=than, margin=by, metric=metric, against=_or_empty(against), where=where)

    @classmethod
    def more(
        cls,
        arm: str,
        *,
        than: str,
        metric: str,
        by: float | None = None,
        by_factor: float | None = None,
        at: str = "last",
        against: Mapping[str, Any] | None = None,
        **where: Any,
    ) -> "Claim":
        """The arm's metric is higher, good or not: by more than `by`, or more than `by_factor` times as high."""
        margin = _margin_of(by, by_factor)
        return cls(
            kind="more",
            arm=arm,
            than=than,
            margin=margin,
            metric=metric,
            at=at,
            against=_or_empty(against),
            is_ratio=by_factor is not None,
            where=where,
        )

    @classmethod
    def less(
        cls,
        arm: str,
        *,
        than: str,
        metric: str,
        by: float | None = None,
        by_factor: float | None = None,
        at: str = "last",
        against: Mapping[str, Any] | None = None,
        **where: Any,
    ) -> "Claim":
        """The arm's metric is lower, good or not: by more than `by`, or by a factor of more than `by_factor`."""
        margin = _margin_of(by, by_factor)
        return cls(
            kind="less",
            arm=arm,
            than=than,
            margin=margin,
            metric=metric,
            at=at,
            against=_or_empty(against),
            is_ratio=by_factor is not None,
            where=where,
        )

    @classmethod
    def equivalent(
        cls,
        arm: str,
        *,
        to: str,
        within: float,
        tau: float = TAU,
        metric: str = DEFAULT_METRIC,
        at: str = "last",
        against: Mapping[str, Any] | None = None,
        **where: Any,
    ) -> "Claim":
        """In most seeds both arms' metrics are equal within the margin `within`, at each grid point `where`.

        And both train: neither arm fails to train alone in a share `tau` of seeds or more.
        """
        return cls(
            kind="equivalent",
            arm=arm,
            than=to,
            margin=within,
            tau=tau,
            metric=metric,
            at=at,
            against=_or_empty(against),
            where=where,
        )

    @classmethod
    def matches(
        cls,
        arm: str,
        *,
        published: float | None = None,
        predicted: float | None = None,
        within: float,
        tau: float = TAU,
        metric: str = DEFAULT_METRIC,
        at: str = "last",
        **where: Any,
    ) -> "Claim":
        """In most seeds the arm's metric equals a figure within the margin, at each grid point `where`.

        The figure is one that was `published`, or `predicted` by theory. The arm fails to train in less than a share
        `tau` of seeds.
        """
        than, figure = (PREDICTED, predicted) if published is None else ("published", published)
        if (published is None) == (predicted is None) or not is_number(figure) or not math.isfinite(figure or 0):
            given = f"published={published!r} and predicted={predicted!r}"
            raise SuiteError(
                f"give either as published or as predicted a number in the unit of trials.csv, got {given}"
            )
        return cls(
            kind="matches",
            arm=arm,
            than=than,
            margin=within,
            tau=tau,
            metric=metric,
            published=float(figure or 0),
            at=at,
            where=where,
        )

    @classmethod
    def wider_lr_range(cls, arm: str, *, than: str, at_least_decades: float = 0.0, **where: Any) -> "Claim":
        """The arm reaches the suite's target over more decades of learning rates, by more than `at_least_decades`."""
        return cls(kind="wider_lr_range", arm=arm, than=than, margin=at_least_decades, where=where)

    @classmethod
    def best_tuned(
        cls, arm: str, *, than: str, by: float = 0.0, metric: str = DEFAULT_METRIC, over: str = "lr", **where: Any
    ) -> "Claim":
        """At its own best value of the axis `over` the arm's test metric is better, by more than `by`.

        Each seed is scored at the value that the other seeds' validation scores choose.
        """
        return cls(kind="best_tuned", arm=arm, than=than, margin=by, metric=metric, along=over, where=where)

    @classmethod
    def trend(
        cls, arm: str, *, than: str, along: str, by: float = 0.0, metric: str = DEFAULT_METRIC, **where: Any
    ) -> "Claim":
        """The lead of the arm grows along an axis, by more than `by` for each doubling of its value."""
        return cls(kind="trend", arm=arm, than=than, margin=by, metric=metric, along=along, where=where)

    @classmethod
    def sooner(cls, arm: str, *, than: str, by_steps: float = 0.0, **where: Any) -> "Claim":
        """The arm reaches the suite's target in fewer steps, by more than `by_steps`, at each grid point `where`."""
        return cls(kind="sooner", arm=arm, than=than, margin=by_steps, metric="steps_to_target", where=where)

    @classmethod
    def recovers(
        cls,
        arm: str,
        *,
        lost_by: str,
        against: Mapping[str, Any],
        at_least: float = 0.5,
        within: float = 0.005,
        metric: str = DEFAULT_METRIC,
        **where: Any,
    ) -> "Claim":
        """The arm recovers more than the share `at_least` of what `lost_by` loses against one big batch.

        `against` is where the big batch stands: `against={"norm": "batch", "world_size": 1}`; an arm that it doesn't
        name is that of `lost_by`. Whether the arm equals the big batch within `within` is reported beside the verdict.
        """
        if not (is_number(within) and 0 < within < math.inf):
            raise SuiteError(f"within must be a number above 0, got {within!r}")
        return cls(
            kind="recovers",
            arm=arm,
            than=lost_by,
            margin=at_least,
            metric=metric,
            against=against,
            within=float(within),
            where=where,
        )

    @classmethod
    def costs(cls, arm: str, *, than: str, at_most: float, **where: Any) -> "Claim":
        """A step of the arm takes at most `at_most` times as long, at each grid point `where`.

        Let the arms train one trial at a time (`max_cohort_size=1`): trials that train together are one measurement.
        """
        if not (isinstance(at_most, int | float) and at_most > 0):
            raise SuiteError(f"at_most must be a ratio above 0, got {at_most!r}")
        return cls(kind="costs", arm=arm, than=than, margin=float(at_most), metric="step_time", where=where)


def _plain(values: Any) -> Any:
    """A value of an axis or a list of them, free of numpy and torch."""
    is_list = isinstance(values, list | tuple) or getattr(values, "ndim", 0) == 1
    return [as_python(value) for value in values] if is_list else as_python(values)


def as_list(wanted: Any) -> list[Any]:
    """The values of an axis that a claim names, one or several."""
    return list(wanted) if isinstance(wanted, list | tuple) else [wanted]


def is_number(value: Any) -> bool:
    """Whether a value is a number; True and False are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _or_empty(against: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """The grid point, or an empty one where none was given."""
    return {} if against is None else against


def _margin_of(by: float | None, by_factor: float | None) -> float:
    """The margin as a difference, of logarithms where it is given as a factor."""
    if by_factor is None:
        return 0.0 if by is None else by
    if by is not None:
        raise SuiteError(f"give either by or by_factor, got by={by!r} and by_factor={by_factor!r}")
    if not (is_number(by_factor) and 1 <= by_factor < math.inf):
        raise SuiteError(f"by_factor must be a number, 1 or more, got {by_factor!r}")
    return math.log(by_factor)
