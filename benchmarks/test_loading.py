"""Data that stay on disk, against torch's DataLoader at its best `num_workers`: the same batches, model and updates."""

import itertools
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from timing import CPU, seconds_of_step
from torch import nn
from torch.utils.data import DataLoader, Dataset

from harness.data.datasets import load_dataset
from harness.data.read_ahead import read_ahead
from harness.data.streamed import Streamed, StreamedExamples
from harness.nn.models import build
from harness.spec.trial import Trial
from harness.training.state import init_state

EXAMPLES, SHAPE, BATCH_SIZE, STEPS, ROUNDS = 6_000, (3, 32, 32), 128, 30, 3
FILES = 500
WORKERS = (0, 1, 2)  # of the DataLoader; the fastest counts
TRIAL = Trial(dataset="own", model="mlp-64-64", lr=0.01, batch_size=BATCH_SIZE, steps=STEPS + 2, eval_every=10_000)


class Images(Dataset[tuple[torch.Tensor, int]]):
    """Images of whole numbers in a memory map, each made a tensor of shares when it is asked for, as in tutorials."""

    def __init__(self, pixels: np.ndarray, y: np.ndarray) -> None:
        self.pixels, self.y = pixels, y

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        return torch.from_numpy(self.pixels[i]).float() / 255, int(self.y[i])


class Rows(Dataset[tuple[torch.Tensor, int]]):
    """The examples of a memory map as they are."""

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        return torch.from_numpy(self.x[i].copy()), int(self.y[i])


class Jpegs(Images):
    """The same images as the JPEG files that they were, scaled down by three as they are decoded."""

    def __init__(self, pixels: np.ndarray, y: np.ndarray) -> None:
        super().__init__(pixels, y)
        self.files = []
        for image in pixels[:FILES]:
            file = BytesIO()
            Image.fromarray(np.tile(image, (1, 3, 3)).transpose(1, 2, 0)).save(file, "jpeg")
            self.files.append(file.getvalue())

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        image = Image.open(BytesIO(self.files[i % FILES])).resize(SHAPE[1:])
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255, int(self.y[i])


def memory_map(path: Path, dtype: str) -> np.ndarray:
    """Random images in a file, read once, so that it is the system that holds them."""
    rng = np.random.default_rng(0)
    images = np.lib.format.open_memmap(path, "w+", dtype, (EXAMPLES, *SHAPE))
    for part in np.array_split(np.arange(EXAMPLES), 10):
        images[part] = (
            rng.integers(0, 256, (len(part), *SHAPE)) if dtype == "uint8" else rng.random((len(part), *SHAPE))
        )
    images.flush()
    return np.load(path, mmap_mode="r+")  # torch warns of tensors that can't be written to


def orders(examples: int) -> Iterator[torch.Tensor]:
    """Batches in a random order, without end."""
    generator = torch.Generator().manual_seed(0)
    while True:
        order = torch.randperm(examples, generator=generator)
        yield from (order[start : start + BATCH_SIZE] for start in range(0, examples - BATCH_SIZE + 1, BATCH_SIZE))


def loop_by_hand(dataset: Dataset, batches: Iterator[torch.Tensor], workers: int) -> float:
    """Seconds of a step of a plain loop over a DataLoader, the first steps apart."""
    model = build(TRIAL, SHAPE, 10, {})
    optimizer, criterion = torch.optim.SGD(model.parameters(), lr=TRIAL.lr), nn.CrossEntropyLoss()
    loader = DataLoader(dataset, batch_sampler=itertools.islice(batches, STEPS + 5), num_workers=workers)
    for step, (x, y) in enumerate(loader):
        if step == 5:
            started = time.perf_counter()
        optimizer.zero_grad()
        criterion(model(x), y).backward()
        optimizer.step()
    return (time.perf_counter() - started) / STEPS


def loading_ahead(examples: StreamedExamples, batches: Iterator[torch.Tensor]) -> float:
    """Seconds of a batch that is read ahead."""
    parts = (rows.numpy() for rows in itertools.islice(batches, STEPS + 5))
    for step, _ in enumerate(read_ahead(examples, parts)):
        if step == 5:
            started = time.perf_counter()
    return (time.perf_counter() - started) / STEPS


def loading_by_hand(dataset: Dataset, batches: Iterator[torch.Tensor], workers: int) -> float:
    """Seconds of a batch of a DataLoader alone."""
    loader = DataLoader(dataset, batch_sampler=itertools.islice(batches, STEPS + 5), num_workers=workers)
    for step, _ in enumerate(loader):
        if step == 5:
            started = time.perf_counter()
    return (time.perf_counter() - started) / STEPS


SOURCES = {  # how it is called -> the type of the file, and the Dataset of a loop by hand
    "a memory map": ("float32", Rows),
    "a Dataset that costs little": ("uint8", Images),
    "a Dataset of JPEGs": ("uint8", Jpegs),
}


@pytest.mark.parametrize("source", SOURCES)
def test_training_from_disk(benchmark, row, tmp_path, source):
    y, (dtype, made_by_hand) = np.arange(EXAMPLES) % 10, SOURCES[source]
    x = memory_map(tmp_path / "x.npy", dtype)
    by_hand = made_by_hand(x, y)
    ways = [(Streamed(x), y)] if made_by_hand is Rows else [Streamed(by_hand), Streamed(by_hand, num_workers=2)]
    datasets = [load_dataset("own", Path(), {"own": lambda made=made: made}) for made in ways]
    count, training, loading = datasets[0].size("train"), [], []

    def both() -> None:
        trial = replace(TRIAL, seed=len(training), device="cpu")
        ours = min(seconds_of_step(init_state([trial], data, CPU, {}), STEPS) for data in datasets)
        training.append(min(loop_by_hand(by_hand, orders(count), workers) for workers in WORKERS) / ours)
        ours = min(loading_ahead(data.x["train"], orders(count)) for data in datasets)
        loading.append(min(loading_by_hand(by_hand, orders(count), workers) for workers in WORKERS) / ours)

    benchmark.pedantic(both, rounds=ROUNDS, warmup_rounds=1)
    for what, ratios in (("training from", training), ("loading", loading)):
        text = f"{what} {source}, times as fast as with torch's DataLoader"
        row("9", text, ">= 1", f"{statistics.median(ratios):.2f}")
