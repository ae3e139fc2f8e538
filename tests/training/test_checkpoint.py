"""Snapshots: what is written is read back bit by bit, and nothing else is ever taken for a snapshot."""

import hashlib
import json
import os
import struct

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import DamageError
from harness.io import write_atomically
from harness.nn.module_checks import KEPT_DTYPES
from harness.storage.containers import MAGIC, discard
from harness.training.checkpoint import Snapshot, dump, load, newest, save

TENSORS = {
    "weight": torch.arange(6, dtype=torch.float32).view(2, 3) / 7,
    "sum": torch.tensor([1.5, float("nan"), -float("inf")], dtype=torch.float64),
    "step": torch.tensor(9),
    "none": torch.zeros(0, 4),
    "mask": torch.tensor([True, False]),
}
ABOUT = {"cohort": "c", "step": 9, "code": "x"}


def sealed(header: dict, content: bytes = b"", length: int | None = None) -> bytes:
    """A container as a stranger might make it: whole, but not as we would write it."""
    text = json.dumps(header).encode()
    body = MAGIC + struct.pack("<Q", len(text) if length is None else length) + text + content
    return body + hashlib.sha256(body).digest()


@pytest.mark.parametrize("dtype", KEPT_DTYPES, ids=str)
def test_tensors_of_every_type_and_shape_come_back_as_they_were(tmp_path, dtype):
    numbers = torch.arange(6.0).to(dtype)
    tensors = {
        "flat": numbers,
        "not contiguous": numbers.view(2, 3).T,
        "one number": numbers[5],
        "empty": numbers[:0],
        "no rows": torch.empty(3, 0, 2, dtype=dtype),
        "conjugate": numbers.conj(),
        "part of a complex": numbers.conj().imag if dtype.is_complex else numbers,
    }
    write_atomically(tmp_path / "a", dump(Snapshot({}, tensors)))
    back = load(tmp_path / "a").tensors
    assert list(back) == list(tensors)
    for name, tensor in tensors.items():
        assert (back[name].dtype, back[name].shape) == (tensor.dtype, tensor.shape)
        assert torch.equal(back[name], tensor), name


def test_a_snapshot_comes_back_as_it_was(tmp_path):
    (tmp_path / "s").write_bytes(dump(Snapshot(ABOUT, TENSORS)))
    found = load(tmp_path / "s")
    assert found.metadata == ABOUT
    assert set(found.tensors) == set(TENSORS)
    for name, tensor in TENSORS.items():
        assert found.tensors[name].dtype == tensor.dtype
        assert torch.equal(found.tensors[name].nan_to_num(1e9), tensor.nan_to_num(1e9))
        assert found.tensors[name].shape == tensor.shape


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(max_examples=300, deadline=None)
def test_a_flipped_bit_anywhere_is_noticed(tmp_path_factory, place, bit):
    data = bytearray(dump(Snapshot(ABOUT, TENSORS)))
    data[int(place * len(data))] ^= 1 << bit
    path = tmp_path_factory.mktemp("flip") / "s"
    path.write_bytes(data)
    with pytest.raises(DamageError, match="checksum"):
        load(path)


@given(keep=st.floats(0, 1, exclude_max=True))
@settings(max_examples=60, deadline=None)
def test_a_truncated_file_is_noticed(tmp_path_factory, keep):
    data = dump(Snapshot(ABOUT, TENSORS))
    path = tmp_path_factory.mktemp("cut") / "s"
    path.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(DamageError):
        load(path)


def tensor(**changes):
    return {"about": {}, "tensors": [{"name": "t", "dtype": "torch.float32", "shape": [2], "offset": 0, **changes}]}


@pytest.mark.parametrize(
    "data",
    [
        sealed(tensor(shape=[-2]), b"\0" * 8),
        sealed(tensor(shape=[2**62, 4]), b"\0" * 8),
        sealed(tensor(shape=[3]), b"\0" * 8),
        sealed(tensor(offset=4), b"\0" * 8),
        sealed(tensor(offset=-4), b"\0" * 8),
        sealed(tensor(shape=["2"]), b"\0" * 8),
        sealed({"about": {}, "tensors": [tensor(name=name)["tensors"][0] for name in "ab"]}, b"\0" * 8),
        sealed(tensor(dtype="torch.load"), b"\0" * 8),
        sealed({"about": {}}),
        sealed({"about": {}, "tensors": 3}),
        sealed([1, 2]),
        sealed({}, length=2**63),
        b"",
        b"\x80\x04\x95 a pickle, renamed",
    ],
    ids=lambda data: hashlib.sha256(data).hexdigest()[:6],
)
def test_a_hostile_file_is_refused(tmp_path, data):
    (tmp_path / "s").write_bytes(data)
    with pytest.raises(DamageError):
        load(tmp_path / "s")


def test_two_generations_are_kept_and_the_newest_whole_one_is_used(tmp_path):
    for step in (3, 6, 9):
        save(tmp_path, "c", Snapshot({**ABOUT, "step": step}, TENSORS))
    assert len(list(tmp_path.iterdir())) == 2
    snapshot, refused = newest(tmp_path, "c", {"code": "x"})
    assert (snapshot.metadata["step"], refused) == (9, [])
    newer = max(tmp_path.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    newer.write_bytes(newer.read_bytes()[:-1])
    snapshot, refused = newest(tmp_path, "c", {"code": "x"})
    assert snapshot.metadata["step"] == 6
    assert newer.name in refused[0]


def steps_kept(folder):
    return sorted(load(path).metadata["step"] for path in folder.iterdir())


def test_a_clock_that_is_set_back_does_not_make_the_newer_snapshot_the_older(tmp_path):
    for step in (3, 6):
        save(tmp_path, "c", Snapshot({**ABOUT, "step": step}, TENSORS))
        (newer,) = [path for path in tmp_path.iterdir() if load(path).metadata["step"] == step]
        os.utime(newer, (10**9 - step, 10**9 - step))
    save(tmp_path, "c", Snapshot({**ABOUT, "step": 9}, TENSORS))
    assert steps_kept(tmp_path) == [6, 9]


def test_a_cohort_that_begins_again_replaces_snapshots_that_it_cannot_use_and_then_its_own_older_one(tmp_path):
    for step in (800, 900):
        save(tmp_path, "c", Snapshot({**ABOUT, "code": "y", "step": step}, TENSORS))
    for step, kept in ((3, [3, 900]), (6, [3, 6]), (9, [6, 9])):
        save(tmp_path, "c", Snapshot({**ABOUT, "step": step}, TENSORS))
        assert steps_kept(tmp_path) == kept


@pytest.mark.parametrize(
    "data",
    [
        b"",
        MAGIC,
        MAGIC + struct.pack("<Q", 2**63) + b"{}",
        sealed({}),
        sealed({"about": {}, "tensors": []}),
        *(sealed({"about": {"generation": number}, "tensors": []}) for number in ("7", -7, True, 1e300, None)),
        MAGIC + struct.pack("<Q", 10**5) + b"[" * 10**5,
    ],
    ids=lambda data: hashlib.sha256(data).hexdigest()[:6],
)
def test_a_file_without_a_generation_is_the_first_to_be_replaced(tmp_path, data):
    save(tmp_path, "c", Snapshot({**ABOUT, "step": 3}, TENSORS))
    (tmp_path / "c.b.snapshot").write_bytes(data)
    save(tmp_path, "c", Snapshot({**ABOUT, "step": 6}, TENSORS))
    assert steps_kept(tmp_path) == [3, 6]


def test_a_snapshot_from_other_conditions_is_named_and_not_used(tmp_path):
    save(tmp_path, "c", Snapshot(ABOUT, TENSORS))
    snapshot, refused = newest(tmp_path, "c", {"code": "y"})
    assert snapshot is None
    assert "a different code" in refused[0]


def test_discarding_leaves_other_cohorts_alone(tmp_path):
    save(tmp_path, "c", Snapshot(ABOUT, TENSORS))
    save(tmp_path, "d", Snapshot(ABOUT, TENSORS))
    discard(tmp_path, "c")
    assert [path.name for path in tmp_path.iterdir()] == ["d.a.snapshot"]
