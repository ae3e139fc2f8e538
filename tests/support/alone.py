"""Trials trained alone, as a tutorial would write them, and what fused training of the same is held against."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from harness.data.datasets import Dataset
from harness.ensemble.optim import OPTIMIZERS
from harness.ensemble.optim.schedules import lr_factors
from harness.ensemble.precision import PRECISIONS
from harness.nn.models import build
from harness.rng import generator
from harness.spec.optimizer_args import args_of
from harness.spec.trial import Trial
from harness.training.augmentation import draw_augmentation, noisy_labels
from harness.training.loop import train
from harness.training.results import outcomes
from harness.training.state import TrainState, init_state
from tests.support.images import small_images

CPU = torch.device("cpu")
DATA = small_images(45, 31, 7)
BASE = Trial(
    dataset="small", model="mlp-12-8", lr=0.1, batch_size=7, steps=9, norm_groups=2, eval_every=4, device="cpu"
)


def run(trials: list[Trial], data: Dataset = DATA) -> TrainState:
    state = init_state(trials, data, CPU, {})
    for _ in train(state):
        pass
    return state


def train_alone(
    trial: Trial, data: Dataset = DATA, factories: Mapping[str, Any] | None = None
) -> tuple[nn.Module, list[float]]:
    """The same trial written out as a tutorial would: a module, an optimizer of torch, a loop."""
    dtype = PRECISIONS[trial.precision].dtype
    model = build(trial, data.input_shape, data.classes, factories or {}).train()
    if dtype is torch.float64:
        widen(model)
    optimizers = torch_optimizers(model, trial, factories)
    factor = lr_factors(trial, trial.steps, factories or {})
    x, y = torch.from_numpy(data.x["train"]).to(CPU, dtype), torch.from_numpy(data.y["train"])
    if trial.label_noise:
        (y,) = noisy_labels(y, data.classes, [trial])
    losses, per_epoch = [], len(y) // trial.batch_size
    for step in range(trial.steps):
        epoch, batch = divmod(step, per_epoch)
        order = torch.randperm(len(y), generator=generator(trial.seed, "order", epoch))
        some = order[batch * trial.batch_size : (batch + 1) * trial.batch_size]
        for optimizer in optimizers:
            optimizer.zero_grad()
            for group in optimizer.param_groups:
                group["lr"] = trial.lr * factor(step)
        loss = 0.0
        for part in some.tensor_split(trial.accumulation_steps):
            out = model(seen(x, part, trial, epoch))
            share = nn.functional.cross_entropy(out, y[part]) * len(part) / len(some)
            share.backward()
            loss += share.item()
        if trial.adaptive_clip is not None:
            clip_adaptively(model, trial.adaptive_clip)
        if trial.max_grad_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), trial.max_grad_norm)
        for optimizer in optimizers:
            optimizer.step()
        losses.append(loss)
    return model, losses


def clip_adaptively(model: nn.Module, share: float) -> None:
    """Hold the gradient of each unit to a share of its weights, in place, but for those of the last linear layer."""
    *_, last = (layer for layer in model.modules() if isinstance(layer, nn.Linear))
    for weight in {*model.parameters()} - {*last.parameters()}:
        is_vector = weight.ndim < 2
        for unit, grad in [(weight, weight.grad)] if is_vector else zip(weight, weight.grad, strict=True):
            limit = share * max(unit.norm().item(), 1e-3)
            if grad.norm() > limit:
                grad.mul_(limit / grad.norm())


def torch_optimizers(
    model: nn.Module, trial: Trial, factories: Mapping[str, Any] | None = None
) -> list[torch.optim.Optimizer]:
    """The optimizers that a tutorial would make: one, or for Muon a second one of what are no hidden matrices."""
    if factories and trial.optimizer in factories:
        given = {"weight_decay": trial.weight_decay} if trial.weight_decay else {}
        return [factories[trial.optimizer](groups(model, trial), lr=trial.lr, **given, **args_of(trial.optimizer_args))]
    entry, parts = OPTIMIZERS[trial.optimizer], groups(model, trial)
    if entry.rest is None:
        return [entry.torch_optimizer(parts, trial)]
    hidden = [layer.weight for layer in model.modules() if isinstance(layer, nn.Linear)][:-1]
    muon = [{**part, "params": [p for p in part["params"] if any(p is h for h in hidden)]} for part in parts]
    rest = [{**part, "params": [p for p in part["params"] if not any(p is h for h in hidden)]} for part in parts]
    made = [(entry, muon), (entry.rest, rest)]
    return [rule.torch_optimizer(some, trial) for rule, some in made if any(part["params"] for part in some)]


def widen(model: nn.Module) -> None:
    """Give each tensor its type in double precision, in place: those that are shared stay so."""
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point():
            tensor.data = tensor.data.double()
        elif tensor.is_complex():
            tensor.data = tensor.data.to(torch.complex128)


def groups(model: nn.Module, trial: Trial) -> list[dict]:
    """The parameters, those of layers that are neither linear nor convolutions apart where they don't decay."""
    if trial.decay_norms:
        return [{"params": list(model.parameters())}]
    weighted = [m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    decaying = {p for m in weighted for p in m.parameters()}
    others = [p for p in model.parameters() if p not in decaying]
    return [{"params": [p for p in model.parameters() if p in decaying]}, {"params": others, "weight_decay": 0.0}]


def seen(x: torch.Tensor, some: torch.Tensor, trial: Trial, epoch: int) -> torch.Tensor:
    """The images as they are seen in an epoch, one by one."""
    numbers = draw_augmentation(trial.augment, [trial.seed], len(x), epoch, CPU)
    if numbers is None:
        return x[some]
    images = []
    for i in some.tolist():
        top, left, flip = numbers[:, 0, i].tolist()
        image = np.pad(x[i].numpy(), ((0, 0), (4, 4), (4, 4)))[:, top : top + x.shape[2], left : left + x.shape[3]]
        images.append(torch.from_numpy(image[:, :, ::-1].copy() if flip else image))
    return torch.stack(images)


def assert_equals_alone(
    state: TrainState, trials: list[Trial], data: Dataset = DATA, factories: Mapping[str, Any] | None = None
) -> None:
    for i, trial in enumerate(trials):
        model, losses = train_alone(trial, data, factories)
        fused = {**state.ensemble.weights, **state.ensemble.buffers}
        for name, tensor in model.state_dict().items():
            torch.testing.assert_close(fused[name][i].detach(), tensor, rtol=1e-8, atol=1e-10)
        assert_means_of_batches(outcomes(state)[i].curves["batch.loss"], losses)
        labels = state.data["train"][1]
        assert_evaluates_alike(outcomes(state)[i].curves, model, data, labels[i] if labels.ndim == 2 else None)


def assert_means_of_batches(curve, losses: list[float]) -> None:
    """The curve's values are means of the losses of the steps since the value before, none of all steps."""
    for start, end, value in zip([0, *curve["step"]], curve["step"], curve["value"], strict=False):
        assert value == pytest.approx(sum(losses[start:end]) / (end - start), rel=1e-9)


def assert_evaluates_alike(curves, model: nn.Module, data: Dataset, labels: torch.Tensor | None = None) -> None:
    model.eval()
    for split in ("train", "val", "test"):
        with torch.no_grad():
            out = model(torch.from_numpy(data.x[split]))
        y = labels if split == "train" and labels is not None else torch.from_numpy(data.y[split])
        assert curves[f"{split}.loss"]["value"][-1] == pytest.approx(
            nn.functional.cross_entropy(out, y).item(), rel=1e-9
        )
        assert curves[f"{split}.accuracy"]["value"][-1] == pytest.approx((out.argmax(1) == y).double().mean().item())
