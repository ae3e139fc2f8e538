"""suite.json: what a suite comes to, and what later runs keep of it."""

import json
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import DamageError, SuiteError, UsageError
from harness.spec.claim import Claim
from harness.spec.loader import load_suite
from harness.spec.manifest import (
    Manifest,
    check_settings,
    describe,
    differing_members,
    from_json,
    kinds_of_machines,
    to_json,
    trials_of,
    with_history,
    with_metrics,
)
from harness.spec.measured import Aim, measured
from tests.support.manifests import a_manifest, declared, manifest_of, manifests
from tests.support.strategies import a_trial, trials

HEAD = "from harness import Claim, Suite\n"
PATH = Path("results/suite.json")
AFTER_A_RUN = a_manifest(
    claims=declared(Claim.better("batch", than="none")),
    device="cpu",
    fingerprint={"torch": "2.13.0"},
    machine={"host": "a-host"},
)


def described(tmp_path, text):
    (tmp_path / "s.py").write_text(f'"""Q?"""\n{HEAD}{text}', "utf-8")
    suite = load_suite(tmp_path / "s.py")
    return describe(suite, list(suite.trials(device="cpu")))


def test_axes_vary_and_settings_do_not(tmp_path):
    manifest = described(
        tmp_path,
        'suite = Suite(dataset="digits", model="mlp-8", norm=["batch", "none"], lr=[0.1, 0.2], batch_size=5, steps=3, '
        "seed=[0, 1])",
    )
    assert manifest.axes == {"norm": ["batch", "none"], "lr": [0.1, 0.2], "seed": [0, 1]}
    assert manifest.settings["batch_size"] == 5
    assert manifest.settings["optimizer"] == "sgd"
    assert not set(manifest.axes) & set(manifest.settings)
    assert (manifest.question, manifest.trials, manifest.following) == ("Q?", 8, {})


@pytest.mark.parametrize(
    ("grids", "axes", "following"),
    [
        ("batch_size=4, lr=0.1, also=[dict(batch_size=8, lr=0.2)]", {"batch_size"}, {"lr": "batch_size"}),
        ("lr=0.1, batch_size=4, also=[dict(batch_size=8, lr=0.2)]", {"lr"}, {"batch_size": "lr"}),
        ("batch_size=[4, 8], lr=[0.1, 0.2]", {"batch_size", "lr"}, {}),
        ("batch_size=[4, 8, 16], lr=0.1, also=[dict(batch_size=8, lr=0.2)]", {"batch_size", "lr"}, {}),
    ],
)
def test_an_axis_that_follows_another_is_no_axis_of_its_own(tmp_path, grids, axes, following):
    manifest = described(
        tmp_path, f'suite = Suite(dataset="digits", model="mlp-8", norm=["batch", "none"], steps=3, {grids})'
    )
    assert set(manifest.axes) == {"norm", *axes}
    assert manifest.following == following


def test_a_claim_keeps_the_moment_of_its_first_declaration(tmp_path):
    text = (
        'suite = Suite(dataset="digits", model="mlp-8", norm=["batch", "none"], lr=0.1, batch_size=5, steps=3, '
        'claims=[Claim.better("batch", than="none"), Claim.better("batch", than="none", by=0.1)])'
    )
    now = described(tmp_path, text)
    first = with_history(replace(now, claims=now.claims[:1]), None, cohorts=[], results=0)
    later = with_history(now, first, cohorts=[], results=7)
    again = with_history(now, later, cohorts=[], results=9)
    assert [claim.declared_after for claim in again.claims] == [0, 7]


def test_a_claim_that_is_withdrawn_once_there_are_results_is_remembered_and_may_come_back(tmp_path):
    text = (
        'suite = Suite(dataset="digits", model="mlp-8", norm=["batch", "none"], lr=0.1, batch_size=5, steps=3, '
        'claims=[Claim.better("batch", than="none"), Claim.better("batch", than="none", by=0.1)])'
    )
    both = described(tmp_path, text)
    one = replace(both, claims=both.claims[:1])
    first = with_history(both, None, cohorts=[], results=0)
    assert not with_history(one, first, cohorts=[], results=0).withdrawn, "before there are results claims may go"
    fewer = with_history(one, first, cohorts=[], results=7)
    assert list(fewer.withdrawn) == list(both.claims[1:])
    read_back = from_json(written(fewer), PATH)
    assert list(with_history(one, read_back, cohorts=[], results=9).withdrawn) == list(both.claims[1:])
    again = with_history(both, read_back, cohorts=[], results=9)
    assert ([claim.declared_after for claim in again.claims], list(again.withdrawn)) == ([0, 0], [])
    late = with_history(both, with_history(one, None, cohorts=[], results=0), cohorts=[], results=7)
    assert not with_history(one, late, cohorts=[], results=9).withdrawn, "what came late is of no family"


def test_a_claim_that_was_kept_by_an_earlier_version_is_the_same_claim(tmp_path):
    text = (
        'suite = Suite(dataset="digits", model="mlp-8", norm=["batch", "none"], lr=[0.1, 0.2], batch_size=5, steps=3, '
        'claims=[Claim.better("batch", than="none", lr=(0.1, 0.2))])'
    )
    now = described(tmp_path, text)
    fields = ("kind", "arm", "than", "margin", "metric", "where")  # all that version 0.1 knew
    (claim,) = written(now)["claims"]
    old = {**written(now), "claims": [{**{f: claim[f] for f in fields}, "declared_after": 4}]}
    assert with_history(now, from_json(old, PATH), cohorts=[], results=9).claims[0].declared_after == 4


@given(manifests())
def test_a_manifest_comes_back_from_json_as_it_was(manifest):
    assert from_json(written(manifest), PATH) == manifest


def test_the_members_of_suite_json_are_those_that_other_versions_know():
    claim = Claim.better("batch", than="none", lr=0.1)
    manifest = a_manifest(claims=declared(claim, after=3))
    before = ["name", "question", "path", "compare", "target_accuracy", "axes", "following", "settings", "claims"]
    before += ["trials", "harness", "cohorts"]
    assert list(written(manifest)) == before
    assert list(written(AFTER_A_RUN)) == [*before, "device", "fingerprint", "machine"]
    merged = replace(AFTER_A_RUN, trials=1, points={"lr": [0.1]}, fingerprints=[{"torch": "2.12.0"}])
    assert set(written(merged)) - set(written(AFTER_A_RUN)) == {"points", "fingerprints"}
    assert written(manifest)["claims"] == [{**asdict(claim), "declared_after": 3}]


def test_what_older_versions_did_not_write_may_be_missing():
    content = written(AFTER_A_RUN)
    for name in ("following", "machine", "fingerprint", "device", "cohorts"):
        del content[name]
    for name in set(content["claims"][0]) - {"kind", "arm", "than", "margin"}:
        del content["claims"][0][name]
    manifest = from_json(content, PATH)
    assert (manifest.following, manifest.machine, manifest.device, list(manifest.cohorts)) == ({}, {}, None, [])
    assert list(manifest.claims) == declared(Claim(kind="better", arm="batch", than="none", margin=0.0))


NO_AIM = Aim()
SPEC = {"words": "cost", "higher_is_better": False}
WRONG = {  # member -> values that it can't have
    **{name: [None, 1, ["a"]] for name in ("name", "question", "path", "compare", "harness")},
    "device": [1, ["a"]],
    "target_accuracy": ["0.9", True, [0.9]],
    "target": [None, 0.9, ["rmse"], {"rmse": "50"}, {"rmse": None}, {"rmse": True}],
    "metrics": [None, ["rmse"], {"cost": "kWh"}, {"cost": {"words": "cost"}}, {"cost": {**SPEC, "unit": 1}}],
    "axes": [None, [], {"lr": 0.1}, {"lr": []}, {"lr": [[0.1]]}, {"lr": [{}]}, {"lr": "ab"}],
    "following": [None, ["lr"], {"lr": 1}, {"lr": None}],
    **{name: [None, ["lr"], {"lr": [0.1]}, {"lr": {}}] for name in ("settings", "fingerprint", "machine")},
    **{name: [None, {}, "claims", [None], ["better"]] for name in ("claims", "withdrawn")},
    "max_seeds": [None, "40", 1.5],
    "looks": [None, {}, [10]],
    "added": [None, {}, [10]],
    "growth": [1, []],
    "trials": [None, -1, 1.0, True, "1"],
    "points": [None, [], {"lr": 0.1}, {"lr": [[0.1]]}, {"lr": {}}],
    "sources": [None, [], {"net": []}, {"net": {"f00": "s.py"}}, {"net": {"f00": {"s.py": 1}}}],
    "fingerprints": [None, {}, ["torch"], [None], [{"torch": ["2.13"]}]],
    "tables": [None, [], ["trials.csv"], {"trials.csv": 1}],
    "cohorts": [None, "ab", ["ab"], [[1]], [None]],
}
WRONG_IN_A_CLAIM = {
    **{name: [None, 1, ["a"]] for name in ("kind", "metric", "along")},
    "at": [None, 1, "middle"],
    **{name: [["batch"], {}] for name in ("arm", "than")},
    **{name: [None, ["lr"], {"lr": {}}, {"lr": [[0.1]]}] for name in ("where", "against")},
    "margin": [None, "0.1", True, -1],
    **{name: ["0.1", True, [0.1]] for name in ("within", "published")},
    "is_ratio": [None, 1, "yes"],
    "tau": [None, "0.1", True, 0, 1, 1.5],
    "declared_after": [None, -1, 1.0, True],
}


def test_every_member_has_wrong_values_to_be_tried():
    assert WRONG.keys() == {f.name for f in fields(Manifest)}
    assert WRONG_IN_A_CLAIM.keys() == {f.name for f in fields(Claim)} | {"declared_after"}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_member_of_a_wrong_type_is_refused(name, value):
    refused({**written(AFTER_A_RUN), name: value}, name)


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in WRONG_IN_A_CLAIM.items() for value in values]
)
def test_a_claim_with_a_member_of_a_wrong_type_is_refused(name, value):
    content = written(AFTER_A_RUN)
    content["claims"][0][name] = value
    refused(content, f"in claim 1, .*{name}")


def test_a_claim_of_an_arm_against_itself_is_refused():
    content = written(AFTER_A_RUN)
    content["claims"][0]["than"] = "batch"
    refused(content, "in claim 1, a claim compares two arms")


NEEDED = ("name", "question", "path", "compare", "target_accuracy", "axes", "settings", "claims", "trials", "harness")


@pytest.mark.parametrize("name", NEEDED)
def test_a_missing_member_is_refused(name):
    content = written(AFTER_A_RUN)
    del content[name]
    refused(content, f"{name} is missing")


@pytest.mark.parametrize("name", ["kind", "arm", "than", "margin"])
def test_a_claim_that_lacks_a_member_is_refused(name):
    content = written(AFTER_A_RUN)
    del content["claims"][0][name]
    refused(content, f"in claim 1, {name} is missing")


def test_an_unknown_member_is_refused():
    content = written(AFTER_A_RUN)
    refused({**content, "nmae": "a"}, "'nmae' is unknown")
    content["claims"][0]["margni"] = 1
    refused(content, "in claim 1, 'margni' is unknown")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"compare": "nrm"}, "it compares 'nrm', which is none of its axes or settings"),
        ({"axes": {"lrr": [0.1]}}, "unknown field 'lrr'"),
        ({"axes": {"lr": [0.1, "0.2"]}}, "lr must be float, got '0.2'"),
        ({"settings": {"norm": "none", "accumulate": 1}}, "unknown field 'accumulate'"),
        ({"settings": {"norm": 3}}, "norm must be str, got 3"),
    ],
)
def test_a_manifest_by_which_no_table_can_be_read_is_refused(changes, said):
    check_settings(a_manifest(), PATH)
    with pytest.raises(DamageError, match=f"^results/suite.json is no manifest of this version: {said}"):
        check_settings(a_manifest(**changes), PATH)


@pytest.mark.parametrize(("member", "value", "trials"), [("trials", 10**9, 10**9), ("points", {"seed": [0, 1]}, 3)])
def test_as_many_points_as_trials_or_a_refusal(member, value, trials):
    content = written(manifest_of([a_trial(seed=seed) for seed in range(3)]))
    refused({**content, member: value}, f"it has {trials} trials, and not as many points")


@given(st.lists(trials(), min_size=1, max_size=5, unique=True))
def test_the_trials_of_a_manifest_are_those_that_it_was_made_of(given_trials):
    manifest = from_json(written(manifest_of(given_trials)), PATH)
    assert trials_of(manifest, PATH) == given_trials


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"points": {}}, UsageError, "of an earlier version, .*; `report` writes it again"),
        ({"points": {"seed": [0, 0, 2]}}, DamageError, "it has a trial twice"),
        ({"points": {"seed": [0, 1, -2]}}, DamageError, "it has a trial that can't be: seed must be zero or more"),
        ({"points": {"sede": [0, 1, 2]}}, DamageError, "it has a trial that can't be: .*sede"),
        ({"settings": {}}, DamageError, "it has a trial that can't be: .*missing"),
    ],
)
def test_a_manifest_whose_trials_can_not_be_is_refused(changes, error, words):
    manifest = manifest_of([a_trial(seed=seed) for seed in range(3)])
    with pytest.raises(error, match=f"results/suite.json is .*{words}"):
        trials_of(replace(manifest, **changes), PATH)


def test_kinds_of_machines_are_told_apart_by_what_differs():
    old, new = {"torch": "2.12", "cpu": "AVX2"}, {"torch": "2.13", "cpu": "AVX2", "native": "g++"}
    assert kinds_of_machines(a_manifest()) == []
    assert kinds_of_machines(a_manifest(fingerprint=old)) == [old]
    merged = a_manifest(fingerprint=new, fingerprints=[old, new])
    assert kinds_of_machines(merged) == [new, old]
    assert differing_members(kinds_of_machines(merged)) == {"torch": ["2.12", "2.13"], "native": ["", "g++"]}
    assert differing_members([old]) == differing_members([]) == {}


def written(manifest):
    """The members of suite.json as they are read again."""
    return json.loads(json.dumps(to_json(manifest)))


def refused(content, words):
    with pytest.raises(DamageError, match=f"^results/suite.json is no manifest: {words}") as error:
        from_json(content, PATH)
    assert "\n" not in str(error.value)


def metric_of(claim, tasks, aim=NO_AIM):
    (resolved,) = with_metrics([claim], measured(tasks, [], aim))
    return resolved.metric


def test_a_claim_without_a_metric_is_about_what_the_task_is_judged_by():
    unnamed, named = Claim.better("batch", than="none"), Claim.better("batch", than="none", metric="test_accuracy")
    assert metric_of(unnamed, ["classification"]) == metric_of(unnamed, ["sequence"]) == "test_accuracy"
    assert metric_of(unnamed, ["regression"]) == "test_rmse"
    assert metric_of(named, ["regression"]) == "test_accuracy", "a name that is wrong is refused, and not replaced"
    with pytest.raises(SuiteError, match=r"claim 1 \(better\): tasks are judged by rmse and f1; give it a metric"):
        metric_of(unnamed, ["regression", "multilabel"])
    assert metric_of(unnamed, ["regression", "multilabel"], Aim(target={"exact_match": 0.5})) == "test_exact_match"


def test_raising_the_seeds_after_all_trials_have_ended_counts_as_a_look():
    few = a_manifest(axes={"seed": [0, 1]}, trials=2)
    more = replace(few, axes={"seed": [0, 1, 2]}, trials=3)
    raised = with_history(more, few, cohorts=[], results=2, ended=2)
    assert [look.seeds for look in raised.looks] == [2]
    assert with_history(more, raised, cohorts=[], results=3, ended=3).looks == raised.looks, "it is counted once"
    assert not with_history(more, few, cohorts=[], results=1, ended=1).looks, "there was no verdict on all trials yet"
    assert from_json(json.loads(json.dumps(to_json(raised))), Path("suite.json")).looks == raised.looks
