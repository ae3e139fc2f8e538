"""A plain module whose known layers are replaced by those of all models.

A stacked layer has to know whether the examples themselves reach it, which all models may share, or what other layers
made of them, and whether these are vectors, images or sequences. Shapes can't tell: a batch of 3 models' 4 channels
looks like one of 12 channels. So a few examples are sent through the plain module once, and what each layer gets is
written down.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from harness.ensemble.backends.base import NotStackableError
from harness.ensemble.backends.stacked_layers import stacked_form
from harness.ensemble.backends.stacked_layers.call import LayerCall
from harness.ensemble.backends.stacked_layers.sequences import (
    SEQUENCE_LAYERS,
    SequenceNorm,
    examples_as_sequences,
    makes_sequences,
    sequence_form,
)
from harness.ensemble.backends.whole_vectors import POSITION_DEPENDENT, WholeVectors
from harness.nn.module_state import example_zeros
from harness.nn.norm_inputs import ChannelsLast

TRACE_EXAMPLES = 2


@dataclass(frozen=True, slots=True)
class LayerInput:
    """What a layer gets where a model runs."""

    spatial_dims: int = 0  # 0 for vectors "N C", 1 for signals "N C L", 2 for images "N C H W"
    is_examples: bool = False  # whether it is the examples, or made of them without any weights
    is_sequences: bool = False  # whether channels come last in it, or in what the layer makes of the examples


class StackedLayer(nn.Module):
    """A layer of all models, in the place of the plain one."""

    def __init__(self, layer: nn.Module, tensors: Mapping[str, Tensor], models: int, layer_input: LayerInput) -> None:
        super().__init__()
        self._plain = (layer,)  # in a tuple, so that its weights are not taken for this module's own
        self.tensors, self.models = dict(tensors), models
        self.spatial_dims, self.gets_examples = layer_input.spatial_dims, layer_input.is_examples
        self.is_of_sequences = layer_input.is_sequences
        self.generators: Sequence[torch.Generator] = ()  # of each model, for what it draws
        self.shared = False  # whether all models share the input; set before each forward pass where it gets examples

    @property
    def plain(self) -> nn.Module:
        """The plain layer, without its weights."""
        return self._plain[0]

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output for all models."""
        compute = sequence_form(self.plain) if self.is_of_sequences else stacked_form(self.plain)
        assert compute is not None
        call = LayerCall(
            layer=self.plain,
            tensors=self.tensors,
            models=self.models,
            spatial_dims=self.spatial_dims,
            shared=self.shared,
            training=self.training,
            generators=self.generators,
        )
        return compute(call, examples_as_sequences(call, x) if self.is_of_sequences and self.gets_examples else x)


class StackedModule(nn.Module):
    """All models as one module."""

    def __init__(self, layers: nn.Module, gives_sequences: bool) -> None:
        super().__init__()
        self.layers, self.gives_sequences = layers, gives_sequences

    def forward(self, x: Tensor) -> Tensor:
        """The outputs "M K N", where sequences have a label at each position with N times as many numbers."""
        out: Tensor = self.layers(x)
        return out.flatten(1, -2).transpose(1, 2) if self.gives_sequences else out


def stack_layers(model: nn.Module, tensors: Mapping[str, Tensor], input_shape: tuple[int, ...]) -> nn.Module:
    """A copy of the model whose layers are those of all models, with the stacked `tensors` of these names.

    NotStackableError where a layer holds weights and has no stacked form.
    """
    models = len(next(iter(tensors.values())))
    copy = deepcopy(model)
    layer_tensors = {
        layer: _tensors_of(layer, name, tensors) for name, layer in copy.named_modules() if _is_known(layer)
    }
    for layer in copy.modules():
        if layer not in layer_tensors and _tensor_names(layer):
            raise NotStackableError(f"{type(layer).__name__} is not among the layers that can be stacked")
    trace = trace_inputs(copy, input_shape)
    inputs = trace.inputs
    copy.to("meta")
    stacked = {
        layer: StackedLayer(layer, stacked_tensors, models, inputs[layer])
        for layer, stacked_tensors in layer_tensors.items()
    }
    if copy in stacked:
        return StackedModule(stacked[copy], trace.gives_sequences)
    for parent in list(copy.modules()):
        for name, child in list(parent._modules.items()):  # also where a child has two names
            if child in stacked:
                setattr(parent, name, stacked[child])
            elif child is not None and type(child) in POSITION_DEPENDENT:
                setattr(parent, name, WholeVectors(child))
            elif isinstance(child, ChannelsLast) and inputs[child].is_sequences:
                setattr(parent, name, SequenceNorm(child, stacked[child.norm], models))
    return StackedModule(copy, trace.gives_sequences)


def _is_known(layer: nn.Module) -> bool:
    return bool(stacked_form(layer)) or type(layer) in SEQUENCE_LAYERS


def _tensor_names(layer: nn.Module) -> list[str]:
    return [name for name, _ in (*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False))]


def _tensors_of(layer: nn.Module, name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    prefix = f"{name}." if name else ""
    if missing := [param for param in _tensor_names(layer) if prefix + param not in tensors]:
        raise NotStackableError(f"{prefix}{missing[0]} belongs to two layers")
    return {param: tensors[prefix + param] for param in _tensor_names(layer)}


class _PerModel(Tensor):
    """Marks what a layer has made of its input: torch hands the mark on to all that is computed from it."""


class _Sequences(_PerModel):
    """Marks the same where channels come last."""


@dataclass(frozen=True, slots=True)
class Trace:
    """What was seen when examples went through a plain module."""

    inputs: Mapping[nn.Module, LayerInput]  # of each layer that has a stacked form
    gives_sequences: bool  # whether channels come last in what the module puts out


@torch.no_grad()
def trace_inputs(model: nn.Module, input_shape: tuple[int, ...]) -> Trace:
    """What each layer that has a stacked form gets, by sending examples of zeros through the model in evaluation.

    Where a layer is called with examples once and with something else another time, none is said to get examples: all
    models then have to be given their own. Of a layer that is never called nothing is known, and nothing is needed.
    """
    layers = [layer for layer in model.modules() if _is_known(layer) or isinstance(layer, ChannelsLast)]
    wrapped = {layer.norm for layer in layers if isinstance(layer, ChannelsLast)}
    calls: dict[nn.Module, list[LayerInput]] = {layer: [] for layer in layers}

    def note(layer: nn.Module, args: tuple[Any, ...]) -> None:
        x = args[0]
        is_examples = not isinstance(x, _PerModel)
        is_sequences = makes_sequences(layer, x.ndim) if is_examples else isinstance(x, _Sequences)
        calls[layer].append(LayerInput(x.ndim - 2, is_examples, is_sequences and layer not in wrapped))

    def mark(layer: nn.Module, args: tuple[Any, ...], out: Tensor) -> Tensor:  # noqa: ARG001
        if calls[layer][-1].is_sequences:
            return out.as_subclass(_Sequences)
        return out if isinstance(layer, nn.Flatten | _DropoutNd) else out.as_subclass(_PerModel)

    hooks = [
        hook for layer in calls for hook in (layer.register_forward_pre_hook(note), layer.register_forward_hook(mark))
    ]
    with torch.random.fork_rng(devices=[]):
        out = model.eval()(example_zeros(model, TRACE_EXAMPLES, input_shape))
    for hook in hooks:
        hook.remove()
    return Trace(_inputs_of(calls), isinstance(out, _Sequences))


def _inputs_of(calls: Mapping[nn.Module, Sequence[LayerInput]]) -> dict[nn.Module, LayerInput]:
    for layer, inputs in calls.items():
        if len({layer_input.spatial_dims for layer_input in inputs}) > 1:
            raise NotStackableError(f"{type(layer).__name__} is called with examples of different dimensions")
    inconsistent = [layer for layer, inputs in calls.items() if len(set(inputs)) > 1]
    if inconsistent and any(layer_input.is_sequences for inputs in calls.values() for layer_input in inputs):
        raise NotStackableError(f"{type(inconsistent[0]).__name__} is called with sequences and with examples")
    found = {layer: inputs[0] if inputs else LayerInput() for layer, inputs in calls.items()}
    if inconsistent:
        return {layer: replace(layer_input, is_examples=False) for layer, layer_input in found.items()}
    return found
