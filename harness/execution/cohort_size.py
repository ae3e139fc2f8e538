"""How many models train at once: as many as the cache of a CPU holds, or as a GPU has memory for and gains from."""

import math
import re
import time
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from statistics import median

import torch

from harness.ensemble.device import synchronise
from harness.spec.cohorts import MAX_COHORT
from harness.spec.trial import Trial
from harness.training.loop import train
from harness.training.state import TrainState

DEFAULT_CACHE_BYTES = 2**25  # bytes
CACHE_SHARE = 4  # a cohort has this part of it: what is kept is written and read again, with as much besides
MAX_ON_GPU = 4096  # models
FIRST_SIZE, GROWTH = 64, 4  # sizes that are tried on a GPU
MEMORY_SHARE = 0.6  # of what is free; the rest is for libraries, fragments and evaluations
KEPT_TIMES, WEIGHTS_TIMES = 3, 7  # gradients of what is kept; of weights: gradients, slots, and copies while recording
GAIN = 1.05  # a cohort that is larger trains a model at least this much faster, or it isn't worth its memory
TIMED = 12  # pieces of training, evaluations among them


def max_cohort_on_cpu(kept: int) -> int:
    """How many models fit the cache, each keeping so many bytes for the backward pass."""
    return max(1, min(MAX_COHORT, cache_bytes() // CACHE_SHARE // kept))


def max_cohort_on_gpu(kept: int, weights: int, examples: int, processes: int) -> int:
    """How many fit the free memory of the current GPU, which so many processes share.

    Each keeps so many bytes for the backward pass, and has so many of weights, and an order of its training examples.
    """
    free, _ = torch.cuda.mem_get_info()
    return fitting(free // processes, KEPT_TIMES * kept + WEIGHTS_TIMES * weights + 8 * examples)


def fitting(free: int, each: int) -> int:
    """How many models fit into memory that is free, each in need of so many bytes."""
    return max(1, min(MAX_ON_GPU, int(MEMORY_SHARE * free) // each))


def tune_cohort_size(max_size: int, step_time: Callable[[int], float]) -> int:
    """The smallest size up to `most` from which a larger one gains nothing; `pace` is how long a model's step takes."""
    best = min(FIRST_SIZE, max_size)
    fastest = step_time(best)
    while best < max_size:
        size = min(GROWTH * best, max_size)
        seconds = step_time(size)
        if math.isinf(seconds) or seconds * GAIN > fastest:
            break
        best, fastest = size, seconds
    return best


def step_time(trials: Sequence[Trial], prepared: Callable[[Sequence[Trial]], TrainState]) -> float:
    """Seconds of one model's step where these trials train together, by a few steps, which are thrown away.

    Infinite where they can't, for want of memory or of anything else: training will tell whose fault it is.
    """
    try:
        steps = [seconds for seconds, work in timed(prepared(trials), TIMED) if work == "train"]
    except Exception:  # noqa: BLE001 (a model of a suite's own may raise anything)
        return math.inf
    return median(steps[1:] or steps) / len(trials)


def timed(program: TrainState, pieces: int) -> Iterable[tuple[float, str]]:
    """The first pieces of training, and how many seconds each took."""
    device, last = program.fail_step.device, time.perf_counter()
    for event in islice(train(program), pieces):
        synchronise(device)
        now = time.perf_counter()
        yield now - last, event.kind
        last = now


@cache
def cache_bytes() -> int:
    """The size of the processor's largest cache, where the system tells; else what is usual."""
    sizes = [path.read_text().strip() for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")]
    return max((int(size[:-1]) * 2**10 for size in sizes if re.fullmatch(r"\d+K", size)), default=DEFAULT_CACHE_BYTES)
