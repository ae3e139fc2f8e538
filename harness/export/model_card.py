"""The model card: what a trained model is, next to its tensors, taken out of the cohort that it was trained in.

A card is plain data, the same in the file under models/ and in every format that `export` writes, so that a file alone
is enough to build the model again:

    format         version of the card; a newer one is refused
    key, trial     the trial and its settings, those that differ from their defaults
    init_params    how to build the model: its name, inputs (shape of an example), classes (of a regression its
                   targets), and vocabulary where examples are tokens; the trial says the rest
    layers         the module as torch prints it, for people to read
    which          "last" or "best"
    step, epoch    updates and passes over the training data that made it what it is
    lr             learning rate of the next update
    accuracy       of the validation examples at that step, where the task has one
    metrics        all that was measured at that step: "val.loss", "test.accuracy", ...
    versions       of harness and torch
    labels         what the data have for class 0, 1, ..., where that is not 0, 1, ...
    spared         the weights without weight decay, where some are
    parameters     all parameters in the module's order, where some of them are not trained
    hidden_matrices  the weights that are Muon's, where it is the optimizer
    left_out       parameters and buffers that the module's state_dict doesn't bring back, where there are some
    state_dict     in the file under models/ alone: which of its tensors the state_dict has under which name
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from harness._version import __version__
from harness.data.encodings import is_encoding
from harness.data.labels import Label
from harness.ensemble.precision import PRECISIONS
from harness.errors import NO_ERRORS, HarnessError, ModelError, SuiteError, error_line, lookup
from harness.export.saved_state import SavedState, load_state, saved_state, state_dict_of
from harness.nn.models import MODELS, build_uninitialised, uses_own_modules
from harness.nn.module_state import tensors_of, to_precision
from harness.nn.norms import NORMS
from harness.nn.surgery import convert_from_sync_bn
from harness.spec.measured import SPLITS
from harness.spec.suite import Functions
from harness.spec.trial import Trial, split_names
from harness.storage.records import CHECKPOINT_KINDS
from harness.tasks.objective import Objective
from harness.training.checkpoint import Snapshot
from harness.training.state import TrainState
from harness.typed import fits, shown

FORMAT = 2
MAX_FACTS = 2**26  # bytes of a card that are read
TENSOR_KINDS = ("weight/", "buffer/")  # of a cohort's tensors: the trained ones, and all others of the module
CARD_FIELDS: dict[str, Any] = {  # of a card, as far as this package relies on them -> type
    **{"format": int, "key": str, "which": str, "step": int},
    **dict.fromkeys(("trial", "init_params", "versions"), Mapping[str, Any]),
    **{"epoch": float, "lr": float, "accuracy": float | None},
}


def trained_models(state: TrainState, factories: Functions) -> Iterator[tuple[Trial, str, Snapshot]]:
    """The last and the best model of each trial whose state keeps the best: see best_checkpoint.py."""
    dataset = state.dataset
    layers = str(convert_from_sync_bn(deepcopy(state.ensemble.template), dataset.input_shape))
    for i, trial in enumerate(state.trials):
        for which in CHECKPOINT_KINDS:
            tensors = state.model_state if which == "last" else state.best
            step = state.steps if which == "last" else int(state.best["step"][i])
            own = {name: tensors[name][i] for name in state.model_state}
            saved = saved_as(trial, own, dataset.input_shape, dataset.outputs, factories, dataset.vocabulary)
            card = {**_card(state, i, step), "layers": layers, "which": which, **_state_fields(saved)}
            yield trial, which, Snapshot(card, {**own, **saved.others})


def saved_as(
    trial: Trial,
    tensors: Mapping[str, Tensor],
    inputs: tuple[int, ...],
    classes: int,
    factories: Functions,
    vocabulary: int | None = None,
) -> SavedState:
    """The state of a trial's model with these tensors, named as those of training are."""
    names = {name.partition("/")[2]: name for name in tensors if name.startswith(TENSOR_KINDS)}
    if not uses_own_modules(trial, factories):
        with torch.device("meta"):
            model = build_uninitialised(trial, inputs, classes, factories, vocabulary)
        return SavedState({key: names[key] for key in model.state_dict()}, {}, {})
    own = {name: tensors[kept].detach().cpu() for name, kept in names.items()}
    return saved_state(lambda: _plain_model(trial, inputs, classes, factories, vocabulary), own, names)


def check_saving(
    trial: Trial, inputs: tuple[int, ...], classes: int, factories: Functions, vocabulary: int | None = None
) -> None:
    """SuiteError where a model of the suite's own can't be saved and built again, whatever its training comes to."""
    model = _plain_model(trial, inputs, classes, factories, vocabulary)
    tensors = {f"{TENSOR_KINDS[0]}{name}": tensor for name, tensor in tensors_of(model).items()}
    try:
        saved = saved_as(trial, tensors, inputs, classes, factories, vocabulary)
    except (HarnessError, *NO_ERRORS):
        raise
    except BaseException as error:  # hooks of the model's own may raise anything
        raise SuiteError(
            f"model {trial.model!r} can't be saved: {error_line(error)[:200]}; "
            "change what it puts into its state_dict, or leave out save_models=True"
        ) from error
    size = len(json.dumps(_state_fields(saved)))
    if size > MAX_FACTS // 2:
        raise SuiteError(
            f"model {trial.model!r} can't be saved: {size / 2**20:.0f} MB of its values are no persistent buffers nor "
            "parameters; make them persistent, or leave out save_models=True"
        )


def _plain_model(
    trial: Trial, inputs: tuple[int, ...], classes: int, factories: Functions, vocabulary: int | None
) -> nn.Module:
    model = build_uninitialised(trial, inputs, classes, factories, vocabulary)
    return to_precision(model, lookup(PRECISIONS, trial.precision, "precision").dtype)


def _state_fields(saved: SavedState) -> dict[str, Any]:
    return {"state_dict": dict(saved.entries), **({"left_out": dict(saved.left_out)} if saved.left_out else {})}


def _card(state: TrainState, i: int, step: int) -> dict[str, Any]:
    trial, row = state.trials[i], state.eval_steps.index(step)
    values = {name: curve[row, i].item() for name, curve in state.curves.items() if name.partition(".")[0] in SPLITS}
    metrics = {name: value if math.isfinite(value) else None for name, value in values.items()}
    next_step = min(step, state.steps - 1)
    spared = {} if trial.decay_norms else {"spared": sorted(state.norm_params)}
    parameters = [name for name, _ in state.ensemble.template.named_parameters()]
    frozen = {} if len(parameters) == len(state.ensemble.weights) else {"parameters": parameters}
    is_parted = state.optimizer.rest is not None
    hidden = {"hidden_matrices": sorted(state.hidden_matrices)} if is_parted else {}
    labels = {"labels": list(state.dataset.labels)} if state.dataset.labels else {}
    encoding = {} if state.dataset.encoding is None else {"encoding": state.dataset.encoding}
    return {
        "format": FORMAT,
        "key": trial.key,
        "trial": trial.content,
        **labels,
        **encoding,
        **spared,
        **frozen,
        **hidden,
        "init_params": {
            "model": trial.model,
            "inputs": list(state.dataset.input_shape),
            "classes": state.dataset.outputs,
            **({} if state.dataset.vocabulary is None else {"vocabulary": state.dataset.vocabulary}),
        },
        "step": step,
        "epoch": step / state.steps_per_epoch,
        "lr": trial.lr * state.lr_factor(next_step),
        "accuracy": metrics.get("val.accuracy"),
        "metrics": metrics,
        "versions": {"harness": __version__, "torch": str(torch.__version__)},
    }


def check(card: Mapping[str, Any]) -> None:
    """ModelError where a card is of a newer version, or lacks a field that is needed."""
    version = card.get("format")
    if type(version) is int and version > FORMAT:
        raise ModelError(
            f"has format {version}, and harness {__version__} reads up to {FORMAT}; read it with a newer harness"
        )
    fault = "is not a model as this project writes it"
    for name, hint in CARD_FIELDS.items():
        if name not in card or not fits(card[name], hint):
            raise ModelError(f"{fault}: its {name} is {shown(card.get(name))}")
    for name in ("state_dict", "left_out"):
        if not fits(card.get(name, {}), Mapping[str, Any]):
            raise ModelError(f"{fault}: its {name} is {shown(card[name])}")
    for name in ("spared", "parameters", "hidden_matrices"):
        if not fits(card.get(name, []), Sequence[str]):
            raise ModelError(f"{fault}: its {name} is {shown(card[name])}")
    if not is_encoding(card.get("encoding", {"characters": ""})):
        raise ModelError(f"{fault}: its encoding is {shown(card['encoding'])}")
    inputs, classes = card["init_params"].get("inputs"), card["init_params"].get("classes")
    if not fits(labels := card.get("labels", []), Sequence[Label]) or len(labels) not in {0, classes}:
        raise ModelError(f"{fault}: its labels are {shown(labels)}")
    sizes = [*inputs, classes] if isinstance(inputs, list) else [None]
    if not (1 < len(sizes) <= 6 and all(type(size) is int and 0 < size < 2**31 for size in sizes)):
        raise ModelError(f"{fault}: its inputs are {shown(inputs)}, its classes {shown(classes)}")
    vocabulary = card["init_params"].get("vocabulary", 1)
    if type(vocabulary) is not int or not 0 < vocabulary < 2**31:
        raise ModelError(f"{fault}: its vocabulary is {shown(vocabulary)}")


def labels_of(card: Mapping[str, Any]) -> Sequence[Label]:
    """The label of class 0, of class 1, ... as the data have them."""
    labels: Sequence[Label] = card.get("labels") or range(card["init_params"]["classes"])
    return labels


def trial_of(card: Mapping[str, Any]) -> Trial:
    """The trial that trained the model."""
    try:
        return Trial(**card["trial"])
    except TypeError as error:
        version = card["versions"].get("harness")
        raise ModelError(
            f"it was written by harness {version} with settings unknown to {__version__}: {error}"
        ) from error


def known_objective(trial: Trial, functions: Functions) -> Objective:
    """What a trial minimised and was measured by, of its own functions those that are known; the rest of its task."""
    own_metrics = {name: functions[name] for name in split_names(trial.metrics) if name in functions}
    return Objective(trial.task, functions.get(trial.loss), own_metrics)


def card_of(model: Snapshot) -> dict[str, Any]:
    """The card of a trained model as it leaves."""
    return {name: value for name, value in model.metadata.items() if name != "state_dict"}


def state_of(model: Snapshot) -> dict[str, Any]:
    """The state_dict of a trained model: that of its plain module."""
    tensors = module_tensors(model)
    if "state_dict" not in model.metadata:  # as in format 1
        return dict(tensors)
    try:
        return state_dict_of(model.metadata["state_dict"], model.tensors)
    except (KeyError, ValueError, TypeError) as error:
        raise ModelError(f"its state_dict is not as this project writes it: {error!r:.100}") from error


def module_tensors(model: Snapshot) -> dict[str, Tensor]:
    """The parameters and buffers under the names that they had in training."""
    tensors = {name.partition("/"): tensor for name, tensor in model.tensors.items()}
    return {name: tensor for (kind, _, name), tensor in tensors.items() if kind in ("weight", "buffer")}


def build_trained(card: Mapping[str, Any], state: Mapping[str, Any], factories: Functions) -> nn.Module:
    """The plain module of a card, with this state_dict, in evaluation mode.

    A model of this package is built on the meta device, so that a card may claim any size; the tensors then have to
    fit. A function of a suite may need real tensors, to read numbers off them or to keep them, and is run as it is.
    """
    params, trial = card["init_params"], trial_of(card)
    if trial.model not in factories and trial.model.partition("-")[0] not in MODELS:
        raise ModelError(
            f"its model {trial.model!r:.50} is a function of its suite: name the suite, which is then run "
            "(--suite FILE), or give the function (factories={name: function})"
        )
    if trial.norm not in factories and trial.norm not in NORMS:
        raise ModelError(
            f"its norm {trial.norm!r:.50} is a function of its suite: name the suite, which is then run "
            "(--suite FILE), or give the function (factories={name: function})"
        )
    inputs, vocabulary = tuple(params["inputs"]), params.get("vocabulary")
    if uses_own_modules(trial, factories):
        model = _plain_model(trial, inputs, params["classes"], factories, vocabulary)
        load_state(model, state, card.get("left_out", {}))
    else:
        with torch.device("meta"):
            model = build_uninitialised(trial, inputs, params["classes"], factories, vocabulary)
        model.load_state_dict(dict(state), assign=True)
    return convert_from_sync_bn(model, inputs).eval()
