"""The state of a trained model's optimizer, in the form in which torch's own goes on where the harness stopped."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from harness.ensemble.optim import OPTIMIZERS
from harness.ensemble.optim.optimizer import Optimizer
from harness.ensemble.optim.own_optimizers import OwnOptimizer
from harness.ensemble.optim.own_steps import GROUP, as_remembered, with_layout
from harness.errors import ModelError
from harness.export.model_card import module_tensors, trial_of
from harness.spec.suite import Functions
from harness.spec.trial import Trial
from harness.training.checkpoint import Snapshot

State = dict[str, Any]  # of torch's optimizers: "state" and "param_groups"
Groups = list[dict[str, Any]]


def optimizer_state(model: Snapshot, factories: Functions) -> State:
    """The state_dict of torch's optimizer; of Muon, that of each of its two by the name of its class.

    Where the parameters of norm layers don't decay, they are a second group. Each group says in `param_names` whose it
    is, as torch has it of an optimizer that was made of named parameters. `factories` has the function where the
    optimizer is the suite's own.
    """
    card, trial, tensors = model.metadata, trial_of(model.metadata), module_tensors(model)
    names = card.get("parameters", _trained(model))
    if not set(names) <= tensors.keys():
        raise ModelError(f"it lacks its parameter {min(set(names) - tensors.keys())!r:.50}")
    if trial.optimizer in factories:
        own = OwnOptimizer(name=trial.optimizer, function=factories[trial.optimizer])
        return _own_state(model, trial, own, names)
    if trial.optimizer not in OPTIMIZERS:
        raise ModelError(
            f"its optimizer {trial.optimizer!r:.50} is a function of its suite: name the suite, which is then run "
            "(--suite FILE)"
        )
    optimizer = OPTIMIZERS[trial.optimizer]
    if optimizer.rest is None:
        return _state(model, trial, optimizer, names)
    hidden = frozenset(card.get("hidden_matrices", []))
    parts = {"Muon": optimizer, "AdamW": optimizer.rest}
    return {
        kind: _state(model, trial, rule, [name for name in names if (name in hidden) == (kind == "Muon")])
        for kind, rule in parts.items()
    }


def _state(model: Snapshot, trial: Trial, optimizer: Optimizer, names: Sequence[str]) -> State:
    """The state of torch's optimizer of these parameters."""
    step, tensors = model.metadata["step"], module_tensors(model)
    args = optimizer.args_of(trial)
    weights = {name: _parameter(tensors[name]) for name in names}
    state = _made(model, weights, trial, lambda groups: optimizer.torch_optimizer(groups, trial))
    slots, counts = optimizer.state_names([trial]), optimizer.torch_counts(step, args)
    trained = _trained(model)
    for i, name in enumerate(_order(state) if slots else ()):
        if name in trained:  # torch remembers nothing of the others
            kept = {optimizer.torch_state[ours]: model.tensors[f"slot/{ours}/{name}"] for ours in slots}
            state["state"][i] = kept | {count: torch.tensor(value) for count, value in counts.items()}
    return state


def _own_state(model: Snapshot, trial: Trial, own: OwnOptimizer, names: Sequence[str]) -> State:
    """The state of the optimizer that a suite's own function makes."""
    tensors = module_tensors(model)
    weights = {name: _parameter(tensors[name]) for name in names}
    trained = _trained(model)
    stacked = {name: weight.detach()[None] for name, weight in weights.items() if name in trained}
    own = with_layout(own, trial, stacked, frozenset(model.metadata.get("spared", [])))
    # As in training: in a list, unless some are apart.
    state = _made(model, weights, trial, lambda groups: own.make(groups if groups[1:] else groups[0]["params"], trial))
    if model.metadata["step"] == 0:
        return state

    def kept(place: str) -> State:
        known = own.layout.memory.get(place, {})
        rows = {slot: model.tensors[f"slot/{slot}/{place}"] for slot, example in known.items() if example is not None}
        return as_remembered(known, rows)

    for i, name in enumerate(_order(state)):
        if memory := kept(name):
            state["state"][i] = memory
    for i, group in enumerate(state["param_groups"]):
        group |= kept(f"{GROUP}{i}")
    return state


def _made(
    model: Snapshot,
    weights: Mapping[str, nn.Parameter],
    trial: Trial,
    make: Callable[[Any], torch.optim.Optimizer],
) -> State:
    """The state_dict of a new optimizer of these weights, in the groups in which they were trained."""
    spared = [name for name in weights if name in model.metadata.get("spared", [])]
    parts = [[name for name in weights if name not in spared], *([spared] if spared else [])]
    groups: Groups = [{"params": [weights[name] for name in part]} for part in parts]
    if spared:
        groups[1]["weight_decay"] = 0.0
    optimizer, names_of = make(groups), {id(weight): name for name, weight in weights.items()}
    state: State = optimizer.state_dict()
    for group, made in zip(state["param_groups"], optimizer.param_groups, strict=True):
        names = [names_of[id(weight)] for weight in made["params"]]
        share = group["lr"] / trial.lr if "lr" in group else 1.0  # of the trial's rate, where groups have their own
        group |= {"lr": model.metadata["lr"] * share, "initial_lr": trial.lr * share, "param_names": names}
    return state


def _order(state: State) -> list[str]:
    """The names of the parameters in the order of their numbers."""
    return [name for group in state["param_groups"] for name in group["param_names"]]


def _trained(model: Snapshot) -> list[str]:
    return [name.removeprefix("weight/") for name in model.tensors if name.startswith("weight/")]


def _parameter(tensor: Tensor) -> nn.Parameter:
    return nn.Parameter(tensor, requires_grad=tensor.is_floating_point())
