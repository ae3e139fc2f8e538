"""Arms that are one: named, and no verdict rests on them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from harness.analysis import pairing
from harness.analysis.claims import KINDS
from harness.analysis.diff import diff
from harness.analysis.verdicts import verdicts
from harness.reporting.report import write_report
from harness.spec.claim import Claim
from tests.support.claim_worlds import WORLDS, simulated
from tests.support.manifests import declared
from tests.support.simulated import simulate
from tests.support.verdicts import verdict_on

SEEDS = 9


def as_one(results, arm="batch", than="none"):
    """The results in which all that was learnt by an arm is what the other learnt, bit by bit."""
    trials, compare = results.trials.copy(), results.manifest.compare
    columns = [*pairing.axes(results.manifest), "seed"]
    source = {tuple(row[columns]): row for _, row in trials[trials[compare] == arm].iterrows()}
    curves = [results.curves[~results.curves["key"].isin(trials.loc[trials[compare] == than, "key"])]]
    for index, row in trials[trials[compare] == than].iterrows():
        like = source[tuple(row[columns])]
        trials.loc[index, pairing.learnt_columns(trials)] = like[pairing.learnt_columns(trials)]
        curves.append(results.curves[results.curves["key"] == like["key"]].assign(key=row["key"]))
    return replace(results, trials=trials, curves=pd.concat(curves, ignore_index=True))


@pytest.mark.parametrize("kind", [kind for kind in WORLDS if not KINDS[kind].is_one_sample])
def test_no_verdict_of_any_kind_rests_on_arms_that_are_one(kind, tmp_path):
    world = WORLDS[kind]
    results = simulated(tmp_path, world, world.if_true)
    before = verdict_on(results)
    assert (before.word, before.of_equal_arms) == ("supported", False)
    verdict = verdict_on(as_one(results, world.claim.than or "none", world.claim.arm))
    assert (verdict.word, verdict.of_equal_arms) == ("undecided", True)
    assert {c.verdict for c in verdict.comparisons if c.verdict} == {"undecided"}
    assert verdict.sentence.startswith(f"Nothing was compared: the trials of {world.claim.arm} and ")
    assert "equal to the bit" in verdict.sentence


CLAIM = Claim.equivalent("batch", to="none", within=0.02, tau=0.5)
AXES = {"norm": ["batch", "none"], "lr": [0.01, 0.1], "seed": range(SEEDS)}


def equal_results(folder, **changes):
    results = as_one(simulate(folder, AXES, claims=[CLAIM], status="ok", **changes))
    accuracy = np.random.default_rng(1).normal(0.9, 0.01, SEEDS)[results.trials["seed"]]
    return replace(results, trials=results.trials.assign(test_accuracy=accuracy))


def test_arms_are_one_though_their_models_have_other_sizes(tmp_path):
    results = equal_results(tmp_path)
    trials = results.trials.assign(parameters=np.where(results.trials["norm"] == "batch", 30, 20))
    assert verdict_on(replace(results, trials=trials)).of_equal_arms


def one_bit(results):
    values = results.curves["value"].to_numpy().copy()
    values[-1] = np.nextafter(values[-1], 2.0)
    return replace(results, curves=results.curves.assign(value=values))


def last_accuracy(results):
    trials = results.trials.copy()
    trials.loc[trials.index[-1], "test_accuracy"] += 1e-12
    return replace(results, trials=trials)


@pytest.mark.parametrize("change", [one_bit, last_accuracy])
def test_one_bit_of_one_trial_tells_arms_apart(change, tmp_path):
    results = equal_results(tmp_path)
    assert pairing.equal_arms(results) == [["batch", "none"]]
    changed = change(results)
    assert pairing.equal_arms(changed) == []
    verdict = verdict_on(changed)
    assert (verdict.word, verdict.of_equal_arms) == ("supported", False)


def test_arms_that_are_equal_where_a_claim_looks_and_differ_elsewhere_are_two(tmp_path):
    results = last_accuracy(equal_results(tmp_path))
    (where,) = {0.01, 0.1} - {results.trials["lr"].iloc[-1]}
    claim = Claim.equivalent("batch", to="none", within=0.02, tau=0.5, lr=where)
    verdict = verdict_on(replace(results, manifest=replace(results.manifest, claims=declared(claim))))
    assert verdict.word == "supported"


def test_what_has_no_result_tells_no_arms_apart(tmp_path):
    results = equal_results(tmp_path)
    trials = results.trials.copy()
    trials.loc[trials.index[-1], "status"] = "interrupted"
    trials.loc[trials.index[-1], "test_accuracy"] = np.nan
    assert pairing.equal_arms(replace(results, trials=trials)) == [["batch", "none"]]
    assert pairing.equal_arms(replace(results, trials=trials.assign(status="interrupted"))) == []


def by_size(folder):
    claim = Claim.equivalent(1, to=8, within=0.02, tau=0.5)
    axes = {"max_cohort_size": [1, 8], "seed": range(SEEDS)}
    results = simulate(folder, axes, claims=[claim], status="ok")
    results = replace(results, manifest=replace(results.manifest, compare="max_cohort_size"))
    results = as_one(results, 1, 8)
    accuracy = np.random.default_rng(1).normal(0.9, 0.01, SEEDS)[results.trials["seed"]]
    return replace(results, trials=results.trials.assign(test_accuracy=accuracy))


def test_equal_results_are_a_finding_where_arms_differ_in_how_they_are_computed(tmp_path):
    results = by_size(tmp_path)
    assert pairing.equal_arms(results) == [[1, 8]]
    assert verdict_on(results).word == "supported"


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            equal_results,
            "The arms batch and none are equal to the bit in all trials: norm has not reached the training",
        ),
        (by_size, "The arms 1 and 8 are equal to the bit in all trials: max cohort size changes how they are computed"),
    ],
    ids=["learnt", "computed"],
)
def test_the_report_names_arms_that_are_one(make, sentence, tmp_path):
    results = make(tmp_path)
    page = write_report(results).read_text("utf-8")
    assert sentence in page
    assert sentence in (tmp_path / "report.md").read_text("utf-8")


def test_a_gate_fails_closed_on_arms_that_are_one(tmp_path):
    changes = diff(equal_results(tmp_path), equal_results(tmp_path))
    for condition in ("changed", "verdicts"):
        assert changes.unjudged[condition] == (
            "its arms are equal to the bit: batch and none are equivalent within 2.0 points in test accuracy"
        )
    assert "equal to the bit" in changes.conditions["untested"]
    assert changes.unjudged["bits"] == ""


def test_verdicts_on_other_claims_stand(tmp_path):
    claims = [CLAIM, Claim.matches("batch", published=0.9, within=0.05, tau=0.5)]
    results = equal_results(tmp_path)
    judged = verdicts(
        replace(results, manifest=replace(results.manifest, claims=declared(*claims))), np.random.default_rng(0)
    )
    assert [verdict.word for verdict in judged] == ["undecided", "supported"]
