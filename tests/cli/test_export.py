"""A suite that keeps its models, and what can be done with them afterwards."""

import json
import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch

import harness as package
from harness.cli import main
from harness.cli.options import FORMAT_NAMES
from harness.data.datasets import load_dataset
from harness.data.settings import dataset_key
from harness.export.embedded_checksum import is_exported
from harness.export.formats import FORMATS as WRITERS
from harness.export.load import load_with_facts
from harness.export.model_card import trial_of
from harness.storage.records import ResultsDir, read_record
from harness.training.checkpoint import Snapshot, dump, load
from tests.support import hostile

KEEPING = '''"""Does training leave something to use?"""

from harness import Suite

suite = Suite(
    dataset="digits", model="mlp-16", norm=["batch", "none"], lr=[0.1, 1e30], batch_size=100, seed=range(2), steps=40,
    eval_every=5, save_models=True,
)
'''


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """The results folder of a suite that keeps its models."""
    folder = tmp_path_factory.mktemp("kept")
    (folder / "keeping.py").write_text(KEEPING)
    ran = subprocess.run(
        [sys.executable, "-m", "harness", "run", "keeping", "--progress", "none"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return folder


@pytest.fixture
def command(kept, tmp_path, monkeypatch, capsys):
    """Run a command in this process beside the suite; its exit code and what it says."""
    monkeypatch.chdir(kept)

    def run(*words):
        code = main([str(word) for word in words])
        said = capsys.readouterr()
        return code, said.out, said.err

    run.out = tmp_path
    return run


def trials(kept, **wanted):
    table = pd.read_csv(kept / "results/keeping/trials.csv")
    for column, value in wanted.items():
        table = table[table[column] == value]
    return table


def one_line(said, code):
    assert said[0] == code, said
    assert said[2].count("\n") == 1, said[2]
    assert said[2].startswith("harness: ")
    return said[2]


def test_the_formats_of_the_command_line_are_those_that_there_are():
    assert tuple(WRITERS) == FORMAT_NAMES


def test_every_trial_leaves_two_models_whether_it_trained_or_not(kept):
    names = {path.name for path in (kept / "results/keeping/models").iterdir()}
    assert names == {f"{key}.{which}" for key in trials(kept)["key"] for which in ("last", "best")}


def test_predictions_are_as_right_as_the_record_says(kept, command):
    for row in trials(kept, lr=0.1).itertuples():
        model = command.out / "m.pth"
        assert command("export", row.key, "-o", model)[0] == 0
        code, out, _ = command("predict", model, "digits", "-o", command.out / "p.csv")
        assert code == 0
        assert f"accuracy {row.test_accuracy:.4f}, loss {row.test_loss:.4f}" in out
        table = pd.read_csv(command.out / "p.csv")
        assert list(table.columns) == ["example", "prediction", "probability", "label"]
        assert (table["prediction"] == table["label"]).mean() == pytest.approx(row.test_accuracy)
        assert table["probability"].between(0.1, 1).all()


def test_the_best_model_is_the_one_that_the_table_names(kept, command):
    for row in trials(kept).itertuples():
        command("export", row.key, "-o", command.out / "m.pth", "--which", "best")
        found = package.load_checkpoint(command.out / "m.pth")
        record = read_record(ResultsDir(kept / "results/keeping").record(row.key))
        curve = record.curves["val.accuracy"]
        assert found["step"] == row.best_step
        assert found["accuracy"] == curve["value"][curve["step"].index(row.best_step)]


@pytest.mark.parametrize("form", FORMAT_NAMES)
def test_a_model_leaves_in_every_format(kept, command, form):
    pytest.importorskip({"onnx": "onnx", "safetensors": "safetensors"}.get(form, "torch"), reason="the extra `export`")
    key = trials(kept, norm="batch", lr=0.1)["key"].iloc[0]
    code, out, err = command("export", key[:12], "--format", form, "-o", command.out / "m")
    assert (code, err) == (0, "")
    assert str(command.out / "m") in out
    assert is_exported(command.out / "m")
    if form in ("onnx", "torch-export"):
        assert one_line(command("predict", command.out / "m", "digits"), 2)
        return
    refused = command("evaluate", command.out / "m")
    if form == "module":
        assert "--allow-pickle" in one_line(refused, 2)
        assert command("predict", command.out / "m", "digits", "-o", command.out / "p.csv", "--allow-pickle")[0] == 0
    else:
        assert refused[0] == 0


def test_evaluation_shows_three_kinds_of_statistics(kept, command):
    row = next(trials(kept, norm="batch", lr=0.1).itertuples())
    command("export", row.key, "-o", command.out / "m.pth")
    code, out, _ = command("evaluate", command.out / "m.pth", "--dataset", "digits", "--batch-size", "1")
    assert code == 0
    assert f"{row.test_accuracy:.4f}" in next(line for line in out.splitlines() if "running" in line)
    assert "batch of 1: a batch with one value per channel has no variance" in out
    assert "batch of 16" not in out
    code, out, _ = command("evaluate", command.out / "m.pth", "--batch-size", "540")
    assert "one value per" not in out
    assert "recalibrated on 987 training examples in batches of 100" in out


def test_evaluation_compares_an_example_alone_and_in_a_batch_unasked(kept, command):
    key = trials(kept, norm="batch", lr=0.1)["key"].iloc[0]
    command("export", key, "-o", command.out / "m.pth")
    code, out, _ = command("evaluate", command.out / "m.pth")
    assert code == 0
    rows = [
        line.split()[1:4]
        for line in out.splitlines()
        if "batch of" in line and line.startswith("\N{BOX DRAWINGS LIGHT VERTICAL}")
    ]
    assert rows == [["batch", "of", "1"], ["batch", "of", "16"]]
    (line,) = [line for line in out.splitlines() if line.startswith("test example ")]
    number = int(line.split()[2]) - 1
    model, card = load_with_facts(command.out / "m.pth")
    dataset = load_dataset("digits", command.out, {}, dataset_key(trial_of(card))[1])
    x, first = torch.tensor(dataset.x["test"], dtype=torch.float32).flatten(1), number // 16 * 16
    with torch.no_grad():
        running = model(x)[number]
        together = model.train()(x[first : first + 16])[number - first]  # the mode in which batch norm uses the batch
    shown = [f"{scores.argmax()} ({scores.softmax(0).max():.0%})" for scores in (running, together)]
    assert f"taken for {shown[0]} by running statistics, {shown[1]} in a batch of 16, " in line
    assert line.endswith(", no answer alone")


def test_a_net_without_batch_norm_has_one_way_to_be_evaluated(kept, command):
    command("export", trials(kept, norm="none", lr=0.1)["key"].iloc[0], "-o", command.out / "m.pth")
    code, out, _ = command("evaluate", command.out / "m.pth")
    assert code == 0
    assert "no layer of this model normalises over a batch" in out
    assert "recalibrated" not in out


def test_files_of_examples_are_read_with_and_without_labels(kept, command):
    command("export", trials(kept, norm="batch", lr=0.1)["key"].iloc[0], "-o", command.out / "m.pth")
    x = np.random.default_rng(0).random((5, 64)).astype(np.float32)
    np.savez(command.out / "x.npz", x=x)
    pd.DataFrame(x).assign(label=3).to_csv(command.out / "x.csv", index=False)
    found = []
    for name in ("x.npz", "x.csv"):
        code, out, _ = command("predict", command.out / "m.pth", command.out / name, "-o", command.out / "p.csv")
        assert code == 0
        found.append(pd.read_csv(command.out / "p.csv"))
        assert ("accuracy" in out) == (name == "x.csv")
    assert found[0]["prediction"].equals(found[1]["prediction"])
    encoding = package.load_checkpoint(command.out / "m.pth")["encoding"]  # the digits are standardised
    mean, std = (np.array(encoding[name], np.float32) for name in ("mean", "std"))
    with torch.no_grad():
        taken = torch.from_numpy((x - mean) / std).view(5, 1, 8, 8)
        expected = package.load_model(command.out / "m.pth")(taken).argmax(1)
    assert found[0]["prediction"].tolist() == expected.tolist()


def test_a_pickle_writes_no_file_on_any_way_through_the_command_line(kept, command):
    marker = command.out / "marker"
    key = trials(kept)["key"].iloc[0]
    stolen = command.out / "results/keeping"
    for folder in ("records", "models"):
        (stolen / folder).mkdir(parents=True)
    (stolen / "records" / f"{key}.json").write_bytes((kept / f"results/keeping/records/{key}.json").read_bytes())
    for name, path in hostile.write_all(command.out, hostile.pickles(marker)).items():
        (stolen / "models" / f"{key}.last").write_bytes(path.read_bytes())
        np_path = command.out / "x.npz"
        np_path.write_bytes(path.read_bytes())
        sound = command.out / "sound"
        command("export", trials(kept)["key"].iloc[0], "-o", sound)
        words = [
            ("predict", path, "digits"),
            ("evaluate", path),
            ("predict", sound, np_path),
            ("evaluate", sound, "--dataset", np_path),
        ]
        for said in [command(*line) for line in words]:
            one_line(said, 2)
        for form in ("checkpoint", "module"):
            said = command("export", key, "--results", stolen.parent, "--format", form, "-o", command.out / "o")
            assert "run` trains it again" in one_line(said, 4)
        assert not marker.exists(), name
    assert not (command.out / "o").exists()


@pytest.mark.parametrize(
    "change", [{"accuracy": "x"}, {"lr": None}, {"key": "0" * 16}, {"which": "best"}, {"trial": {}}]
)
def test_a_kept_model_that_somebody_changed_is_refused_in_one_line(kept, command, change):
    row = next(trials(kept, norm="batch", lr=0.1).itertuples())
    kept_model = load(kept / f"results/keeping/models/{row.key}.last")
    for folder in ("records", "models"):
        (command.out / "results/keeping" / folder).mkdir(parents=True)
    (command.out / f"results/keeping/records/{row.key}.json").write_bytes(
        (kept / f"results/keeping/records/{row.key}.json").read_bytes()
    )
    path = command.out / f"results/keeping/models/{row.key}.last"
    path.write_bytes(dump(Snapshot({**kept_model.metadata, **change}, kept_model.tensors)))
    said = command("export", row.key, "--results", command.out / "results", "-o", command.out / "x")
    assert said[0] in (2, 4)
    one_line(said, said[0])
    assert not (command.out / "x").exists()


def test_hostile_files_are_refused_in_one_line_without_characters_that_move_the_cursor(command):
    found = {**hostile.files(), "an escape": hostile.saved({"\x1b[2J\u202e": torch.zeros(1)})}
    for name, path in hostile.write_all(command.out, found).items():
        said = one_line(command("evaluate", path), 2)
        assert said.rstrip("\n").isprintable(), name


def test_what_a_verb_has_written_is_replaced_and_what_is_not_its_own_when_that_is_asked_for(kept, command):
    key, model, taken = trials(kept)["key"].iloc[0], command.out / "m", command.out / "taken"
    for form in ("state_dict", "safetensors", "checkpoint"):
        assert command("export", key, "--format", form, "-o", model)[0] == 0, form
    assert "predict has not written it" in one_line(command("predict", model, "digits", "-o", model), 2)
    for words in (("export", key, "-o", taken), ("predict", model, "digits", "-o", taken)):
        taken.write_text("mine", "utf-8")
        assert f"{words[0]} has not written it" in one_line(command(*words), 2)
        assert command(*words, "--overwrite")[0] == 0
        assert command(*words)[0] == 0


def test_arrays_that_are_pickled_are_refused(kept, command):
    command("export", trials(kept)["key"].iloc[0], "-o", command.out / "m.pth")
    marker = command.out / "marker"
    np.savez(command.out / "x.npz", x=np.array([hostile.Marker(marker)], dtype=object))
    assert b"marker" in pickle.dumps(hostile.Marker(marker))
    one_line(command("predict", command.out / "m.pth", command.out / "x.npz"), 2)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["export", "zz", "-o", "x"], 2, "named by its key"),
        (["export", "0" * 16, "-o", "x"], 2, "no trial in"),
        (["export", "0"], 2, "-o"),
        (["export", "0", "--format", "pkl", "-o", "x"], 2, "invalid choice"),
        (["predict", "none.pth", "digits"], 2, "no file none.pth"),
        (["predict", "m.pth", "digitz"], 2, "did you mean 'digits'"),
        (["predict", "m.pth", "none.csv"], 2, "no file none.csv"),
        (["predict", "m.pth", "circles"], 2, "numbers of shape (N, 1, 8, 8)"),
        (["predict", "m.pth", "digits", "-o", "taken"], 2, "taken is there already"),
        (["export", "0" * 16, "-o", "taken"], 2, "taken is there already"),
        (["predict", "m.pth", "digits", "-o", "."], 2, "--output must be a file, got the folder ."),
        (["predict", "m.pth", "digits", "-o", "m.pth/x"], 4, "can't write"),
        (["predict", "m.pth", "digits", "--device", "gpu"], 2, "unknown device"),
        (["evaluate", "m.pth", "--batch-size", "0"], 2, "--batch-size must be a number from 1 up, got '0'"),
        (["evaluate", "m.pth", "--dataset", "none.npz"], 2, "none.npz"),
        (["evaluate", "m.pth", "--suite", "none"], 2, "no suite file"),
    ],
)
def test_misuse_is_one_line_with_what_to_do(kept, command, monkeypatch, words, code, said):
    command("export", trials(kept)["key"].iloc[0], "-o", command.out / "m.pth")
    monkeypatch.chdir(command.out)
    (command.out / "taken").write_text("mine", "utf-8")
    assert said in one_line(command(*words), code)
    assert (command.out / "taken").read_text("utf-8") == "mine"


def test_a_package_that_is_missing_is_named_in_one_line(kept, command, monkeypatch):
    for package_name, form in (("onnx", "onnx"), ("onnxscript", "onnx"), ("safetensors", "safetensors")):
        monkeypatch.setitem(sys.modules, package_name, None)
        monkeypatch.setitem(sys.modules, f"{package_name}.torch", None)
        said = command("export", trials(kept)["key"].iloc[0], "--format", form, "-o", command.out / "m")
        assert "pip install 'harness[export]'" in one_line(said, 4)


def test_models_that_are_missing_train_again_and_nothing_else_changes(harness):
    path = harness.suite(KEEPING.replace("range(2)", "[0]"), "keeping")
    path.write_text(path.read_text().replace("save_models=True", "save_models=False"))
    assert harness("run", "keeping", "--progress", "none").code == 0
    before = harness.tables("keeping")
    models = harness.results / "keeping/models"
    assert not models.exists()
    key = pd.read_csv(harness.results / "keeping/trials.csv")["key"][0]
    refused = harness("export", key, "-o", "x")
    assert refused.code == 2
    assert "save_models=True" in refused.err
    assert "python -m harness run keeping.py" in refused.err
    path.write_text(KEEPING.replace("range(2)", "[0]"))
    assert harness("run", "keeping", "--progress", "none").code == 0
    written = {file.name: file.read_bytes() for file in models.iterdir()}
    assert len(written) == 8
    assert harness.tables("keeping") == before
    (models / f"{key}.best").unlink()
    untouched = models / f"{key}.last"
    stamp = untouched.stat().st_mtime_ns
    assert harness("run", "keeping", "--progress", "none").code == 0
    assert {file.name: file.read_bytes() for file in models.iterdir()} == written
    assert untouched.stat().st_mtime_ns == stamp
    assert json.loads((harness.results / "keeping/suite.json").read_text())["name"] == "keeping"
    assert key in harness("show", key).out.split("its model: ")[1]
