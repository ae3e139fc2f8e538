"""How models are built: all arms of a seed start alike, and what can't be built is refused in a line."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from harness.errors import SuiteError
from harness.nn.models import build
from harness.nn.norms import NORMS
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
        ({"activation": "gelu2"}, "choose from: relu"),
        ({"init": "kaiming"}, "choose from"),
    ],
    ids=str,
)
def test_a_model_that_cannot_be_built_is_refused_in_a_line(changes, word):
    with pytest.raises(SuiteError, match=word) as refusal:
        build(replace(BASE, **changes), DATA.input_shape, 3, {})
    assert "\n" not in str(refusal.value)
