"""Probing: it changes nothing of what is learnt, it resumes to the bit, and it is charged as no training."""

from dataclasses import replace

import pytest
import torch

from harness import Suite
from harness.errors import SuiteError
from harness.probes import PROBES
from harness.training.checkpoint import Snapshot, load, newest, save
from harness.training.loop import train
from harness.training.results import outcomes
from harness.training.state import probe_steps_of
from tests.support.stopping import train_until
from tests.support.strategies import a_trial
from tests.training.test_loop import BASE, CPU, DIGITS, assert_bit_equal, finish, init_state, make_state

EVERY = "+".join(PROBES)
PROBED = replace(BASE, model="mlp-8x2", probes=EVERY, probe_every=3)


@pytest.mark.parametrize("backend", ["compiled", "stacked", "loop"])
@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
def test_probes_move_no_bit_of_what_is_learnt(request, norm, backend):
    if backend == "stacked":
        request.getfixturevalue("without_native_library")
    options = {
        "norm": norm,
        "momentum": 0.9,
        "norm_momentum": "cumulative",
        "max_cohort_size": 1 if backend == "loop" else None,
    }
    trials = [replace(PROBED, seed=seed, lr=lr, **options) for seed, lr in enumerate([0.1, 1e20, 0.2, 1e20, 1e30])]
    probed, without = make_state(trials), make_state([replace(t, probes="", probe_every=None) for t in trials])
    assert probed.ensemble.backend.name == without.ensemble.backend.name == backend
    rows = [[*train(state)][-1].active.rows for state in (probed, without)]
    assert rows[0] == rows[1]
    assert len(rows[0]) < len(trials), "most of them diverge, so that the others go on alone"
    for name, tensor in without.tensors.items():
        assert torch.equal(tensor.detach().nan_to_num(7e30), probed.tensors[name].detach().nan_to_num(7e30)), name


def test_a_model_that_draws_learns_the_same_when_it_is_probed():
    def net(norm, activation):
        nn = torch.nn
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), norm(8), activation(), nn.Dropout(0.3), nn.Linear(8, 10))

    trials = [replace(PROBED, model="net", norm="batch", seed=seed) for seed in range(3)]
    probed, without = (
        finish(init_state(some, DIGITS, CPU, {"net": net}))
        for some in (trials, [replace(trial, probes="", probe_every=None) for trial in trials])
    )
    for name, weight in without.ensemble.weights.items():
        assert torch.equal(weight, probed.ensemble.weights[name])


def test_probed_and_resumed_at_any_moment_equals_uninterrupted_to_the_bit(tmp_path):
    options = {"norm": "batch", "steps": 5, "probe_every": 2}
    trials = [replace(PROBED, seed=seed, lr=lr, **options) for seed, lr in enumerate([0.1, 1e20, 0.2, 1e20, 1e19])]
    whole = finish(make_state(trials))
    moments = sum(1 for _ in train(make_state(trials)))
    for moment in range(1, moments):
        stopped = make_state(trials)
        done = train_until(stopped, moment)
        save(tmp_path, "c", Snapshot({"step": done}, stopped.tensors))
        snapshot, _ = newest(tmp_path, "c", {})
        resumed = make_state(trials)
        resumed.restore(snapshot.tensors)
        assert_bit_equal(finish(resumed, snapshot.metadata["step"]), whole)
        for path in tmp_path.iterdir():
            assert load(path)
            path.unlink()


def test_probes_are_taken_at_their_own_cadence_or_with_every_evaluation():
    assert probe_steps_of(PROBED, 11) == (0, 3, 6, 9, 11)
    assert probe_steps_of(replace(PROBED, probe_every=None), 11) == (0, 4, 8, 11)
    assert probe_steps_of(BASE, 11) == ()
    (found,) = outcomes(finish(make_state([PROBED])))
    assert found.curves["probe.gradient_norm/3"]["step"] == [0, 3, 6, 9, 11]
    assert found.curves["val.loss"]["step"] == [0, 4, 8, 11]


def test_what_is_not_finite_is_missing():
    found = outcomes(finish(make_state([replace(PROBED, lr=1e20)])))[0].curves
    assert found["probe.gradient_norm/1"]["value"][0] > 0
    assert found["probe.gradient_norm/1"]["value"][-1] is None


def test_a_trial_without_probes_has_no_curves_of_them():
    state = finish(make_state([BASE]))
    assert not state.layers
    assert not [name for name in state.curves if name.startswith("probe.")]


@pytest.mark.parametrize("given", [["weights", "gradients"], "gradients+weights", ("gradients", "weights", "weights")])
def test_a_list_of_probes_is_no_axis(given):
    suite = Suite(dataset="digits", model="mlp-8", lr=[0.1, 0.3], batch_size=7, steps=5, probes=given)
    assert [trial.probes for trial in suite.trials()] == ["gradients+weights"] * 2


def test_probes_that_are_no_names_are_refused():
    with pytest.raises(SuiteError, match="got 3 in it"):
        Suite(dataset="digits", model="mlp-8", lr=0.1, batch_size=7, steps=5, probes=["gradients", 3])
    with pytest.raises(SuiteError, match="got 3 in it"):
        Suite(dataset="digits", model="mlp-8", lr=0.1, batch_size=7, steps=5, probes=3)
    with pytest.raises(SuiteError, match="probe_every=3 needs probes"):
        a_trial(probe_every=3)
