"""`export-curves`: runs of a tracker made by the real command line, or one line on what stands in the way."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness.cli.dispatch import dispatch
from harness.export.trackers import TRACKERS

REPOSITORY = Path(__file__).parents[2]
REFERENCE = REPOSITORY / "results/reference"
PUBLISHED = ("export-curves", "lr_sweep", "--results", str(REFERENCE), "--only", "seed=0", "--only", "lr=3.0")


def read_runs(folder):
    """Path of a run -> its curves, as TensorBoard reads them."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    runs = {}
    for path in folder.rglob("*tfevents*"):
        events = accumulator.EventAccumulator(str(path.parent), size_guidance={"scalars": 0})
        events.Reload()
        tags = [tag for tag in events.Tags()["scalars"] if not tag.startswith("final/")]
        runs[path.parent.relative_to(folder)] = {(t, e.step): e.value for t in tags for e in events.Scalars(t)}
    return runs


def test_each_selected_trial_is_a_run_with_the_curves_of_the_table(finished, tmp_path):
    pytest.importorskip("tensorboard", reason="no tensorboard; pip install 'harness[tensorboard]'")
    ran = finished("export-curves", "tiny", "--to", "tensorboard", "-o", str(tmp_path), "--only", "norm=batch")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == (
        f"{tmp_path}/tiny: 9 runs written, 0 of them in place of earlier ones; see them with: "
        f"tensorboard --logdir {tmp_path}\n"
    )
    runs = read_runs(tmp_path)
    trials = pd.read_csv(finished.results / "tiny/trials.csv")
    keys = trials.loc[trials["norm"] == "batch", "key"]
    assert runs.keys() == {Path("tiny", "norm=batch", key) for key in keys}
    curves = pd.read_parquet(finished.results / "tiny/curves.parquet")
    for key, table in curves[curves["key"].isin(keys)].groupby("key"):
        expected = {(f"{row.split}/{row.metric}", row.step): np.float32(row.value) for row in table.itertuples()}
        seen = runs[Path("tiny", "norm=batch", str(key))]
        assert seen.keys() == expected.keys()
        np.testing.assert_array_equal([seen[point] for point in expected], list(expected.values()))


def test_trials_that_have_not_ended_are_left_out(harness, finished):
    pytest.importorskip("tensorboard", reason="no tensorboard; pip install 'harness[tensorboard]'")
    shutil.copytree(finished.folder, harness.folder, dirs_exist_ok=True)
    trials = pd.read_csv(harness.results / "tiny/trials.csv")
    for key in trials.loc[(trials["norm"] == "batch") | (trials["lr"] != 0.03), "key"]:
        (harness.results / f"tiny/records/{key}.json").unlink()
    ran = harness("export-curves", "tiny", "--to", "tensorboard")
    assert ran.code == 0
    assert "3 runs written, 0 of them in place of earlier ones, 15 trials that have not ended are left out" in ran.out
    assert len(read_runs(harness.folder / "runs")) == 3
    none = harness("export-curves", "tiny", "--to", "tensorboard", "--only", "norm=batch")
    assert (none.code, none.out) == (3, "")
    assert none.err == "harness: none of the 9 selected trials of tiny has ended; `run` trains them\n"


@pytest.mark.parametrize("tracker", TRACKERS)
def test_a_package_that_is_missing_is_named_with_what_installs_it(tracker, monkeypatch, capsys):
    for name in [name for name in sys.modules if name == TRACKERS[tracker] or name.startswith(f"{tracker}.")]:
        monkeypatch.delitem(sys.modules, name)  # a module of it that is loaded would be found all the same
    monkeypatch.setitem(sys.modules, tracker, None)  # as if it were not installed
    assert dispatch([*PUBLISHED, "--to", tracker]) == 4
    line = f"harness: {tracker} needs the package {tracker!r}; install it with: pip install 'harness[{tracker}]'\n"
    assert capsys.readouterr() == ("", line)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--to", "comet"], "argument --to: invalid choice: 'comet'"),
        ([], "the following arguments are required: --to"),
        (["--to", "tensorboard", "--output", "FILE"], "--output must be a folder, got the file "),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_line(tmp_path, capsys, words, message):
    (tmp_path / "file").touch()
    words = [str(tmp_path / "file") if word == "FILE" else word for word in words]
    assert dispatch([*PUBLISHED, *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_published_results_go_over_without_torch(tmp_path):
    pytest.importorskip("tensorboard", reason="no tensorboard; pip install 'harness[tensorboard]'")
    words = [*PUBLISHED, "--to", "tensorboard", "-o", str(tmp_path)]
    program = f"import sys; from harness.cli import main; sys.exit(main({words!r}) or ('torch' in sys.modules) * 9)"
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    assert {path.parts[1] for path in read_runs(tmp_path)} == {"norm=batch", "norm=none"}
