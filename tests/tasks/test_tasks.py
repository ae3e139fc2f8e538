"""Each task held to torch's own losses and scikit-learn's metrics."""

from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn import metrics as sk

from harness.errors import SuiteError
from harness.spec.metric import TASK_METRICS
from harness.tasks.objective import TASKS, Objective
from harness.tasks.task import targets_of

MODELS, EXAMPLES, OUTPUTS, POSITIONS = 3, 23, 4, 5
LOSSES = {  # on outputs "P K" and targets as a plain loop has them
    "classification": F.cross_entropy,
    "regression": F.mse_loss,
    "multilabel": F.binary_cross_entropy_with_logits,
    "sequence": F.cross_entropy,
}


def example(task, *, models=MODELS, own=False, seed=0):
    rng = torch.Generator().manual_seed(seed)
    rows = models if own else 1
    out = torch.randn(models, OUTPUTS, EXAMPLES * (POSITIONS if task == "sequence" else 1), generator=rng).double()
    targets = {
        "classification": torch.randint(0, OUTPUTS, (rows, EXAMPLES) if own else (EXAMPLES,), generator=rng),
        "regression": 3 + torch.randn(rows, OUTPUTS, EXAMPLES, generator=rng).double(),
        "multilabel": torch.randint(0, 2, (rows, OUTPUTS, EXAMPLES), generator=rng).double(),
        "sequence": torch.randint(0, OUTPUTS, (rows, POSITIONS, EXAMPLES), generator=rng),
    }
    return out, targets[task]


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("task", TASKS)
def test_losses_and_gradients_are_torchs_own(task, own):
    out, y = example(task, own=own)
    out.requires_grad_()
    objective = Objective(task)
    losses, grad = objective.loss_and_gradient(out.detach(), y)
    expected = torch.stack([LOSSES[task](out[m].T, targets_of(y, m)) for m in range(MODELS)])
    torch.testing.assert_close(losses, expected.detach())
    torch.testing.assert_close(grad, *torch.autograd.grad(expected.sum(), out))
    torch.testing.assert_close(objective.example_losses(out, y).mean(1), expected)
    half, _ = objective.loss_and_gradient(out.detach(), y, batch_size=2 * EXAMPLES)
    torch.testing.assert_close(half * 2, expected.detach())


@pytest.mark.parametrize("task", TASKS)
def test_no_bit_of_a_model_depends_on_the_others(task):
    out, y = example(task)
    for dtype in (torch.float32, torch.float64):
        targets = y.to(dtype) if y.is_floating_point() else y
        for several in (out.to(dtype), out.to(dtype).mT.contiguous().mT):
            losses, grad = TASKS[task].loss_and_gradient(several, targets, EXAMPLES)
            sums = TASKS[task].sums(several, targets)
            alone = [several[m : m + 1] for m in range(MODELS)]
            of_each = [TASKS[task].loss_and_gradient(one, targets, EXAMPLES) for one in alone]
            assert torch.equal(losses, torch.cat([loss for loss, _ in of_each]))
            assert torch.equal(grad, torch.cat([g for _, g in of_each]))
            for name, total in sums.items():
                assert torch.equal(total, torch.cat([TASKS[task].sums(one, targets)[name] for one in alone]))


EXPECTED = {  # task -> metric -> from targets and what is predicted, arrays "N K" or "P"
    "classification": {"accuracy": sk.accuracy_score},
    "regression": {"rmse": sk.root_mean_squared_error, "mae": sk.mean_absolute_error, "r2": sk.r2_score},
    "multilabel": {
        "f1": partial(sk.f1_score, average="macro", zero_division=0),
        "label_accuracy": lambda y, predicted: 1 - sk.hamming_loss(y, predicted),
        "exact_match": sk.accuracy_score,
    },
    "sequence": {"accuracy": sk.accuracy_score},
}


def measured(task, out, y, parts=3):
    """The metrics of a split that is evaluated in parts, as training does."""
    objective, position = Objective(task), POSITIONS if task == "sequence" else 1
    total, loss, start = {}, torch.zeros(len(out)).double(), 0
    for part in y.tensor_split(parts, -1):
        size = part.shape[-1]
        own = out[:, :, start * position : (start + size) * position]
        for name, value in objective.task.sums(own, part).items():
            total[name] = total.get(name, 0) + value
        loss += objective.example_losses(own, part).sum(1)
        start += size
    return objective.task.metrics(total, loss / y.shape[-1], y)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("constant", [False, True])
def test_metrics_are_those_of_scikit_learn(task, constant):
    out, y = example(task)
    if constant and task in ("regression", "multilabel"):  # one target without variance, one label nobody has
        y[:, 0], out[:, 0] = 0, -1.0
        out[1, 0] = 0.0
    values = measured(task, out, y)
    assert set(values) == set(TASK_METRICS[task])
    for name, function in EXPECTED[task].items():
        for m in range(MODELS):
            expected = function(targets_of(y, m).numpy(), TASKS[task].predict(out[m].T).numpy())
            assert values[name][m].item() == pytest.approx(expected, abs=1e-12), name
    if task == "sequence":
        losses = torch.stack([F.cross_entropy(out[m].T, targets_of(y, m)) for m in range(MODELS)])
        torch.testing.assert_close(values["perplexity"], losses.exp())


@pytest.mark.parametrize("task", TASKS)
def test_no_constant_output_beats_the_guess(task):
    _, y = example(task)
    guess = TASKS[task].guess(y, OUTPUTS)
    objective = Objective(task)

    def loss(constant):
        positions = POSITIONS if task == "sequence" else 1
        return objective.example_losses(constant.view(1, -1, 1).expand(1, -1, EXAMPLES * positions), y).mean().item()

    rng = np.random.default_rng(0)
    others = [guess + 0.1 * torch.from_numpy(rng.standard_normal(OUTPUTS)) for _ in range(20)]
    assert loss(guess) <= min(map(loss, others))


def test_a_guess_is_finite_where_a_class_or_a_label_never_occurs():
    assert TASKS["classification"].guess(torch.tensor([0, 0, 2]), 4).isfinite().all()
    assert TASKS["multilabel"].guess(torch.tensor([[[0.0, 0.0], [1.0, 1.0]]]), 2).isfinite().all()


@pytest.mark.parametrize(
    ("task", "own"),
    [
        ("classification", partial(F.cross_entropy, reduction="none")),
        ("sequence", partial(F.cross_entropy, reduction="none")),
        ("regression", partial(F.mse_loss, reduction="none")),
        ("regression", lambda out, y: (out - y).square().mean(1)),
        ("multilabel", partial(F.binary_cross_entropy_with_logits, reduction="none")),
    ],
)
def test_a_loss_of_the_suites_own_may_be_what_torch_has(task, own):
    out, y = example(task)
    expected = Objective(task).loss_and_gradient(out, y)
    for ours, theirs in zip(Objective(task, own).loss_and_gradient(out, y), expected, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    "own", [F.mse_loss, lambda out, y: None, lambda out, y: (out - y)[:3]], ids=["one number", "nothing", "some"]
)
def test_a_loss_without_a_number_for_each_example_is_refused(own):
    out, y = example("regression")
    with pytest.raises(SuiteError, match=r"must return a loss for each of 23 examples, got .*reduction='none'"):
        Objective("regression", own).loss_and_gradient(out, y)


def test_own_metrics_get_outputs_and_targets_and_scikit_learn_what_it_takes():
    out, y = example("classification")
    seen = []
    own = {
        "seen": lambda outputs, targets: seen.append((outputs, targets)) or 1,
        "balanced": sk.balanced_accuracy_score,
        "log loss": sk.log_loss,
        "auc": partial(sk.roc_auc_score, multi_class="ovr"),
    }
    objective = Objective("classification", None, own)
    values = {name: objective.own_metric(name, out[0].T, y) for name in own}
    assert torch.equal(seen[0][0], out[0].T)
    assert torch.equal(seen[0][1], y)
    shares = out[0].T.softmax(1).numpy()
    assert values["seen"] == 1.0
    assert values["balanced"] == sk.balanced_accuracy_score(y.numpy(), shares.argmax(1))
    assert values["log loss"] == pytest.approx(F.cross_entropy(out[0].T, y).item())
    assert values["auc"] == sk.roc_auc_score(y.numpy(), shares, multi_class="ovr")
    with pytest.raises(SuiteError, match="'each' must return one number, got Tensor"):
        Objective("classification", None, {"each": lambda out, y: out}).own_metric("each", out[0].T, y)
