"""Each task is learnt as a plain program of torch learns it: alone, in cohorts, after a stop, on two ranks."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from harness.ensemble.optim import OPTIMIZERS
from harness.spec.metric import TASK_METRICS
from harness.storage.records import TRAINED, Record, failure, find_fault
from harness.training.best_checkpoint import keep_best
from harness.training.checkpoint import Snapshot, newest, save
from harness.training.loop import train
from harness.training.results import outcomes
from harness.training.state import TrainState, init_state
from tests.support.alone import BASE, CPU, DATA
from tests.support.images import small_images
from tests.support.plain_loop import PlainRun, state_of
from tests.support.stopping import train_until
from tests.support.tasks import TASKS, PerRow, spread, with_task

OTHERS = TASKS[1:]
FUNCTIONS = {"per_row": PerRow, "spread": spread}
OF_RANKS = small_images(300, 61, 37, apart=0.5)


def a_trial(task, **changes):
    model = {"model": "per_row", "norm": "none"} if task == "sequence" else {"norm": "batch"}
    settings = {"task": task, "precision": "float64", "lr": 0.03, "accumulation_steps": 1, **model, **changes}
    return replace(BASE, **settings)


def start(trials) -> TrainState:
    data = small_images(45, 31, 7, dtype=trials[0].precision)
    return init_state(trials, with_task(data, trials[0].task), CPU, FUNCTIONS)


def finished(state, done=0):
    for _ in train(state, done):
        pass
    return state


def assert_equals_plain(curves, tensors, plain):
    for name, values in plain.curves.items():
        assert curves[name]["value"] == pytest.approx(values, rel=1e-7, abs=1e-9), name
    expected = state_of(plain.model)
    assert tensors.keys() == expected.keys()
    for name, tensor in tensors.items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("statistics", ["running", "batch"])
@pytest.mark.parametrize("task", TASKS)
def test_a_cohort_of_each_task_learns_what_plain_programs_learn(task, statistics):
    trial = a_trial(task, eval_statistics=statistics if task != "sequence" else "running", momentum=0.9)
    trials = [trial, replace(trial, seed=1, lr=0.01), replace(trial, seed=2)]
    state = finished(start(trials))
    for i, one in enumerate(trials):
        tensors = {name: t[i].detach() for name, t in (state.ensemble.weights | state.ensemble.buffers).items()}
        assert_equals_plain(outcomes(state)[i].curves, tensors, PlainRun(one, with_task(DATA, task)).train())


@pytest.mark.parametrize("task", TASKS)
def test_in_parts_a_batch_is_learnt_as_a_whole(task):
    trial = a_trial(task, norm="none", batch_size=9, accumulation_steps=2)
    state = finished(start([trial]))
    tensors = {name: tensor[0].detach() for name, tensor in state.ensemble.weights.items()}
    assert_equals_plain(outcomes(state)[0].curves, tensors, PlainRun(trial, with_task(DATA, task)).train())


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("metrics", ["", "spread"])
def test_stopped_and_resumed_and_among_others_no_bit_differs(task, metrics, tmp_path):
    trials = [a_trial(task, precision="float32", metrics=metrics, seed=seed) for seed in range(3)]
    whole, stopped, again = (keep_best(start(trials)) for _ in range(3))
    finished(whole)
    done = train_until(stopped, 5)
    save(Path(tmp_path), "c", Snapshot({"step": done}, stopped.tensors))
    snapshot, _ = newest(Path(tmp_path), "c", {})
    again.restore(snapshot.tensors)
    finished(again, done)
    alone = finished(keep_best(start(trials[1:2])))
    for name, tensor in whole.tensors.items():
        assert torch.equal(again.tensors[name].nan_to_num(7e30), tensor.nan_to_num(7e30)), name
        own = tensor[:, 1:2] if name.startswith("curve/") or name == "loss_buffer" else tensor[1:2]
        assert torch.equal(alone.tensors[name].nan_to_num(7e30), own.nan_to_num(7e30)), name


@pytest.mark.parametrize("task", OTHERS)
@pytest.mark.parametrize("metrics", ["", "spread"])
def test_two_ranks_learn_what_a_plain_program_learns(ranks, task, metrics):
    trial = a_trial(task, world_size=2, batch_size=14, metrics=metrics)
    from tests.support.rank_processes import learn

    (tensors, (facts, curves)), _ = ranks(2, learn, trial, "float64", None, None, 0)
    data = with_task(OF_RANKS, task)
    plain = PlainRun(replace(trial, metrics=""), data).train()
    own = {n.partition("/")[2]: t[0] for n, t in tensors.items() if n.startswith(("weight/", "buffer/"))}
    assert_equals_plain(curves, own, plain)
    if metrics:
        out = plain.with_statistics()(plain.x["test"]).flatten(0, -2)
        assert curves["test.spread"]["value"][-1] == pytest.approx(spread(out, plain.y["test"]).item(), rel=1e-6)
        assert facts["guess_spread"] >= 0


def test_what_a_record_has_of_each_task():
    for task in TASKS:
        trial = a_trial(task, metrics="spread", precision="float32")
        (outcome,) = outcomes(finished(start([trial])))
        record = Record(key=trial.key, trial=trial.content, outcome=TRAINED, facts=outcome.facts, curves=outcome.curves)
        assert find_fault(record) is None
        names = {"loss", "spread", *TASK_METRICS[task]}
        assert {name for name in outcome.curves if name.startswith("test.")} == {f"test.{name}" for name in names}
        guesses = {f"guess_{name}" for name in names} - ({"guess_accuracy"} if task == "classification" else set())
        assert {name for name in outcome.facts if name.startswith("guess_")} == guesses


def test_guesses_are_those_of_the_mean_the_frequencies_and_the_unigrams():
    facts = {task: outcomes(start([a_trial(task)]))[0].facts for task in OTHERS}
    data = {task: with_task(DATA, task) for task in OTHERS}
    train, test = (torch.from_numpy(data["regression"].y[split]) for split in ("train", "test"))
    assert facts["regression"]["guess_loss"] == pytest.approx(train.var(0, correction=0).mean().item())
    rmse = (test - train.mean(0)).square().mean(0).sqrt().mean()
    assert facts["regression"]["guess_rmse"] == pytest.approx(rmse.item())
    labels = torch.from_numpy(data["multilabel"].y["train"])
    shares = labels.mean(0).expand_as(labels)
    assert facts["multilabel"]["guess_loss"] == pytest.approx(F.binary_cross_entropy(shares, labels).item())
    tokens, later = (torch.from_numpy(data["sequence"].y[split]).flatten() for split in ("train", "test"))
    unigrams = tokens.bincount() / len(tokens)
    assert facts["sequence"]["guess_perplexity"] == pytest.approx(math.exp(-unigrams.log()[later].mean()), rel=1e-6)


def test_a_net_that_gives_the_mean_has_not_learnt():
    trial = a_trial("regression", lr=1e-9, norm="none")
    (outcome,) = outcomes(finished(start([trial])))
    record = Record(key=trial.key, trial=trial.content, outcome=TRAINED, facts=outcome.facts, curves=outcome.curves)
    assert failure(record) == "no_better_than_init"
    loss = outcome.curves["train.loss"]
    at_guess = {**outcome.curves, "train.loss": {**loss, "value": [100.0, outcome.facts["guess_loss"]]}}
    assert failure(replace(record, curves=at_guess)) == "no_better_than_init"
    assert failure(replace(record, curves={**at_guess, "train.loss": {**loss, "value": [100.0, 0.1]}})) is None


def test_the_best_model_is_that_of_the_least_error():
    trial = a_trial("regression", lr=0.1, steps=12, eval_every=1)
    state = finished(keep_best(start([trial])))
    assert state.best["step"].item() == state.curves["val.rmse"][:, 0].argmin().item()


@pytest.mark.parametrize("optimizer", ["sgd", *sorted({"adamw"} & set(OPTIMIZERS))])
def test_a_loss_of_the_suites_own_is_minimised(optimizer):
    def huber(outputs, targets):
        return F.smooth_l1_loss(outputs, targets, reduction="none")

    trials = [a_trial("regression", loss="huber", optimizer=optimizer, norm="none", seed=seed) for seed in (0, 1)]
    data = with_task(DATA, "regression")
    state = finished(init_state(trials, data, CPU, {"huber": huber}))
    plain = PlainRun(replace(trials[1], loss=""), data)
    assert state.curves["train.loss"][-1, 1] < state.curves["train.loss"][0, 1]
    out = plain.model(plain.x["train"])
    expected = F.smooth_l1_loss(out, plain.y["train"]).item()
    assert state.curves["train.loss"][0, 1].item() == pytest.approx(expected)
    assert state.curves["train.rmse"][0, 1].item() > 0
