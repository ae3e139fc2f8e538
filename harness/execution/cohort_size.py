"""How many models train at once: as many as the cache of a CPU holds, or as a GPU has memory for and gains from."""

import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from statistics import median

import torch

from harness.data.datasets import Dataset
from harness.ensemble.device import synchronise
from harness.ensemble.ensemble import Ensemble
from harness.errors import NO_ERRORS
from harness.spec.cohorts import MAX_COHORT
from harness.spec.trial import Trial
from harness.training.loop import train
from harness.training.state import TrainState

DEFAULT_CACHE_BYTES = 2**25
CACHE_SHARE = 4  # a cohort has this part of the cache: what it keeps is written and read again, with as much besides
MIN_TOGETHER = 8  # models that one call runs: with fewer, what each call costs outweighs what a cache would save
MAX_ON_GPU = 4096  # models
FIRST_SIZE, GROWTH = 64, 4  # sizes that are tried on a GPU
MEMORY_SHARE = 0.6  # of what is free; the rest is for libraries, fragmentation and evaluations
ACTIVATION_COPIES, WEIGHT_COPIES = 3, 7  # with gradients, optimizer state, and copies while CUDA graphs are captured
MIN_SPEEDUP = 1.05  # of a model's step in a larger cohort; with less it isn't worth its memory
TIMED_PIECES = 12  # of training, evaluations among them


def max_size_on_device(ensemble: Ensemble, dataset: Dataset, kept: int, device: str, workers: int) -> int:
    """How many models of this shape may train together on a device that so many workers use."""
    if ensemble.backend.name == "compiled":  # it has the activations of one model at a time
        return MAX_COHORT
    in_turn = ensemble.backend.runs_in_turn
    if device != "cuda":
        return max_cohort_on_cpu(kept) if in_turn else max(MIN_TOGETHER, max_cohort_on_cpu(kept))
    if in_turn:
        return 1
    weights = sum(weight[0].nbytes for weight in ensemble.weights.values())
    return max_cohort_on_gpu(kept, weights, dataset.size("train"), -(-workers // torch.cuda.device_count()))


def max_cohort_on_cpu(kept: int) -> int:
    """How many models fit the cache, each keeping so many bytes for the backward pass."""
    return max(1, min(MAX_COHORT, cache_bytes() // CACHE_SHARE // kept))


def max_cohort_on_gpu(kept: int, weights: int, examples: int, processes: int) -> int:
    """How many fit the free memory of the current GPU, which so many processes share.

    Each keeps so many bytes for the backward pass, and has so many of weights, and an order of its training examples.
    """
    free, _ = torch.cuda.mem_get_info()
    return models_that_fit(free // processes, ACTIVATION_COPIES * kept + WEIGHT_COPIES * weights + 8 * examples)


def models_that_fit(free: int, bytes_per_model: int) -> int:
    """How many models fit into so many free bytes of memory."""
    return max(1, min(MAX_ON_GPU, int(MEMORY_SHARE * free) // bytes_per_model))


def tune_cohort_size(max_size: int, step_time: Callable[[int], float]) -> int:
    """The smallest size up to `max_size` from which a larger one gains nothing; `step_time` is that of one model."""
    best = min(FIRST_SIZE, max_size)
    fastest = step_time(best)
    while best < max_size:
        size = min(GROWTH * best, max_size)
        seconds = step_time(size)
        if math.isinf(seconds) or seconds * MIN_SPEEDUP > fastest:
            break
        best, fastest = size, seconds
    return best


def step_time(trials: Sequence[Trial], init: Callable[[Sequence[Trial]], TrainState]) -> float:
    """Seconds of one model's step where these trials train together, measured on a few steps, which are thrown away.

    Infinite where they can't, for want of memory or of anything else: training will say which trial is at fault.
    """
    try:
        steps = [seconds for seconds, work in timed(init(trials), TIMED_PIECES) if work == "train"]
    except NO_ERRORS:
        raise
    except BaseException:  # noqa: BLE001 (a model of a suite's own may raise anything)
        return math.inf
    return median(steps[1:] or steps) / len(trials)


def timed(state: TrainState, pieces: int) -> Iterator[tuple[float, str]]:
    """The first pieces of training, and how many seconds each took; of updates, each of them."""
    device, last, step = state.fail_step.device, time.perf_counter(), 0
    for event in islice(train(state), pieces):
        synchronise(device)
        now = time.perf_counter()
        yield (now - last) / max(1, event.step - step), event.kind
        last, step = now, event.step


@cache
def cache_bytes() -> int:
    """The size of the processor's largest cache where the system tells it, else a usual size."""
    sizes = [path.read_text().strip() for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")]
    return max((int(size[:-1]) * 2**10 for size in sizes if re.fullmatch(r"\d+K", size)), default=DEFAULT_CACHE_BYTES)
