"""All that several ranks know of a program, as one set of tensors that the first rank can save for them.

Weights, what the optimizer remembers, and curves are the same on all ranks. Running statistics and the losses of the
last few steps are each rank's own; in the whole, those of rank R > 0 are named "rankR/NAME".
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from harness.errors import DamageError
from harness.spec.trial import BATCH_NORMS
from harness.training.state import TrainState


def gather_state(state: TrainState) -> dict[str, Tensor]:
    """The tensors of all ranks, by name: with the number of steps done they are a whole checkpoint."""
    tensors = dict(state.tensors)
    for name in rank_local_names(tensors) if state.dist.world_size > 1 else ():
        for rank, tensor in enumerate(state.dist.gather(tensors[name])[1:], start=1):
            tensors[f"rank{rank}/{name}"] = tensor
    return tensors


def restore(state: TrainState, saved: Mapping[str, Tensor]) -> None:
    """Go back to where the whole stood, also with another number of ranks where that gives the same result.

    It does where no statistics are a rank's own; otherwise DamageError.
    """
    ranks, trial = state.dist, state.trials[0]
    wrote = 1 + sum(name.startswith("rank") and name.endswith("/recent") for name in saved)
    if wrote != ranks.world_size and trial.norm in BATCH_NORMS and trial.norm != "sync_batch":
        raise DamageError(
            f"the snapshot is of {wrote} ranks with statistics of their own and can't go on with {ranks.world_size}"
        )
    mine = dict(saved)
    if wrote == ranks.world_size:
        mine |= {name: saved[f"rank{ranks.rank}/{name}"] for name in rank_local_names(state.tensors) if ranks.rank}
    else:
        losses = [saved["recent"], *(saved[f"rank{rank}/recent"] for rank in range(1, wrote))]
        mine["recent"] = torch.stack(losses).mean(0)
    state.restore(mine)


def rank_local_names(names: Mapping[str, Tensor]) -> list[str]:
    """What is each rank's own."""
    return [name for name in names if name.startswith("buffer/") or name == "recent"]
