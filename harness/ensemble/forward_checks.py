"""What a forward pass does besides mapping its examples: what a plain loop would do with it is tried on a few of them.

A forward pass may change buffers in training, and draw from the default generators of torch, numpy and Python. All else
that it changes would be shared by the models of a cohort and missing in a snapshot: SuiteError, in the user's words.
"""

import inspect
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.ensemble.attribute_reads import read_first
from harness.ensemble.module_copy import copy_module
from harness.ensemble.plain_training import descend, without_dropout
from harness.ensemble.python_state import Place, python_state
from harness.errors import SuiteError, error_line
from harness.rng import preserved_generators, seed_default_generators

SEED, STEPS, LR = 1, 2, 1e-3  # of what is tried
LATER = 1_000_003  # seconds
REMEDIES = {  # what torch says -> what to do
    "backward through the graph a second time": "detach what you keep from one step to the next: (...).detach()",
    "modified by an inplace operation": "write it without in-place operations, x = x + y for x += y",
    "is being used in an in-place operation": "write it without in-place operations, or under torch.no_grad()",
}


@dataclass(frozen=True, slots=True)
class ForwardTraits:
    """What has to be known of a model to train it."""

    draws: bool = False  # whether forward passes draw random numbers otherwise than by dropout layers
    trains_alone: bool = False  # whether models of two seeds differ in more than parameters and buffers


def check_model(
    make: Callable[[int], nn.Module],
    seed: int,
    examples: Tensor,
    outputs: int | tuple[int, int],
    name: str,
    wanted: str = "logits of shape (examples, classes)",
) -> ForwardTraits:
    """SuiteError where what `make` builds of a seed can't be trained as a plain loop trains it; else its traits.

    It has so many `outputs` for each example, or positions and outputs of each; `wanted` names them.
    """
    with preserved_generators():
        model = make(seed)
        _check_signature(model, name)
        _check_parameter_hooks(model, name)
        shape = (len(examples), *(outputs if isinstance(outputs, tuple) else (outputs,)))
        check = _Check(examples=examples, shape=shape, name=name, wanted=f"return {wanted}, here {shape}")
        check.changes(without_dropout(copy_module(model)))
        traits = ForwardTraits(
            draws=draws_numbers(model, examples),
            trains_alone=bool(_changes(python_state(model), python_state(make(seed + 1)))),
        )
        check.repetition(make, seed)
    return traits


def explained(error: BaseException) -> str:
    """The error of a model in one line, and what to do about it where that is known."""
    line = error_line(error)
    return line + next((f"; {remedy}" for text, remedy in REMEDIES.items() if text in line), "")


def draws_numbers(model: nn.Module, examples: Tensor) -> bool:
    """Whether forward passes draw from default generators, otherwise than by dropout layers."""
    model = without_dropout(copy_module(model))
    with preserved_generators(), torch.no_grad():
        for mode in (True, False):
            seed_default_generators(SEED)
            before = _generators()
            model.train(mode)(examples)
            if _generators() != before:
                return True
    return False


def _generators() -> list[Any]:
    _, *of_numpy = np.random.get_state()  # noqa: NPY002
    return [torch.get_rng_state().tolist(), *map(str, of_numpy), str(random.getstate())]


def _check_signature(model: nn.Module, name: str) -> None:
    try:
        inspect.signature(model.forward).bind(None)
    except TypeError as error:
        raise SuiteError(
            f"model {name!r} is called with a batch of examples and nothing else: model(x); its forward is another "
            f"({error})"
        ) from error
    except ValueError:  # a function of C has no signature
        pass


def _check_parameter_hooks(model: nn.Module, name: str) -> None:
    for parameter, weight in model.named_parameters():
        if weight._post_accumulate_grad_hooks:
            raise SuiteError(
                f"model {name!r}: its parameter {parameter!r} has a hook that waits for accumulated gradients; "
                "use register_hook, which gets each gradient"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Check:
    """What a model is tried with."""

    examples: Tensor  # "N ..."
    shape: tuple[int, ...]  # of its outputs
    name: str
    wanted: str  # what it has to do

    def changes(self, model: nn.Module) -> None:
        """Nothing but buffers may change in training, and nothing in evaluation."""
        before = python_state(model)
        identities = {parameter: id(weight) for parameter, weight in model.named_parameters()}
        model.train()
        for step in range(STEPS):
            seed_default_generators(SEED + step)
            self.scores(model).square().mean().backward()  # type: ignore[no-untyped-call]
        trained_buffers = {buffer: tensor.clone() for buffer, tensor in model.named_buffers()}
        with torch.no_grad():
            model.eval()(self.examples)
        model.train()
        if identities != {parameter: id(weight) for parameter, weight in model.named_parameters()}:
            raise SuiteError(f"model {self.name!r} makes parameters in forward; make all of them in the constructor")
        changed = _changes(before, python_state(model))
        moved = [
            buffer for buffer, tensor in trained_buffers.items() if not _same(tensor, model.get_buffer(buffer))
        ]  # in evaluation
        kept = read_first(model, self.examples, changed) if changed else set()
        for place in changed:
            if place in kept:
                raise SuiteError(_change_message(model, place, self.name))
        if moved:
            raise SuiteError(
                f"model {self.name!r} changes its buffer {moved[0]!r} in evaluation; "
                "change it in training alone: if self.training: ..."
            )

    def repetition(self, make: Callable[[int], nn.Module], seed: int) -> None:
        """Two models of one seed, with the same examples and the same steps, have to come to the same, at any time."""
        remedy = "draw from torch, numpy.random or random as they are, which are seeded, and read no clock"
        model = without_dropout(make(seed))
        with _later():
            again = without_dropout(make(seed))
        others = _tensors(again)
        if different := [place for place, tensor in _tensors(model).items() if not _same(tensor, others[place])]:
            raise SuiteError(
                f"model {self.name!r} is built with another {different[0]} each time from the same seed; {remedy}"
            )
        ends = [self.trained(model)]
        with _later():
            ends.append(self.trained(again))
        if not all(map(_same, *ends)):
            raise SuiteError(f"model {self.name!r} gives another output each time from the same seed; {remedy}")

    def trained(self, model: nn.Module) -> list[Tensor]:
        """The outputs of some steps of plain training and of an evaluation, and the tensors after them."""
        model.train()
        outputs = []
        for step in range(STEPS):
            seed_default_generators(SEED + step)
            outputs.append(self.scores(model))
            model.zero_grad()
            outputs[-1].square().mean().backward()  # type: ignore[no-untyped-call]
            descend(model, LR)
        with torch.no_grad():
            outputs.append(model.eval()(self.examples))
        return [*(out.detach() for out in outputs), *_tensors(model).values()]

    def scores(self, model: nn.Module) -> Tensor:
        """The model's output, which has to be logits or numbers that have a gradient."""
        out = model(self.examples)
        if not isinstance(out, Tensor):
            what = "nothing (None)" if out is None else f"a {type(out).__name__}"
            raise SuiteError(f"model {self.name!r} returned {what}; {self.wanted}")
        if out.shape != self.shape:
            raise SuiteError(f"model {self.name!r} returned a tensor of shape {tuple(out.shape)}; {self.wanted}")
        if not out.is_floating_point():
            raise SuiteError(f"model {self.name!r} returned {out.dtype}; return logits, as floating-point numbers")
        if not out.requires_grad:
            raise SuiteError(
                f"model {self.name!r} returned what has no gradient; return logits that are computed from its "
                "parameters, without detach() and torch.no_grad()"
            )
        return out


@contextmanager
def _later() -> Iterator[None]:
    """A while later, for whoever asks time.time: two models that are built within a second may read the same one."""
    now, now_ns = time.time, time.time_ns
    time.time, time.time_ns = lambda: now() + LATER, lambda: now_ns() + LATER * 10**9
    try:
        yield
    finally:
        time.time, time.time_ns = now, now_ns


def _change_message(model: nn.Module, place: Place, name: str) -> str:
    module, what = place
    where = f"module {module!r} of model {name!r}" if module else f"model {name!r}"
    owner = model.get_submodule(module)
    if what in owner._buffers:
        return f"{where} changes the shape or dtype of its buffer {what!r} in forward; make it as it will be at once"
    value = vars(owner).get(what)
    if isinstance(value, FunctionType) or " " in what or "." in what:
        return (
            f"{where} changes a variable in forward that {what} reads, which the models of a cohort share and no "
            "snapshot holds; keep it in a buffer: self.register_buffer(name, torch.tensor(...))"
        )
    if isinstance(value, torch.Generator | np.random.Generator | np.random.RandomState | random.Random):
        return (
            f"{where} draws from a generator of its own, {what!r}, whose state no snapshot holds; draw from torch, "
            "numpy.random or random as they are, which are seeded for each trial"
        )
    return (
        f"{where} changes {what!r} in forward, which the models of a cohort share and no snapshot holds; "
        f"make it a buffer: self.register_buffer({what!r}, torch.tensor(...))"
    )


def _changes(before: dict[Place, str], after: dict[Place, str]) -> list[Place]:
    return [place for place in {**before, **after} if before.get(place) != after.get(place)]


def _name(place: Place) -> str:
    return ".".join(filter(None, place))


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, rtol=0.0, atol=0.0, equal_nan=True)
