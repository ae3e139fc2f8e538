import csv
import io
import math
import os
import random
from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import DamageError, UsageError
from harness.records import NO_RESULT, TRAINED, Place, Record, write_manifest, write_record
from harness.store import CURVES, OUTCOMES, TABLES, TELEMETRY, csv_bytes, merge, read_results, status
from harness.trial import Trial
from tests.strategies import a_trial, trials

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
]


def a_record(trial=None, **changes):
    """The record of a trial that learned: its curves have 3, 2 and 1 points, its telemetry is short."""
    trial = trial or a_trial()
    content = {
        "key": trial.key,
        "trial": trial.content,
        "outcome": TRAINED,
        "facts": {"fail_step": None, "steps_per_epoch": 2, "classes": 3, "guess_loss": 1.1, "parameters": 99},
        "curves": {
            "val.accuracy": {"step": [0, 3, 5], "value": [0.25, 0.75, 0.5]},
            "train.loss": {"step": [0, 5], "value": [2.5, 0.125]},
            "test.accuracy": {"step": [5], "value": [0.625]},
        },
        "telemetry": {"host": "here", "seconds_train": 1.5, "torch": "2.10", "commit": "1234567", "attempts": 1},
    }
    return Record(**{**content, **changes})


def with_curve(name, steps, values):
    record = a_record()
    return replace(record, curves={**record.curves, name: {"step": steps, "value": values}})


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path / "suite")
    write_manifest(place, {"name": "suite"})
    return place


def merged(place, records, todo=None, target=None):
    """The results that records come to."""
    for record in records:
        write_record(place, record)
    todo = todo if todo is not None else [Trial(**record.trial) for record in records]
    assert merge(place, todo, target) == []
    return read_results(place.root)


def row_of(place, record, target=None):
    """The row of trials.csv that a record comes to."""
    return merged(place, [record], target=target).trials.iloc[0]


def bytes_of(place):
    return {name: (place.root / name).read_bytes() for name in TABLES}


GRID = [a_trial(seed=seed, norm=norm) for seed in range(3) for norm in ("batch", "none")]


@settings(max_examples=10)
@given(st.permutations(GRID))
def test_the_tables_are_the_same_bytes_whatever_order_the_records_were_written_in(tmp_path_factory, order):
    found = []
    for todo in (GRID, order):
        place = Place(tmp_path_factory.mktemp("results") / "suite")
        for trial in todo:
            write_record(place, a_record(trial))
        merge(place, GRID, 0.6)
        found.append(bytes_of(place))
    assert found[0] == found[1]


def test_merging_again_rewrites_no_table_that_says_the_same(place):
    merged(place, [a_record(trial) for trial in GRID[:4]], GRID)
    for name in TABLES:
        os.utime(place.root / name, (1, 1))
    merge(place, GRID, None)
    assert {(place.root / name).stat().st_mtime for name in TABLES} == {1}
    write_record(place, a_record(GRID[4]))
    merge(place, GRID, None)
    assert 1 not in {(place.root / name).stat().st_mtime for name in TABLES}


def test_a_table_that_was_damaged_or_lost_is_made_again(place):
    merged(place, [a_record()])
    before = bytes_of(place)
    (place.root / "trials.csv").write_bytes(b"")
    (place.root / "curves.parquet").unlink()
    (place.root / "telemetry.csv").unlink()
    (place.root / "telemetry.csv").symlink_to("/dev/zero")
    merge(place, [a_trial()], None)
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
    assert [GRID[0].key in str(error) for error in merge(place, GRID[:2], None)] == [True]
    assert list(read_results(place.root).trials["status"]) == ["interrupted", "ok"]


@settings(max_examples=25)
@given(st.lists(trials(), unique=True, min_size=1, max_size=4), st.data())
def test_settings_come_back_from_the_table_with_their_types(tmp_path_factory, todo, data):
    place = Place(
        tmp_path_factory.mktemp("results") / data.draw(st.sampled_from(["suite", "007", "1e5", "True", "-rf"]))
    )
    write_manifest(place, {})
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
    empty = merged(Place(place.root), [], [a_trial(seed=1)]).trials
    assert list(full.columns) == list(empty.columns) == ["suite", "key", *Trial.__slots__, *OUTCOMES]
    assert dict(full.dtypes) == dict(empty.dtypes)
    assert {name: str(full.dtypes[name]) for name in OUTCOMES} == OUTCOMES
    kinds = {"seed": "Int64", "lr": "float64", "norm_affine": "bool", "norm": "str", "norm_momentum": "object"}
    assert {name: str(full.dtypes[name]) for name in kinds} == kinds


@settings(max_examples=20)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=9))
def test_numbers_come_back_to_the_last_bit(tmp_path_factory, values):
    place = Place(tmp_path_factory.mktemp("results"))
    write_manifest(place, {})
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
    place = Place(tmp_path_factory.mktemp("results"))
    write_manifest(place, {})
    grid = [a_trial(seed=seed, dataset=text) for seed, text in enumerate(texts)]
    results = merged(place, [a_record(trial, telemetry={column: trial.dataset}) for trial in grid])
    assert list(results.trials["dataset"]) == texts
    assert ["" if pd.isna(text) else text for text in results.telemetry[column]] == texts


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


@pytest.mark.parametrize("facts", [{"fail_step": None}, {"fail_step": None, "steps_per_epoch": 0}])
def test_without_the_length_of_an_epoch_the_epoch_is_missing(place, facts):
    assert merged(place, [a_record(facts=facts)]).curves["epoch"].isna().all()


def test_a_value_that_is_not_finite_is_missing_in_the_curve(place):
    curves = merged(place, [with_curve("val.accuracy", [0, 3, 5], [None, 0.5, None])]).curves
    assert curves["value"].isna().tolist()[:3] == [True, False, True]


def test_the_bytes_of_the_tables_know_no_clock_and_no_host(place, tmp_path):
    merged(place, [a_record()])
    other = Place(tmp_path / "elsewhere" / "suite")
    write_manifest(other, {})
    merged(other, [a_record(telemetry={"host": "there", "started": "now", "seconds_train": 9.0})])
    for name in ("trials.csv", "curves.parquet"):
        assert bytes_of(place)[name] == bytes_of(other)[name]


@pytest.mark.parametrize(
    ("fail_step", "losses", "accuracy", "target", "answer"),
    [
        (3, [2.5, 2.5], 0.1, 0.9, "nonfinite"),
        (3, [2.5, 0.5], 0.95, 0.9, "nonfinite"),
        (None, [2.5, 2.5], 0.1, 0.9, "no_better_than_init"),
        (None, [2.5, 2.5], 0.95, 0.9, "no_better_than_init"),
        (None, [2.5, 0.5], 0.89, 0.9, "below_target"),
        (None, [2.5, 0.5], None, 0.9, "below_target"),
        (None, [2.5, 0.5], 0.9, 0.9, "ok"),
        (None, [2.5, 0.5], 0.1, None, "ok"),
        (None, [2.5, 0.5], None, None, "ok"),
    ],
)
def test_the_status_of_a_trained_trial_is_the_first_that_is_true_of_it(
    place, fail_step, losses, accuracy, target, answer
):
    curves = {"train.loss": {"step": [0, 5], "value": losses}, "test.accuracy": {"step": [5], "value": [accuracy]}}
    record = a_record(facts={"fail_step": fail_step}, curves=curves)
    assert status(record, {"test_accuracy": accuracy}, target) == answer
    assert row_of(place, record, target)["status"] == answer


@pytest.mark.parametrize("outcome", NO_RESULT)
def test_a_trial_without_a_result_has_its_outcome_as_status_and_no_numbers(place, outcome):
    row = row_of(place, Record(key=a_trial().key, trial=a_trial().content, outcome=outcome, error="why"), target=0.9)
    assert row["status"] == outcome
    assert row[[name for name in OUTCOMES if name != "status"]].isna().all()


def test_a_trial_without_a_record_is_interrupted(place):
    row = merged(place, [], [a_trial()]).trials.iloc[0]
    assert row["status"] == "interrupted"
    assert row[[name for name in OUTCOMES if name != "status"]].isna().all()


accuracies = st.lists(st.none() | st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), min_size=1, max_size=6)


@settings(max_examples=25)
@given(accuracies, st.none() | st.sampled_from([0.1, 0.5, 1.0]))
def test_best_step_is_the_first_of_the_best_and_steps_to_target_the_first_that_reaches_it(
    tmp_path_factory, seen, target
):
    place = Place(tmp_path_factory.mktemp("results"))
    write_manifest(place, {})
    steps = [7 * i for i in range(len(seen))]
    row = row_of(place, with_curve("val.accuracy", steps, seen), target)
    known = np.array([math.nan if value is None else value for value in seen])
    best = None if np.isnan(known).all() else 7 * int(np.nanargmax(known))
    reached = np.flatnonzero(known >= target) if target is not None else []
    assert (None if pd.isna(row["best_step"]) else row["best_step"]) == best
    assert (None if pd.isna(row["steps_to_target"]) else row["steps_to_target"]) == (
        7 * reached[0] if len(reached) else None
    )


def test_outcomes_are_the_ends_of_the_curves_and_the_facts(place):
    row = row_of(place, with_curve("val.loss", [0, 3, 5], [3.5, 0.25, 1.5]))
    found = {name: None if pd.isna(row[name]) else row[name] for name in OUTCOMES}
    assert found == {
        **dict.fromkeys(OUTCOMES),
        "status": "ok",
        "initial_loss": 2.5,
        "train_loss": 0.125,
        "val_loss": 1.5,
        "val_accuracy": 0.5,
        "test_accuracy": 0.625,
        "best_step": 3,
        "classes": 3,
        "parameters": 99,
    }


@given(st.lists(st.sampled_from([*FORMULAS, *TEXTS, "x\r=1", "\r=1", "a\r\nb"]), min_size=1, max_size=6))
def test_no_cell_of_a_csv_starts_like_a_formula_and_none_ends_its_row(texts):
    data = csv_bytes(
        pd.DataFrame({"text": pd.Series(texts, dtype="str"), "number": [-float(i) for i in range(len(texts))]})
    )
    rows = list(csv.reader(io.StringIO(data.decode(), newline="")))
    assert [len(row) for row in rows] == [2] * (len(texts) + 1)
    assert not any(row[0][:1] in set("=+-@\t\r") for row in rows if row[0])
    assert b"\r" not in data
    assert [float(row[1]) for row in rows[1:]] == [-float(i) for i in range(len(texts))]


def test_a_text_that_is_no_unicode_is_written_in_escapes():
    assert csv_bytes(pd.DataFrame({"text": ["\ud800"]}, dtype="object")) == b"text\n\\ud800\n"


def test_a_strangers_telemetry_is_written_without_harm(place):
    telemetry = {
        **{"host": "\ud800=1", "device_name": ["=1"], "torch": {"a": 1}, "cpu": "\x1b[2J\u202e", "threads": 10**400},
        **{"key": "0" * 16, "unknown": "=1", "seconds_train": "=cmd", "mode": None, "attempts": True},
    }
    results = merged(place, [a_record(telemetry=telemetry)])
    assert list(results.telemetry["key"]) == [a_trial().key]
    assert list(results.telemetry.columns) == list(TELEMETRY)


# What is on disk may be damaged, or a stranger's.


def spoiled(place, name, change):
    path = place.root / name
    merged(place, [a_record(trial) for trial in GRID])
    path.write_bytes(change(path.read_bytes()))
    return place.root


@pytest.mark.parametrize(
    "change",
    [
        lambda data: b"",
        lambda data: b"\n\n",
        lambda data: b"\0" * 512,
        lambda data: b"a,b\n1,2\n",
        lambda data: data.replace(b"suite,key", b"key,suite"),
        lambda data: data.replace(b",seed,", b",sede,"),
        lambda data: data.replace(b"True", b"maybe", 1),
        lambda data: data.replace(b"True", b"", 1),
        lambda data: data.replace(b",7,", b",seven,", 1),
        lambda data: data.replace(b",7,", b",7.5,", 1),
        lambda data: data.replace(b",7,", b"," + b"9" * 99 + b",", 1),
        lambda data: data.replace(b",0.1,", b",0.1.1,"),
        lambda data: data + b"1," * 99 + b"\n",
        lambda data: data + b"suite,key,digits\n",
        lambda data: data.replace(b"digits", b"\xff\xfe", 1),
        lambda data: data.decode().encode("utf-16"),
    ],
    ids=range(16),
)
@pytest.mark.parametrize("name", ["trials.csv"])
def test_a_table_that_is_not_what_was_written_is_damage(place, name, change):
    with pytest.raises(DamageError, match=name):
        read_results(spoiled(place, name, change))


@pytest.mark.parametrize(
    "change", [lambda data: b"", lambda data: b"a,b\n1,2\n", lambda data: data + b'"'], ids=range(3)
)
def test_a_telemetry_table_that_is_not_what_was_written_is_damage(place, change):
    with pytest.raises(DamageError, match=r"telemetry\.csv"):
        read_results(spoiled(place, "telemetry.csv", change))


def parquet(table):
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", store_schema=False)
    return sink.getvalue()


def table_of(rows, **columns):
    content = {
        **{"key": ["k"] * rows, "step": [0] * rows, "epoch": [0.0] * rows},
        **{"split": ["val"] * rows, "metric": ["loss"] * rows, "value": [0.5] * rows, **columns},
    }
    return pa.table(content, schema=None if columns else CURVES)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PAR1",
        b"PAR1" + bytes(64) + b"PAR1",
        parquet(pa.table({"a": [1]})),
        parquet(table_of(3).drop_columns("epoch")),
        parquet(table_of(3).select(CURVES.names[::-1])),
        parquet(table_of(3, value=["0.5"] * 3)),
        parquet(table_of(3, key=[["k"]] * 3)),
        parquet(table_of(3, key=[{"k": 1}] * 3)),
        parquet(table_of(3, step=[0] * 3)),
    ],
    ids=["empty", "magic", "zeros", "other", "too few", "other order", "text value", "lists", "structs", "int64"],
)
def test_curves_of_another_shape_are_damage(place, data):
    with pytest.raises(DamageError, match=r"curves\.parquet"):
        read_results(spoiled(place, "curves.parquet", lambda whole: data))


def test_a_small_file_that_claims_many_rows_is_refused_unread(place):
    rows = 5_000_000
    column = {name: pa.repeat(pa.scalar("k"), rows) for name in ("key", "split", "metric")}
    numbers = {"step": pa.repeat(pa.scalar(0, pa.int32()), rows), "epoch": pa.repeat(0.0, rows)}
    bomb = parquet(pa.table({**column, **numbers, "value": pa.repeat(0.5, rows)}).select(CURVES.names))
    assert len(bomb) < 2**18
    with pytest.raises(DamageError, match=rf"claims {rows} rows, more than the \d+ that a file of its size can hold"):
        read_results(spoiled(place, "curves.parquet", lambda whole: bomb))


def test_a_large_sweep_is_read(place):
    rows = 2_000_000
    drawn = np.random.default_rng(0)
    content = {
        "key": np.repeat([f"{trial:016x}" for trial in range(rows // 400)], 400),
        "step": np.tile(np.arange(200, dtype=np.int32), rows // 200),
        "epoch": np.tile(np.arange(200) / 7, rows // 200),
        "split": np.repeat("val", rows),
        "metric": np.tile(np.repeat(["loss", "accuracy"], 200), rows // 400),
        "value": np.where(np.arange(rows) % 400 < 200, drawn.random(rows, dtype=np.float32), 0.5),
    }
    data = parquet(pa.table(content, schema=CURVES))
    found = read_results(spoiled(place, "curves.parquet", lambda whole: data)).curves
    assert len(found) == rows


def test_a_table_that_is_cut_off_within_a_row_is_damage(place):
    merged(place, [a_record(trial) for trial in GRID])
    path = place.root / "trials.csv"
    whole = path.read_bytes()
    for length in range(0, len(whole), 61):
        path.write_bytes(whole[:length])
        if not whole[:length].endswith(b"\n"):
            with pytest.raises(DamageError, match=r"trials\.csv"):
                read_results(place.root)


def test_a_damaged_parquet_file_is_damage_or_reads_as_curves(place):
    drawn = random.Random(20)
    merged(place, [a_record(trial) for trial in GRID])
    path = place.root / "curves.parquet"
    whole = path.read_bytes()
    damaged = [whole[:length] for length in range(0, len(whole), 97)]
    for _ in range(100):
        flipped = bytearray(whole)
        bit = drawn.randrange(8 * len(whole))
        flipped[bit // 8] ^= 1 << bit % 8
        damaged.append(bytes(flipped))
    refused = 0
    for data in damaged:
        path.write_bytes(data)
        try:
            assert list(read_results(place.root).curves.columns) == CURVES.names
        except DamageError:
            refused += 1
    assert refused > len(range(0, len(whole), 97))


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "sparse"])
@pytest.mark.timeout(20)
def test_a_table_that_is_no_regular_file_or_too_large_is_damage(place, tmp_path, name, kind):
    merged(place, [a_record()])
    path = place.root / name
    data = path.read_bytes()
    path.unlink()
    match kind:
        case "link":
            (tmp_path / "other").write_bytes(data)
            path.symlink_to(tmp_path / "other")
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "sparse":
            with path.open("wb") as file:
                file.truncate(10 * 2**30)
    with pytest.raises(DamageError, match=name):
        read_results(place.root)


@pytest.mark.parametrize("name", TABLES)
def test_a_missing_table_is_named_with_what_makes_it_again(place, name):
    merged(place, [a_record()])
    (place.root / name).unlink()
    with pytest.raises(DamageError, match=rf"{name} is missing; .* report"):
        read_results(place.root)


def test_a_folder_without_results_is_a_wrong_folder(tmp_path):
    with pytest.raises(UsageError, match=r"no results in .*`python -m harness run SUITE` makes some"):
        read_results(tmp_path / "nowhere")
