"""How models compute what they compute: in which numbers, how images lie in memory, compiled or not."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.ensemble.precision import PRECISIONS
from harness.spec.trial import Trial

MAX_RECOMPILES = 2**20  # kinds of models that one process compiles


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeOptions:
    """What a stack of models is told about it; what it isn't told is as usual."""

    autocast: torch.dtype | None = None  # of forward and backward passes, as torch.autocast has it
    channels_last: bool = False  # how images and the weights of their convolutions lie in memory
    compile: bool = False  # whether training goes through torch.compile

    @classmethod
    def from_trial(cls, trial: Trial) -> "ComputeOptions":
        """What a trial says."""
        autocast, channels_last = PRECISIONS[trial.precision].autocast, trial.memory_format == "channels_last"
        return cls(autocast=autocast, channels_last=channels_last, compile=trial.compile)

    def to_memory_format(self, x: Tensor) -> Tensor:
        """Images "N C H W" as they must lie in memory; anything else as it is."""
        if not self.channels_last or x.ndim != 4:
            return x
        # Where there is one channel torch takes either order for the other, and the layers behind would not follow.
        lies = x.stride(1) == 1 and x.is_contiguous(memory_format=torch.channels_last)
        return x if lies else x.clone(memory_format=torch.channels_last)

    def weights_to_memory_format(self, weight: Tensor) -> Tensor:
        """The weights of convolutions of images, "M O C H W", as those of one model would lie; others as they are."""
        if not self.channels_last or weight.ndim != 5:
            return weight
        return weight.detach().permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3).requires_grad_()


DEFAULT = ComputeOptions()


def compiled(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The forward pass through torch.compile, and its gradients with it; made at the first call.

    What a process has compiled before must not show. Left alone, torch gives up after eight kinds of models, which then
    train as if it had not been asked, and lets sizes that have varied vary on.
    """
    import torch._dynamo.config as limits  # takes seconds, and few trials need it

    limits.recompile_limit = limits.accumulated_recompile_limit = MAX_RECOMPILES
    made: Callable[..., Tensor] = torch.compile(forward, dynamic=False)
    return made
