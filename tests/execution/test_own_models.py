"""Models of a suite's own, as they are tried before any trial trains: what is taken, and the words of a refusal."""

import numpy as np
import pytest

from harness.errors import SuiteError
from harness.execution.messages import PreflightRequest
from harness.execution.preflight import preflight

SUITE = """
import torch
from torch import nn
import torch.nn.functional as F
from harness import Suite

class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.hidden, self.last = nn.Linear(2, 4), nn.Linear(4, classes)
    def scores(self, x):
        return self.last(self.hidden(x).relu())
{methods}
def net(classes):
    return Net(classes)

suite = Suite(dataset="circles", model=net, lr=0.1, batch_size=20, steps=2, seed=range(5))
"""


def estimate_of(folder, text):
    (folder / "own.py").write_text(text)
    request = PreflightRequest(suite=folder / "own.py", device="cpu", measure=False)
    (estimate,) = preflight(request).estimates.values()
    return estimate


def with_methods(text):
    return SUITE.format(methods="".join(f"    {line}\n" for line in text.splitlines()))


@pytest.mark.parametrize(
    ("forward", "words"),
    [
        ("return self.scores(x), x", "returned a tuple; return logits of shape (examples, classes), here (15, 2)"),
        ("return {'logits': self.scores(x)}", "returned a dict; return logits"),
        ("self.scores(x)", "returned nothing (None); return logits"),
        ("return self.scores(x).T", "returned a tensor of shape (2, 15); return logits"),
        ("return self.scores(x).argmax(1)", "returned a tensor of shape (15,); return logits"),
        ("return self.scores(x).detach()", "returned what has no gradient"),
        ("return self.scores(x).round().long()", "returned torch.int64; return logits, as floating-point numbers"),
        ("return self.scores(x.long())", "mat1 and mat2 must have the same dtype, but got Long and Float"),
        ("return self.scores(x.double())", "mat1 and mat2 must have the same dtype, but got Double and Float"),
        (
            "h = self.hidden(x).exp(); h += 1; return self.last(h)",
            "modified by an inplace operation",
        ),
        ("h = self.hidden(x).exp(); h += 1; return self.last(h)", "write it without in-place operations, x = x + y"),
        ("self.hidden.weight.mul_(0.9); return self.scores(x)", "or under torch.no_grad()"),
        ("return self.scores(self.missing)", "'Net' object has no attribute 'missing'"),
    ],
)
def test_what_is_wrong_with_a_forward_is_said_in_the_words_of_its_author(tmp_path, forward, words):
    with pytest.raises(SuiteError) as error:
        estimate_of(tmp_path, with_methods(f"def forward(self, x):\n    {forward}"))
    assert words in str(error.value)
    assert "model 'net'" in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_a_forward_that_takes_more_than_a_batch_is_told_what_it_is_called_with(tmp_path):
    with pytest.raises(SuiteError, match=r"model\(x\); its forward is another.*'mask'"):
        estimate_of(tmp_path, with_methods("def forward(self, x, mask):\n    return self.scores(x * mask)"))


def test_a_graph_that_is_kept_from_step_to_step_is_to_be_detached(tmp_path):
    text = with_methods(
        "def forward(self, x):\n    self.mean = self.hidden(x).mean() + self.mean\n"
        "    return self.scores(x - self.mean)"
    )
    text = text.replace(
        "classes)\n    def", "classes)\n        self.register_buffer('mean', torch.tensor(0.0))\n    def"
    )
    with pytest.raises(SuiteError, match=r"detach what you keep from one step to the next"):
        estimate_of(tmp_path, text)


def test_a_model_of_tokens_is_tried_with_tokens(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "tokens.npz", x=rng.integers(0, 9, (60, 7)), y=np.arange(60) % 3)
    model = """
class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.embedding, self.last = nn.Embedding(9, 4), nn.Linear(4, classes)
    def forward(self, x):
        return self.last(self.embedding(x.long()).mean(1))
"""
    text = SUITE.replace("class Net(nn.Module):", f"{model}\nclass Unused(nn.Module):").format(methods="    pass")
    estimate = estimate_of(tmp_path, text.replace('"circles"', '"tokens.npz"'))
    assert "torch.vmap" in estimate.note  # and not one after the other, because of tokens that there are none of
    assert estimate.max_cohort_size > 1


def test_a_cumulative_batch_norm_goes_with_a_layer_that_only_maps(tmp_path):
    text = SUITE.format(methods="    pass").replace("def net(classes):\n    return Net(classes)", "")
    text = text.replace(
        "suite =",
        "def net(classes, norm):\n"
        "    return nn.Sequential(nn.Linear(2, 4), norm(4), nn.PReLU(), nn.Linear(4, classes))\n\nsuite =",
    )
    text = text.replace("lr=0.1", "norm='batch', norm_momentum='cumulative', lr=0.1")
    assert estimate_of(tmp_path, text).max_cohort_size > 1


def test_models_that_draw_train_one_after_the_other_and_the_note_says_why(tmp_path):
    text = with_methods("def forward(self, x):\n    return self.scores(F.dropout(x, 0.1, self.training))")
    estimate = estimate_of(tmp_path, text)
    assert "its forward draws random numbers, and each model draws its own" in estimate.note
    assert estimate.runs_in_turn


def test_models_that_hold_what_was_drawn_in_their_constructors_train_alone(tmp_path):
    text = with_methods("def forward(self, x):\n    return self.scores(x[:, self.order])")
    text = text.replace("nn.Linear(4, classes)\n", "nn.Linear(4, classes)\n        self.order = torch.randperm(2)\n")
    assert estimate_of(tmp_path, text).max_cohort_size == 1
