"""The shipped suites: they load, their claims can be answered, and they have the seeds for a verdict."""

import json
from pathlib import Path

import pytest

from harness.analysis.validation import check_claims
from harness.spec.loader import load_suite
from harness.spec.manifest import describe, from_json, to_json, trials_of

SUITES = sorted((Path(__file__).parents[2] / "suites").glob("*.py"))


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_a_shipped_suite_asks_a_question_and_claims_what_it_can_answer(path):
    suite = load_suite(path)
    assert suite.question.endswith("?")
    assert suite.suite.claims, "a suite without a claim has no verdict"
    manifest = describe(suite, list(suite.trials(device="cpu")))
    check_claims(suite.suite.claims, manifest)
    assert len(manifest.axes["seed"]) >= 10


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_suite_json_lists_every_trial_of_a_shipped_suite(path):
    suite = load_suite(path)
    trials = list(suite.trials(device="cpu"))
    content = json.loads(json.dumps(to_json(describe(suite, trials))))
    assert trials_of(from_json(content, path), path) == trials


def test_the_docs_have_a_row_for_each_suite():
    page = (SUITES[0].parent.parent / "docs/shipped_suites.md").read_text("utf-8")
    assert {path.stem for path in SUITES} >= {"lr_sweep", "circles"}
    for path in SUITES:
        assert f"\n| `{path.stem}`" in page or f", `{path.stem}` |" in page, f"no page says what {path.stem} asks"
