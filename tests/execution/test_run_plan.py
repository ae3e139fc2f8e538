"""What of a cohort must train where some of its trials have a result."""

from dataclasses import replace

import pytest

from harness.execution.messages import CohortEstimate
from harness.execution.run_plan import RunOptions, RunPlan, max_cohort_sizes, selection_notes, trials_to_train
from harness.spec.cohorts import Cohort, shape
from harness.storage.records import ResultsDir
from tests.support.strategies import a_trial


@pytest.mark.parametrize(
    ("device", "snapshot", "expected"),
    [("cpu", False, [1]), ("cpu", True, [0, 1, 2]), ("cuda", False, [0, 1, 2])],
    ids=["on a CPU", "with a snapshot", "on a GPU"],
)
def test_of_a_cohort_that_has_results_only_the_rest_trains_unless_bits_or_a_snapshot_need_the_whole(
    tmp_path, device, snapshot, expected
):
    cohort, results_dir = Cohort(tuple(a_trial(seed=seed, device=device) for seed in range(3))), ResultsDir(tmp_path)
    if snapshot:
        results_dir.checkpoints.mkdir()
        (results_dir.checkpoints / f"{cohort.id}.b.snapshot").touch()
    part = trials_to_train(cohort, {cohort.trials[1].key, "0" * 16}, results_dir)
    assert [trial.seed for trial in part.trials] == expected


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_cohort_that_misses_nothing_does_not_train(tmp_path, device):
    cohort = Cohort(tuple(a_trial(seed=seed, device=device) for seed in range(3)))
    assert trials_to_train(cohort, set(), ResultsDir(tmp_path)).trials == ()


@pytest.mark.parametrize(
    ("in_turn", "workers", "expected"),
    [
        (False, 2, {"none": 64, "batch": 64}),
        (True, 1, {"none": 40, "batch": 13}),  # a quarter of all the work, or less
        (True, 2, {"none": 20, "batch": 6}),
        (True, 1000, {"none": 1, "batch": 1}),
    ],
)
def test_models_that_train_in_turn_are_cut_so_that_every_worker_has_several_cohorts(in_turn, workers, expected):
    trials = [a_trial(seed=seed, norm=norm) for seed in range(40) for norm in ("none", "batch")]
    estimates = {
        shape(trials[0]): CohortEstimate(max_cohort_size=64, work=1.0, runs_in_turn=in_turn),
        shape(trials[1]): CohortEstimate(max_cohort_size=64, work=3.0, runs_in_turn=in_turn),
    }
    sizes = max_cohort_sizes(trials, estimates, workers)
    assert {trial.norm: sizes[shape(trial)] for trial in trials[:2]} == expected


def a_plan(device, selected, pending):
    """A plan of five trials of one cohort, of which some are selected and some train."""
    trials = [a_trial(seed=seed, device=device) for seed in range(5)]
    return RunPlan(
        trials=trials,
        selected=trials[:selected],
        cohorts=[Cohort(tuple(trials))],
        pending=[Cohort(tuple(trials[:pending]))],
        missing=frozenset(trial.key for trial in trials[:selected]),
        results=0,
        ended=0,
        damaged=[],
    )


@pytest.mark.parametrize(
    ("device", "trained", "expected"),
    [
        ("cpu", 2, ""),
        (
            "cpu",
            5,
            ", 5 train where 2 have no result, because earlier runs have saved whole cohorts on their way, and ",
        ),
        ("cuda", 5, ", 5 train where 2 have no result, because off a CPU a cohort trains as a whole: "),
    ],
)
def test_a_selection_says_what_it_selects_and_why_more_than_that_trains(device, trained, expected):
    options = RunOptions(only={"seed": frozenset({"0,1"})}, shard=(1, 3))
    (note,) = selection_notes(a_plan(device, 2, trained), options)
    assert note.startswith(f"--only seed=0,1 --shard 1/3 selects 2 of 5 trials{expected}")
    assert bool(expected) == ("because" in note)
    assert list(selection_notes(a_plan(device, 5, 5), RunOptions())) == []


def test_of_trials_on_ranks_plan_says_that_they_take_longer_than_what_it_tried():
    # "about 1 s" was said of a suite on two and four ranks that took a quarter of an hour
    plan = a_plan("cpu", 3, 3)
    on_ranks = [Cohort((a_trial(world_size=size, batch_size=8),)) for size in (4, 2, 2)]
    assert plan.ranks_words == ""
    assert "on 2 or 4 ranks, as 3 trials train" in replace(plan, pending=[*plan.pending, *on_ranks]).ranks_words
