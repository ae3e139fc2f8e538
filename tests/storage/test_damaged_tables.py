"""Tables on disk that are damaged, or a stranger's: each is refused by its name, or reads as what it claims to be."""

import io
import os
import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.errors import DamageError, UsageError
from harness.storage.tables import CURVES, TABLES, read_results
from tests.support.records import GRID, a_place, a_record, merged


@pytest.fixture
def place(tmp_path):
    return a_place(tmp_path)


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
