"""Runs for TensorBoard: an event file for each trial, in a folder named by suite, arm and key.

Scalars have single precision there: its data server shows no others. Settings and status are hyperparameters of the
HParams tab.
"""

import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import metadata as hparams
from tensorboard.plugins.hparams.api_pb2 import STATUS_FAILURE, STATUS_SUCCESS
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo
from tensorboard.summary.writer.record_writer import RecordWriter

from harness.errors import UsageError
from harness.export.trackers import Written
from harness.export.trackers.tracked_trial import TrackedTrial
from harness.io import remove_file, write_atomically

DEFAULT_OUTPUT = Path("runs")  # as torch.utils.tensorboard has it
EVENT_FILE = "events.out.tfevents.0.harness"  # TensorBoard reads any file with "tfevents" in its name
FORMAT = "brain.Event:2"
MAX_ARM = 100  # letters of a folder's name


def write(suite: str, trials: Iterable[TrackedTrial], output: Path | None) -> Written:
    """Write or replace an event file for each trial; UsageError where others have written into the suite's folder."""
    folder = (output or DEFAULT_OUTPUT) / suite
    for path in folder.rglob("*tfevents*"):
        if path.name != EVENT_FILE:
            raise UsageError(f"{path} was not written by `export-curves`; name another --output")
    earlier: dict[str, list[Path]] = {}
    for path in folder.glob(f"*/*/{EVENT_FILE}"):
        earlier.setdefault(path.parent.name, []).append(path)
    n_runs = n_replaced = 0
    for trial in trials:
        path = folder / quote(trial.arm, safe="= ")[:MAX_ARM] / trial.key / EVENT_FILE
        write_atomically(path, _event_file(suite, trial))
        for other in earlier.get(trial.key, []):
            if other != path:  # the suite compared something else then
                remove_file(other)
        n_runs += 1
        n_replaced += trial.key in earlier
    return Written(
        n_runs=n_runs, n_replaced=n_replaced, place=str(folder), look=f"tensorboard --logdir {folder.parent}"
    )


def _event_file(suite: str, trial: TrackedTrial) -> bytes:
    sink = io.BytesIO()
    writer = RecordWriter(sink)
    for event in _events(suite, trial):
        writer.write(event.SerializeToString())
    return sink.getvalue()


def _events(suite: str, trial: TrackedTrial) -> Iterator[Event]:
    """Settings, curves by step, outcomes at the last step, and how it ended."""
    yield Event(wall_time=trial.started, file_version=FORMAT)
    yield Event(wall_time=trial.started, summary=_session_start(suite, trial))
    for step, values in trial.curves.items():
        yield Event(wall_time=trial.finished, step=step, summary=_scalars(values))
    outcomes = {f"final/{name}": float(value) for name, value in trial.outcomes.items()}
    last = max(trial.curves, default=0)
    yield Event(wall_time=trial.finished, step=last, summary=_scalars(outcomes))
    end = SessionEndInfo(status=STATUS_SUCCESS if trial.has_result else STATUS_FAILURE, end_time_secs=trial.finished)
    yield Event(
        wall_time=trial.finished,
        summary=_hparams_summary(hparams.SESSION_END_INFO_TAG, HParamsPluginData(session_end_info=end)),
    )


def _session_start(suite: str, trial: TrackedTrial) -> Summary:
    """What the HParams tab has as hyperparameters: the settings, and what the trial is called by."""
    start = SessionStartInfo(group_name=trial.key, start_time_secs=trial.started)
    for name, value in {"suite": suite, "arm": trial.arm, "status": trial.status, **trial.settings}.items():
        if isinstance(value, bool):
            start.hparams[name].bool_value = value
        elif isinstance(value, int | float):
            start.hparams[name].number_value = value
        else:
            start.hparams[name].string_value = str(value)
    return _hparams_summary(hparams.SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=start))


def _hparams_summary(tag: str, data: HParamsPluginData) -> Summary:
    summary = Summary()
    summary.value.add(tag=tag, metadata=hparams.create_summary_metadata(data), tensor=hparams.NULL_TENSOR)
    return summary


def _scalars(values: Mapping[str, float]) -> Summary:
    return Summary(value=[Summary.Value(tag=name, simple_value=value) for name, value in values.items()])
