"""What the shell or the interpreter's options say about figures and bytes does not reach a report."""

import os
import subprocess
import sys

import pytest

DRAW = """
from matplotlib.figure import Figure
from harness.reporting.figures.frame import _image_bytes
figure = Figure()
axes = figure.subplots()
axes.imshow([[1, 2], [3, 4]])
assert _image_bytes(figure, "svg", {}).startswith(b"<?xml")
"""
MAIN = """
from harness import __main__, cli
def main():
    import harness.reporting.figures.frame
    return 0
cli.main = main
__main__.run_and_exit()
"""


@pytest.mark.parametrize("options", [["-bb"]])
def test_figures_are_drawn_where_bytes_warnings_are_errors(options):
    ran = subprocess.run([sys.executable, *options, "-c", DRAW], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("backend", ["TkAgg", "module://a_backend_of_notebooks", "nonsense"])
def test_the_backend_of_a_notebook_is_not_heeded(backend):
    environment = {**os.environ, "MPLBACKEND": backend}
    ran = subprocess.run([sys.executable, "-c", MAIN], capture_output=True, text=True, check=False, env=environment)
    assert ran.returncode == 0, ran.stderr
