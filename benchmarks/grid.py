"""Trains a suite in a program of its own, and prints how long that took: `grid.py SUITE RESULTS CORES`.

Workers import the program that started them. The command line is light, pytest and the rivals are not.
"""

import sys
import time
from pathlib import Path


def main(path: Path, root: Path, cores: int) -> float:
    """Seconds from the first job to the last record, with a worker for each core."""
    from harness.execution.executors.scheduler import execute, request
    from harness.execution.messages import PreflightRequest, TrainRequest
    from harness.execution.pool import pool_of
    from harness.spec.cohorts import longest_first, make_cohorts
    from harness.spec.loader import load_suite

    with pool_of(cores) as pool:
        seen = request(pool, PreflightRequest(suite=path, device="cpu"), lambda: False)
        sizes = {of: kind.max_cohort_size for of, kind in seen.estimates.items()}
        cohorts = make_cohorts(list(load_suite(path).trials(device="cpu")), max_size=sizes)
        cohorts = longest_first(cohorts, {of: kind.work for of, kind in seen.estimates.items()})
        (root / "records").mkdir(parents=True)
        telemetry = {"code_hash": ""}
        requests = [TrainRequest(suite=path, cohort=cohort, root=root, telemetry=telemetry) for cohort in cohorts]
        started = time.perf_counter()
        for event in execute(pool, requests, lambda: False):
            assert not event.note, event.note
        return time.perf_counter() - started


if __name__ == "__main__":
    print(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
