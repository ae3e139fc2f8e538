"""How a run is told to stop: what is heard at once, what at the next question, and that nobody waits for ever."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.cli import main
from harness.errors import RunAborted
from harness.execution.stop_flag import StopFlag, stopping

HEAVY = '''
import os, signal
from harness.execution.stop_flag import stopping
from harness.execution.messages import InspectRequest
from harness.execution.pool import Pool, pool_of

terminate = Pool._terminate

def interrupted(pool, worker):
    """End a worker, with a Ctrl-C in the middle of it."""
    os.kill(os.getpid(), signal.SIGINT)
    terminate(pool, worker)

Pool._terminate = interrupted
if __name__ == "__main__":
    with stopping(None) as stop, pool_of(2) as pool:
        pool.submit(InspectRequest())
        pool.submit(InspectRequest())
        while pool.busy:
            list(pool.events(0.2))
        os.kill(os.getpid(), signal.SIGINT)
    print(stop.reason)
'''


def test_ctrl_c_while_workers_are_ended_leaves_none_of_them(tmp_path):
    (tmp_path / "heavy.py").write_text(HEAVY, "utf-8")
    command = [sys.executable, "heavy.py"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        out, _ = process.communicate(timeout=60)  # the output ends when no process holds it any more
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert (process.returncode, out) == (0, "stopped by Ctrl-C\n")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75), (signal.SIGHUP, 75)])
def test_a_signal_to_all_processes_while_workers_load_torch_ends_the_run_in_a_line(harness, number, code):
    harness.suite()
    process = harness.start("run", "tiny")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while not any("forkserver" in commands(child) for child in children.read_text().split()):
        time.sleep(0.01)
    os.killpg(process.pid, number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (code, "")
    assert "before anything was trained; go on with: python -m harness run tiny" in out


def commands(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except FileNotFoundError:
        return ""


def test_a_second_ctrl_c_is_an_answer_to_the_next_question():
    stop = StopFlag(None)
    assert not stop()
    stop.on_signal(signal.SIGINT, None)
    assert stop()
    stop.on_signal(signal.SIGINT, None)
    with pytest.raises(RunAborted, match="Ctrl-C; the same command goes on") as caught:
        stop()
    assert caught.value.exit_code == 130


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
def test_where_there_are_no_workers_the_first_signal_ends_the_run(number, code):
    stop = StopFlag(None)
    stop.is_immediate = True
    with pytest.raises(RunAborted) as caught:
        stop.on_signal(number, None)
    assert caught.value.exit_code == code


def test_a_second_sigterm_changes_nothing():
    stop = StopFlag(None)
    stop.on_signal(signal.SIGTERM, None)
    stop.on_signal(signal.SIGTERM, None)
    assert (stop(), stop.reason, stop.exit_code) == (True, "stopped by SIGTERM", 75)


def test_ctrl_c_in_a_command_that_only_reads_is_one_line(monkeypatch, capsys):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("harness.cli.verbs.status.status", interrupted)
    assert main(["status", "suites/circles"]) == 130
    assert capsys.readouterr().err == "harness: stopped by Ctrl-C\n"


def test_a_hangup_that_nohup_ignores_stops_no_run():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopping(None) as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop()
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
