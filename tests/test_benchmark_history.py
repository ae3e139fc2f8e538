"""The history of benchmarks: figures are added, measured again, and drawn."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FIGURE = {
    "date": "2026-01-02",
    "commit": "abc",
    "machine": "a CPU, 2 cores",
    "versions": "Python 3, torch 2",
    "aim": "1",
    "what": "a grid, against a loop",
    "aimed_at": ">= 80",
    "figure": 40.5,
}


@pytest.fixture
def history(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("history")


def rows(history, path):
    return history.read_history(path).to_dict("records")


def test_figures_are_read_as_they_were_added(history, tmp_path):
    path = tmp_path / "history.csv"
    added = [FIGURE, {**FIGURE, "what": "another", "aimed_at": "", "figure": 1e-3}]
    history.append(path, [history.Figure(**added[0])])
    history.append(path, [history.Figure(**added[1])])
    assert rows(history, path) == added


def test_a_figure_that_is_measured_again_replaces_that_of_the_same_commit_and_machine_alone(history, tmp_path):
    path = tmp_path / "history.csv"
    changes = [{}, {"commit": "def"}, {"machine": "another"}, {"what": "other"}, {"aim": "2"}]
    history.append(path, [history.Figure(**FIGURE | change) for change in changes])
    history.append(path, [history.Figure(**FIGURE | {"figure": 7.0, "date": "2026-01-03"})])
    found = rows(history, path)
    assert found[-1] == FIGURE | {"figure": 7.0, "date": "2026-01-03"}
    assert found[:-1] == [FIGURE | change for change in changes[1:]]


def test_a_machine_that_tells_no_name_has_a_history_too(history, tmp_path):
    path = tmp_path / "history.csv"
    history.append(path, [history.Figure(**FIGURE | {"machine": "NA", "commit": "1234567890"})])
    assert rows(history, path) == [FIGURE | {"machine": "NA", "commit": "1234567890"}]


@pytest.mark.parametrize(("cell", "number"), [("33.7", 33.7), ("1,491", 1491.0), ("no JAX", None), ("", None)])
def test_what_a_cell_says_is_a_number_or_nothing(history, cell, number):
    assert history.number(cell) == number


def test_the_picture_has_a_panel_for_each_figure_with_an_aim_and_the_same_bytes_each_time(history, tmp_path):
    path, changes = tmp_path / "history.csv", [{}, {"commit": "def"}, {"machine": "another"}, {"what": "the second"}]
    without_aim = {"what": "not drawn", "aimed_at": ""}
    history.append(path, [history.Figure(**FIGURE | change) for change in [*changes, without_aim]])
    pictures = [tmp_path / "a.svg", tmp_path / "b.svg"]
    for picture in pictures:
        history.draw(history.read_history(path), picture)
    text = pictures[0].read_text("utf-8")
    assert text == pictures[1].read_text("utf-8")
    assert len(re.findall(r'<g id="axes_\d+">', text)) == 2
    assert all(words in text for words in ("a grid, against a loop", "the second", "abc", "def", "another"))
    assert "not drawn" not in text


def test_a_commit_is_marked_where_the_code_is_not_as_it_has_it(history, tmp_path):
    def git(*words):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=b@c", *words], cwd=tmp_path, check=True)

    (tmp_path / "harness").mkdir()
    code = tmp_path / "harness" / "a.py"
    code.write_text("1")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "a")
    clean = history.commit(tmp_path)
    (tmp_path / "docs.md").write_text("new")
    assert history.commit(tmp_path) == clean
    code.write_text("2")
    assert history.commit(tmp_path) == f"{clean}-dirty"


def test_the_history_that_is_kept_can_be_read_and_each_figure_stands_in_it_once(history):
    kept = history.read_history(history.CSV)
    assert len(kept)
    assert kept["figure"].notna().all()
    assert not kept.duplicated(history.KEY).any()


SESSION = """
import sys
from pathlib import Path

sys.path.insert(0, "benchmarks")
import conftest
from harness.spec.trial import Trial

folder = Path(sys.argv[1])
conftest.PAGE = folder / "page.md"
conftest.history.CSV, conftest.history.PICTURE = folder / "a.csv", folder / "a.svg"
trial = Trial(dataset="digits", model="mlp-16-16", lr=0.1, batch_size=32, steps=1, norm="batch")
conftest.ROWS += [("2", "b", "", "no JAX"), ("1", "a", ">= 2", "1,491")]
conftest.SIZES.append((trial, 64, 8.0, 12.0, 300.0))
conftest.pytest_sessionfinish()
"""


def test_a_session_writes_its_tables_into_the_page_and_its_numbers_into_the_history(history, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("".join(f"<!-- begin: {name} -->\n<!-- end: {name} -->\n" for name in ("cpu", "sizes")))
    subprocess.run([sys.executable, "-c", SESSION, str(tmp_path)], cwd=ROOT, check=True, capture_output=True)
    lines = page.read_text().splitlines()
    assert (
        lines.index("| 1 | a | >= 2 | 1,491 |")
        < lines.index("| 2 | b |  | no JAX |")
        < lines.index("<!-- end: cpu -->")
    )
    assert "| mlp-16-16 | 32 | batch | 64 | 8.0 | 1.50 | 37.5 |" in lines[lines.index("<!-- begin: sizes -->") :]
    size = "us per model-step of mlp-16-16 at batch 32, batch"
    assert {row["what"]: row["figure"] for row in rows(history, tmp_path / "a.csv")} == {
        "a": 1491.0,
        size: 8.0,
        f"{size}, stacked layers": 12.0,
        f"{size}, the tutorial's loop": 300.0,
    }
    assert (tmp_path / "a.svg").exists()
