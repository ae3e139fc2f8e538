"""Transformers and LSTMs against torch's own, and what their settings promise."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from harness.errors import SuiteError
from harness.nn.models import build
from harness.nn.sequences.attention import Attention, TransformerBlock
from harness.nn.sequences.layers import LSTMLayer, Patches
from tests.support.strategies import a_trial

SEQUENCES = (6, 4)  # positions, numbers


def model_of(name, inputs=SEQUENCES, classes=5, **changes):
    return build(a_trial(model=name, **changes), inputs, classes, {})


def twin_of(block, norm_first):
    """Torch's own block with the same weights."""
    attention, (wide, *_, narrow) = block.attention[0], [m for m in block.mlp if isinstance(m, nn.Linear)]
    twin = nn.TransformerEncoderLayer(
        attention.qkv.in_features, attention.heads, wide.out_features, 0.0, batch_first=True, norm_first=norm_first
    ).double()
    theirs = {
        "self_attn.in_proj": attention.qkv,
        "self_attn.out_proj": attention.out,
        **{"linear1": wide, "linear2": narrow, "norm1": block.attention_norm, "norm2": block.mlp_norm},
    }
    for name, layer in theirs.items():
        for kind in ("weight", "bias"):
            separator = "_" if name.endswith("in_proj") else "."
            twin.get_parameter(f"{name}{separator}{kind}").data.copy_(getattr(layer, kind))
    return twin


@pytest.mark.parametrize("norm_position", ["pre", "post"])
@pytest.mark.parametrize("causal", [True, False])
def test_a_block_is_the_encoder_layer_of_torch(norm_position, causal):
    model = model_of("transformer-32", norm="layer", norm_position=norm_position, causal=causal).double()
    block = next(layer for layer in model if isinstance(layer, TransformerBlock))
    for norm in (block.attention_norm, block.mlp_norm):
        nn.init.normal_(norm.weight)
    x = torch.randn(3, 6, 32, dtype=torch.float64)
    mask = nn.Transformer.generate_square_subsequent_mask(6, dtype=torch.float64) if causal else None
    torch.testing.assert_close(block(x), twin_of(block, norm_position == "pre")(x, src_mask=mask))


def test_where_norms_stand_before_the_branches_one_more_ends_the_transformer():
    pre, post = (model_of("transformer-8x2", norm="layer", norm_position=place) for place in ("pre", "post"))
    norms = [sum(isinstance(m, nn.LayerNorm) for m in model.modules()) for model in (pre, post)]
    assert norms == [5, 4]


@pytest.mark.parametrize("qk_norm", [True, False])
def test_with_query_key_norm_the_scale_of_queries_and_keys_does_not_matter(qk_norm):
    torch.manual_seed(0)
    attention, x = Attention(32, causal=False, qk_norm=qk_norm).double(), torch.randn(2, 6, 32, dtype=torch.float64)
    before = attention(x)
    with torch.no_grad():
        for parameter in (attention.qkv.weight, attention.qkv.bias):
            parameter[: 2 * 32] *= 3
    assert torch.allclose(attention(x), before, rtol=0, atol=1e-3) == qk_norm


@pytest.mark.parametrize(
    ("name", "causal", "sees_later"),
    [("transformer", True, False), ("transformer", False, True), ("lstm", False, False)],
)
def test_a_causal_model_sees_nothing_of_later_positions(name, causal, sees_later):
    layers = model_of(f"{name}-8x2", causal=causal, norm="rms")[:-2]  # without pooling and head
    x = torch.randn(3, *SEQUENCES)
    later = x.clone()
    later[:, 4:] += 1
    before, after = layers(x), layers(later)
    assert torch.equal(before[:, :4], after[:, :4]) != sees_later
    assert not torch.allclose(before[:, 4:], after[:, 4:])


def test_patches_and_a_linear_layer_are_a_convolution_that_strides():
    images, conv = torch.randn(2, 3, 8, 6), nn.Conv2d(3, 5, 2, stride=2)
    out = nn.functional.linear(Patches(2)(images), conv.weight.flatten(1), conv.bias)
    torch.testing.assert_close(out.transpose(1, 2), conv(images).flatten(2))


@pytest.mark.parametrize(
    ("inputs", "patches"),
    [((1, 8, 8), 16), ((3, 32, 32), 64), ((1, 28, 28), 49), ((1, 9, 6), 54), ((1, 18, 18), 36), ((1, 5, 7), 35)],
)
def test_a_vit_cuts_images_into_squares_that_leave_nothing_over(inputs, patches):
    model = model_of("vit-16x2", inputs)
    assert model[2].weight.shape == (patches, 16)
    assert model(torch.randn(3, *inputs)).shape == (3, 5)


def test_an_lstm_is_torchs_read_to_its_end():
    model, x = model_of("lstm-8-6"), torch.randn(3, *SEQUENCES)
    first, second = (layer for layer in model if isinstance(layer, LSTMLayer))
    hidden, _ = nn.LSTM.forward(first, model[0](x))
    _, (last, _) = nn.LSTM.forward(second, hidden)
    torch.testing.assert_close(model(x), model[-1](last[0]))


@pytest.mark.parametrize("name", ["vit", "transformer", "lstm"])
def test_arms_start_from_the_same_weights(name):
    inputs = (1, 6, 4) if name == "vit" else SEQUENCES
    plain = dict(model_of(f"{name}-8x2", inputs).named_parameters())
    for changes in ({"norm": "layer"}, {"norm": "rms", "norm_position": "post"}, {"qk_norm": True, "causal": True}):
        others = dict(model_of(f"{name}-8x2", inputs, **changes).named_parameters())
        drawn = [key for key in others if "norm" not in key and key in plain and others[key].std() > 0]
        assert len(drawn) > 4
        if "norm" not in changes:  # the names are those of places in a row
            assert all(torch.equal(others[key], plain[key]) for key in drawn)


@pytest.mark.parametrize(
    ("name", "inputs", "message"),
    [
        ("vit-50", (1, 8, 8), "the width of a vit must be a multiple of its 3 heads, got 50"),
        ("vit-16-32", (1, 8, 8), r"all blocks of a vit have one width, such as vit-32x4, got \[16, 32\]"),
        ("transformer-8", (1, 8, 8), "needs tokens .* or numbers at positions .* got examples of shape"),
        ("lstm-8", (5,), "needs tokens"),
        ("vit", (1, 8, 8), "a vit is named by its layers, such as vit-32x4"),
    ],
)
def test_what_can_not_be_built_is_refused_in_one_line(name, inputs, message):
    with pytest.raises(SuiteError, match=message) as error:
        model_of(name, inputs)
    assert "\n" not in str(error.value)


def test_where_norms_stand_is_before_or_after():
    with pytest.raises(SuiteError, match="norm_position must be 'pre' or 'post', got 'middle'"):
        replace(a_trial(), norm_position="middle")
