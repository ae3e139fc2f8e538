"""What the bits of a result depend on, and what not: workers, orders, interruptions, neighbours."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.training.checkpoint import Snapshot, dump, load
from harness.training.loop import train
from harness.training.pruning import scatter_into
from harness.training.results import outcomes
from harness.training.state import init_state
from tests.training.test_loop import BASE, CPU, DIGITS

COHORTS = [
    [replace(BASE, seed=seed, lr=lr) for seed, lr in enumerate([0.1, 0.3, 1e20])],
    [replace(BASE, norm="batch", seed=seed, momentum=0.9) for seed in range(2)],
    [replace(BASE, norm="group", optimizer="adamw", lr=lr, schedule="cosine") for lr in (1e20, 0.1, 1e19)],
]


def results(state):
    return [(outcome.facts, outcome.curves) for outcome in outcomes(state)]


@pytest.fixture(scope="module")
def undisturbed():
    """What each cohort comes to when it trains to its end at once."""
    found = []
    for trials in COHORTS:
        state = init_state(trials, DIGITS, CPU, {})
        assert len(list(train(state))) > 10
        found.append(results(state))
    return found


@given(st.data())
@settings(max_examples=25)
def test_neither_order_nor_workers_nor_interruptions_move_a_bit(tmp_path_factory, undisturbed, data):
    """Cohorts take turns in any order, as on any number of workers, and are killed and resumed on the way."""
    path = tmp_path_factory.mktemp("snapshots") / "snapshot"
    running = {}
    waiting = data.draw(st.permutations(range(len(COHORTS))))
    ended = {}  # number of a cohort -> its results
    while waiting or running:
        if waiting and (not running or data.draw(st.booleans(), label="start another")):
            number = waiting.pop()
            state = init_state(COHORTS[number], DIGITS, CPU, {})
            running[number] = state, train(state)
        number = data.draw(st.sampled_from(sorted(running)), label="whose turn")
        state, events = running[number]
        for _ in range(data.draw(st.integers(1, 9), label="events")):
            event = next(events, None)
            if event is None:
                ended[number] = results(state)
                del running[number]
                break
        else:
            if data.draw(st.booleans(), label="kill and resume"):
                scatter_into(state, event.active)
                path.write_bytes(dump(Snapshot({"step": event.step}, state.tensors)))
                torch.manual_seed(data.draw(st.integers(0, 9)))
                resumed = init_state(COHORTS[number], DIGITS, CPU, {})
                resumed.restore(load(path).tensors)
                running[number] = resumed, train(resumed, event.step)
    assert [ended[number] for number in range(len(COHORTS))] == undisturbed


@pytest.mark.parametrize("norm", ["none", "batch", "layer", "group"])
@given(st.integers(2, 17), st.data())
@settings(max_examples=10)
def test_at_a_batch_of_whole_vectors_neighbours_move_no_bit(norm, size, data):
    trials = [replace(BASE, norm=norm, model="mlp-16x2", batch_size=32, seed=seed, lr=0.1) for seed in range(size)]
    here = data.draw(st.integers(0, size - 1))
    pair = init_state([trials[here], trials[(here + 1) % size]], DIGITS, CPU, {})
    many = init_state(trials, DIGITS, CPU, {})
    for state in (pair, many):
        for _ in train(state):
            pass
    assert results(many)[here] == results(pair)[0]
