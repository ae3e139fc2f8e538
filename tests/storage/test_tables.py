"""The tables that records come to: the same bytes for the same records, and every value back as it was."""

import csv
import io
import os
from dataclasses import fields

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.spec.trial import Trial
from harness.storage.csv_files import csv_bytes, read_table
from harness.storage.records import TELEMETRY, ResultsDir, write_manifest, write_record
from harness.storage.tables import CURVES, OUTCOMES, TABLES, read_results, write_tables
from tests.support.manifests import a_manifest
from tests.support.records import GRID, a_place, a_record, merged, of_classification, with_curve
from tests.support.strategies import a_trial, trials
from tests.support.unseen import EVIL, unseen_in

FORMULAS = ["=HYPERLINK(1)", "+1+cmd", "-2", "@SUM(1)", "\t=1", "'=1", "''-1"]
TEXTS = [
    "plain",
    "",
    "two\nlines",
    'a "quote", a comma',
    "'tis",
    "007",
    "1e5",
    "True",
    "nan",
    "None",
    "\u00e9\U0001f600",
    "C:\\new\\x1b",
    "\\x5cx1b \\u202e \\U0010ffff \\Uffffffff",
    EVIL,
]


@pytest.fixture
def place(tmp_path):
    return a_place(tmp_path)


def bytes_of(place):
    return {name: (place.root / name).read_bytes() for name in TABLES}


@settings(max_examples=10)
@given(st.permutations(GRID))
def test_the_tables_are_the_same_bytes_whatever_order_the_records_were_written_in(tmp_path_factory, order):
    found = []
    for todo in (GRID, order):
        place = ResultsDir(tmp_path_factory.mktemp("results") / "suite")
        for trial in todo:
            write_record(place, a_record(trial))
        write_tables(place, GRID, of_classification(0.6))
        found.append(bytes_of(place))
    assert found[0] == found[1]


def test_merging_again_rewrites_no_table_that_says_the_same(place):
    merged(place, [a_record(trial) for trial in GRID[:4]], GRID)
    for name in TABLES:
        os.utime(place.root / name, (1, 1))
    write_tables(place, GRID, of_classification())
    assert {(place.root / name).stat().st_mtime for name in TABLES} == {1}
    write_record(place, a_record(GRID[4]))
    write_tables(place, GRID, of_classification())
    assert 1 not in {(place.root / name).stat().st_mtime for name in TABLES}


def test_a_table_that_was_damaged_or_lost_is_made_again(place):
    merged(place, [a_record()])
    before = bytes_of(place)
    (place.root / "trials.csv").write_bytes(b"")
    (place.root / "curves.parquet").unlink()
    (place.root / "telemetry.csv").unlink()
    (place.root / "telemetry.csv").symlink_to("/dev/zero")
    write_tables(place, [a_trial()], of_classification())
    assert bytes_of(place) == before


def test_rows_stand_in_the_order_of_the_suite_one_for_each_trial(place):
    results = merged(place, [a_record(trial) for trial in reversed(GRID[2:5])], GRID)
    assert list(results.trials["key"]) == [trial.key for trial in GRID]
    assert list(results.telemetry["key"]) == [trial.key for trial in GRID[2:5]]
    assert list(results.curves["key"].unique()) == [trial.key for trial in GRID[2:5]]


def test_the_record_of_a_trial_that_the_suite_has_no_more_is_left_out(place):
    results = merged(place, [a_record(trial) for trial in GRID], GRID[:1])
    for table in (results.trials, results.telemetry, results.curves):
        assert set(table["key"]) == {GRID[0].key}


def test_a_damaged_record_is_returned_and_its_trial_is_interrupted(place):
    for trial in GRID[:2]:
        write_record(place, a_record(trial))
    path = place.record(GRID[0].key)
    path.write_bytes(path.read_bytes()[:-5])
    assert [GRID[0].key in str(error) for error in write_tables(place, GRID[:2], of_classification())] == [True]
    assert list(read_results(place.root).trials["status"]) == ["interrupted", "ok"]


@settings(max_examples=25)
@given(st.lists(trials(), unique=True, min_size=1, max_size=4), st.data())
def test_settings_come_back_from_the_table_with_their_types(tmp_path_factory, todo, data):
    place = ResultsDir(
        tmp_path_factory.mktemp("results") / data.draw(st.sampled_from(["suite", "007", "1e5", "True", "-rf"]))
    )
    write_manifest(place, a_manifest())
    table = merged(place, [a_record(todo[0])], todo).trials
    for trial, (_, row) in zip(todo, table.iterrows(), strict=True):
        assert row["key"] == trial.key
        assert row["suite"] == place.root.name
        for axis in (field.name for field in fields(Trial)):
            value, found = getattr(trial, axis), row[axis]
            assert (
                pd.isna(found) if value is None else (found, isinstance(found, str)) == (value, isinstance(value, str))
            )


def test_the_columns_have_their_order_and_types_whatever_is_in_them(place):
    full = merged(place, [a_record()]).trials
    empty = merged(ResultsDir(place.root), [], [a_trial(seed=1)]).trials
    assert list(full.columns) == list(empty.columns) == ["suite", "key", *Trial.__slots__, *OUTCOMES]
    assert dict(full.dtypes) == dict(empty.dtypes)
    assert {name: str(full.dtypes[name]) for name in OUTCOMES} == OUTCOMES
    kinds = {"seed": "Int64", "lr": "float64", "norm_affine": "bool", "norm": "str", "norm_momentum": "object"}
    assert {name: str(full.dtypes[name]) for name in kinds} == kinds


@settings(max_examples=20)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=9))
def test_numbers_come_back_to_the_last_bit(tmp_path_factory, values):
    place = ResultsDir(tmp_path_factory.mktemp("results"))
    write_manifest(place, a_manifest())
    curves = {"train.loss": {"step": list(range(len(values))), "value": values}}
    results = merged(place, [a_record(curves=curves, telemetry={"seconds_train": values[0]})])
    assert list(results.curves["value"]) == values
    assert results.trials["initial_loss"][0] == values[0]
    assert results.trials["train_loss"][0] == values[-1]
    assert results.telemetry["seconds_train"][0] == values[0]


@given(
    st.lists(st.sampled_from([*FORMULAS, *TEXTS]), min_size=1, max_size=5), st.sampled_from(["host", "commit", "torch"])
)
@settings(max_examples=25)
def test_texts_come_back_as_they_were(tmp_path_factory, texts, column):
    place = ResultsDir(tmp_path_factory.mktemp("results"))
    write_manifest(place, a_manifest())
    grid = [a_trial(seed=seed, dataset=text) for seed, text in enumerate(texts)]
    results = merged(place, [a_record(trial, telemetry={column: trial.dataset}) for trial in grid])
    assert list(results.trials["dataset"]) == texts
    assert ["" if pd.isna(text) else text for text in results.telemetry[column]] == texts


@given(st.lists(st.text(), min_size=1, max_size=5))
@settings(max_examples=50)
def test_any_text_comes_back_from_a_csv_and_none_of_it_goes_unseen(tmp_path_factory, texts):
    path = tmp_path_factory.mktemp("table") / "t.csv"
    path.write_bytes(csv_bytes(pd.DataFrame({"text": pd.Series(texts, dtype="object"), "number": 1})))
    assert list(read_table(path, {"text": "object", "number": None})["text"].fillna("")) == texts
    assert unseen_in(path.read_text("utf-8")) == []


def test_curves_come_back_in_long_form(place):
    curves = merged(place, [a_record()]).curves
    assert list(curves.columns) == CURVES.names
    assert [tuple(row)[1:] for row in curves.itertuples(index=False)] == [
        (0, 0.0, "val", "accuracy", 0.25),
        (3, 1.5, "val", "accuracy", 0.75),
        (5, 2.5, "val", "accuracy", 0.5),
        (0, 0.0, "train", "loss", 2.5),
        (5, 2.5, "train", "loss", 0.125),
        (5, 2.5, "test", "accuracy", 0.625),
    ]


@pytest.mark.parametrize("facts", [{"fail_step": None}, {"fail_step": None, "steps_per_epoch": None}])
def test_without_the_length_of_an_epoch_the_epoch_is_missing(place, facts):
    assert merged(place, [a_record(facts=facts)]).curves["epoch"].isna().all()


def test_a_value_that_is_not_finite_is_missing_in_the_curve(place):
    curves = merged(place, [with_curve("val.accuracy", [0, 3, 5], [None, 0.5, None])]).curves
    assert curves["value"].isna().tolist()[:3] == [True, False, True]


def test_the_bytes_of_the_tables_know_no_clock_and_no_host(place, tmp_path):
    merged(place, [a_record()])
    other = ResultsDir(tmp_path / "elsewhere" / "suite")
    write_manifest(other, a_manifest())
    merged(other, [a_record(telemetry={"host": "there", "started": "now", "seconds_train": 9.0})])
    for name in ("trials.csv", "curves.parquet"):
        assert bytes_of(place)[name] == bytes_of(other)[name]


@given(st.lists(st.sampled_from([*FORMULAS, *TEXTS, "x\r=1", "\r=1", "a\r\nb"]), min_size=1, max_size=6))
def test_no_cell_of_a_csv_starts_like_a_formula_and_none_ends_its_row(texts):
    data = csv_bytes(
        pd.DataFrame({"text": pd.Series(texts, dtype="str"), "number": [-float(i) for i in range(len(texts))]})
    )
    rows = list(csv.reader(io.StringIO(data.decode(), newline="")))
    assert [len(row) for row in rows] == [2] * (len(texts) + 1)
    assert not any(row[0][:1] in set("=+-@\t\r") for row in rows if row[0])
    assert not any(unseen_in(row[0]) for row in rows)
    assert data.count(b"\n") == len(rows)
    assert [float(row[1]) for row in rows[1:]] == [-float(i) for i in range(len(texts))]


def test_a_text_that_is_no_unicode_is_written_in_escapes():
    assert csv_bytes(pd.DataFrame({"text": ["\ud800"]}, dtype="object")) == b"text\n\\ud800\n"


def test_a_strangers_telemetry_is_written_without_harm(place):
    telemetry = {"host": "\ud800=1", "device_name": "=1", "cpu": "\x1b[2J\u202e", "threads": 2**62, "backend": None}
    telemetry |= {"key": "0" * 16, "unknown": "=1"}
    results = merged(place, [a_record(telemetry=telemetry)])
    assert list(results.telemetry["key"]) == [a_trial().key]
    assert list(results.telemetry.columns) == list(TELEMETRY)
