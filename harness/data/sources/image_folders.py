"""Folders of images: one folder a class, or folders train, val and test with these in them.

Images are PNG or JPEG files of one size, grey or in colours, and become numbers 0..1 (channels, height, width).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from harness.errors import SuiteError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
SPLIT_FOLDERS = {"train", "val", "test"}
GREY = ("1", "L")  # modes of Pillow
DEEP = ("I", "F")  # likewise, of more than 8 bits; and what begins with I;


def image_arrays(where: str, folder: Path) -> dict[str, Any]:
    """The arrays in a folder, class names as labels; SuiteError where a file is no image or of another size."""
    names = {path.name for path in _entries(folder)}
    is_split = names <= SPLIT_FOLDERS and {"train", "test"} <= names
    parts = {f"_{name}": folder / name for name in sorted(names)} if is_split else {"": folder}
    files = {suffix: list(_images(where, part)) for suffix, part in parts.items()}
    for suffix, images in files.items():
        if not images:
            raise SuiteError(f"{where}: no images in {parts[suffix].name}/; one folder for each class holds them")
    paths = [path for images in files.values() for path, _ in images]
    mode = _common_mode(where, folder, paths)
    return {
        f"{axis}{suffix}": array
        for suffix, images in files.items()
        for axis, array in (
            ("x", np.stack([_pixels(path, mode) for path, _ in images])),
            ("y", np.array([label for _, label in images])),
        )
    }


def images_in(where: str, folder: Path, channels: int) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """The images in a folder as a model of so many channels takes them; labels where they lie in folders of classes."""
    labelled = list(_images(where, folder))
    paths = [path for path, _ in labelled] or [
        path for path in _entries(folder) if path.suffix.lower() in IMAGE_SUFFIXES
    ]
    if not paths:
        raise SuiteError(f"{where}: no images in it, and none in folders of classes")
    _common_mode(where, folder, paths)
    x = np.stack([_pixels(path, "L" if channels == 1 else "RGB") for path in paths])
    return x, np.array([label for _, label in labelled]) if labelled else None


def _entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _images(where: str, folder: Path) -> Iterator[tuple[Path, str]]:
    """The files of all classes, in the order of their names, each with its class."""
    for class_folder in _entries(folder):
        if not class_folder.is_dir():
            continue
        for path in _entries(class_folder):
            if path.suffix.lower() not in IMAGE_SUFFIXES:
                raise SuiteError(
                    f"{where}: {class_folder.name}/{path.name} is no PNG or JPEG file; convert it, or take it out"
                )
            yield path, class_folder.name


def _common_mode(where: str, folder: Path, paths: list[Path]) -> str:
    """The mode that all images are read in; SuiteError where they have not one size. Reads their headers alone."""
    modes: set[str] = set()
    first: tuple[Path, tuple[int, int]] | None = None
    for path in paths:
        name = path.relative_to(folder).as_posix()
        try:
            with Image.open(path) as image:
                size, mode = image.size, image.mode
        except (UnidentifiedImageError, Image.DecompressionBombError, OSError) as error:
            raise SuiteError(f"{where}: {name} can't be read as an image; save it anew, or take it out") from error
        if mode in DEEP or mode.startswith("I;"):
            raise SuiteError(f"{where}: {name} has more than 8 bits a channel; convert it, or give arrays")
        first = first or (path, size)
        if size != first[1]:
            raise SuiteError(
                f"{where}: {name} has {size[0]} x {size[1]} pixels and {first[0].relative_to(folder).as_posix()} "
                f"{first[1][0]} x {first[1][1]}; give all images one size, such as by PIL.ImageOps.fit(image, size)"
            )
        modes.add(mode)
    return "L" if modes <= {*GREY} else "RGB"


def _pixels(path: Path, mode: str) -> NDArray[np.float32]:
    """One image "C H W" with values 0..1."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert(mode), np.float32) / np.float32(255)
    return pixels[None] if mode == "L" else np.ascontiguousarray(pixels.transpose(2, 0, 1))
