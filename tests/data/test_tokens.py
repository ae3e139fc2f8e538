"""Tokens stay whole numbers from the arrays of a suite to the model, in any precision, and in what it leaves as."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from harness.data.datasets import load_dataset
from harness.data.tokens import as_tokens
from harness.errors import SuiteError
from harness.export.evaluate import as_taken, shaped
from harness.export.model_card import build_trained, state_of, trained_models
from harness.spec.trial import Trial
from harness.training.best_checkpoint import keep_best
from harness.training.loop import train
from harness.training.state import init_state

WORDS, POSITIONS = 11, 6
TOKENS = np.random.default_rng(0).integers(0, WORDS, (200, POSITIONS))
LABELS = (TOKENS == 3).any(1).astype(int)
SEEDS = range(3)


class Lookup(nn.Module):
    """The mean of the embeddings of tokens, and a class of that."""

    def __init__(self, vocabulary, classes):
        super().__init__()
        self.embed, self.out = nn.Embedding(vocabulary, 5), nn.Linear(5, classes)

    def forward(self, x):
        assert x.dtype == torch.int64
        return self.out(self.embed(x).mean(1))


class Product(nn.Module):
    """The same of examples that are one-hot: an embedding is a product with these."""

    def __init__(self, classes):
        super().__init__()
        self.embed, self.out = nn.Embedding(WORDS, 5), nn.Linear(5, classes)

    def forward(self, x):
        return self.out((x @ self.embed.weight).mean(1))


def trained(model, arrays, **changes):
    trial = Trial(dataset="own", model="own", lr=0.5, batch_size=32, device="cpu", steps=8, eval_every=8, **changes)
    trials = [Trial(**{**trial.content, "device": "cpu", "seed": seed}) for seed in SEEDS]
    state = keep_best(init_state(trials, load_dataset("own", Path(), {"own": lambda: arrays}), CPU, {"own": model}))
    for _ in train(state):
        pass
    return state


CPU = torch.device("cpu")
AS_TOKENS = {"x": TOKENS, "y": LABELS, "vocabulary": WORDS}
ONE_HOT = {"x": np.eye(WORDS, dtype=np.float32)[TOKENS], "y": LABELS}


@pytest.mark.parametrize("changes", [{}, {"precision": "float64"}, {"weight_decay": 0.01}, {"probes": "sharpness"}])
def test_models_of_tokens_learn_what_the_product_with_one_hot_examples_learns(changes):
    ours, theirs = trained(Lookup, AS_TOKENS, **changes), trained(Product, ONE_HOT, **changes)
    assert ours.data["train"][0].dtype == torch.int64
    torch.testing.assert_close(ours.model_state, theirs.model_state, rtol=1e-4, atol=1e-5)
    for name, curve in ours.curves.items():
        torch.testing.assert_close(curve, theirs.curves[name], rtol=1e-4, atol=1e-5, equal_nan=True)


def test_a_trained_model_of_tokens_is_built_again_and_takes_tokens_from_any_table():
    model = next(model for _, _, model in trained_models(trained(Lookup, AS_TOKENS), {"own": Lookup}))
    assert model.metadata["init_params"]["vocabulary"] == WORDS
    again = build_trained(model.metadata, state_of(model), {"own": Lookup})
    x = shaped("t.csv", TOKENS.astype(np.float32), (POSITIONS,), WORDS)
    assert np.array_equal(x, TOKENS)
    assert as_taken(again, x).dtype == torch.int64
    assert torch.equal(again(x), again(torch.from_numpy(TOKENS)))


@pytest.mark.parametrize(
    ("x", "words"),
    [
        ([[0, 4], [5, 1]], r"5 at \[1, 0\] is no token: .* here 4"),
        ([[0, -1], [2, 1]], r"-1 at \[0, 1\] is no token"),
        ([[0, 1.5], [2, 1]], r"1.5 at \[0, 1\]"),
        ([[0, np.nan], [2, 1]], r"nan at \[0, 1\]"),
        ([1, 2], r"must have the shape \(examples, positions\)"),
        ([["a"]], "text"),
    ],
)
def test_what_is_no_token_is_refused_with_its_place(x, words):
    with pytest.raises(SuiteError, match=words):
        as_tokens("own", x, 5)


@pytest.mark.parametrize("vocabulary", [1, 2.0, "five", None, [3, 4], 2**25])
def test_a_vocabulary_is_how_many_tokens_there_are(vocabulary):
    with pytest.raises(SuiteError, match="vocabulary must be how many tokens there are"):
        load_dataset("own", Path(), {"own": lambda: {**AS_TOKENS, "vocabulary": vocabulary}})


def test_tokens_are_not_augmented_and_a_model_that_needs_a_vocabulary_has_none_of_other_data():
    with pytest.raises(SuiteError, match="needs images"):
        trained(Lookup, AS_TOKENS, augment="flip")
    with pytest.raises(SuiteError, match="asks for 'vocabulary'"):
        trained(Lookup, ONE_HOT)
