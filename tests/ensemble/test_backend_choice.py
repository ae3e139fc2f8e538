"""Which backend a model's size asks for, and how much memory a step of it takes."""

import gc

import pytest
import torch
from torch import Tensor, nn

from harness.ensemble.backend_choice import activation_bytes, fastest_backend
from harness.ensemble.ensemble import fuse

CPU = torch.device("cpu")


def wide(width, activation):
    return nn.Sequential(nn.Linear(5, width), activation(), nn.Linear(width, 3))


@pytest.mark.parametrize("models", [1, 2, 30])
def test_on_a_cpu_the_size_of_a_model_alone_decides_whether_it_trains_in_turn(models):
    for width, activation, batch_size, backend in (
        (64, nn.ReLU, 7, "compiled"),
        (2000, nn.ReLU, 700, "compiled"),
        (64, nn.GELU, 7, "stacked"),
        (2000, nn.GELU, 700, "loop"),
    ):
        assert fastest_backend(wide(width, activation), (5,), batch_size, CPU, models) == backend


def test_on_a_gpu_a_large_model_trains_in_turn_where_it_is_alone():
    chosen = [fastest_backend(wide(2000, nn.ReLU), (5,), 700, torch.device("cuda"), models) for models in (1, 2)]
    assert chosen == ["loop", "stacked"]


def a_stack():
    return fuse([wide(64, nn.Tanh) for _ in range(3)], (5,), CPU, "stacked")


def test_the_bytes_that_a_step_keeps_are_those_of_the_activations_and_grow_with_the_batch():
    stack = a_stack()
    few, many = activation_bytes(stack, (5,), 16), activation_bytes(stack, (5,), 160)
    assert many == pytest.approx(10 * few, rel=0.01)
    assert few == pytest.approx(4 * (16 * 5 + 16 * 64 + 64 * 3 + 64 * 5), rel=0.2)


def tensors() -> dict[int, Tensor]:
    gc.collect()
    return {id(each): each for each in gc.get_objects() if type(each) in (Tensor, nn.Parameter)}


def test_what_was_kept_to_count_its_bytes_is_let_go():
    stack = a_stack()
    activation_bytes(stack, (5,))
    before = tensors()
    activation_bytes(stack, (5,))
    assert not [each.shape for address, each in tensors().items() if address not in before]
