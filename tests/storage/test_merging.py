"""Results of several folders joined: however they were cut, they come to the whole; what contradicts stays apart."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import DamageError, NewerSchemaError
from harness.io import dump_checked_json, load_checked_json
from harness.spec.manifest_merge import merge_manifests
from harness.storage.containers import seal
from harness.storage.folders import by_suite
from harness.storage.merging import merge_results
from harness.storage.records import NO_RESULT, Record, ResultsDir, read_record, write_manifest, write_record
from harness.storage.tables import TABLES, write_tables
from tests.support.manifests import manifest_of
from tests.support.records import GRID, a_record, of_classification

MANIFEST = manifest_of(GRID)
TRIAL = GRID[0]
KEY = TRIAL.key
ENDS = (*NO_RESULT, "trained", "trained", "trained", None)


def failed(trial, outcome="oom", **changes):
    return Record(key=trial.key, trial=trial.content, outcome=outcome, **changes)


def another(trial=TRIAL, accuracy=0.875, **changes):
    """A record of the trial with another result."""
    curves = a_record(trial).curves
    return a_record(trial, curves={**curves, "test.accuracy": {"step": [5], "value": [accuracy]}}, **changes)


def machine(folder, *records, manifest=MANIFEST):
    """The results of one machine."""
    place = ResultsDir(folder / "suite")
    write_manifest(place, manifest)
    for record in records:
        write_record(place, record)
    return place


def merge(out, *places):
    """What a merge of these folders into `out` comes to."""
    manifests = by_suite([place.root for place in places], out)["suite"]
    manifest, trials = merge_manifests(manifests)
    target = ResultsDir(out / "suite")
    return merge_results(list(manifests), target, manifest, trials)


def files(place):
    """All that a folder holds, but for the cache of the tables."""
    paths = sorted(path for path in place.root.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {str(path.relative_to(place.root)): path.read_bytes() for path in paths}


def result(out, trial=TRIAL):
    """The record of a trial in `out`, or None."""
    path = ResultsDir(out / "suite").record(trial.key)
    return read_record(path) if path.exists() else None


@settings(max_examples=25)  # each writes some twenty files that last
@given(st.data())
def test_any_split_of_records_in_any_order_comes_to_the_tables_of_the_whole(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("split")
    ends = [data.draw(st.sampled_from(ENDS)) for _ in GRID]
    records = [
        a_record(trial, telemetry={"host": f"h{i}"}) if end == "trained" else failed(trial, end, error=f"e{i}")
        for i, (trial, end) in enumerate(zip(GRID, ends, strict=True))
        if end is not None
    ]
    whole = machine(folder / "whole", *records)
    write_tables(whole, GRID, of_classification())
    count = data.draw(st.integers(1, 3))
    owners = [data.draw(st.sets(st.integers(0, count - 1), min_size=1)) for _ in records]
    places = [
        machine(folder / f"m{i}", *(record for record, owner in zip(records, owners, strict=True) if i in owner))
        for i in range(count)
    ]
    merged = merge(folder / "out", *data.draw(st.permutations(places)))
    assert not merged.is_incomplete
    out = folder / "out" / "suite"
    assert {name: (out / name).read_bytes() for name in TABLES} == {n: (whole.root / n).read_bytes() for n in TABLES}
    assert {k: v for k, v in files(ResultsDir(out)).items() if k.startswith("records/")} == {
        k: v for k, v in files(whole).items() if k.startswith("records/")
    }
    assert [trial.n_equal for trial in merged.trials if trial.is_trained] == [
        len(owner) for record, owner in zip(records, owners, strict=True) if record.outcome == "trained"
    ]


def three_machines(folder):
    """Machines with all that can come together: equal results, contradicting ones, failures, damage, other files."""
    places = [
        machine(folder / "a", a_record(GRID[0], telemetry={"finished": "2"}), a_record(GRID[1]), failed(GRID[2])),
        machine(folder / "b", a_record(GRID[0], telemetry={"finished": "1"}), another(GRID[1]), failed(GRID[3])),
        machine(folder / "c", a_record(GRID[2]), failed(GRID[3], "timeout"), a_record(GRID[4])),
    ]
    places[2].record(GRID[4].key).write_bytes(places[2].record(GRID[4].key).read_bytes().replace(b"0.625", b"0.825"))
    for i, place in enumerate(places):
        write(place.root / "models" / f"{KEY}.last", seal([b"weights"]))
        write(place.plane(KEY), b"plane")
        write(place.logs / f"{GRID[3].key}.{i}.log", b"log")
        write(place.root / "data" / "digits.npz", b"data")
        write(place.checkpoints / f"{'0' * 16}.1.snapshot", seal([b"snapshot"]))
    return places


def write(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


class Killed(BaseException):
    """A kill, from which nobody recovers."""


@pytest.mark.parametrize("is_done", [False, True], ids=["before", "after"])
def test_killed_at_any_write_and_merged_again_it_comes_to_the_same(tmp_path, monkeypatch, is_done):
    places = three_machines(tmp_path)
    merge(tmp_path / "whole", *places)
    whole, rename = files(ResultsDir(tmp_path / "whole" / "suite")), Path.replace
    countdown = [0]

    def replace_or_die(path, target):
        countdown[0] -= 1
        if countdown[0] == 0 and not is_done:
            raise Killed
        rename(path, target)
        if countdown[0] == 0:
            raise Killed

    monkeypatch.setattr(Path, "replace", replace_or_die)
    kills = 0
    while True:
        out = tmp_path / f"out{kills}"
        countdown[0] = kills + 1
        try:
            merge(out, *places)
            break
        except Killed:
            kills += 1
        countdown[0] = 0
        merge(out, *places[::-1])
        assert files(ResultsDir(out / "suite")) == whole
    assert kills > 10
    assert files(ResultsDir(out / "suite")) == whole


def test_merging_again_changes_nothing(tmp_path):
    places = three_machines(tmp_path)
    first = merge(tmp_path / "out", *places)
    before = files(ResultsDir(tmp_path / "out" / "suite"))
    again = merge(tmp_path / "out", *places)
    assert files(ResultsDir(tmp_path / "out" / "suite")) == before
    assert sum(trial.is_new for trial in first.trials) == 2
    assert sum(trial.is_new for trial in again.trials) == 0


def test_what_a_trial_has_besides_its_record_comes_along_and_snapshots_stay(tmp_path):
    merge(tmp_path / "out", *three_machines(tmp_path))
    names = {name for name in files(ResultsDir(tmp_path / "out" / "suite")) if "/" in name and "records" not in name}
    assert {name for name in names if not name.startswith("conflicts/")} == {
        f"models/{KEY}.last",
        f"data/planes/{KEY}.npz",
        "data/digits.npz",
        *(f"logs/{GRID[3].key}.{i}.log" for i in (1, 2)),
    }


@pytest.mark.parametrize("turned", [False, True])
def test_of_equal_results_the_one_that_was_finished_first_is_kept(tmp_path, turned):
    times = {"2026-02": "b", "2026-01": "c", "2026-03": "a"}
    records = [a_record(telemetry={"host": host, "finished": time}) for time, host in times.items()]
    records = [replace(record, key=KEY, trial=TRIAL.content) for record in records]
    places = [machine(tmp_path / f"m{i}", record) for i, record in enumerate(records)]
    (trial, *_) = merge(tmp_path / "out", *places[:: -1 if turned else 1]).trials
    assert (trial.n_equal, trial.conflict) == (3, "")
    assert result(tmp_path / "out") == records[1]


@pytest.mark.parametrize("outcome", NO_RESULT)
def test_a_result_wins_over_a_failure_wherever_it_is(tmp_path, outcome):
    places = [machine(tmp_path / "a", failed(TRIAL, outcome)), machine(tmp_path / "b", a_record(TRIAL))]
    for out, order in (("one", places), ("other", places[::-1])):
        assert not merge(tmp_path / out, *order).is_incomplete
        assert result(tmp_path / out) == a_record(TRIAL)
    here = machine(tmp_path / "here", failed(TRIAL, outcome))
    assert merge(tmp_path / "here", places[1]).trials[0].is_new
    assert read_record(here.record(KEY)) == a_record(TRIAL)


def test_files_that_the_target_has_already_stay_as_they_are(tmp_path):
    places = [machine(tmp_path / name, a_record(TRIAL)) for name in ("out", "a")]
    for place, body in zip(places, (b"mine", b"theirs"), strict=True):
        write(place.root / "models" / f"{KEY}.last", seal([body]))
        write(place.logs / f"{KEY}.1.log", body)
        write(place.root / "data" / "digits.npz", body)
    assert not merge(tmp_path / "out", places[1]).is_incomplete
    assert (tmp_path / "out/suite/models" / f"{KEY}.last").read_bytes() == seal([b"mine"])
    assert (tmp_path / "out/suite/logs" / f"{KEY}.1.log").read_bytes() == b"mine"
    assert (tmp_path / "out/suite/data/digits.npz").read_bytes() == b"mine"


def test_a_failure_that_stands_is_not_replaced_by_another(tmp_path):
    here = machine(tmp_path / "here", failed(TRIAL, "timeout", error="mine"))
    merge(tmp_path / "here", machine(tmp_path / "a", failed(TRIAL, "oom", error="theirs")))
    assert read_record(here.record(KEY)).error == "mine"


def conflicts(out):
    return {path.name: path.read_bytes() for path in sorted((out / "suite" / "conflicts").glob("*"))}


def test_results_that_contradict_are_kept_apart_and_none_counts(tmp_path):
    places = [machine(tmp_path / "a", a_record(TRIAL)), machine(tmp_path / "b", another())]
    merged = merge(tmp_path / "out", *places)
    assert merged.is_incomplete
    assert not merged.trials[0].is_trained
    where, why = f"{places[0].root}, {places[1].root}", "made alike, so bits should be equal"
    assert merged.trials[0].conflict == f"trial {KEY}: 2 different results in {where} ({why}); none of them counts"
    assert result(tmp_path / "out") is None
    assert f"{KEY},".encode() in (tmp_path / "out/suite/trials.csv").read_bytes()
    assert b"0.625" not in (tmp_path / "out/suite/trials.csv").read_bytes()
    kept = [read_record(path, KEY) for path in sorted((tmp_path / "out/suite/conflicts").iterdir())]
    assert sorted(kept, key=str) == sorted([a_record(TRIAL), another()], key=str)
    merge(tmp_path / "turned", *places[::-1])
    assert conflicts(tmp_path / "turned") == conflicts(tmp_path / "out")


def test_a_conflict_is_remembered_until_somebody_decides(tmp_path):
    places = [machine(tmp_path / "a", a_record(TRIAL), a_record(GRID[1])), machine(tmp_path / "b", another())]
    merge(tmp_path / "out", *places)
    out = ResultsDir(tmp_path / "out" / "suite")
    assert not merge(tmp_path / "out", places[0]).trials[0].is_trained, "one side alone does not decide it"
    assert not merge(tmp_path / "next", out, places[0]).trials[0].is_trained, "nor elsewhere"
    (right,) = (path for path in (out.root / "conflicts").iterdir() if read_record(path, KEY) == another())
    right.rename(out.record(KEY))
    assert merge(tmp_path / "out", places[1]).trials[0].is_trained
    assert result(tmp_path / "out") == another()
    assert not merge(tmp_path / "last", out).is_incomplete, "what is decided is a result like any other"


def test_what_stands_in_the_target_stays_whatever_contradicts_it(tmp_path):
    here = machine(tmp_path / "out", a_record(TRIAL))
    before = here.record(KEY).read_bytes()
    merged = merge(tmp_path / "out", machine(tmp_path / "a", another()))
    assert here.record(KEY).read_bytes() == before
    assert merged.is_incomplete
    assert merged.trials[0].conflict.endswith("the one that stood here stays")
    assert [read_record(path, KEY) for path in (tmp_path / "out/suite/conflicts").iterdir()] == [another()]


def test_a_conflict_between_kinds_of_machines_says_what_they_differ_in(tmp_path):
    made = {"machine": "x86_64", "cpu": "AVX2", "torch": "2.13", "device_name": "one"}
    one = machine(tmp_path / "a", a_record(TRIAL, telemetry=made))
    other = machine(tmp_path / "b", another(telemetry={**made, "cpu": "AVX512", "code_hash": "0"}))
    assert "(made with another cpu, code hash)" in merge(tmp_path / "out", one, other).trials[0].conflict


def resealed(path, **changes):
    """Change members of a record as somebody would who knows how to seal it again."""
    path.write_bytes(dump_checked_json({**load_checked_json(path), **changes}))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), "is damaged: its checksum does not hold"),
        (lambda path: path.write_bytes(path.read_bytes().replace(b"0.625", b"0.725")), "its checksum does not hold"),
        (lambda path: path.write_bytes(b""), "its checksum does not hold"),
        (lambda path: resealed(path, key=GRID[1].key), "is the record of another trial"),
        (lambda path: resealed(path, trial=GRID[1].content), "its settings are not those of its key"),
        (lambda path: resealed(path, facts={}), "no record that training wrote"),
        (lambda path: (path.rename(path.with_name("x")), path.symlink_to(path.with_name("x"))), "it is a link"),
        (lambda path: (path.unlink(), os.mkfifo(path)), "is not a regular file"),
        (lambda path: (path.unlink(), path.mkdir()), "is not a regular file"),
    ],
    ids=["cut", "changed", "empty", "other key", "other settings", "no facts", "link", "pipe", "folder"],
)
@pytest.mark.timeout(20)
def test_a_record_that_is_not_what_training_wrote_is_named_and_left_out(tmp_path, damage, words):
    bad, good = machine(tmp_path / "a", a_record(TRIAL), a_record(GRID[1])), machine(tmp_path / "b", a_record(TRIAL))
    damage(bad.record(KEY))
    merged = merge(tmp_path / "out", bad)
    assert merged.is_incomplete
    (fault,) = merged.faults
    assert str(bad.record(KEY)) in fault
    assert words in fault
    assert [trial.is_trained for trial in merged.trials[:2]] == [False, True]
    assert merge(tmp_path / "out", bad, good).trials[0].is_new
    assert result(tmp_path / "out") == a_record(TRIAL)


def test_a_damaged_record_in_the_target_is_named_once_and_replaced(tmp_path):
    here = machine(tmp_path / "out", a_record(TRIAL))
    here.record(KEY).write_bytes(b"")
    merged = merge(tmp_path / "out", machine(tmp_path / "a", a_record(TRIAL)))
    assert len(merged.faults) == 1
    assert read_record(here.record(KEY)) == a_record(TRIAL)


def test_a_record_of_a_newer_version_ends_the_merge(tmp_path):
    bad = machine(tmp_path / "a", a_record(TRIAL))
    resealed(bad.record(KEY), schema=99)
    with pytest.raises(NewerSchemaError, match="use the version that wrote it"):
        merge(tmp_path / "out", bad)


@pytest.mark.parametrize("name", ["records", "models", "data", "data/planes", "logs", "conflicts", "checkpoints"])
@pytest.mark.parametrize("where", ["source", "target"])
def test_a_folder_that_is_a_link_is_refused(tmp_path, name, where):
    source, here = machine(tmp_path / "a", a_record(TRIAL)), machine(tmp_path / "out")
    linked = (source if where == "source" else here).root / name
    (tmp_path / "elsewhere").mkdir()
    linked.parent.mkdir(exist_ok=True)
    if linked.exists():
        linked.rename(tmp_path / "moved")
    linked.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DamageError, match=f"{linked} is no folder of its own"):
        merge(tmp_path / "out", source)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_suite_in_a_results_folder_that_is_a_link_is_refused(tmp_path):
    source = machine(tmp_path / "a", a_record(TRIAL))
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "suite").symlink_to(source.root)
    with pytest.raises(DamageError, match="is a link; name the folder that it leads to"):
        by_suite([tmp_path / "linked"], tmp_path / "out")
    assert list(by_suite([tmp_path / "linked" / "suite"], tmp_path / "out")) == ["suite"]


def test_a_damaged_model_is_named_and_taken_from_another_machine(tmp_path):
    places = [machine(tmp_path / name, a_record(TRIAL, telemetry={"finished": name})) for name in "ab"]
    for place, body in zip(places, (b"x", b"y"), strict=True):
        write(place.root / "models" / f"{KEY}.last", seal([body]))
    write(places[0].root / "models" / f"{KEY}.last", seal([b"x"])[:-1] + b"\0")
    merged = merge(tmp_path / "out", *places)
    assert [f"models/{KEY}.last is damaged" in fault for fault in merged.faults] == [True]
    assert (tmp_path / "out/suite/models" / f"{KEY}.last").read_bytes() == seal([b"y"])


def test_files_that_are_links_or_pipes_or_huge_are_named_and_left_out(tmp_path):
    place = machine(tmp_path / "a", a_record(TRIAL))
    write(tmp_path / "secret", seal([b"secret"]))
    write(place.logs / f"{KEY}.1.log", b"")
    with (place.logs / f"{KEY}.1.log").open("wb") as file:
        file.truncate(2**40)
    (place.root / "models").mkdir()
    (place.root / "models" / f"{KEY}.best").symlink_to(tmp_path / "secret")
    (place.root / "data" / "planes").mkdir(parents=True)
    os.mkfifo(place.plane(KEY))
    merged = merge(tmp_path / "out", place)
    assert len(merged.faults) == 3
    assert not {"models", "logs", "data"} & {path.name for path in (tmp_path / "out/suite").iterdir() if path.is_dir()}


def test_names_of_a_stranger_never_become_paths(tmp_path):
    trial = replace(TRIAL, dataset="../../../evil")
    place = machine(tmp_path / "a", a_record(trial), manifest=manifest_of([trial]))
    write(place.logs / f"{trial.key}.1.log.exe", b"")
    write(place.root / "conflicts" / f"{trial.key}.json", b"")
    write(place.root / "data" / "evil.npz", b"data")
    assert not merge(tmp_path / "out", place).is_incomplete
    assert {path.name for path in (tmp_path / "out").rglob("*.npz")} == {"evil.npz"}
    assert not list((tmp_path / "out").rglob("*.exe"))
    zero = replace(TRIAL, dataset="a\0b")
    assert not merge(
        tmp_path / "o", machine(tmp_path / "b", a_record(zero), manifest=manifest_of([zero]))
    ).is_incomplete


@pytest.mark.parametrize("name", ["../evil", "a/b", "..", ".", "", ".hidden", "/evil", "a\nb", "a\0b", "x" * 300])
def test_a_suite_whose_name_is_no_name_of_a_folder_is_refused(tmp_path, name):
    place = machine(tmp_path / "a", manifest=replace(MANIFEST, name=name))
    with pytest.raises(DamageError, match="is no manifest: a suite can't be called"):
        by_suite([place.root], tmp_path / "out")


def test_records_of_trials_that_the_suite_has_not_stay_and_are_counted(tmp_path):
    place = machine(tmp_path / "a", a_record(TRIAL))
    for name in ("0" * 16, "1" * 16, "x"):
        write(place.records / f"{name}.json", b"whatever")
    merged = merge(tmp_path / "out", place)
    assert merged.foreign == {place.root: 3}
    assert not merged.is_incomplete
    assert [path.stem for path in (tmp_path / "out/suite/records").iterdir()] == [KEY]
