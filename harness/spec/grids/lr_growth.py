"""What suite.json records of a grid of learning rates that grows."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.errors import DamageError
from harness.spec.grids.log_grid import Growth
from harness.typed import check_members


@dataclass(frozen=True, slots=True, kw_only=True)
class LrGrowth:
    """The ends of a grid as its suite has it, how far it may grow, and what it has got."""

    low: float
    high: float
    lowest: float  # that there may be
    highest: float
    added: Sequence[float] = field(default_factory=list)

    @property
    def ends(self) -> tuple[float, float]:
        """The lowest and the highest learning rate of the grid as it is."""
        return min([self.low, *self.added]), max([self.high, *self.added])


def describe_growth(growth: Growth | None, added: Collection[float]) -> LrGrowth | None:
    """What suite.json says of the grid of a suite with these values added; None where it doesn't grow."""
    if growth is None:
        return None
    lowest, highest = growth.bounds
    more = [value for value in growth.with_added(added) if value not in growth.values]
    return LrGrowth(low=growth.values[0], high=growth.values[-1], lowest=lowest, highest=highest, added=more)


def read_growth(content: Mapping[str, Any] | None, where: str) -> LrGrowth | None:
    """The growth of a grid from its members in suite.json; DamageError where these are not what was written."""
    if content is None:
        return None
    check_members(content, LrGrowth, where)
    growth = LrGrowth(**content)
    low, high = growth.ends
    if not 0 < growth.lowest <= low <= growth.low <= growth.high <= high <= growth.highest:
        raise DamageError(f"{where} the learning rates {low!r} to {high!r} are none that it could have got")
    return growth
