"""One cohort from its last snapshot to its records."""

import os
import resource
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from harness.data.datasets import Dataset, load_dataset
from harness.ensemble.device import configure, synchronise
from harness.ensemble.distributed import SINGLE_PROCESS, DistContext
from harness.errors import DamageError, MachineError
from harness.execution.messages import Finished, Progress, Stopped, TrainRequest
from harness.execution.preflight import fingerprint
from harness.export.model_card import trained_models
from harness.io import write_atomically
from harness.spec.loader import SuiteFile, load_suite
from harness.spec.trial import Trial
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

SAVE_EVERY = 1.0  # seconds, or more where a save takes longer than a twentieth of that
SAVE_SHARE = 20
TELL_EVERY = 0.5  # seconds


@dataclass(slots=True)
class Clock:
    """Where the time of a cohort went, over all its attempts."""

    started: str
    resumes: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: {"train": 0.0, "eval": 0.0, "checkpoint": 0.0})
    last: float = field(default_factory=time.monotonic)

    def charge(self, work: str) -> None:
        """Book the time since the last call; measuring is no training, whatever is measured."""
        now = time.monotonic()
        self.seconds["eval" if work == "probe" else work] += now - self.last
        self.last = now


def train_cohort(
    job: TrainRequest,
    *,
    tell: Callable[[Progress], None],
    stop: Callable[[], bool],
    ranks: DistContext = SINGLE_PROCESS,
) -> Finished | Stopped:
    """Train the cohort to its end and write its records, or save it where it is when told to stop.

    Where several ranks train, all of them call this, and the first one writes.
    """
    suite, trials, place = _suite(job.suite), job.cohort.trials, ResultsDir(job.root)
    dataset = _dataset(job.suite, trials[0].dataset)
    device = device_of(trials[0], ranks)
    configure(trials[0], device)
    program = init_state(trials, dataset, device, suite.suite.functions, ranks)
    if suite.suite.save_models:
        program = keep_best(program)
    about = checkpoint_metadata(job, program, suite)
    start, clock = _resume(program, place, about, tell)
    saved = told = time.monotonic()
    saving, pauses = 0.0, {*program.eval_steps, *program.probe_steps}
    for event in train(program, start):
        done = event.step
        if event.kind != "train" or done in pauses:
            synchronise(device)  # what was started before is done, so that its time is booked where it belongs
        clock.charge(event.kind)
        if event.note:
            tell(Progress(done=done / program.steps, note=event.note))
        due = clock.last - saved > max(SAVE_EVERY, SAVE_SHARE * saving) and done < program.steps and ranks.rank == 0
        halt, save = ranks.all_reduce_any(stop(), due)
        if halt or save:
            scatter_into(program, event.active)
        if halt:
            _save(program, place, about, done, clock)
            return Stopped()
        if clock.last - told > TELL_EVERY:
            told = clock.last
            tell(Progress(done=done / program.steps, failed=_not_finite(program)))
        if save:
            saving = _save(program, place, about, done, clock)
            saved = clock.last
    return write_records(program, job, clock) if ranks.rank == 0 else Finished(failed=())


def write_records(program: TrainState, job: TrainRequest, clock: Clock) -> Finished:
    """Write what is known of a cohort that has been trained to its end; its snapshots are of no use then."""
    suite, place = _suite(job.suite), ResultsDir(job.root)
    telemetry = {**_telemetry(program, clock), **job.telemetry, "attempts": job.attempt}
    records = [_record(outcome, telemetry) for outcome in outcomes(program)]
    if suite.suite.save_models:
        _write_models(place, program, suite)
    _write_decision_boundaries(place, program, suite)
    for record in records:
        write_record(place, record)
    checkpoint.discard(place.checkpoints, job.cohort.id)
    return Finished(failed=tuple(record.key for record in records if failure(record)))


def device_of(trial: Trial, ranks: DistContext) -> torch.device:
    """Where a rank trains: on a GPU of its own, as far as the machine has so many."""
    local = os.environ.get("LOCAL_RANK", None if ranks.world_size == 1 else ranks.rank)
    if local is None or not trial.device.startswith("cuda"):
        return torch.device(trial.device)
    return torch.device("cuda", int(local) % torch.cuda.device_count())


def checkpoint_metadata(job: TrainRequest, program: TrainState, suite: SuiteFile) -> dict[str, Any]:
    """What a snapshot must have in common with this attempt to be gone on from."""
    return {
        "cohort": job.cohort.id,
        "fingerprint": fingerprint(program.fail_step.device),
        "code": job.telemetry["code_hash"],
        "mode": program.ensemble.backend,
        "save_models": suite.suite.save_models,
    }


@lru_cache(maxsize=4)
def _suite(path: Path) -> SuiteFile:
    return load_suite(path)


@lru_cache(maxsize=4)
def _dataset(path: Path, name: str) -> Dataset:
    return load_dataset(name, path.parent, _suite(path).suite.functions)


def _resume(
    program: TrainState, results_dir: ResultsDir, metadata: Mapping[str, Any], tell: Callable[[Progress], None]
) -> tuple[int, Clock]:
    """The step to go on from: that of the newest whole snapshot written under the same conditions, else 0."""
    snapshot, refused = checkpoint.newest(results_dir.checkpoints, metadata["cohort"], metadata)
    # On the program's device: what ranks tell each other through NCCL can't lie in main memory.
    step = torch.full_like(program.fail_step[0], snapshot.metadata["step"] if snapshot else 0)
    steps = {int(step) for step in program.dist.gather(step)}
    if len(steps) > 1:
        raise MachineError(
            f"ranks see different snapshots in {results_dir.checkpoints}: all need the same results folder"
        )
    for reason in refused:
        tell(Progress(done=0.0, note=f"{reason}; not used"))
    if snapshot is None:
        return 0, Clock(started=_now())
    restore(program, snapshot.tensors)
    kept = snapshot.metadata
    return kept["step"], Clock(started=kept["started"], resumes=kept["resumes"] + 1, seconds=dict(kept["seconds"]))


def _save(program: TrainState, results_dir: ResultsDir, metadata: Mapping[str, Any], done: int, clock: Clock) -> float:
    """Write a snapshot; return the seconds that it took."""
    before = time.monotonic()
    facts = {**metadata, "step": done, "started": clock.started, "resumes": clock.resumes, "seconds": clock.seconds}
    tensors = gather_state(program)
    if program.dist.rank == 0:
        checkpoint.save(results_dir.checkpoints, metadata["cohort"], Snapshot(facts, tensors))
    clock.charge("checkpoint")
    return time.monotonic() - before


def _write_models(results_dir: ResultsDir, program: TrainState, suite: SuiteFile) -> None:
    """Write the weights of every trial; what stands there already, and whole, is never changed."""
    for trial, which, model in trained_models(program, suite.suite.functions):
        path = results_dir.model(trial.key, which)
        try:
            checkpoint.load(path)
        except (FileNotFoundError, DamageError):
            write_atomically(path, checkpoint.dump(model))


def _write_decision_boundaries(results_dir: ResultsDir, program: TrainState, suite: SuiteFile) -> None:
    """Write what the models of the suite's first seed say of the plane: a report has room for one seed."""
    first = {grid.get("seed", (0,))[0] for grid in suite.suite.grids}
    if first.isdisjoint(trial.seed for trial in program.trials):
        return
    for trial, data in decision_boundaries(program):
        if trial.seed in first:
            write_atomically(results_dir.plane(trial.key), data)


def _not_finite(program: TrainState) -> tuple[str, ...]:
    steps = program.fail_step.tolist()
    return tuple(trial.key for trial, step in zip(program.trials, steps, strict=False) if step >= 0)


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


def _telemetry(program: TrainState, clock: Clock) -> dict[str, Any]:
    """What the training of one trial cost: its share of the cohort's time."""
    models, seconds = len(program.trials), clock.seconds
    per_step = max(seconds["train"], 1e-9) / program.steps / models
    return {
        **{f"seconds_{work}": round(spent / models, 6) for work, spent in seconds.items()},
        "step_ms": round(per_step * 1000, 6),
        "samples_per_second": round(program.trials[0].batch_size / per_step, 1),
        "peak_memory_mb": _peak_memory_mb(program.fail_step.device),
        "cohort_size": models,
        "mode": program.ensemble.backend,
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
