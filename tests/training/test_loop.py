"""The loop: resumed equals uninterrupted at every step, and what is recorded is what happened."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from harness.data.datasets import load_dataset
from harness.nn.norms import NORMS
from harness.spec.trial import Trial
from harness.training.checkpoint import Snapshot, load, newest, save
from harness.training.loop import train
from harness.training.pruning import surviving_rows
from harness.training.results import outcomes
from harness.training.state import eval_steps_of, init_state
from tests.support.alone import assert_means_of_batches, train_alone
from tests.support.pairs import fits
from tests.support.stopping import train_until

CPU = torch.device("cpu")
DIGITS = load_dataset("digits", Path(), {})
BASE = Trial(
    dataset="digits", model="mlp-8", lr=0.1, batch_size=300, steps=11, eval_every=4, norm_groups=4, device="cpu"
)


def make_state(trials):
    return init_state(trials, DIGITS, CPU, {})


def finish(state, done=0):
    for _ in train(state, done):
        pass
    return state


def assert_bit_equal(one, two):
    for name, tensor in one.tensors.items():
        assert torch.equal(tensor.detach().nan_to_num(7e30), two.tensors[name].detach().nan_to_num(7e30)), name


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("norm", ["none", "batch", "group"])
def test_resumed_at_any_moment_equals_uninterrupted_to_the_bit(tmp_path, norm, optimizer):
    options = {"norm": norm, "optimizer": optimizer, "momentum": 0.9 * (optimizer == "sgd"), "schedule": "cosine"}
    lrs = [0.1, 1e20, 0.2, 1e20, 1e19]  # most of them diverge, so that the others go on alone
    trials = [replace(BASE, seed=seed, lr=lr, **options) for seed, lr in enumerate(lrs)]
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


def test_the_same_thing_twice_gives_the_same_bits():
    trials = [replace(BASE, norm="batch", seed=seed) for seed in (3, 4, 5)]
    assert_bit_equal(finish(make_state(trials)), finish(make_state(trials)))


def test_curves_have_a_point_at_the_start_at_the_cadence_and_at_the_end():
    (found,) = outcomes(finish(make_state([BASE])))
    assert found.curves["val.loss"]["step"] == found.curves["test.accuracy"]["step"] == [0, 4, 8, 11]
    assert found.curves["train.loss"]["step"] == [0, 11]
    assert found.curves["batch.loss"]["step"] == [4, 8, 11]
    assert eval_steps_of(replace(BASE, eval_every=None, steps=400), 400) == tuple(range(0, 401, 20))


def test_a_spike_of_the_loss_is_forgotten_at_the_next_evaluation():
    trial = replace(BASE, norm="none", lr=1e14, precision="float64")
    (found,) = outcomes(finish(make_state([trial])))
    losses = train_alone(trial, DIGITS)[1]
    assert losses[1] > 1e10 * max(losses[4:])
    assert_means_of_batches(found.curves["batch.loss"], losses)


def test_epochs_are_counted_in_full_batches():
    trial = replace(BASE, steps=None, epochs=2)
    (found,) = outcomes(finish(make_state([trial])))
    assert (found.facts["steps_per_epoch"], found.facts["steps"]) == (987 // 300, 2 * (987 // 300))


def test_facts_say_what_was_trained():
    (found,) = outcomes(finish(make_state([replace(BASE, norm="batch")])))
    assert found.facts["norm_batch"] == 300
    assert found.facts["parameters"] == 64 * 8 + 8 + 8 + 8 + 8 * 10 + 10
    assert (found.facts["train_examples"], found.facts["test_examples"], found.facts["classes"]) == (987, 540, 10)
    assert found.facts["guess_loss"] == pytest.approx(2.302, abs=0.002)


def test_every_norm_trains_a_cnn():
    for norm in filter(lambda norm: fits(norm, "cnn"), NORMS):
        trial = replace(BASE, model="cnn-8-8", norm=norm, lr=0.1, steps=30, optimizer="sgd", momentum=0.9)
        (found,) = outcomes(finish(make_state([trial])))
        losses = found.curves["train.loss"]["value"]
        assert losses[-1] < losses[0], norm


def test_where_most_have_diverged_the_others_go_on_as_a_smaller_stack_and_learn_the_same():
    trials = [replace(BASE, seed=seed, lr=lr, steps=16) for seed, lr in enumerate([1e20, 0.1, 1e20, 1e20, 0.2, 1e20])]
    state = make_state(trials)
    *_, last = train(state)
    together = outcomes(state)
    assert (last.active.rows, last.active.state.ensemble.size) == ((1, 4), 2)
    apart = outcomes(finish(make_state([trials[1], trials[4]])))
    for ours, theirs in zip((together[1], together[4]), apart, strict=True):
        assert ours.facts == theirs.facts
        for name, curve in theirs.curves.items():
            assert ours.curves[name]["step"] == curve["step"]
            assert ours.curves[name]["value"] == pytest.approx(curve["value"], rel=1e-5)
    for dead in (0, 2, 3, 5):
        assert together[dead].facts["fail_step"] > 0
        assert together[dead].curves["test.loss"]["value"][-1] is None


@pytest.mark.parametrize(
    ("fail_steps", "expected"),
    [
        ([-1, -1, -1, 3], [0, 1, 2, 3]),
        ([3, -1, 3, -1], [1, 3]),
        ([3, 3, 3, 3], [0]),  # a cohort has a model
        ([9, 3, 9, 9, 3, 3, 3, -1], [7]),  # first to four at mark 4, then to one at mark 10
        ([11, 3, 11, 11, 3, 3, 3, -1], [0, 2, 3, 7]),  # these die after the last mark
    ],
)
def test_the_dead_go_at_an_evaluation_where_at_most_half_of_those_before_are_alive(fail_steps, expected):
    rows = range(len(fail_steps))
    for mark in (0, 4, 10):
        rows = surviving_rows(rows, fail_steps, mark)
    assert list(rows) == expected


@pytest.mark.parametrize("every", [5, 9, 33, 66])
def test_the_mean_loss_of_a_batch_is_the_same_in_any_company(every):
    # torch adds up along the first dimension in an order that the number of columns decides.
    trials = [
        replace(BASE, lr=10.0 ** (9 + seed % 7), seed=seed, steps=66, eval_every=every, batch_size=30)
        for seed in range(44)
    ]
    alone = [outcomes(finish(make_state([trial])))[0].curves["batch.loss"] for trial in trials[:5]]
    for size in (5, 8, 44):
        together = outcomes(finish(make_state(trials[:size])))
        assert [outcome.curves["batch.loss"] for outcome in together[:5]] == alone
