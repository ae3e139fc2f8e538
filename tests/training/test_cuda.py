"""Training on a GPU: the same as on a CPU, alone as together, replayed as taken, resumed as uninterrupted."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from harness.ensemble.device import configure
from harness.training.checkpoint import Snapshot, dump, load
from harness.training.cuda_graphs import CAPTURES
from harness.training.results import outcomes
from harness.training.state import init_state
from tests.support.stopping import train_until
from tests.training.test_cuda_graphs import OPTIONS, Reading, cohort, finish_with_notes
from tests.training.test_loop import CPU, DIGITS, assert_bit_equal, finish
from tests.training.test_options import SINGLE

pytestmark = pytest.mark.cuda

GPU = torch.device("cuda")
NETS = [("mlp-8", "none"), ("mlp-8", "batch"), ("cnn-4-8", "batch"), ("cnn-4-8", "group"), ("resnet-8x4", "batch")]
WAYS = [{}, {"memory_format": "channels_last"}, {"precision": "bfloat16"}, {"tf32": True}]
FLAGS = (torch.backends.cuda.matmul, torch.backends.cudnn)


@pytest.fixture(autouse=True)
def _as_found():
    before = [flag.allow_tf32 for flag in FLAGS]
    yield
    for flag, allowed in zip(FLAGS, before, strict=True):
        flag.allow_tf32 = allowed
    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = True


def prepared(trials, device=GPU, factories=None):
    trials = [replace(trial, device=device.type) for trial in trials]
    configure(trials[0], device)
    return init_state(trials, DIGITS, device, factories or {})


def curves(state):
    return {name: curve.cpu() for name, curve in state.curves.items()}


def assert_close(found, expected, tolerance):
    for name, curve in expected.items():
        torch.testing.assert_close(found[name], curve, rtol=tolerance, atol=tolerance, equal_nan=True, msg=name)


def in_double(model, norm, models=3, **settings):
    trial = replace(SINGLE, model=model, norm=norm, norm_groups=2, precision="float64", steps=6, momentum=0.9)
    return [replace(trial, seed=seed, lr=0.05 + 0.1 * seed, **settings) for seed in range(models)]


@pytest.mark.parametrize(("model", "norm"), NETS)
def test_a_gpu_learns_what_a_cpu_learns(model, norm):
    trials = in_double(model, norm, augment="flip+crop", label_noise=0.1)
    found = finish(prepared(trials))
    assert found.fail_step.device.type == GPU.type
    assert_close(curves(found), curves(finish(prepared(trials, CPU))), 1e-9)


@pytest.mark.parametrize(("model", "norm"), NETS)
def test_together_models_learn_what_each_learns_alone(model, norm):
    trials = in_double(model, norm)
    together = curves(finish(prepared(trials)))
    for i, trial in enumerate(trials):
        alone = curves(finish(prepared([replace(trial, max_cohort_size=1)])))
        assert_close({name: curve[:, i : i + 1] for name, curve in together.items()}, alone, 1e-9)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_replayed_steps_equal_taken_ones_to_the_bit(monkeypatch, options):
    replayed, notes = finish_with_notes(prepared(cohort(**options)))
    assert notes == []

    def taken(work):
        result = work()

        def again():
            result.copy_(work())

        return again, result

    monkeypatch.setitem(CAPTURES, GPU.type, taken)
    assert_bit_equal(replayed, finish(prepared(cohort(**options))))


@pytest.mark.parametrize("options", [*OPTIONS, {"model": "cnn-4-8"}, {"model": "resnet-8x4"}], ids=str)
def test_resumed_equals_uninterrupted_to_the_bit(tmp_path, options):
    trials = cohort(**options)
    whole = finish(prepared(trials))
    assert_bit_equal(finish(prepared(trials)), whole)
    for moment in (2, 7, 12):
        stopped = prepared(trials)
        done = train_until(stopped, moment)
        (tmp_path / "snapshot").write_bytes(dump(Snapshot({"step": done}, stopped.tensors)))
        resumed = prepared(trials)
        resumed.restore(load(tmp_path / "snapshot").tensors)
        assert_bit_equal(finish(resumed, done), whole)


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_large_model_learns_on_any_way(way):
    trial = replace(SINGLE, model="resnet-8x16", norm="batch", max_cohort_size=1, steps=20, momentum=0.9)
    usual, found = (outcomes(finish(prepared([replace(trial, **told)])))[0] for told in ({}, way))
    losses = [outcome.curves["train.loss"]["value"][-1] for outcome in (usual, found)]
    assert losses[1] == pytest.approx(losses[0], abs=0.15)
    assert losses[1] < found.curves["train.loss"]["value"][0] - 0.5


def test_compiled_steps_learn_the_same():
    words = [sys.executable, "-m", "tests.support.compiling", "inductor", GPU.type]
    done = subprocess.run(words, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    assert max(json.loads(done.stdout)) < 1e-9


def test_single_precision_is_whole_unless_tf32_is_asked_for():
    a = torch.randn(512, 512, generator=torch.Generator().manual_seed(0))
    errors = {}
    for tf32 in (False, True):
        configure(replace(SINGLE, device="cuda", tf32=tf32), GPU)
        here = a.to(GPU)
        errors[tf32] = ((here @ here).cpu().double() - a.double() @ a.double()).abs().max().item()
    assert errors[False] < 1e-3
    assert errors[True] > 3 * errors[False] or torch.cuda.get_device_capability() < (8, 0)


def test_a_model_that_reads_the_device_is_trained_as_it_is_and_the_gpu_goes_on():
    trials = cohort(model="own")[::2]
    found, (note,) = finish_with_notes(prepared(trials, factories={"own": Reading}))
    assert "kernel by kernel" in note
    assert_close(curves(found), curves(finish(prepared(trials, CPU, factories={"own": Reading}))), 1e-3)
    assert finish_with_notes(prepared(cohort()))[1] == []


def test_thousands_of_models_train_as_one_program():
    trials = [replace(SINGLE, model="mlp-8", norm="batch", seed=i % 7, lr=0.1 + i / 1e4, steps=8) for i in range(2000)]
    state = finish(prepared(trials))
    assert state.ensemble.size == 2000
    assert state.curves["train.loss"][-1].isfinite().all()
    torch.testing.assert_close(state.curves["train.loss"][0, 0], state.curves["train.loss"][0, 7])
