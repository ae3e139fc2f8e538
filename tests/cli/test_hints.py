"""What a message tells the user to type next can be typed."""

import shlex
from pathlib import Path

import pytest

from harness.cli.hints import command


def test_the_default_results_folder_is_left_out():
    assert command("run", "tiny.py", results=Path("results")) == "python -m harness run tiny.py"


@pytest.mark.parametrize("folder", ["other", "my results", "it's $HOME"])
def test_another_results_folder_is_named_and_quoted(folder):
    words = shlex.split(command("show", "0123", results=Path(folder)))
    assert words == ["python", "-m", "harness", "show", "0123", "--results", folder]


def test_every_verb_leads_to_the_results_that_it_was_given(harness):
    harness.suite()
    folder = "--results", "other results"
    hint = "python -m harness run tiny.py --results 'other results'"
    assert harness("status", "tiny", *folder).err.endswith(f"make some with: {hint}\n")
    assert f"start with: {hint}" in harness("plan", "tiny", *folder).out
    assert harness("run", "tiny", "--only", "norm=none", "--progress", "none", *folder).code == 0
    assert f"go on with: {hint}" in harness("status", "tiny", *folder).out
    assert f"; {hint} writes the report" in harness("plan", "tiny", "--only", "norm=none", *folder).out
