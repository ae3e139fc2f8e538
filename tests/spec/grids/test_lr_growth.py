"""What suite.json says of a grid that grows."""

import pytest

from harness import log_grid
from harness.errors import DamageError
from harness.spec.grids.lr_growth import LrGrowth, describe_growth, read_growth

GROWTH = {"low": 0.01, "high": 1.0, "lowest": 0.001, "highest": 10.0}


def test_it_has_the_ends_the_bounds_and_what_was_added():
    grid = log_grid(0.01, 1.0, per_decade=1, grow=(0.0005, 10))
    growth = describe_growth(grid.growth, [10.0, 0.00001])
    assert growth == LrGrowth(**GROWTH, added=[10.0])
    assert growth.ends == (0.01, 10.0)
    assert describe_growth(None, [10.0]) is None


@pytest.mark.parametrize(
    "content",
    [{}, {**GROWTH, "added": [100.0]}, {**GROWTH, "added": ["1"]}, {**GROWTH, "lowest": 0}, {**GROWTH, "highest": 0.5}],
)
def test_what_was_never_written_is_refused(content):
    with pytest.raises(DamageError, match="in growth,"):
        read_growth(content, "in growth,")
