"""The structures that kernels.cpp is called with, and whose fields it has in the same order."""

import ctypes
from collections.abc import Sequence
from typing import Any

from torch import Tensor

int32, int64, double, pointer = ctypes.c_int32, ctypes.c_int64, ctypes.c_double, ctypes.c_void_p
doubles = ctypes.POINTER(double)


class LayerStruct(ctypes.Structure):
    """What a layer computes; numbers of parameters and buffers are -1 where it has none."""

    _fields_ = (
        *((name, int32) for name in ("kind", "in_channels", "in_height", "in_width", "channels", "height", "width")),
        *((name, int32) for name in ("kernel_height", "kernel_width", "pad_height", "pad_width")),
        *((name, int32) for name in ("function", "groups", "centred", "is_norm_free_bias")),
        *((name, int32) for name in ("weight", "bias", "mean", "variance", "batches")),
        ("eps", double),
        ("momentum", double),
    )


class NetworkStruct(ctypes.Structure):
    """The layers of a network, and the sizes of one model's parameters."""

    _fields_ = (
        ("layers", ctypes.POINTER(LayerStruct)),
        ("layer_count", int32),
        ("parameter_count", int32),
        ("parameter_sizes", ctypes.POINTER(int64)),
        ("parameter_is_norm", ctypes.POINTER(int32)),
    )


class ModelsStruct(ctypes.Structure):
    """The tensors of M models."""

    _fields_ = (
        ("count", int64),
        ("parameters", ctypes.POINTER(pointer)),
        ("buffers", ctypes.POINTER(pointer)),
        ("fail_steps", pointer),
    )


class ExamplesStruct(ctypes.Structure):
    """Where the examples and labels of each model are."""

    _fields_ = (
        ("x", pointer),
        ("x_example", int64),
        ("x_model", int64),
        ("y", pointer),
        ("y_model", int64),
        ("indices", pointer),
        ("indices_row", int64),
    )


class OptimizerStruct(ctypes.Structure):
    """The update rule and its settings, one value for each model."""

    _fields_ = (
        *((name, int32) for name in ("rule", "nesterov", "slot_count")),
        ("slots", ctypes.POINTER(pointer)),
        *((name, doubles) for name in ("lr", "momentum", "weight_decay", "norm_weight_decay", "max_grad_norm")),
        *((name, doubles) for name in ("factors", "corrections")),
        *((name, doubles) for name in ("rest1", "beta2", "rest2", "eps")),
        ("clip_eps", double),
    )


def pointers(tensors: Sequence[Tensor]) -> ctypes.Array[Any]:
    """Where the memory of the tensors begins; they have to be contiguous."""
    assert all(tensor.is_contiguous() for tensor in tensors)
    return (pointer * len(tensors))(*(tensor.data_ptr() for tensor in tensors))
