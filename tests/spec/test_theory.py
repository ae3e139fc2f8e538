"""What theory predicts, against its limits and against nets."""

import math

import pytest

from harness import batch_norm_gradient_growth
from harness.errors import SuiteError


def test_the_growth_falls_with_the_batch_to_its_published_limit():
    growth = [batch_norm_gradient_growth(batch) for batch in (4, 5, 8, 32, 1000, 10**8)]
    assert growth == sorted(growth, reverse=True)
    assert growth[-1] == pytest.approx(math.pi / (math.pi - 1))
    assert growth[-1] == pytest.approx(1.467, abs=5e-4)


def test_three_examples_have_no_finite_growth():
    with pytest.raises(SuiteError, match="got 3"):
        batch_norm_gradient_growth(3)
