"""What stands where a network normalises.

To add a norm: one entry in NORMS. It builds a layer from the settings of the trial, the number of channels and the
number of spatial dimensions (0 for a vector, 1 for a signal, 2 for an image), and draws nothing from a random
generator: arms with one seed start from the same weights. A layer that torch doesn't have is a module in norm_layers/.
A suite's own norm is a function that takes the table's place: see docs/own/norms.md.

A norm goes over dimension 1 of "N C ...", as torch's norms do, and in sequences over the last, "N L C", where the model
asks for `norm(channels, channels_last=True)`. Which of both is never guessed.

Weight standardisation is a norm of this table, together with the norm of activations that it goes with, and no axis of
its own: so it is an arm like the others, and without a norm behind them standardised weights would scale activations by
the root of the fan-in in every layer.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from harness.errors import SuiteError, lookup
from harness.nn.ghost_batch_norm import GhostBatchNorm
from harness.nn.layers import ResidualScale, RMSNorm, standardise_weights
from harness.nn.module_state import parameters_of
from harness.nn.norm_inputs import DECLARED, MAX_SPATIAL_DIMS, ChannelsLast, declare
from harness.nn.norm_layers.batch_renorm import BatchRenorm
from harness.nn.norm_layers.dynamic_tanh import DynamicTanh
from harness.nn.norm_layers.evonorm import EvoNormS0
from harness.nn.norm_layers.filter_response_norm import FilterResponseNorm
from harness.nn.norm_layers.scaled_weights import SCALED, scale_weights
from harness.nn.sync_batch_norm import SyncBatchNorm
from harness.rng import preserved_generators
from harness.spec.own_code.arguments import arguments_of, call_with_known
from harness.spec.trial import Trial

NormFactory = Callable[..., nn.Module]  # (channels, spatial_dims=None, channels_last=False) -> layer

BATCH: dict[int, type[nn.Module]] = {0: nn.BatchNorm1d, 1: nn.BatchNorm1d, 2: nn.BatchNorm2d}
INSTANCE: dict[int, type[nn.Module]] = {1: nn.InstanceNorm1d, 2: nn.InstanceNorm2d}


@dataclass(frozen=True, slots=True, kw_only=True)
class Norm:
    """How to build a norm, and all else that it needs of a model."""

    build: Callable[[Trial, int, int], nn.Module]  # trial, channels, spatial dimensions -> layer
    per_position: Callable[[Trial, int], nn.Module] | None = None  # trial, channels -> layer over the last dimension
    custom_layers: tuple[type[nn.Module], ...] = ()  # the layers that it builds, where torch has no such layer
    has_activation: bool = False  # whether it ends in an activation of its own: the model's then is the identity
    residual_scale: type[nn.Module] | None = None  # the last layer of residual branches
    transform: Callable[[nn.Module, Trial], None] | None = None  # changes the whole model, in place, once it is built

    @property
    def needs_branches(self) -> bool:
        """Whether it does nothing to a model that has no residual branches."""
        return self.residual_scale is not None and self.transform is None


def norm_entry(trial: Trial, factories: Mapping[str, Callable[..., Any]]) -> Norm:
    """What the trial's norm needs of a model; one of the suite's own needs nothing."""
    return OWN if trial.norm in factories else lookup(NORMS, trial.norm, "norm")


def norm_of(trial: Trial, factories: Mapping[str, Callable[..., Any]]) -> NormFactory:
    """The layer that the trial puts behind each convolution or linear layer, of so many channels and dimensions.

    Spatial dimensions are those of an input besides examples and channels: of "N C" none, of a signal "N C L" one, of
    images "N C H W" two; of "N L C", with `channels_last`, one, unless the model says otherwise.
    """
    norm = norm_entry(trial, factories)

    def build(channels: int, spatial_dims: int | None = None, channels_last: bool = False) -> nn.Module:
        dims = int(channels_last) if spatial_dims is None else spatial_dims
        if isinstance(dims, bool) or dims not in range(MAX_SPATIAL_DIMS + 1):
            raise SuiteError(f"spatial_dims of a norm must be 0, 1 or 2, got {spatial_dims!r}")
        if norm is OWN:
            layer = _own(trial, factories[trial.norm], channels, dims, channels_last)
            return declare(layer, channels, dims, channels_last=channels_last and dims > 0)
        if channels_last and dims:
            return declare(_channels_last(norm, trial, channels, dims), channels, dims, channels_last=True)
        return declare(norm.build(trial, channels, dims), channels, dims, channels_last=False)

    return build


def _channels_last(norm: Norm, trial: Trial, channels: int, spatial_dims: int) -> nn.Module:
    """The norm over the last dimension of "N ... C"."""
    if norm.per_position is not None:
        return norm.per_position(trial, channels)
    layer = norm.build(trial, channels, spatial_dims)
    if isinstance(layer, nn.Identity):
        return layer
    return ChannelsLast(layer, per_position=isinstance(layer, nn.GroupNorm | EvoNormS0))


def _own(
    trial: Trial, function: Callable[..., Any], channels: int, spatial_dims: int, channels_last: bool
) -> nn.Module:
    """What a function of the suite's own builds of whichever of these it asks for; its first argument are the channels.

    What it draws moves no other weight, so that arms of one seed start from the same.
    """
    known = {
        "channels": channels,
        "spatial_dims": spatial_dims,
        "channels_last": channels_last,
        "eps": trial.norm_eps,
        "momentum": _momentum(trial),
        "affine": trial.norm_affine,
        "batch_size": trial.batch_size,
    }
    arguments = arguments_of(function)
    if "channels" not in arguments:  # classes of torch call them num_features or normalized_shape
        known |= {name: channels for name in list(arguments)[:1] if name not in known}
    with preserved_generators():
        layer = call_with_known(f"norm {trial.norm!r}", function, known)
    if not isinstance(layer, nn.Module):
        raise SuiteError(f"norm {trial.norm!r} must return an nn.Module, got {type(layer).__name__}")
    return layer


def norm_parameters(model: nn.Module) -> frozenset[str]:
    """The names of the parameters that belong to norms: their scales and shifts, and all of a suite's own norm."""
    layers = (layer for layer in model.modules() if isinstance(layer, NORM_LAYERS) or hasattr(layer, DECLARED))
    gains = (layer.gain for layer in model.modules() if isinstance(layer, tuple(SCALED.values())))
    parameters = {id(parameter) for parameter in (*gains, *(own for layer in layers for own in layer.parameters()))}
    return frozenset(name for name, parameter in parameters_of(model).items() if id(parameter) in parameters)


def _batch(trial: Trial, channels: int, spatial_dims: int) -> nn.Module:
    """Ioffe & Szegedy 2015. Each rank has its own statistics."""
    return BATCH[spatial_dims](channels, **_running(trial))


def _sync_batch(trial: Trial, channels: int, spatial_dims: int) -> nn.Module:
    """Batch norm over the batches of all ranks; in one process that is batch norm."""
    if trial.world_size == 1:
        return _batch(trial, channels, spatial_dims)
    layer: type[nn.Module] = nn.SyncBatchNorm if resolve_sync_bn_impl(trial) == "native" else SyncBatchNorm
    return layer(channels, **_running(trial))


def resolve_sync_bn_impl(trial: Trial) -> str:
    """Whose synchronised batch norm a trial has: torch's own where it runs, unless the trial says "portable"."""
    on_cuda = trial.device.startswith("cuda")
    if trial.sync_bn_impl == "native" and not on_cuda:
        raise SuiteError(f"sync_bn_impl='native' needs CUDA, got device {trial.device!r}; use 'portable' or 'auto'")
    return ("native" if on_cuda else "portable") if trial.sync_bn_impl == "auto" else trial.sync_bn_impl


def _running(trial: Trial) -> dict[str, Any]:
    """What batch norms share."""
    return {"momentum": _momentum(trial), "track_running_stats": trial.norm_track_running_stats, **_affine(trial)}


def _momentum(trial: Trial) -> float | None:
    """That of running statistics; None is torch's word for the cumulative average of all batches."""
    return None if trial.norm_momentum == "cumulative" else float(trial.norm_momentum)


def _batch_renorm(trial: Trial, channels: int, spatial_dims: int) -> nn.Module:  # noqa: ARG001
    """Ioffe 2017. Each rank has its own statistics."""
    limits: dict[str, Any] = {"rmax": trial.renorm_rmax, "dmax": trial.renorm_dmax}
    return BatchRenorm(channels, **limits, warmup_batches=trial.renorm_warmup, **_running(trial))


def _filter_response(trial: Trial, channels: int, spatial_dims: int) -> nn.Module:
    """Singh & Krishnan 2020."""
    if not spatial_dims:
        raise SuiteError("frn needs pixels to take its mean square over, and a layer of vectors has none; use a cnn")
    return FilterResponseNorm(channels, **_affine(trial))


def _group(trial: Trial, channels: int, groups: int) -> nn.Module:
    """Wu & He 2018."""
    return nn.GroupNorm(_checked_groups(channels, groups), channels, **_affine(trial))


def _checked_groups(channels: int, groups: int) -> int:
    if channels % groups:
        raise SuiteError(f"norm_groups={groups} must divide the channels of every layer, got {channels}")
    return groups


def _instance(trial: Trial, channels: int, spatial_dims: int) -> nn.Module:
    """Ulyanov et al. 2016, without running statistics, as is usual: the same in training and evaluation."""
    if spatial_dims not in INSTANCE:
        raise SuiteError("instance norm needs pixels to normalise over, and a layer of vectors has none; use a cnn")
    return INSTANCE[spatial_dims](channels, **_affine(trial))


def _affine(trial: Trial) -> dict[str, Any]:
    return {"eps": trial.norm_eps, "affine": trial.norm_affine}


NORMS: dict[str, Norm] = {
    "none": Norm(build=lambda trial, channels, spatial_dims: nn.Identity()),
    "batch": Norm(build=_batch),
    "sync_batch": Norm(build=_sync_batch),
    # Hoffer et al. 2017; over the examples of one rank, as batch norm is.
    "ghost_batch": Norm(
        build=lambda trial, channels, spatial_dims: GhostBatchNorm(
            channels, trial.statistics_batch or trial.batch_size, **_running(trial)
        )
    ),
    # Ba et al. 2016; over an image it normalises channels and pixels together, with one scale for each channel, and in
    # a sequence each position by itself.
    "layer": Norm(
        build=lambda trial, channels, spatial_dims: _group(trial, channels, 1),
        per_position=lambda trial, channels: nn.LayerNorm(channels, trial.norm_eps, trial.norm_affine),
    ),
    "group": Norm(build=lambda trial, channels, spatial_dims: _group(trial, channels, trial.norm_groups)),
    "instance": Norm(build=_instance),
    "rms": Norm(
        build=lambda trial, channels, spatial_dims: RMSNorm(channels, trial.norm_eps, trial.norm_affine),
        per_position=lambda trial, channels: nn.RMSNorm(channels, trial.norm_eps, trial.norm_affine),
        custom_layers=(RMSNorm,),
    ),
    # De & Smith 2020: no norm, but residual branches that are nothing at first.
    "skipinit": Norm(build=lambda trial, channels, spatial_dims: nn.Identity(), residual_scale=ResidualScale),
    "batch_renorm": Norm(build=_batch_renorm),
    # Zhu et al. 2025
    "dyt": Norm(
        build=lambda trial, channels, spatial_dims: DynamicTanh(channels, trial.norm_affine),
        per_position=lambda trial, channels: DynamicTanh(channels, trial.norm_affine, channels_last=True),
        custom_layers=(DynamicTanh,),
    ),
    "frn": Norm(build=_filter_response, custom_layers=(FilterResponseNorm,), has_activation=True),
    # Liu et al. 2020
    "evonorm_s0": Norm(
        build=lambda trial, channels, spatial_dims: EvoNormS0(
            _checked_groups(channels, trial.norm_groups), channels, **_affine(trial)
        ),
        custom_layers=(EvoNormS0,),
        has_activation=True,
    ),
    # Brock et al. 2021: no norm, but weights that keep the variance; residual branches are nothing at first.
    "scaled_ws": Norm(
        build=lambda trial, channels, spatial_dims: nn.Identity(),
        residual_scale=ResidualScale,
        transform=scale_weights,
    ),
    "ws_batch": Norm(build=_batch, transform=lambda model, trial: standardise_weights(model)),
    "ws_group": Norm(
        build=lambda trial, channels, spatial_dims: _group(trial, channels, trial.norm_groups),
        transform=lambda model, trial: standardise_weights(model),
    ),
}

OWN = Norm(build=lambda trial, channels, spatial_dims: nn.Identity())  # of a suite: see `_own` for what it builds

NORM_LAYERS: tuple[type[nn.Module], ...] = (
    *(_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm),  # torch's; the first is that of batch and instance norms
    *(layer for norm in NORMS.values() for layer in norm.custom_layers),
)
