"""A trained model by itself: what it is, and its tensors, cut out of the cohort that it was trained in.

What is said of it (`about`) is plain data, the same in the file under models/ and in every form that `export` writes,
so that a file alone is enough to build the model again:

    format         version of this description; a newer one is refused
    key, trial     the trial and its settings, those that differ from their defaults
    init_params    how to build the model: its name, inputs (shape of an example), classes; the trial says the rest
    layers         the same for the eye: the module as torch prints it
    which          "last" or "best"
    step, epoch    updates and passes over the training data that made it what it is
    lr             learning rate of the next update
    accuracy       of the validation examples at that step
    metrics        all that was measured at that step: "val.loss", "test.accuracy", ...
    versions       of harness and torch
    spared         the weights that weight decay leaves alone, where it does so
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from harness._version import __version__
from harness.ensemble.optim import OPTIMIZERS, lr_factor
from harness.errors import ModelError, lookup
from harness.nn.models import MODELS, build_uninitialised
from harness.nn.surgery import convert_from_sync_bn, strip_ddp_prefix
from harness.spec.trial import Trial
from harness.storage.records import CHECKPOINT_KINDS
from harness.training.checkpoint import Snapshot
from harness.training.state import SPLITS, TrainState

FORMAT = 1
MEMBERS = {  # of a description: what anything here relies on -> its type
    **{"format": int, "key": str, "trial": dict, "init_params": dict, "which": str, "versions": dict},
    **{"step": int, "epoch": float, "lr": float, "accuracy": float},
}
Functions = Mapping[str, Callable[..., Any]]  # what a suite brings of its own


def trained_models(state: TrainState, factories: Functions) -> Iterator[tuple[Trial, str, Snapshot]]:
    """The last and the best model of each trial of a program that keeps its best."""
    state.write_back()
    first, data = state.trials[0], state.dataset
    with torch.device("meta"):
        layers = str(
            convert_from_sync_bn(
                build_uninitialised(first, data.input_shape, data.classes, factories), data.input_shape
            )
        )
    for i, trial in enumerate(state.trials):
        for which in CHECKPOINT_KINDS:
            tensors = state.state if which == "last" else state.best
            step = state.steps if which == "last" else int(state.best["step"][i])
            card = {**_card(state, i, step), "layers": layers, "which": which}
            yield trial, which, Snapshot(card, {name: tensors[name][i] for name in state.state})


def _card(state: TrainState, i: int, step: int) -> dict[str, Any]:
    trial, mark = state.trials[i], state.eval_steps.index(step)
    splits = {name: curve for name, curve in state.curves.items() if name.partition(".")[0] in SPLITS}
    measured = {name: curve[mark, i].item() for name, curve in splits.items()}
    metrics = {name: value if math.isfinite(value) else None for name, value in measured.items()}
    next_step = min(step, state.steps - 1)
    spared = {} if trial.decay_norms else {"spared": sorted(state.norm_params)}
    return {
        "format": FORMAT,
        "key": trial.key,
        "trial": trial.content,
        **spared,
        "init_params": {
            "model": trial.model,
            "inputs": list(state.dataset.input_shape),
            "classes": state.dataset.classes,
        },
        "step": step,
        "epoch": step / state.steps_per_epoch,
        "lr": trial.lr * lr_factor(trial, next_step, state.steps),
        "accuracy": metrics["val.accuracy"],
        "metrics": metrics,
        "versions": {"harness": __version__, "torch": str(torch.__version__)},
    }


def check(card: Mapping[str, Any]) -> None:
    """ModelError where a description is of a newer version, or lacks what anything here relies on."""
    version = card.get("format")
    if type(version) is int and version > FORMAT:
        raise ModelError(
            f"has format {version}, and harness {__version__} reads up to {FORMAT}; read it with a newer harness"
        )
    fault = "is not a model as this project writes it"
    for name, kind in MEMBERS.items():
        if type(card.get(name)) is not kind and not (name == "accuracy" and card.get(name, 0) is None):
            raise ModelError(f"{fault}: its {name} is {card.get(name)!r:.50}")
    if type(card.get("spared", [])) is not list:
        raise ModelError(f"{fault}: its spared is {card['spared']!r:.50}")
    inputs, classes = card["init_params"].get("inputs"), card["init_params"].get("classes")
    sizes = [*inputs, classes] if isinstance(inputs, list) else [None]
    if not (1 < len(sizes) <= 6 and all(type(size) is int and 0 < size < 2**31 for size in sizes)):
        raise ModelError(f"{fault}: its inputs are {inputs!r:.50}, its classes {classes!r:.50}")


def trial_of(card: Mapping[str, Any]) -> Trial:
    """The trial that a description names."""
    try:
        return Trial(**card["trial"])
    except TypeError as error:
        wrote = card["versions"].get("harness")
        raise ModelError(
            f"it was written by harness {wrote} with settings unknown to {__version__}: {error}"
        ) from error


def state_of(model: Snapshot) -> dict[str, Tensor]:
    """The parameters and buffers of a trained model, under the names of its plain module."""
    kinds = ("weight/", "buffer/")
    return strip_ddp_prefix({name.partition("/")[2]: t for name, t in model.tensors.items() if name.startswith(kinds)})


def optimizer_state(model: Snapshot) -> dict[str, Any]:
    """What torch's own optimizer needs to go on where the harness stopped: its state_dict.

    Where weight decay leaves norm layers alone, their parameters are a second group.
    """
    about = model.metadata
    trial = trial_of(about)
    optimizer = lookup(OPTIMIZERS, trial.optimizer, "optimizer")
    names = [name for name in model.tensors if name.startswith("weight/")]
    spared = [name for name in names if name.removeprefix("weight/") in about.get("spared", [])]
    decaying = [name for name in names if name not in spared]
    groups: list[dict[str, Any]] = [{"params": [nn.Parameter(model.tensors[name]) for name in decaying]}]
    if spared:
        groups.append({"params": [nn.Parameter(model.tensors[name]) for name in spared], "weight_decay": 0.0})
    weights = [*decaying, *spared]
    state: dict[str, Any] = optimizer.torch_optimizer(groups, trial).state_dict()
    for group in state["param_groups"]:
        group |= {"lr": about["lr"], "initial_lr": trial.lr}
    state_names = optimizer.state_names([trial])
    for i, name in enumerate(weights if state_names else ()):
        state["state"][i] = {
            optimizer.torch_state[ours]: model.tensors[name.replace("weight", f"slot/{ours}", 1)]
            for ours in state_names
        }
        if optimizer.torch_counts_steps:
            state["state"][i]["step"] = torch.tensor(float(about["step"]))  # each parameter counts its own
    return state


def build_trained(card: Mapping[str, Any], state: Mapping[str, Tensor], factories: Functions) -> nn.Module:
    """The plain module that `about` describes, with these tensors, in evaluation mode.

    It is built without memory of its own, so that a description can claim any size; the tensors then have to fit.
    """
    params, trial = card["init_params"], trial_of(card)
    if trial.model not in factories and trial.model.partition("-")[0] not in MODELS:
        raise ModelError(
            f"its model {trial.model!r:.50} is a function of its suite: name the suite, which is then run "
            "(--suite FILE), or give the function (own={name: function})"
        )
    inputs = tuple(params["inputs"])
    with torch.device("meta"):
        model = build_uninitialised(trial, inputs, params["classes"], factories)
    model.load_state_dict(dict(state), assign=True)
    return convert_from_sync_bn(model, inputs).eval()
