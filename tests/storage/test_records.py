"""Records and manifests: what was written comes back, a result is never changed, and damage of any kind is refused."""

import copy
import json
import os
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import DamageError, NewerSchemaError
from harness.io import dump_checked_json, load_checked_json
from harness.storage.records import (
    NO_RESULT,
    SCHEMA,
    TRAINED,
    Record,
    ResultsDir,
    failure,
    read_manifest,
    read_record,
    read_records,
    write_manifest,
    write_record,
)
from tests.support.manifests import a_manifest
from tests.support.strategies import a_trial, trials

KEY = a_trial().key
finite = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def records(draw):
    """A record that training may have written, of any trial and any outcome."""
    trial, outcome = draw(trials()), draw(st.sampled_from((TRAINED, *NO_RESULT)))
    if outcome != TRAINED:
        return Record(key=trial.key, trial=trial.content, outcome=outcome, error=draw(st.text()))
    steps = sorted(draw(st.sets(st.integers(0, 2**31 - 1), min_size=1, max_size=4)))
    points = st.lists(st.none() | finite, min_size=len(steps), max_size=len(steps))
    ends = {"step": [0, trial.steps], "value": draw(st.lists(finite, min_size=2, max_size=2))}
    return Record(
        key=trial.key,
        trial=trial.content,
        outcome=TRAINED,
        facts={"fail_step": draw(st.none() | st.integers(0, trial.steps)), "guess_loss": draw(finite), "classes": 3},
        curves={"train.loss": ends, "val.accuracy": {"step": steps, "value": draw(points)}},
        telemetry={"host": draw(st.text()), "seconds_train": draw(finite)},
    )


def a_record(**changes):
    """A record of one trial, with the losses 2.5 at first and 0.5 at last."""
    content = {
        "key": KEY,
        "trial": a_trial().content,
        "outcome": TRAINED,
        "facts": {"fail_step": None, "steps": 5, "steps_per_epoch": 2, "guess_loss": 2.3},
        "curves": {"train.loss": {"step": [0, 5], "value": [2.5, 0.5]}},
        "telemetry": {"host": "here"},
    }
    return Record(**{**content, **changes})


def stored(place, content, key=KEY):
    """The path of a record with this content, whatever it is, and a checksum that holds."""
    path = place.record(key)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(dump_checked_json(content))
    return path


def content_of(record):
    return {"schema": SCHEMA, **copy.deepcopy(asdict(record))}


@pytest.fixture
def place(tmp_path):
    return ResultsDir(tmp_path / "suite")


@given(records())
def test_a_record_comes_back_as_it_was_written(tmp_path_factory, record):
    place = ResultsDir(tmp_path_factory.mktemp("results"))
    write_record(place, record)
    assert read_record(place.record(record.key)) == record


def test_a_record_is_one_file_named_by_its_key(place):
    write_record(place, a_record())
    assert [str(path.relative_to(place.root)) for path in place.root.rglob("*.*")] == [f"records/{KEY}.json"]


@pytest.mark.parametrize("outcome", [TRAINED, *NO_RESULT])
def test_a_trained_record_is_never_changed(place, outcome):
    write_record(place, a_record())
    before = place.record(KEY).read_bytes()
    write_record(place, a_record(outcome=outcome, error="again", telemetry={"host": "there"}))
    assert place.record(KEY).read_bytes() == before


@pytest.mark.parametrize("outcome", NO_RESULT)
def test_a_record_without_a_result_gives_way_to_the_next(place, outcome):
    write_record(place, Record(key=KEY, trial=a_trial().content, outcome=outcome, error="first"))
    for record in (Record(key=KEY, trial=a_trial().content, outcome="timeout", error="second"), a_record()):
        write_record(place, record)
        assert read_record(place.record(KEY)) == record


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "foreign", "link", "pipe"])
@pytest.mark.timeout(20)
def test_a_damaged_record_is_refused_and_replaced_by_the_next(place, tmp_path, damage):
    write_record(place, a_record())
    path = place.record(KEY)
    data = path.read_bytes()
    path.unlink()
    match damage:
        case "truncated":
            path.write_bytes(data[:-9])
        case "flipped":
            path.write_bytes(data.replace(b"0.5", b"0.7"))
        case "empty":
            path.write_bytes(b"")
        case "foreign":
            path.write_bytes(data.replace(KEY.encode(), b"0" * 16))
        case "link":
            (tmp_path / "other").write_bytes(data)
            path.symlink_to(tmp_path / "other")
        case "pipe":
            os.mkfifo(path)
    with pytest.raises(DamageError, match=KEY):
        read_record(path)
    write_record(place, a_record(telemetry={"host": "there"}))
    assert read_record(path).telemetry == {"host": "there"}
    assert not (tmp_path / "other").exists() or (tmp_path / "other").read_bytes() == data


def test_the_record_of_another_trial_is_refused(place):
    other = a_trial(seed=1).key
    path = stored(place, content_of(a_record()), other)
    with pytest.raises(DamageError, match=f"{other}.json is the record of another trial, '{KEY}'"):
        read_record(path)


@pytest.mark.parametrize("schema", [SCHEMA + 1, 0, None, "1", [1], -1])
def test_a_record_of_another_schema_is_refused_with_what_to_do(place, schema):
    path = stored(place, {**content_of(a_record()), "schema": schema})
    with pytest.raises(DamageError, match=f"this version reads {SCHEMA}; use the version that wrote it"):
        read_record(path)


def test_a_record_of_a_newer_version_is_never_overwritten_nor_taken_for_damaged(place):
    path = stored(place, {**content_of(a_record()), "schema": SCHEMA + 1})
    before = path.read_bytes()
    with pytest.raises(NewerSchemaError, match="use the version that wrote it"):
        write_record(place, a_record())
    with pytest.raises(NewerSchemaError):
        read_records(place, [a_record().key])
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["schema", *asdict(a_record())])
def test_a_record_that_lacks_a_member_is_refused(place, name):
    content = content_of(a_record())
    del content[name]
    with pytest.raises(DamageError):
        read_record(stored(place, content))


def test_a_record_with_a_member_too_many_is_refused(place):
    with pytest.raises(DamageError, match=r"is no record: its members are .*more"):
        read_record(stored(place, {**content_of(a_record()), "more": 1}))


def test_an_unknown_outcome_is_refused_where_a_record_is_made():
    with pytest.raises(DamageError, match=f"record '{KEY}': unknown outcome 'done'"):
        a_record(outcome="done")


LOSS = {"step": [0, 5], "value": [2.5, 0.5]}


@pytest.mark.parametrize(
    "wrong",
    [
        *({name: value} for name in ("trial", "facts", "curves", "telemetry") for value in (None, [], "text", 3)),
        *({"key": key} for key in (None, 3, [KEY], "", "../../x")),
        *({"outcome": outcome} for outcome in (None, 3, ["trained"], "")),
        *({"error": error} for error in (None, 3, ["text"])),
        *({"facts": {"fail_step": step}} for step in ("5", 1.5, True, [5], 2**63, -(2**63))),
        *({"facts": {"fail_step": None, "norm_batch": value}} for value in ("7", 7.5, [7], {}, True)),
        *({"facts": {"fail_step": None, "guess_loss": value}} for value in (None, "low", True)),
        *({"facts": {"fail_step": None, name: 0}} for name in ("classes", "steps", "steps_per_epoch", "test_examples")),
        {"facts": {"fail_step": -1}},
        {"facts": {"fail_step": None, "sync_bn_impl": 1}},
        {"facts": {"fail_step": None, "unknown": [1]}},
        *({"telemetry": {"seconds_train": value}} for value in ("=cmd", True, [1.0], {})),
        *({"telemetry": {"host": value}} for value in (1, ["a"], {"a": 1})),
        *({"telemetry": {"threads": value}} for value in (10**400, 1.5, "1", -1)),
        {"telemetry": {"unknown": {}}},
        {"trial": {}},
        {"trial": {**a_trial().content, "lr": "0.1"}},
        {"trial": {**a_trial().content, "lr": -1.0}},
        {"trial": {**a_trial().content, "more": 1}},
        {"trial": a_trial(seed=1).content},
        {"facts": {}},
        {"facts": {"steps": 5}},
        {"curves": {}},
        {"curves": {"val.loss": LOSS}},
        *({"curves": {"train.loss": curve}} for curve in (None, 3, [], {}, [[0, 5], [2.5, 0.5]], "text")),
        {"curves": {"train.loss": {"step": [0, 5]}}},
        {"curves": {"train.loss": {**LOSS, "more": []}}},
        {"curves": {"train.loss": {"step": [], "value": []}}},
        {"curves": {"train.loss": {"step": [0, 5], "value": [2.5]}}},
        {"curves": {"train.loss": {"step": 5, "value": 0.5}}},
        {"curves": {"train.loss": {"step": "05", "value": "25"}}},
        *({"curves": {"train.loss": {"step": [0, step], "value": [2.5, 0.5]}}} for step in (-1, 2**31, 5.0, "5", None)),
        *({"curves": {"train.loss": {"step": [0, 5], "value": [2.5, v]}}} for v in ("0.5", None, [0.5], True, 10**400)),
        {"curves": {"train.loss": {"step": [0, 5], "value": [None, 0.5]}}},
        {"curves": {"train.loss": LOSS, "val.\ud800": LOSS}},
        {"curves": {"train.loss": LOSS, "two\nlines": LOSS}},
    ],
    ids=lambda wrong: ascii(wrong)[:120],
)
def test_a_member_of_a_wrong_type_is_damage_though_the_checksum_holds(place, wrong):
    path = stored(place, {**content_of(a_record()), **wrong})
    with pytest.raises(DamageError) as caught:
        read_record(path)
    assert len(str(caught.value).splitlines()) == 1
    write_record(place, a_record())
    assert read_record(path) == a_record()


def test_read_records_returns_what_is_there_and_what_is_wrong(place):
    whole, damaged, missing = (a_trial(seed=seed).key for seed in (1, 2, 3))
    write_record(place, a_record(key=whole, trial=a_trial(seed=1).content))
    stored(place, {}, damaged)
    records, errors = read_records(place, [missing, damaged, whole])
    assert list(records) == [whole]
    assert [damaged in str(error) for error in errors] == [True]


@pytest.mark.parametrize(
    ("fail_step", "losses", "guess", "answer"),
    [
        (None, [2.5, 0.5], 2.3, None),
        (3, [2.5, 0.5], 2.3, "nonfinite"),
        (0, [None, None], 2.3, "nonfinite"),
        (None, [2.5, 2.5], 2.9, "no_better_than_init"),
        (None, [2.5, 2.6], 2.9, "no_better_than_init"),
        (None, [9.5, 2.3], 2.3, "no_better_than_init"),
        (None, [9.5, 2.29], 2.3, None),
        (None, [2.2, 2.21], 2.3, "no_better_than_init"),
        (None, [2.2, 2.19], 2.3, None),
        (None, [9.5, 2.4], None, None),
    ],
)
def test_a_trial_fails_to_train_where_its_loss_is_not_finite_or_not_under_that_of_guessing(
    fail_step, losses, guess, answer
):
    facts = {"fail_step": fail_step, **({} if guess is None else {"guess_loss": guess})}
    assert failure(a_record(facts=facts, curves={"train.loss": {"step": [0, 5], "value": losses}})) == answer


@pytest.mark.parametrize(("steps", "answer"), [(1, None), (2, "no_better_than_init")])
def test_a_trial_of_one_update_is_no_failure_unless_its_loss_is_not_finite(steps, answer):
    record = a_record(facts={"fail_step": None}, curves={"train.loss": {"step": [0, steps], "value": [2.5, 2.5]}})
    record = replace(record, trial={**record.trial, "steps": steps})
    assert failure(record) == answer
    assert failure(replace(record, facts={"fail_step": 1})) == "nonfinite"


@given(
    counts=st.lists(st.integers(1, 1000), min_size=2, max_size=12),
    offset=st.floats(-30, 30),
    precision=st.sampled_from(["float32", "float64", "bfloat16"]),
)
def test_every_net_at_the_frequencies_of_the_classes_is_no_better_than_guessing(counts, offset, precision):
    """Their losses are equal but for rounding, which made some of 26 such nets train and others not."""
    shares = np.array(counts) / sum(counts)
    guess = float(-(shares * np.log(shares)).sum())
    dtype = torch.float64 if precision == "float64" else torch.float32
    logits = (torch.from_numpy(np.log(shares)) + offset).to(dtype).expand(len(counts), -1)
    losses = torch.nn.functional.cross_entropy(logits, torch.arange(len(counts)), reduction="none").double()
    loss = float((losses * torch.from_numpy(shares)).sum())

    def failure_at(value):
        record = a_record(
            facts={"fail_step": None, "guess_loss": guess},
            curves={"train.loss": {"step": [0, 5], "value": [guess + 1, value]}},
        )
        return failure(replace(record, trial={**record.trial, "precision": precision}))

    assert failure_at(loss) == "no_better_than_init"
    assert failure_at(guess - 1e-5 * max(1.0, guess)) is None
    assert (failure_at(guess - 1e-8) is None) == (precision == "float64")


def test_a_manifest_comes_back_as_it_was_written(place):
    assert read_manifest(place) is None
    for manifest in (a_manifest(cohorts=[[KEY]]), a_manifest(name="\u00e9\n", axes={"lr": [0.1, None]})):
        write_manifest(place, manifest)
        assert read_manifest(place) == manifest


def test_a_manifest_is_plain_json_with_its_schema(place):
    write_manifest(place, a_manifest(name="suite"))
    content = json.loads(place.manifest.read_text())
    assert (content["schema"], content["name"]) == (SCHEMA, "suite")


def test_a_manifest_of_another_schema_or_damaged_is_refused(place):
    write_manifest(place, a_manifest(name="suite"))
    data = place.manifest.read_bytes()
    place.manifest.write_bytes(data.replace(b"suite", b"siute"))
    with pytest.raises(DamageError, match="checksum"):
        read_manifest(place)
    place.manifest.write_bytes(dump_checked_json({"schema": SCHEMA + 1}))
    with pytest.raises(DamageError, match=f"schema {SCHEMA + 1}"):
        read_manifest(place)


def test_a_sealed_record_is_readable_without_this_project(place):
    write_record(place, a_record())
    content = json.loads(place.record(KEY).read_text())
    assert content.pop("sha256")
    assert content == load_checked_json(place.record(KEY)) == content_of(replace(a_record()))
