"""Verdicts that were looked at more than once: words stay, no look is forgotten, the level is spent once."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.analysis.looking.stages import Stage, at_look, stages_of
from harness.analysis.stats import ALPHA
from harness.analysis.stats.looks import counts_needed, level_spent, shows_failures_from
from harness.analysis.verdicts import verdicts
from harness.spec.claim import Claim
from harness.spec.looks import Look
from tests.support.benchmark_modules import benchmark_module
from tests.support.manifests import a_manifest
from tests.support.simulated import simulate

error_rates = benchmark_module("error_rates")
CASES = json.loads(Path(__file__).with_name("golden_verdicts.json").read_text("utf-8"))["cases"]
LOOKS = [case for case in CASES if case["kind"] == "looks"]
LEAD = Claim.better("batch", than="none")
EQUAL = Claim.equivalent("batch", to="none", within=0.05, tau=0.4)
LOOKED_AT = (10, 20, 40)


@pytest.mark.parametrize("case", LOOKS, ids=lambda case: case["id"])
def test_the_counts_that_decide_at_a_look_are_those_of_the_worked_cases(case):
    given = case["inputs"]
    is_two_sided = given["kind"] == "better"
    for claims, counts in case["expected"]["counts_needed"].items():
        needed = counts_needed(given["usable"], given["spending"], int(claims), is_two_sided=is_two_sided)
        assert list(needed) == counts, claims


@given(
    st.lists(st.integers(0, 14), min_size=1, max_size=4),
    st.lists(st.floats(0, 1), min_size=4, max_size=4).map(sorted),
    st.integers(1, 9),
    st.booleans(),
)
@settings(max_examples=25, deadline=None)
def test_looks_cross_in_alpha_of_walks_at_most_and_more_claims_never_need_less(steps, spent, claims, is_two_sided):
    usable = np.cumsum(steps).tolist()
    counts = counts_needed(usable, spent[: len(usable)], claims, is_two_sided=is_two_sided)
    walks = np.random.default_rng(0).integers(0, 2, (4000, max(usable[-1], 1))).cumsum(axis=1)
    heads = [walks[:, n - 1] if n else np.zeros(4000, int) for n in usable]
    crossed = np.zeros(4000, bool)
    for n, count, k in zip(usable, counts, heads, strict=True):
        crossed |= (k >= count) | (is_two_sided & (n - k >= count))
    rate = ALPHA / claims
    assert crossed.mean() <= rate + 4 * (rate / 4000) ** 0.5
    more = counts_needed(usable, spent[: len(usable)], claims + 1, is_two_sided=is_two_sided)
    assert all(a <= b for a, b in zip(counts, more, strict=True))


def suite_of(folder, differences, claims=(LEAD,), *, looks=(), max_seeds=0, lacking=()):
    """Results where batch is ahead by these differences; `lacking` are seeds without a result with none."""
    axes = {"norm": ["batch", "none"], "seed": range(len(differences))}
    results = simulate(folder, axes, claims=claims, status="ok", evaluations=2)
    trials = results.trials
    accuracy = 0.5 + np.asarray(differences)[trials["seed"]] * (trials["norm"] == "batch")
    status = trials["status"].mask(trials["seed"].isin(lacking) & (trials["norm"] == "none"), "crashed")
    manifest = replace(results.manifest, looks=list(looks), max_seeds=max_seeds)
    return replace(results, manifest=manifest, trials=trials.assign(test_accuracy=accuracy, status=status))


def planned(*seeds):
    return [Look(seeds=n, max_seeds=40) for n in seeds]


signs = st.lists(st.sampled_from([-0.01, 0.01, 0.01, 0.01, 0.3]), min_size=40, max_size=40)


@settings(max_examples=6, deadline=None)
@given(signs, st.lists(st.sampled_from([0.0, 0.02, 0.2]), max_size=3, unique=True))
def test_words_are_those_of_the_counts_by_hand(tmp_path_factory, differences, margins):
    """An oracle of its own: counts of seeds against the boundaries, claims stepping down together."""
    claims = [Claim.better("batch", than="none", by=margin) for margin in margins] or [LEAD]
    results = suite_of(tmp_path_factory.mktemp("s"), differences, claims, looks=planned(10, 20), max_seeds=40)
    words = {}
    for look, n in enumerate(LOOKED_AT):
        while True:
            open_claims = [claim for claim in claims if claim.margin not in words]
            if not open_claims:
                break
            needed = counts_needed(LOOKED_AT, (0.2, 0.5, 1.0), len(open_claims))[look]
            heads = {claim.margin: sum(d > claim.margin + 1e-9 for d in differences[:n]) for claim in open_claims}
            given = {margin: ("supported", n) for margin, ahead in heads.items() if ahead >= needed}
            given |= {margin: ("refuted", n) for margin, ahead in heads.items() if n - ahead >= needed}
            words |= given
            if not given:
                break
    for verdict in verdicts(results):
        word, seeds = words.get(verdict.claim.margin, ("undecided", 40))
        assert (verdict.word, verdict.looks[-1]) == (word, (seeds, word))
        assert (verdict.comparisons[0].p_adjusted < ALPHA) == (word != "undecided")


@settings(max_examples=6, deadline=None)
@given(signs, st.sampled_from([LEAD, EQUAL]))
def test_a_word_stays_whatever_comes_after_it(tmp_path_factory, differences, claim):
    before = None
    for number, n in enumerate(LOOKED_AT):
        looks = planned(*LOOKED_AT[:number])
        (verdict,) = verdicts(
            suite_of(tmp_path_factory.mktemp("s"), differences[:n], [claim], looks=looks, max_seeds=40)
        )
        if before is not None and before.word in ("supported", "refuted"):
            assert (verdict.word, verdict.looks) == (before.word, before.looks)
            assert repr(verdict.comparisons) == repr(before.comparisons)
            assert verdict.sentence == before.sentence
        before = verdict


@settings(max_examples=8, deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 0.01, -0.02, 0.06, -0.07]), min_size=40, max_size=40), st.sampled_from([0.1, 0.4])
)
def test_equalities_get_the_words_that_the_simulation_of_error_rates_gives_them(tmp_path_factory, differences, tau):
    """The tables of docs/measurements.md are of this very procedure."""
    claim, pairs = replace(EQUAL, tau=tau), np.array(differences)[None, None]
    trained = np.zeros(pairs.shape, bool)
    words, _ = error_rates.equality_until_decided(error_rates.Pairs(pairs / claim.margin, trained, trained), tau)
    (verdict,) = verdicts(
        suite_of(tmp_path_factory.mktemp("s"), differences, [claim], looks=planned(10, 20), max_seeds=40)
    )
    assert verdict.word == {1: "supported", -1: "refuted", 0: "undecided"}[int(words[0, 0])]


def test_one_look_that_spends_all_is_the_verdict_of_a_report(tmp_path):
    rng = np.random.default_rng(3)
    for _ in range(8):
        differences = rng.normal(0.01, 0.02, 20)
        alone = suite_of(tmp_path, differences, [LEAD, EQUAL])
        looked_at = suite_of(tmp_path, differences, [LEAD, EQUAL], looks=[Look(seeds=20)])
        assert [v.word for v in verdicts(alone)] == [v.word for v in verdicts(looked_at)]


def test_raising_seeds_after_a_look_leaves_what_that_has_not_spent(tmp_path):
    """9 of 10 seeds decide where that is the only look; 15 of 20 do so alone, and not after a look at ten."""
    ahead = np.array([0.01] * 8 + [-0.01] * 2 + [0.01] * 7 + [-0.01] * 3)
    assert [v.word for v in verdicts(suite_of(tmp_path, ahead))] == ["supported"]
    (verdict,) = verdicts(suite_of(tmp_path, ahead, looks=[Look(seeds=10)]))
    assert (verdict.word, verdict.looks) == ("undecided", ((10, "undecided"), (20, "undecided")))
    assert verdict.sentence.startswith("Looked at with 10 seeds: undecided; with 20: undecided. ")


@pytest.mark.parametrize(
    ("tau", "expected"),
    [
        (0.4, ["supported"] * 3),  # .6^10 = .006 is below .01
        (0.2, ["undecided", "supported", "supported"]),  # .8^10 = .107 is above .01; .8^20 = .0115 is below .015
        (0.15, ["undecided", "undecided", "supported"]),  # .85^20 = .039 is above .015; .85^40 = .0015 is below .025
        (0.08, ["undecided"] * 3),  # .92^40 = .0356 is above .025
    ],
)
def test_the_half_on_failures_spends_its_level_over_the_looks_too(tmp_path, tau, expected):
    claim = replace(EQUAL, tau=tau)
    words = []
    for number, n in enumerate(LOOKED_AT):
        (verdict,) = verdicts(
            suite_of(tmp_path, np.zeros(n), [claim], looks=planned(*LOOKED_AT[:number]), max_seeds=40)
        )
        words.append(verdict.word)
    assert words == expected
    first = dict(zip(reversed(words), reversed(LOOKED_AT), strict=True)).get("supported")
    assert shows_failures_from(LOOKED_AT, (0.2, 0.5, 1.0), tau, 1) == first


def test_seeds_without_a_result_hold_a_word_back_at_a_look_too(tmp_path):
    (verdict,) = verdicts(suite_of(tmp_path, np.full(10, 0.1), max_seeds=40))
    assert verdict.word == "supported"
    (verdict,) = verdicts(suite_of(tmp_path, np.full(10, 0.1), max_seeds=40, lacking=[3]))
    assert verdict.word == "undecided"


def test_the_level_is_spent_as_planned():
    assert [level_spent(n, 40) for n in LOOKED_AT] == [0.2, 0.5, 1.0]
    seeds = {"seed": list(range(30))}
    looks = [Look(seeds=10, max_seeds=40), Look(seeds=20)]
    manifest = a_manifest(axes=seeds, looks=looks, max_seeds=40)
    assert stages_of(manifest) == [Stage(10, 0.2), Stage(20, 1.0), Stage(30, 1.0)]
    assert stages_of(a_manifest(axes={"seed": [0, 1]}, looks=looks)) == [Stage(2, 1.0)]


def test_the_results_at_a_look_are_those_of_its_seeds(tmp_path):
    results = suite_of(tmp_path, np.zeros(12))
    then = at_look(results, 10)
    assert set(then.trials["seed"]) == set(range(10)) == set(then.manifest.axes["seed"])
    assert then.manifest.trials == len(then.trials) == 20
    assert at_look(results, 12) is results
