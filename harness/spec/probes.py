"""The probes: measurements taken while a model trains, which change nothing of what it learns.

To add a probe: an entry in PROBES, which says all that is known of its curves without torch, and the function that
measures them, in harness/probes/. A curve of layers is called "NAME/1", "NAME/2", ..., counted from the input; all
layers with weights count. Unless it says otherwise, a probe uses one batch of training examples in training mode: the
same at every step and for all arms of a seed, of the trial's batch size and in its micro-batches.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol


class LayerFacts(Protocol):
    """What decides whether a layer has a curve."""

    @property
    def has_nonlinearity(self) -> bool:
        """Whether there is a nonlinearity before the next layer."""

    @property
    def can_saturate(self) -> bool:
        """Whether that is flat at both ends, as a sigmoid is."""

    @property
    def can_die(self) -> bool:
        """Whether that is zero below zero, as a ReLU is."""

    @property
    def is_scale_free(self) -> bool:
        """Whether twice its weights give the same loss, because a norm follows."""

    @property
    def has_running_stats(self) -> bool:
        """Whether a batch norm with running statistics follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeCurve:
    """What a probe's curve is: of every model, or of every layer where `layers` says which."""

    words: str  # in a sentence: "the WORDS in layer 3"
    layers: Callable[[LayerFacts], bool] | None = None  # whether a layer has this curve; None: a curve of the model
    question: str = ""  # the title of a figure of it over the layers, where there is one
    scale: str = "linear"  # of its axis: "linear" or "log"


def _every_layer(layer: LayerFacts) -> bool:  # noqa: ARG001
    return True


def _activation(words: str, question: str = "", scale: str = "linear") -> ProbeCurve:
    return ProbeCurve(words=words, layers=lambda layer: layer.has_nonlinearity, question=question, scale=scale)


PROBES: Mapping[str, Mapping[str, ProbeCurve]] = {  # probe -> curve -> what it is
    "activations": {
        "activation_mean": _activation("mean of activations"),
        "activation_std": _activation("standard deviation of activations", "How far do activations spread?", "log"),
        "activation_p15": _activation("15th percentile of activations"),
        "activation_p50": _activation("median of activations"),
        "activation_p85": _activation("85th percentile of activations"),
        "saturated": ProbeCurve(
            words="share of saturated units",
            layers=lambda layer: layer.can_saturate,
            question="How many units are saturated?",
        ),
        "dead": ProbeCurve(
            words="share of dead units", layers=lambda layer: layer.can_die, question="How many units are dead?"
        ),
    },
    "rank": {
        "activation_rank": _activation(
            "effective rank of activations", "In how many dimensions do examples differ?", "log"
        )
    },
    "gradients": {
        "gradient_growth": ProbeCurve(words="gradient growth"),
        "gradient_norm": ProbeCurve(
            words="gradient norm", layers=_every_layer, question="How do gradients reach the layers?", scale="log"
        ),
    },
    "landscape": {
        "landscape_loss_min": ProbeCurve(words="smallest loss along the gradient"),
        "landscape_loss_max": ProbeCurve(words="largest loss along the gradient"),
        "landscape_loss_range": ProbeCurve(words="range of the loss along the gradient"),
        "landscape_gradient_change_min": ProbeCurve(words="smallest change of the gradient along itself"),
        "landscape_gradient_change_max": ProbeCurve(words="largest change of the gradient along itself"),
        "effective_beta": ProbeCurve(words="effective beta"),
    },
    "running": {
        "running_mean_error": ProbeCurve(
            words="running mean error",
            layers=lambda layer: layer.has_running_stats,
            question="How wrong are the running means?",
            scale="log",
        ),
        "running_var_error": ProbeCurve(
            words="running variance error",
            layers=lambda layer: layer.has_running_stats,
            question="How wrong are the running variances?",
            scale="log",
        ),
    },
    "sharpness": {
        "sharpness": ProbeCurve(words="sharpness"),
        "relative_sharpness": ProbeCurve(words="sharpness times squared weights"),
    },
    "weights": {
        "weight_norm": ProbeCurve(
            words="weight norm", layers=_every_layer, question="How large do weights grow?", scale="log"
        ),
        "effective_lr": ProbeCurve(
            words="effective lr",
            layers=lambda layer: layer.is_scale_free,
            question="How large is the effective learning rate?",
            scale="log",
        ),
    },
}

PROBE_CURVES: Mapping[str, ProbeCurve] = {name: curve for curves in PROBES.values() for name, curve in curves.items()}
