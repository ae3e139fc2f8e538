"""How models are computed: in which precision, in which memory format, compiled or not."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.ensemble.precision import PRECISIONS
from harness.spec.trial import Trial

MAX_RECOMPILES = 2**20  # by one process


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeOptions:
    """How the models of a cohort are computed; by default as torch does it."""

    autocast: torch.dtype | None = None  # of forward and backward passes, as torch.autocast has it
    channels_last: bool = False  # the memory format of images and of the weights of their convolutions
    compile: bool = False  # whether training goes through torch.compile

    @classmethod
    def from_trial(cls, trial: Trial) -> "ComputeOptions":
        """The options of a trial."""
        autocast, channels_last = PRECISIONS[trial.precision].autocast, trial.memory_format == "channels_last"
        return cls(autocast=autocast, channels_last=channels_last, compile=trial.compile)

    def to_memory_format(self, x: Tensor) -> Tensor:
        """Images "N C H W" in their memory format; anything else as it is."""
        if not self.channels_last or x.ndim != 4:
            return x
        # Where there is one channel torch takes either order for the other, and the layers behind would not follow.
        is_channels_last = x.stride(1) == 1 and x.is_contiguous(memory_format=torch.channels_last)
        return x if is_channels_last else x.clone(memory_format=torch.channels_last)

    def weights_to_memory_format(self, weight: Tensor) -> Tensor:
        """The weights of convolutions of images, "M O C H W", in the format of one model's; others as they are."""
        if not self.channels_last or weight.ndim != 5:
            return weight
        # "M O C H W" -> "M O H W C", made contiguous, and back
        return weight.detach().permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3).requires_grad_()


DEFAULT = ComputeOptions()


def compiled(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The forward pass through torch.compile, and its gradients with it; made at the first call.

    The result must not depend on what the process compiled before. By default torch gives up after eight recompilations
    and runs what comes later uncompiled, and it makes sizes dynamic once they have varied.
    """
    import torch._dynamo.config as dynamo_config  # takes seconds, and few trials need it

    dynamo_config.recompile_limit = dynamo_config.accumulated_recompile_limit = MAX_RECOMPILES
    compiled_forward: Callable[..., Tensor] = torch.compile(forward, dynamic=False)
    return compiled_forward
