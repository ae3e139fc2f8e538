"""What is done to training examples before a model sees them: images cropped and mirrored, labels made wrong.

All of it is a function of the seed and the example (augmentation also of the epoch), whatever the arm, the batch or the
position in it. To add an augmentation: one entry in AUGMENTATIONS.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from harness.ensemble.device import to_device
from harness.errors import SuiteError, lookup
from harness.rng import generator
from harness.spec.trial import Trial

PAD = 4  # pixels of zeros on each side of an image before it is cropped to its size: He et al. 2016, section 4.2


@dataclass(frozen=True, slots=True)
class Augmentation:
    """A random change of training images: P numbers are drawn for each image in each epoch, and then applied."""

    draw: Callable[[int, int, int], Int[Tensor, "P N"]]  # seed, epoch, number of examples -> their numbers
    apply: Callable[[Float[Tensor, "B M C H W"], Int[Tensor, "P M B"]], Float[Tensor, "B M C H W"]]


def _draw_crop_flip(seed: int, epoch: int, examples: int, *, crop: bool, flip: bool) -> Int[Tensor, "3 N"]:
    """Where in the padded image the crop begins (top, left), and whether it is mirrored."""
    numbers = torch.tensor([PAD, PAD, 0]).unsqueeze(1).repeat(1, examples)
    if crop:
        numbers[:2] = torch.randint(0, 2 * PAD + 1, (2, examples), generator=generator(seed, "crop", epoch))
    if flip:
        numbers[2] = torch.randint(0, 2, (examples,), generator=generator(seed, "flip", epoch))
    return numbers


def crop_flip(x: Float[Tensor, "B M C H W"], numbers: Int[Tensor, "3 M B"]) -> Float[Tensor, "B M C H W"]:
    """Each image padded by zeros, cropped to its size from its own corner, and mirrored left to right or not."""
    batch, models, channels, height, width = x.shape

    def arange(size: int) -> Tensor:
        return torch.arange(size, device=x.device)

    # "3 M B" -> three times "B M 1"
    top, left, flip = numbers.mT.unsqueeze(3).unbind()
    # The pixels of the padded image that make up the crop: rows "B M H", columns "B M W"
    rows = top + arange(height)
    columns = left + torch.where(flip == 1, width - 1 - arange(width), arange(width))
    # "B*M C H+2PAD W+2PAD"
    padded = F.pad(x, (PAD, PAD, PAD, PAD)).flatten(0, 1)
    image, channel = arange(batch * models).view(-1, 1, 1, 1), arange(channels).view(-1, 1, 1)
    return padded[image, channel, rows.reshape(-1, 1, height, 1), columns.reshape(-1, 1, 1, width)].view_as(x)


AUGMENTATIONS: dict[str, Augmentation | None] = {
    "none": None,
    "flip": Augmentation(partial(_draw_crop_flip, crop=False, flip=True), crop_flip),
    "crop": Augmentation(partial(_draw_crop_flip, crop=True, flip=False), crop_flip),
    "flip+crop": Augmentation(partial(_draw_crop_flip, crop=True, flip=True), crop_flip),
}


def check_augment(trial: Trial, input_shape: tuple[int, ...]) -> None:
    """SuiteError where the augmentation is unknown, or the examples are no images."""
    if lookup(AUGMENTATIONS, trial.augment, "augment") is not None and len(input_shape) != 3:
        raise SuiteError(
            f"augment={trial.augment!r} needs images (channels, height, width), got examples of {input_shape}"
        )


def draw_augmentation(
    name: str, seeds: Sequence[int], examples: int, epoch: int, device: torch.device
) -> Int[Tensor, "P M N"] | None:
    """The numbers for all examples in an epoch, the same for all models of one seed; None without augmentation."""
    augmentation = AUGMENTATIONS[name]
    if augmentation is None:
        return None
    # "P S N", a row for each seed S
    drawn = torch.stack([augmentation.draw(seed, epoch, examples) for seed in dict.fromkeys(seeds)], 1)
    return to_device(drawn, device)[:, rows_of_seeds(seeds, device)]


def apply_augmentation(
    name: str, x: Shaped[Tensor, "B M ..."], numbers: Int[Tensor, "P M B"] | None
) -> Shaped[Tensor, "B M ..."]:
    """Each model's examples with the numbers that were drawn for them."""
    augmentation = AUGMENTATIONS[name]
    return x if augmentation is None or numbers is None else augmentation.apply(x, numbers)


def rows_of_seeds(seeds: Sequence[int], device: torch.device) -> Int[Tensor, "M"]:
    """For each model the position of its seed among the different seeds: what is drawn for a seed is drawn once."""
    rows = {seed: row for row, seed in enumerate(dict.fromkeys(seeds))}
    return to_device(torch.tensor([rows[seed] for seed in seeds]), device)


def noisy_labels(y: Tensor, classes: int, trials: Sequence[Trial]) -> Tensor:
    """The training labels of each model, "M N": a share of them wrong, each drawn uniformly from all other classes.

    With one seed, the labels that a smaller share makes wrong are among those of a larger one. Where no trial has label
    noise, these are the labels as they were, "N".
    """
    if not any(trial.label_noise for trial in trials):
        return y
    return torch.stack([_with_noise(y, classes, trial) for trial in trials])


def _with_noise(y: Int[Tensor, "N"], classes: int, trial: Trial) -> Int[Tensor, "N"]:
    rng = generator(trial.seed, "label_noise")
    order = torch.randperm(len(y), generator=rng)
    offset = torch.randint(1, classes, (len(y),), generator=rng)
    wrong = order[: round(trial.label_noise * len(y))]
    noisy = y.cpu().clone()
    noisy[wrong] = (noisy[wrong] + offset[wrong]) % classes
    return noisy.to(y.device)
