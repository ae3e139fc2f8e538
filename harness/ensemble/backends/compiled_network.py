"""A chain of layers as the native library knows it: see kernels.cpp, whose structures these are.

To add a layer: an entry in LAYERS, and what it computes in kernels.cpp.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod
from typing import Any

from torch import Tensor, nn

from harness.ensemble.backends.base import NotStackableError
from harness.ensemble.backends.stacked_layers.without_weights import check_flattens_all
from harness.ensemble.native.structs import LayerStruct, NetworkStruct, int32, int64
from harness.nn.layers import RMSNorm

CONTRACTION, NORM, ACTIVATION, POOL = range(4)
FUNCTIONS: dict[type[nn.Module], int] = {nn.ReLU: 0, nn.Tanh: 1, nn.Sigmoid: 2}
CUMULATIVE = -1.0  # the momentum of running statistics that average all batches


@dataclass(frozen=True, slots=True)
class Shape:
    """What stands between two layers: channels, pixels, and how many dimensions the pixels have."""

    channels: int
    height: int
    width: int
    spatial_dims: int  # 0 for vectors, 1 for signals, 2 for images
    is_flattened: bool = False  # a Flatten came, and the linear layer behind it is still to come

    @property
    def size(self) -> int:
        """Numbers of one example."""
        return self.channels * self.height * self.width

    @classmethod
    def of_examples(cls, input_shape: tuple[int, ...]) -> "Shape":
        """The shape of a network's input."""
        if not 1 <= len(input_shape) <= 3:
            raise NotStackableError(f"its examples have {len(input_shape)} dimensions")
        channels, *pixels = input_shape
        height, width = [1, 1, *pixels][-2:]
        return cls(channels, height, width, len(pixels))


@dataclass(frozen=True, slots=True)
class LayerNames:
    """A layer of a network, and the names of its parameters and buffers among those of the model."""

    struct: dict[str, Any]  # fields of LayerStruct
    weight: str = ""
    bias: str = ""
    running: tuple[str, ...] = ()  # mean, variance, batches
    is_norm: bool = False


LayerForm = Callable[[Any, str, Shape], tuple[LayerNames, Shape]]


def _linear(layer: nn.Linear, name: str, shape: Shape) -> tuple[LayerNames, Shape]:
    if not shape.is_flattened and shape.spatial_dims:
        raise NotStackableError("a linear layer gets signals or images")
    struct = {"kind": CONTRACTION, "kernel_height": shape.height, "kernel_width": shape.width}
    return _named(struct, layer, name), Shape(layer.out_features, 1, 1, 0)


def _convolution(layer: nn.Conv1d | nn.Conv2d, name: str, shape: Shape) -> tuple[LayerNames, Shape]:
    dims = len(layer.kernel_size)
    plain = all(value == (1,) * dims for value in (layer.stride, layer.dilation)) and layer.groups == 1
    if not plain or layer.padding_mode != "zeros" or isinstance(layer.padding, str) or dims != shape.spatial_dims:
        raise NotStackableError("a convolution has strides, dilation, groups or a padding of its own kind")
    (kernel_height, kernel_width), (pad_height, pad_width) = (
        [neutral, *values][-2:] for neutral, values in ((1, layer.kernel_size), (0, layer.padding))
    )
    struct = {
        "kind": CONTRACTION,
        "kernel_height": kernel_height,
        "kernel_width": kernel_width,
        "pad_height": pad_height,
        "pad_width": pad_width,
    }
    height, width = (
        side + 2 * pad - kernel + 1
        for side, pad, kernel in (
            (shape.height, pad_height, kernel_height),
            (shape.width, pad_width, kernel_width),
        )
    )
    return _named(struct, layer, name), Shape(layer.out_channels, height, width, dims)


def _batch_norm(layer: nn.BatchNorm1d | nn.BatchNorm2d, name: str, shape: Shape) -> tuple[LayerNames, Shape]:
    if (shape.spatial_dims == 2) != isinstance(layer, nn.BatchNorm2d):
        raise NotStackableError("a batch norm gets examples of other dimensions")
    momentum = CUMULATIVE if layer.momentum is None else layer.momentum
    struct = {"kind": NORM, "groups": 0, "centred": 1, "eps": layer.eps, "momentum": momentum}
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    running = tuple(f"{name}.{statistic}" for statistic in statistics) if layer.running_mean is not None else ()
    return _named(struct, layer, name, running=running, is_norm=True), shape


def _group_norm(layer: nn.GroupNorm, name: str, shape: Shape) -> tuple[LayerNames, Shape]:
    return _norm_of_examples(layer, name, shape, groups=layer.num_groups)


def _instance_norm(layer: nn.InstanceNorm1d | nn.InstanceNorm2d, name: str, shape: Shape) -> tuple[LayerNames, Shape]:
    if layer.track_running_stats or not shape.spatial_dims:
        raise NotStackableError("an instance norm has running statistics or gets vectors")
    return _norm_of_examples(layer, name, shape, groups=shape.channels)


def _rms_norm(layer: RMSNorm, name: str, shape: Shape) -> tuple[LayerNames, Shape]:
    return _norm_of_examples(layer, name, shape, groups=1, centred=0)


def _layer_norm(layer: nn.LayerNorm, name: str, shape: Shape) -> tuple[LayerNames, Shape]:
    if shape.spatial_dims or layer.normalized_shape != (shape.channels,):
        raise NotStackableError("a layer norm is over something else than vectors")
    return _norm_of_examples(layer, name, shape, groups=1)


def _norm_of_examples(
    layer: nn.Module, name: str, shape: Shape, *, groups: int, centred: int = 1
) -> tuple[LayerNames, Shape]:
    struct = {"kind": NORM, "groups": groups, "centred": centred, "eps": layer.eps}
    return _named(struct, layer, name, is_norm=True), shape


def _activation(layer: nn.Module, name: str, shape: Shape) -> tuple[LayerNames, Shape]:  # noqa: ARG001
    return LayerNames({"kind": ACTIVATION, "function": FUNCTIONS[type(layer)]}), shape


def _max_pool(layer: nn.MaxPool1d | nn.MaxPool2d, name: str, shape: Shape) -> tuple[LayerNames, Shape]:  # noqa: ARG001
    dims = 2 if isinstance(layer, nn.MaxPool2d) else 1
    kernel, stride, padding, dilation = (
        value if isinstance(value, tuple) else (value,) * dims
        for value in (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
    )
    plain = kernel == stride and padding == (0,) * dims and dilation == (1,) * dims
    if not plain or layer.ceil_mode or layer.return_indices or dims != shape.spatial_dims:
        raise NotStackableError("the windows of a pool overlap, are padded or have gaps")
    height, width = [1, *kernel][-2:]
    struct = {"kind": POOL, "kernel_height": height, "kernel_width": width}
    return LayerNames(struct), replace(shape, height=shape.height // height, width=shape.width // width)


def _flatten(layer: nn.Flatten, shape: Shape, *, is_first: bool) -> Shape:
    check_flattens_all(layer)
    return Shape(shape.size, 1, 1, 0) if is_first else replace(shape, is_flattened=True)


LAYERS: dict[type[nn.Module], LayerForm] = {
    nn.Linear: _linear,
    nn.Conv1d: _convolution,
    nn.Conv2d: _convolution,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.GroupNorm: _group_norm,
    nn.LayerNorm: _layer_norm,
    nn.InstanceNorm1d: _instance_norm,
    nn.InstanceNorm2d: _instance_norm,
    RMSNorm: _rms_norm,
    nn.MaxPool1d: _max_pool,
    nn.MaxPool2d: _max_pool,
    **dict.fromkeys(FUNCTIONS, _activation),
}


def _named(
    struct: dict[str, Any], layer: nn.Module, name: str, *, running: tuple[str, ...] = (), is_norm: bool = False
) -> LayerNames:
    """The layer, with the names of its weight and bias as far as it has them."""
    weight, bias = (
        f"{name}.{kind}".lstrip(".") if getattr(layer, kind, None) is not None else "" for kind in ("weight", "bias")
    )
    return LayerNames(struct, weight, bias, running, is_norm)


@dataclass(frozen=True, slots=True)
class Network:
    """A chain of layers for the native library."""

    struct: NetworkStruct
    parameters: tuple[str, ...]  # their names, in the order of their numbers
    buffers: tuple[str, ...]
    input_size: int  # numbers of one example
    classes: int
    has_batch_statistics: bool  # whether a norm takes them in evaluation, too


def network_of(model: nn.Module, tensors: Mapping[str, Tensor], input_shape: tuple[int, ...]) -> Network:
    """The model as a chain of layers; `tensors` are those of M models, by name. NotStackableError where it is none."""
    layers, structs = _chain(model, input_shape)
    parameters = [name for layer in layers for name in (layer.weight, layer.bias) if name]
    buffers = [name for layer in layers for name in layer.running]
    if len({*parameters, *buffers}) < len(parameters) + len(buffers) or {*parameters, *buffers} != set(tensors):
        raise NotStackableError("layers share their tensors, or it has others besides")
    numbers = {name: number for names in (parameters, buffers) for number, name in enumerate(names)}
    for layer, struct in zip(layers, structs, strict=True):
        fields = ("weight", "bias", "mean", "variance", "batches")
        names = (layer.weight, layer.bias, *(layer.running or ("", "", "")))
        for field, name in zip(fields, names, strict=True):
            setattr(struct, field, numbers.get(name, -1))
    for struct, following in pairwise(structs):
        follows_batch_norm = following.kind == NORM and following.groups == 0
        struct.is_norm_free_bias = struct.kind == CONTRACTION and follows_batch_norm
    is_norm = [layer.is_norm for layer in layers for name in (layer.weight, layer.bias) if name]
    return Network(
        struct=NetworkStruct(
            (LayerStruct * len(structs))(*structs),
            len(structs),
            len(parameters),
            (int64 * len(parameters))(*(tensors[name][0].numel() for name in parameters)),
            (int32 * len(parameters))(*is_norm),
        ),
        parameters=tuple(parameters),
        buffers=tuple(buffers),
        input_size=prod(input_shape),
        classes=structs[-1].channels,
        has_batch_statistics=any(s.kind == NORM and s.groups == 0 and s.mean < 0 for s in structs),
    )


def _chain(model: nn.Module, input_shape: tuple[int, ...]) -> tuple[list[LayerNames], list[LayerStruct]]:
    """The layers with what stands before and after each."""
    shape = Shape.of_examples(input_shape)
    layers: list[LayerNames] = []
    structs: list[LayerStruct] = []
    for name, layer in flatten_sequential(model):
        if type(layer) is nn.Identity:
            continue
        if type(layer) is nn.Flatten:
            shape = _flatten(layer, shape, is_first=not layers)
            continue
        if type(layer) not in LAYERS or (shape.is_flattened and type(layer) is not nn.Linear):
            raise NotStackableError(f"{name}: {type(layer).__name__} has no compiled form in this place")
        names, after = LAYERS[type(layer)](layer, name, shape)
        if after.height < 1 or after.width < 1:
            raise NotStackableError(f"{name}: nothing is left of an image")
        sizes = {
            "in_channels": shape.channels,
            "in_height": shape.height,
            "in_width": shape.width,
            "channels": after.channels,
            "height": after.height,
            "width": after.width,
        }
        layers.append(names)
        structs.append(LayerStruct(**{**sizes, **names.struct}))
        shape = after
    if not structs or structs[-1].kind != CONTRACTION or shape.spatial_dims or shape.is_flattened:
        raise NotStackableError("its last layer is not linear")
    return layers, structs


def flatten_sequential(model: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The layers of nested nn.Sequential in their order, with their names; one that stands twice comes twice."""
    if type(model) is not nn.Sequential:
        yield prefix, model
        return
    for name, child in model._modules.items():
        if child is not None:
            yield from flatten_sequential(child, f"{prefix}.{name}".lstrip("."))
