"""Manifests of several folders: one for all of them where they are of one suite, otherwise a line that says why not."""

from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import DamageError, UsageError
from harness.spec.claim import Claim
from harness.spec.manifest import trials_of
from harness.spec.manifest_merge import merge_manifests
from tests.support.manifests import declared, manifest_of
from tests.support.strategies import a_trial

CLAIM, OTHER_CLAIM = Claim.better("batch", than="none"), Claim.better("batch", than="none", by=0.1)
OLD, NEW = {"torch": "2.12", "cpu": "AVX2"}, {"torch": "2.13", "cpu": "AVX2"}


def grid(seeds=range(3), norms=("batch", "none"), **settings):
    return [a_trial(seed=seed, norm=norm, **settings) for seed in seeds for norm in norms]


def merged(*manifests):
    """The manifest and the trials that these come to."""
    return merge_manifests({Path(f"machine{i}"): manifest for i, manifest in enumerate(manifests)})


def keys(trials, *positions):
    return [trials[i].key for i in positions]


def test_one_suite_on_several_machines_is_that_suite():
    manifest = manifest_of(grid(), claims=declared(CLAIM), fingerprint=OLD, device="cpu", harness="0.1.0")
    assert merged(manifest, manifest, manifest) == (manifest_of(grid(), **ONE_RUN), grid())


ONE_RUN = {"claims": declared(CLAIM), "fingerprint": OLD, "device": "cpu", "harness": "0.1.0"}


@given(st.lists(st.sets(st.integers(0, 9), min_size=1, max_size=4), min_size=1, max_size=4), st.data())
def test_shards_by_seed_come_to_the_whole_grid_in_whatever_order_they_are_named(shards, data):
    manifests = [manifest_of(grid(sorted(seeds))) for seeds in shards]
    whole = grid(sorted(set().union(*shards)))
    manifest, trials = merged(*data.draw(st.permutations(manifests)))
    assert trials == whole
    assert replace(manifest, harness="0.2.0") == manifest_of(whole)
    assert trials_of(manifest, Path("suite.json")) == whole


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (manifest_of(grid(), question="What?"), "question is 'Q\\?' in the one, 'What\\?' in the other"),
        (manifest_of(grid(), name="other"), "name is 'suite' in the one, 'other' in the other"),
        (manifest_of(grid(), target_accuracy=0.9), "target accuracy is None in the one, 0.9 in the other"),
        (manifest_of(grid(), compare="lr"), "compare is 'norm' in the one, 'lr' in the other"),
        (manifest_of(grid(), claims=declared(CLAIM)), "the one makes 0 claims, the other 1"),
        (manifest_of(grid(lr=0.2)), "lr is 0.1 in the one, 0.2 in the other"),
        (
            manifest_of(grid(norms=("batch", "layer"))),
            "norm is 'batch', 'none' in the one, 'batch', 'layer' in the oth",
        ),
        (manifest_of(grid(device="cuda")), "device is 'auto' in the one, 'cuda' in the other"),
        (manifest_of(grid(source="0" * 16)), "source is '' in the one, '0000000000000000' in the other"),
        (manifest_of(grid()[:-1]), "they combine the same values into other trials"),
        (manifest_of([*grid(), a_trial(seed=3)]), "they combine the same values into other trials"),
    ],
    ids=["question", "name", "target", "compare", "claims", "lr", "norms", "device", "source", "one less", "one more"],
)
def test_another_suite_is_refused_with_what_differs(other, words):
    for pair in ((manifest_of(grid()), other), (manifest_of(grid()), manifest_of(grid()), other)):
        with pytest.raises(
            UsageError, match=f"^machine0 and machine{len(pair) - 1} are not of the same suite: {words}"
        ):
            merged(*pair)


def test_claims_with_another_margin_are_not_the_same():
    both = [manifest_of(grid(), claims=declared(CLAIM, claim)) for claim in (CLAIM, OTHER_CLAIM)]
    with pytest.raises(UsageError, match="claim 2 is not the same in both"):
        merged(*both)


def test_many_values_are_not_all_listed():
    both = [manifest_of([a_trial(lr=lr) for lr in range(1, count)]) for count in (9, 10)]
    with pytest.raises(
        UsageError, match=r"lr is 1.0, .*6.0 and 2 more in the one, 1.0, .*6.0 and 3 more in the other$"
    ):
        merged(*both)


def test_a_claim_that_was_withdrawn_in_one_folder_stays_withdrawn():
    manifests = [
        replace(manifest_of(grid(), claims=declared(CLAIM)), withdrawn=gone) for gone in ([], declared(OTHER_CLAIM))
    ]
    for order in (manifests, manifests[::-1]):
        assert list(merged(*order)[0].withdrawn) == declared(OTHER_CLAIM)


def test_a_claim_counts_as_declared_where_most_results_were_known():
    manifests = [manifest_of(grid(), claims=declared(CLAIM, OTHER_CLAIM, after=after)) for after in (0, 7, 3)]
    assert [d.declared_after for d in merged(*manifests)[0].claims] == [7, 7]
    assert [d.claim for d in merged(*manifests)[0].claims] == [CLAIM, OTHER_CLAIM]


def test_kinds_of_machines_are_kept_where_there_are_several():
    old, new = (manifest_of(grid(), fingerprint=kind) for kind in (OLD, NEW))
    assert (merged(old, old)[0].fingerprint, merged(old, old)[0].fingerprints) == (OLD, [])
    for manifests in ((old, new), (new, old), (new, merged(old, new)[0]), (old, new, merged(new, old)[0])):
        assert (merged(*manifests)[0].fingerprint, merged(*manifests)[0].fingerprints) == (OLD, [OLD, NEW])


def test_of_the_machine_remains_what_all_agree_on():
    machines = [{"host": "a", "python": "3.12"}, {"host": "b", "python": "3.12", "gpus": 1}]
    manifests = [manifest_of(grid(), fingerprint=OLD, machine=machine) for machine in machines]
    both, _ = merged(*manifests)
    assert both.machine == {"python": "3.12"}
    assert merged(manifest_of(grid()), manifests[0])[0].machine == machines[0], "where nothing ran there is no machine"
    assert merged(both, *manifests)[0] == both


def test_cohorts_are_kept_where_no_machine_has_cut_them_in_another_way():
    trials = grid()
    one = manifest_of(trials, cohorts=[keys(trials, 2, 4), keys(trials, 0, 1), keys(trials, 3, 5)])
    other = manifest_of(trials, cohorts=[keys(trials, 0, 1), keys(trials, 3), keys(trials, 5), []])
    assert merged(one, one)[0].cohorts == [keys(trials, 0, 1), keys(trials, 2, 4), keys(trials, 3, 5)]
    assert merged(one, other)[0].cohorts == merged(other, one)[0].cohorts == [keys(trials, 0, 1), keys(trials, 2, 4)]
    stranger = manifest_of(trials, cohorts=[["0" * 16, trials[0].key]])
    assert merged(stranger)[0].cohorts == []


@given(st.data())
def test_the_order_of_folders_has_no_part_and_merging_again_changes_nothing(data):
    trials = grid()
    manifests = [
        manifest_of(
            grid(data.draw(st.sampled_from([range(3), range(2), [1, 4]]))),
            claims=declared(CLAIM, after=data.draw(st.integers(0, 9))),
            fingerprint=data.draw(st.sampled_from([{}, OLD, NEW])),
            machine=data.draw(st.sampled_from([{}, {"host": "a"}, {"host": "b", "python": "3.12"}])),
            path=data.draw(st.sampled_from(["suites/s.py", "s.py", "/a/s.py"])),
            cohorts=data.draw(st.sampled_from([[], [keys(trials, 0, 1)], [keys(trials, 0), keys(trials, 2, 3)]])),
        )
        for _ in range(3)
    ]
    first = merged(*manifests)
    assert all(merged(*order) == first for order in permutations(manifests))
    assert merged(first[0], *manifests) == first


def test_the_shortest_path_that_holds_on_any_machine_is_the_path_of_the_suite():
    paths = ["/b/s.py", "suites/s.py", "../s/suites/s.py"]
    assert merged(*(manifest_of(grid(), path=path) for path in paths))[0].path == "suites/s.py"


def test_a_manifest_with_trials_that_can_not_be_is_named():
    wrong = replace(manifest_of(grid()), points={"seed": [0] * 6})
    with pytest.raises(DamageError, match=r"^machine1/suite.json is no manifest: it has a trial twice"):
        merged(manifest_of(grid()), wrong)
