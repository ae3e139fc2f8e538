"""What a drill says: a line for each way in which a run was interrupted."""

import shutil
import time
from collections.abc import Generator
from pathlib import Path

import numpy as np

from harness.errors import DamageError
from harness.execution.drill.drill import DrillResult, prepare_drill, run_drill, run_uninterrupted
from harness.fault_injection import count_operations


def drill_lines(results: Path, executor: str, seed: int | None, rounds: int) -> Generator[str, None, int]:
    """Interrupt a small suite in every way and say what came of it; the exit code, 4 where results did not last."""
    begun = time.monotonic()
    if seed is None:
        seed = int(np.random.default_rng().integers(10**6))
    yield f"seed {seed}: `python -m harness doctor --drill --drill-seed {seed}` draws the same moments"
    drill = prepare_drill(results, executor)
    passed = failed = 0
    try:
        reference = run_uninterrupted(drill)
        counts = {place: count_operations(reference.counts, place) for place in ("storage", "step", "message")}
        done = f"{counts['storage']} changes of files, {counts['step']} steps, {counts['message']} messages"
        yield f"without interruption: {reference.seconds:.1f} s, {done}"
        for result in run_drill(drill, reference, seed, rounds):
            passed, failed = passed + (not result.faults), failed + bool(result.faults)
            yield _line(result)
    finally:
        if not failed:
            shutil.rmtree(drill.folder, ignore_errors=True)
    yield f"{passed} of {passed + failed} interruptions left the same tables, in {time.monotonic() - begun:.0f} s"
    if failed:
        yield f"what the others left is in {drill.folder}"
    return DamageError.exit_code if failed else 0


def _line(result: DrillResult) -> str:
    conclusion = "; ".join(result.faults) or "the same tables"
    return f"{result.way.name:37} {result.struck:16} {result.runs} runs  {conclusion}"
