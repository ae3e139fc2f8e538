"""Whatever torch allows in a module trains as in a plain loop, stops and goes on to the bit, leaves and comes back."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from harness.export.formats import export_as
from harness.export.load import load_model
from harness.export.model_card import check_saving, state_of, trained_models
from harness.io import write_atomically
from harness.spec.trial import Trial
from harness.training.best_checkpoint import keep_best
from harness.training.checkpoint import Snapshot, dump, load
from harness.training.loop import train
from harness.training.state import TrainState, init_state
from tests.support.alone import BASE, CPU, DATA, train_alone
from tests.support.odd_modules import BLOCKS, FACTORIES, KINDS, factory
from tests.support.stopping import train_until

EXAMPLES = int(os.environ.get("HARNESS_MODULES", "15"))  # random models that are tried
FORMS = ("state_dict", "checkpoint", "safetensors")
NEAR = {"rtol": 1e-9, "atol": 1e-11}
ODD = replace(
    BASE, norm="layer", momentum=0.9, weight_decay=0.1, max_grad_norm=1.0, precision="float64", init="default", steps=6
)


def state_for(trials: list[Trial], factories: dict) -> TrainState:
    return keep_best(init_state(trials, DATA, CPU, factories))


def trained(trials: list[Trial], factories: dict) -> TrainState:
    state = state_for(trials, factories)
    for _ in train(state):
        pass
    return state


def assert_goes_on_to_the_bit(trials: list[Trial], factories: dict, whole: TrainState, events: int, path: Path) -> None:
    stopped, resumed = state_for(trials, factories), state_for(trials, factories)
    done = train_until(stopped, events)
    write_atomically(path, dump(Snapshot({}, stopped.tensors)))
    resumed.restore(load(path).tensors)
    for _ in train(resumed, done):
        pass
    for name, tensor in whole.tensors.items():
        assert torch.equal(as_numbers(resumed.tensors[name]), as_numbers(tensor)), name


def as_numbers(tensor: Tensor) -> Tensor:
    """Tensors that are equal where those given are, NaN included."""
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor.detach().nan_to_num(nan=-77.0)


def assert_is_the_plain_model(trial: Trial, model: Snapshot, factories: dict, path: Path) -> None:
    """Its state_dict is that of a model that a plain loop has trained, so are its scores, in each of its forms."""
    plain, _ = train_alone(trial, DATA, factories)
    expected, actual = plain.state_dict(), state_of(model)
    assert list(actual) == list(expected)
    for name, value in expected.items():
        if isinstance(value, Tensor):
            torch.testing.assert_close(actual[name], value, **NEAR)
    x = torch.from_numpy(DATA.x["test"])
    with torch.no_grad():
        scores = plain.eval()(x)
        for form in FORMS:
            path.write_bytes(export_as(model, form, factories))
            loaded = load_model(path, factories=factories)
            torch.testing.assert_close(loaded(x), scores, **NEAR)
            assert_same_tensors(loaded, plain)


def assert_same_tensors(one: nn.Module, other: nn.Module) -> None:
    for kind in ("named_parameters", "named_buffers"):
        tensors, others = dict(getattr(one, kind)()), dict(getattr(other, kind)())
        assert list(tensors) == list(others)
        for name, tensor in others.items():
            torch.testing.assert_close(tensors[name], tensor, **NEAR)
            assert tensors[name].requires_grad == tensor.requires_grad


def assert_all(trials: list[Trial], factories: dict, folder: Path, events: int) -> None:
    check_saving(trials[0], DATA.input_shape, DATA.classes, factories)
    whole = trained(trials, factories)
    assert_goes_on_to_the_bit(trials, factories, whole, events, folder / "snapshot")
    for trial, which, model in trained_models(whole, factories):
        if which == "last":
            write_atomically(folder / "kept", dump(model))
            assert_is_the_plain_model(trial, load(folder / "kept"), factories, folder / "left")


@pytest.mark.parametrize("max_cohort_size", [None, 1], ids=["fastest", "loop"])
@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_what_a_plain_loop_makes_of_it(kind, max_cohort_size, tmp_path):
    seeds = range(3) if max_cohort_size is None else range(1)
    trials = [replace(ODD, model=kind, seed=seed, max_cohort_size=max_cohort_size) for seed in seeds]
    assert_all(trials, FACTORIES, tmp_path, events=5)


TRIALS = st.builds(
    lambda **changes: replace(ODD, model="any", **changes),
    norm=st.sampled_from(["layer", "batch", "none"]),
    momentum=st.sampled_from([0.0, 0.9]),
    weight_decay=st.sampled_from([0.0, 0.1]),
    max_grad_norm=st.sampled_from([None, 0.5]),
    max_cohort_size=st.sampled_from([None, 1]),
)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(blocks=st.lists(BLOCKS, max_size=6), wrapped=st.booleans(), trial=TRIALS, events=st.integers(1, 9))
def test_any_module_is_what_a_plain_loop_makes_of_it(tmp_path_factory, blocks, wrapped, trial, events):
    seeds = range(2) if trial.max_cohort_size is None else range(1)
    trials = [replace(trial, seed=seed) for seed in seeds]
    assert_all(trials, {"any": factory(blocks, wrapped)}, tmp_path_factory.mktemp("any"), events)
