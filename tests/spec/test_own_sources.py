"""Code and data of a suite's own: a change of them renames the trials that use them, and nothing else does."""

import errno
import os
from unittest.mock import Mock

import pytest

from harness.spec.loader import load_suite
from tests.spec.test_loader import HEAD, SETTINGS, refusal, written

OWN = f"""{HEAD}
WIDTH = 8


def scaled(factor):
    return lambda build: build


@scaled(2)
def net(inputs, classes):
    return WIDTH


suite = Suite(dataset="digits", model=[net, "mlp-8"], {SETTINGS})
"""


def keys_of(path):
    """Model of a trial -> its key."""
    return {trial.model: trial.key for trial in load_suite(path).trials(device="cpu")}


def test_a_byte_order_mark_is_passed_over_as_python_does(tmp_path):
    marked, plain = written(tmp_path, b"\xef\xbb\xbf" + OWN.encode(), "marked.py"), written(tmp_path, OWN)
    assert keys_of(marked) == keys_of(plain)


def test_windows_line_ends_make_the_same_trials(tmp_path):
    windows, plain = written(tmp_path, OWN.replace("\n", "\r\n"), "windows.py"), written(tmp_path, OWN)
    assert keys_of(windows) == keys_of(plain)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("return WIDTH", "return WIDTH + 1"),
        ("WIDTH = 8", "WIDTH = 9"),
        ("@scaled(2)", "@scaled(3)"),
        ("lambda build: build", "lambda build: build or None"),
        ("def net(inputs, classes)", "def net(inputs, classes, bias=True)"),
    ],
)
def test_a_change_of_own_code_renames_the_trials_that_use_it_and_no_others(old, new, tmp_path):
    assert OWN.count(old) == 1
    before, after = keys_of(written(tmp_path, OWN)), keys_of(written(tmp_path, OWN.replace(old, new)))
    assert before["net"] != after["net"]
    assert before["mlp-8"] == after["mlp-8"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Which is better?", "Is any better?"),
        ("WIDTH = 8", "WIDTH = 8\n\n\n# A comment between two functions."),
        ('model=[net, "mlp-8"]', 'model=[net, "mlp-8"], claims=[]'),
        ('model=[net, "mlp-8"]', 'model=["mlp-8", net], norm_groups=8'),
        ("suite = Suite(", "suite: Suite = Suite("),
    ],
)
def test_a_change_of_anything_else_renames_no_trial(old, new, tmp_path):
    assert OWN.count(old) == 1
    assert keys_of(written(tmp_path, OWN)) == keys_of(written(tmp_path, OWN.replace(old, new)))


def test_own_code_is_known_by_its_text_on_every_machine(tmp_path):
    found = load_suite(written(tmp_path, OWN))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert found.sources == load_suite(written(elsewhere, OWN, "other.py")).sources
    assert set(found.sources) == {"net"}
    assert len(found.sources["net"]) == 16


NPZ = f"{HEAD}suite = Suite(dataset=['rings.npz', 'digits'], model='mlp-8', {SETTINGS})\n"


def test_a_change_of_a_data_file_renames_the_trials_that_use_it_and_no_others(tmp_path):
    path = written(tmp_path, NPZ)
    by_dataset = []
    for data in (b"one", b"two", b"one"):
        written(tmp_path, data, "rings.npz")
        by_dataset.append({t.dataset: t.key for t in load_suite(path).trials(device="cpu")})
    assert by_dataset[0] == by_dataset[2]
    assert by_dataset[0]["digits"] == by_dataset[1]["digits"]
    assert by_dataset[0]["rings.npz"] != by_dataset[1]["rings.npz"]


def test_a_data_file_counts_from_the_folder_of_the_suite(tmp_path, monkeypatch):
    folder = tmp_path / "suites"
    folder.mkdir()
    written(folder, b"data", "rings.npz")
    written(folder, NPZ)
    monkeypatch.chdir(tmp_path)
    assert set(load_suite("suites/suite").sources) == {"rings.npz"}


@pytest.mark.parametrize("name", ["rings.npz", "x" * 300 + ".npz", "nul\\0.npz", "two\\nlines.npz", "folder.npz"])
def test_a_data_file_that_is_not_there_is_named(name, tmp_path):
    (tmp_path / "folder.npz").mkdir()
    assert refusal(written(tmp_path, NPZ.replace("rings.npz", name))).startswith("dataset '")


@pytest.mark.timeout(20)
def test_a_pipe_is_no_data_file(tmp_path):
    os.mkfifo(tmp_path / "rings.npz")
    assert refusal(written(tmp_path, NPZ)).startswith("dataset 'rings.npz': no file ")


def test_a_data_file_that_can_not_be_read_is_named_with_the_reason(tmp_path, monkeypatch):
    written(tmp_path, b"data", "rings.npz")
    failing = Mock(side_effect=OSError(errno.EIO, "Input/output error"))
    monkeypatch.setattr("harness.spec.own_code.data_files._file_digest", failing)
    assert refusal(written(tmp_path, NPZ)).endswith("rings.npz: Input/output error")
