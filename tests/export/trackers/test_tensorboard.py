"""Event files: what TensorBoard's own reader reads of them, and whose they are."""

from dataclasses import replace

import numpy as np
import pytest

from harness.errors import UsageError
from tests.export.trackers.conftest import SUITE

pytest.importorskip("tensorboard", reason="no tensorboard; pip install 'harness[tensorboard]'")

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata as hparams
from tensorboard.plugins.hparams.api_pb2 import STATUS_FAILURE, STATUS_SUCCESS

from harness.export.trackers.tensorboard import EVENT_FILE, write


def read(folder) -> EventAccumulator:
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return events


def run_of(folder, trial):
    return folder / SUITE / trial.arm / trial.key


def scalars(events):
    return {(tag, e.step): e.value for tag in events.Tags()["scalars"] for e in events.Scalars(tag)}


def session(events, tag):
    content = events.SummaryMetadata(tag).plugin_data.content
    start = tag == hparams.SESSION_START_INFO_TAG
    return (hparams.parse_session_start_info_plugin_data if start else hparams.parse_session_end_info_plugin_data)(
        content
    )


def test_curves_and_outcomes_come_back_in_single_precision(tmp_path, trials, points, assert_same):
    written = write(SUITE, trials, tmp_path)
    assert (written.n_runs, written.n_replaced) == (2, 0)
    for trial in trials:
        last = max(trial.curves)
        final = {(f"final/{name}", last): value for name, value in trial.outcomes.items()}
        single = {name: np.float32(value) for name, value in {**points[trial.key], **final}.items()}
        assert_same(scalars(read(run_of(tmp_path, trial))), single)


def test_hyperparameters_are_the_settings_and_the_status(tmp_path, trials, crashed):
    write(SUITE, [*trials, crashed], tmp_path)
    for trial in (*trials, crashed):
        events = read(run_of(tmp_path, trial))
        kinds = ("bool_value", "number_value", "string_value")
        start = session(events, hparams.SESSION_START_INFO_TAG)
        seen = {name: getattr(value, value.WhichOneof("kind")) for name, value in start.hparams.items()}
        assert all(value.WhichOneof("kind") in kinds for value in start.hparams.values())
        assert seen == {"suite": SUITE, "arm": trial.arm, "status": trial.status, **trial.settings}
        ended = session(events, hparams.SESSION_END_INFO_TAG)
        assert ended.status == (STATUS_FAILURE if trial is crashed else STATUS_SUCCESS)
        assert (start.start_time_secs, ended.end_time_secs) == (trial.started, trial.finished)


def test_writing_again_replaces_and_never_doubles(tmp_path, trials, replaced):
    write(SUITE, trials, tmp_path)
    first = {path: path.read_bytes() for path in tmp_path.rglob("*tfevents*")}
    assert write(SUITE, trials, tmp_path).n_replaced == 2
    assert {path: path.read_bytes() for path in tmp_path.rglob("*tfevents*")} == first
    write(SUITE, replaced(trials), tmp_path)
    second = {path: path.read_bytes() for path in tmp_path.rglob("*tfevents*")}
    assert second.keys() == first.keys()
    assert all(second[path] != first[path] for path in first)


def test_a_trial_that_is_of_another_arm_now_has_one_run(tmp_path, trials):
    write(SUITE, trials, tmp_path)
    write(SUITE, [replace(trial, arm="lr=../0.1") for trial in trials], tmp_path)
    assert {path.parent.parent.name for path in tmp_path.rglob(EVENT_FILE)} == {"lr=..%2F0.1"}


@pytest.mark.parametrize("place", ["", "norm=batch/mine"])
def test_event_files_of_others_stay_and_are_told(tmp_path, trials, place):
    other = tmp_path / SUITE / place / "events.out.tfevents.1700000000.host.1.0"
    other.parent.mkdir(parents=True)
    other.write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"tfevents\.1700000000.* was not written by `export-curves`; name another"):
        write(SUITE, trials, tmp_path)
    assert [path.read_bytes() for path in tmp_path.rglob("*tfevents*")] == [b"mine"]


def test_runs_of_others_beside_the_suite_are_no_matter(tmp_path, trials):
    (tmp_path / "events.out.tfevents.1700000000.host.1.0").write_bytes(b"mine")
    assert write(SUITE, trials, tmp_path).n_runs == 2
