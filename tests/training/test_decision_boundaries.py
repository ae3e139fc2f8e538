"""What trained models say all over the plane."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.data.datasets import load_dataset
from harness.ensemble.precision import PRECISIONS
from harness.export.evaluate import as_taken
from harness.export.model_card import build_trained, state_of, trained_models
from harness.spec.trial import Trial
from harness.training.best_checkpoint import keep_best
from harness.training.decision_boundaries import NOT_FINITE, POINTS, decision_boundaries
from harness.training.loop import train
from harness.training.state import init_state

CIRCLES = load_dataset("circles", Path(), {})
BASE = Trial(dataset="circles", model="mlp-8", norm="batch", lr=0.3, batch_size=100, steps=30, device="cpu")
LRS = [0.3, 1e30, 0.1]  # the one in the middle diverges


def trained(trials, dataset=CIRCLES):
    state = keep_best(init_state(trials, dataset, torch.device("cpu"), {}))
    for _ in train(state):
        pass
    return state


def arrays(data):
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        return dict(file)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_plane_holds_what_the_plain_module_says_at_each_point(precision):
    trials = [replace(BASE, lr=lr, precision=precision) for lr in LRS]
    state = trained(trials)
    last = {trial: model for trial, which, model in trained_models(state, {}) if which == "last"}
    found = {trial: arrays(data) for trial, data in decision_boundaries(state, {trial.seed for trial in state.trials})}
    assert list(found) == trials
    for trial, plane in found.items():
        net = build_trained(last[trial].metadata, state_of(last[trial]), {}).eval()
        for row, column in ((3, 90), (48, 50), (90, 7), (20, 30)):
            with torch.no_grad():
                point = as_taken(net, torch.tensor([[plane["x"][column], plane["y"][row]]]))
                with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
                    out = net(point)[0]
            said = int(out.argmax()) if out.isfinite().all() else NOT_FINITE
            assert plane["classes"][row, column] == said
    assert (found[trials[1]]["classes"] == NOT_FINITE).all()
    assert len(np.unique(found[trials[0]]["classes"])) == 2


def test_planes_reach_a_little_beyond_the_training_examples_and_are_small():
    (plane,) = [data for _, data in decision_boundaries(trained([BASE]), {BASE.seed})]
    for axis, side in enumerate("xy"):
        values, shown = CIRCLES.x["train"][:, axis], arrays(plane)[side]
        assert len(shown) == POINTS
        assert shown[0] < values.min() < values.max() < shown[-1]
    assert len(plane) < 4096


def test_the_same_training_leaves_the_same_bytes():
    assert [data for _, data in decision_boundaries(trained([BASE]), {BASE.seed})] == [
        data for _, data in decision_boundaries(trained([BASE]), {BASE.seed})
    ]


def test_there_is_no_plane_of_images_nor_where_a_point_depends_on_its_company():
    digits = trained([replace(BASE, dataset="digits", steps=2)], load_dataset("digits", Path(), {}))
    assert list(decision_boundaries(digits, {BASE.seed})) == []
    assert list(decision_boundaries(trained([replace(BASE, norm_track_running_stats=False)]), {BASE.seed})) == []
