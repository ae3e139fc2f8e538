"""One cohort from its last snapshot to its records."""

import math
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from harness.data.datasets import Dataset, load_dataset
from harness.data.settings import DataSettings, dataset_key
from harness.ensemble.device import configure, synchronise
from harness.ensemble.distributed import SINGLE_PROCESS, DistContext
from harness.errors import DamageError, MachineError
from harness.execution.environment import fingerprint
from harness.execution.messages import Finished, Progress, Stopped, TrainRequest
from harness.export.model_card import trained_models
from harness.fault_injection import inject
from harness.io import write_atomically
from harness.spec.loader import SuiteFile, check_late_imports, check_unchanged, load_suite
from harness.spec.trial import Trial
from harness.storage.containers import discard
from harness.storage.records import TRAINED, Record, ResultsDir, failure, write_record
from harness.training import checkpoint
from harness.training.best_checkpoint import keep_best
from harness.training.checkpoint import Snapshot
from harness.training.ddp_checkpoint import gather_state, restore
from harness.training.decision_boundaries import decision_boundaries
from harness.training.loop import train
from harness.training.pruning import scatter_into
from harness.training.results import Outcome, outcomes
from harness.training.state import TrainState, init_state
from harness.typed import fits, shown

SAVE_EVERY = 1.0  # seconds, or more where a save takes longer than a twentieth of that
SAVE_SHARE = 20
REPORT_EVERY = 0.5  # seconds between two reports of progress
PROGRESS: dict[str, Any] = {  # what a snapshot says of how far its cohort is -> types
    **{"step": int, "started": str, "resumes": int},
    "seconds": Mapping[str, float],
}


class TimeLimitError(Exception):
    """A cohort has taken longer than its suite allows."""


@dataclass(slots=True)
class Clock:
    """How a cohort's time was spent, over all its attempts."""

    started: str
    resumes: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: {"train": 0.0, "eval": 0.0, "checkpoint": 0.0})
    last: float = field(default_factory=time.monotonic)

    def charge(self, work: str) -> None:
        """Book the time since the last call; probes count as evaluation."""
        now = time.monotonic()
        self.seconds["eval" if work == "probe" else work] += now - self.last
        self.last = now


def train_cohort(
    request: TrainRequest, *, stop: Callable[[], bool], ranks: DistContext = SINGLE_PROCESS
) -> Iterator[Progress | Finished | Stopped]:
    """Train the cohort and write its records, or save it when `stop` turns true; the last that comes is the outcome.

    Where several ranks train, all of them iterate over this, and the first one writes.
    """
    suite, trials, results_dir = _cached_suite(request.suite), request.cohort.models, ResultsDir(request.root)
    check_unchanged(suite, trials)
    dataset = _cached_dataset(request.suite, *dataset_key(trials[0]))
    device = device_of(trials[0], ranks)
    configure(trials[0], device)
    state = init_state(trials, dataset, device, suite.suite.functions, ranks)
    check_late_imports(suite)
    if suite.suite.save_models:
        state = keep_best(state)
    metadata = checkpoint_metadata(request, state, suite)
    start, clock, rejected = resume(state, results_dir, metadata)
    for reason in rejected:
        yield Progress(done=0.0, note=f"{reason}; not used")
    saved_at = reported_at = time.monotonic()
    yield Progress(done=start / state.steps)
    limit = None if request.limits.max_seconds is None else request.limits.max_seconds * len(trials)
    save_seconds, pauses = 0.0, {*state.eval_steps, *state.probe_steps}
    for event in train(state, start):
        step = event.step
        if event.kind != "train" or step in pauses:
            synchronise(device)  # what was started before is done, so that its time is booked where it belongs
        clock.charge(event.kind)
        if event.kind == "train" and inject("step") == "nan":
            _set_to_nan(event.active.state)
        if event.note:
            yield Progress(done=step / state.steps, note=event.note)
        is_due = clock.last - saved_at > max(SAVE_EVERY, SAVE_SHARE * save_seconds) and step < state.steps
        is_late = limit is not None and sum(clock.seconds.values()) > limit and step < state.steps
        is_first = ranks.rank == 0
        must_stop, must_save, must_end = ranks.all_reduce_any(stop(), is_due and is_first, is_late and is_first)
        if must_stop or must_save or must_end:
            scatter_into(state, event.active)
        if must_stop:
            _save(state, results_dir, metadata, step, clock)
            yield Stopped()
            return
        if must_end:
            _save(state, results_dir, metadata, step, clock)
            seconds = request.limits.max_seconds
            raise TimeLimitError(f"max_seconds={seconds:g} of the suite are over at step {step} of {state.steps}")
        if clock.last - reported_at > REPORT_EVERY:
            reported_at = clock.last
            yield Progress(done=step / state.steps, failed=_not_finite(state))
        if must_save:
            save_seconds = _save(state, results_dir, metadata, step, clock)
            saved_at = clock.last
    yield write_records(state, request, clock) if ranks.rank == 0 else Finished(failed=())


def write_records(state: TrainState, request: TrainRequest, clock: Clock) -> Finished:
    """Write the records of a cohort that has been trained to its end, and remove its snapshots."""
    suite, results_dir = _cached_suite(request.suite), ResultsDir(request.root)
    telemetry = {**_telemetry(state, clock), **request.telemetry, "attempts": request.attempt}
    records = [_record(outcome, telemetry) for outcome in outcomes(state)]
    if suite.suite.save_models:
        _write_models(results_dir, state, suite)
    _write_decision_boundaries(results_dir, state, suite)
    for record in records:
        write_record(results_dir, record)
    discard(results_dir.checkpoints, request.cohort.id)
    return Finished(failed=tuple(record.key for record in records if failure(record)))


def device_of(trial: Trial, ranks: DistContext) -> torch.device:
    """The device that a rank trains on: a GPU for each rank, as far as the machine has so many."""
    local = os.environ.get("LOCAL_RANK", None if ranks.world_size == 1 else ranks.rank)
    if local is None or not trial.device.startswith("cuda"):
        return torch.device(trial.device)
    return torch.device("cuda", int(local) % torch.cuda.device_count())


def checkpoint_metadata(request: TrainRequest, state: TrainState, suite: SuiteFile) -> dict[str, Any]:
    """What a snapshot must have in common with this attempt to be resumed from."""
    return {
        "cohort": request.cohort.id,
        "fingerprint": fingerprint(state.fail_step.device),
        "code": request.telemetry["code_hash"],
        "backend": state.ensemble.backend.name,
        "save_models": suite.suite.save_models,
    }


@lru_cache(maxsize=1)  # the modules of one suite are loaded at a time
def _cached_suite(path: Path) -> SuiteFile:
    return load_suite(path)


@lru_cache(maxsize=4)
def _cached_dataset(path: Path, name: str, settings: DataSettings) -> Dataset:
    return load_dataset(name, path.parent, _cached_suite(path).suite.functions, settings)


def resume(state: TrainState, results_dir: ResultsDir, metadata: Mapping[str, Any]) -> tuple[int, Clock, Sequence[str]]:
    """The step to go on from, the clock so far, and why newer snapshots are not used. Step 0 where none fits."""
    snapshot, rejected = checkpoint.newest(results_dir.checkpoints, metadata["cohort"], metadata)
    # On the device of the state: NCCL sends nothing that lies in main memory.
    step = torch.full_like(state.fail_step[0], snapshot.metadata["step"] if snapshot else 0)
    if len({int(step) for step in state.dist.gather(step)}) > 1:
        raise MachineError(
            f"ranks see different snapshots in {results_dir.checkpoints}: all need the same results folder"
        )
    if snapshot is None:
        return 0, Clock(started=_now()), rejected
    earlier = snapshot.metadata
    if fault := _fault_of_progress(snapshot, state):
        raise DamageError(
            f"the snapshot of cohort {metadata['cohort']} in {results_dir.checkpoints} {fault}; remove it"
        )
    restore(state, snapshot.tensors)
    clock = Clock(started=earlier["started"], resumes=earlier["resumes"] + 1, seconds=dict(earlier["seconds"]))
    return earlier["step"], clock, rejected


def _fault_of_progress(snapshot: Snapshot, state: TrainState) -> str | None:
    """What in a snapshot is not as training writes it, though its checksum holds: a stranger may have written it."""
    for name, hint in PROGRESS.items():
        if not fits(snapshot.metadata.get(name), hint):
            return f"has as its {name} {shown(snapshot.metadata.get(name))}"
    if snapshot.metadata["seconds"].keys() != Clock("").seconds.keys():
        return f"books its time as {shown(snapshot.metadata['seconds'])}"
    if not 0 <= snapshot.metadata["step"] <= state.steps:
        return f"is of step {snapshot.metadata['step']}, of {state.steps}"
    for name, tensor in state.tensors.items():
        saved = snapshot.tensors.get(name)
        if saved is None or saved.shape != tensor.shape or saved.dtype != tensor.dtype:
            return f"is of another model: {shown(name)} is missing or different in it"
    return None


def _save(state: TrainState, results_dir: ResultsDir, metadata: Mapping[str, Any], step: int, clock: Clock) -> float:
    """Write a snapshot; return the seconds that it took."""
    before = time.monotonic()
    facts = {**metadata, "step": step, "started": clock.started, "resumes": clock.resumes, "seconds": clock.seconds}
    tensors = gather_state(state)
    if state.dist.rank == 0:
        checkpoint.save(results_dir.checkpoints, metadata["cohort"], Snapshot(facts, tensors))
    clock.charge("checkpoint")
    return time.monotonic() - before


def _write_models(results_dir: ResultsDir, state: TrainState, suite: SuiteFile) -> None:
    """Write the weights of every trial; a file that is there already, undamaged, is never changed."""
    for trial, which, model in trained_models(state, suite.suite.functions):
        path = results_dir.model(trial.key, which)
        try:
            checkpoint.load(path)
        except (FileNotFoundError, DamageError):
            write_atomically(path, checkpoint.dump(model))


def _write_decision_boundaries(results_dir: ResultsDir, state: TrainState, suite: SuiteFile) -> None:
    """Write the decision boundaries of the suite's first seed: a report has room for one seed."""
    first = {grid.get("seed", (0,))[0] for grid in suite.suite.grids}
    if first.isdisjoint(trial.seed for trial in state.trials):
        return
    for trial, data in decision_boundaries(state, first):
        write_atomically(results_dir.plane(trial.key), data)


def _set_to_nan(state: TrainState) -> None:
    """Let the first model diverge, as a fault that is tried on purpose."""
    with torch.no_grad():
        for weight in state.ensemble.weights.values():
            weight[0].fill_(math.nan)


def _not_finite(state: TrainState) -> tuple[str, ...]:
    steps = state.fail_step.tolist()
    return tuple(trial.key for trial, step in zip(state.trials, steps, strict=True) if step >= 0)


def _record(outcome: Outcome, telemetry: Mapping[str, Any]) -> Record:
    trial = outcome.trial
    return Record(
        key=trial.key,
        trial=trial.content,
        outcome=TRAINED,
        facts=outcome.facts,
        curves=outcome.curves,
        telemetry=telemetry,
    )


def _telemetry(state: TrainState, clock: Clock) -> dict[str, Any]:
    """What the training of one trial cost: its share of the cohort's time."""
    models, seconds = len(state.trials), clock.seconds
    per_step = max(seconds["train"], 1e-9) / state.steps / models
    return {
        **{f"seconds_{work}": round(spent / models, 6) for work, spent in seconds.items()},
        "step_ms": round(per_step * 1000, 6),
        "samples_per_second": round(state.trials[0].batch_size / per_step, 1),
        "peak_memory_mb": _peak_memory_mb(state.fail_step.device),
        "cohort_size": models,
        "backend": state.ensemble.backend.name,
        "threads": torch.get_num_threads(),
        "resumes": clock.resumes,
        "started": clock.started,
        "finished": _now(),
    }


def _peak_memory_mb(device: torch.device) -> float:
    """The most memory that this process (on CUDA: its tensors) has used so far."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20, 1)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
