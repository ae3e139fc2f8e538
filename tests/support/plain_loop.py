"""A trial as a plain program of torch: a module, an optimizer of torch, a loop; several ranks as copies of the module.

It restates what the harness says that a trial is, and takes of it the first weights and the streams of random numbers
alone. Layers that torch lacks are written down anew, by their formulas.
"""

import math
from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from harness.data.datasets import Dataset
from harness.nn.ghost_batch_norm import GhostBatchNorm
from harness.nn.layers import ResidualScale, RMSNorm, StandardisedConv2d, StandardisedLinear
from harness.nn.models import build
from harness.nn.norm_layers.batch_renorm import BatchRenorm
from harness.nn.norm_layers.dynamic_tanh import DynamicTanh
from harness.nn.norm_layers.evonorm import EvoNormS0
from harness.nn.norm_layers.filter_response_norm import FilterResponseNorm
from harness.nn.norm_layers.scaled_weights import ScaledConv2d, ScaledLinear
from harness.nn.sync_batch_norm import SyncBatchNorm
from harness.rng import generator
from harness.spec.trial import Trial
from harness.training.augmentation import noisy_labels
from tests.support.alone import seen
from tests.support.tasks import PerRow, plain_loss, plain_metrics

DOUBLE = torch.float64


class Ghost(nn.Module):
    """Batch norm of each group of examples by itself, as if each had a batch norm; what is left joins the last."""

    def __init__(self, norm: _BatchNorm, size: int | None = None) -> None:
        super().__init__()
        self.norm, self.size = norm, size or norm.norm_batch

    def forward(self, x: Tensor) -> Tensor:
        norm = self.norm
        if not self.training and norm.running_mean is not None:
            return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, False, 0.0, norm.eps)
        count = max(1, len(x) // self.size)
        groups = [x[i * self.size : (i + 1) * self.size if i + 1 < count else len(x)] for i in range(count)]
        if self.training and norm.running_mean is not None:
            norm.num_batches_tracked += 1
            share = 1 / norm.num_batches_tracked.item() if norm.momentum is None else norm.momentum
            flat = [group.detach().transpose(0, 1).flatten(1) for group in groups]
            mean = torch.stack([group.mean(1) for group in flat]).mean(0)
            var = torch.stack([group.var(1) for group in flat]).mean(0)
            norm.running_mean.mul_(1 - share).add_(mean, alpha=share)
            norm.running_var.mul_(1 - share).add_(var, alpha=share)
        return torch.cat([F.batch_norm(g, None, None, norm.weight, norm.bias, True, 0.0, norm.eps) for g in groups])


class RootMeanSquare(nn.Module):
    """Each example over its root mean square."""

    def __init__(self, norm: RMSNorm) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        out = x / torch.sqrt(x.flatten(1).pow(2).mean(1) + self.norm.eps).view(-1, *[1] * (x.ndim - 1))
        return out if self.norm.weight is None else out * self.norm.weight.view(-1, *[1] * (x.ndim - 2))


class Standardised(nn.Module):
    """A layer with each row of its weights less its mean and over its deviation."""

    def __init__(self, layer: StandardisedLinear | StandardisedConv2d) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        rows = self.layer.weight.flatten(1)
        var, mean = torch.var_mean(rows, 1, correction=0, keepdim=True)
        weight = ((rows - mean) / torch.sqrt(var + 1e-5)).view_as(self.layer.weight)
        if isinstance(self.layer, nn.Linear):
            return x @ weight.T + (0.0 if self.layer.bias is None else self.layer.bias)
        return F.conv2d(x, weight, self.layer.bias, self.layer.stride, self.layer.padding)


class Formula(nn.Module):
    """A layer by the formula of its paper, with the tensors of ours."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return FORMULAS[type(self.layer)](self.layer, x)


def scaled_and_shifted(layer: nn.Module, x: Tensor) -> Tensor:
    shape = (-1, *[1] * (x.ndim - 2))
    return x if layer.weight is None else x * layer.weight.view(shape) + layer.bias.view(shape)


def filter_response(layer: FilterResponseNorm, x: Tensor) -> Tensor:
    nu2 = x.pow(2).mean((2, 3), keepdim=True)
    out = scaled_and_shifted(layer, x / torch.sqrt(nu2 + layer.eps))
    return out.relu() if layer.threshold is None else torch.maximum(out, layer.threshold.view(-1, 1, 1))


def evonorm(layer: EvoNormS0, x: Tensor) -> Tensor:
    groups = x.view(len(x), layer.groups, -1)
    deviation = torch.sqrt(groups.var(2, correction=0, keepdim=True) + layer.eps)
    swish = x / (1 + torch.exp(-layer.v.view(-1, *[1] * (x.ndim - 2)) * x))
    return scaled_and_shifted(layer, (swish.view(groups.shape) / deviation).view(x.shape))


def scaled_layer(layer: nn.Linear | nn.Conv2d, x: Tensor) -> Tensor:
    rows = layer.weight.flatten(1)
    var, mean = torch.var_mean(rows, 1, correction=0, keepdim=True)
    rows = layer.factor * (rows - mean) / torch.sqrt((var * rows.shape[1]).clamp(min=1e-4))
    weight = (rows if layer.gain is None else rows * layer.gain[:, None]).view_as(layer.weight)
    if isinstance(layer, nn.Linear):
        return F.linear(x, weight, layer.bias)
    return F.conv2d(x, weight, layer.bias, layer.stride, layer.padding)


class Renormalised(nn.Module):
    """Batch norm, corrected by bounded constants to what the running statistics would give."""

    def __init__(self, norm: BatchRenorm) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        norm = self.norm
        if norm.running_mean is None:
            return F.batch_norm(x, None, None, norm.weight, norm.bias, True, 0.0, norm.eps)
        shape, dims = (-1, *[1] * (x.ndim - 2)), (0, *range(2, x.ndim))
        mean, deviation = norm.running_mean.clone(), torch.sqrt(norm.running_var + norm.eps)
        if not self.training:
            return scaled_and_shifted(norm, (x - mean.view(shape)) / deviation.view(shape))
        batch_mean, batch_deviation = x.mean(dims), torch.sqrt(x.var(dims, correction=0) + norm.eps)
        r = (batch_deviation / deviation).detach().clamp(1 / norm.rmax, norm.rmax)
        d = ((batch_mean - mean) / deviation).detach().clamp(-norm.dmax, norm.dmax)
        norm.num_batches_tracked += 1
        share = 1 / norm.num_batches_tracked.item() if norm.momentum is None else norm.momentum
        with torch.no_grad():
            norm.running_mean.mul_(1 - share).add_(batch_mean, alpha=share)
            norm.running_var.copy_(((1 - share) * deviation + share * batch_deviation) ** 2 - norm.eps)
        out = (x - batch_mean.view(shape)) / batch_deviation.view(shape) * r.view(shape) + d.view(shape)
        return scaled_and_shifted(norm, out)


FORMULAS = {
    DynamicTanh: lambda layer, x: scaled_and_shifted(layer, torch.tanh(layer.alpha * x)),
    FilterResponseNorm: filter_response,
    EvoNormS0: evonorm,
    ScaledLinear: scaled_layer,
    ScaledConv2d: scaled_layer,
}
PLAIN = {
    **dict.fromkeys(FORMULAS, Formula),
    BatchRenorm: Renormalised,
    GhostBatchNorm: Ghost,
    RMSNorm: RootMeanSquare,
    StandardisedLinear: Standardised,
    StandardisedConv2d: Standardised,
}


def plain_model(trial: Trial, data: Dataset) -> nn.Module:
    """The first weights of the trial, in layers of torch and in those above; of all ranks, batch norm is one."""
    start = build(trial, data.input_shape, data.outputs, {"per_row": PerRow}).to(DOUBLE)
    for parent in list(start.modules()):
        for name, child in list(parent.named_children()):
            if type(child) in PLAIN:
                setattr(parent, name, PLAIN[type(child)](child))
            elif type(child) is SyncBatchNorm:
                images = any(isinstance(layer, nn.Conv2d) for layer in start.modules())
                options = {o: getattr(child, o) for o in ("eps", "momentum", "affine", "track_running_stats")}
                plain = (nn.BatchNorm2d if images else nn.BatchNorm1d)(child.num_features, **options).to(DOUBLE)
                plain.load_state_dict(child.state_dict())
                setattr(parent, name, plain)
    return start


def state_of(model: nn.Module) -> dict[str, Tensor]:
    """Its tensors under the names that they have in the harness."""
    own = {Ghost: "norm.", Renormalised: "norm.", RootMeanSquare: "norm.", Standardised: "layer.", Formula: "layer."}
    prefixes = {f"{name}.{own[type(m)]}": f"{name}." for name, m in model.named_modules() if type(m) in own}
    found = {}
    for name, tensor in model.state_dict().items():
        inner = next((prefix for prefix in prefixes if name.startswith(prefix)), "")
        found[prefixes.get(inner, "") + name.removeprefix(inner)] = tensor
    return found


def learning_rate(trial: Trial, step: int) -> float:
    """Of the update after `step`: a linear warm-up, then the schedule, which counts from its end."""
    if step < trial.warmup_steps:
        return trial.lr * (step + 1) / trial.warmup_steps
    done, left = step - trial.warmup_steps, max(1, trial.steps - trial.warmup_steps)
    if trial.schedule == "cosine":
        return trial.lr * (1 + math.cos(math.pi * done / left)) / 2
    factors = {
        "constant": lambda: 1.0,
        "step": lambda: trial.decay_factor ** (done // trial.decay_every),
        "linear": lambda: 1 - done / left,
        "exponential": lambda: trial.decay_factor ** (done / (trial.decay_every or left)),
        "inverse_sqrt": lambda: math.sqrt(max(1, trial.warmup_steps) / (step + 1)),
    }
    return trial.lr * factors[trial.schedule]()


def optimizer_of(model: nn.Module, trial: Trial) -> torch.optim.Optimizer:
    """Of torch; where norms don't decay, what is no weight of a layer is a group of its own."""
    weighted = (nn.Linear, nn.Conv2d, ResidualScale)
    layers = [layer for layer in model.modules() if isinstance(layer, weighted)]
    decaying = {p for m in layers for name, p in m.named_parameters(recurse=False) if name != "gain"}
    decay = trial.weight_decay if trial.decay_norms else 0.0
    parameters = [
        {"params": [p for p in model.parameters() if p in decaying], "weight_decay": trial.weight_decay},
        {"params": [p for p in model.parameters() if p not in decaying], "weight_decay": decay},
    ]
    if trial.optimizer == "adamw":
        return torch.optim.AdamW(parameters, trial.lr)
    return torch.optim.SGD(parameters, trial.lr, trial.momentum, nesterov=trial.nesterov)


class PlainRun:
    """A trial that is trained step by step."""

    def __init__(self, trial: Trial, data: Dataset) -> None:
        self.trial, self.data = trial, data
        self.model = plain_model(trial, data)
        self.optimizer = optimizer_of(self.model, trial)
        copies = 1 if trial.norm == "sync_batch" else trial.world_size
        self.ranks = [self.model, *(deepcopy(self.model) for _ in range(copies - 1))]
        for copy in self.ranks[1:]:  # one set of weights, statistics of their own
            for name, weight in self.model.named_parameters():
                parent, _, own = name.rpartition(".")
                setattr(copy.get_submodule(parent), own, weight)
        self.x = {split: torch.from_numpy(x).to(DOUBLE) for split, x in data.x.items()}
        self.y = {split: torch.from_numpy(y) for split, y in data.y.items()}
        if trial.label_noise:
            self.y["train"] = noisy_labels(self.y["train"], data.classes, [trial]).flatten()
        self.curves: dict[str, list[float]] = {"batch.loss": []}
        self.losses: list[float] = []

    def train(self) -> "PlainRun":
        every = self.trial.eval_every or max(1, self.trial.steps // 20)
        for step in range(self.trial.steps):
            if step % every == 0:
                self.evaluate(step)
            self.update(step)
        self.evaluate(self.trial.steps)
        return self

    def update(self, step: int) -> None:
        trial, x, y = self.trial, self.x["train"], self.y["train"]
        epoch, batch = divmod(step, len(y) // trial.batch_size)
        order = torch.randperm(len(y), generator=generator(trial.seed, "order", epoch))
        if trial.batch_size == len(y) and trial.augment == "none":
            order = torch.arange(len(y))
        some = order[batch * trial.batch_size : (batch + 1) * trial.batch_size]
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(trial, step)
        self.optimizer.zero_grad()
        total = 0.0
        for part in some.tensor_split(trial.accumulation_steps):
            for model, mine in zip(self.ranks, part.tensor_split(len(self.ranks)), strict=True):
                out = model.train()(seen(x, mine, trial, epoch))
                loss = plain_loss(trial.task, out, y[mine]) * len(mine) / trial.batch_size
                loss.backward()
                total += loss.item()
        if trial.max_grad_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), trial.max_grad_norm)
        self.optimizer.step()
        self.losses.append(total)

    @torch.no_grad()
    def evaluate(self, step: int) -> None:
        self.share_buffers()
        trial, model = self.trial, self.with_statistics()
        if self.losses:
            self.curves["batch.loss"].append(sum(self.losses) / len(self.losses))
            self.losses.clear()
        for split in ("train", "val", "test") if step in (0, trial.steps) else ("val", "test"):
            out = torch.cat([model(part) for part in self.pieces(self.x[split])])
            loss = plain_loss(trial.task, out, self.y[split]).item()
            for name, value in {"loss": loss, **plain_metrics(trial.task, out, self.y[split])}.items():
                self.curves.setdefault(f"{split}.{name}", []).append(value)

    def share_buffers(self) -> None:
        """All ranks go on from the statistics that are evaluated: the first rank's, or their mean."""
        for name, first in self.model.named_buffers():
            others = [copy.get_buffer(name) for copy in self.ranks[1:]]
            if self.trial.ddp_eval_buffers == "mean" and first.is_floating_point():
                first.copy_(torch.stack([first, *others]).mean(0))
            for other in others:
                other.copy_(first)

    def with_statistics(self) -> nn.Module:
        model = deepcopy(self.model).eval()
        norms = [layer for layer in model.modules() if isinstance(layer, _BatchNorm)]
        if self.trial.eval_statistics != "running" and len(self.ranks) > 1:  # of as many examples as in training
            for parent in [parent for parent in model.modules() if not isinstance(parent, Ghost | Renormalised)]:
                for name, child in list(parent.named_children()):
                    if isinstance(child, _BatchNorm):
                        setattr(parent, name, Ghost(child, self.trial.statistics_batch))
        if self.trial.eval_statistics == "batch":
            for norm in norms:
                norm.running_mean = norm.running_var = norm.num_batches_tracked = None
                norm.track_running_stats = False
        if self.trial.eval_statistics == "recalibrated" and norms:
            for norm in norms:
                norm.reset_running_stats()
                norm.momentum = None
            order = torch.randperm(len(self.y["train"]), generator=generator(0, "recalibrate"))
            model.train()
            for part in self.x["train"][order].tensor_split(self.edges(len(order))):
                model(part)
            model.eval()
        return model

    def pieces(self, x: Tensor) -> tuple[Tensor, ...]:
        """The examples that are evaluated together, which matters where their own statistics are used."""
        if self.trial.eval_statistics == "batch":
            return x.tensor_split(self.edges(len(x)))
        return x.tensor_split(-(-len(x) // max(64, 2 * self.trial.batch_size)))

    def edges(self, examples: int) -> list[int]:
        """Batches as in training, in parts where it is in parts; a last example alone joins those before it."""
        size = self.trial.batch_size // self.trial.accumulation_steps
        return [end for end in range(size, examples, size) if examples - end > 1 or size == 1]
