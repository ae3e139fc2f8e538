"""What the page of an unfinished suite says, and what it leaves to the report."""

from datetime import UTC, datetime

import pandas as pd
import pytest

from harness.analysis.judging import VERDICTS
from harness.reporting.upkeep.interim import InterimPage, results_of
from harness.spec.claim import Claim
from harness.storage.records import ResultsDir, read_records, write_manifest, write_record
from harness.storage.tables import read_results, write_tables
from tests.support.manifests import declared, manifest_of
from tests.support.records import GRID, a_drawn_record, a_record, of_classification

NOW = datetime(2026, 5, 4, 3, 2, tzinfo=UTC)
LOST = "crashed"


@pytest.fixture
def place(tmp_path):
    """A suite of six trials with a claim; three were trained, and a fourth ended without a result."""
    place = ResultsDir(tmp_path / "suite")
    write_manifest(place, manifest_of(GRID, claims=declared(Claim.better("batch", than="none", by=0.01))))
    for trial in GRID[:3]:
        write_record(place, a_drawn_record(trial))
    write_record(place, a_record(GRID[3], outcome=LOST, facts={}, curves={}))
    return place


def text_of(place):
    return (place.root / "report" / "index.html").read_text("utf-8")


def test_it_tells_how_far_the_suite_is_and_has_no_word_of_a_verdict(place):
    InterimPage(place).write(NOW)
    body = text_of(place).partition("<body>")[2]
    assert "4 of 6 trials have ended; this page is of a run under way." in body
    assert "As of 2026-05-04 03:02 UTC; it reloads itself every minute." in body
    assert "How does training go?" in body
    assert LOST in body
    for word in {*VERDICTS} - {"descriptive"}:
        assert word not in body
    assert "badge" not in body


def test_it_reloads_itself_until_the_run_is_stopped(place):
    page = InterimPage(place)
    page.write(NOW)
    assert '<meta http-equiv="refresh" content="60">' in text_of(place)
    page.write(NOW, stopped="the time budget is used up", command="harness run <suite>")
    assert "refresh" not in text_of(place).partition("</head>")[0].partition("<style>")[0]
    assert "the run was stopped (the time budget is used up)" in text_of(place)
    assert "<code>harness run &lt;suite&gt;</code>" in text_of(place)


def test_nothing_is_written_before_a_trial_has_ended_nor_beside_the_page(place):
    for path in place.records.iterdir():
        path.unlink()
    page = InterimPage(place)
    page.write(NOW)
    assert not (place.root / "report").exists()
    write_record(place, a_drawn_record(GRID[5]))
    page.write(NOW)
    assert "1 of 6 trials have ended" in text_of(place)
    assert [path.name for path in (place.root / "report").iterdir()] == ["index.html"]
    assert not (place.root / "trials.csv").exists()


def test_a_page_that_somebody_else_writes_in_the_meantime_stays(place, monkeypatch):
    report = place.root / "report" / "index.html"

    def draw(_):
        report.parent.mkdir()
        report.write_text("the finished report", "utf-8")
        return []

    monkeypatch.setattr("harness.reporting.upkeep.interim._figures", draw)
    InterimPage(place).write(NOW)
    assert text_of(place) == "the finished report"


def test_figures_are_drawn_again_where_more_trials_have_ended_alone(place, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        "harness.reporting.upkeep.interim._figures", lambda results: drawn.append(len(results.curves)) or []
    )
    page = InterimPage(place)
    page.figures = [{"name": "a", "title": "A", "caption": "B.", "svg": ""}]
    page.write(NOW)
    page.figures = [{"name": "a", "title": "A", "caption": "B.", "svg": ""}]
    page.write(NOW)
    write_record(place, a_drawn_record(GRID[4]))
    page.write(NOW)
    assert drawn == [27, 36]


def test_it_is_made_of_what_the_tables_will_hold(place):
    records, _ = read_records(place, [trial.key for trial in GRID])
    manifest = manifest_of(GRID)
    write_tables(place, GRID, of_classification())
    written, now = read_results(place.root), results_of(place, manifest, GRID, records)
    pd.testing.assert_frame_equal(now.trials, written.trials)
    pd.testing.assert_frame_equal(now.curves, written.curves)
