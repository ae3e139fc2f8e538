"""What is refused: damaged, foreign, newer and hostile files, each in one line, without running or filling anything."""

import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import load_checkpoint, load_model
from harness.errors import ModelError
from harness.export.embedded_checksum import entries
from tests.export.test_formats import trained, written
from tests.support import hostile

LOADABLE = ["checkpoint", "state_dict", "module", "safetensors"]
LOADERS = [load_model, load_checkpoint, lambda path: load_model(path, factories={"net": print})]
MEASURE = """
import resource, sys, torch
from pathlib import Path
from harness import load_checkpoint, load_model
from harness.errors import ModelError
sound = load_model(sys.argv[1])  # whatever torch loads for the first model is not the files' doing
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sorted(Path(sys.argv[2]).iterdir()):
    for load in (load_model, load_checkpoint):
        try:
            load(path)
        except ModelError as error:
            assert len(str(error).splitlines()) == 1, str(error)
        else:
            sys.exit(f"{path} was let in by {load.__name__}")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A whole file of each form that can be loaded."""
    folder, model = tmp_path_factory.mktemp("sound"), trained(norm="batch")
    return {form: written(folder, model, form).read_bytes() for form in LOADABLE}


def test_the_hostile_net_is_sound_but_for_what_is_wrong_with_it(tmp_path):
    (tmp_path / "m").write_bytes(hostile.saved(hostile.state()))
    assert load_model(tmp_path / "m")(torch.zeros(3, 64)).shape == (3, 10)


@pytest.mark.parametrize("name", hostile.files())
def test_a_hostile_file_is_refused_in_one_line(tmp_path, name):
    (tmp_path / "m.pth").write_bytes(hostile.files()[name])
    with pytest.raises(ModelError) as refused:
        load_model(tmp_path / "m.pth")
    assert "m.pth" in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a view of one number", "not what lies in the file"),
        ("a tensor past its memory", "not resizable"),
        ("a storage past its bytes", "does not match expected size"),
        ("lists without end", "hold each other"),
        ("a bomb", "compressed"),
        ("an overlap", "claim more bytes"),
        ("a net too large", "Missing key"),
        ("a net too deep", "10000 is the most"),
        ("facts of digits", "4300 digits"),
        ("tensors of a huge shape", "invalid shape"),
    ],
)
def test_a_file_that_would_fill_the_memory_is_refused_for_that(tmp_path, name, said):
    (tmp_path / "m").write_bytes(hostile.files()[name])
    with pytest.raises(ModelError, match=said):
        load_model(tmp_path / "m")


def test_hostile_files_fill_no_memory(tmp_path, sound):
    hostile.write_all(tmp_path, hostile.files())
    with (tmp_path / "sparse").open("wb") as file:
        file.write(b"PK\x03\x04")
        file.truncate(10 * 2**30)
    with (tmp_path / "sparse.safetensors").open("wb") as file:
        file.write((2**26).to_bytes(8, "little"))
        file.truncate(10 * 2**30)
    whole = tmp_path.parent / "whole"
    whole.write_bytes(sound["state_dict"])
    ran = subprocess.run(
        [sys.executable, "-c", MEASURE, str(whole), str(tmp_path)], check=False, text=True, capture_output=True
    )
    assert ran.returncode == 0, ran.stderr
    assert "Warning" not in ran.stderr
    assert int(ran.stdout) < 300, "megabytes"


@pytest.mark.parametrize("load", LOADERS, ids=["model", "checkpoint", "own"])
def test_a_pickle_that_would_write_a_file_is_refused_and_the_file_is_absent(tmp_path, load):
    marker = tmp_path / "marker"
    for name, path in hostile.write_all(tmp_path, hostile.pickles(marker)).items():
        with pytest.raises(ModelError):
            load(path)
        assert not marker.exists(), name


def test_a_pickle_would_write_the_file_where_it_is_allowed(tmp_path):
    marker = tmp_path / "marker"
    path = hostile.write_all(tmp_path, hostile.pickles(marker))["a sealed module"]
    with pytest.raises(ModelError, match="no module"):
        load_model(path, allow_pickle=True)
    assert marker.exists()


def test_allowing_pickles_opens_no_other_form(tmp_path):
    marker = tmp_path / "marker"
    for name, path in hostile.write_all(tmp_path, hostile.pickles(marker)).items():
        if name != "a sealed module":
            with pytest.raises(ModelError):
                load_model(path, allow_pickle=True)
            assert not marker.exists(), name


def test_a_module_needs_leave_and_the_line_says_why(tmp_path, sound):
    (tmp_path / "m").write_bytes(sound["module"])
    with pytest.raises(ModelError, match=r"runs whatever its author put into it.*--allow-pickle"):
        load_model(tmp_path / "m")
    assert not load_model(tmp_path / "m", allow_pickle=True).training


@pytest.mark.parametrize("form", LOADABLE)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(max_examples=100, deadline=None)
def test_a_flipped_bit_anywhere_is_noticed(tmp_path_factory, sound, form, place, bit):
    data = bytearray(sound[form])
    data[int(place * len(data))] ^= 1 << bit
    path = tmp_path_factory.mktemp("flip") / "m"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=r"damaged|cut off"):
        load_model(path, allow_pickle=True)


@pytest.mark.parametrize("form", LOADABLE)
@given(keep=st.floats(0, 1, exclude_max=True))
@settings(max_examples=50, deadline=None)
def test_a_truncated_file_is_noticed(tmp_path_factory, sound, form, keep):
    path = tmp_path_factory.mktemp("cut") / "m"
    path.write_bytes(sound[form][: int(keep * len(sound[form]))])
    with pytest.raises(ModelError, match=r"damaged|cut off"):
        load_model(path, allow_pickle=True)


def test_a_newer_file_says_what_reads_it(tmp_path):
    (tmp_path / "m").write_bytes(hostile.files()["a newer format"])
    with pytest.raises(ModelError, match=r"has format 3, and harness .* reads up to 2; read it with a newer harness"):
        load_model(tmp_path / "m")


def test_settings_that_a_newer_version_added_are_named(tmp_path):
    trial = {**hostile.FACTS["trial"], "norm_turbo": 3}
    versions = {"harness": "9.1.0"}
    (tmp_path / "m").write_bytes(hostile.saved(hostile.state(), trial=trial, versions=versions))
    with pytest.raises(ModelError, match=r"written by harness 9\.1\.0 with settings unknown to .*norm_turbo"):
        load_model(tmp_path / "m")


def test_a_state_dict_is_no_checkpoint(tmp_path, sound):
    (tmp_path / "m").write_bytes(sound["state_dict"])
    with pytest.raises(ModelError, match="holds a state_dict; to go on training, export --format checkpoint"):
        load_checkpoint(tmp_path / "m")


def test_what_is_no_file_is_refused(tmp_path, sound):
    (tmp_path / "m").write_bytes(sound["state_dict"])
    (tmp_path / "link").symlink_to(tmp_path / "m")
    os.mkfifo(tmp_path / "pipe")
    for name, said in (
        ("none", "no file"),
        ("link", "it is a link"),
        ("pipe", "not a regular"),
        (".", "not a regular"),
    ):
        with pytest.raises(ModelError, match=said):
            load_model(tmp_path / name)


def test_an_archive_may_not_unfold():
    for name in ("a bomb", "an overlap"):
        with pytest.raises(ValueError, match=r"compressed|claim more bytes"):
            entries(hostile.files()[name])
