"""Norms of a suite's own train as torch trains them: in cohorts, after a stop, on two ranks."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from harness.training.checkpoint import Snapshot, newest, save
from harness.training.loop import train
from harness.training.state import init_state
from tests.support.alone import BASE, CPU, DATA, assert_equals_alone, train_alone
from tests.support.images import small_images
from tests.support.own_norms import OWN_NORMS
from tests.support.rank_processes import learn
from tests.support.stopping import train_until

# What a norm keeps of its own would depend in its last bits on the models beside it: such models train in turn.
BACKENDS = {"SoftSign": "vmap", "RunningScale": "loop"}
CASES = [("mlp-12-8", "SoftSign"), ("cnn-4", "SoftSign"), ("vit-8x1", "SoftSign"), ("mlp-12-8", "RunningScale")]
of_each = pytest.mark.parametrize(("model", "norm"), CASES)


def cohort(model, norm, **changes):
    return [replace(BASE, model=model, norm=norm, seed=seed, lr=0.1 + seed / 50, **changes) for seed in range(3)]


def start(trials):
    data = small_images(45, 31, 7, dtype=trials[0].precision)
    return init_state(trials, data, CPU, OWN_NORMS)


def finished(state, done=0):
    for _ in train(state, done):
        pass
    return state


@of_each
def test_a_cohort_learns_what_each_model_learns_alone(model, norm):
    trials = cohort(model, norm, precision="float64", momentum=0.9)
    state = finished(start(trials))
    assert state.ensemble.backend.name == BACKENDS[norm]
    assert_equals_alone(state, trials, DATA, OWN_NORMS)


@of_each
def test_stopped_and_resumed_and_alone_no_bit_differs(model, norm, tmp_path):
    trials = cohort(model, norm, optimizer="adamw")
    whole, stopped, again = (start(trials) for _ in range(3))
    finished(whole)
    done = train_until(stopped, 5)
    save(Path(tmp_path), "c", Snapshot({"step": done}, stopped.tensors))
    snapshot, _ = newest(Path(tmp_path), "c", {})
    again.restore(snapshot.tensors)
    finished(again, done)
    alone = finished(start(trials[1:2]))
    for name, tensor in whole.tensors.items():
        assert torch.equal(again.tensors[name].nan_to_num(7e30), tensor.nan_to_num(7e30)), name
        one = tensor[:, 1:2] if name.startswith("curve/") or name == "loss_buffer" else tensor[1:2]
        assert torch.equal(alone.tensors[name].nan_to_num(7e30), one.nan_to_num(7e30)), name


def test_weight_decay_spares_all_parameters_of_a_norm_where_it_is_to_spare_norms():
    trials = cohort("mlp-12-8", "SoftSign", decay_norms=False)
    assert start(trials).norm_params == {f"{i}.{name}" for i in (2, 5) for name in ("slope", "weight", "bias")}


def test_two_ranks_learn_what_one_process_learns_and_go_on_to_the_bit_from_where_they_were_stopped(ranks):
    trial = replace(BASE, norm="SoftSign", world_size=2, batch_size=14, precision="float64")
    (whole, _), _ = ranks(2, learn, trial, "float64", None, None, 0)
    (stopped, _), _ = ranks(2, learn, trial, "float64", 5, None, 0)
    (again, _), _ = ranks(2, learn, trial, "float64", None, stopped, 5)
    assert again.keys() == whole.keys()
    assert all(torch.equal(again[name].nan_to_num(7e30), whole[name].nan_to_num(7e30)) for name in whole)
    data = small_images(300, 61, 37, apart=0.5)
    model, _ = train_alone(replace(trial, world_size=1), data, OWN_NORMS)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(whole[f"weight/{name}"][0], tensor, rtol=1e-7, atol=1e-9)
