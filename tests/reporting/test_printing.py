"""Figures printed in processes: the files that this process would make, whatever becomes of those."""

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from harness.reporting import printing
from harness.reporting.figures.frame import ReportFigure
from harness.reporting.printing import draw_and_print
from tests.support.processes import wait_for

HERE = os.getpid()
WORDS = {"title": "Dots", "caption": "Each dot is a seed.", "alt": "Dots."}


def drawn(name, dots=3):
    figure = Figure(layout="constrained")
    figure.subplots().plot(range(dots), "o")
    return ReportFigure(name=name, figure=figure, **WORDS)


@pytest.fixture(params=[1, 2])
def _cores(request, monkeypatch):
    monkeypatch.setattr(printing, "_cores", lambda: request.param)


@pytest.fixture
def two_cores(monkeypatch):
    monkeypatch.setattr(printing, "_cores", lambda: 2)


@pytest.mark.usefixtures("_cores")
def test_figures_keep_their_order_and_have_the_files_that_this_process_would_make():
    dots = {"a": 3, "b": 4, "c": 5, "d": 6}
    first, *others = (drawn(name, count) for name, count in dots.items())
    printed, files = draw_and_print(iter([first, None, *others]))
    assert printed == [first, None, *others]
    assert files == {name: data for a, count in dots.items() for name, data in drawn(a, count).files().items()}


@pytest.mark.usefixtures("two_cores")
def test_figures_are_printed_in_other_processes(monkeypatch):
    monkeypatch.setattr(ReportFigure, "files", lambda figure: {figure.name: str(os.getpid()).encode()})
    _, files = draw_and_print([drawn("a"), drawn("b")])
    assert len({str(HERE).encode(), *files.values()}) == 3


@pytest.mark.usefixtures("two_cores")
def test_a_figure_whose_process_dies_is_printed_by_this_one(monkeypatch):
    def files(figure):
        if os.getpid() != HERE and figure.name == "b":
            os.kill(os.getpid(), 9)
        return {figure.name: b"printed"}

    monkeypatch.setattr(ReportFigure, "files", files)
    assert draw_and_print([drawn("a"), drawn("b"), drawn("c")])[1] == dict.fromkeys("abc", b"printed")


@pytest.mark.usefixtures("two_cores")
def test_where_no_process_can_be_started_figures_are_printed_by_this_one(monkeypatch):
    def start(_process):
        raise BlockingIOError

    monkeypatch.setattr(multiprocessing.get_context("fork").Process, "start", start)
    monkeypatch.setattr(ReportFigure, "files", lambda figure: {figure.name: b"printed"})
    assert draw_and_print([drawn("a"), drawn("b")])[1] == dict.fromkeys("ab", b"printed")


@pytest.mark.usefixtures("_cores")
def test_what_a_figure_raises_is_raised_here(monkeypatch):
    def files(figure):
        raise ValueError(figure.name)

    monkeypatch.setattr(ReportFigure, "files", files)
    with pytest.raises(ValueError, match="a"):
        draw_and_print([drawn("a")])


@pytest.mark.usefixtures("two_cores")
def test_no_process_outlives_an_error_in_drawing(monkeypatch):
    def figures():
        yield drawn("a")
        raise ValueError("b")

    def files(_figure):
        while True:
            pass

    monkeypatch.setattr(ReportFigure, "files", files)
    before = {process.pid for process in multiprocessing.active_children()}  # such as the ranks of other tests
    with pytest.raises(ValueError, match="b"):
        draw_and_print(figures())
    assert {process.pid for process in multiprocessing.active_children()} == before


ORPHANED = """
import os, sys, time
from matplotlib.figure import Figure
from harness.reporting import printing
from harness.reporting.figures.frame import ReportFigure

def files(figure):
    print(os.getpid(), flush=True)
    time.sleep(60)

ReportFigure.files = files
printing._cores = lambda: 2
figure = ReportFigure(name="a", figure=Figure(), title="Dots", caption="Each dot is a seed.", alt="Dots.")
printing.draw_and_print([figure])
"""


def test_what_prints_ends_when_the_process_that_waits_for_it_is_killed():
    waiting = subprocess.Popen([sys.executable, "-c", ORPHANED], stdout=subprocess.PIPE, text=True)
    printer = int(waiting.stdout.readline())
    waiting.kill()
    waiting.communicate(timeout=30)  # until the printer has ended, too: it has the same pipe
    wait_for(lambda: not Path(f"/proc/{printer}").exists(), 5)
