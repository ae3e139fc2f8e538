import math
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from harness.errors import SuiteError
from harness.spec.claim import Claim

MAKERS = {  # kind -> a claim of it, with the margin, on the grid points with these settings
    "better": lambda margin, **where: Claim.better("batch", than="none", by=margin, **where),
    "equivalent": lambda margin, **where: Claim.equivalent("batch", to="none", within=margin, **where),
    "wider_lr_range": lambda margin, **where: Claim.wider_lr_range(
        "batch", than="none", at_least_decades=margin, **where
    ),
    "sooner": lambda margin, **where: Claim.sooner("batch", than="none", by_steps=margin, **where),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_the_constructor_of_a_kind_makes_a_claim_of_that_kind(kind):
    claim = MAKERS[kind](0.25, lr=[0.1, 0.3], model="mlp-8")
    assert (claim.kind, claim.arm, claim.than, claim.margin) == (kind, "batch", "none", 0.25)
    assert claim.where == {"lr": [0.1, 0.3], "model": "mlp-8"}


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("margin", [-0.01, math.nan, math.inf, -math.inf])
def test_a_margin_below_zero_or_not_finite_is_refused_with_its_value(kind, margin):
    with pytest.raises(SuiteError, match=f"margin .* got {margin!r}"):
        MAKERS[kind](margin)


@pytest.mark.parametrize("margin", ["0.5", None, [0.5], True])
def test_a_margin_that_is_no_number_is_refused(margin):
    with pytest.raises(SuiteError, match="margin"):
        Claim.better("batch", than="none", by=margin)


def test_an_arm_is_not_compared_with_itself():
    with pytest.raises(SuiteError, match="got 'batch' twice"):
        Claim.better("batch", than="batch")


def test_the_metric_is_that_of_the_claim():
    assert Claim.better("batch", than="none").metric == "test_accuracy"
    assert Claim.better("batch", than="none", metric="test_loss").metric == "test_loss"
    assert Claim.sooner("batch", than="none").metric == "steps_to_target"


def test_a_claim_can_not_be_changed_after_the_run():
    with pytest.raises(FrozenInstanceError):
        Claim.better("batch", than="none", by=0.25).margin = 0.0


def test_numbers_of_numpy_in_a_claim_are_those_that_were_typed():
    lrs = np.logspace(-2, 0, 3, dtype=np.float32)
    claim = Claim.better(np.float32(0.1), than=np.float64(0.3), by=np.float32(0.2), lr=lrs, seed=np.int64(3))
    assert claim == Claim.better(0.1, than=0.3, by=0.2, lr=[0.01, 0.1, 1.0], seed=3)
    assert [type(value) for value in (claim.arm, claim.than, claim.margin, claim.where["seed"])] == [float] * 3 + [int]
    assert [type(lr) for lr in claim.where["lr"]] == [float] * 3
