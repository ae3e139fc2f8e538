"""Trained models that are no longer what was written are found, and those that were whole are not read again."""

import os

import pytest

from harness.errors import DamageError
from harness.io import dump_checked_json
from harness.storage import models
from harness.storage.containers import seal
from harness.storage.models import NOTE, find_damaged_models
from tests.support.records import a_place

NAMES = ("a.best", "a.last", "b.best")


@pytest.fixture
def place(tmp_path):
    place = a_place(tmp_path)
    place.models.mkdir()
    for name in NAMES:
        (place.models / name).write_bytes(seal([name.encode()]))
    return place


@pytest.fixture
def read(monkeypatch):
    """The names of models as they are read."""
    names = []
    right = models.read_container
    monkeypatch.setattr(models, "read_container", lambda path: (names.append(path.name), right(path))[1])
    return names


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_models_are_read_once_and_found_whole(place, read):
    assert find_damaged_models(place) == {}
    assert find_damaged_models(place) == {}
    assert sorted(read) == [*NAMES]


def test_a_changed_bit_is_found_every_time_though_size_and_time_are_the_same(place, read):
    find_damaged_models(place)
    path = place.models / "a.last"
    info = path.stat()
    flip(path)
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
    read.clear()
    for _ in range(2):
        (found,) = find_damaged_models(place).items()
        assert found[0] == "a.last"
        assert "its checksum does not hold" in str(found[1])
    assert read == ["a.last"] * 2


@pytest.mark.parametrize("note", [{}, {"files": []}, {"files": {"a.last": None}}, {"files": {}, "more": 1}])
def test_a_strange_note_is_read_past(place, note):
    flip(place.models / "a.last")
    (place.root / NOTE).write_bytes(dump_checked_json(note))
    assert set(find_damaged_models(place)) == {"a.last"}


def test_what_is_no_regular_file_is_damaged_and_what_is_gone_or_a_draft_is_not(place):
    find_damaged_models(place)
    (place.models / "a.best").unlink()
    (place.models / "b.best").unlink()
    (place.models / "b.best").symlink_to(place.models / "a.last")
    (place.models / ".draft").write_bytes(b"half")
    assert set(find_damaged_models(place)) == {"b.best"}


def test_without_models_nothing_is_written(tmp_path):
    place = a_place(tmp_path)
    assert find_damaged_models(place) == {}
    assert not (place.root / NOTE).exists()


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path):
    place = a_place(tmp_path)
    place.models.write_text("no folder", "utf-8")
    with pytest.raises(DamageError, match="models: Not a directory"):
        find_damaged_models(place)
