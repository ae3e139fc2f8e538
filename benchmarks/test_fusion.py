"""What fusing is worth: trials of lr_sweep as one program, against the same trials as a tutorial would train them.

Each test measures both in one run and holds their ratio, which moves little where seconds move much.
"""

import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from harness.training.datasets import Dataset, load_dataset
from harness.training.loop import train
from harness.training.models import build
from harness.training.program import prepare
from harness.training.streams import generator
from harness.trial import Trial

BASE = Trial(
    dataset="digits", model="mlp-64x8", lr=0.03, batch_size=64, init="he", steps=40, eval_every=20, device="cpu"
)
MODELS = 43  # of a cohort of lr_sweep


def fused(trials: list[Trial], data: Dataset) -> None:
    for _ in train(prepare(trials, data, torch.device("cpu"), {})):
        pass


def one_at_a_time(trials: list[Trial], data: Dataset) -> None:
    """The tutorial's loop with the evaluations that the harness makes."""
    tensors = {split: (torch.from_numpy(data.x[split]), torch.from_numpy(data.y[split])) for split in data.y}
    for trial in trials:
        model = build(trial, data.inputs, data.classes, {})
        optimizer = torch.optim.SGD(model.parameters(), lr=trial.lr)
        x, y = tensors["train"]
        for step in range(trial.steps):
            epoch, batch = divmod(step, len(y) // trial.batch_size)
            if batch == 0:
                order = torch.randperm(len(y), generator=generator(trial.seed, "order", epoch))
            some = order[batch * trial.batch_size : (batch + 1) * trial.batch_size]
            model.train()
            loss = nn.functional.cross_entropy(model(x[some]), y[some])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step % trial.eval_every == 0:
                evaluate(model, tensors)


@torch.no_grad()
def evaluate(model: nn.Module, tensors: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> None:
    model.eval()
    for split in ("val", "test"):
        x, y = tensors[split]
        out = model(x)
        nn.functional.cross_entropy(out, y).item()
        (out.argmax(1) == y).double().mean().item()


@pytest.mark.parametrize(("norm", "at_least"), [("none", 1.1), ("batch", 1.1)])
def test_a_cohort_is_faster_than_its_trials_one_at_a_time(benchmark, norm, at_least):
    torch.set_num_threads(1)
    data = load_dataset("digits", Path(), {})
    trials = [replace(BASE, norm=norm, seed=seed) for seed in range(MODELS)]
    fused(trials[:2], data)  # what is loaded at first use
    one_at_a_time(trials[:2], data)
    benchmark.pedantic(fused, args=(trials, data), rounds=3)
    started = time.perf_counter()
    one_at_a_time(trials, data)
    ratio = (time.perf_counter() - started) / benchmark.stats.stats.min
    benchmark.extra_info["times as fast as one at a time"] = round(ratio, 2)
    print(f"{norm}: {ratio:.1f} times as fast as one at a time")
    assert ratio >= at_least
