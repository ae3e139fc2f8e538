"""Which worker sees which GPU, and what the driver says of them: all without a GPU."""

import os
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import MachineError, SuiteError
from harness.execution import pool, preflight
from harness.execution.executors.pool import PoolExecutor
from harness.execution.executors.scheduler import request
from harness.execution.gpus import VISIBLE, Gpu, ask_driver, least_used, parse_nvidia_smi, visible_names
from harness.execution.messages import InspectRequest
from harness.execution.pool import pool_of
from tests.training.test_loop import BASE


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
    assert visible_names(device, count, {} if visible is None else {VISIBLE: visible}) == expected


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
            return SimpleNamespace(pid=None, start=lambda: None, kill=lambda: None, join=lambda: None)

    monkeypatch.setattr(pool.multiprocessing, "get_context", lambda kind: Context() if kind == "spawn" else None)
    with pool_of(5, ("0", "1")) as made:
        for job in range(5):
            made.submit(job)
        assert started == ["0", "1", "0", "1", "0"]
        made._terminate(made.workers[1])
        made.submit(5)
        assert started[-1] == "1"


def test_a_worker_sees_its_gpu_before_it_loads_torch(monkeypatch):
    monkeypatch.setenv(VISIBLE, "as it was")
    monkeypatch.setattr("harness.execution.worker.serve", lambda pipe: seen.append(os.environ[VISIBLE]))
    monkeypatch.setattr(pool, "keep", lambda: None)  # it would fork this process
    seen = []
    pool._serve(None, "1", has_safe_path=True)
    pool._serve(None, None, has_safe_path=True)
    assert seen == ["1", "1"]


@pytest.mark.parametrize(
    ("asked", "workers", "gpus", "names", "count"),
    [
        ("auto", None, 2, ("0", "1"), 2),
        ("cuda", 6, 2, ("0", "1"), 6),
        ("cuda:1", None, 2, ("1",), 1),
        ("auto", None, 1, ("0",), 1),
    ],
)
def test_auto_is_one_worker_for_each_gpu(monkeypatch, asked, workers, gpus, names, count):
    monkeypatch.delenv(VISIBLE, raising=False)
    executor = PoolExecutor(workers=workers, device=asked, stop=lambda: False)
    result = SimpleNamespace(device="cuda", machine={"gpus": gpus})
    assert executor.gpus(result) == names
    assert executor.worker_count(result) == count
    assert executor.gpus(SimpleNamespace(device="cpu", machine={})) == ()


def test_a_worker_from_the_ground_up_sees_what_it_was_told():
    with pool_of(1, ("none",)) as made:
        found = {what: state for what, state, _ in request(made, InspectRequest(), lambda: False).findings}
    assert found["visible GPUs"] == "none"


def test_a_trial_doesnt_say_which_gpu_it_trains_on(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert preflight.resolve_device("cuda:1") == preflight.resolve_device("cuda") == "cuda"
    with pytest.raises(SuiteError, match="write device='cuda' for 'cuda:1', and choose by --device"):
        preflight.check_settings(replace(BASE, device="cuda:1"))
    with pytest.raises(MachineError, match=r"it has 2\); try"):
        preflight.resolve_device("cuda:2")


SAID = """NVIDIA L4, 580.95.05, 8.9, 23034, 22563, Disabled
NVIDIA A100-SXM4-40GB, 580.95.05, 8.0, 40960, 40100, Enabled
Quadro "K2000", old, 470.1, [N/A], 1998, [N/A], [N/A]
NVIDIA GeForce GTX 1080, 470.1, 6.1, 8119, 7000, [N/A]
"""


def test_what_the_driver_says_is_read_and_what_it_doesnt_know_is_missing():
    large = Gpu(name="NVIDIA L4", driver="580.95.05", capability=(8, 9), memory=23034, free=22563, mig=False)
    found = parse_nvidia_smi(SAID)
    assert found[0] == large
    assert found[1].mig
    assert found[-1] == replace(
        large, name="NVIDIA GeForce GTX 1080", driver="470.1", capability=(6, 1), memory=8119, free=7000
    )
    assert parse_nvidia_smi("") == parse_nvidia_smi("No devices were found\n") == []
    (unknown,) = parse_nvidia_smi("GPU, 1.0, [Not Supported], [N/A], [N/A], [N/A]")
    assert (unknown.capability, unknown.memory, unknown.free, unknown.mig) == (None, None, None, False)


def test_a_machine_without_a_driver_says_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ask_driver() is None
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'\nexit 9\n")
    program.chmod(0o755)
    assert ask_driver() is None
