"""Backends against the plain modules that they stand for: the table-driven tests' oracle."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from harness.ensemble.backends import BACKENDS
from harness.ensemble.compute_options import DEFAULT
from harness.ensemble.distributed import SINGLE_PROCESS, DistContext
from harness.ensemble.ensemble import Ensemble, fuse

CPU = torch.device("cpu")
PARTS = (5, 7)  # examples of the parts that a batch goes through in
EVAL_EXAMPLES = 6
TOLERANCE = 1e-9  # relative to the largest number of a tensor
ROUNDING = 1e-12  # of a gradient that is zero, such as that of a bias before a batch norm


@contextmanager
def lone_rank(folder: Path) -> Iterator[DistContext]:
    """This process as the only one of a group, which is enough for torch's DistributedDataParallel."""
    dist.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=0, world_size=1)
    yield DistContext(group=dist.group.WORLD, control=dist.group.WORLD)
    dist.destroy_process_group()


def ensembles_of(
    backend: str, models: Sequence[nn.Module], input_shape: tuple[int, ...], ranks: DistContext = SINGLE_PROCESS
) -> list[tuple[Ensemble, list[int]]]:
    """All models as one, or each by itself where a backend takes one alone; with the numbers of its models."""
    rows = [[i] for i in range(len(models))] if backend == "ddp" else [list(range(len(models)))]
    return [(fuse([models[i] for i in some], input_shape, CPU, backend, DEFAULT, ranks), some) for some in rows]


def assert_computes_the_plain_modules(
    backend: str, models: Sequence[nn.Module], input_shape: tuple[int, ...], ranks: DistContext = SINGLE_PROCESS
) -> None:
    """Outputs, gradients and buffers of two batches in parts, and the outputs in evaluation after each.

    The models are in double precision. The first batch is each model's own, the second all models share.
    """
    assert backend in BACKENDS
    for ensemble, rows in ensembles_of(backend, models, input_shape, ranks):
        plain = [models[i].train() for i in rows]  # themselves: a copy may lack hooks
        rng = torch.Generator().manual_seed(0)
        batches = 0
        for shared in (False, True):
            for model in plain:
                model.zero_grad()
            grads = None
            for part, examples in enumerate(PARTS):
                x = _draw(rng, examples, *(() if shared else (len(rows),)), *input_shape)
                expected = torch.stack([model(x if shared else x[:, i]) for i, model in enumerate(plain)])
                noise = _draw(rng, *expected.transpose(1, 2).shape)
                expected.backward(noise.transpose(1, 2))
                ensemble.count_batches(batches)
                batches += 1
                out, grads = ensemble.gradients(
                    x,
                    shared=shared,
                    loss_fn=lambda out, noise=noise: (out.clone(), noise.clone()),
                    accumulate_into=grads,
                    final=part + 1 == len(PARTS),
                )
                _assert_close(out, expected.detach().transpose(1, 2), f"output, {shared=}")
            for name, grad in grads.items():
                theirs = [weight.grad for weight in (model.get_parameter(name) for model in plain)]
                theirs = [torch.zeros_like(grad[0]) if each is None else each for each in theirs]
                _assert_close(grad, torch.stack(theirs), f"gradient of {name}, {shared=}")
            for name, buffer in ensemble.buffers.items():
                _assert_close(buffer, torch.stack([model.get_buffer(name) for model in plain]), f"{name}, {shared=}")
            _assert_evaluates_alike(ensemble, plain, input_shape, rng)


def _assert_evaluates_alike(
    ensemble: Ensemble, plain: Sequence[nn.Module], input_shape: tuple[int, ...], rng: torch.Generator
) -> None:
    for shared in (False, True):
        x = _draw(rng, EVAL_EXAMPLES, *(() if shared else (len(plain),)), *input_shape)
        with ensemble.eval_mode():
            out = ensemble(x, shared=shared)
        with torch.no_grad():
            theirs = [model.eval()(x if shared else x[:, i]) for i, model in enumerate(plain)]
        for model in plain:
            model.train()
        _assert_close(out, torch.stack(theirs).transpose(1, 2), f"output in evaluation, {shared=}")


def _draw(rng: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=rng, dtype=torch.float64)


def _assert_close(actual: Tensor, expected: Tensor, what: str) -> None:
    tolerance = TOLERANCE * expected.abs().max().item() + ROUNDING if expected.is_floating_point() else 0.0
    torch.testing.assert_close(actual.detach(), expected, rtol=0.0, atol=tolerance, msg=lambda text: f"{what}: {text}")
