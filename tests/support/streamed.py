"""One dataset in memory and on disk, to train on in tests."""

from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset as TorchDataset

from harness.data.datasets import Dataset, load_dataset
from harness.data.settings import DataSettings
from harness.data.streamed import Streamed


class Images(TorchDataset):
    """Examples and targets, of which each is made when it is asked for."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return torch.from_numpy(self.x[i].copy()), self.y[i]


def loaded(made, **settings) -> Dataset:
    return load_dataset("own", Path(), {"own": lambda: made}, DataSettings(**settings))


def every_source(x, y, folder: Path, **settings) -> dict[str, Dataset]:
    """The same data in memory, in a memory map and as items of a Dataset, which training or a process makes."""
    np.save(folder / "x.npy", x)
    return {
        "memory": loaded((x, y), **settings),
        "memory map": loaded((Streamed(np.load(folder / "x.npy", mmap_mode="r")), y), **settings),
        "items": loaded(Streamed(Images(x, y), num_workers=0), **settings),
        "items of a process": loaded(Streamed(Images(x, y), num_workers=1), **settings),
    }
