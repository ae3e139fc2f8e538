"""Datasets that don't come with the harness: from files in a folder, from a package, from OpenML.

Files are looked for under $HARNESS_DATA, or `data/` where that is not set, beside `results/`. Downloads are kept there
as well. To add a dataset: one entry in SOURCES, whose function returns arrays as datasets.py describes them.
"""

import hashlib
import os
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
from numpy.typing import NDArray

from harness.data.image_formats import CIFAR_SHAPE, Bytes, read_cifar, read_idx, standardise_images
from harness.errors import DamageError, MachineError, SuiteError

Arrays = Mapping[str, NDArray[Any]]

HOME = "HARNESS_DATA"
OPENML = "openml:"
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
FASHION_ID, CIFAR_ID = 40996, 40927  # of OpenML, where the training images come first, as in the files
FASHION_TRAIN, CIFAR_TRAIN = 60_000, 50_000  # how many these are
CIFAR_FILES = (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin")
# The sha256 of all images of Fashion-MNIST as bytes, those to train first.
FASHION_DIGEST = "0fbbfcb392782b3b702472ead3688778e1509e8cf40f5c24d9d3303618b193ab"


@dataclass(frozen=True, slots=True)
class Source:
    """Where a dataset comes from."""

    load: Callable[[], Arrays]
    is_available: Callable[[], str]  # where this machine has it, "" where it has not
    remedy: str  # how to get it


def home() -> Path:
    """The folder of data files."""
    return Path(os.environ.get(HOME) or "data")


def _fashion() -> Arrays:
    """Fashion-MNIST (Xiao et al. 2017): 70 000 images of 28 x 28, less the mean of their pixels over the deviation."""
    if folder := _fashion_folder():
        x, y = (
            {split: read_idx(_idx(folder, split, kind)) for split in ("train", "t10k")} for kind in ("images", "labels")
        )
        images, labels = [x[split][:, None] for split in x], [y[split] for split in y]
    else:
        images, labels = _openml_images("fashion", FASHION_ID, (1, 28, 28), FASHION_TRAIN)
    # Files of MNIST have the same names.
    if hashlib.sha256(b"".join(part.tobytes() for part in images)).hexdigest() != FASHION_DIGEST:
        where = folder or f"OpenML's dataset {FASHION_ID}"
        raise DamageError(f"{where} is not Fashion-MNIST as it was published; {REMEDY_FASHION}")
    return _images_and_labels(images, labels)


def _fashion_folder() -> Path | None:
    names = [(split, kind) for split in ("train", "t10k") for kind in ("images", "labels")]
    folders = (home() / "fashion-mnist", DEBIAN)
    return next((folder for folder in folders if all(_idx(folder, *name).exists() for name in names)), None)


def _idx(folder: Path, split: str, kind: str) -> Path:
    """The file as it is published, or uncompressed."""
    path = folder / f"{split}-{kind}-idx{3 if kind == 'images' else 1}-ubyte"
    return path if path.exists() else path.with_name(f"{path.name}.gz")


def _cifar10() -> Arrays:
    """CIFAR-10 (Krizhevsky 2009): 60 000 images of 3 x 32 x 32, each channel less its mean over its deviation.

    OpenML's rows are taken to be in the order of the files; only OpenML's own checksum is verified.
    """
    if folder := _cifar_folder():
        parts = [read_cifar([folder / name for name in names]) for names in (CIFAR_FILES[:-1], CIFAR_FILES[-1:])]
        images, labels = [x for x, _ in parts], [y for _, y in parts]
    else:
        images, labels = _openml_images("cifar10", CIFAR_ID, CIFAR_SHAPE, CIFAR_TRAIN)
    return _images_and_labels(images, labels)


def _cifar_folder() -> Path | None:
    folder = home() / "cifar-10-batches-bin"
    return folder if any((folder / name).exists() for name in CIFAR_FILES) else None


def _images_and_labels(images: list[Bytes], labels: list[Bytes]) -> Arrays:
    x_train, x_test = standardise_images(*images)
    return {"x_train": x_train, "y_train": labels[0], "x_test": x_test, "y_test": labels[1]}


def _openml_images(name: str, number: int, shape: tuple[int, ...], train: int) -> tuple[list[Bytes], list[Bytes]]:
    """The training and test images on OpenML, where the training images come first."""
    x, y = _fetch(name, SOURCES[name].remedy, data_id=number)
    images, labels = x.astype(np.uint8).reshape(-1, *shape), y.astype(np.uint8)
    return [images[:train], images[train:]], [labels[:train], labels[train:]]


def from_openml(name: str) -> Arrays:
    """The examples (numbers alone) and classes of the dataset `openml:NAME`, or of its version 2, `openml:NAME@2`."""
    openml_name, _, version = name.removeprefix(OPENML).partition("@")
    if not re.fullmatch(r"[\w.+()-]+", openml_name) or not (version.isdigit() or not version):
        raise SuiteError(f"a dataset of OpenML is named as in openml:iris or openml:iris@1, got {name!r}")
    x, y = _fetch(
        name, "check the name and the network", name=openml_name, version=int(version) if version else "active"
    )
    return {"x": x, "y": np.unique(y, return_inverse=True)[1]}


def _fetch(dataset: str, remedy: str, **query: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Features and target from OpenML, cached from then on; scikit-learn verifies OpenML's checksum."""
    from sklearn.datasets import fetch_openml  # takes a second to load

    try:
        x, y = fetch_openml(**query, data_home=str(home()), as_frame=False, return_X_y=True, n_retries=1)
        return np.asarray(x, dtype=np.float32), np.asarray(y)
    except (URLError, OSError) as error:
        raise MachineError(
            f"dataset {dataset!r} is not on this machine, and OpenML can't be reached: {remedy}"
        ) from error
    except (ValueError, TypeError) as error:
        raise SuiteError(
            f"dataset {dataset!r} of OpenML can't be used: {' '.join(str(error).split())[:200]}"
        ) from error


def _mnist1d() -> Arrays:
    """MNIST-1D (Greydanus & Kobak 2024): 4000 signals of 40 to train and 1000 to test, as the paper generates them.

    The 1000 that validate are the test signals of the next seed, so that training has all that the paper trains on.
    """
    try:
        from mnist1d.data import get_dataset_args, make_dataset
    except ImportError as error:
        raise MachineError(
            f"dataset 'mnist1d' needs the package {error.name!r}: {SOURCES['mnist1d'].remedy}"
        ) from error
    states = random.getstate(), np.random.get_state()  # noqa: NPY002 (the package seeds the global generators)
    try:
        settings = get_dataset_args()
        arrays = make_dataset(settings)
        settings.seed += 1
        fresh = make_dataset(settings)
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
    parts = {"train": (arrays["x"], arrays["y"]), "test": (arrays["x_test"], arrays["y_test"])}
    parts["val"] = (fresh["x_test"], fresh["y_test"])
    return {f"{axis}_{split}": part for split, (x, y) in parts.items() for axis, part in (("x", x[:, None]), ("y", y))}


REMEDY_FASHION = (
    f"apt-get install dataset-fashion-mnist, or put the four files of github.com/zalandoresearch/fashion-mnist in "
    f"${HOME}/fashion-mnist"
)

SOURCES: dict[str, Source] = {
    "mnist1d": Source(
        _mnist1d,
        lambda: "generated by the package mnist1d" if find_spec("mnist1d") else "",
        "pip install 'harness[data]'",
    ),
    "fashion": Source(_fashion, lambda: str(_fashion_folder() or ""), REMEDY_FASHION),
    "cifar10": Source(
        _cifar10,
        lambda: str(_cifar_folder() or ""),
        f"unpack cifar-10-binary.tar.gz of www.cs.toronto.edu/~kriz/cifar.html in ${HOME} (data/ unless set)",
    ),
}
