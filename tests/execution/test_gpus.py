"""Which worker sees which GPU, how many models one trains at once, and what the driver says: all without a GPU."""

import math
import os
import re
from argparse import Namespace
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.cli.run import _is_uncut, gpus_for, workers_for
from harness.errors import MachineError, SuiteError
from harness.execution import pool, sizes
from harness.execution import survey as surveying
from harness.execution.cuda import Built, judge
from harness.execution.gpus import VISIBLE, Gpu, ask_driver, least_used, names, parse
from harness.execution.local import ask
from harness.execution.messages import Failed, Inspect, Kind
from harness.execution.pool import Pool, Worker, pool_of
from harness.execution.sizes import fitting, pace_of, worthwhile
from harness.execution.worker import _pass_on, failed
from harness.training.program import prepare
from tests.training.test_loop import BASE, CPU, DIGITS


@pytest.mark.parametrize(
    ("device", "count", "visible", "expected"),
    [
        ("cuda", 3, None, ("0", "1", "2")),
        ("cuda:1", 3, None, ("1",)),
        ("cuda", 2, "5, 3", ("5", "3")),  # as a scheduler hands them out
        ("cuda:1", 2, "5,3", ("3",)),
        ("cuda", 1, "MIG-8f,GPU-77", ("MIG-8f",)),  # a process sees one part of a GPU that is cut
        ("cpu", 2, None, ()),
    ],
)
def test_each_gpu_has_the_name_by_which_a_process_sees_it_alone(device, count, visible, expected):
    assert names(device, count, {} if visible is None else {VISIBLE: visible}) == expected


@given(st.integers(1, 5), st.integers(1, 17), st.data())
def test_workers_get_the_gpus_in_turn_also_where_some_have_ended(gpus, workers, data):
    there = [str(i) for i in range(gpus)]
    taken = []
    for _ in range(workers):
        taken.append(least_used(there, taken))
    counts = [taken.count(gpu) for gpu in there]
    assert max(counts) - min(counts) <= 1
    gone = taken.pop(data.draw(st.integers(0, workers - 1)))
    assert taken.count(least_used(there, taken)) <= taken.count(gone)


def test_every_worker_is_told_the_one_gpu_that_it_sees(monkeypatch):
    started = []

    class Context:
        def Pipe(self):
            return SimpleNamespace(send=lambda job: None, close=lambda: None), SimpleNamespace(close=lambda: None)

        def Process(self, *, args, **_):
            started.append(args[1])
            return SimpleNamespace(start=lambda: None, kill=lambda: None, join=lambda: None)

    monkeypatch.setattr(pool.multiprocessing, "get_context", lambda kind: Context() if kind == "spawn" else None)
    with pool_of(5, ("0", "1")) as made:
        for job in range(5):
            made.give(job)
        assert started == ["0", "1", "0", "1", "0"]
        made._bury(made.workers[1])
        made.give(5)
        assert started[-1] == "1"


def test_a_worker_sees_its_gpu_before_it_loads_torch(monkeypatch):
    monkeypatch.setenv(VISIBLE, "as it was")
    monkeypatch.setattr("harness.execution.worker.serve", lambda pipe: seen.append(os.environ[VISIBLE]))
    seen = []
    pool._run(None, "1")
    pool._run(None, None)
    assert seen == ["1", "1"]


@pytest.mark.parametrize(
    ("asked", "workers", "gpus", "told", "count"),
    [
        ("auto", "auto", 2, ("0", "1"), 2),
        ("cuda", 6, 2, ("0", "1"), 6),
        ("cuda:1", "auto", 2, ("1",), 1),
        ("auto", "auto", 1, ("0",), 1),
    ],
)
def test_auto_is_one_worker_for_each_gpu(monkeypatch, asked, workers, gpus, told, count):
    monkeypatch.delenv(VISIBLE, raising=False)
    options = Namespace(device=asked, workers=workers)
    seen = SimpleNamespace(device="cuda", machine={"gpus": gpus})
    assert gpus_for(options, seen) == told
    assert workers_for(options, seen) == count
    assert gpus_for(options, SimpleNamespace(device="cpu", machine={})) == ()


def test_cohorts_are_measured_as_long_as_one_is_to_be_cut():
    todo = SimpleNamespace(trials=[BASE, replace(BASE, seed=1)])
    assert _is_uncut(todo, None)
    assert _is_uncut(todo, {"cohorts": [[BASE.key]]})
    assert not _is_uncut(todo, {"cohorts": [[BASE.key], [replace(BASE, seed=1).key, "another"]]})


@given(st.integers(1, 10**12), st.integers(1, 10**9))
def test_as_many_models_as_memory_has_room_for_and_at_least_one(free, each):
    found = fitting(free, each)
    assert 1 <= found <= sizes.MOST_ON_GPU
    assert found == 1 or found * each <= sizes.MEMORY_SHARE * free


@given(st.integers(1, sizes.MOST_ON_GPU), st.sampled_from([0.0, 10.0, 300.0, 1e9]))
def test_a_cohort_is_as_large_as_a_model_gains_from(most, launch):
    """A step costs a launch, whatever the cohort, and a microsecond for each model."""
    tried = []

    def pace(size):
        tried.append(size)
        return launch / size + 1

    found = worthwhile(most, pace)
    assert found in tried
    assert max(tried) <= most
    fastest = min(map(pace, list(tried)))
    assert pace(found) <= fastest * sizes.GAIN
    assert launch < 1e9 or found * sizes.GAIN >= most
    assert launch > 0 or found == min(sizes.FIRST_SIZE, most)


def test_a_size_that_fails_is_not_taken_and_the_first_is_left_to_training():
    assert worthwhile(4096, lambda size: math.inf if size > 256 else 1 / size) == 256
    assert worthwhile(4096, lambda size: math.inf) == sizes.FIRST_SIZE

    def full(some):
        raise torch.OutOfMemoryError(f"no room for {len(some)}")

    assert pace_of([BASE], full) == math.inf


def test_the_pace_is_that_of_steps_thrown_away():
    trials = [replace(BASE, seed=seed) for seed in range(3)]
    assert 0 < pace_of(trials, lambda some: prepare(some, DIGITS, CPU, {})) < 10


def test_a_worker_whose_gpu_is_past_use_does_no_other_job():
    lost = failed(torch.AcceleratorError("CUDA error: an illegal memory access was encountered"))
    full = failed(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"))
    assert (lost.outcome, lost.broken) == ("crashed", True)
    assert (full.outcome, full.broken) == ("oom", False)
    assert not failed(ValueError("bad")).broken
    ended = []

    def start(answer):
        process = SimpleNamespace(kill=lambda: ended.append(answer), join=lambda: None)
        return Worker(process, SimpleNamespace(send=lambda job: None, recv=lambda: answer, close=lambda: None))

    for answer, left in ((lost, 0), (full, 1)):
        made = Pool(1, lambda answer=answer: start(answer))
        made.give("job")
        assert isinstance(made._hear(made.workers[0]), Failed)
        assert len(made.workers) == left
    assert ended == [lost]


SAID = """NVIDIA L4, 580.95.05, 8.9, 23034, 22563, Disabled
NVIDIA A100-SXM4-40GB, 580.95.05, 8.0, 40960, 40100, Enabled
Quadro "K2000", old, 470.1, [N/A], 1998, [N/A], [N/A]
NVIDIA GeForce GTX 1080, 470.1, 6.1, 8119, 7000, [N/A]
"""


def test_what_the_driver_says_is_read_and_what_it_doesnt_know_is_missing():
    large = Gpu(name="NVIDIA L4", driver="580.95.05", capability=(8, 9), memory=23034, free=22563, mig=False)
    found = parse(SAID)
    assert found[0] == large
    assert found[1].mig
    assert found[-1] == replace(
        large, name="NVIDIA GeForce GTX 1080", driver="470.1", capability=(6, 1), memory=8119, free=7000
    )
    assert parse("") == parse("No devices were found\n") == []
    (unknown,) = parse("GPU, 1.0, [Not Supported], [N/A], [N/A], [N/A]")
    assert (unknown.capability, unknown.memory, unknown.free, unknown.mig) == (None, None, None, False)


def test_a_machine_without_a_driver_says_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ask_driver() is None
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'\nexit 9\n")
    program.chmod(0o755)
    assert ask_driver() is None


HERE = Built(cuda="13.0", targets=("sm_75", "sm_80", "sm_90"), devices=4, nccl="2.27.5")
NONE = replace(HERE, devices=0, targets=(), nccl=None)


@pytest.mark.parametrize(
    ("said", "built", "found", "remedy"),
    [
        ("", replace(NONE, cuda=None), "built without CUDA", ""),
        (SAID, replace(NONE, cuda=None), "built without CUDA", "install a torch that is built for CUDA"),
        ("", NONE, r"no device \(torch is built for CUDA 13.0\)", "install NVIDIA's driver"),
        (SAID, NONE, "sees no GPU; driver 580.95.05 has 3", "update the driver to one for CUDA 13.0"),
        (SAID, HERE, "^4 visible to torch, built for CUDA 13.0$", ""),
    ],
)
def test_doctor_says_what_is_missing_to_train_on_gpus(said, built, found, remedy):
    (what, state, cure), *_ = judge(parse(said), built)
    assert what == "cuda"
    assert re.search(found, state)
    assert (cure == "") == (remedy == "")
    assert remedy in cure


def test_doctor_lists_every_gpu_and_those_that_torch_has_no_kernels_for():
    found = {what: (state, remedy) for what, state, remedy in judge(parse(SAID), HERE)}
    assert found["gpu 0"] == (
        "NVIDIA L4, 22.0 of 22.5 GiB free, capability 8.9, driver 580.95.05", ""
    )  # fmt: skip
    assert "MIG" in found["gpu 1"][0]

    assert "sm_75, sm_80, sm_90 alone" in found["gpu 2"][1]
    assert found["nccl"] == ("2.27.5", "")
    assert "several GPUs need it" in {w: r for w, _, r in judge(parse(SAID), replace(HERE, nccl=None))}["nccl"]


@pytest.mark.parametrize(
    ("targets", "capability", "runs"),
    [
        (("sm_80",), (8, 6), True),
        (("sm_86",), (8, 0), False),
        (("sm_80",), (9, 0), False),
        (("sm_80", "compute_80"), (9, 0), True),
        (("sm_90a",), (9, 0), True),
        (("compute_120",), (9, 0), False),
        (("sm_120",), (12, 0), True),
    ],
)
def test_kernels_run_on_their_generation_and_compiled_ones_on_later(targets, capability, runs):
    gpu = replace(parse(SAID)[0], capability=capability)
    remedies = {what: remedy for what, _, remedy in judge([gpu], replace(HERE, targets=targets))}
    assert (remedies["gpu 0"] == "") == runs


def test_a_worker_from_the_ground_up_sees_what_it_was_told():
    with pool_of(1, ("none",)) as made:
        found = {what: state for what, state, _ in ask(made, Inspect(), lambda: False).findings}
    assert found["visible GPUs"] == "none"


def test_the_user_hears_of_what_is_not_deterministic_and_of_no_other_warning():
    heard = []
    pipe = SimpleNamespace(send=heard.append)
    _pass_on(
        pipe, UserWarning("max_pool2d does not have a deterministic implementation, but you turned it on. You can")
    )
    _pass_on(pipe, DeprecationWarning("this will go"), DeprecationWarning, "model.py", 3)
    (told,) = heard
    assert told.note == "max_pool2d does not have a deterministic implementation, but you turned it on"


@pytest.mark.parametrize(
    ("mode", "workers", "gpus", "share"), [("stacked", 1, 1, 1), ("chain", 5, 2, 3), ("alone", 1, 1, 0)]
)
def test_on_a_gpu_cohorts_follow_the_memory_that_is_free(monkeypatch, mode, workers, gpus, share):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (3 * 10**9, 8 * 10**9))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    stack = SimpleNamespace(mode=mode, weights={"a": torch.zeros(2, 500, dtype=torch.float64)})
    each = sizes.KEPT_TIMES * 10**6 + sizes.WEIGHTS_TIMES * 4000 + 8 * 987
    expected = fitting(3 * 10**9 // share, each) if share else 1
    assert surveying._at_once(stack, DIGITS, 10**6, "cuda", workers) == expected
    assert surveying._at_once(stack, DIGITS, 10**6, "cpu", workers) == sizes.on_cpu(10**6)


def test_the_survey_tries_sizes_with_the_trials_that_there_are(monkeypatch):
    tried = []

    def on_a_cpu(some, dataset, device, own):
        assert device.type == "cuda"
        tried.append(len(some))
        return prepare(some, dataset, CPU, own)

    monkeypatch.setattr(surveying, "prepare", on_a_cpu)
    monkeypatch.setattr(surveying, "make_ready", lambda trial, device: None)
    suite = SimpleNamespace(suite=SimpleNamespace(functions={}))
    trials = [replace(BASE, seed=seed) for seed in range(5)]
    for at_once, found in ((100, 5), (3, 3), (1, 1)):
        kind = Kind(at_once=at_once, work=1.0)
        assert surveying._worthwhile(trials, kind, suite, DIGITS) == found
    assert tried == [5, 3]
    asked = [replace(trial, together=2) for trial in trials]
    assert surveying._worthwhile(asked, Kind(at_once=2, work=1.0), suite, DIGITS) == 2


def test_a_trial_doesnt_say_which_gpu_it_trains_on(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert surveying.resolve_device("cuda:1") == surveying.resolve_device("cuda") == "cuda"
    with pytest.raises(SuiteError, match="write device='cuda' for 'cuda:1', and choose by --device"):
        surveying._check_settings(replace(BASE, device="cuda:1"))
    with pytest.raises(MachineError, match="it has 2 of cuda"):
        surveying.resolve_device("cuda:2")
