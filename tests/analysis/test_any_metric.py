"""Metrics of any task and of a suite's own: which way is good, in which unit, over which range."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.analysis import formatting
from harness.analysis.lr_ranges import range_units
from harness.analysis.measures.measure import unit_of
from harness.analysis.metrics import judged_by, metrics_of, trial_scores
from harness.analysis.validation import check_claims
from harness.analysis.verdicts import verdicts
from harness.errors import SuiteError
from harness.spec.claim import Claim
from harness.spec.measured import Aim, Measured, measured
from harness.spec.metric import FRACTION, TASK_METRICS, MetricSpec
from tests.support.manifests import a_manifest, metric_specs
from tests.support.simulated import simulate
from tests.support.verdicts import LRS, NORMS, SEEDS, luck

PLAIN = {"norm": NORMS, "seed": range(SEEDS)}


def with_column(results, column, value):
    trials = results.trials.assign(status="ok")
    return replace(results, trials=trials.assign(**{column: [value(row) for row in trials.to_dict("records")]}))


def judge(results):
    (verdict,) = verdicts(results, np.random.default_rng(0))
    return verdict


def leading(row, lead=0.1):
    """More of a metric with batch, by so much."""
    return 0.5 + lead * (row["norm"] == "batch") + luck(0.004, (2, SEEDS))[NORMS.index(row["norm"]), row["seed"]]


@settings(max_examples=6, deadline=None)
@given(metric_specs())
def test_the_direction_of_a_metric_turns_the_verdict_and_no_number(tmp_path_factory, spec):
    words = {}
    for is_higher_better in (True, False):
        own = {"cost": replace(spec, words="cost", higher_is_better=is_higher_better)}
        claim = Claim.better("batch", than="none", metric="test_cost")
        results = simulate(
            tmp_path_factory.mktemp("s"), PLAIN, claims=[claim], task="regression", own=own, evaluations=2
        )
        verdict = judge(with_column(results, "test_cost", leading))
        words[is_higher_better] = verdict.word
        (comparison,) = verdict.comparisons
        assert comparison.estimate == pytest.approx(0.1 if is_higher_better else -0.1, abs=0.01)
        assert verdict.statement == f"batch has a {'higher' if is_higher_better else 'lower'} test cost than none"
        assert " higher with batch than with none" in verdict.sentence
    assert words == {True: "supported", False: "refuted"}


@given(metric_specs())
def test_amounts_of_a_metric_have_its_unit_and_fractions_alone_are_points(spec):
    text = formatting.amount(0.25, unit_of(spec))
    assert text == {FRACTION: "25.0 points", "": "0.25", "kWh": "0.25 kWh"}[spec.unit]


def of_task(task, **changes):
    return a_manifest(axes={"norm": NORMS, "lr": LRS, "seed": list(range(SEEDS))}, settings={"task": task}, **changes)


COST = {"energy used": MetricSpec(words="energy used", unit="kWh", higher_is_better=False, low=0.0)}


@pytest.mark.parametrize(
    ("claim", "task", "says"),
    [
        (Claim.better("batch", than="none", metric="test_rsme"), "regression", "did you mean 'test_rmse'"),
        (Claim.better("batch", than="none", metric="test_accuracy"), "regression", "unknown metric 'test_accuracy'"),
        (Claim.more("batch", than="none", metric="test.acuracy"), "sequence", "did you mean 'accuracy'"),
        (Claim.more("batch", than="none", metric="batch.rmse"), "regression", "unknown metric 'batch.rmse'"),
        (Claim.better("batch", than="none", metric="test_f1", by=2), "multilabel", "test_f1 is a fraction"),
        (Claim.equivalent("batch", to="none", metric="test.f1", within=1), "multilabel", "test.f1 is a fraction"),
        (Claim.matches("batch", published=0.5, within=0.1, metric="test_perplexity"), "sequence", "in 1..infinite"),
        (Claim.matches("batch", published=-1, within=0.1, metric="test_energy used"), "regression", "in 0..infinite"),
        (Claim.matches("batch", published=1.5, within=0.1, metric="test_r2"), "regression", "fraction"),
        (Claim.better("batch", than="none", metric="test_r2", by=5), "regression", "of which a point is 0.01; got a m"),
        (Claim.better("batch", than="none", metric="test_share", by=9), "share", "lies in 0..8, so no margin can be 9"),
        (Claim.wider_lr_range("batch", than="none"), "classification", "give the suite a target"),
    ],
)
def test_a_claim_that_a_metric_can_not_answer_is_refused(claim, task, says):
    with pytest.raises(SuiteError) as refused:
        check_claims([claim], of_task(task) if task in TASK_METRICS and task != "regression" else with_own_metrics())
    assert says in str(refused.value)


def with_own_metrics():
    share = MetricSpec(words="share", unit="eighths", higher_is_better=True, low=0.0, high=8.0)
    manifest = of_task("regression", metrics={**COST, "share": share})
    return replace(manifest, settings={**manifest.settings, "metrics": "energy used+share"})


@pytest.mark.parametrize("task", TASK_METRICS)
def test_every_metric_of_a_task_can_be_claimed_on_every_split(task):
    metrics = metrics_of(of_task(task))
    for name in TASK_METRICS[task]:
        for split in ("train", "val", "test"):
            check_claims([Claim.better("batch", than="none", metric=f"{split}_{name}")], of_task(task))
            assert metrics[f"{split}_{name}"].unit == unit_of(TASK_METRICS[task][name])
    first = next(iter(TASK_METRICS[task]))
    assert judged_by(of_task(task)).name == f"test_{first}"


@pytest.mark.parametrize(
    ("aim", "says"),
    [
        (Aim(target={"rsme": 50.0}), "unknown metric of the target 'rsme'; did you mean 'rmse'"),
        (Aim(target={"rmse": -1.0}), "rmse lies in 0..inf"),
        (Aim(target_accuracy=0.9), "target_accuracy is of no use here: trials are measured by rmse, mae, r2"),
    ],
)
def test_a_target_that_no_trial_can_be_held_against_is_refused(aim, says):
    with pytest.raises(SuiteError, match=says):
        measured(["regression"], [], aim)


@given(st.sampled_from(sorted(TASK_METRICS)), st.data())
def test_a_target_is_reached_by_itself_and_by_all_that_is_better(task, data):
    name = data.draw(st.sampled_from(sorted(TASK_METRICS[task])))
    spec = TASK_METRICS[task][name]
    ends = st.floats(max(spec.low, -9), min(spec.high, 99))
    value, other = data.draw(ends), data.draw(ends)
    of_task: Measured = measured([task], [], Aim(target={name: value}))
    assert of_task.target is not None
    assert of_task.target.is_reached(value)
    assert of_task.target.is_reached(other) == (other == value or (other > value) == spec.higher_is_better)
    assert not of_task.target.is_reached(None)
    assert not of_task.target.is_reached(float("nan"))


def test_the_usable_range_is_where_less_of_an_error_is_than_the_target(tmp_path):
    results = simulate(tmp_path, {**PLAIN, "lr": LRS}, task="regression", target={"rmse": 50}, evaluations=2)
    errors = dict(zip(LRS, (90.0, 40.0, 40.0, 90.0, 90.0), strict=True))
    units = range_units(with_column(results, "test_rmse", lambda row: errors[row["lr"]]).trials, results.manifest)
    # Linear over log lr: from 0.8 of the way up to 0.2 of the way down.
    low, high = (np.interp(at, range(5), np.log10(LRS)) for at in (0.8, 2.2))
    assert units["score"].to_numpy() == pytest.approx(high - low)
    assert units[["low", "high"]].iloc[0].to_list() == pytest.approx([10**low, 10**high])


def test_a_trial_that_failed_counts_as_what_its_own_data_are_guessed_by(tmp_path):
    results = simulate(tmp_path, PLAIN, task="regression", evaluations=2)
    failed = results.trials["seed"] == 3
    trials = results.trials.assign(
        status=np.where(failed, "no_better_than_init", "ok"), guess_rmse=70.0 + results.trials["seed"]
    )
    scores = trial_scores(trials, metrics_of(results.manifest)["test_rmse"])
    assert scores[failed].tolist() == [73.0, 73.0]
    assert scores[~failed].equals(trials.loc[~failed, "test_rmse"])


def test_a_trial_that_failed_and_of_which_no_guess_is_known_leaves_a_claim_undecided(tmp_path):
    claim = Claim.better("batch", than="none", metric="test_energy used")
    results = simulate(tmp_path, PLAIN, claims=[claim], task="regression", own=COST, evaluations=2)
    results = with_column(results, "test_energy used", lambda row: 1 - leading(row))
    assert judge(results).word == "supported"
    status = np.where((results.trials["seed"] == 0) & (results.trials["norm"] == "none"), "nonfinite", "ok")
    lost = replace(results, trials=results.trials.assign(**{"status": status, "guess_energy used": np.nan}))
    assert judge(lost).word == "undecided"
