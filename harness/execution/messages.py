"""What a supervisor and its workers send each other. All of it is plain data; none of it needs torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.spec.cohorts import Cohort, Shape
from harness.spec.limits import Limits

Finding = tuple[str, str, str]  # what was looked at, its state, and a remedy where something is missing


@dataclass(frozen=True, slots=True, kw_only=True)
class PreflightRequest:
    """Resolve the device and try one model of each shape: answered by PreflightResult or UserErrorReply."""

    suite: Path
    device: str
    data_dir: Path | None = None  # folder for the data that a report draws
    measure: bool = False  # also guess how long cohorts take
    tune_sizes: bool = True  # on a GPU, find the cohort size by trying; not needed where all cohorts are made already
    workers: int = 1  # that will share the GPUs
    is_own: bool = False  # whether a function of the suite's own trains


@dataclass(frozen=True, slots=True)
class InspectRequest:
    """Look at the machine alone: answered by InspectResult."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRequest:
    """Train a cohort and write its records: answered by Progress, then Finished, Stopped, Failed or UserErrorReply."""

    suite: Path
    cohort: Cohort
    root: Path  # the results folder of the suite
    telemetry: Mapping[str, Any]  # what every record says of this run
    attempt: int = 1  # of this cohort in this run, from 1
    limits: Limits = field(default_factory=Limits)
    is_confirmation: bool = False  # of a failure: the cohort trains alone, in a worker that has trained nothing before


@dataclass(frozen=True, slots=True)
class DistributedBatch:
    """Cohorts for ranks that train each by itself, one after the other: answered by DistributedBatchResult."""

    requests: tuple[TrainRequest, ...]


@dataclass(frozen=True, slots=True)
class End:
    """There is nothing more to do: ranks end. Not answered."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Save at the next step and answer Stopped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortEstimate:
    """What it takes to train trials of one shape."""

    max_cohort_size: int  # models of a cohort, so that what they keep for the backward pass fits the cache
    work: float  # of one trial, to tell long cohorts from short: bytes kept times steps
    seconds: float = 0.0  # of one trial, guessed from a few steps, where that was asked for
    note: str = ""  # why it trains in a slower way than others
    runs_in_turn: bool = False  # whether a cohort's models train one after the other: a smaller one is as fast


@dataclass(frozen=True, slots=True, kw_only=True)
class PreflightResult:
    """What this machine is, and what the suite takes on it."""

    device: str  # what "auto" stands for
    fingerprint: Mapping[str, Any]  # what bits depend on
    machine: Mapping[str, Any]  # what else is worth knowing
    estimates: Mapping[Shape, CohortEstimate]
    notes: tuple[str, ...] = ()  # what the user should know of the suite and its data
    is_own: bool = False  # whether a function of the suite's own trains, in a new process for each trial


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectResult:
    """What this machine has for training."""

    findings: list[Finding]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A sign of life: how far a cohort is."""

    done: float  # of its steps, 0..1
    failed: tuple[str, ...] = ()  # keys of trials whose loss is no longer finite
    note: str = ""  # something that the user should know


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """All records of the cohort are written."""

    failed: tuple[str, ...]  # keys of trials that failed to train


@dataclass(frozen=True, slots=True)
class Stopped:
    """The cohort is saved at the step that it has reached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The cohort brought its worker down, or raised."""

    outcome: str  # oom, crashed or timeout
    error: str  # one line
    details: str  # the traceback, for the log
    is_retryable: bool  # whether the same could go well another time: it died from outside, it didn't raise
    is_worker_broken: bool = False  # whether its worker can do nothing more
    is_final: bool = False  # whether it needs no confirmation: a limit of the suite is passed


@dataclass(frozen=True, slots=True, kw_only=True)
class UserErrorReply:
    """Nothing that a trial is to blame for: a wrong suite, a full disk. The run ends with this error."""

    error_type: str  # name of a class in harness.errors
    error: str


TrainAnswer = Finished | Stopped | Failed | UserErrorReply


@dataclass(frozen=True, slots=True)
class DistributedBatchResult:
    """What came of each request of a batch, in their order."""

    answers: tuple[TrainAnswer, ...]


Job = PreflightRequest | InspectRequest | TrainRequest | DistributedBatch | End
Answer = PreflightResult | InspectResult | TrainAnswer | DistributedBatchResult  # each ends a job
