"""The drill of `doctor`: a line for each way in which a run was interrupted."""

import shutil
import time
from pathlib import Path

import numpy as np

from harness.cli.streams import printable
from harness.errors import DamageError
from harness.execution.drill.drill import DrillResult, prepare_drill, run_drill, run_uninterrupted
from harness.fault_injection import count_operations


def print_drill(results: Path, executor: str, seed: int | None, rounds: int) -> int:
    """Interrupt a small suite in every way and print what came of it; the exit code is 4 where results did not last."""
    begun = time.monotonic()
    if seed is None:
        seed = int(np.random.default_rng().integers(10**6))
    print(f"seed {seed}: `python -m harness doctor --drill --drill-seed {seed}` draws the same moments", flush=True)
    drill = prepare_drill(results, executor)
    passed = failed = 0
    try:
        reference = run_uninterrupted(drill)
        counts = {place: count_operations(reference.counts, place) for place in ("storage", "step", "message")}
        done = f"{counts['storage']} changes of files, {counts['step']} steps, {counts['message']} messages"
        print(f"without interruption: {reference.seconds:.1f} s, {done}", flush=True)
        for result in run_drill(drill, reference, seed, rounds):
            passed, failed = passed + (not result.faults), failed + bool(result.faults)
            print(printable(_line(result)), flush=True)
    finally:
        if not failed:
            shutil.rmtree(drill.folder, ignore_errors=True)
    print(f"{passed} of {passed + failed} interruptions left the same tables, in {time.monotonic() - begun:.0f} s")
    if failed:
        print(printable(f"what the others left is in {drill.folder}"))
    return DamageError.exit_code if failed else 0


def _line(result: DrillResult) -> str:
    conclusion = "; ".join(result.faults) or "the same tables"
    return f"{result.way.name:37} {result.struck:16} {result.runs} runs  {conclusion}"
