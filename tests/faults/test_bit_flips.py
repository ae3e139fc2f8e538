"""A bit that changes anywhere in results is noticed by `verify`, and so are zeros and a file cut short."""

import os
import random

import pytest

from harness.storage.verification import verify_results
from harness.training.checkpoint import dump, save
from tests.support.storage_world import COHORT, play, results_of, snapshot_at

pytestmark = pytest.mark.faults
FLIPS = int(os.environ.get("HARNESS_BIT_FLIPS", "150"))
PATTERNS = ("suite.json", "records/*.json", "*.csv", "*.parquet", "checkpoints/*.snapshot", "models/*")


def test_damage_of_any_file_is_noticed_and_of_that_file_alone(tmp_path):
    seed = random.randrange(10**6)
    print(f"seed of the damage: {seed}")
    rng = random.Random(seed)
    play(tmp_path)
    results_dir = results_of(tmp_path)
    for step in (1, 2):
        save(results_dir.checkpoints, COHORT, snapshot_at(step))
    (results_dir.root / "models").mkdir()
    (results_dir.root / "models" / "key.last").write_bytes(dump(snapshot_at(3)))
    files = [path for pattern in PATTERNS for path in sorted(results_dir.root.glob(pattern))]
    assert len(files) == 1 + 3 + 2 + 1 + 2 + 1
    for _ in range(FLIPS):
        path = rng.choice(files)
        whole = path.read_bytes()
        path.write_bytes(damaged(whole, rng))
        found = [file.path for file in verify_results(results_dir) if file.fault]
        assert found == [path], f"{path} in {found}"
        path.write_bytes(whole)
    assert [file for file in verify_results(results_dir) if file.fault] == []


def damaged(data: bytes, rng: random.Random) -> bytes:
    """The data with a bit flipped, mostly; or a block of zeros in it, or its end cut off."""
    place, kind = rng.randrange(len(data)), rng.random()
    if kind < 0.8:
        changed = bytearray(data)
        changed[place] ^= 1 << rng.randrange(8)
        return bytes(changed)
    length = min(512, len(data) - place)
    cut = data[:place] if kind < 0.9 else data[:place] + bytes(length) + data[place + length :]
    return cut if cut != data else data + b"x"
