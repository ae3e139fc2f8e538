"""Taking the probes of a cohort: what they may see, and where their values go."""

from copy import deepcopy
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from harness.ensemble.distributed import ALONE, settle
from harness.ensemble.optim import lr_factor
from harness.nn.surgery import in_groups, unsynchronised
from harness.probes import probes_of
from harness.probes.context import Batch, View
from harness.rng import generator, sub_seed
from harness.training.augmentation import labels_of
from harness.training.state import PROBE, Program


def in_one_process(program: Program, parts: int = 1) -> Program:
    """The program as one process has it, so that what probes see needs no other rank: every rank computes the same.

    Statistics that are each rank's own become those of groups of one batch, and so do those of `parts` that go through
    the model one after the other, where one batch holds them all. Running ones are those that are evaluated.
    """
    if program.ranks.size == 1 and parts == 1:
        return program
    stack, trial = program.stack, program.trials[0]
    plain = unsynchronised(deepcopy(stack.plain), stack.inputs)
    if (trial.norm != "sync_batch" or parts > 1) and trial.statistics_batch is not None:
        plain = in_groups(plain, trial.statistics_batch)
    buffers = {name: buffer.clone() for name, buffer in stack.buffers.items()}
    # An evaluation settles them for good; what is measured again after it has to come out the same.
    settle(list(buffers.values()), trial.eval_buffers, program.ranks)
    return replace(program, ranks=ALONE, stack=stack.like(plain, buffers, "alone"))


def measure(program: Program, step: int, coming: Batch) -> None:
    """Write the row of this step into the curves of the probes. Taken again, it comes out the same."""
    row = program.probe_marks.index(step)
    view = _view(program, step, coming)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(sub_seed(program.trials[0].seed, PROBE, step))  # for what a model draws (dropout)
        for probe in probes_of(program.trials[0].probes):
            for name, values in probe.measure(view).items():
                program.curves[f"{PROBE}.{name}"][row] = values.detach()


def _view(program: Program, step: int, coming: Batch) -> View:
    factor = lr_factor(program.trials[0], min(step, program.steps - 1), program.steps)
    trials = [program.trials[min(i, len(program.trials) - 1)] for i in range(program.stack.size)]
    seeds = tuple(trial.seed for trial in trials)
    return View(
        models=program.stack,
        layers=program.layers,
        batch=coming if coming.shared else _fixed(program, seeds),
        coming=coming,
        train=program.data["train"][0],
        batch_size=program.trials[0].batch_size,
        lr=_column([trial.lr * factor for trial in trials], program.batch_loss),
        seeds=seeds,
        step=step,
    )


def _fixed(program: Program, seeds: tuple[int, ...]) -> Batch:
    """The first examples of an order that nothing else uses, for each seed."""
    x, y = program.data["train"]
    size = program.trials[0].batch_size
    orders = {s: torch.randperm(len(x), generator=generator(s, PROBE))[:size] for s in dict.fromkeys(seeds)}
    picked = torch.stack([orders[seed] for seed in seeds]).to(y.device)
    return Batch(x[picked.T], labels_of(y, picked), shared=False)


def _column(values: list[float], like: Tensor) -> Float[Tensor, "M"]:
    return like.new_tensor(values)
