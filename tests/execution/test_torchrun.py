"""What is known of ranks that have ended, from what they and their launcher wrote."""

import json
import sys
import tempfile

import pytest

from harness.errors import MachineError
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


@pytest.mark.parametrize("name", ["TORCHELASTIC_RUN_ID", "RANK", "WORLD_SIZE"])
def test_a_single_variable_of_torchrun_is_left_over_and_means_nothing(monkeypatch, name):
    monkeypatch.setenv(name, "0")
    assert torchrun.torchrun_process() is None


def test_a_rank_that_is_no_number_is_named(monkeypatch):
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "RANK": "first", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(MachineError, match="RANK is 'first'"):
        torchrun.torchrun_process()


def test_a_launch_heeds_neither_options_for_another_one_nor_interfaces_of_other_machines():
    environment = torchrun.launch_environment({"PET_NNODES": "2", "GLOO_SOCKET_IFNAME": "ib0", "HOME": "/root"})
    assert "PET_NNODES" not in environment
    assert environment["GLOO_SOCKET_IFNAME"] in ("lo", "lo0")
    assert environment["HOME"] == "/root"
