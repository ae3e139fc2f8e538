"""The benchmark for a GPU runs where there is none, in small, and then leaves the page of measurements as it is."""

import importlib
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "measurements.md"


def benchmark(*words):
    before = PAGE.read_bytes()
    done = subprocess.run(
        [sys.executable, "benchmarks/gpu.py", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert PAGE.read_bytes() == before
    return done


@pytest.mark.parametrize(
    ("parts", "rows"), [(["ceilings", "small"], 16), pytest.param([], 26, marks=pytest.mark.slow)], ids=["some", "all"]
)
def test_a_dry_run_measures_every_part_and_writes_nothing(parts, rows):
    done = benchmark("--dry-run", *parts)
    assert (done.returncode, done.stderr) == (0, "")
    found = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith("7 | ")]
    assert len(found) == rows
    assert all(len(row) == 4 and row[3] for row in found)
    assert done.stdout.endswith("all parts ran\n")


def test_a_part_that_isnt_there_is_refused():
    done = benchmark("--dry-run", "smal")
    assert done.returncode == 2
    assert "no part is called 'smal'; choose from: checks, ceilings" in done.stderr


def test_without_a_gpu_it_says_so():
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    done = benchmark()
    assert done.returncode == 4
    assert done.stderr.startswith("no CUDA device: `python -m harness doctor` says why")


def test_the_page_has_a_place_for_the_rows():
    page = PAGE.read_text("utf-8")
    assert page.count("<!-- begin: gpu -->") == page.count("<!-- end: gpu -->") == 1


WRITING = """
import sys
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, "benchmarks")
import conftest
import gpu

conftest.PAGE = Path(sys.argv[1])
for driver, rows in (
    ("580.1", [("7", "a", "", "1"), ("7", "b", ">= 2", "3")]),
    ("580.1", [("7", "c", "", "5"), ("7", "a", "", "4")]),
    ("590.2", [("7", "d", "", "6")]),
):
    gpu.ask_driver = lambda driver=driver: f"NVIDIA L4, {driver}, 8.9, 23034, 22563, Disabled"
    gpu.write(rows)
    print(conftest.read("gpu"), end="\\n---\\n")
"""


def test_rows_of_one_machine_are_gathered_and_those_of_another_replaced(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- begin: gpu -->\n<!-- end: gpu -->\nafter\n")
    words = [sys.executable, "-c", WRITING, str(page)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    _, both, other, _ = done.stdout.split("\n---\n")
    assert "NVIDIA L4, driver 580.1" in both
    assert both.splitlines()[4:] == ["| 7 | a |  | 4 |", "| 7 | b | >= 2 | 3 |", "| 7 | c |  | 5 |"]
    assert other.splitlines()[4:] == ["| 7 | d |  | 6 |"]
    assert page.read_text().startswith("before\n<!-- begin: gpu -->\n")
    assert page.read_text().endswith("| 7 | d |  | 6 |\n<!-- end: gpu -->\nafter\n")


def test_jax_is_held_against_on_the_same_kind_of_device_alone(monkeypatch):
    """Without its CUDA parts JAX trains on the CPU and says nothing."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    monkeypatch.setitem(sys.modules, "jax", SimpleNamespace(default_backend=lambda: "cpu"))
    rivals = importlib.import_module("rivals")
    monkeypatch.setattr(rivals, "jax_scan", lambda trial, data, models, steps: 2.0 * steps * models)
    assert rivals.against_jax(None, None, (2, 3), "cuda", 0.5) == "JAX has no cuda"
    assert rivals.against_jax(None, None, (2, 3), "cpu", 0.5) == "4.00"
