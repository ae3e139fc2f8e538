"""What an optimizer is: an update rule for stacked parameters, and torch's optimizer that it is held to."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from harness.ensemble.optim.settings import Settings
from harness.spec.trial import Trial

OptimizerState = Mapping[str, Tensor]  # what the optimizer remembers of one parameter, by name
BiasCorrections = Sequence[float | Tensor]  # what an update reads of the step: numbers, or tensors that hold them
Update = Callable[[Tensor, Tensor, OptimizerState, Settings, BiasCorrections], None]
Parameters = Iterable[nn.Parameter] | Iterable[dict[str, Any]]  # or groups of parameters, as torch has them


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimizer:
    """An update rule, what it remembers of each parameter, and torch's optimizer of the same rule.

    The latter goes on from an exported checkpoint, and is what tests hold the rule to.
    """

    update: Update  # of one parameter "M ...", in place
    state_names: Callable[[Sequence[Trial]], tuple[str, ...]]  # what it remembers of a parameter; zero at first
    corrections: Callable[[int], tuple[float, ...]] = lambda step: ()  # what it reads of a step, counted from 0
    has_momentum: bool = False  # whether it reads the trial's momentum and nesterov
    torch_optimizer: Callable[[Parameters, Trial], torch.optim.Optimizer]
    torch_state: Mapping[str, str]  # our name of what it remembers -> torch's
    torch_counts_steps: bool = False  # whether torch keeps the number of steps beside it
    compiled_rule: int | None = None  # its number in native/kernels.cpp, whose slots are `state_names`; None: not there
