"""Data that have to be got: read as they are published, refused where damaged, named where missing."""

import gzip
import hashlib
import random
import struct
from pathlib import Path
from unittest.mock import Mock
from urllib.error import URLError

import numpy as np
import pytest

from harness.data import downloads
from harness.data.datasets import load_dataset
from harness.data.downloads import SOURCES
from harness.data.image_formats import read_cifar, read_idx, standardise_images
from harness.errors import DamageError, MachineError, SuiteError
from harness.execution.environment import inspect

RNG = np.random.default_rng(0)


def idx(array):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def cifar(labels, images):
    return b"".join(bytes([label]) + image.tobytes() for label, image in zip(labels, images, strict=True))


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder of data files, on a machine that has no others and no network."""
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    monkeypatch.setattr(downloads, "DEBIAN", tmp_path / "nowhere")

    monkeypatch.setattr("sklearn.datasets.fetch_openml", Mock(side_effect=URLError("no network")))
    return tmp_path


@pytest.mark.parametrize("shape", [(5,), (3, 2, 4)])
@pytest.mark.parametrize("zipped", [True, False])
def test_an_idx_file_is_read_gzipped_or_not(tmp_path, shape, zipped):
    array = RNG.integers(0, 256, shape, dtype=np.uint8)
    path = tmp_path / ("x-ubyte.gz" if zipped else "x-ubyte")
    path.write_bytes(gzip.compress(idx(array)) if zipped else idx(array))
    np.testing.assert_array_equal(read_idx(path), array)


WHOLE = idx(np.zeros((3, 2), np.uint8))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x", b""),
        ("x", WHOLE[:6]),
        ("x", WHOLE[:-1]),
        ("x", WHOLE + b"0"),
        ("x", b"\0\0\x0d" + WHOLE[3:]),
        ("x", b"\0\0\x08\x07" + WHOLE[4:]),
        ("x", struct.pack(">BBBBII", 0, 0, 8, 2, 2**32 - 1, 2**32 - 1)),
        ("x.gz", WHOLE),
        ("x.gz", gzip.compress(WHOLE, mtime=0)[:-9]),
    ],
)
def test_a_damaged_idx_file_is_refused_in_a_line(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DamageError) as refusal:
        read_idx(tmp_path / name)
    assert name in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_cifar_files_hold_a_label_and_three_planes_for_each_image(tmp_path):
    images = RNG.integers(0, 256, (7, 3, 32, 32), dtype=np.uint8)
    labels = np.arange(7) % 3
    for i, part in enumerate((slice(0, 4), slice(4, 7))):
        (tmp_path / f"data_batch_{i}.bin").write_bytes(cifar(labels[part], images[part]))
    x, y = read_cifar(sorted(tmp_path.iterdir()))
    np.testing.assert_array_equal(x, images)
    np.testing.assert_array_equal(y, labels)


@pytest.mark.parametrize("content", [b"", bytes(3072), bytes(3074), bytes([10]) + bytes(3072)])
def test_a_damaged_cifar_file_is_refused_in_a_line(tmp_path, content):
    (tmp_path / "data_batch_1.bin").write_bytes(content)
    with pytest.raises(DamageError, match=r"data_batch_1\.bin"):
        read_cifar([tmp_path / "data_batch_1.bin"])


def test_pixels_are_standardised_by_those_of_the_training_images():
    train, test = (RNG.integers(0, 256, (n, 3, 5, 4), dtype=np.uint8) for n in (6, 2))
    train[:, 1] = 9  # no deviation at all
    found, others = standardise_images(train, test)
    assert found.dtype == np.float32
    for c in (0, 2):
        np.testing.assert_allclose(
            found[:, c], (train[:, c] - train[:, c].mean()) / train[:, c].std(), rtol=1e-4, atol=1e-5
        )
        np.testing.assert_allclose(
            others[:, c], (test[:, c] - train[:, c].mean()) / train[:, c].std(), rtol=1e-4, atol=1e-5
        )
    assert np.isfinite(found).all()
    assert not found[:, 1].any()


def test_cifar10_is_read_from_its_folder(home):
    folder = home / "cifar-10-batches-bin"
    folder.mkdir()
    images = RNG.integers(0, 256, (130, 3, 32, 32), dtype=np.uint8)
    labels = np.arange(130) % 10
    for i in range(1, 6):
        part = slice(20 * (i - 1), 20 * i)
        (folder / f"data_batch_{i}.bin").write_bytes(cifar(labels[part], images[part]))
    (folder / "test_batch.bin").write_bytes(cifar(labels[100:], images[100:]))
    dataset = load_dataset("cifar10", Path(), {})
    assert (dataset.input_shape, dataset.classes) == ((3, 32, 32), 10)
    assert [dataset.size(split) for split in ("train", "val", "test")] == [85, 15, 30]
    np.testing.assert_array_equal(dataset.y["test"], labels[100:])
    assert np.concatenate([dataset.x["train"], dataset.x["val"]]).mean((0, 2, 3)) == pytest.approx([0, 0, 0], abs=1e-4)
    assert load_dataset("cifar10", Path(), {}) is dataset
    assert SOURCES["cifar10"].is_available() == str(folder)


@pytest.mark.parametrize("missing", ["data_batch_3.bin", "test_batch.bin"])
def test_a_file_of_cifar10_that_is_missing_is_named(home, missing):
    folder = home / "cifar-10-batches-bin"
    folder.mkdir()
    for name in (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"):
        if name != missing:
            (folder / name).write_bytes(cifar(range(10), np.zeros((10, 3, 32, 32), np.uint8)))
    with pytest.raises(MachineError, match=missing):
        load_dataset("cifar10", Path(), {})


@pytest.mark.parametrize("published", [True, False])
def test_fashion_is_read_from_a_folder_that_holds_no_other_images(home, monkeypatch, published):
    folder = home / "fashion-mnist"
    folder.mkdir()
    digest = hashlib.sha256()
    for split, count in (("train", 80), ("t10k", 20)):
        images = RNG.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        digest.update(images.tobytes())
        (folder / f"{split}-images-idx3-ubyte").write_bytes(idx(images))
        (folder / f"{split}-labels-idx1-ubyte.gz").write_bytes(
            gzip.compress(idx((np.arange(count) % 10).astype(np.uint8)))
        )
    if not published:
        with pytest.raises(DamageError, match="fashion-mnist is not Fashion-MNIST"):
            load_dataset("fashion", Path(), {})
        return
    monkeypatch.setattr(downloads, "FASHION_DIGEST", digest.hexdigest())
    dataset = load_dataset("fashion", Path(), {})
    assert (dataset.input_shape, dataset.classes, dataset.size("test")) == ((1, 28, 28), 10, 20)


@pytest.mark.parametrize("name", ["fashion", "cifar10"])
@pytest.mark.usefixtures("home")
def test_what_is_missing_is_named_with_its_remedy(name):
    assert not SOURCES[name].is_available()
    with pytest.raises(MachineError) as refusal:
        load_dataset(name, Path(), {})
    assert SOURCES[name].remedy in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert refusal.value.exit_code == 4
    assert any(what == f"dataset {name}" and SOURCES[name].remedy in found for what, found, _ in inspect().findings)


def test_where_the_files_are_missing_images_come_from_openml(home, monkeypatch):
    x = RNG.integers(0, 256, (130, 3072)).astype(np.float64)
    asked = {}

    def fetch(**options):
        asked.update(options)
        return x, (np.arange(len(x)) % 10).astype(str).astype(object)

    monkeypatch.setattr("sklearn.datasets.fetch_openml", fetch)
    monkeypatch.setattr(downloads, "CIFAR_TRAIN", 100)
    monkeypatch.setattr(downloads, "standardise_images", lambda *parts: [part.astype(np.float32) for part in parts])
    dataset = load_dataset("cifar10", Path(), {})
    assert (asked["data_id"], asked["data_home"]) == (40927, str(home))
    assert dataset.size("test") == 30
    np.testing.assert_array_equal(dataset.x["test"], x[100:].reshape(-1, 3, 32, 32))


@pytest.mark.usefixtures("home")
def test_what_openml_calls_fashion_mnist_is_held_to_its_checksum(monkeypatch):
    monkeypatch.setattr("sklearn.datasets.fetch_openml", lambda **options: (np.zeros((60_010, 784)), np.zeros(60_010)))
    with pytest.raises(DamageError, match="not Fashion-MNIST"):
        load_dataset("fashion", Path(), {})


@pytest.mark.usefixtures("home")
def test_any_dataset_of_openml_is_cut_and_standardised(monkeypatch):
    x = np.stack([RNG.normal(50, 7, 90), np.full(90, 3.0)], 1)
    names = np.array(["setosa", "virginica", "versicolor"] * 30, dtype=object)
    asked = {}

    def fetch(**options):
        asked.update(options)
        return x, names

    monkeypatch.setattr("sklearn.datasets.fetch_openml", fetch)
    dataset = load_dataset("openml:iris@1", Path(), {})
    assert (asked["name"], asked["version"]) == ("iris", 1)
    assert (dataset.classes, dataset.input_shape, sum(dataset.size(s) for s in dataset.y)) == (3, (2,), 90)
    assert dataset.x["train"].mean(0) == pytest.approx([0, 0], abs=1e-5)
    assert dataset.x["train"].std(0) == pytest.approx([1, 0], abs=1e-5)


@pytest.mark.usefixtures("home")
def test_a_long_table_far_from_zero_is_standardised_too(monkeypatch):
    x = RNG.standard_normal((600_000, 2), dtype=np.float32) + np.float32(4000)
    monkeypatch.setattr("sklearn.datasets.fetch_openml", lambda **options: (x, np.arange(len(x)) % 2))
    train = load_dataset("openml:long", Path(), {}).x["train"].astype(np.float64)
    assert train.mean(0) == pytest.approx([0, 0], abs=0.01)
    assert train.std(0) == pytest.approx([1, 1], abs=0.01)


@pytest.mark.parametrize("name", ["openml:", "openml:a b", "openml:iris@x", "openml:../iris"])
@pytest.mark.usefixtures("home")
def test_a_name_that_openml_can_not_have_is_refused(name):
    with pytest.raises(SuiteError, match="openml:iris"):
        load_dataset(name, Path(), {})


@pytest.mark.usefixtures("home")
def test_a_dataset_of_openml_that_is_no_table_of_numbers_is_refused(monkeypatch):
    monkeypatch.setattr(
        "sklearn.datasets.fetch_openml", lambda **options: (np.array([["a"], ["b"]], dtype=object), np.arange(2))
    )
    with pytest.raises(SuiteError, match="openml:words"):
        load_dataset("openml:words", Path(), {})


@pytest.mark.usefixtures("home")
def test_without_the_network_openml_is_out_of_reach():
    with pytest.raises(MachineError, match="openml:iris"):
        load_dataset("openml:iris", Path(), {})


def test_mnist1d_is_the_same_every_time_and_leaves_the_generators_of_others_alone():
    pytest.importorskip("mnist1d", reason="mnist1d needs the extra `data`")
    random.seed(5)
    np.random.seed(6)  # noqa: NPY002
    expected = random.random(), np.random.random()  # noqa: NPY002
    random.seed(5)
    np.random.seed(6)  # noqa: NPY002
    arrays = SOURCES["mnist1d"].load()
    assert (random.random(), np.random.random()) == expected  # noqa: NPY002
    dataset = load_dataset("mnist1d", Path(), {})
    np.testing.assert_array_equal(dataset.x["test"], arrays["x_test"].astype(np.float32))
    assert (dataset.input_shape, dataset.classes) == ((1, 40), 10)
    assert [dataset.size(split) for split in ("train", "val", "test")] == [4000, 1000, 1000]
    signals = [{signal.tobytes() for signal in x} for x in dataset.x.values()]
    assert len(set.union(*signals)) == 6000


def test_fashion_mnist_as_it_is_published_is_read_whole():
    if not SOURCES["fashion"].is_available():
        pytest.skip("no Fashion-MNIST; " + SOURCES["fashion"].remedy)
    dataset = load_dataset("fashion", Path(), {})
    assert [dataset.size(split) for split in ("train", "val", "test")] == [51_000, 9_000, 10_000]
    assert np.bincount(dataset.y["test"]).tolist() == [1000] * 10
    assert dataset.x["train"].mean() == pytest.approx(0, abs=0.01)
    assert dataset.x["train"].std() == pytest.approx(1, abs=0.01)
