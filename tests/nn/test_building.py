"""How models are built: all arms of a seed start alike, and what can't be built is refused in a line."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

from harness.errors import SuiteError
from harness.nn.models import build
from harness.nn.norms import NORMS
from harness.spec.suite import Suite
from harness.training.epochs import shuffle
from harness.training.state import init_state
from tests.support.alone import BASE, DATA
from tests.support.pairs import fits

pytestmark = pytest.mark.usefixtures("double_precision")


def test_arms_of_one_seed_start_from_the_same_weights_and_see_the_same_batches():
    trials = [replace(BASE, norm=norm, seed=4, model="cnn-4-8") for norm in NORMS if fits(norm, "cnn-4-8")]
    layers, orders = [], []
    for trial in [*trials, replace(trials[0], seed=5)]:
        model = build(trial, DATA.input_shape, 3, {})
        layers.append([m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)])
        state = init_state([trial], DATA, torch.device("cpu"), {})
        orders.append(torch.stack([shuffle(state, epoch).indices[0] for epoch in range(3)]))
    *alike, other = zip(layers, orders, strict=True)
    (first, order), *_ = alike
    for own, own_order in alike:
        assert all(torch.equal(mine.weight, theirs.weight) for mine, theirs in zip(own, first, strict=True))
        assert all(torch.equal(mine.bias, theirs.bias) for mine, theirs in zip(own, first, strict=True))
        assert torch.equal(own_order, order)
    assert not torch.equal(other[0][0].weight, first[0].weight)
    assert not torch.equal(other[1], order)
    assert len({tuple(epoch) for epoch in order.tolist()}) == 3


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"model": "mpl-8"}, "did you mean 'mlp'"),
        ({"model": "mlp-8x"}, "mlp-64x8"),
        ({"model": "mlp"}, "mlp-64x8"),
        ({"model": "mlp-0"}, "size 0"),
        ({"model": "mlp-99999999x9"}, "weights"),
        ({"norm": "bacth"}, "did you mean 'batch'"),
        ({"norm": "group", "norm_groups": 5}, "must divide"),
        ({"norm": "instance"}, "pixels"),
        ({"norm": "skipinit"}, "residual branches"),
        ({"model": "resnet-21"}, "6n \\+ 2 layers"),
        ({"model": "resnet-2"}, "6n \\+ 2 layers"),
        ({"model": "resnet-8-8"}, "resnet-20 or resnet-20x8"),
        ({"model": "resnet-8x0"}, "size 0"),
        ({"model": "resnet-20x99999999"}, "weights"),
        ({"model": "vgg-12"}, "11, 13, 16, 19 layers"),
        ({"activation": "gelu2"}, "choose from: gelu, relu"),
        ({"init": "kaiming"}, "choose from"),
    ],
    ids=str,
)
def test_a_model_that_cannot_be_built_is_refused_in_a_line(changes, word):
    with pytest.raises(SuiteError, match=word) as refusal:
        build(replace(BASE, **changes), DATA.input_shape, 3, {})
    assert "\n" not in str(refusal.value)


class Own(nn.Linear):
    """A model that is a class."""

    def __init__(self, inputs, classes, norm=None, *rest, width=1, **options):
        assert not rest
        assert not options
        super().__init__(inputs[0], classes)
        self.norm, self.width = norm, width


def test_a_model_of_the_suites_own_may_be_a_class_a_partial_or_a_lambda():
    trial = replace(BASE, model="own")
    shape = (4,)
    for own in (Own, partial(Own, width=1), lambda inputs, classes, norm: Own(inputs, classes, norm)):
        assert build(trial, shape, 3, {"own": own}).norm is not None


def test_what_a_partial_holds_is_not_given_again():
    given = partial(Own, norm=None, classes=5)
    model = build(replace(BASE, model="own"), (4,), 3, {"own": given})
    assert (model.norm, model.out_features) == (None, 5)


def test_a_module_that_is_made_already_is_no_model_of_a_suite():
    with pytest.raises(SuiteError, match="got a Linear that is made; give its class, or a function that returns one"):
        Suite(dataset="digits", model=nn.Linear(2, 3), lr=0.1, batch_size=7, steps=5)
