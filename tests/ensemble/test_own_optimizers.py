"""Optimizers that a suite brings: torch's own classes and functions of parameters, each held to a plain loop."""

from dataclasses import replace
from functools import partial

import pytest
import torch

from harness.ensemble.optim.checks import check_own_optimizers
from harness.errors import SuiteError
from harness.export.model_card import trained_models
from harness.export.optimizer_state import optimizer_state
from harness.nn.models import build
from harness.training.best_checkpoint import keep_best
from harness.training.loop import train
from harness.training.state import init_state
from tests.support.alone import BASE, CPU, DATA, assert_equals_alone, torch_optimizers
from tests.support.stopping import train_until

pytestmark = pytest.mark.usefixtures("double_precision")


class Counting(torch.optim.Optimizer):
    """Remembers tensors that it makes anew, numbers, and something in its groups."""

    def __init__(self, params, lr, weight_decay=0.0, beta=0.9):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "beta": beta, "total": 0.0, "k": 0})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            group["k"] += 1
            group["total"] = group["total"] + group["lr"] / group["k"]
            for weight in group["params"]:
                state = self.state[weight]
                grad = weight.grad + group["weight_decay"] * weight
                state["seen"] = state.get("seen", 0) + 1
                state["mean"] = group["beta"] * state["mean"] + grad if "mean" in state else grad.clone()
                weight.data = weight.data - (group["lr"] + 0.01 * group["total"]) / state["seen"] * state["mean"]


class Noisy(torch.optim.SGD):
    """Draws from torch's default generator, as Langevin dynamics does."""

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for weight in group["params"]:
                weight.grad += 0.1 * torch.randn_like(weight)
        super().step()


def two_rates(params, lr):
    """Different rates for matrices and all else."""
    params = list(params)
    return torch.optim.RMSprop(
        [
            {"params": [p for p in params if p.ndim == 2]},
            {"params": [p for p in params if p.ndim != 2], "lr": lr / 4},
        ],
        lr=lr,
    )


OWN = {
    "Adam": torch.optim.Adam,
    "ASGD": torch.optim.ASGD,
    "Adadelta": torch.optim.Adadelta,
    "Rprop": torch.optim.Rprop,
    "NAdam": torch.optim.NAdam,
    "heavy": partial(torch.optim.SGD, momentum=0.9),
    "Counting": Counting,
}
EVERY = {**OWN, "Noisy": Noisy, "two_rates": two_rates}


def start(trials, functions=None):
    return keep_best(init_state(trials, DATA, CPU, functions or EVERY))


def finish(state, done=0):
    for _ in train(state, done):
        pass
    return state


def tensors_of(state):
    return {name: tensor.detach().clone() for name, tensor in state.tensors.items()}


def assert_same_bits(found, expected):
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name].nan_to_num(7e30), tensor.nan_to_num(7e30)), name


@pytest.mark.parametrize("name", OWN)
def test_it_trains_every_model_of_a_cohort_as_it_does_in_a_plain_loop(name):
    decays = 0.0 if name == "Rprop" else 0.1
    base = replace(BASE, optimizer=name, norm="layer", decay_norms=name == "Rprop", weight_decay=decays, steps=25)
    changes = [{}, {"max_grad_norm": 0.3}, {"optimizer_args": {"beta": 0.5} if name == "Counting" else {}}]
    trials = [
        replace(base, seed=i, lr=0.01 * (1 + i), schedule="cosine", warmup_steps=5, **change)
        for i, change in enumerate(changes)
    ]
    assert_equals_alone(finish(start(trials)), trials, DATA, OWN)


@pytest.mark.parametrize("name", EVERY)
def test_it_goes_on_to_the_bit_wherever_it_is_stopped_also_where_models_are_dropped(name):
    base = replace(BASE, optimizer=name, norm="layer", lr=0.02, steps=6, eval_every=2)
    trials = [replace(base, seed=i, lr=lr) for i, lr in enumerate([0.02, 1e308, 0.05, 1e308, 1e307])]
    events = [(event.step, len(event.active.rows)) for event in train(start(trials))]
    whole = finish(start(trials))
    dropped = {rows for _, rows in events}
    for event in range(1, len(events), 3):
        stopped = start(trials)
        done = train_until(stopped, event)
        resumed = start(trials)
        resumed.restore(tensors_of(stopped))
        assert_same_bits(tensors_of(finish(resumed, done)), tensors_of(whole))
    assert len(dropped) > 1 or name == "Rprop"  # whose steps have a largest size
    alone = finish(start(trials[:1]))
    assert_same_bits({n: t[:1] for n, t in whole.model_state.items()}, dict(alone.model_state))


@pytest.mark.parametrize("name", [name for name in OWN if name != "Counting"])
def test_plain_torch_goes_on_from_its_checkpoint_as_the_harness_would_have(name):
    trial = replace(BASE, optimizer=name, norm="layer", decay_norms=False, lr=0.01, steps=6)
    if name not in ("Rprop", "heavy"):
        trial = replace(trial, weight_decay=0.1)
    state = finish(start([trial]))
    (snapshot,) = [model for _, which, model in trained_models(state, EVERY) if which == "last"]
    exported = optimizer_state(snapshot, EVERY)
    module = build(trial, DATA.input_shape, DATA.classes, {})
    (theirs,) = torch_optimizers(module, trial, OWN)
    assert [group.keys() - {"param_names", "initial_lr"} for group in exported["param_groups"]] == [
        group.keys() for group in theirs.state_dict()["param_groups"]
    ]
    theirs.load_state_dict(exported)
    names = dict(module.named_parameters())
    kept = theirs.state[names["0.weight"]] if "0.weight" in names else theirs.state[next(iter(names.values()))]
    first = next(iter(names))
    for slot, tensor in state.optimizer_state[first].items():
        assert torch.equal(torch.as_tensor(kept[slot]), tensor[0]), slot


def test_a_function_that_groups_parameters_itself_is_exported_with_its_own_groups():
    trial = replace(BASE, optimizer="two_rates", norm="layer", lr=0.01, steps=6)
    (snapshot,) = [model for _, which, model in trained_models(finish(start([trial])), EVERY) if which == "last"]
    groups = optimizer_state(snapshot, EVERY)["param_groups"]
    assert [group["lr"] for group in groups] == [0.01, 0.0025]
    weights = snapshot.tensors
    assert [{weights[f"weight/{name}"].ndim == 2 for name in group["param_names"]} for group in groups] == [
        {True},
        {False},
    ]


def forgetful(params, lr):
    """Keeps what it remembers where nobody looks for it."""
    optimizer = torch.optim.SGD(params, lr=lr)
    plain, calls = optimizer.step, []

    def step():
        calls.append(1)
        for group in optimizer.param_groups:
            for weight in group["params"]:
                weight.grad *= len(calls)
        plain()

    optimizer.step = step
    return optimizer


class Late(torch.optim.SGD):
    """Remembers something from its third step on."""

    def step(self):
        super().step()
        for weight in self.param_groups[0]["params"]:
            state = self.state[weight]
            state["calls"] = state.get("calls", 0) + 1
            if state["calls"] == 3:
                state["slow"] = weight.detach().clone()


class Listing(torch.optim.SGD):
    """Remembers a list."""

    def step(self):
        super().step()
        self.state[self.param_groups[0]["params"][0]]["past"] = [1.0]


@pytest.mark.parametrize(
    ("function", "changes", "says"),
    [
        (torch.optim.LBFGS, {}, "'own' needs a closure, to evaluate the loss several times in a step"),
        (torch.optim.SparseAdam, {}, "'own' can't step: RuntimeError: SparseAdam does not support dense gradients"),
        (torch.optim.Muon, {}, "'own' can't be made with .*: ValueError: Muon only supports 2D"),
        (
            torch.optim.Adam,
            {"momentum": 0.9},
            "takes no momentum; besides settings of the trial it takes amsgrad, betas",
        ),
        (torch.optim.Adam, {"optimizer_args": {"beta": 0.9}}, "takes no beta; besides .* amsgrad, betas"),
        (torch.optim.Adam, {"optimizer_args": {"betas": (0.9, 2.0)}}, "Invalid beta parameter at index 1: 2.0"),
        (two_rates, {"weight_decay": 0.1}, "takes no weight_decay; besides settings of the trial it takes nothing"),
        (partial(torch.optim.SGD, lr=1.0), {}, "must take lr, the learning rate of a trial"),
        (torch.optim.SGD, {"optimizer_args": {"momentum": 0.9}}, "momentum is a setting of the trial"),
        (lambda params, lr: {"lr": lr}, {}, "must return a torch.optim.Optimizer, got dict"),
        (forgetful, {}, "does not go on where it stopped"),
        (Late, {}, "remembers 'slow' of a weight after some steps only"),
        (Listing, {}, "remembers 'past' as a list"),
    ],
)
def test_one_that_cant_train_a_cohort_or_be_resumed_is_refused_beforehand(function, changes, says):
    good = replace(
        BASE, optimizer="own", optimizer_args={} if not changes.get("optimizer_args") else {"foreach": False}
    )
    trials = [replace(BASE, optimizer="own", **changes)] if not changes else [good, replace(good, **changes)]
    trials = trials if function not in (two_rates,) else trials[-1:]
    with pytest.raises(SuiteError, match=says):
        check_own_optimizers(build(BASE, DATA.input_shape, DATA.classes, {}), trials, {"own": function})


def test_it_takes_no_name_that_is_taken():
    model = build(BASE, DATA.input_shape, DATA.classes, {})
    with pytest.raises(SuiteError, match="can't be called 'adam'"):
        check_own_optimizers(model, [replace(BASE, optimizer="adam")], {"adam": torch.optim.Adam})
