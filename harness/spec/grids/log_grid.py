"""Values that are evenly spaced in the logarithm, and learning rates that may join them as a grid grows."""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from harness.errors import SuiteError
from harness.spec.trial import Value

DECADES = 3  # that a grid may grow by on either side, unless its suite gives bounds
AXIS = "lr"  # that alone may grow: usable ranges are of learning rates


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """The learning rates of a suite, and those that may join them on either side, nearest first."""

    values: tuple[float, ...]
    below: tuple[float, ...]
    above: tuple[float, ...]

    @property
    def bounds(self) -> tuple[float, float]:
        """The lowest and the highest value that there can be."""
        return [*reversed(self.below), *self.values][0], [*self.values, *self.above][-1]

    def with_added(self, added: Collection[float]) -> tuple[float, ...]:
        """The values with those of `added` that continue them without a gap, in ascending order."""
        below, above = (takewhile(added.__contains__, side) for side in (self.below, self.above))
        return (*reversed([*below]), *self.values, *above)

    def beyond(self, values: Collection[float], *, above: bool) -> list[float]:
        """The next value beyond these on one side; none where the bound is reached."""
        return [value for value in (self.above if above else self.below) if value not in values][:1]


class GrowingGrid(list[float]):
    """What `log_grid(..., grow=True)` returns: the values to start with, which know how they may grow."""

    def __init__(self, growth: Growth) -> None:
        super().__init__(growth.values)
        self.growth = growth


def log_grid(low: float, high: float, *, per_decade: int, grow: bool | tuple[float, float] = False) -> list[float]:
    """Values from `low` to `high`, both included, evenly spaced in the logarithm: at least `per_decade` to a decade.

    They are rounded to three significant digits, so that they can be read and typed. With `grow=True`, as the lr of a
    suite with a target, they are what a run starts with: it adds values of equal spacing beyond either end, for all
    arms alike, until no trial reaches the target there, three decades at most on each side. `grow=(lowest, highest)`
    are other bounds.
    """
    if not (0 < low < high < math.inf and per_decade >= 1):
        raise SuiteError(f"log_grid needs 0 < low < high and per_decade >= 1, got {low!r}, {high!r}, {per_decade!r}")
    intervals = math.ceil(math.log10(high / low) * per_decade - 1e-9)
    values = [_rounded(low * (high / low) ** (i / intervals)) for i in range(intervals + 1)]
    if grow is False:
        return values
    lowest, highest = _bounds(low, high, grow)
    step = math.log10(high / low) / intervals
    below = [_rounded(low / 10 ** (i * step)) for i in range(1, _steps(low / lowest, step) + 1)]
    above = [_rounded(high * 10 ** (i * step)) for i in range(1, _steps(highest / high, step) + 1)]
    return GrowingGrid(Growth(values=tuple(values), below=tuple(below), above=tuple(above)))


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


def _steps(ratio: float, step: float) -> int:
    """How many steps, in decades, there is room for in this ratio."""
    return math.floor(math.log10(ratio) / step + 1e-9)


def _bounds(low: float, high: float, grow: Any) -> tuple[float, float]:
    if grow is True:
        return low / 10**DECADES, high * 10**DECADES
    match grow:
        case (int() | float() as lowest, int() | float() as highest):
            if 0 < lowest <= low and high <= highest < math.inf:
                return lowest, highest
    raise SuiteError(
        f"grow must be True, or the bounds (lowest, highest) with 0 < lowest <= {low:g} and {high:g} <= highest, "
        f"got {grow!r}"
    )


def growth_of(
    axes: Mapping[str, Any], also: Iterable[Mapping[str, Any]], compare: str | None, *, has_target: bool
) -> Growth | None:
    """How the learning rates of a suite may grow; None where they don't. SuiteError where there is no sense in it."""
    members = [member for grid in (axes, *also) for member in grid.items() if isinstance(member[1], GrowingGrid)]
    for name, values in members:
        if name != AXIS or values is not axes.get(AXIS):
            where = "`also`" if name == AXIS else name
            raise SuiteError(f"log_grid(..., grow=True) is for the lr of the suite itself, got it for {where}")
    if not members:
        return None
    if not has_target:
        raise SuiteError("a growing lr needs target_accuracy or a target: it grows until that is not reached")
    if compare == AXIS:
        raise SuiteError("a growing lr grows for all arms alike, and can't be what is compared; leave grow out")
    growth: Growth = axes[AXIS].growth
    return growth


def grown_grid(
    grid: Mapping[str, tuple[Value, ...]], growth: Growth | None, added: Collection[float]
) -> Mapping[str, tuple[Value, ...]]:
    """A grid of a suite with these learning rates added, where its lr is the one that grows."""
    if growth is None or grid.get(AXIS) != growth.values:
        return grid
    return {**grid, AXIS: growth.with_added(added)}
