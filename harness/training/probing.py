"""Running the probes of a cohort: what they are given, and where their values go."""

from dataclasses import replace

import torch

from harness.ensemble.distributed import SINGLE_PROCESS, sync_buffers
from harness.ensemble.module_copy import copy_module
from harness.nn.surgery import convert_from_sync_bn, convert_to_ghost_bn
from harness.probes import MEASURES, probes_of
from harness.probes.context import Batch, ProbeContext
from harness.rng import generator, preserved_generators
from harness.tasks.task import gather_targets
from harness.training.state import PROBE, TrainState


def as_single_process(state: TrainState, parts: int = 1) -> TrainState:
    """The state as if one process trained the model, so that probes need no other rank: every rank computes the same.

    Where ranks or micro-batches (`parts` of them) have batch statistics of their own, these become the statistics of
    groups within one batch. Running statistics are those that are evaluated.
    """
    if state.dist.world_size == 1 and parts == 1:
        return state
    ensemble, trial = state.ensemble, state.trials[0]
    template = convert_from_sync_bn(copy_module(ensemble.template), ensemble.input_shape)
    if (trial.norm != "sync_batch" or parts > 1) and trial.statistics_batch is not None:
        template = convert_to_ghost_bn(template, trial.statistics_batch)
    buffers = {name: buffer.clone() for name, buffer in ensemble.buffers.items()}
    # An evaluation synchronises the buffers themselves; a probe that is repeated after it must come out the same.
    sync_buffers(list(buffers.values()), trial.ddp_eval_buffers, state.dist)
    return replace(state, dist=SINGLE_PROCESS, ensemble=ensemble.with_template(template, buffers, "loop"))


def measure(state: TrainState, step: int, next_batch: Batch) -> None:
    """Write the row of this step into the curves of the probes. Measured again, it comes out the same."""
    row = state.probe_steps.index(step)
    context = _probe_context(state, step, next_batch)
    with preserved_generators():  # probes seed what a model draws
        for probe in probes_of(state.trials[0].probes):
            for name, values in MEASURES[probe](context).items():
                state.curves[f"{PROBE}.{name}"][row] = values.detach()


def _probe_context(state: TrainState, step: int, next_batch: Batch) -> ProbeContext:
    factor = state.lr_factor(min(step, state.steps - 1))
    seeds = tuple(trial.seed for trial in state.trials)
    return ProbeContext(
        models=state.ensemble,
        objective=state.objective,
        layers=state.layers,
        batch=next_batch if next_batch.shared else _fixed_batch(state, seeds),
        next_batch=next_batch,
        train=state.data["train"][0],
        batch_size=state.trials[0].batch_size,
        lr=state.batch_loss.new_tensor([trial.lr * factor for trial in state.trials]),
        seeds=seeds,
        step=step,
    )


def _fixed_batch(state: TrainState, seeds: tuple[int, ...]) -> Batch:
    """A batch that is the same at every step: for each seed the first examples of an order that nothing else uses."""
    x, y = state.data["train"]
    batch_size = state.trials[0].batch_size
    orders = {seed: torch.randperm(len(x), generator=generator(seed, PROBE)) for seed in dict.fromkeys(seeds)}
    # "M B"
    indices = torch.stack([orders[seed][:batch_size] for seed in seeds]).to(y.device)
    return Batch(x[indices.T], gather_targets(y, indices), shared=False)
