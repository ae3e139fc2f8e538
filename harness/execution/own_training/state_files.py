"""States of own training on disk: what a function saves, with the curves up to there, in two generations.

A state is a pickle, for it may hold anything, and only the trial that has saved it reads it: in a results folder of
somebody else's, remove `checkpoints` before you run a suite on it.
"""

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudpickle

from harness.errors import DamageError, SuiteError, error_line
from harness.storage.containers import GENERATION, generations, read_headed, seal_headed, write_generation
from harness.typed import fits

Curves = dict[str, dict[str, list[Any]]]
ABOUT: dict[str, Any] = {  # what a state says of itself besides what it was made with -> types
    **{"started": str, "resumes": int, "seconds": float, GENERATION: int},
    "nonfinite_at": int | None,
}
CURVES = Mapping[str, Mapping[str, Sequence[int | float | None]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedState:
    """What a function has saved, and how far it was."""

    about: Mapping[str, Any]
    curves: Curves
    state: bytes  # a pickle


def pickled(state: Any, subject: str) -> bytes:
    """The state as bytes; SuiteError where it can't be written down."""
    try:
        data: bytes = cloudpickle.dumps(state)
        return data
    except Exception as error:
        raise SuiteError(f"{subject} saves a state that can't be pickled: {error_line(error)}") from error


def save_state(folder: Path, cohort: str, saved: SavedState) -> None:
    """Write a state over the older of the two generations."""

    def dump(age: Mapping[str, int]) -> bytes:
        return seal_headed({"about": {**saved.about, **age}, "curves": saved.curves}, [saved.state])

    write_generation(folder, cohort, dump)


def newest_state(folder: Path, cohort: str, made_with: Mapping[str, Any]) -> tuple[SavedState | None, list[str]]:
    """The newest whole state of a trial from the same environment, and why others are not used."""
    states, refused = [], []
    for path in generations(folder, cohort):
        try:
            header, content = read_headed(path)
        except FileNotFoundError:
            continue
        except DamageError as error:
            refused.append(str(error))
            continue
        about: Any = header.get("about")
        curves: Any = header.get("curves")
        is_whole = isinstance(about, dict) and all(fits(about.get(name), hint) for name, hint in ABOUT.items())
        if not is_whole or not fits(curves, CURVES):
            refused.append(f"{path} is no state of own training")
            continue
        if different := [name for name, value in made_with.items() if about.get(name) != value]:
            refused.append(f"{path} was written with a different {', '.join(different)}")
            continue
        states.append(SavedState(about=about, curves=curves, state=bytes(content)))
    return max(states, key=lambda saved: saved.about[GENERATION], default=None), refused


def unpickled(saved: SavedState) -> Any:
    """The state as the function has saved it."""
    return pickle.loads(saved.state)  # noqa: S301 (what this trial has written)
