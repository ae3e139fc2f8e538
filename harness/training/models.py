"""The networks: plain modules, written once, each with its norm and activation as parameters.

To add a family: one entry in MODELS, from the sizes in the model's name to a module. `mlp-64x8` has eight hidden layers
of 64, `mlp-64-32` has one of 64 and one of 32, `cnn-8-16` has convolutions with 8 and with 16 channels.
"""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any

import torch
from torch import nn

from harness.errors import SuiteError, lookup
from harness.training.inits import initialise
from harness.training.norms import REWORK, Norm, norm_of
from harness.training.streams import sub_seed
from harness.trial import Trial

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}
LARGEST_MODEL = 10**9  # parameters; more than that is a slip of the keyboard
MOST_LAYERS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a model is fitted into: the shape of one example, the number of classes, its norm and its activation."""

    inputs: tuple[int, ...]
    classes: int
    norm: Norm
    activation: Callable[[], nn.Module]


def build(trial: Trial, inputs: tuple[int, ...], classes: int, own: Mapping[str, Callable[..., Any]]) -> nn.Module:
    """The model of a trial on the CPU, initialised by its seed alone; `own` are the functions that the suite brings."""
    model = blank(trial, inputs, classes, own)
    initialise(model, trial)
    return model


def blank(trial: Trial, inputs: tuple[int, ...], classes: int, own: Mapping[str, Callable[..., Any]]) -> nn.Module:
    """The model of a trial before its init: what is needed where trained weights are to follow."""
    around = Surroundings(
        inputs=inputs,
        classes=classes,
        norm=norm_of(trial),
        activation=lookup(ACTIVATIONS, trial.activation, "activation"),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(sub_seed(trial.seed, "init"))
        model = _own(own[trial.model], around) if trial.model in own else _named(trial.model, around)
    if trial.norm in REWORK:
        REWORK[trial.norm](model)
    return model


def _named(name: str, around: Surroundings) -> nn.Module:
    family, _, sizes = name.partition("-")
    make = lookup(MODELS, family, "model")
    if not re.fullmatch(r"\d+(x\d+)?(-\d+(x\d+)?)*", sizes) or len(sizes) > 100:
        raise SuiteError(f"a {family} is named by its layers, such as {family}-64x8 or {family}-64-32, got {name!r}")
    layers = [[int(number) for number in part.split("x")] for part in sizes.split("-")]
    widths = [width for width, *times in layers for _ in range(min(times[0] if times else 1, MOST_LAYERS + 1))]
    if len(widths) > MOST_LAYERS:
        raise SuiteError(f"model {name!r} has {len(widths)} layers or more; {MOST_LAYERS} is the most")
    if not (widths and all(widths)) or sum(a * b for a, b in pairwise(widths)) > LARGEST_MODEL:
        raise SuiteError(f"model {name!r} has a layer of size 0 or more than {LARGEST_MODEL} weights")
    return make(widths, around)


def _own(function: Callable[..., Any], around: Surroundings) -> nn.Module:
    """The model that a suite's own function makes of whichever of inputs, classes, norm, activation it asks for."""
    known = {name: getattr(around, name) for name in Surroundings.__slots__}
    asked = [p.name for p in inspect.signature(function).parameters.values() if p.default is p.empty]
    if unknown := [name for name in asked if name not in known]:
        raise SuiteError(f"model {function.__name__!r} asks for {unknown[0]!r}; it can have: {', '.join(known)}")
    model = function(**{name: known[name] for name in inspect.signature(function).parameters if name in known})
    if not isinstance(model, nn.Module):
        raise SuiteError(f"model {function.__name__!r} must return an nn.Module, got {type(model).__name__}")
    return model


def _mlp(widths: list[int], around: Surroundings) -> nn.Module:
    """Linear, norm, activation, for each width; the norm comes before the activation, as in Ioffe & Szegedy 2015."""
    layers: list[nn.Module] = [nn.Flatten()] if len(around.inputs) > 1 else []
    features = prod(around.inputs)
    for width in widths:
        layers += [nn.Linear(features, width), around.norm(width), around.activation()]
        features = width
    return nn.Sequential(*layers, nn.Linear(features, around.classes))


def _cnn(widths: list[int], around: Surroundings) -> nn.Module:
    """Convolution over 3 x 3, norm, activation, for each width, halving the image as long as there is one to halve."""
    if len(around.inputs) != 3:
        raise SuiteError(f"a cnn needs images (channels, height, width), got examples of shape {around.inputs}")
    layers: list[nn.Module] = []
    channels, *size = around.inputs
    for width in widths:
        layers += [nn.Conv2d(channels, width, 3, padding=1), around.norm(width, dims=2), around.activation()]
        if min(size) >= 2:
            layers.append(nn.MaxPool2d(2))
            size = [side // 2 for side in size]
        channels = width
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * prod(size), around.classes))


MODELS: dict[str, Callable[[list[int], Surroundings], nn.Module]] = {"mlp": _mlp, "cnn": _cnn}
