"""Offline runs of W&B, read back from its files: of the real package where it is installed, and of a stand-in."""

import importlib
import importlib.util
import json
import struct
import sys
from types import SimpleNamespace

import pytest

from harness.errors import MachineError
from tests.export.trackers.conftest import SUITE
from tests.support.fake_trackers import WANDB_RUNS, wandb_modules

MODULE = "harness.export.trackers.wandb"
HAS_WANDB = importlib.util.find_spec("wandb") is not None
REAL = pytest.mark.skipif(not HAS_WANDB, reason="no wandb; pip install 'harness[wandb]'")
HEADER, BLOCK, RECORD_HEADER = 7, 2**15, 7  # bytes, in the log files of LevelDB that W&B writes
ENDS = (1, 4)  # kinds of a chunk: a whole record, and the last of one


@pytest.fixture(params=["stand-in", pytest.param("real", marks=[REAL, pytest.mark.filterwarnings("default")])])
def wandb(request, monkeypatch):
    """The module under test, and what reads a run's folder."""
    monkeypatch.setenv("WANDB_MODE", "online")  # which must not matter
    if request.param == "stand-in":
        for name, module in wandb_modules().items():
            monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    module = importlib.import_module(MODULE)
    monkeypatch.delitem(sys.modules, MODULE)
    return SimpleNamespace(write=module.write, read=read_stand_in if request.param == "stand-in" else read_file)


def read_stand_in(folder):
    run = WANDB_RUNS[folder]
    options = {name: run.options[name] for name in ("id", "name", "project", "group", "tags", "config")}
    history = {(name, step): v for step, values in run.history.items() for name, v in values.items()}
    return SimpleNamespace(**options, history=history, summary=run.summary, exit_code=run.exit_code)


def read_file(folder):
    """What the file of a run holds, by the format of LevelDB's logs and W&B's own messages."""
    (path,) = folder.glob("run-*.wandb")
    read = SimpleNamespace(history={}, summary={})
    for record in records(path.read_bytes()):
        match record.WhichOneof("record_type"):
            case "run":
                run = record.run
                read.id, read.name, read.project, read.group = run.run_id, run.display_name, run.project, run.run_group
                read.tags = list(run.tags)
                values = {item.key: json.loads(item.value_json) for item in run.config.update}
                read.config = {name: value for name, value in values.items() if name != "_wandb"}
            case "history":
                row = {
                    "/".join([i.key, *i.nested_key]).strip("/"): json.loads(i.value_json) for i in record.history.item
                }
                step = row["_step"]
                read.history |= {(name, step): v for name, v in row.items() if not name.startswith("_")}
            case "summary":
                items = [item for item in record.summary.update if item.key and not item.key.startswith("_")]
                read.summary |= {item.key: json.loads(item.value_json) for item in items}
            case "exit":
                read.exit_code = record.exit.exit_code
    return read


def records(data):
    from wandb.proto.wandb_internal_pb2 import Record

    position, parts = HEADER, b""
    while position + RECORD_HEADER <= len(data):
        left = BLOCK - position % BLOCK
        if left < RECORD_HEADER:
            position += left
            continue
        size, kind = struct.unpack_from("<HB", data, position + 4)
        position += RECORD_HEADER
        parts += data[position : position + size]
        position += size
        if kind in ENDS:
            yield Record.FromString(parts)
            parts = b""


def folders(out):
    return sorted((out / "wandb").glob("offline-run-*"))


def test_what_goes_over_comes_back_to_the_bit(wandb, tmp_path, trials, points, assert_same):
    written = wandb.write(SUITE, trials, tmp_path / "out")
    assert (written.n_runs, written.n_replaced) == (2, 0)
    runs = {run.id: run for run in map(wandb.read, folders(tmp_path / "out"))}
    assert runs.keys() == {trial.key for trial in trials}
    for trial in trials:
        run = runs[trial.key]
        assert_same(run.history, points[trial.key])
        assert_same(run.summary, trial.outcomes)
        assert run.config == trial.settings
        assert (run.name, run.project, run.group, run.tags) == (trial.key, SUITE, trial.arm, [trial.status])
        assert run.exit_code == 0


def test_writing_again_replaces_its_own_runs_alone(wandb, tmp_path, trials, replaced):
    mine = tmp_path / "wandb" / "offline-run-20240101_120000-abcd1234"
    mine.mkdir(parents=True)
    wandb.write(SUITE, trials, tmp_path)
    second = wandb.write(SUITE, replaced(trials), tmp_path)
    assert (second.n_runs, second.n_replaced) == (2, 2)
    assert len(folders(tmp_path)) == 3
    runs = {run.id: run for run in map(wandb.read, [f for f in folders(tmp_path) if f != mine])}
    for trial in replaced(trials):
        (step, values), *_ = trial.curves.items()
        assert runs[trial.key].history[next(iter(values)), step] == -1.5


def test_a_trial_without_a_result_has_failed(wandb, tmp_path, crashed):
    wandb.write(SUITE, [crashed], tmp_path)
    run = wandb.read(folders(tmp_path)[0])
    assert (run.tags, run.exit_code, run.summary) == (["crashed"], 1, {})
    assert run.history == {(name, 3): value for name, value in crashed.curves[3].items()}


def test_what_the_package_refuses_is_one_line(wandb, tmp_path, trials, monkeypatch):
    module = sys.modules["wandb"]

    def refuse(**_):
        raise module.Error("no service\nin two lines")

    monkeypatch.setattr(module, "init", refuse)
    with pytest.raises(MachineError, match=r"^W&B can't write to .*: .*no service in two lines$"):
        wandb.write(SUITE, trials, tmp_path)
