"""Stacked layers of sequences: what they compute of tokens, and that no model's bits depend on the others."""

from functools import partial

import pytest
import torch
from torch import nn

from harness.ensemble.backend_choice import find_mismatch, select_backend
from harness.ensemble.ensemble import fuse
from harness.nn.sequences.attention import Attention
from harness.nn.sequences.layers import LSTMLayer, Positions, TokenEmbedding

CPU = torch.device("cpu")
LENGTH, VOCABULARY, M = 7, 11, 5


class Residual(nn.Module):
    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        return x + self.layers(x)


class Pooled(nn.Module):
    def forward(self, x):
        return x.mean(-2)


def transformer(*ends):
    return nn.Sequential(
        TokenEmbedding(VOCABULARY, 12),
        Positions(LENGTH, 12),
        Residual(nn.LayerNorm(12), Attention(12, causal=True, qk_norm=True)),
        Residual(nn.RMSNorm(12), nn.Linear(12, 20), nn.GELU(), nn.Linear(20, 12)),
        *ends,
    )


MODELS = {
    "pooled": lambda: transformer(Pooled(), nn.Linear(12, 3)),
    "flattened": lambda: transformer(nn.Flatten(), nn.Linear(12 * LENGTH, 3)),
    "lstm": lambda: nn.Sequential(TokenEmbedding(VOCABULARY, 6), LSTMLayer(6, 9), Pooled(), nn.Linear(9, 3)),
}


def several(make, count=M):
    models = []
    for seed in range(count):
        torch.manual_seed(seed)
        models.append(make())
    return models


def tokens(*shape):
    return torch.randint(VOCABULARY, (*shape, LENGTH), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_models_of_tokens_are_stacked(make):
    assert select_backend(several(make, 1), (LENGTH,), CPU, tokens(15).float()) == ("stacked", "")


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("examples", [1, 6])
def test_no_bit_of_a_model_depends_on_the_others(make, shared, examples):
    models, x = several(make), tokens(examples, *(() if shared else (M,)))
    noise = torch.randn(3, examples)

    def of(rows):
        ensemble = fuse([models[i] for i in rows], (LENGTH,), CPU, "stacked")
        own = x if shared else x[:, rows]
        loss_fn = partial(lambda out: (out.clone(), noise.expand_as(out)))
        return ensemble.gradients(own, shared=shared, loss_fn=loss_fn)

    together, grads = of(list(range(M)))
    for rows in ([0], [3, 1], [4, 0, 2]):
        out, some = of(rows)
        assert torch.equal(out, together[rows])
        for name, grad in some.items():
            assert torch.equal(grad, grads[name][rows]), name


def test_a_layer_that_is_called_with_sequences_and_with_examples_is_not_stacked():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(4, 4)

        def forward(self, x):
            return self.inner(self.inner(x).tanh()).mean(-2)

    assert "called with sequences and with examples" in select_backend(several(Twice), (3, 4))[1]


def test_code_that_counts_dimensions_from_the_front_is_found_out():
    class FromTheFront(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            return self.last(self.first(x).mean(1))

    assert find_mismatch(several(FromTheFront, 1), (4, 4), "vmap") == ""
    assert select_backend(several(FromTheFront, 1), (4, 4))[0] == "vmap"


def test_a_net_whose_values_explode_is_not_taken_for_one_that_trains_otherwise():
    """Without norms two steps of descent lead to gradients of 1e200, of which no two orders of addition are alike."""

    def block():
        return nn.Sequential(
            Residual(Attention(16, causal=True, qk_norm=False)),
            Residual(nn.Linear(16, 64), nn.GELU(), nn.Linear(64, 16)),
        )

    def make():
        model = nn.Sequential(
            TokenEmbedding(VOCABULARY, 16), *(block() for _ in range(4)), nn.Flatten(), nn.Linear(16 * LENGTH, 3)
        )
        for weight in model.parameters():
            weight.data.mul_(2)
        return model

    examples = tokens(30)
    assert find_mismatch(several(make, 1), (LENGTH,), "stacked", examples) == ""
    assert find_mismatch(several(make, 1), (LENGTH,), "loop", examples) == ""
