"""Models whose forward passes do more than map: alone, in company, stopped on the way, and held to a plain loop."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from harness.ensemble.forward_checks import check_model
from harness.errors import SuiteError
from harness.spec.trial import Trial
from harness.training.loop import train
from harness.training.state import init_state, probe_examples
from tests.support.alone import train_alone
from tests.support.images import small_images
from tests.support.side_effects import DRAWING, KEPT, REFUSED, WIDTH
from tests.support.stopping import train_until

CPU = torch.device("cpu")
DATA = small_images(67, 41, 13, dtype="float32")
BASE = Trial(dataset="small", model="net", lr=0.1, batch_size=10, steps=7, eval_every=3, momentum=0.9, device="cpu")
BLOCKS = {**KEPT, **DRAWING, **{name: make for name, (make, _) in REFUSED.items()}}


def net(blocks, classes):
    """A network of these blocks."""
    middle = [layer for block in blocks for layer in (BLOCKS[block](), nn.Linear(WIDTH, WIDTH))]
    return nn.Sequential(nn.Flatten(), nn.Linear(30, WIDTH), *middle, nn.Linear(WIDTH, classes))


def factories_of(*blocks):
    return {"net": partial(net, blocks)}


def cohort_of(**changes):
    """Trials of other seeds and other learning rates."""
    return [replace(BASE, seed=seed, lr=lr, **changes) for seed, lr in ((3, 0.1), (1, 0.05), (4, 0.2))]


def traits_of(blocks, trial=BASE):
    examples = probe_examples(trial, DATA)

    def make(seed):
        torch.manual_seed(seed)
        return net(blocks, DATA.classes).to(examples.dtype)

    return check_model(make, trial.seed, examples, DATA.classes, "net")


def tensors_of(state, row):
    """All that training has made of one model."""
    by_model = {**state.model_state, **{name: curve.T for name, curve in state.curves.items()}}
    return {name: tensor[row].detach().clone() for name, tensor in by_model.items()}


def trained(trials, blocks, stops=()):
    """The models of these trials; training is stopped after so many events, and goes on in another state."""
    state, done = init_state(trials, DATA, CPU, factories_of(*blocks)), 0
    for events in stops:
        done = train_until(state, events)
        saved = {name: tensor.detach().clone() for name, tensor in state.tensors.items()}
        torch.rand(events)  # nothing may depend on where generators stand
        state = init_state(trials, DATA, CPU, factories_of(*blocks))
        state.restore(saved)
    for _ in train(state, done):
        pass
    return [tensors_of(state, row) for row in range(len(trials))]


def assert_same_bits(one, other):
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor.nan_to_num(7.0), other[name].nan_to_num(7.0)), name


def assert_same_alone_in_company_and_resumed(blocks, events):
    trials = cohort_of()
    alone = [trained([trial], blocks)[0] for trial in trials]
    if not traits_of(blocks).trains_alone:
        for one, other in zip(trained(trials, blocks), alone, strict=True):
            assert_same_bits(one, other)
    assert_same_bits(trained(trials[:1], blocks, [events])[0], alone[0])


@pytest.mark.parametrize("block", [*KEPT, *DRAWING])
def test_a_trial_is_the_same_alone_in_company_and_resumed(block):
    assert_same_alone_in_company_and_resumed([block], 4)


@settings(max_examples=25, deadline=None)
@given(blocks=st.lists(st.sampled_from(list(BLOCKS)), min_size=1, max_size=3), events=st.integers(1, 11))
def test_whatever_a_forward_does_it_is_refused_or_the_same_alone_in_company_and_resumed(blocks, events):
    try:
        traits_of(blocks)
    except SuiteError:
        assert any(block in REFUSED for block in blocks)
        return
    assert not any(block in REFUSED for block in blocks)
    assert_same_alone_in_company_and_resumed(blocks, events)


@pytest.mark.parametrize("block", KEPT)
def test_what_a_forward_changes_is_what_a_plain_loop_changes(block):
    trials = cohort_of(precision="float64")
    trials = trials[:1] if traits_of([block]).trains_alone else trials
    state = init_state(trials, DATA, CPU, factories_of(block))
    for _ in train(state):
        pass
    for row, trial in enumerate(trials):
        model, _ = train_alone(trial, DATA, factories_of(block))
        ours = {**state.ensemble.weights, **state.ensemble.buffers}
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            torch.testing.assert_close(ours[name][row].detach(), tensor.detach(), rtol=1e-9, atol=1e-12)
