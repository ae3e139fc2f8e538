"""How models compute: images by channels, compiled steps and TF32 change how fast they learn, not what."""

import json
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from harness.ensemble.backends import base
from harness.ensemble.compute_options import compiled
from harness.ensemble.device import check_compute_options, configure
from harness.errors import MachineError, SuiteError
from harness.nn.models import build
from harness.probes import PROBES
from harness.training.loop import train
from harness.training.state import init_state
from tests.training.test_loop import CPU, DIGITS, finish
from tests.training.test_options import SINGLE

IMAGES = replace(SINGLE, model="cnn-4-8", norm="batch", precision="float64", momentum=0.9, steps=5, eval_every=2)
LAST = {"memory_format": "channels_last"}


def trained(trials, own=None):
    return finish(init_state(trials, DIGITS, CPU, own or {}))


def assert_learns_the_same(found, expected):
    for name, tensor in expected.tensors.items():
        torch.testing.assert_close(found.tensors[name], tensor, rtol=1e-9, atol=1e-9, equal_nan=True, msg=name)


@pytest.mark.parametrize(("model", "models"), [("cnn-4-8", 3), ("cnn-4-8", 1), ("resnet-8x4", 2)])
@pytest.mark.parametrize("norm", ["batch", "group"])
def test_images_by_channels_are_learnt_from_alike(model, models, norm):
    lone = {"max_cohort_size": 1} if models == 1 else {}
    trials = [replace(IMAGES, model=model, norm=norm, norm_groups=2, seed=seed, **lone) for seed in range(models)]
    state = trained([replace(trial, **LAST) for trial in trials])
    assert state.ensemble.backend.name == ("loop" if lone else "stacked")
    assert_learns_the_same(state, trained(trials))
    kernels = [weight for weight in state.ensemble.weights.values() if weight.ndim == 5 and weight.shape[-1] > 1]
    assert kernels
    for weight in kernels:
        assert weight.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)


def test_convolutions_get_images_by_channels():
    state = init_state([replace(IMAGES, max_cohort_size=1, **LAST)], DIGITS, CPU, {})
    seen = []
    for layer in state.ensemble.module.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    state.ensemble(torch.randn(6, 1, 1, 8, 8, dtype=torch.float64), shared=False)
    assert len(seen) == 2
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in seen)


def test_where_most_have_diverged_the_others_stay_on_their_way():
    trials = [replace(IMAGES, seed=i, lr=lr, steps=9, **LAST) for i, lr in enumerate([1e200, 0.1, 1e200, 1e200, 0.2])]
    state = init_state(trials, DIGITS, CPU, {})
    *_, last = train(state)
    part = last.active.state
    assert last.active.rows == (1, 4)
    assert part.ensemble.options == state.ensemble.options
    assert part.ensemble.weights["0.weight"].flatten(0, 1).is_contiguous(memory_format=torch.channels_last)


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Conv2d(1, 10, 8)
        self.scale = nn.Parameter(torch.ones(10))

    def forward(self, x):
        return self.inner(x).flatten(1) * self.scale


def test_models_that_would_be_mapped_train_one_after_the_other_by_channels():
    trials = [replace(IMAGES, model="own", seed=seed) for seed in range(2)]
    plain, found = (trained(some, {"own": Own}) for some in (trials, [replace(t, **LAST) for t in trials]))
    assert (plain.ensemble.backend.name, found.ensemble.backend.name) == ("vmap", "loop")
    assert_learns_the_same(found, plain)


@pytest.mark.parametrize("backend", ["eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiled_steps_learn_the_same(backend):
    """Traced as for a compiler, then run by the kernels of torch; with a compiler it takes minutes."""
    words = [sys.executable, "-m", "tests.support.compiling", backend, "cpu"]
    done = subprocess.run(words, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    assert max(json.loads(done.stdout)) < 1e-9


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"memory_format": "channels_last", "model": "mlp-8"}, SuiteError, "'mlp-8' has none"),
        ({"compile": True, "norm_momentum": "cumulative"}, SuiteError, "would recompile in every step"),
        ({"tf32": True}, MachineError, "needs a CUDA device of capability 8.0 or more, got device 'cpu'"),
    ],
)
def test_what_a_model_or_its_device_can_t_do_is_refused_in_a_line(settings, error, said):
    trial = replace(IMAGES, **settings)
    with pytest.raises(error, match=said):
        check_compute_options(trial, build(trial, DIGITS.input_shape, 10, {}))


def test_what_was_compiled_before_does_not_show(monkeypatch):
    shapes = []

    def twice(x):
        return x * 2

    def backend(graph, examples):
        shapes.append(tuple(examples[0].shape))
        return graph.forward

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    for size in (*range(2, 14), 2, 13):
        compiled(twice)(torch.ones(size, 3))
    assert shapes == [(size, 3) for size in range(2, 14)]


@pytest.mark.parametrize("probe", PROBES)
def test_probes_look_at_models_as_they_are_where_these_are_compiled(monkeypatch, probe):
    def refuse(*_, **__):
        raise AssertionError("a probe has called what is compiled")

    monkeypatch.setattr(base, "compiled", lambda forward: refuse)
    state = init_state([replace(IMAGES, compile=True, probes=probe, seed=seed) for seed in range(2)], DIGITS, CPU, {})
    assert state.ensemble.backend.compiled is refuse
    assert next(train(state)).kind == "probe"


def test_a_machine_without_a_compiler_says_so_before_it_trains(monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("no C++ compiler\nwas found")

    monkeypatch.setattr(torch, "compile", refuse)
    trial = replace(IMAGES, compile=True)
    with pytest.raises(MachineError, match=r"doesn't work on this machine: no C\+\+ compiler was found; leave it out"):
        check_compute_options(trial, build(trial, DIGITS.input_shape, 10, {}))


@pytest.fixture
def _flags():
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = (matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark)
    yield
    matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark = before
    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = True


@pytest.mark.usefixtures("_flags")
def test_cuda_is_deterministic_and_rounds_to_tf32_where_a_trial_says_so_alone():
    for tf32 in (True, False):
        configure(replace(IMAGES, device="cuda", tf32=tf32), torch.device("cuda"))
        assert torch.backends.cuda.matmul.allow_tf32 == tf32
        assert torch.backends.cudnn.allow_tf32 == tf32
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.backends.cudnn.benchmark


def test_a_cpu_is_left_as_it_is():
    configure(IMAGES, CPU)
    assert not torch.are_deterministic_algorithms_enabled()
