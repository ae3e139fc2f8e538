"""What a reader that goes away (`| head`) does to the exit code."""

import pytest

from harness.cli import dispatch, main


@pytest.mark.parametrize(
    ("words", "code"), [(["run", "tiny"], 141), (["report", "tiny"], 141), (["status", "tiny"], 0)]
)
def test_work_that_a_closed_pipe_cuts_off_does_not_count_as_done(monkeypatch, words, code):
    def do(_):
        raise BrokenPipeError(32, "the reader has gone away")

    monkeypatch.setattr(
        dispatch, "parse", lambda words: type("Options", (), {"verb": words[0], "do": staticmethod(do)})
    )
    monkeypatch.setattr(dispatch, "discard", lambda number: None)
    assert main(words) == code
