"""A merge that has nothing new to merge reads no record; whatever has changed is seen."""

import os

import pytest

from harness.errors import DamageError
from harness.fault_injection import flip_bit
from harness.io import dump_checked_json, load_checked_json
from harness.storage import csv_files, tables
from harness.storage.merge_cache import FILE_NAME
from harness.storage.records import write_record
from harness.storage.tables import TABLES, read_outcomes, write_tables
from tests.support.records import a_place, a_record, of_classification
from tests.support.strategies import a_trial

TRIALS = [a_trial(seed=seed) for seed in range(4)]
KEYS = [trial.key for trial in TRIALS]


@pytest.fixture
def place(tmp_path):
    place = a_place(tmp_path)
    for trial in TRIALS[:3]:
        write_record(place, a_record(trial))
    assert write_tables(place, TRIALS, of_classification(0.5)) == []
    return place


def reads(place, monkeypatch, target=0.5, trials=TRIALS):
    """Whether another merge reads records."""
    read = []
    right = tables.read_records
    monkeypatch.setattr(tables, "read_records", lambda *words: (read.append(1), right(*words))[1])
    assert write_tables(place, trials, of_classification(target)) == []
    return bool(read)


STRANGE = [
    {"outcomes": []},
    {"outcomes": {KEYS[0]: []}},
    {"outcomes": {KEYS[0]: "ok"}},
    {"outcomes": None},
    {"tables": 3},
    {"of": ["x"]},
    {"more": 1},
]


def strange_note(place, change):
    """Change what is noted of the merge, as a stranger may, with a checksum that holds."""
    path = place.root / FILE_NAME
    path.write_bytes(dump_checked_json({**load_checked_json(path), **change}))


def test_nothing_new_is_not_read_again(place, monkeypatch):
    assert not reads(place, monkeypatch)


@pytest.mark.parametrize("name", TABLES)
def test_a_bit_that_flips_while_a_table_is_written_is_seen_by_the_next_merge(place, monkeypatch, name):
    whole = (place.root / name).read_bytes()
    (place.root / name).unlink()
    (place.root / FILE_NAME).unlink()
    with monkeypatch.context() as patch:
        write = csv_files.write_atomically
        patch.setattr(csv_files, "write_atomically", lambda path, data: write(path, flip_bit(data)))
        assert write_tables(place, TRIALS, of_classification(0.5)) == []
    assert (place.root / name).read_bytes() != whole
    assert reads(place, monkeypatch)
    assert (place.root / name).read_bytes() == whole


def test_outcomes_are_known_without_reading_and_are_those_of_the_records(place):
    known = read_outcomes(place, KEYS, of_classification(0.5))
    (place.root / FILE_NAME).unlink()
    assert read_outcomes(place, KEYS, of_classification(0.5)) == known
    assert set(known[0]) == set(KEYS[:3])


def test_a_digit_that_changes_under_the_same_file_is_seen_and_mended(place, monkeypatch):
    table = place.root / "trials.csv"
    whole = table.read_bytes()
    monkeypatch.setattr("harness.storage.merge_cache.stat_identity", lambda info: [info.st_size])
    (place.root / FILE_NAME).unlink()
    assert write_tables(place, TRIALS, of_classification(0.5)) == []
    changed = whole.replace(b"0.1", b"0.2", 1)
    assert len(changed) == len(whole)
    assert changed != whole
    table.write_bytes(changed)
    assert reads(place, monkeypatch)
    assert table.read_bytes() == whole


@pytest.mark.parametrize(
    "change",
    [
        lambda place: write_record(place, a_record(TRIALS[3])),
        lambda place: place.record(KEYS[0]).unlink(),
        lambda place: os.utime(place.record(KEYS[0])),
        lambda place: (place.root / "trials.csv").write_bytes(b""),
        lambda place: (place.root / "curves.parquet").unlink(),
        lambda place: (place.root / FILE_NAME).unlink(),
        lambda place: (place.root / FILE_NAME).write_bytes((place.root / FILE_NAME).read_bytes()[:-9]),
        lambda place: (place.root / FILE_NAME).write_bytes(b"[" * 9999),
        *(lambda place, change=change: strange_note(place, change) for change in STRANGE),
    ],
    ids=range(8 + len(STRANGE)),
)
def test_whatever_has_changed_is_seen(place, monkeypatch, change):
    change(place)
    assert reads(place, monkeypatch)
    assert not reads(place, monkeypatch)


@pytest.mark.parametrize(
    "options", [{"target": 0.7}, {"target": None}, {"trials": TRIALS[:2]}, {"trials": TRIALS[::-1]}]
)
def test_another_question_to_the_same_records_is_merged_anew(place, monkeypatch, options):
    assert reads(place, monkeypatch, **options)


def test_a_damaged_record_is_named_every_time(place):
    path = place.record(KEYS[1])
    path.write_bytes(path.read_bytes().replace(b"trained", b"Trained"))
    for _ in range(2):
        (error,) = write_tables(place, TRIALS, of_classification(0.5))
        assert KEYS[1] in str(error)
        assert read_outcomes(place, KEYS, of_classification(0.5))[1]


def test_a_folder_that_cannot_be_written_is_merged_without_a_stamp(place, monkeypatch):
    (place.root / FILE_NAME).unlink()
    (place.root / FILE_NAME).mkdir()
    assert reads(place, monkeypatch)
    assert all((place.root / name).is_file() for name in TABLES)


def test_tables_that_an_older_version_wrote_with_other_columns_are_written_again(place, monkeypatch):
    with monkeypatch.context() as older:
        older.setattr(tables, "KNOWN_BEFORE", {**tables.KNOWN_BEFORE, "gone": "float64"})
        write_tables(place, TRIALS, of_classification(0.5))
        assert "gone" in (place.root / "trials.csv").read_text().partition("\n")[0]
    assert write_tables(place, TRIALS, of_classification(0.5)) == []
    assert "gone" not in tables.read_trials(place.root, of_classification()).columns


@pytest.mark.parametrize(
    "make",
    [lambda path: path.write_text("no folder"), os.mkfifo, lambda path: path.symlink_to(path)],
    ids=["file", "pipe", "loop"],
)
def test_what_is_no_folder_of_records_is_named(tmp_path, make):
    place = a_place(tmp_path)
    make(place.records)
    with pytest.raises(DamageError, match=r"records: .*; move it away"):
        write_tables(place, TRIALS, of_classification(0.5))
