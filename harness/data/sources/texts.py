"""Texts as sequences of tokens: each character is one, and the targets at each position are the characters that follow.

A text is split in time: its first part is for training, then come validation and test. Each part is cut into windows of
`context` characters, one after the other, none of them over the border of a part; what is left over is dropped.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.sources.bundled import package_folder
from harness.errors import DamageError, SuiteError
from harness.io import read_bytes

SUFFIX = ".txt"
MAX_TEXT_BYTES = 2**30
SHARES = {"train": 0.7, "val": 0.15, "test": 0.15}  # of a text, in this order
MIN_WINDOWS = 2  # of each part


def read_text(path: Path) -> str:
    """The text in a file; SuiteError where it is no UTF-8."""
    try:
        return read_bytes(path, max_bytes=MAX_TEXT_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SuiteError(
            f"{path.name} is no text in UTF-8 ({error.reason} at byte {error.start}); save it so"
        ) from error
    except (OSError, DamageError) as error:
        raise SuiteError(f"{path.name} can't be read: {error}") from error


def _descriptions() -> str:
    """What scikit-learn says of its data sets: 43,000 characters of English, and of tables of numbers."""
    files = sorted((package_folder("sklearn") / "datasets" / "descr").glob("*.rst"))
    return "".join(file.read_text(encoding="utf-8") for file in files)


TEXTS: dict[str, Callable[[], str]] = {"descriptions": _descriptions}


def text_arrays(text: str, context: int) -> dict[str, Any]:
    """The arrays of a dataset: windows of characters, and at each position the character that follows."""
    tokens = _tokens(text, characters := characters_of(text))
    ends = np.floor(np.cumsum([0, *SHARES.values()]) * len(tokens) + 1e-6).astype(int)
    arrays: dict[str, Any] = {"vocabulary": len(characters), "next_token": True}
    for split, start, stop in zip(SHARES, ends[:-1], ends[1:], strict=True):
        arrays[f"x_{split}"], arrays[f"y_{split}"] = _windows(tokens[start:stop], context)
        if len(arrays[f"x_{split}"]) < MIN_WINDOWS:
            raise SuiteError(
                f"a text of {len(tokens)} characters is too short for context={context}: its {split} part of "
                f"{stop - start} has no {MIN_WINDOWS} windows; give a longer text or a smaller context"
            )
    return arrays


def characters_of(text: str) -> str:
    """The characters of a text, each once, in the order of their tokens."""
    return "".join(sorted(set(text)))


def windows_of(where: str, text: str, characters: str, context: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All windows of another text, and the characters that follow; SuiteError where it is short or has new ones."""
    if strangers := sorted(set(text) - set(characters)):
        raise SuiteError(f"{where}: holds {strangers[0]!r}, a character that the model was not trained on")
    x, y = _windows(_tokens(text, characters), context)
    if not len(x):
        raise SuiteError(f"{where}: a text must be longer than the {context} characters of a window, got {len(text)}")
    return x, y


def _tokens(text: str, characters: str) -> NDArray[np.int64]:
    codes, known = (np.frombuffer(string.encode("utf-32-le"), dtype="<u4") for string in (text, characters))
    return np.searchsorted(known, codes)


def _windows(tokens: NDArray[np.int64], context: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Windows of tokens "N L", and the token after each of theirs."""
    count = max(0, (len(tokens) - 1) // context)
    x, y = (tokens[shift : shift + count * context].reshape(count, context) for shift in (0, 1))
    return x, y
