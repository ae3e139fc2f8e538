"""Decision boundaries, from planes that training left."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from harness.errors import DamageError
from harness.reporting.figures import figures
from harness.reporting.figures.boundaries import NO_CLASS, boundary_maps
from harness.reporting.upkeep.staleness import digest_of
from tests.support.manifests import a_manifest
from tests.support.simulated import simulate

AXES = {"norm": ["batch", "none"], "lr": [0.01, 0.1, 0.3, 1.0, 3.0], "seed": [3, 5]}
HEIGHT, WIDTH = 7, 9


def plane(path, **changes):
    classes = np.zeros((HEIGHT, WIDTH), np.uint8)
    classes[2, 4:] = 1
    classes[5, 0] = NO_CLASS
    sides = {"x": np.linspace(-1, 1, WIDTH, dtype=np.float32), "y": np.linspace(-2, 2, HEIGHT, dtype=np.float32)}
    np.savez_compressed(path, **{**sides, "classes": classes, **changes})


@pytest.fixture
def results(tmp_path):
    results = simulate(tmp_path, AXES)
    planes = tmp_path / "data" / "planes"
    planes.mkdir(parents=True)
    rng = np.random.default_rng(1)
    parts = {f"x_{s}": rng.standard_normal((n, 2)) for s, n in (("train", 30), ("test", 11))}
    np.savez(tmp_path / "data" / "digits.npz", **parts, y_train=np.arange(30) % 2, y_test=np.arange(11) % 2)
    for key in results.trials.loc[results.trials["seed"] == 3, "key"]:
        plane(planes / f"{key}.npz")
    return results


def test_each_arm_has_a_row_and_telling_learning_rates_and_the_ends_a_column(results):
    (drawn,) = boundary_maps(results)
    maps = [axes for axes in drawn.figure.axes if axes.images]
    assert len(maps) == 2 * 4
    assert [axes.get_title().partition("\n")[0] for axes in maps[:4]] == ["lr 0.01", "lr 0.1", "lr 0.3", "lr 3"]
    assert [maps[0].get_ylabel(), maps[4].get_ylabel()] == ["batch", "none"]
    assert "n = 1, seed 3" in drawn.caption
    assert "none at lr 3 nonfinite" in drawn.alt


def test_a_point_has_the_colour_of_its_class_and_none_is_white(results):
    (drawn,) = boundary_maps(results)
    (image,) = drawn.figure.axes[0].images
    shown = image.get_array()
    assert shown.shape == (HEIGHT, WIDTH, 3)
    assert tuple(image.get_extent()) == (-1, 1, -2, 2)
    assert (shown[5, 0] == 1).all()
    assert (shown[2, 4] != shown[2, 3]).any()
    assert (shown[2, 4] == shown[2, 8]).all()


def test_the_dots_of_each_arm_are_the_data_as_it_saw_them(tmp_path):
    results = simulate(tmp_path, {"standardize": [False, True], "seed": [3]})
    results = replace(results, manifest=replace(results.manifest, compare="standardize"))
    planes = tmp_path / "data" / "planes"
    planes.mkdir(parents=True)
    for name, scale in (("digits", 0.1), ("digits.standardized", 1.0)):
        parts = {f"x_{split}": np.full((4, 2), scale) for split in ("train", "test")}
        np.savez(tmp_path / "data" / f"{name}.npz", **parts, y_train=np.arange(4) % 2, y_test=np.arange(4) % 2)
    for key in results.trials["key"]:
        plane(planes / f"{key}.npz")
    (drawn,) = boundary_maps(results)
    dots = [axes.collections[0].get_offsets() for axes in drawn.figure.axes if axes.images]
    assert [points.max() for points in dots] == [0.1, 1.0]


def test_what_was_classified_comes_before_all_that_is_said_of_it(results):
    assert [drawn.name for drawn in islice(figures(results), 2)] == ["data_digits", "boundaries"]


def test_without_planes_there_is_no_figure(tmp_path):
    assert list(boundary_maps(simulate(tmp_path, AXES))) == []


def test_a_report_is_made_again_when_a_plane_changes(results):
    manifest = a_manifest(settings={"dataset": "digits"})
    before = digest_of(results.folder, manifest)
    plane(next((results.folder / "data" / "planes").iterdir()), classes=np.ones((HEIGHT, WIDTH), np.uint8))
    assert digest_of(results.folder, manifest) != before


ODD = {
    "another shape": {"classes": np.zeros((WIDTH, HEIGHT), np.uint8)},
    "another type": {"classes": np.zeros((HEIGHT, WIDTH))},
    "no room": {"x": np.zeros(WIDTH, np.float32)},
    "not finite": {"y": np.full(HEIGHT, np.nan, np.float32)},
    "a pickle": {"classes": np.full((HEIGHT, WIDTH), None)},
}


@pytest.mark.parametrize("changes", ODD.values(), ids=ODD)
def test_a_file_that_holds_anything_else_is_refused(results, changes):
    for path in (results.folder / "data" / "planes").iterdir():
        plane(path, **changes)
    with pytest.raises(DamageError, match="remove it"):
        list(boundary_maps(results))


def test_where_learning_rates_are_no_axis_there_is_one_column(results):
    trials = results.trials[results.trials["lr"] == 0.1]
    manifest = replace(results.manifest, axes={"norm": ["batch", "none"], "seed": [3, 5]})
    (drawn,) = boundary_maps(replace(results, trials=trials, manifest=manifest))
    assert len([axes for axes in drawn.figure.axes if axes.images]) == 2
