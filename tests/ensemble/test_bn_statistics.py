"""Running, batch and recalibrated statistics, against batch norm written down by hand."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from harness.ensemble.bn_statistics import STATISTICS, batches, recalibrated, with_batch, without_running
from harness.ensemble.ensemble import fuse
from harness.errors import ModelError, UsageError
from harness.export.evaluate import confusion, loss_and_accuracy, scores

N, M, K = 11, 23, 3
EPS = 1e-5


def net(**options):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, K), nn.BatchNorm1d(K, **options))
    model(torch.randn(N, 5) * 2 + 1)
    return model.eval()


def by_hand(model, x, seen):
    """The scores with the mean and the variance of other examples."""
    linear, norm = model
    hidden = linear(seen)
    var = hidden.var(0, unbiased=True)
    return (linear(x) - hidden.mean(0)) / (var + norm.eps).sqrt() * norm.weight + norm.bias


@torch.no_grad()
def test_batch_statistics_are_those_of_the_examples_judged_together():
    model, x = net(), torch.randn(N, 5)
    found = scores(with_batch(model, []), x, K, batch_size=4)
    for at, some in zip((0, 4, 8), (x[:4], x[4:8], x[8:]), strict=True):
        hidden = model[0](some)
        expected = (hidden - hidden.mean(0)) / (hidden.var(0, unbiased=False) + EPS).sqrt()
        torch.testing.assert_close(found[at : at + 4], expected)


@torch.no_grad()
def test_recalibrated_statistics_are_the_average_of_the_training_batches():
    model, x, train = net(), torch.randn(N, 5), torch.randn(M, 5)
    torch.testing.assert_close(scores(recalibrated(model, [train]), x, K), by_hand(model, x, train))
    hidden = [model[0](some) for some in (train[:10], train[10:])]
    mean, var = (torch.stack([getattr(h, name)(0) for h in hidden]).mean(0) for name in ("mean", "var"))
    expected = (model[0](x) - mean) / (var + EPS).sqrt()
    torch.testing.assert_close(scores(recalibrated(model, [train[:10], train[10:]]), x, K), expected)


@pytest.mark.parametrize("statistics", STATISTICS)
def test_the_model_that_is_judged_stays_as_it_is(statistics):
    model, x = net(), torch.randn(N, 5)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    scores(STATISTICS[statistics](model, [x]), x, K, 4)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(layer.training for layer in model.modules())


def test_one_example_has_no_variance():
    with pytest.raises(UsageError, match="one value per channel"):
        scores(with_batch(net(), []), torch.randn(N, 5), K, batch_size=1)
    assert scores(net(), torch.randn(N, 5), K, batch_size=1).shape == (N, K)


def test_a_norm_that_gathered_nothing_says_so():
    model = net(track_running_stats=False)
    for name in ("running", "recalibrated"):
        with pytest.raises(UsageError, match="norm_track_running_stats=False"):
            STATISTICS[name](model, [torch.randn(N, 5)])
    assert scores(with_batch(model, []), torch.randn(N, 5), K).shape == (N, K)


@given(st.integers(1, 40), st.integers(1, 12))
def test_batches_hold_every_example_once_and_leave_none_alone(examples, size):
    x = torch.arange(examples)
    found = batches(x, size)
    assert torch.equal(torch.cat(found), x)
    assert all(len(batch) == size for batch in found[:-1])
    assert size == 1 or examples == 1 or all(1 < len(batch) <= size + 1 for batch in found)


def test_scores_that_are_none_are_refused():
    with pytest.raises(ModelError, match=r"scores of shape \(11, 4\), got \(11, 3\)"):
        scores(net(), torch.randn(N, 5), 4)
    with pytest.raises(ModelError, match="can't be run"):
        scores(net(), torch.randn(N, 6), K)


def test_loss_accuracy_and_confusion_count_the_same_examples():
    out, y = torch.randn(N, K), torch.randint(0, K, (N,))
    loss, accuracy = loss_and_accuracy(out, y)
    counts = confusion(out, y)
    assert counts.sum() == N
    assert counts.diagonal().sum().item() / N == pytest.approx(accuracy)
    assert counts.sum(1).tolist() == [(y == k).sum().item() for k in range(K)]
    assert loss == pytest.approx(-out.double().log_softmax(1)[range(N), y].mean().item())


def test_a_cohort_with_the_statistics_of_batches_keeps_each_models_frozen_weights():
    models = [nn.Sequential(nn.Linear(5, K), nn.BatchNorm1d(K)) for _ in range(2)]
    for model in models:
        model[0].weight.requires_grad_(False)
    ensemble = without_running(fuse(models, (5,), torch.device("cpu"), "loop"))
    x = torch.randn(N, 5)
    with ensemble.eval_mode():
        out = ensemble(x, shared=True)
    for i, model in enumerate(models):
        expected = with_batch(model.eval(), [])(x)
        torch.testing.assert_close(out[i].T, expected.detach())
