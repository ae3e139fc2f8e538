"""What tests of reports share."""

import pytest

from harness.reporting.figures.frame import ReportFigure

BLANK = {"svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>", "png": b"", "pdf": b""}


@pytest.fixture
def unwritten_figures(monkeypatch):
    """Figures are drawn and laid out, but not written in three formats: that takes most of the time of a report."""

    def files(figure):
        figure.lay_out()
        return {f"{figure.name}.{kind}": data for kind, data in BLANK.items()}

    monkeypatch.setattr(ReportFigure, "files", files)
