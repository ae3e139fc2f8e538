"""What is made of training examples before a model learns from them: mirrored, moved, or given a wrong label.

All of it is a function of the seed and the example (moves also of the epoch), whatever the arm, the batch or the place
in it. To add an augmentation: an entry in AUGMENTS, and what it does in `moved`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from harness.ensemble.device import to_device
from harness.errors import SuiteError, lookup
from harness.rng import generator
from harness.spec.trial import Trial

PAD = 4  # pixels of zeros on each side of an image before it is cropped to its size: He et al. 2016, section 4.2

AUGMENTATIONS: dict[str, tuple[str, ...]] = {
    "none": (),
    "flip": ("flip",),
    "crop": ("crop",),
    "flip+crop": ("flip", "crop"),
}


@dataclass(frozen=True, slots=True)
class CropFlip:
    """How every training example is seen by each model in one epoch."""

    top: Int[Tensor, "M N"]  # where in the padded image the crop begins
    left: Int[Tensor, "M N"]
    flip: Bool[Tensor, "M N"]

    def select(self, picked: Int[Tensor, "M B"]) -> "CropFlip":
        """Those of some of the examples."""
        return CropFlip(self.top.gather(1, picked), self.left.gather(1, picked), self.flip.gather(1, picked))


def check_augment(trial: Trial, inputs: tuple[int, ...]) -> None:
    """SuiteError where the augmentation is unknown, or the examples are no images."""
    if lookup(AUGMENTATIONS, trial.augment, "augment") and len(inputs) != 3:
        raise SuiteError(f"augment={trial.augment!r} needs images (channels, height, width), got examples of {inputs}")


def draw_crop_flip(kind: str, seeds: Sequence[int], examples: int, epoch: int, device: torch.device) -> CropFlip | None:
    """The moves of all examples in this epoch, the same for all models of one seed; None where none is moved."""
    steps = AUGMENTATIONS[kind]
    if not steps:
        return None
    rows = {seed: row for row, seed in enumerate(dict.fromkeys(seeds))}
    drawn = to_device(torch.stack([_draw_for_seed(steps, seed, examples, epoch) for seed in rows], 1), device)
    top, left, flip = drawn[:, to_device(torch.tensor([rows[seed] for seed in seeds]), device)]
    return CropFlip(top, left, flip == 1)


def _draw_for_seed(steps: tuple[str, ...], seed: int, examples: int, epoch: int) -> Int[Tensor, "3 N"]:
    moves = torch.tensor([PAD, PAD, 0]).unsqueeze(1).repeat(1, examples)
    if "crop" in steps:
        moves[:2] = torch.randint(0, 2 * PAD + 1, (2, examples), generator=generator(seed, "crop", epoch))
    if "flip" in steps:
        moves[2] = torch.randint(0, 2, (examples,), generator=generator(seed, "flip", epoch))
    return moves


def apply_augmentation(x: Float[Tensor, "B M C H W"], crop_flip: CropFlip) -> Float[Tensor, "B M C H W"]:
    """Each image padded by zeros and cropped to its size, from its own corner, and mirrored left to right or not."""
    batch, models, channels, height, width = x.shape

    def along(size: int) -> Tensor:
        return torch.arange(size, device=x.device)

    flip = crop_flip.flip.T.unsqueeze(2)
    rows = crop_flip.top.T.unsqueeze(2) + along(height)
    columns = crop_flip.left.T.unsqueeze(2) + torch.where(flip, width - 1 - along(width), along(width))
    padded = F.pad(x, (PAD, PAD, PAD, PAD)).flatten(0, 1)
    image, channel = along(batch * models).view(-1, 1, 1, 1), along(channels).view(-1, 1, 1)
    return padded[image, channel, rows.reshape(-1, 1, height, 1), columns.reshape(-1, 1, 1, width)].view_as(x)


def noisy_labels(y: Int[Tensor, "N"], classes: int, trials: Sequence[Trial]) -> Tensor:
    """The training labels of each model, "M N": a share of them wrong, each drawn from all other classes alike.

    Of two shares with one seed, the smaller has its wrong labels in common with the larger. Where no trial has any
    label noise, the labels are what they were, "N".
    """
    if not any(trial.label_noise for trial in trials):
        return y
    return torch.stack([_with_noise(y, classes, trial) for trial in trials])


def gather_labels(y: Tensor, indices: Int[Tensor, "M B"]) -> Int[Tensor, "M B"]:
    """The labels of each model's examples, out of labels "N" that all share or "M N" of their own."""
    return y.gather(1, indices) if y.ndim == 2 else y[indices]


def _with_noise(y: Int[Tensor, "N"], classes: int, trial: Trial) -> Int[Tensor, "N"]:
    rng = generator(trial.seed, "label_noise")
    order = torch.randperm(len(y), generator=rng)
    further = torch.randint(1, classes, (len(y),), generator=rng)
    wrong = order[: round(trial.label_noise * len(y))]
    noisy = y.cpu().clone()
    noisy[wrong] = (noisy[wrong] + further[wrong]) % classes
    return noisy.to(y.device)
