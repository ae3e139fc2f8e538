"""How models are built: all arms of a seed start alike, and what can't be built is refused in a line."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from harness.errors import SuiteError
from harness.training.models import build
from harness.training.norms import NORMS
from harness.training.streams import generator
from tests.training.alone import BASE, DATA
from tests.training.pairs import fits

pytestmark = pytest.mark.usefixtures("double_precision")


def test_arms_of_one_seed_start_from_the_same_weights_and_see_the_same_batches():
    norms = [norm for norm in NORMS if fits(norm, "cnn-4-8")]
    models = {norm: build(replace(BASE, norm=norm, seed=4, model="cnn-4-8"), DATA.inputs, 3, {}) for norm in norms}
    layers = {
        norm: [m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)] for norm, model in models.items()
    }
    for norm in norms:
        for mine, others in zip(layers[norm], layers["none"], strict=True):
            assert torch.equal(mine.weight, others.weight)
            assert torch.equal(mine.bias, others.bias)
    # Norms change nothing of the first loss in evaluation but the scale; the batches are a function of the seed alone.
    first = [torch.randperm(31, generator=generator(4, "order", 0)) for _ in range(2)]
    assert torch.equal(*first)
    assert not torch.equal(first[0], torch.randperm(31, generator=generator(5, "order", 0)))


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
        build(replace(BASE, **changes), DATA.inputs, 3, {})
    assert "\n" not in str(refusal.value)
