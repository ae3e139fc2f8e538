"""A claim: a statement that a suite puts to the test, declared with its margin before the run."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.errors import SuiteError


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What a suite says of one arm against another; the report answers with a verdict.

    Make one by the constructor of its kind: `Claim.wider_lr_range("batch", than="none", at_least_decades=0.5)`.
    `where` keeps some grid points only: a value or a list of values for an axis. Points are never pooled: a claim that
    covers several holds where it holds at each, with Holm's correction.
    """

    kind: str
    arm: str
    than: str
    margin: float  # in the unit of the metric; decades for wider_lr_range, steps for sooner, a ratio for costs
    metric: str = "test_accuracy"
    where: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.arm == self.than:
            raise SuiteError(f"a claim compares two arms, got {self.arm!r} twice")
        is_number = isinstance(self.margin, int | float) and not isinstance(self.margin, bool)
        if not (is_number and 0 <= self.margin < math.inf):
            raise SuiteError(f"the margin of a claim must be a number, zero or more, got {self.margin!r}")

    @classmethod
    def better(cls, arm: str, *, than: str, by: float = 0.0, metric: str = "test_accuracy", **where: Any) -> "Claim":
        """The arm's metric is better, by more than `by`, at each grid point `where`."""
        return cls(kind="better", arm=arm, than=than, margin=by, metric=metric, where=where)

    @classmethod
    def equivalent(cls, arm: str, *, to: str, within: float, metric: str = "test_accuracy", **where: Any) -> "Claim":
        """Both arms' metrics are the same but for `within`, at each grid point `where`."""
        return cls(kind="equivalent", arm=arm, than=to, margin=within, metric=metric, where=where)

    @classmethod
    def wider_lr_range(cls, arm: str, *, than: str, at_least_decades: float = 0.0, **where: Any) -> "Claim":
        """The arm reaches the suite's target over more decades of learning rates, by more than `at_least_decades`."""
        return cls(kind="wider_lr_range", arm=arm, than=than, margin=at_least_decades, where=where)

    @classmethod
    def sooner(cls, arm: str, *, than: str, by_steps: float = 0.0, **where: Any) -> "Claim":
        """The arm reaches the suite's target in fewer steps, by more than `by_steps`, at each grid point `where`."""
        return cls(kind="sooner", arm=arm, than=than, margin=by_steps, metric="steps_to_target", where=where)

    @classmethod
    def costs(cls, arm: str, *, than: str, at_most: float, **where: Any) -> "Claim":
        """A step of the arm takes less than `at_most` times as long, at each grid point `where`.

        Let the arms train one trial at a time (`together=1`): trials that train together are one measurement.
        """
        if not (isinstance(at_most, int | float) and at_most > 0):
            raise SuiteError(f"at_most must be a ratio above 0, got {at_most!r}")
        return cls(kind="costs", arm=arm, than=than, margin=float(at_most), metric="step_time", where=where)
