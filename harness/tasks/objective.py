"""What the models of a trial are trained and measured by: their task, and the functions that a suite brings itself."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from harness.data.targets import IGNORED
from harness.errors import SuiteError, lookup
from harness.spec.metric import TASK_METRICS
from harness.spec.own_code.own_metrics import is_of_sklearn, unwrapped
from harness.spec.trial import Trial, split_names
from harness.tasks.classification import CLASSIFICATION
from harness.tasks.multilabel import MULTILABEL
from harness.tasks.padded_sequence import PADDED_SEQUENCE
from harness.tasks.regression import REGRESSION
from harness.tasks.sequence import SEQUENCE
from harness.tasks.task import Task, examples_of, targets_of

TASKS: Mapping[str, Task] = {
    "classification": CLASSIFICATION,
    "regression": REGRESSION,
    "multilabel": MULTILABEL,
    "sequence": SEQUENCE,
}
SCORES = ("y_score", "y_prob", "y_proba")  # what scikit-learn calls probabilities; some of its losses: y_pred
TAKE_PROBABILITIES = ("log_loss", "d2_log_loss_score")
Function = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Objective:
    """The loss that is minimised, and the metrics that are measured."""

    name: str = "classification"  # of the task
    own_loss: Function | None = None  # outputs and targets of one model -> the losses of the examples
    own_metrics: Mapping[str, Function] = field(default_factory=dict)
    ignores_positions: bool = False  # whether some of the targets are IGNORED

    @property
    def task(self) -> Task:
        """How its targets are learnt."""
        return PADDED_SEQUENCE if self.ignores_positions else TASKS[self.name]

    @property
    def has_compiled_form(self) -> bool:
        """Whether it is plain classification, for which backends have code of their own."""
        return self.name == "classification" and self.own_loss is None

    @property
    def judged_by(self) -> tuple[str, bool]:
        """The metric that tells how good a model is, and whether more of it is better."""
        name, spec = next(iter(TASK_METRICS[self.name].items()))
        return name, spec.higher_is_better

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of all metrics, those of the task first."""
        return (*TASK_METRICS[self.name], *self.own_metrics)

    def example_losses(self, out: Float[Tensor, "M K P"], y: Tensor) -> Float[Tensor, "M N"]:
        """The loss of each example, which can be differentiated."""
        if self.own_loss is None:
            return self.task.example_losses(out, y)
        return torch.stack([self._own_losses(own, targets_of(y, model), y) for model, own in enumerate(out.mT)])

    def loss_and_gradient(
        self, out: Float[Tensor, "M K P"], y: Tensor, batch_size: float | Tensor | None = None
    ) -> tuple[Float[Tensor, "M"], Float[Tensor, "M K P"]]:
        """The mean loss of each model, and its gradient.

        Where examples are part of a batch of `batch_size`: the sum of their losses, divided by that.
        """
        batch_size = self.task.worth(y) if batch_size is None else batch_size
        if self.own_loss is None:
            return self.task.loss_and_gradient(out, y, batch_size)
        with torch.enable_grad():
            out = out.detach().requires_grad_()
            losses = self.example_losses(out, y).sum(1) / batch_size
            (grad,) = torch.autograd.grad(losses.sum(), out)
        return losses.detach(), grad

    def mean_losses(self, out: Float[Tensor, "M K P"], y: Tensor) -> Float[Tensor, "M"]:
        """The mean loss of each model, which can be differentiated."""
        losses = self.example_losses(out, y)
        return losses.sum(1) / self.task.worth(y) if self.ignores_positions else losses.mean(1)

    def _own_losses(self, out: Tensor, targets: Tensor, y: Tensor) -> Float[Tensor, "N"]:
        """What the suite's function gives, a number for each example: the mean where it gives several.

        It is given no position that doesn't count, and its loss there is 0.
        """
        assert self.own_loss is not None
        counts = targets != IGNORED if self.ignores_positions else None
        out, targets = (out, targets) if counts is None else (out[counts], targets[counts])
        losses = self.own_loss(out, targets)
        if not isinstance(losses, Tensor) or losses.ndim == 0 or len(losses) != len(out):
            got = f"shape {tuple(losses.shape)}" if isinstance(losses, Tensor) else type(losses).__name__
            raise SuiteError(
                f"loss {self._name_of_loss!r} must return a loss for each of "
                f"{len(out)} examples, got {got}; leave out its mean, as with reduction='none'"
            )
        if out.requires_grad and not losses.requires_grad:
            raise SuiteError(f"loss {self._name_of_loss!r} must be computed from the outputs, without detach()")
        if counts is not None:
            losses = torch.zeros(counts.shape, dtype=losses.dtype, device=losses.device).masked_scatter(counts, losses)
        # Of each example, whatever it is of: targets or positions
        return losses.reshape(examples_of(y), -1).mean(1)

    @property
    def _name_of_loss(self) -> str:
        return getattr(self.own_loss, "__name__", "") or getattr(getattr(self.own_loss, "func", None), "__name__", "")

    def own_metric(self, name: str, out: Float[Tensor, "P K"], targets: Tensor) -> float:
        """What a metric of the suite's own comes to for one model, on the CPU."""
        function = self.own_metrics[name]
        if self.ignores_positions:
            out, targets = out[targets != IGNORED], targets[targets != IGNORED]
        out, targets = out.detach().cpu(), targets.cpu()
        if is_of_sklearn(function):
            predicted = self._as_sklearn_takes(function, out)
            value = function(targets.numpy(), predicted.numpy())
        else:
            value = function(out, targets)
        try:
            return float(value)
        except (TypeError, ValueError) as error:
            raise SuiteError(f"metric {name!r} must return one number, got {type(value).__name__}") from error

    def _as_sklearn_takes(self, function: Function, out: Tensor) -> Tensor:
        """Predictions, or probabilities for what asks for these."""
        plain = unwrapped(function)
        asks = [*inspect.signature(plain).parameters][1:2]
        if self.task.probabilities and (asks[0] in SCORES or plain.__name__ in TAKE_PROBABILITIES):
            return self.task.probabilities(out)
        return self.task.predict(out)


def objective_of(trial: Trial, functions: Mapping[str, Function], *, ignores_positions: bool) -> Objective:
    """What a trial minimises and is measured by; SuiteError where it names what the suite lacks."""
    own_loss = lookup(functions, trial.loss, "loss") if trial.loss else None
    own_metrics = {name: functions[name] for name in split_names(trial.metrics)}
    return Objective(trial.task, own_loss, own_metrics, ignores_positions)
