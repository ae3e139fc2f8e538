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


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "README.md", "docs/architecture.md", "docs/suites.md"])
def test_files_that_a_page_names_are_there(page):
    text = (REPOSITORY / page).read_text("utf-8")
    named = re.findall(r"`((?:harness|tests|suites|docs|benchmarks)/[\w./]*)`", text)
    assert [path for path in named if not (REPOSITORY / path).exists() and path != "suites/all"] == []


def test_tables_that_contributing_names_are_there():
    text = (REPOSITORY / "CONTRIBUTING.md").read_text("utf-8")
    code = "".join(path.read_text("utf-8") for path in (REPOSITORY / "harness").rglob("*.py"))
    tables = set(re.findall(r"`([A-Z]{4,})`", text))
    assert tables
    assert [name for name in sorted(tables) if not re.search(rf"^{name}\b.*=", code, flags=re.MULTILINE)] == []


def test_the_architecture_tells_of_every_folder():
    folders = {path.parent.name for path in (REPOSITORY / "harness").glob("*/__init__.py")}
    text = (DOCS / "architecture.md").read_text("utf-8")
    assert [folder for folder in sorted(folders) if f"`{folder}`" not in text] == []


def test_the_recipes_work_as_they_stand_on_the_results_that_ship(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").symlink_to(REPOSITORY / "results")
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "recipes.md").read_text("utf-8"), flags=re.DOTALL)
    names: dict[str, object] = {}
    for block in blocks:
        exec(block, names)
    assert {path.name for path in tmp_path.glob("*.p*")} == {"seeds.png", "curves.png", "lr_range.pdf"}
    out = capsys.readouterr().out
    for lr in ("0.003", "3"):  # both ends of the grid, in the table of the paper
        assert re.search(rf"^{lr} & ", out, flags=re.MULTILINE)
    lead = names["lead"]
    assert set(lead["seeds"]) == {30}
    assert lead["seeds ahead"].max() == 30
