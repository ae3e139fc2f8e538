"""Positions that are ignored, held to torch's cross-entropy with ignore_index."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from harness.data.targets import IGNORED
from harness.errors import SuiteError
from harness.tasks.objective import Objective
from harness.tasks.scores import add_up, guess_scores, scores
from harness.tasks.task import laid_out, targets_of
from tests.support.streamed import loaded

MODELS, CLASSES, POSITIONS, EXAMPLES = 3, 4, 5, 23
RNG = torch.Generator().manual_seed(0)
LENGTHS = torch.randint(1, POSITIONS + 1, (EXAMPLES, 1), generator=RNG)
LABELS = torch.randint(0, CLASSES, (EXAMPLES, POSITIONS), generator=RNG)
TARGETS = LABELS.where(torch.arange(POSITIONS) < LENGTHS, IGNORED)
OUT = torch.randn(MODELS, CLASSES, EXAMPLES * POSITIONS, generator=RNG).double()
Y = laid_out(TARGETS)


def plain_losses(out):
    return F.cross_entropy(out, TARGETS.flatten(), reduction="none")  # 0 where a target is -100, which is its default


OBJECTIVES = {
    "of the task": Objective("sequence", ignores_positions=True),
    "own": Objective("sequence", lambda out, y: F.cross_entropy(out, y, reduction="none"), ignores_positions=True),
}


@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)
def test_losses_and_gradients_are_torchs_with_ignore_index(objective):
    out = OUT.clone().requires_grad_()
    losses, grad = objective.loss_and_gradient(OUT, Y)
    expected = torch.stack([F.cross_entropy(own.T, TARGETS.flatten(), ignore_index=IGNORED) for own in out])
    torch.testing.assert_close(losses, expected.detach())
    torch.testing.assert_close(grad, *torch.autograd.grad(expected.sum(), out))
    torch.testing.assert_close(objective.mean_losses(OUT, Y), expected.detach())


def test_what_a_model_says_at_an_ignored_position_changes_nothing():
    objective = OBJECTIVES["of the task"]
    broken = OUT.where(TARGETS.flatten() != IGNORED, torch.nan)
    (losses, grad), (expected, expected_grad) = (objective.loss_and_gradient(out, Y) for out in (broken, OUT))
    assert torch.equal(losses, expected)
    assert torch.equal(grad, expected_grad)


def test_scores_in_any_batches_are_those_of_the_positions_that_count():
    is_real = TARGETS.flatten() != IGNORED
    seen = []
    own_metrics = {"own": lambda out, y: seen.append(len(out)) or (out.argmax(1) == y).double().mean()}
    objective = Objective("sequence", None, own_metrics, ignores_positions=True)
    parts = [9, 17]
    batches = zip(OUT.tensor_split([p * POSITIONS for p in parts], -1), Y.tensor_split(parts, -1), strict=True)
    found = scores(objective, add_up(objective, batches, OUT[:, :, :0], Y), Y)
    for model, out in enumerate(OUT):
        loss = F.cross_entropy(out.T, TARGETS.flatten())
        accuracy = (out.argmax(0) == TARGETS.flatten())[is_real].double().mean()
        torch.testing.assert_close(found["loss"][model], loss)
        torch.testing.assert_close(found["perplexity"][model], loss.exp())
        torch.testing.assert_close(found["accuracy"][model], accuracy)
        torch.testing.assert_close(found["own"][model], accuracy)
    assert seen == [int(is_real.sum())] * MODELS


def test_the_guess_is_the_frequencies_of_the_targets_that_count():
    objective, real = OBJECTIVES["of the task"], targets_of(Y, 0)[targets_of(Y, 0) != IGNORED]
    counts = torch.bincount(real, minlength=CLASSES).double()
    entropy = -(counts / counts.sum() * (counts / counts.sum()).log()).sum()
    found = guess_scores(objective, Y, Y, CLASSES)
    assert found["loss"] == pytest.approx(entropy.item())
    assert found["accuracy"] == pytest.approx((counts.max() / counts.sum()).item())


def test_padded_labels_of_any_name_become_classes_and_stay_padded():
    y = np.where(TARGETS == IGNORED, IGNORED, LABELS * 10 + 7)
    data = loaded((np.zeros((EXAMPLES, POSITIONS, 2)), y), task="sequence")
    assert data.labels == (7, 17, 27, 37)
    every = np.concatenate([data.y[split] for split in data.y])
    assert sorted(every.ravel()) == sorted(TARGETS.flatten().tolist())


def test_next_tokens_may_be_padded_and_tokens_not():
    tokens = LABELS.numpy()
    x = {f"x_{split}": tokens for split in ("train", "val", "test")}
    y = {f"y_{split}": TARGETS.numpy() for split in ("train", "val", "test")}
    data = loaded({**x, **y, "vocabulary": CLASSES, "next_token": True}, task="sequence")
    assert np.array_equal(data.y["test"], TARGETS)
    with pytest.raises(SuiteError, match=r"x_val: -100 at \[\d+, \d\] is no token"):
        loaded({**x, **y, "x_val": TARGETS.numpy(), "vocabulary": CLASSES, "next_token": True}, task="sequence")


def test_an_example_without_a_target_is_refused():
    y = TARGETS.numpy().copy()
    y[4] = IGNORED
    with pytest.raises(SuiteError, match="all positions of example 4 are -100"):
        loaded((np.zeros((EXAMPLES, POSITIONS, 2)), y), task="sequence")
