"""What is known of ranks that have ended, from what they and their launcher wrote."""

import json
import sys
import tempfile

import pytest

from harness.execution import torchrun
from harness.execution.messages import Failed, UserErrorReply
from harness.execution.torchrun import EXIT_MARKER, Launched

CAUSES = [
    (["oom", "RuntimeError: out of memory"], Failed, False),
    (["crashed", "ConnectionResetError: Connection reset by peer"], Failed, True),
    (["MachineError", "disk full"], UserErrorReply, None),
]


@pytest.mark.parametrize(("told", "kind", "is_retryable"), CAUSES)
@pytest.mark.parametrize("lines", [0, 1000])
def test_the_first_rank_that_says_why_it_ends_is_heard_however_much_is_written_afterwards(
    told, kind, is_retryable, lines
):
    first, later = (f"{EXIT_MARKER}{json.dumps(words)}" for words in (told, ["crashed", "another"]))
    program = f"print({first!r}); print({later!r}); print('banner of a rank\\n' * {lines})"
    launched = Launched([sys.executable, "-c", program], tempfile.TemporaryFile())  # noqa: SIM115 (as long as it lives)
    launched.join()
    launched.kill()
    found = launched.cause()
    assert isinstance(found, kind)
    assert found.error == told[1]
    assert getattr(found, "is_retryable", None) == is_retryable


def test_a_run_that_is_halted_while_ranks_start_leaves_none_of_them(monkeypatch):
    started = []

    def halted():
        raise KeyboardInterrupt

    class Noted(Launched):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            started.append(self)

    monkeypatch.setattr(torchrun, "Launched", Noted)
    monkeypatch.setattr(torchrun, "_command", lambda *_: [sys.executable, "-c", "import time; time.sleep(600)"])
    with pytest.raises(KeyboardInterrupt):
        torchrun.launch(2, halted)
    (one,) = started
    assert one.exitcode is not None
