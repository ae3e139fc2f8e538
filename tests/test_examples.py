"""The tutorial's four programs on saving and loading, by themselves and on what the harness exports."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

import harness
from harness.spec.loader import load_suite

EXAMPLES = Path(__file__).parent.parent / "examples"
LINEAR = ["fc1", "fc2", "fc3"]


def run(folder, *words):
    done = subprocess.run([sys.executable, *map(str, words)], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder in which the tutorial's net has been trained, and the key of a trial."""
    folder = tmp_path_factory.mktemp("trained")
    run(folder, "-m", "harness", "run", EXAMPLES / "fully_connected", "--progress", "none")
    table = pd.read_csv(folder / "results/fully_connected/trials.csv")
    assert (table["test_accuracy"] > 0.9).all()
    return folder, table["key"][0]


def exported(trained, form, name):
    folder, key = trained
    suite = ["--suite", EXAMPLES / "fully_connected"]
    run(folder, "-m", "harness", "export", key, "--format", form, "-o", name, *suite)
    return folder / name


def test_the_net_is_built_and_called(tmp_path):
    assert run(tmp_path, EXAMPLES / "fully_connected.py") == "torch.Size([5, 2])\n"


def test_a_net_is_saved_whole_and_read_back_on_the_cpu(tmp_path):
    printed = run(tmp_path, EXAMPLES / "whole_model.py")
    sizes = [(128, 128), (128, 64), (64, 32)]
    layers = [
        f"  ({name}): Linear(in_features={before}, out_features={after}, bias=True)\n"
        for name, (before, after) in zip(LINEAR, sizes, strict=True)
    ]
    assert printed == f"MyModel(\n{''.join(layers)})\n"


def test_a_net_is_saved_as_its_parameters_with_accuracy_and_optimizer(tmp_path):
    printed = run(tmp_path, EXAMPLES / "parameters.py")
    assert printed.startswith("0.99\nMyModel(")
    assert "SGD (" in printed
    kept = torch.load(tmp_path / "model_dict.pth", weights_only=True)
    assert list(kept) == ["init_params", "accuracy", "model_state_dict", "optimizer_state_dict"]


def test_a_net_is_saved_as_its_state_dict_for_inference(tmp_path):
    assert run(tmp_path, EXAMPLES / "state_dict.py").startswith("tensor([")
    kept = torch.load(tmp_path / "model.pth", weights_only=True)
    assert list(kept) == [f"{name}.{part}" for name in LINEAR for part in ("weight", "bias")]


def test_the_programs_read_what_the_harness_exports(trained):
    parameters = exported(trained, "checkpoint", "model_dict.pth")
    printed = run(trained[0], EXAMPLES / "parameters.py", parameters)
    accuracy = float(printed.splitlines()[0])
    assert accuracy == harness.load_checkpoint(parameters)["accuracy"] > 0.9
    assert "momentum: 0.9" in printed
    weights = exported(trained, "state_dict", "model.pth")
    said = run(trained[0], EXAMPLES / "state_dict.py", weights)
    own = load_suite(EXAMPLES / "fully_connected").suite.functions
    with torch.no_grad():
        expected = harness.load_model(weights, factories=own)(torch.ones(1, 128)).argmax(1)
    assert said == f"{expected}\n"


def test_a_net_exported_whole_predicts_where_its_suite_brings_the_class(trained):
    path = exported(trained, "module", "model.pkl")
    suite = ["--suite", EXAMPLES / "fully_connected"]
    said = run(trained[0], "-m", "harness", "predict", path, "clouds", "--allow-pickle", *suite)
    table = pd.read_csv(trained[0] / "results/fully_connected/trials.csv").set_index("key")
    assert f"accuracy {table['test_accuracy'][trained[1]]:.4f}" in said
    without = subprocess.run(
        [sys.executable, "-m", "harness", "predict", path, "clouds", "--allow-pickle"],
        cwd=trained[0], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert without.returncode == 2
    assert without.stderr.count("\n") == 1
    assert "the code of its classes must be there" in without.stderr


def test_batch_norm_in_numpy_is_that_of_torch(tmp_path):
    *lines, average, total = run(tmp_path, EXAMPLES / "batch_norm.py").splitlines()
    agreeing = [line.split("agrees")[0].strip() for line in lines if "agrees" in line]
    assert agreeing == [
        "a batch in training",
        "running mean after 50 batches",
        "running variance after 50 batches",
        "the gradient of that batch",
        "one example in evaluation",
    ]
    assert not [line for line in lines if "DIFFERS" in line]
    assert float(average.rpartition(" ")[2]) == pytest.approx(3 * (1 - 0.9**50), abs=0.3)  # batches are of noise, too
    assert total.endswith("9.95 times lr")  # (1 - 0.9 ** 50) / (1 - 0.9)
