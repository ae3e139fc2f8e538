"""What stands where a network normalises.

To add a norm: one entry in NORMS, from the settings of the trial, the number of channels and the number of spatial
dimensions (0 for a vector, 1 for a signal, 2 for an image) to a layer. It draws nothing from a random generator: arms
with one seed start from the same weights. A layer that torch doesn't have is a module in layers.py, with its stacked
form in stacking.py.

What changes the weights that it stands behind has an entry in REWORK as well. Weight standardisation is a norm of this
table, together with the norm of activations that it goes with, and no axis of its own: so it is an arm like the others,
and without a norm behind them standardised weights would scale activations by the root of the fan-in in every layer.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from harness.errors import SuiteError, lookup
from harness.training.layers import RMSNorm, standardise_weights
from harness.trial import Trial

Norm = Callable[..., nn.Module]  # (channels, dims=0) -> layer

BATCH: dict[int, type[nn.Module]] = {0: nn.BatchNorm1d, 1: nn.BatchNorm1d, 2: nn.BatchNorm2d}
INSTANCE: dict[int, type[nn.Module]] = {1: nn.InstanceNorm1d, 2: nn.InstanceNorm2d}


def norm_of(trial: Trial) -> Norm:
    """The layer that the trial puts behind each convolution or linear layer: call it with channels and dims."""
    return partial(lookup(NORMS, trial.norm, "norm"), trial)


def _batch(trial: Trial, channels: int, dims: int = 0) -> nn.Module:
    """Ioffe & Szegedy 2015. A momentum of None is torch's word for the cumulative average of all batches."""
    momentum = None if trial.norm_momentum == "cumulative" else trial.norm_momentum
    track = trial.norm_track_running_stats
    options: dict[str, Any] = {"momentum": momentum, "track_running_stats": track, **_affine(trial)}
    return BATCH[dims](channels, **options)


def _group(trial: Trial, channels: int, groups: int) -> nn.Module:
    """Wu & He 2018."""
    if channels % groups:
        raise SuiteError(f"norm_groups={groups} must divide the channels of every layer, got {channels}")
    return nn.GroupNorm(groups, channels, **_affine(trial))


def _instance(trial: Trial, channels: int, dims: int = 0) -> nn.Module:
    """Ulyanov et al. 2016, without running statistics, as is usual: the same in training and evaluation."""
    if dims not in INSTANCE:
        raise SuiteError("instance norm needs pixels to normalise over, and a layer of vectors has none; use a cnn")
    return INSTANCE[dims](channels, **_affine(trial))


def _affine(trial: Trial) -> dict[str, Any]:
    return {"eps": trial.norm_eps, "affine": trial.norm_affine}


NORMS: dict[str, Norm] = {  # trial, channels, dims -> layer
    "none": lambda trial, channels, dims=0: nn.Identity(),
    "batch": _batch,
    # Ba et al. 2016; over an image it normalises channels and pixels together, with one scale for each channel.
    "layer": lambda trial, channels, dims=0: _group(trial, channels, 1),
    "group": lambda trial, channels, dims=0: _group(trial, channels, trial.norm_groups),
    "instance": _instance,
    "rms": lambda trial, channels, dims=0: RMSNorm(channels, trial.norm_eps, trial.norm_affine),
    "ws_batch": _batch,
    "ws_group": lambda trial, channels, dims=0: _group(trial, channels, trial.norm_groups),
}

REWORK: dict[str, Callable[[nn.Module], None]] = {  # norm -> what it makes of a model that has it
    "ws_batch": standardise_weights,
    "ws_group": standardise_weights,
}
