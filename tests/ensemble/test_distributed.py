"""A trial on several ranks against the same trial in one process, through the one training loop."""

from dataclasses import replace

import pytest
import torch

from harness.ensemble.distributed import SINGLE_PROCESS
from harness.errors import DamageError
from harness.nn.models import build
from harness.nn.surgery import SYNC_BATCH_NORMS, convert_from_sync_bn
from tests.support import rank_processes
from tests.support.rank_processes import trial_of

OWN = ("buffer/", "rank", "loss_buffer")


def learn(ranks, trial, dtype="float64", until=None, saved=None, done=0):
    """What the ranks of a trial know of it after training, each."""
    if trial.world_size == 1:
        return [rank_processes.learn(replace(trial, max_cohort_size=1), dtype, until, saved, done, SINGLE_PROCESS)]
    return ranks(trial.world_size, rank_processes.learn, trial, dtype, until, saved, done)


def alone(trial, dtype="float64"):
    return learn(None, replace(trial, world_size=1), dtype)[0]


def assert_same_result(found, expected, tolerance, but=()):
    tensors, (facts, curves) = found
    for name, value in expected[0].items():
        if not name.startswith(("loss_buffer", *but)):
            torch.testing.assert_close(
                tensors[name], value, rtol=tolerance, atol=tolerance, equal_nan=True, msg=lambda text, n=name: n + text
            )
    assert facts.items() >= {n: v for n, v in expected[1][0].items() if n != "norm_batch"}.items()
    for name, curve in expected[1][1].items():
        assert curves[name]["step"] == curve["step"]
        assert curves[name]["value"] == pytest.approx(curve["value"], rel=100 * tolerance)


TRIALS = [
    {"norm": "none", "batch_size": 13},
    {"norm": "none", "optimizer": "adamw", "schedule": "cosine", "accumulation_steps": 2},
    {"norm": "group", "model": "cnn-4-8", "batch_size": 10, "momentum": 0.9},
    {"norm": "layer", "batch_size": 61, "weight_decay": 0.01},
    {"norm": "sync_batch", "batch_size": 13},
    {"norm": "sync_batch", "model": "cnn-4-8", "momentum": 0.9},
    {"norm": "sync_batch", "model": "cnn-4-8", "memory_format": "channels_last"},
    {"norm": "sync_batch", "accumulation_steps": 2, "norm_momentum": "cumulative"},
    {"norm": "sync_batch", "norm_affine": False, "batch_size": 3},
    {"norm": "sync_batch", "norm_track_running_stats": False},
    {"norm": "layer", "optimizer": "NAdam", "max_grad_norm": 0.5, "weight_decay": 0.01, "decay_norms": False},
    {"norm": "none", "model": "spare", "accumulation_steps": 2, "momentum": 0.9, "weight_decay": 0.01},
]


PROBED = {"probes": "activations+gradients+landscape+sharpness+weights", "probe_every": 4}


@pytest.mark.parametrize(
    ("norm", "twin"),
    [
        ("layer", {}),
        ("sync_batch", {"norm": "batch"}),
        ("batch", {"norm": "ghost_batch", "norm_batch": 6}),
        ("ghost_batch", {"norm_batch": 6}),
    ],
)
def test_probes_of_several_ranks_see_the_whole_batch_with_the_statistics_that_training_has(ranks, norm, twin):
    trial = trial_of(norm=norm, world_size=2, model="mlp-12x4", **PROBED)
    (_, (_, curves)), (_, (_, others)) = learn(ranks, trial)
    expected = alone(replace(trial, world_size=1, **twin))[1][1]
    probed = [name for name in expected if name.startswith("probe.")]
    assert {name for name in curves if name.startswith("probe.")} == set(probed)
    assert len(probed) > 20
    for name in probed:
        assert curves[name]["value"] == others[name]["value"] == pytest.approx(expected[name]["value"], rel=1e-8), name


def test_probes_on_several_ranks_move_no_bit_of_what_is_learnt(ranks):
    trial = trial_of(norm="batch", world_size=2, probes="running+sharpness", probe_every=2)
    probed, without = learn(ranks, trial), learn(ranks, replace(trial, probes="", probe_every=None))
    for (ours, _), (theirs, _) in zip(probed, without, strict=True):
        for name, tensor in theirs.items():
            torch.testing.assert_close(ours[name], tensor, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("options", TRIALS, ids=str)
def test_any_number_of_ranks_learns_what_one_process_learns(ranks, options, size):
    trial = trial_of(world_size=size, **options)
    found = learn(ranks, trial)
    assert_same_result(found[0], alone(trial), 1e-10)
    for other in found[1:]:
        assert other[1] == found[0][1]
        assert all(
            torch.equal(value.nan_to_num(), found[0][0][name].nan_to_num())
            for name, value in other[0].items()
            if not name.startswith(OWN)
        )


@pytest.mark.parametrize("norm", ["none", "sync_batch"])
def test_in_single_precision_it_is_the_same_within_rounding(ranks, norm):
    trial = trial_of(world_size=2, norm=norm)
    assert_same_result(learn(ranks, trial, "float32")[0], alone(trial, "float32"), 2e-6)


@pytest.mark.parametrize("size", [2, 3])
def test_ranks_with_statistics_of_their_own_are_ghost_batches_of_one_process(ranks, size):
    trial = trial_of(norm="batch", model="cnn-4-8", world_size=size, ddp_eval_buffers="mean")
    ghost = replace(trial, norm="ghost_batch", norm_batch=12 // size, ddp_eval_buffers="rank0")
    found = learn(ranks, trial)[0]
    assert_same_result(found, alone(ghost), 1e-10)
    assert found[1][0]["norm_batch"] == 12 // size


def test_running_statistics_of_the_first_rank_are_evaluated_unless_their_mean_is_asked_for(ranks):
    first, mean = (
        learn(ranks, trial_of(norm="batch", world_size=2, ddp_eval_buffers=how))[0] for how in ("rank0", "mean")
    )
    assert first[1][1]["train.loss"]["value"] != mean[1][1]["train.loss"]["value"]
    for name, weight in first[0].items():
        if name.startswith("weight/"):
            torch.testing.assert_close(weight, mean[0][name], rtol=0, atol=0)


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("statistics", ["batch", "recalibrated"])
@pytest.mark.parametrize(("norm", "twin"), [("sync_batch", "batch"), ("batch", "ghost_batch")])
def test_statistics_of_evaluation_are_those_that_one_process_gathers(ranks, norm, twin, statistics, size):
    trial = trial_of(norm=norm, model="cnn-4-8", world_size=size, eval_statistics=statistics, ddp_eval_buffers="mean")
    groups = 12 // size if twin == "ghost_batch" else None
    one = replace(trial, norm=twin, norm_batch=groups, ddp_eval_buffers="rank0")
    found, expected = learn(ranks, trial), alone(one)
    assert_same_result(found[0], expected, 1e-10)
    assert found[1][1] == found[0][1]
    running = learn(ranks, replace(trial, eval_statistics="running"))[0]
    assert running[1][1]["val.loss"]["value"] != found[0][1][1]["val.loss"]["value"]


@pytest.mark.parametrize("optimizer", ["NAdam", "muon"])  # the suite's own; its state made by two rules
def test_resumed_with_any_kind_of_optimizer_equals_uninterrupted_to_the_bit(ranks, optimizer):
    trial = trial_of(norm="batch", world_size=2, optimizer=optimizer, model="mlp-8x2", lr=0.01)
    whole = learn(ranks, trial, "float32")
    saved, _ = learn(ranks, trial, "float32", 5)[0]
    resumed = learn(ranks, trial, "float32", None, saved, 5)
    for one, other in zip(whole, resumed, strict=True):
        for name, value in one[0].items():
            assert torch.equal(value.nan_to_num(7e30), other[0][name].nan_to_num(7e30)), name
        assert one[1] == other[1]


@pytest.mark.parametrize(
    ("norm", "how"), [("none", "rank0"), ("batch", "rank0"), ("batch", "mean"), ("sync_batch", "rank0")]
)
@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("stop", [3, 7])
def test_resumed_on_as_many_ranks_equals_uninterrupted_to_the_bit(ranks, norm, how, stop, size):
    trial = trial_of(norm=norm, world_size=size, momentum=0.9, ddp_eval_buffers=how)
    whole = learn(ranks, trial, "float32")
    saved, _ = learn(ranks, trial, "float32", stop)[0]
    resumed = learn(ranks, trial, "float32", None, saved, stop)
    for one, other in zip(whole, resumed, strict=True):
        for name, value in one[0].items():
            assert torch.equal(value.nan_to_num(7e30), other[0][name].nan_to_num(7e30)), name
        assert one[1] == other[1]


@pytest.mark.parametrize("how", ["rank0", "mean"])
def test_a_probe_taken_again_after_an_evaluation_sees_the_same_running_statistics(ranks, how):
    trial = trial_of(norm="batch", world_size=2, ddp_eval_buffers=how, probes="running")
    (_, (_, whole)), (_, (_, others)) = learn(ranks, trial, "float32")
    saved, _ = learn(ranks, trial, "float32", (4, "eval"))[0]
    assert learn(ranks, trial, "float32", None, saved, 4)[0][1][1] == whole == others
    errors = whole["probe.running_mean_error/1"]["value"]
    assert len(set(errors)) == 4


@pytest.mark.parametrize("norm", ["group", "sync_batch"])
def test_a_snapshot_goes_on_with_another_number_of_ranks_where_the_result_is_the_same(ranks, norm):
    trial = trial_of(norm=norm, world_size=2, momentum=0.9)
    saved, _ = learn(ranks, trial, "float64", 5)[0]
    for size in (1, 3):
        other = replace(trial, world_size=size)
        found = learn(ranks, other, "float64", None, saved, 5)
        assert_same_result(found[0], alone(trial), 1e-10)


def test_a_snapshot_of_ranks_with_statistics_of_their_own_is_refused_by_another_number(ranks):
    saved, _ = learn(ranks, trial_of(norm="batch", world_size=2), "float64", 5)[0]
    with pytest.raises(DamageError, match="2 ranks with statistics of their own"):
        learn(None, trial_of(norm="batch"), "float64", None, saved, 5)


@pytest.mark.parametrize("model", ["mlp-12-8", "cnn-4-8"])
@pytest.mark.parametrize("options", [{}, {"device": "cuda:0"}], ids=["ours", "torch's"])
def test_a_model_with_synchronised_statistics_leaves_as_one_with_plain_batch_norm(model, options):
    trial = trial_of(norm="sync_batch", model=model, world_size=2, **options)
    many, one = (build(some, (1, 6, 5), 3, {}) for some in (trial, replace(trial, norm="batch", world_size=1)))
    assert any(isinstance(layer, SYNC_BATCH_NORMS) for layer in many.modules())
    alone = convert_from_sync_bn(many, (1, 6, 5))
    assert [type(layer) for layer in alone.modules()] == [type(layer) for layer in one.modules()]
    torch.testing.assert_close(alone.state_dict(), one.state_dict(), rtol=0, atol=0)
