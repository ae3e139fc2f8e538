"""How many models one worker trains at once: what memory has room for, and what a step gains from."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.ensemble.backends import BACKENDS
from harness.execution import cohort_size, preflight
from harness.execution.cohort_size import models_that_fit, step_time, tune_cohort_size
from harness.execution.messages import CohortEstimate
from harness.execution.run_plan import has_unassigned
from harness.training.state import init_state
from tests.training.test_loop import BASE, CPU, DIGITS


def test_cohorts_are_measured_as_long_as_one_is_to_be_cut():
    todo = SimpleNamespace(trials=[BASE, replace(BASE, seed=1)])
    assert has_unassigned(todo, None)
    assert has_unassigned(todo, SimpleNamespace(cohorts=[[BASE.key]]))
    assert not has_unassigned(todo, SimpleNamespace(cohorts=[[BASE.key], [replace(BASE, seed=1).key, "another"]]))


@given(st.integers(1, 10**12), st.integers(1, 10**9))
def test_as_many_models_as_memory_has_room_for_and_at_least_one(free, each):
    found = models_that_fit(free, each)
    assert 1 <= found <= cohort_size.MAX_ON_GPU
    assert found == 1 or found * each <= cohort_size.MEMORY_SHARE * free


@given(st.integers(1, cohort_size.MAX_ON_GPU), st.sampled_from([0.0, 10.0, 300.0, 1e9]))
def test_a_cohort_is_as_large_as_a_model_gains_from(most, launch):
    """A step costs a launch, whatever the cohort, and a microsecond for each model."""
    tried = []

    def pace(size):
        tried.append(size)
        return launch / size + 1

    found = tune_cohort_size(most, pace)
    assert found in tried
    assert max(tried) <= most
    fastest = min(map(pace, list(tried)))
    assert pace(found) <= fastest * cohort_size.MIN_SPEEDUP
    assert launch < 1e9 or found * cohort_size.MIN_SPEEDUP >= most
    assert launch > 0 or found == min(cohort_size.FIRST_SIZE, most)


def test_a_size_that_fails_is_not_taken_and_the_first_is_left_to_training():
    assert tune_cohort_size(4096, lambda size: math.inf if size > 256 else 1 / size) == 256
    assert tune_cohort_size(4096, lambda size: math.inf) == cohort_size.FIRST_SIZE

    def full(some):
        raise torch.OutOfMemoryError(f"no room for {len(some)}")

    assert step_time([BASE], full) == math.inf


def test_the_pace_is_that_of_steps_thrown_away():
    trials = [replace(BASE, seed=seed) for seed in range(3)]
    assert 0 < step_time(trials, lambda some: init_state(some, DIGITS, CPU, {})) < 10


@pytest.mark.parametrize(
    ("backend", "workers", "gpus", "share"), [("stacked", 1, 1, 1), ("vmap", 5, 2, 3), ("loop", 1, 1, 0)]
)
def test_on_a_gpu_cohorts_follow_the_memory_that_is_free(monkeypatch, backend, workers, gpus, share):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (3 * 10**9, 8 * 10**9))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    stack = SimpleNamespace(backend=BACKENDS[backend], weights={"a": torch.zeros(2, 500, dtype=torch.float64)})
    each = cohort_size.ACTIVATION_COPIES * 10**6 + cohort_size.WEIGHT_COPIES * 4000 + 8 * 987
    expected = models_that_fit(3 * 10**9 // share, each) if share else 1
    assert cohort_size.max_size_on_device(stack, DIGITS, 10**6, "cuda", workers) == expected


@pytest.mark.parametrize(("backend", "fewest"), [("stacked", 8), ("vmap", 8), ("loop", 1)])
def test_on_a_cpu_cohorts_follow_the_cache_but_what_one_call_runs_is_never_less_than_eight(
    monkeypatch, backend, fewest
):
    monkeypatch.setattr(cohort_size, "cache_bytes", lambda: 4 * 10**7)
    stack = SimpleNamespace(backend=BACKENDS[backend])
    sizes = [cohort_size.max_size_on_device(stack, DIGITS, kept, "cpu", 2) for kept in (10**4, 10**6, 10**8)]
    assert sizes == [64, 10, fewest]


def test_the_preflight_tries_sizes_with_the_trials_that_there_are(monkeypatch):
    tried = []

    def on_a_cpu(some, dataset, device, own):
        assert device.type == "cuda"
        tried.append(len(some))
        return init_state(some, dataset, CPU, own)

    monkeypatch.setattr(preflight, "init_state", on_a_cpu)
    monkeypatch.setattr(preflight, "configure", lambda trial, device: None)
    suite = SimpleNamespace(suite=SimpleNamespace(functions={}))
    trials = [replace(BASE, seed=seed) for seed in range(5)]
    for at_once, found in ((100, 5), (3, 3), (1, 1)):
        kind = CohortEstimate(max_cohort_size=at_once, work=1.0)
        assert preflight.tuned_size(trials, kind, suite, DIGITS) == found
    assert tried == [5, 3]
    asked = [replace(trial, max_cohort_size=2) for trial in trials]
    assert preflight.tuned_size(asked, CohortEstimate(max_cohort_size=2, work=1.0), suite, DIGITS) == 2
