"""The shipped suites: they load, their claims can be answered, and they have the seeds for a verdict."""

from pathlib import Path

import pytest

from harness.analysis.validation import check_claims
from harness.spec.loader import load_suite
from harness.spec.manifest import describe

SUITES = sorted((Path(__file__).parents[2] / "suites").glob("*.py"))


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_a_shipped_suite_asks_a_question_and_claims_what_it_can_answer(path):
    suite = load_suite(path)
    assert suite.question.endswith("?")
    assert suite.suite.claims, "a suite without a claim has no verdict"
    manifest = describe(suite, list(suite.trials(device="cpu")))
    check_claims(suite.suite.claims, manifest)
    assert len(manifest.axes["seed"]) >= 10


def test_a_suite_for_each_name_that_the_readme_uses():
    readme = (SUITES[0].parent.parent / "README.md").read_text("utf-8")
    assert {path.stem for path in SUITES} >= {"lr_sweep", "circles"}
    for path in SUITES:
        assert f"`{path.stem}`" in readme, f"the README doesn't say what {path.stem} asks"
