"""A power cut at any moment, with what was not synced lost in any order, loses nothing that was acknowledged."""

import os
from pathlib import Path
from random import Random, randrange

import pytest

from harness.io import sync_folder
from tests.support.power_cuts import Call, lay_out, recorded, states_after
from tests.support.storage_world import check, play, tables_in

pytestmark = pytest.mark.faults
SAMPLES = 4096  # of subsets of what is not synced, for each prefix; where there are fewer, all of them


@pytest.fixture
def recording(tmp_path):
    root = tmp_path / "recorded"
    root.mkdir()
    with recorded(root) as calls:
        play(root, lambda name: calls.append(Call("acknowledge", name)))
    return calls, tables_in(root)


def faults_of(recording, tmp_path: Path, rng: Random, samples: int) -> tuple[int, int]:
    """How many states of the disk there are, and in how many of them something is lost or torn."""
    calls, tables = recording
    seen, n_wrong = set[int](), 0
    for number, (acknowledged, files) in enumerate(states_after(calls, rng, samples)):
        state = hash((frozenset(acknowledged), frozenset(files.items())))
        if state in seen:
            continue
        seen.add(state)
        root = tmp_path / str(number)
        root.mkdir()
        lay_out(files, root)
        try:
            check(root, acknowledged, tables)
            if number % 7 == 0:
                play(root)
                assert tables_in(root) == tables
        except Exception:  # noqa: BLE001 (whatever it is, it is counted)
            n_wrong += 1
    return len(seen), n_wrong


def test_no_power_cut_loses_what_was_acknowledged_or_leaves_a_torn_file(recording, tmp_path):
    seed = randrange(10**6)
    print(f"seed of the power cuts: {seed}")
    n_states, n_wrong = faults_of(recording, tmp_path, Random(seed), SAMPLES)
    print(f"{n_states} states of the disk, {n_wrong} wrong")
    assert n_wrong == 0
    assert n_states > 60


@pytest.mark.parametrize("kind", ["files", "folders"])
def test_without_syncs_the_model_finds_what_is_lost(recording, tmp_path, kind):
    calls, tables = recording
    folders = {"suite", "suite/records", "suite/checkpoints", "."}
    kept = [call for call in calls if call.kind != "sync" or (call.path in folders) == (kind == "files")]
    _, n_wrong = faults_of((kept, tables), tmp_path, Random(0), 3)
    assert n_wrong > 0


def test_the_recorder_puts_the_calls_back(tmp_path):
    before = os.fsync
    with recorded(tmp_path):
        assert os.fsync is not before
        sync_folder(tmp_path)
    assert os.fsync is before
