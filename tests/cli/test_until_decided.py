"""`run --until-decided`: seeds added where a claim has no word, at looks that are recorded and never forgotten."""

import json

import pytest

from harness.spec.grids.grown import grown
from harness.spec.loader import load_suite
from harness.storage.records import ResultsDir, read_manifest

SUITE = '''"""Is one arm better?"""

from harness import Claim, Suite

suite = Suite(
    dataset="circles", model="mlp-4", norm=["batch", "none", "layer"], lr=0.1, batch_size=1400, seed=range(3), steps=2,
    claims=[Claim.better("batch", than="none", by=0.9)],
)
'''
RUN = ("run", "tiny", "--until-decided", "--max-seeds", "5", "--workers", "1", "--progress", "none")


def test_seeds_are_added_where_a_claim_has_no_word_and_a_run_again_counts_no_look_twice(harness):
    path = harness.suite(SUITE)
    ran = harness(*RUN)
    assert ran.code == 0, ran.err
    folder = harness.results / "tiny"
    manifest = json.loads((folder / "suite.json").read_text("utf-8"))
    assert manifest["looks"] == [{"seeds": 3, "max_seeds": 5}]
    assert manifest["added"] == [{"seeds": 5, "where": [{"norm": ["batch", "none"]}]}]
    assert manifest["trials"] == 3 * 3 + 2 * 2, "layer norm is in no claim: it keeps its seeds"
    assert "Looked at with 3 seeds: descriptive; with 5: descriptive." in (folder / "report.md").read_text("utf-8")
    before = (folder / "suite.json").read_bytes()
    assert harness(*RUN).code == 0
    assert (folder / "suite.json").read_bytes() == before
    changed = harness(*[word.replace("5", "6") for word in RUN])
    assert changed.code == 2
    assert "--max-seeds was 5" in changed.err
    assert "13 of 13 trials have a result" in harness("status", "tiny").out
    # Trials of added seeds are those of a suite that says range(n).
    suite = load_suite(path if path else harness.folder / "tiny.py")
    more = {trial.key for trial in suite.suite.trials(seeds=range(5))}
    assert {trial.key for trial in grown(suite, read_manifest(ResultsDir(folder))).trials(device="cpu")} < more


@pytest.mark.parametrize("other", [("--only", "norm=batch"), ("--shard", "1/2"), ("--join",)])
def test_parts_of_a_suite_are_refused(harness, other):
    harness.suite(SUITE)
    ran = harness(*RUN, *other)
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert f"leave {other[0]} out" in ran.err


def test_killed_it_goes_on_where_it_was_to_the_same_looks_and_bits(whole_and_killed):
    """Anywhere: before its look, at it, and at work on the seeds that are added."""
    run = (*(word for word in RUN if word not in ("--workers", "1")), "--executor", "in-process")
    whole, killed = whole_and_killed(SUITE, run, after=0.25)
    assert killed.tables() == whole.tables()
    looks = [json.loads((line.results / "tiny" / "suite.json").read_text("utf-8"))["looks"] for line in (whole, killed)]
    assert looks[0] == looks[1] == [{"seeds": 3, "max_seeds": 5}]
