"""What a function that trains is given besides its trial: `log`, and `checkpoint`."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from threading import Event
from typing import Any

from harness.errors import SuiteError, error_line
from harness.execution.own_training.seeding import generator_states, restore_generators
from harness.execution.own_training.state_files import (
    Curves,
    SavedState,
    newest_state,
    pickled,
    save_state,
    unpickled,
)
from harness.spec.measured import LOGGED
from harness.spec.trial import as_python

MAX_STEP = 2**31


class LeftTrial(BaseException):
    """Raised in a function that trains, to end it: the run is to stop, or its time is over."""


@dataclass(slots=True)
class Session:
    """What a function and those who watch it know of each other."""

    name: str  # of the function
    folder: Path  # of snapshots
    cohort: str
    made_with: Mapping[str, Any]  # what a state must have in common with this attempt
    writes: bool  # whether this rank is the one that writes
    suite_folder: Path
    curves: Curves = field(default_factory=dict)
    nonfinite_at: int | None = None  # the first step at which something was logged that is not finite
    notes: SimpleQueue[str] = field(default_factory=SimpleQueue)
    must_leave: Event = field(default_factory=Event)
    is_resumable: bool = False  # it has saved a state, or has asked for one
    has_saved: bool = False  # since it was told to leave
    last_call: float = field(default_factory=time.monotonic)
    begun: float = field(default_factory=time.monotonic)
    seconds_before: float = 0.0  # in earlier attempts, up to the state that this one goes on from
    seconds_saving: float = 0.0
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    resumes: int = 0

    @property
    def last_step(self) -> int:
        """The last step that was logged."""
        return max((curve["step"][-1] for curve in self.curves.values()), default=0)

    @property
    def seconds(self) -> float:
        """How long it has trained, over all attempts."""
        return self.seconds_before + time.monotonic() - self.begun


class Log:
    """Notes down numbers at a step: `log(step, loss=0.3)`. Each name makes a curve, "log.loss".

    Steps are whole numbers that grow. What is not finite is noted as missing, and the run says so.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def __call__(self, step: int, **numbers: float) -> None:
        session = self._session
        session.last_call = time.monotonic()
        if session.must_leave.is_set() and not session.is_resumable:
            raise LeftTrial
        step = as_python(step)
        if type(step) is not int or not 0 <= step < MAX_STEP:
            raise SuiteError(f"{session.name}: log needs a step, a whole number of 0 or more, got {step!r:.80}")
        for name, given in numbers.items():
            value = number(given, f"{session.name}: log({step}, {name}=...)")
            if not math.isfinite(value) and session.nonfinite_at is None:
                session.nonfinite_at = step
                session.notes.put(f"{session.name} logged {name}={value} at step {step}, which its curve can't show")
            curve = session.curves.setdefault(f"{LOGGED}.{name}", {"step": [], "value": []})
            if curve["step"] and step <= curve["step"][-1]:
                raise SuiteError(f"{session.name}: log({step}, {name}=...) comes after step {curve['step'][-1]}")
            curve["step"].append(step)
            curve["value"].append(value if math.isfinite(value) else None)


class Checkpoint:
    """Keeps what a trial needs to go on: `save(state)` now and then, `load()` at the beginning, None for a first start.

    A state is anything that can be pickled. The default generators of Python, numpy and torch are kept with it. Saving
    leaves the state before in place until the new one is on the disk.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def load(self) -> Any:
        """The state that was saved last, None where there is none; the curves begin where they stood then."""
        session = self._session
        session.is_resumable, session.last_call = True, time.monotonic()
        saved, refused = newest_state(session.folder, session.cohort, session.made_with)
        for reason in refused:
            session.notes.put(f"{reason}; not used")
        if saved is None:
            return None
        try:
            state, generators = unpickled(saved)
        except Exception as error:  # noqa: BLE001 (its classes may have gone)
            session.notes.put(f"the state of {session.name} can't be read: {error_line(error)}; it starts again")
            return None
        restore_generators(generators)
        session.curves = {name: {k: list(v) for k, v in curve.items()} for name, curve in saved.curves.items()}
        session.nonfinite_at = saved.about["nonfinite_at"]
        session.seconds_before, session.started = saved.about["seconds"], saved.about["started"]
        session.resumes = saved.about["resumes"] + 1
        return state

    def save(self, state: Any) -> None:
        """Write the state to the disk; where the run is to stop, the trial ends here."""
        session = self._session
        session.is_resumable, session.last_call = True, time.monotonic()
        data = pickled((state, generator_states()), session.name)
        if session.writes:
            about = {
                **session.made_with,
                **{"started": session.started, "resumes": session.resumes, "nonfinite_at": session.nonfinite_at},
                "seconds": session.seconds,
            }
            save_state(session.folder, session.cohort, SavedState(about=about, curves=session.curves, state=data))
        session.seconds_saving += time.monotonic() - session.last_call
        if session.must_leave.is_set():
            raise LeftTrial


def number(value: Any, subject: str) -> float:
    """A number as Python has it; SuiteError where it is none."""
    plain = as_python(value)
    if not isinstance(plain, int | float) or isinstance(plain, bool):
        plain = _scalar(plain)
    if plain is None:
        raise SuiteError(f"{subject} needs a number, got {value!r:.80} ({type(value).__name__})")
    return float(plain)


def _scalar(value: Any) -> float | None:
    """The number in a scalar of another library, such as jax; None where there is none."""
    if getattr(value, "shape", None) != () or not hasattr(value, "item"):
        return None
    item = value.item()
    return float(item) if isinstance(item, int | float) and not isinstance(item, bool) else None
