"""The state of all ranks that train a model together, as one set of tensors that the first rank can save for them.

Weights, optimizer state and curves are the same on all ranks. Running statistics and the loss buffer are local to each
rank; in the gathered state those of rank R > 0 are named "rankR/NAME".
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from harness.ensemble.tensor_bytes import as_bytes
from harness.errors import DamageError
from harness.spec.trial import BATCH_NORMS
from harness.training.state import TrainState


def gather_state(state: TrainState) -> dict[str, Tensor]:
    """The tensors of all ranks by name: with the number of steps done they are a whole checkpoint."""
    tensors = dict(state.tensors)
    for name in rank_local_names(tensors) if state.dist.world_size > 1 else ():
        for rank, tensor in enumerate(state.dist.gather(tensors[name])[1:], start=1):
            tensors[f"rank{rank}/{name}"] = tensor
    return tensors


def restore(state: TrainState, saved: Mapping[str, Tensor]) -> None:
    """Go back to the gathered state, also with another number of ranks where that gives the same result.

    It does where no statistics are local to a rank; otherwise DamageError.
    """
    dist, trial = state.dist, state.trials[0]
    saved_ranks = 1 + sum(name.startswith("rank") and name.endswith("/loss_buffer") for name in saved)
    has_statistics = (trial.norm in BATCH_NORMS and trial.norm != "sync_batch") or _differ(saved)
    if saved_ranks != dist.world_size and has_statistics:
        raise DamageError(
            f"the snapshot is of {saved_ranks} ranks with statistics of their own, "
            f"and can't go on with {dist.world_size}"
        )
    tensors = dict(saved)
    if saved_ranks == dist.world_size:
        tensors |= {name: saved[f"rank{dist.rank}/{name}"] for name in rank_local_names(state.tensors) if dist.rank}
    else:
        losses = [saved["loss_buffer"], *(saved[f"rank{rank}/loss_buffer"] for rank in range(1, saved_ranks))]
        tensors["loss_buffer"] = torch.stack(losses).mean(0)
    state.restore(tensors)


def _differ(saved: Mapping[str, Tensor]) -> bool:
    """Whether the ranks of a snapshot have buffers that differ."""
    names = {name: name.partition("/")[2] for name in saved if name.startswith("rank")}
    return any(
        as_bytes(saved[name]).ne(as_bytes(saved[first])).any() for name, first in names.items() if "/buffer/" in name
    )


def rank_local_names(names: Mapping[str, Tensor]) -> list[str]:
    """The tensors that differ from rank to rank."""
    return [name for name in names if name.startswith("buffer/") or name == "loss_buffer"]
