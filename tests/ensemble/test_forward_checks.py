"""What a forward pass may do besides mapping its examples, and how a user is told of what it may not."""

import pytest
import torch
from torch import nn

from harness.ensemble.forward_checks import ForwardTraits, check_model
from harness.errors import SuiteError
from tests.support.side_effects import DRAWING, KEPT, REFUSED, WIDTH

CLASSES = 3
EXAMPLES = torch.randn(11, 4)


def made(block):
    """Builds a net around a block, from a seed; with a batch norm, which changes its buffers by right."""

    def make(seed):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(4, WIDTH), nn.BatchNorm1d(WIDTH), block(), nn.Linear(WIDTH, CLASSES))

    return make


def traits(block):
    return check_model(made(block), 5, EXAMPLES, CLASSES, "net")


@pytest.mark.parametrize("block", REFUSED)
def test_what_no_snapshot_could_hold_is_refused_by_name(block):
    make, words = REFUSED[block]
    with pytest.raises(SuiteError, match="'net'") as error:
        traits(make)
    assert words in str(error.value)


@pytest.mark.parametrize("block", KEPT)
def test_what_buffers_and_hooks_hold_is_not_refused(block):
    alone = block in ("permuted", "parameter hook")  # they hold what was drawn in their constructors
    assert traits(KEPT[block]) == ForwardTraits(trains_alone=alone)


@pytest.mark.parametrize("block", DRAWING)
def test_draws_are_noticed_except_those_of_dropout_layers(block):
    assert traits(DRAWING[block]).draws == (block not in ("dropout", "alpha dropout"))
