"""What batch norm is, by the formulas of its textbooks in numpy, held against every way in which models train here.

In training a channel x becomes gamma * (x - mean) / sqrt(var + eps) + beta, with mean and variance (over N, biased) of
the batch. Running statistics r move by r <- (1 - momentum) * r + momentum * s, where s is the batch's mean or its
variance over N - 1; without a momentum they average all batches. In evaluation they stand in for the batch's.
"""

import numpy as np
import pytest
import torch
from torch import nn

from harness.data.datasets import Dataset
from harness.ensemble.backends import BACKENDS
from harness.ensemble.bn_statistics import EVAL_STATISTICS, STATISTICS, batches
from harness.errors import SuiteError
from harness.export.evaluate import loss_and_accuracy, scores
from harness.nn.models import build
from harness.nn.norms import NORM_LAYERS, NORMS
from harness.rng import generator
from harness.spec.trial import BATCH_NORMS, RULES, Trial
from harness.training.loop import train
from harness.training.state import init_state
from tests.support.backends import ensembles_of, lone_rank
from tests.support.pairs import fits
from tests.support.strategies import a_trial

CPU = torch.device("cpu")
M, N, C, H, W, BATCHES = 3, 7, 4, 2, 5, 3
OPTIONS = {
    "as torch has it": {},
    "eps": {"eps": 0.3},
    "momentum": {"momentum": 0.7},
    "a cumulative average": {"momentum": None},
    "no momentum at all": {"momentum": 0.0},
    "without affine": {"affine": False},
    "without running statistics": {"track_running_stats": False},
}


class Reference:
    """A batch norm in numpy, for examples "N C" or "N C H W"."""

    def __init__(self, gamma, beta, eps=1e-5, momentum=0.1, affine=True, track_running_stats=True):
        self.gamma, self.beta = (gamma, beta) if affine else (np.ones(C), np.zeros(C))
        self.eps, self.momentum, self.tracks = eps, momentum, track_running_stats
        self.mean, self.var, self.seen = np.zeros(C), np.ones(C), 0

    def __call__(self, x, training):
        channels = np.moveaxis(x, 1, 0).reshape(C, -1)
        mean, var = channels.mean(1), channels.var(1)
        if training and self.tracks:
            self.seen += 1
            share = 1 / self.seen if self.momentum is None else self.momentum
            unbiased = channels.var(1, ddof=1)
            self.mean = (1 - share) * self.mean + share * mean
            self.var = (1 - share) * self.var + share * unbiased
        if not training and self.tracks:
            mean, var = self.mean, self.var
        each = (1, C, *[1] * (x.ndim - 2))
        normal = (x - mean.reshape(each)) / np.sqrt(var.reshape(each) + self.eps)
        return self.gamma.reshape(each) * normal + self.beta.reshape(each)


def net(kind, **options):
    """A batch norm between two layers that numpy has words for."""
    norm = {"vectors": nn.BatchNorm1d, "images": nn.BatchNorm2d}[kind](C, **options)
    if norm.affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    first = nn.Linear(2, C) if kind == "vectors" else nn.Conv2d(2, C, 1)
    last = [nn.Linear(C, 3)] if kind == "vectors" else [nn.Flatten(), nn.Linear(C * H * W, 3)]
    return nn.Sequential(first, norm, *last).double()


def references(models, options):
    affine = [(m[1].weight, m[1].bias) if m[1].affine else (None, None) for m in models]
    return [Reference(*(None if t is None else t.detach().numpy() for t in pair), **options) for pair in affine]


def by_hand(model, reference, x, training):
    """The net in numpy."""
    first, last = model[0], model[-1]
    weight, bias = (t.detach().numpy() for t in (first.weight, first.bias))
    hidden = np.einsum("ci,ni...->nc...", weight.reshape(C, 2), x) + bias.reshape(1, C, *[1] * (x.ndim - 2))
    normal = reference(hidden, training).reshape(len(x), -1)
    return normal @ last.weight.detach().numpy().T + last.bias.detach().numpy()


@pytest.fixture(scope="module")
def lone(tmp_path_factory):
    with lone_rank(tmp_path_factory.mktemp("rank")) as ranks:
        yield ranks


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("kind", ["vectors", "images"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_every_backend_does_what_the_formulas_say(lone, kind, backend, options):
    torch.manual_seed(0)
    models = [net(kind, **options) for _ in range(M)]
    inputs = (2,) if kind == "vectors" else (2, H, W)
    for ensemble, rows in ensembles_of(backend, models, inputs, lone):
        assert_does_what_the_formulas_say(ensemble, [models[i] for i in rows], options)


def assert_does_what_the_formulas_say(ensemble, models, options):
    hand = references(models, options)
    for step in range(BATCHES):
        x = torch.randn(N, len(models), *ensemble.input_shape, dtype=torch.float64) * 3 + 2
        ensemble.count_batches(step)
        out, _ = ensemble.gradients(x, shared=False, loss_fn=lambda out: (out.clone(), torch.ones_like(out)))
        for i, (model, reference) in enumerate(zip(models, hand, strict=True)):
            np.testing.assert_allclose(out[i].T.numpy(), by_hand(model, reference, x[:, i].numpy(), True), rtol=1e-9)
            if reference.tracks:
                buffers = {name: buffer[i] for name, buffer in ensemble.buffers.items()}
                np.testing.assert_allclose(buffers["1.running_mean"], reference.mean, rtol=1e-9, atol=1e-12)
                np.testing.assert_allclose(buffers["1.running_var"], reference.var, rtol=1e-9)
                assert buffers["1.num_batches_tracked"] == step + 1
        unseen = torch.randn(N + 2, *ensemble.input_shape, dtype=torch.float64)
        with ensemble.eval_mode():
            out = ensemble(unseen, shared=True)
        for i, (model, reference) in enumerate(zip(models, hand, strict=True)):
            np.testing.assert_allclose(out[i].T.numpy(), by_hand(model, reference, unseen.numpy(), False), rtol=1e-9)


@pytest.mark.parametrize("norm", [norm for norm in NORMS if fits(norm, "cnn")])
def test_the_options_of_a_trial_reach_every_layer(norm):
    tracks = norm == "batch_renorm"  # which has to
    options = {"norm_eps": 0.25, "norm_momentum": 0.5, "norm_affine": False, "norm_track_running_stats": tracks}
    trial = a_trial(model="cnn-4-6", norm=norm, norm_groups=2, batch_size=8, **options)
    model = build(trial, (1, 8, 8), 10, {})
    layers = [layer for layer in model.modules() if isinstance(layer, NORM_LAYERS)]
    assert len(layers) == (0 if norm in ("none", "scaled_ws") else 2)
    for layer in layers:
        assert getattr(layer, "eps", 0.25) == 0.25  # a norm that divides by nothing has none
        assert {"weight", "bias"}.isdisjoint(name for name, _ in layer.named_parameters())
        if norm in BATCH_NORMS:
            assert (layer.momentum, layer.running_mean is not None) == (0.5, tracks)


def noise():
    """Examples whose mean is far from zero, and labels that a net can learn from them."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 220)
    x = rng.normal(y[:, None, None, None] / 2 + 1, 1.0, (220, 1, 4, 4))
    cut = {"train": slice(0, 120), "val": slice(120, 163), "test": slice(163, 220)}
    return Dataset(
        name="noise",
        x={split: x[part].astype(np.float32) for split, part in cut.items()},
        y={split: y[part].astype(np.int64) for split, part in cut.items()},
        classes=3,
    )


class Scale(nn.Module):
    """A layer that can't be stacked."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.ones(5))

    def forward(self, x):
        return x * self.factor


def mapped(norm):
    """A model of a suite's own."""
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 5), norm(5), nn.ReLU(), Scale(), nn.Linear(5, 3))


@pytest.mark.parametrize("statistics", EVAL_STATISTICS)
@pytest.mark.parametrize(
    ("model", "norm", "backend", "max_cohort_size"),
    [
        ("mlp-5", "batch", "compiled", None),
        ("cnn-4-6", "batch", "compiled", None),
        ("resmlp-5", "batch", "stacked", None),
        ("mapped", "batch", "vmap", None),
        ("mlp-5", "batch", "loop", 1),
        ("mlp-5", "ghost_batch", "stacked", None),
        ("mapped", "ghost_batch", "loop", None),
        ("mlp-5", "batch_renorm", "stacked", None),
        ("cnn-4-6", "batch_renorm", "stacked", None),
        ("mlp-5", "group", "compiled", None),
    ],
)
def test_a_cohort_is_judged_with_the_statistics_that_a_model_alone_would_be(
    statistics, model, norm, backend, max_cohort_size
):
    base = Trial(
        dataset="noise",
        model=model,
        norm=norm,
        norm_groups=1,
        lr=0.05,
        batch_size=14,
        steps=5,
        device="cpu",
        norm_batch=7 if norm == "ghost_batch" else None,
        eval_statistics=statistics,
        norm_momentum="cumulative",
        max_cohort_size=max_cohort_size,
    )
    dataset = noise()
    trials = [Trial(**{**base.content, "seed": seed}) for seed in range(max_cohort_size or M)]
    program = init_state(trials, dataset, CPU, {"mapped": mapped})
    assert program.ensemble.backend.name == backend
    for _ in train(program):
        pass
    seen = torch.from_numpy(dataset.x["train"])[torch.randperm(120, generator=generator(0, "recalibrate"))]
    for i, trial in enumerate(trials):
        alone = build(trial, dataset.input_shape, 3, {"mapped": mapped})
        state = {**program.ensemble.weights, **program.ensemble.buffers}
        alone.load_state_dict({name: tensor[i].detach() for name, tensor in state.items()})
        chosen = STATISTICS[statistics](alone.eval(), batches(seen, 14))
        for split in ("val", "test"):
            out = scores(chosen, torch.from_numpy(dataset.x[split]), 3, 14)
            loss, accuracy = loss_and_accuracy(out, torch.from_numpy(dataset.y[split]))
            assert program.curves[f"{split}.loss"][-1, i].item() == pytest.approx(loss, rel=1e-4)
            assert program.curves[f"{split}.accuracy"][-1, i].item() == pytest.approx(accuracy)


@pytest.mark.parametrize("statistics", ["batch", "recalibrated"])
def test_statistics_in_evaluation_are_of_as_many_examples_as_in_training_where_a_batch_comes_in_parts(statistics):
    found = []
    for size, parts in ((14, 2), (7, 1)):
        trial = a_trial(
            dataset="noise",
            model="mlp-5",
            norm="batch",
            batch_size=size,
            accumulation_steps=parts,
            eval_statistics=statistics,
        )
        program = init_state([trial], noise(), CPU, {})
        assert next(train(program)).kind == "eval"
        found.append(program.curves["val.loss"][0])
    assert torch.equal(*found)


def test_what_is_judged_moves_no_bit_of_what_is_learnt():
    found = []
    for statistics in EVAL_STATISTICS:
        trials = [
            Trial(
                dataset="noise",
                model="mlp-5x2",
                norm="batch",
                lr=0.1,
                batch_size=14,
                steps=7,
                eval_every=2,
                seed=s,
                eval_statistics=statistics,
                device="cpu",
            )
            for s in range(M)
        ]
        program = init_state(trials, noise(), CPU, {})
        for _ in train(program):
            pass
        found.append((program.model_state, program.curves["test.loss"][-1]))
    (running, its_loss), *others = found
    for state, loss in others:
        assert all(torch.equal(tensor, state[name]) for name, tensor in running.items())
        assert not torch.equal(loss, its_loss)


def test_the_choices_are_the_same_wherever_there_is_one():
    assert set(EVAL_STATISTICS) == set(STATISTICS)
    assert all(RULES["eval_statistics"][0](name) for name in EVAL_STATISTICS)
    with pytest.raises(SuiteError, match="norm_track_running_stats"):
        a_trial(norm="batch", eval_statistics="recalibrated", norm_track_running_stats=False)
