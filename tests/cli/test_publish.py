"""report --publish: results that others read and compare with, without the records of the run."""

import json
import re
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pyarrow.parquet as pq
import pytest

from harness.api.results import load
from harness.cli import summary
from harness.reporting.publishing import publish
from harness.reporting.upkeep.update import update_report
from harness.storage.records import ResultsDir, read_manifest
from harness.storage.tables import read_results


@pytest.fixture(scope="module")
def published(finished, tmp_path_factory):
    """A folder with the published results of the tiny suite, and with nothing else of it."""
    folder = tmp_path_factory.mktemp("published")
    ran = finished("report", "tiny", "--publish", str(folder / "reference"))
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == f"tiny: 18 of 18 trials have ended; the report is {folder}/reference/tiny/report/index.html\n"
    return folder / "reference"


@pytest.fixture
def copy(published, harness):
    """A copy of them where results are kept, beside the suite."""
    harness.suite()
    shutil.copytree(published, harness.results)
    return harness


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_reader_gets_all_tables_and_no_record(published, finished):
    names = {str(path.relative_to(published)) for path in published.rglob("*") if path.is_file()}
    assert {"verdicts.csv", *(f"tiny/{name}" for name in ("suite.json", "trials.csv", "curves.parquet"))} <= names
    assert {"tiny/telemetry.csv", "tiny/comparisons.csv", "tiny/report.md", "tiny/report/index.html"} <= names
    assert not [name for name in names if "records" in name or "lock" in name or "merged" in name]
    own = finished.results / "tiny"
    for name in ("trials.csv", "telemetry.csv", "comparisons.csv"):
        assert (published / "tiny" / name).read_bytes() == (own / name).read_bytes()
    assert pq.read_table(published / "tiny/curves.parquet").equals(pq.read_table(own / "curves.parquet"))


def test_its_report_is_that_of_the_run_and_has_the_bytes_of_one_that_is_drawn(published, tmp_path):
    place = published / "tiny"
    shutil.copytree(place, tmp_path / "tiny")
    shutil.rmtree(tmp_path / "tiny/report")
    copied = ResultsDir(tmp_path / "tiny")
    update_report(copied, read_manifest(copied))
    drawn, copied = ({p.relative_to(root): data for p, data in files(root).items()} for root in (copied.root, place))
    assert [name for name in drawn.keys() | copied.keys() if drawn.get(name) != copied.get(name)] == []


def test_publishing_draws_no_report_a_second_time(finished, tmp_path, monkeypatch):
    monkeypatch.setattr("harness.reporting.report.write_report", lambda results: pytest.fail("it is drawn again"))
    place = finished.results / "tiny"
    publish(replace(read_results(place), manifest=read_manifest(ResultsDir(place))), tmp_path / "reference")
    assert (tmp_path / "reference/tiny/report/index.html").is_file()


def test_the_verdicts_are_those_of_the_run(published, finished):
    theirs, own = load(published / "tiny"), load(finished.results / "tiny")
    assert theirs.verdicts.equals(own.verdicts)
    assert theirs.comparisons.equals(own.comparisons)
    table = pd.read_csv(published / "verdicts.csv")
    assert table.to_dict("list") == {
        "suite": ["tiny"],
        "claim": list(own.verdicts["claim"]),
        "verdict": list(own.verdicts["verdict"]),
    }


def test_published_results_can_be_compared_with(published, finished):
    ran = finished("compare", str(published), "results", "--fail-if", "bits,changed,verdicts")
    assert (ran.code, ran.err) == (0, "")


def test_no_verb_changes_published_tables(copy):
    before = files(copy.results)
    ran = copy("status", "tiny")
    assert (ran.code, ran.err) == (0, "")
    assert "18 of 18 trials have a result" in ran.out
    ran = copy("report", "tiny")
    assert (ran.code, ran.err) == (0, "")
    assert "18 of 18 trials have ended" in ran.out
    assert copy("verify", "results").out == "4 files read, 0 damaged\n"
    assert files(copy.results) == before


@pytest.mark.parametrize("words", [("run", "tiny"), ("run", "tiny", "--join")])
def test_a_run_does_not_go_on_from_published_tables(copy, words):
    before = files(copy.results)
    ran = copy(*words, "--progress", "none")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("harness: results/tiny holds published results, tables without the records")
    assert ran.err.endswith("run with another --results, and compare the two\n")
    assert ran.err.count("\n") == 1
    assert files(copy.results) == before


def test_published_results_are_not_merged(copy):
    ran = copy("merge", "results", "--results", "joined")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "harness: results/tiny holds published results: tables without records, which can't be merged\n"


def test_a_table_that_is_not_what_was_published_is_named_by_all_that_read_it(copy):
    path = copy.results / "tiny" / "trials.csv"
    path.write_bytes(re.sub(rb",0\.(\d)", rb",0.1\1", path.read_bytes(), count=1))
    assert "published table results/tiny/trials.csv: it is not what was written" in copy("verify", "results").out
    for words in (("report", "tiny"), ("status", "tiny"), ("compare", "results/tiny", "results/tiny")):
        ran = copy(*words)
        assert ran.code == 4
        assert "results/tiny/trials.csv is not what was published: its checksum does not hold" in ran.err


def test_publishing_again_replaces_what_was_published_and_nothing_else(finished, published, tmp_path):
    shutil.copytree(published, tmp_path / "reference")
    other = "suite,claim,verdict\nother,a claim,refuted\ntiny,an earlier claim,refuted\n"
    (tmp_path / "reference/verdicts.csv").write_text(other, "utf-8")
    (tmp_path / "reference/tiny/trials.csv").write_text("an earlier one", "utf-8")
    assert finished("report", "tiny", "--publish", str(tmp_path / "reference")).code == 0
    assert files(tmp_path / "reference/tiny").keys() == {
        tmp_path / "reference" / path.relative_to(published) for path in files(published / "tiny")
    }
    table = pd.read_csv(tmp_path / "reference/verdicts.csv")
    assert list(table["claim"]) == ["a claim", *load(published / "tiny").verdicts["claim"]]
    ran = finished("report", "tiny", "--publish", "results")
    assert ran.code == 2
    assert ran.err.endswith(
        "results/tiny holds results of a run, which stay as they are; publish into another folder\n"
    )


def test_what_has_not_ended_is_not_published(harness):
    harness.suite()
    assert harness("run", "tiny", "--only", "seed=0", "--progress", "none").code == 0
    ran = harness("report", "tiny", "--publish", "reference")
    assert ran.code == 2
    assert ran.err.endswith("12 of 18 trials of tiny have not ended; publish what is complete\n")
    assert not (harness.folder / "reference").exists()


def test_whoever_runs_a_shipped_suite_is_told_how_far_it_agrees(finished, published, tmp_path):
    (tmp_path / "suites").mkdir()
    (tmp_path / "results").mkdir()
    shutil.copy(finished.folder / "tiny.py", tmp_path / "suites")
    shutil.copytree(published, tmp_path / "results/reference")
    shutil.copytree(finished.results, tmp_path / "own")
    suite, own = str(tmp_path / "suites/tiny.py"), str(tmp_path / "own")
    assert "1 of 1 verdicts agree with the results that ship\n" in finished("run", suite, "--results", own).out
    table = (tmp_path / "results/reference/verdicts.csv").read_text("utf-8")
    (tmp_path / "results/reference/verdicts.csv").write_text(table.replace("descriptive", "refuted"), "utf-8")
    out = finished("run", suite, "--results", own).out
    assert "1 verdict can't be compared with the results that ship: too few seeds here\n" in out
    assert "agree with" not in out
    (tmp_path / "results/reference/verdicts.csv").write_text("damaged", "utf-8")
    assert "that ship" not in finished("run", suite, "--results", own).out


@pytest.mark.parametrize(
    ("here", "there", "lines"),
    [
        (
            ["supported", "refuted"],
            ["supported", "undecided"],
            ["1 of 2 verdicts", "refuted here, undecided there: b"],
        ),
        (
            ["descriptive", "refuted"],
            ["supported", "refuted"],
            ["1 of 1 verdicts", "1 verdict can't be compared"],
        ),
        (["descriptive"] * 2, ["descriptive"] * 2, ["2 of 2 verdicts"]),
    ],
)
def test_a_verdict_of_too_few_seeds_is_no_disagreement(monkeypatch, capsys, here, there, lines):
    # A part of a suite, run by --only, was told that none of its verdicts agreed
    monkeypatch.setattr(summary, "published_words", lambda path: dict(zip("ab", there, strict=True)))
    verdicts = [SimpleNamespace(word=word, statement=name) for name, word in zip("ab", here, strict=True)]
    summary._print_agreement(SimpleNamespace(suite=SimpleNamespace(path=None), verdicts=verdicts))
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == len(lines)
    assert all(line.startswith(begun) for line, begun in zip(printed, lines, strict=True))


def test_suite_json_of_published_results_is_sealed_like_any_other(published):
    content = json.loads((published / "tiny/suite.json").read_text("utf-8"))
    assert set(content["tables"]) == {"trials.csv", "curves.parquet", "telemetry.csv"}
