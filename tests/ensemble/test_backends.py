"""Every backend against the plain modules, over all norms and families and over what suites may bring of their own.

A backend is covered by standing in the table. It may refuse a model; what it doesn't refuse it has to compute.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from harness.ensemble import backend_choice, ensemble
from harness.ensemble.backend_choice import select_backend
from harness.ensemble.backends import BACKENDS
from harness.ensemble.backends.base import NotStackableError
from harness.ensemble.backends.loop import LoopBackend
from harness.ensemble.ensemble import fuse
from harness.nn.models import build
from harness.nn.norms import NORMS
from tests.support.backends import CPU, assert_computes_the_plain_modules, lone_rank
from tests.support.pairs import INPUTS, SMALL, fits
from tests.support.side_effects import KEPT, WIDTH
from tests.support.strategies import a_trial

M = 3
FAMILIES = {  # model -> the shape of its examples
    **{model: (3, 8, 6) if len(INPUTS[family]) == 3 else INPUTS[family] for family, model in SMALL.items()},
    "mlp-6x2": (5,),
    "resmlp-6x2": (5,),
    "cnn-4-6": (1, 6, 5),
    "cnn-6": (2, 11),
}
OPTIONS = [
    {"norm_momentum": "cumulative"},
    {"norm_momentum": 0.7},
    {"norm_affine": False},
    {"norm_track_running_stats": False},
]


class Buffered(nn.Module):
    """Weights and a buffer of its own, the latter changed in training."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.scale = nn.Linear(5, 4), nn.Parameter(torch.ones(4))
        self.register_buffer("largest", torch.zeros(4))

    def forward(self, x: Tensor) -> Tensor:
        out = self.inner(x) * self.scale
        if self.training:
            self.largest.copy_(torch.maximum(self.largest, out.detach().amax(0)))
        return out - 0.1 * self.largest


class Twice(nn.Module):
    """A layer that gets the examples, and then what it made of them."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.norm = nn.Linear(5, 5), nn.BatchNorm1d(5)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(self.norm(self.inner(x)).tanh())


class Branching(nn.Module):
    """Two layers that get the examples, of which one is a norm, and a residual branch behind them."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.norm, self.two, self.inner = nn.Linear(5, 4), nn.BatchNorm1d(5), nn.Linear(5, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        out = self.one(x) + self.two(self.norm(x))
        return out + self.inner(out.relu())


class FlatInCode(nn.Module):
    """Reshapes between its layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv2d(1, 2, 3), nn.Linear(2 * 4 * 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.flatten(self.conv(x), 1))


class Spare(nn.Module):
    """A layer that is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.spare, self.inner = nn.Linear(2, 2), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


def around(block: Callable[[], nn.Module]) -> nn.Module:
    return nn.Sequential(nn.Linear(5, WIDTH), block(), nn.Linear(WIDTH, 3))


@dataclass(frozen=True)
class Case:
    """Models of one kind, and which backends must not refuse them."""

    make: Callable[[int], nn.Module]  # seed -> module
    input_shape: tuple[int, ...]
    taken_by: frozenset[str]


STACKED_ALONE = ("ghost_batch", "batch_renorm", "dyt", "frn", "evonorm_s0", "scaled_ws", "ws_batch", "ws_group")


def built(model: str, norm: str, **options) -> Case:
    trial = a_trial(model=model, norm=norm, norm_groups=2, batch_size=8, **options)
    shape = FAMILIES[model]
    taken_by = {"stacked", "loop", "ddp"}
    if model.partition("-")[0] in ("mlp", "cnn", "vgg") and norm not in STACKED_ALONE:
        taken_by.add("compiled")
    if norm != "ghost_batch" and not model.startswith("lstm"):
        taken_by.add("vmap")
    return Case(lambda seed: build(replace(trial, seed=seed), shape, 3, {}), shape, frozenset(taken_by))


def own(make: Callable[[], nn.Module], input_shape: tuple[int, ...], *taken_by: str) -> Case:
    return Case(lambda seed: make(), input_shape, frozenset({*taken_by, "loop", "ddp"}))


CASES = {
    **{f"{model}-{norm}": built(model, norm) for model in FAMILIES for norm in NORMS if fits(norm, model)},
    **{
        f"{model}-batch-{options}": built(model, "batch", **options)
        for model in ("mlp-6x2", "cnn-4-6")
        for options in OPTIONS
    },
    "post-norm": built("vit-8x2", "layer", norm_position="post", activation="gelu"),
    "query-key norm": built("transformer-8x2", "rms", qk_norm=True, causal=True, norm_affine=False),
    "sigmoid": built("mlp-6x2", "batch", activation="sigmoid"),
    "tanh": built("mlp-6x2", "none", activation="tanh"),
    "buffered": own(Buffered, (5,)),
    "twice": own(Twice, (5,), "stacked", "vmap"),
    "branching": own(Branching, (5,), "stacked", "vmap"),
    "flat in code": own(FlatInCode, (1, 6, 5), "vmap"),
    "spare": own(Spare, (5,), "stacked", "vmap"),
    "dropout of nothing": own(
        lambda: nn.Sequential(nn.Linear(5, 4), nn.Dropout(0.0), nn.Linear(4, 3)), (5,), "stacked"
    ),
    **{
        kind: own(partial(around, KEPT[kind]), (5,), "vmap")
        for kind in ("assigned buffer", "updated buffer", "integer buffer", "swapped buffers", "last seen")
    },
    **{
        kind: own(partial(around, KEPT[kind]), (5,))
        for kind in ("forward hook", "pre hook", "backward hook", "closed over")
    },
    "a lone layer": own(lambda: nn.Linear(5, 3), (5,), "compiled", "stacked", "vmap"),
    # What layers make of 7 examples has their shape, or that of the examples with models and channels in one dimension.
    "alike features": own(lambda: nn.Sequential(nn.Flatten(), nn.Linear(28, 4), nn.GroupNorm(2, 4)), (4, 7), "stacked"),
    "alike channels": own(
        lambda: nn.Sequential(nn.Conv1d(12, 4, 3, padding=1), nn.BatchNorm1d(4), nn.Flatten()), (12, 5), "stacked"
    ),
}


def models_of(case: Case) -> list[nn.Module]:
    """Models whose parameters all differ, also those that start as zeros or ones."""
    models = []
    for seed in range(M):
        torch.manual_seed(seed)
        model = case.make(seed).double()
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(torch.randn_like(weight), alpha=0.3)
        models.append(model)
    return models


@pytest.fixture(scope="module")
def lone(tmp_path_factory):
    with lone_rank(tmp_path_factory.mktemp("rank")) as ranks:
        yield ranks


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_backend_computes_what_the_plain_modules_compute(lone, backend, case):
    try:
        assert_computes_the_plain_modules(backend, models_of(case), case.input_shape, lone)
    except (NotStackableError, RuntimeError, UserWarning) as error:
        if backend in case.taken_by:
            raise
        pytest.skip(f"refused: {error}")


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_backend_takes_some_model(lone, backend):
    for case in CASES.values():
        try:
            fuse(models_of(case)[: 1 if backend == "ddp" else M], case.input_shape, CPU, backend, dist=lone)
        except NotStackableError:
            continue
        return
    pytest.fail("it takes none")


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("backend", BACKENDS)
def test_dropout_leaves_out_numbers_of_each_model_in_training_and_none_in_evaluation(lone, backend, shared):
    models = [nn.Sequential(nn.Linear(5, 40), nn.Dropout(0.4)).double() for _ in range(1 if backend == "ddp" else M)]
    try:
        fused = fuse(models, (5,), CPU, backend, dist=lone)
    except NotStackableError as error:
        pytest.skip(f"refused: {error}")
    fused.seed_draws(range(len(models)))
    x = torch.randn(7, *(() if shared else (len(models),)), 5, dtype=torch.float64)
    exact = torch.stack([model[0](x if shared else x[:, i]).T for i, model in enumerate(models)]).detach()
    fused.seed_draws(range(1, 1 + len(models)))
    out, _ = fused.gradients(x, shared=shared, loss_fn=lambda out: (out.clone(), torch.ones_like(out)))
    dropped = out == 0
    assert 0.2 < dropped.double().mean() < 0.6
    torch.testing.assert_close(out, torch.where(dropped, 0.0, exact / 0.6))
    assert not any(torch.equal(mask, dropped[0]) for mask in dropped[1:])
    with fused.eval_mode():
        torch.testing.assert_close(fused(x, shared=shared), exact)


FACTOR = 1 + 1e-6


class LyingInTraining(LoopBackend):
    def forward(self, x: Tensor, *, shared: bool) -> Tensor:
        return super().forward(x, shared=shared) * (FACTOR if self.module.training else 1)


class LyingInEvaluation(LoopBackend):
    def forward(self, x: Tensor, *, shared: bool) -> Tensor:
        return super().forward(x, shared=shared) * (1 if self.module.training else FACTOR)


class LyingOfSharedExamples(LoopBackend):
    def forward(self, x: Tensor, *, shared: bool) -> Tensor:
        return super().forward(x, shared=shared) * (FACTOR if shared else 1)


class LyingOfOneModel(LoopBackend):
    def forward(self, x: Tensor, *, shared: bool) -> Tensor:
        out = super().forward(x, shared=shared)
        return out * torch.tensor([1, 1, FACTOR])[:, None, None].to(out)


class LyingOfGradients(LoopBackend):
    def batch_gradients(self, x, shared, loss_fn):
        losses, grads = super().batch_gradients(x, shared, loss_fn)
        return losses, {name: grad * (FACTOR if name == "1.bias" else 1) for name, grad in grads.items()}


class LyingOfStatistics(LoopBackend):
    def batch_gradients(self, x, shared, loss_fn):
        losses_and_grads = super().batch_gradients(x, shared, loss_fn)
        self.stack.buffers["1.running_var"].mul_(FACTOR)
        return losses_and_grads


class Forgetting(LoopBackend):
    def gradients(self, x, *, shared, loss_fn, accumulate_into=None, final=True):  # noqa: ARG002
        return super().gradients(x, shared=shared, loss_fn=loss_fn)


LIARS = [
    LyingInTraining,
    LyingInEvaluation,
    LyingOfSharedExamples,
    LyingOfOneModel,
    LyingOfGradients,
    LyingOfStatistics,
    Forgetting,
]


@pytest.mark.parametrize("liar", LIARS, ids=lambda liar: liar.__name__)
def test_a_backend_that_is_wrong_by_a_millionth_is_found_out(monkeypatch, liar):
    monkeypatch.setitem(BACKENDS, "liar", liar)
    case = CASES["mlp-6x2-batch"]
    with pytest.raises(AssertionError):
        assert_computes_the_plain_modules("liar", models_of(case), case.input_shape)


@pytest.mark.parametrize("liar", LIARS[:-1], ids=lambda liar: liar.__name__)
def test_a_backend_that_is_wrong_by_a_millionth_is_not_chosen(monkeypatch, liar):
    """Though it is tried first. (How parts of a batch add up is the same for all, and isn't looked at.)"""
    table = {"liar": liar, **BACKENDS}
    for module in (backend_choice, ensemble):
        monkeypatch.setattr(module, "BACKENDS", table)
    case = CASES["mlp-6x2-batch"]
    assert select_backend(models_of(case), case.input_shape) == ("compiled", "")


def test_a_new_backend_is_tried_first_where_it_stands_first(monkeypatch):
    class Native(LoopBackend):
        name, note = "native", ""

    table = {"native": Native, **BACKENDS}
    for module in (backend_choice, ensemble):
        monkeypatch.setattr(module, "BACKENDS", table)
    case = CASES["mlp-6x2-batch"]
    assert select_backend(models_of(case), case.input_shape) == ("native", "")


def test_backends_stand_in_their_table_under_their_names():
    assert [backend.name for backend in BACKENDS.values()] == list(BACKENDS)
