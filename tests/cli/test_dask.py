"""`run --executor dask`: workers as tasks of a real scheduler, with worker processes that die."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import harness as api
from harness.cli import main
from harness.execution.submission.dask_task import find_obstacle, run_worker
from tests.cli.conftest import TINY, CommandLine
from tests.cli.test_run import SLOW_ENOUGH
from tests.support.own_training import SLOW
from tests.support.processes import marked, wait_for
from tests.support.slurm import free_ports


@pytest.fixture
def scheduler(tmp_path) -> Iterator[str]:
    """The address of a scheduler, with two worker processes of one thread each that a nanny starts anew."""
    (port,) = free_ports(1)
    address, folder = f"tcp://127.0.0.1:{port}", tmp_path / "dask"
    folder.mkdir()
    options = ["--no-dashboard", "--host", "127.0.0.1"]
    words = [
        ["scheduler", "--port", str(port), *options],
        ["worker", address, "--nworkers", "2", "--nthreads", "1", "--local-directory", str(folder), *options],
    ]
    processes = []
    try:
        for word in words:
            with (folder / f"{word[0]}.log").open("wb") as log:
                command = [sys.executable, "-m", "distributed.cli.dask_" + word[0], *word[1:]]
                processes.append(
                    subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder)
                )
        log = folder / "scheduler.log"
        wait_for(lambda: log.read_text().count("Register worker") == 2)
        yield address
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            process.wait(30)


def dask_workers(line: CommandLine, name: str = "tiny") -> list[int]:
    """The processes that wait for our workers: the parents of the keepers."""
    return sorted({parent_of(pid) for pid in keepers(line, name)} - {os.getpid()})


def keepers(line: CommandLine, name: str = "tiny") -> list[int]:
    found = marked(str(line.folder / f"{name}.py"))
    return [pid for pid in found if b"containment.keeper" in command_of(pid)]


def command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_workers_are_tasks_that_outlive_the_command_and_the_death_of_a_dask_worker(harness, scheduler):
    harness.suite(SLOW_ENOUGH)
    assert harness("run", "tiny", "--progress", "none", "--results", "whole").code == 0
    ran = harness("run", "tiny", "--executor", "dask", "--scheduler", scheduler, "--workers", "2")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("tiny: 2 tasks harness-tiny-")
    wait_for(lambda: any((harness.results / "tiny").glob("checkpoints/*")))
    os.kill(dask_workers(harness)[0], signal.SIGKILL)
    wait_for(lambda: (harness.results / "tiny/report/index.html").exists(), 240)
    wait_for(lambda: not marked(str(harness.folder / "tiny.py")))
    logs = "".join(path.read_text() for path in (harness.results / "tiny/dask").glob("*.log"))
    assert harness.tables() == harness.tables(results="whole"), logs


@pytest.mark.slow
def test_own_training_run_from_python_comes_out_the_same_when_its_dask_workers_are_killed(
    harness, scheduler, monkeypatch, capfd
):
    path = harness.suite(SLOW, "walk")
    assert harness("run", "walk", "--progress", "none", "--results", "whole").code == 0
    monkeypatch.setattr("harness.api.run.LOOK_EVERY", 2)
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(api.run, path, results=harness.results, executor="dask", scheduler=scheduler, workers=1)
        wait_for(lambda: any((harness.results / "walk").glob("checkpoints/*.snapshot")))
        time.sleep(random.uniform(0, 0.5))
        (pid,) = dask_workers(harness, "walk")
        os.kill(pid, signal.SIGKILL)
        found = run.result(timeout=240)
    assert set(found.trials["status"]) == {"ok"}
    assert harness.tables("walk") == harness.tables("walk", "whole")
    assert "4 of 4 trials have a result" in capfd.readouterr().out


def test_a_scheduler_that_is_not_there_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("harness.execution.submission.dask.CONNECT_TIMEOUT", 0.5)
    (tmp_path / "tiny.py").write_text(TINY, "utf-8")
    (port,) = free_ports(1)
    assert main(["run", "tiny", "--executor", "dask", "--workers", "2", "--scheduler", f"tcp://127.0.0.1:{port}"]) == 4
    err = capsys.readouterr().err
    assert err.startswith(f"harness: there is no Dask scheduler at tcp://127.0.0.1:{port}: ")
    assert err.count("\n") == 1


def test_without_dask_there_is_one_line_with_the_remedy(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "distributed", None)
    (tmp_path / "tiny.py").write_text(TINY, "utf-8")
    assert main(["run", "tiny", "--executor", "dask", "--workers", "2", "--scheduler", "tcp://127.0.0.1:1"]) == 4
    assert capsys.readouterr().err.endswith("needs Dask; install it with: pip install 'harness[dask]'\n")


def test_a_dask_worker_that_lacks_a_file_or_the_version_says_so(tmp_path):
    from harness import __version__

    assert find_obstacle(__version__, [str(tmp_path)]) == ""
    assert "it doesn't see " in find_obstacle(__version__, [str(tmp_path), str(tmp_path / "none")])
    assert f"it has harness {__version__}, and the command was typed with 0.0" in find_obstacle("0.0", [])


def test_a_worker_that_is_killed_makes_its_task_fail_so_that_it_is_tried_again(harness):
    harness.suite(SLOW_ENOUGH.replace("steps=1500", "steps=10**7"))
    log = harness.results / "tiny/dask/worker-0.log"
    words = ["run", str(harness.folder / "tiny.py")]
    script = f"from harness.execution.submission.dask_task import run_worker; run_worker({words!r}, '.', {str(log)!r})"
    process = subprocess.Popen([sys.executable, "-c", script], cwd=harness.folder, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: any((harness.results / "tiny").glob("checkpoints/*")))
    (keeper,) = [pid for pid in keepers(harness) if parent_of(pid) == process.pid]
    os.kill(keeper, signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert f"RuntimeError: the worker was killed by signal 9; its log is {log}" in err


def test_a_worker_ends_with_the_exit_code_of_the_command(tmp_path):
    assert run_worker(["run", "nowhere"], str(tmp_path), str(tmp_path / "logs/0.log")) == 2
    assert "no suite file nowhere.py" in (tmp_path / "logs/0.log").read_text()
