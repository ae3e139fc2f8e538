"""The report: complete, the same bytes every time, safe with any text, and a page that works in a browser."""

import shlex
import shutil
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from harness.reporting.figures import figures
from harness.reporting.report import _commands, write_report
from harness.spec.claim import Claim
from harness.storage.csv_files import csv_bytes
from harness.storage.tables import TABLES
from tests.support.manifests import a_manifest, declared
from tests.support.simulated import simulate

AXES = {"norm": ["batch", "none"], "lr": [0.01, 0.03, 0.1, 0.3, 1.0, 3.0], "seed": list(range(8))}
CLAIMS = [
    Claim.wider_lr_range("batch", than="none", at_least_decades=0.5),
    Claim.better("batch", than="none", by=0.05, lr=[1.0, 3.0]),
    Claim.equivalent("batch", to="none", within=0.02, lr=0.1),
    Claim.sooner("batch", than="none", lr=0.1),
    Claim.costs("batch", than="none", at_most=2.0, lr=0.1),
]
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{7*7}}",
    r"$\frac{",
    "a\nb",
    "\u202eevil",
    "=1+1",
]


def on_disk(results):
    """The results with their tables on disk, as a run leaves them."""
    results.folder.mkdir(parents=True, exist_ok=True)
    (results.folder / "trials.csv").write_bytes(csv_bytes(results.trials))
    results.curves.to_parquet(results.folder / "curves.parquet")
    (results.folder / "telemetry.csv").write_bytes(csv_bytes(results.telemetry))
    return replace(results, manifest=replace(results.manifest, harness="0.1.0", machine={"host": "a-host"}))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A report with most kinds of figures, and its results."""
    results = on_disk(simulate(tmp_path_factory.mktemp("report") / "lr_sweep", AXES, claims=CLAIMS))
    (results.folder / "data").mkdir()
    rng = np.random.default_rng(3)
    parts = {f"x_{s}": rng.standard_normal((n, 2)) for s, n in (("train", 30), ("test", 11))}
    np.savez(results.folder / "data" / "digits.npz", **parts, y_train=np.arange(30) % 2, y_test=np.arange(11) % 2)
    return results, write_report(results)


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_report_has_a_page_a_text_a_table_and_every_figure_in_three_formats(written):
    results, page = written
    names = set(files(results.folder))
    assert {"report/index.html", "report/table.tex", "report.md", "comparisons.csv"} <= names
    for figure in ("effect", "lr_range", "time_to_target_1", "curves", "failures", "data_digits"):
        assert {f"report/figures/{figure}.{kind}" for kind in ("svg", "png", "pdf")} <= names
    text = page.read_text("utf-8")
    assert results.manifest.question in text
    for word in ("supported", "All 96 trials have a result", "python -m harness run suites/lr_sweep.py"):
        assert word in text


def test_every_number_of_a_verdict_stands_in_the_table_of_comparisons(written):
    results, _ = written
    table = pd.read_csv(results.folder / "comparisons.csv")
    assert set(table["shown_in"]) == {*(f"claim {number}" for number in range(1, 1 + len(CLAIMS))), "effect"}
    assert {"n", "low", "high", "p", "p_floor", "p_adjusted", "verdict"} <= set(table.columns)
    assert len(table[table["shown_in"] == "effect"]) == len(AXES["lr"])
    assert set(table.loc[table["shown_in"] == "effect", "family"]) == {len(AXES["lr"])}


def test_the_same_results_give_the_same_bytes(written, tmp_path):
    results, _ = written
    other = tmp_path / "lr_sweep"
    shutil.copytree(results.folder, other)
    shutil.rmtree(other / "report")
    (other / "comparisons.csv").unlink()
    write_report(replace(results, folder=other))
    assert files(other) == files(results.folder)


@pytest.mark.usefixtures("unwritten_figures")
def test_a_report_of_unchanged_results_is_left_alone_and_of_changed_ones_is_not(written, tmp_path):
    results, _ = written
    other = tmp_path / "lr_sweep"
    shutil.copytree(results.folder, other)
    page = other / "report" / "index.html"
    before = page.stat().st_ino
    assert write_report(replace(results, folder=other)) == page
    assert page.stat().st_ino == before
    for table in TABLES:
        (other / table).write_bytes((other / table).read_bytes() + b"\n")
        write_report(replace(results, folder=other))
        assert page.stat().st_ino != before, table
        before = page.stat().st_ino


def test_a_report_that_was_torn_is_made_again(written, tmp_path):
    results, _ = written
    other = tmp_path / "lr_sweep"
    shutil.copytree(results.folder, other)
    (other / "report" / "index.html").write_bytes(b"<html>")
    write_report(replace(results, folder=other))
    assert files(other) == files(results.folder)


@pytest.mark.usefixtures("unwritten_figures")
def test_a_partial_grid_says_how_much_of_it_there_is(tmp_path):
    results = on_disk(simulate(tmp_path / "lr_sweep", AXES, claims=CLAIMS, keep=0.5))
    text = write_report(results).read_text("utf-8")
    assert "Unfinished: 48 of 96 trials have a result." in text
    assert "So far" in text


@pytest.mark.usefixtures("unwritten_figures")
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_shown_and_does_nothing(tmp_path, text):
    claims = [Claim.better(text, than="none", lr=1.0)]
    results = on_disk(simulate(tmp_path / "s", {**AXES, "norm": [text, "none"]}, question=text, claims=claims))
    page = write_report(results).read_text("utf-8")
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert page.count("<script>") == 1
    if "{{" in text:
        assert "{{7*7}}" in page
    first_cells = [line.split(",")[0] for line in (results.folder / "comparisons.csv").read_text("utf-8").splitlines()]
    assert not any(cell.lstrip('"').startswith("=") for cell in first_cells)


def test_the_command_in_the_markdown_is_the_one_to_type(tmp_path):
    results = on_disk(simulate(tmp_path / "s", {**AXES, "seed": [0]}))
    path = "my $suites [1]/a&b<c.py"
    results = replace(results, manifest=replace(results.manifest, path=path))
    write_report(results)
    lines = (results.folder / "report.md").read_text("utf-8").splitlines()
    assert [shlex.split(line)[-1] for line in lines if line.startswith("    python -m harness run")] == [path]


ODD_GRIDS = {
    "one seed": {**AXES, "seed": [0]},
    "two seeds": {**AXES, "seed": [0, 1]},
    "three arms": {**AXES, "norm": ["batch", "none", "layer"]},
    "one arm": {**AXES, "norm": ["batch"]},
    "no lr": {"norm": ["batch", "none"], "seed": list(range(7))},
    "batch sizes": {**AXES, "lr": [0.03, 0.1], "batch_size": [8, 64, 256]},
    "batch sizes without lr": {"norm": ["batch", "none"], "batch_size": [8, 64], "seed": list(range(7))},
    "one trial": {"norm": ["batch"]},
    "other arms": {"norm": ["batch"], "init": ["he", "default"], "lr": [0.1, 0.3], "seed": [0, 1, 2]},
}


@pytest.mark.usefixtures("unwritten_figures")
@pytest.mark.parametrize("status", [None, "nonfinite"])
@pytest.mark.parametrize("axes", ODD_GRIDS.values(), ids=ODD_GRIDS)
def test_any_grid_has_a_report(tmp_path, axes, status):
    results = on_disk(simulate(tmp_path / "s", axes, status=status))
    if "init" in axes:
        results = replace(results, manifest=replace(results.manifest, compare="init"))
    assert write_report(results).exists()


def test_with_one_seed_figures_are_descriptive_and_show_no_p(tmp_path):
    drawn = {p.name: p for p in figures(on_disk(simulate(tmp_path / "s", ODD_GRIDS["one seed"])))}
    assert "descriptive" in drawn["effect"].caption
    assert all(np.isnan(comparison.p) for comparison in drawn["effect"].comparisons)


@pytest.mark.usefixtures("unwritten_figures")
def test_nothing_trained_yet_has_a_report_too(tmp_path):
    results = on_disk(simulate(tmp_path / "s", AXES, keep=0.0, claims=CLAIMS))
    assert "0 of 96 trials" in write_report(results).read_text("utf-8")


def test_drawing_leaves_matplotlib_as_it_was(written):
    before = dict(mpl.rcParams)
    assert [figure.files() for figure in figures(written[0])]
    assert dict(mpl.rcParams) == before


def test_captions_say_n_test_and_correction_and_method_says_once_what_holds_for_all(written):
    results, page = written
    (effect,) = (p for p in figures(results) if p.name == "effect")
    for word in ("n = 8", "exact sign test", "Holm over 6"):
        assert word in effect.caption
    text = page.read_text("utf-8").partition('id="method"')[2]
    for word in ("Failed to train: ", "of 48 without norm", "counts as guessing", "init he", "one fixed split"):
        assert word in text
        assert word not in effect.caption
    assert len(effect.caption) < 500


@pytest.mark.usefixtures("unwritten_figures")
def test_claims_declared_after_results_are_marked(tmp_path):
    results = on_disk(simulate(tmp_path / "s", AXES))
    results = replace(results, manifest=replace(results.manifest, claims=declared(CLAIMS[1], after=77)))
    assert "Declared after 77 trials had results." in write_report(results).read_text("utf-8")


@pytest.mark.usefixtures("unwritten_figures")
def test_an_axis_that_follows_another_is_named_with_it(tmp_path):
    results = on_disk(simulate(tmp_path, {"norm": ["batch", "none"], "batch_size": [16, 64], "seed": range(3)}))
    results = replace(results, manifest=replace(results.manifest, following={"lr": "batch_size"}))
    page = write_report(results).read_text("utf-8")
    assert "<dt>lr</dt><dd>follows batch_size, by a rule of the suite</dd>" in page


def test_learning_rates_can_be_the_arms(tmp_path):
    results = simulate(tmp_path, {"lr": [0.03, 0.1, 0.3], "seed": range(4)})
    results = replace(results, manifest=replace(results.manifest, compare="lr"))
    drawn = {figure.name: figure for figure in figures(results)}
    assert len(drawn["curves"].figure.axes) == 2  # one panel for the loss, one for the accuracy, all arms in each
    assert "at lr 0.03, 0.1 and 0.3" in drawn["curves"].alt
    assert not {"lr_range", "failures"} & set(drawn)


def test_results_of_an_installed_harness_name_no_commit():
    telemetry = pd.DataFrame({"commit": [np.nan, np.nan], "dirty": [np.nan, np.nan]})
    assert _commands(a_manifest(path="suites/x.py"), telemetry) == ["python -m harness run suites/x.py"]
