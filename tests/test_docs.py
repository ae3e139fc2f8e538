"""The documentation's sources: what `tox -e docs` would not notice."""

import re
from pathlib import Path

import pytest

import harness

REPOSITORY = Path(__file__).parent.parent
DOCS = REPOSITORY / "docs"
DECISIONS = sorted((DOCS / "decisions").glob("0*.md"))


def test_every_public_name_is_in_the_reference():
    documented = re.findall(r"^::: harness\.(\w+)$", (DOCS / "api.md").read_text("utf-8"), flags=re.MULTILINE)
    assert sorted(documented) == sorted(harness.__all__)


def test_decisions_are_numbered_without_gaps():
    assert [int(path.name[:4]) for path in DECISIONS] == list(range(1, len(DECISIONS) + 1))


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.name[:4])
def test_a_decision_says_why_and_what_was_measured(path):
    title, *lines = path.read_text("utf-8").splitlines()
    assert title.startswith(f"# {path.name[:4]}: ")
    sections = {line.removeprefix("## ") for line in lines if line.startswith("## ")}
    assert sections == {"Context", "Decision", "Evidence", "Consequences"}
    assert f"[{path.name[:4]}]({path.name})" in (DOCS / "decisions/index.md").read_text("utf-8")


def test_the_suite_on_the_first_page_is_that_of_the_readme():
    def suite(path):
        return path.read_text("utf-8").partition("```python\n")[2].partition("```")[0]

    assert suite(DOCS / "index.md") == suite(REPOSITORY / "README.md") != ""
