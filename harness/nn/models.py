"""The networks: plain modules, written once, each with its norm and activation as parameters.

To add a family: one entry in MODELS, from the sizes in the model's name to a module. `mlp-64x8` has eight hidden layers
of 64, `mlp-64-32` has one of 64 and one of 32, `cnn-8-16` has convolutions with 8 and with 16 channels. Deep families
are named by their number of layers: `resnet-20` is that of the paper, `resnet-20x8` has 8 channels where it has 16.
Transformers are named by their width and their blocks, as `mlp` is: `vit-32x4` has four blocks of 32 channels.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from torch import nn

from harness.errors import SuiteError, lookup
from harness.nn.config import ModelConfig
from harness.nn.feedforward import cnn, mlp, vgg
from harness.nn.init import initialise
from harness.nn.module_checks import find_fault
from harness.nn.module_state import VOCABULARY
from harness.nn.norms import norm_entry, norm_of
from harness.nn.residual import resmlp, resnet
from harness.nn.sequences.families import lstm, transformer, vit
from harness.rng import preserved_generators, seed_default_generators, sub_seed
from harness.spec.metric import WITH_CLASSES
from harness.spec.own_code.arguments import call_with_known
from harness.spec.trial import Trial

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
}
LARGEST_MODEL = 10**9  # parameters; more than that is a slip of the keyboard
MAX_LAYERS = 10_000


def build(
    trial: Trial,
    input_shape: tuple[int, ...],
    outputs: int,
    factories: Mapping[str, Callable[..., Any]],
    vocabulary: int | None = None,
) -> nn.Module:
    """The model of a trial on the CPU, initialised by its seed alone.

    `factories` are the functions that the suite brings. With a vocabulary, examples are so many different tokens.
    """
    model = build_uninitialised(trial, input_shape, outputs, factories, vocabulary)
    initialise(model, trial)
    return model


def build_uninitialised(
    trial: Trial,
    input_shape: tuple[int, ...],
    outputs: int,
    factories: Mapping[str, Callable[..., Any]],
    vocabulary: int | None = None,
) -> nn.Module:
    """The model of a trial before its init: what is needed where trained weights are to follow."""
    norm = norm_entry(trial, factories)
    config = ModelConfig(
        inputs=input_shape,
        outputs=outputs,
        classes=outputs if trial.task in WITH_CLASSES else None,
        per_position=trial.task == "sequence",
        norm=norm_of(trial, factories),
        activation=nn.Identity if norm.has_activation else lookup(ACTIVATIONS, trial.activation, "activation"),
        residual_scale=norm.residual_scale or (lambda spatial_dims=0: nn.Identity()),
        vocabulary=vocabulary,
        norm_position=trial.norm_position,
        qk_norm=trial.qk_norm,
        causal=trial.causal,
    )
    with preserved_generators():
        seed_default_generators(sub_seed(trial.seed, "init"))
        if trial.model in factories:
            model = _build_custom(trial.model, factories[trial.model], config)
        else:
            model = _parse_model_name(trial.model, config)
    if norm.needs_branches and not any(type(layer) is norm.residual_scale for layer in model.modules()):
        raise SuiteError(f"norm {trial.norm!r} needs residual branches, and {trial.model!r} has none; use a resnet")
    if norm.transform is not None:
        norm.transform(model, trial)
    if vocabulary is not None:
        setattr(model, VOCABULARY, vocabulary)
    if uses_own_modules(trial, factories) and (fault := find_fault(model)):
        subject = f"model {trial.model!r}" if trial.model in factories else f"norm {trial.norm!r}"
        raise SuiteError(f"{subject} can't be trained: {fault}")
    return model


def uses_own_modules(trial: Trial, factories: Mapping[str, Callable[..., Any]]) -> bool:
    """Whether the trial's model is made of code of the suite's own, in whole or in its norms."""
    return trial.model in factories or trial.norm in factories


def _parse_model_name(name: str, config: ModelConfig) -> nn.Module:
    kind, _, sizes = name.partition("-")
    family = lookup(MODELS, kind, "model")
    if not re.fullmatch(r"\d+(x\d+)?(-\d+(x\d+)?)*", sizes) or len(sizes) > 100 or (family.deep and "-" in sizes):
        such_as = " or ".join(f"{kind}-{example}" for example in family.examples)
        raise SuiteError(f"a {kind} is named by its layers, such as {such_as}, got {name!r}")
    parts = [[int(number) for number in part.split("x")] for part in sizes.split("-")]
    if family.deep:
        ((depth, *first),) = parts
        widths = [8 * (first or [64])[0]] * min(depth, MAX_LAYERS + 1)
    else:
        widths = [width for width, *times in parts for _ in range(min(times[0] if times else 1, MAX_LAYERS + 1))]
    if len(widths) > MAX_LAYERS:
        raise SuiteError(f"model {name!r} has {len(widths)} layers or more; {MAX_LAYERS} is the most")
    if not (widths and all(widths)) or sum(a * b for a, b in pairwise(widths)) > LARGEST_MODEL:
        raise SuiteError(f"model {name!r} has a layer of size 0 or more than {LARGEST_MODEL} weights")
    return family.make(parts[0] if family.deep else widths, config)


def _build_custom(name: str, function: Callable[..., Any], config: ModelConfig) -> nn.Module:
    """The model that a suite's own function makes of whichever members of a ModelConfig it asks for."""
    known = {name: value for name in ModelConfig.__slots__ if (value := getattr(config, name)) is not None}
    model = call_with_known(f"model {name!r}", function, known)
    if not isinstance(model, nn.Module):
        raise SuiteError(f"model {name!r} must return an nn.Module, got {type(model).__name__}")
    return model


@dataclass(frozen=True, slots=True)
class Family:
    """How to make a model of the sizes in its name."""

    make: Callable[[Sequence[int], ModelConfig], nn.Module]
    examples: tuple[str, ...]  # sizes that an error names
    tiny: str  # sizes of a model that tests can train, all even, so that norms of two groups fit
    deep: bool = False  # the sizes are the number of layers and, where it is given, the channels of the first


MODELS: dict[str, Family] = {
    "mlp": Family(mlp, ("64x8", "64-32"), "8x2"),
    "cnn": Family(cnn, ("8-16",), "8x2"),
    "vgg": Family(vgg, ("11", "16x8"), "11x2", deep=True),
    "resnet": Family(resnet, ("20", "20x8"), "8x2", deep=True),
    "resmlp": Family(resmlp, ("64x8",), "8x2"),
    "vit": Family(vit, ("32x4",), "8x2"),
    "transformer": Family(transformer, ("32x4",), "8x2"),
    "lstm": Family(lstm, ("32", "32x2"), "8x2"),
}
