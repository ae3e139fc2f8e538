"""The data of a cohort on its device: in memory, or read from disk when they are asked for."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from harness.data.datasets import Dataset
from harness.data.streamed_tensors import AnyExamples, on_device
from harness.ensemble.precision import PRECISIONS
from harness.spec.measured import SPLITS
from harness.spec.trial import Trial
from harness.tasks.task import laid_out
from harness.training.augmentation import noisy_labels


def split_tensors(
    device: torch.device, dtype: torch.dtype | None, dataset: Dataset, trials: Sequence[Trial]
) -> dict[str, tuple[AnyExamples, Tensor]]:
    """The examples of each split in this type, and their targets; in training, with each model's noise."""
    precision = PRECISIONS[trials[0].precision].dtype
    x = {split: on_device(dataset.x[split], device, dtype) for split in SPLITS}
    if trials[0].batch_size == len(x["train"]):  # so much is in memory anyway
        x["train"] = torch.from_numpy(np.asarray(dataset.x["train"])).to(device, dtype)
    y = {split: laid_out(torch.from_numpy(dataset.y[split])) for split in SPLITS}
    y = {split: targets.to(device, precision if targets.is_floating_point() else None) for split, targets in y.items()}
    y["train"] = noisy_labels(y["train"], dataset.classes, trials)
    return {split: (x[split], y[split]) for split in SPLITS}
