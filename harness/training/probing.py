"""Taking the probes of a cohort: what they may see, and where their values go."""

from copy import deepcopy
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from harness.ensemble.distributed import SINGLE_PROCESS, sync_buffers
from harness.ensemble.optim import lr_factor
from harness.nn.surgery import convert_from_sync_bn, convert_to_ghost_bn
from harness.probes import probes_of
from harness.probes.context import Batch, ProbeContext
from harness.rng import generator, sub_seed
from harness.training.augmentation import gather_labels
from harness.training.state import PROBE, TrainState


def as_single_process(state: TrainState, parts: int = 1) -> TrainState:
    """The program as one process has it, so that what probes see needs no other rank: every rank computes the same.

    Statistics that are each rank's own become those of groups of one batch, and so do those of `parts` that go through
    the model one after the other, where one batch holds them all. Running ones are those that are evaluated.
    """
    if state.dist.world_size == 1 and parts == 1:
        return state
    stack, trial = state.ensemble, state.trials[0]
    plain = convert_from_sync_bn(deepcopy(stack.template), stack.input_shape)
    if (trial.norm != "sync_batch" or parts > 1) and trial.statistics_batch is not None:
        plain = convert_to_ghost_bn(plain, trial.statistics_batch)
    buffers = {name: buffer.clone() for name, buffer in stack.buffers.items()}
    # An evaluation settles them for good; what is measured again after it has to come out the same.
    sync_buffers(list(buffers.values()), trial.ddp_eval_buffers, state.dist)
    return replace(state, dist=SINGLE_PROCESS, ensemble=stack.with_template(plain, buffers, "loop"))


def measure(state: TrainState, step: int, next_batch: Batch) -> None:
    """Write the row of this step into the curves of the probes. Taken again, it comes out the same."""
    row = state.probe_steps.index(step)
    view = _probe_context(state, step, next_batch)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(sub_seed(state.trials[0].seed, PROBE, step))  # for what a model draws (dropout)
        for probe in probes_of(state.trials[0].probes):
            for name, values in probe.measure(view).items():
                state.curves[f"{PROBE}.{name}"][row] = values.detach()


def _probe_context(state: TrainState, step: int, next_batch: Batch) -> ProbeContext:
    factor = lr_factor(state.trials[0], min(step, state.steps - 1), state.steps)
    trials = [state.trials[min(i, len(state.trials) - 1)] for i in range(state.ensemble.size)]
    seeds = tuple(trial.seed for trial in trials)
    return ProbeContext(
        models=state.ensemble,
        layers=state.layers,
        batch=next_batch if next_batch.shared else _fixed(state, seeds),
        next_batch=next_batch,
        train=state.data["train"][0],
        batch_size=state.trials[0].batch_size,
        lr=_column([trial.lr * factor for trial in trials], state.batch_loss),
        seeds=seeds,
        step=step,
    )


def _fixed(state: TrainState, seeds: tuple[int, ...]) -> Batch:
    """The first examples of an order that nothing else uses, for each seed."""
    x, y = state.data["train"]
    size = state.trials[0].batch_size
    orders = {s: torch.randperm(len(x), generator=generator(s, PROBE))[:size] for s in dict.fromkeys(seeds)}
    picked = torch.stack([orders[seed] for seed in seeds]).to(y.device)
    return Batch(x[picked.T], gather_labels(y, picked), shared=False)


def _column(values: list[float], like: Tensor) -> Float[Tensor, "M"]:
    return like.new_tensor(values)
