"""What several ranks do in tests: run in processes of their own, one group of processes for all cases.

It is imported by each rank, so it imports little.
"""

import math
import multiprocessing
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from harness.ensemble.distributed import DistContext
from harness.execution.train import device_of
from harness.nn.sync_batch_norm import SyncBatchNorm
from harness.spec.trial import Trial
from harness.training.ddp_checkpoint import gather_state, restore
from harness.training.loop import train
from harness.training.results import outcomes
from harness.training.state import TrainState, init_state
from tests.support.images import small_images
from tests.support.odd_modules import FACTORIES
from tests.support.own_norms import OWN_NORMS
from tests.support.tasks import PerRow, spread, with_task

C = 3


class Spare(nn.Sequential):
    """A model with a layer that it doesn't use."""

    def __init__(self, inputs: tuple[int, ...], classes: int) -> None:
        super().__init__(nn.Flatten(), nn.Linear(math.prod(inputs), 7), nn.ReLU(), nn.Linear(7, classes))
        self.spare = nn.Linear(5, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in list(self)[:-1]:
            x = layer(x)
        return x


class Drawing(nn.Sequential):
    """A model that draws from three libraries without a dropout layer, and assigns to a buffer."""

    def __init__(self, inputs: tuple[int, ...], classes: int) -> None:
        super().__init__(nn.Flatten(), nn.Linear(math.prod(inputs), 7), nn.ReLU(), nn.Linear(7, classes))
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.seen = self.seen + 1
            x = nn.functional.dropout(x, 0.3) * (1 + 0.1 * random.random()) + 0.1 * np.random.normal()  # noqa: NPY002
        return super().forward(x)


def draw(ranks: DistContext) -> None:
    """Leave the default generators elsewhere than they were."""
    for _ in range(ranks.rank + 1):
        torch.rand(1)
        np.random.normal()  # noqa: NPY002
        random.random()


def make_state(trial: Trial, ranks: DistContext, dtype: str = "float64") -> TrainState:
    return init_state(
        [replace(trial, precision=dtype)],
        with_task(small_images(300, 61, 37, apart=0.5, dtype=dtype), trial.task),
        device_of(trial, ranks),
        {
            **{"spare": Spare, "drawing": Drawing, "per_row": PerRow, "spread": spread, "NAdam": torch.optim.NAdam},
            **FACTORIES,
            **OWN_NORMS,
        },
        ranks,
    )


def learn(
    trial: Trial, dtype: str, until: int | tuple[int, str] | None, saved: Any, done: int, ranks: DistContext
) -> Any:
    """Train a trial, up to a step, or a piece of work after it, where told; all that is then known, and its outcome."""
    state = make_state(trial, ranks, dtype)
    if saved is not None:
        restore(state, saved)
    for event in train(state, done):
        if until in (event.step, (event.step, event.kind)):
            break
    found = {name: tensor.detach().cpu().clone() for name, tensor in gather_state(state).items()}
    (outcome,) = outcomes(state)
    return found, (dict(outcome.facts), dict(outcome.curves))


def batches(shards: list[int], dims: int, dtype: torch.dtype, step: int) -> list[torch.Tensor]:
    """The examples of each rank: far from zero, where a careless variance loses its digits."""
    rng = torch.Generator().manual_seed(step)
    whole = 3 + 2 * torch.randn((sum(shards), C, *(4, 5)[:dims]), generator=rng, dtype=torch.float64)
    return list(whole.to(dtype).split(shards))


def layer_of(options: dict[str, Any], dtype: torch.dtype, kind: Callable[..., nn.Module]) -> nn.Module:
    layer = kind(C, **options).double()
    for tensor in layer.parameters():
        nn.init.uniform_(tensor, 0.5, 1.5, torch.Generator().manual_seed(len(tensor)))
    return layer.to(dtype)


def normalise(
    shards: list[int], dims: int, options: dict[str, Any], dtype: torch.dtype, autocast: bool, ranks: DistContext
) -> list[dict[str, torch.Tensor]]:
    """What our layer makes of this rank's examples in two steps of training and one of evaluation."""
    layer = layer_of(options, dtype, SyncBatchNorm)
    layer.process_group = ranks.group
    steps = []
    for step in range(3 if layer.track_running_stats else 2):
        layer.train(step < 2)
        x = batches(shards, dims, dtype, step)[ranks.rank].requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            out = layer(x * 1)
        if step == 2:
            steps.append({"out": out.detach()})
            break
        out.backward(batches(shards, dims, out.dtype, 9 + step)[ranks.rank])
        grads = {f"grad {n}": p.grad.clone() for n, p in layer.named_parameters()}
        steps.append({"out": out.detach(), "grad": x.grad, **grads, **deepcopy(layer.state_dict())})
    return steps


def raises_alike(shards: list[int], ranks: DistContext) -> str:
    """What the layer says of a batch without a variance."""
    layer = SyncBatchNorm(C)
    layer.process_group = ranks.group
    try:
        layer(torch.ones(shards[ranks.rank], C))
    except ValueError as error:
        return str(error)
    return ""


@dataclass(frozen=True)
class Crew:
    """Processes that do the same thing together, each as one rank."""

    pipes: list[Any]

    def __call__(self, ranks: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """What the function comes to on each rank; a Ranks is its last argument."""
        for pipe in self.pipes[:ranks]:
            pipe.send((function, ranks, arguments))
        answers = [pipe.recv() for pipe in self.pipes[:ranks]]
        failed = [answer for well, answer in answers if not well]
        assert not failed, failed
        return [answer for _, answer in answers]


@contextmanager
def crew_of(size: int, folder: Path, backend: str = "gloo") -> Iterator[Crew]:
    """So many ranks, which meet by a file in a folder."""
    context = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    # A new process looks for these tests where this one does; a harness that is installed comes first.
    with patch.object(sys, "path", [*sys.path, str(Path(__file__).parents[2])]):
        for rank in range(size):
            ours, theirs = context.Pipe()
            arguments = (rank, size, str(folder / "store"), theirs, backend)
            process = context.Process(target=serve, args=arguments, daemon=True)
            process.start()
            theirs.close()
            pipes.append(ours)
            processes.append(process)
    yield Crew(pipes)
    for pipe, process in zip(pipes, processes, strict=True):
        pipe.close()
        process.join(10)
        process.kill()


def serve(rank: int, size: int, path: str, pipe: Any, backend: str = "gloo") -> None:
    """Do what comes through the pipe, in groups of two ranks and of all."""
    torch.set_num_threads(1)
    # A rank that raises would leave the others waiting for it.
    patience = timedelta(seconds=60)
    dist.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=size, timeout=patience)
    groups = {count: dist.new_group(list(range(count)), backend=backend) for count in range(2, size + 1)}
    controls = groups if backend == "gloo" else {count: dist.new_group(list(range(count))) for count in groups}
    while True:
        try:
            function, count, arguments = pipe.recv()
        except EOFError:
            return
        group = groups[count]
        try:
            pipe.send(
                (
                    True,
                    function(
                        *arguments, DistContext(rank=rank, world_size=count, group=group, control=controls[count])
                    ),
                )
            )
        except Exception as error:  # noqa: BLE001 (told to the test)
            pipe.send((False, repr(error)))


def trial_of(**changes: Any) -> Trial:
    base = Trial(
        dataset="small", model="mlp-12-8", lr=0.1, batch_size=12, steps=9, norm_groups=2, eval_every=4, device="cpu"
    )
    return replace(base, **changes)
