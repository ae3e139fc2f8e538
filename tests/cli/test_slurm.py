"""`run --executor slurm`: what reaches the queue and what does not; and workers in the jobs of a real SLURM."""

import os
import random
import re
import signal
import subprocess
import time
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from harness.cli import main
from harness.cli.parser import parse
from harness.execution.submission.slurm_options import SlurmOptions, slurm_options
from tests.cli.conftest import TINY, CommandLine
from tests.cli.test_ranks import TWO_RANKS
from tests.cli.test_run import SLOW_ENOUGH
from tests.support.own_training import SLOW
from tests.support.processes import marked, wait_for
from tests.support.slurm import ask, slurm_cluster, stand_in

SUBMIT = ("run", "tiny", "--executor", "slurm", "--workers", "2")


@pytest.fixture
def queue(tmp_path, monkeypatch) -> Path:
    """The words that sbatch was called with; an sbatch that queues nothing stands on the PATH."""
    called = tmp_path / "queued"
    stand_in(tmp_path / "bin/sbatch", f"pwd >> '{called}'; echo \"$@\" >> '{called}'; echo '4711;cluster'")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return called


def test_workers_are_queued_and_the_command_says_how_to_watch_and_to_cancel_them(harness, queue):
    harness.suite()
    ran = harness(*SUBMIT, "--results", "my results", "--only", "norm=batch", "--device", "cpu")
    assert (ran.code, ran.err) == (0, "")
    folder = harness.folder / "my results/tiny/slurm"
    assert queue.read_text().splitlines() == [str(folder), "--parsable workers.sh"]
    text = (folder / "workers.sh").read_text("utf-8")
    first, last = ran.out.splitlines()
    assert first == f"tiny: array 4711 of 2 jobs: {folder / 'workers.sh'}"
    (job_name,) = (line.removeprefix("#SBATCH --job-name=") for line in text.splitlines() if "--job-name" in line)
    watch = "python -m harness status tiny.py --results 'my results' --only norm=batch"
    assert last == f"watch them with: {watch}; cancel them with: scancel --name={job_name}"
    words = f"run {harness.folder}/tiny.py --results '{harness.folder}/my results' --join --workers 1"
    assert f"{words} --progress plain --device cpu --only norm=batch)" in text
    assert not (folder.parent / "suite.json").exists(), "the first worker decides on the cohorts"


def test_own_training_is_queued_without_a_word_of_models(harness, queue):
    harness.suite(SLOW)
    ran = harness(*SUBMIT)
    assert (ran.code, ran.err, queue.exists()) == (0, "", True)


def test_what_is_done_is_not_queued(finished, queue):
    ran = finished(*SUBMIT)
    assert (ran.code, queue.exists()) == (0, False)
    assert ran.out == "tiny: every trial has ended; see python -m harness status tiny.py\n"


WRONG = [
    (("--executor", "slurm"), 2, "--executor slurm needs --workers N: how many workers to queue"),
    (("--executor", "dask", "--workers", "2"), 2, "--executor dask needs --scheduler tcp://HOST:8786"),
    ((*SUBMIT[2:], "--scheduler", "tcp://a:1"), 2, "--scheduler is for --executor dask, got slurm"),
    ((*SUBMIT[2:], "--time-budget", "2h"), 2, "with --executor slurm say `time` in the file of --executor-options"),
    ((*SUBMIT[2:], "--executor-options", "none.toml"), 2, "can't read none.toml: No such file or directory"),
    ((*SUBMIT[2:], "--executor-options", "wrong.toml"), 2, "wrong.toml: unknown option 'tiem'; did you mean 'time'?"),
    (("--executor-options", "wrong.toml"), 2, "--executor-options is for --executor slurm or dask, got local"),
    (("--scheduler", "tcp://a:1"), 2, "--scheduler is for --executor dask, got local"),
    ((*SUBMIT[2:], "--only", "norm=layer"), 2, "--only norm=layer: no trial has it"),
]


@pytest.mark.parametrize(("words", "code", "message"), WRONG)
def test_what_makes_no_sense_is_refused_in_one_line_and_nothing_is_queued(
    tmp_path, monkeypatch, capsys, queue, words, code, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.py").write_text(TINY, "utf-8")
    (tmp_path / "wrong.toml").write_text('tiem = "1:00:00"', "utf-8")
    assert main(["run", "tiny", *words]) == code
    out, err = capsys.readouterr()
    assert message in err
    assert (err.count("\n"), out, queue.exists()) == (1, "", False)


def test_without_sbatch_there_is_one_line_and_exit_code_4(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "tiny.py").write_text(TINY, "utf-8")
    assert main([*SUBMIT]) == 4
    error = "--executor slurm needs sbatch, which is not on the PATH here; type the command on a login node"
    assert capsys.readouterr().err == f"harness: {error}\n"


def test_an_sbatch_that_refuses_is_quoted(harness, queue):
    stand_in(queue.parent / "bin/sbatch", "echo 'sbatch: error: invalid partition specified: gpu' >&2; exit 1")
    harness.suite()
    ran = harness(*SUBMIT)
    assert ran.code == 4
    assert "workers.sh: sbatch: error: invalid partition specified: gpu\n" in ran.err


def test_a_wrong_suite_does_not_reach_the_queue(harness, queue):
    harness.suite(TINY.replace("mlp-16", "mlp-sixteen"))
    harness.suite(TINY, name="right")
    ran = harness("run", "right", *SUBMIT[1:])
    assert ran.code == 2, ran.out
    assert "mlp-sixteen" in ran.err
    assert not queue.exists()
    assert not harness.results.exists()


def test_what_this_machine_lacks_is_left_to_the_first_worker(harness, queue):
    harness.suite(TINY.replace("steps=12", 'steps=12, device="cuda"'))
    ran = harness(*SUBMIT)
    if "can't be tried" not in ran.err:
        pytest.skip("this machine has a GPU")
    assert ran.code == 0, ran.err
    assert "tiny can't be tried on this machine, the first worker will: " in ran.err
    assert queue.exists()


def test_fresh_archives_once_for_all_workers(harness, queue):
    harness.suite()
    assert harness("run", "tiny", "--progress", "none").code == 0
    ran = harness(*SUBMIT, "--fresh")
    assert ran.code == 0, ran.err
    assert "earlier results are kept in " in ran.err
    assert queue.exists()
    assert "--fresh" not in (harness.results / "tiny/slurm/workers.sh").read_text()
    assert not (harness.results / "tiny/records").exists()


FRAGILE = (
    TINY.replace("from harness", "from torch import nn\n\nfrom harness", 1)
    .replace(
        "suite =",
        """def fragile(inputs, classes):
    class Net(nn.Sequential):
        def forward(self, x):
            if self.training and len(x) == 100:
                raise ValueError("out of sorts")
            return super().forward(x)
    return Net(nn.Flatten(), nn.Linear(64, classes))


suite =""",
        1,
    )
    .replace('model="mlp-16", norm=["batch", "none"]', 'model=[fragile, "mlp-16"]')
    .replace(', claims=[Claim.better("batch", than="none", lr=0.3)]', "")
    .replace("seed=range(3)", "seed=0")
    .replace("[0.03, 0.3, 1e30]", "0.3")
)


@pytest.mark.usefixtures("queue")
def test_retry_removes_records_without_a_result_once_for_all_workers(harness):
    harness.suite(FRAGILE)
    ran = harness("run", "tiny", "--progress", "none")
    assert ran.code == 1, ran.err
    assert len(list((harness.results / "tiny/records").iterdir())) == 2
    assert harness(*SUBMIT).out.startswith("tiny: every trial has ended")
    ran = harness(*SUBMIT, "--retry", "crashed")
    assert ran.code == 0, ran.err
    assert "--retry" not in (harness.results / "tiny/slurm/workers.sh").read_text()
    assert len(list((harness.results / "tiny/records").iterdir())) == 1


PAGE = (Path(__file__).parents[2] / "docs/clusters.md").read_text("utf-8")


def test_every_command_on_the_page_can_be_typed():
    shell = [block.partition("```")[0] for block in PAGE.split("```sh\n")[1:]]
    commands = [line for block in shell for line in block.splitlines() if line.startswith("python -m harness ")]
    assert sum("--executor" in line for line in commands) == 2
    for line in commands:
        assert parse(line.split()[3:]).do


def test_the_options_on_the_page_are_those_that_there_are():
    workers, ranks = slurm_options(tomllib.loads(PAGE.partition("```toml\n")[2].partition("```")[0]))
    assert (workers.gres, ranks.gres, workers.nodes, ranks.nodes) == ("gpu:1", "gpu:4", 1, 2)
    table = PAGE.partition("| option | meaning |")[2].partition("\n\n")[0]
    named = {
        name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1] if "|" in row else "")
    }
    assert named == {field.name for field in fields(SlurmOptions)}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[dict[str, str]]:
    with slurm_cluster(tmp_path_factory.mktemp("slurm")) as variables:
        yield variables


@pytest.fixture
def on_cluster(cluster, monkeypatch, harness) -> Iterator[CommandLine]:
    for name, value in cluster.items():
        monkeypatch.setenv(name, value)
    yield harness
    for job in queued():
        subprocess.run(["scancel", "--signal=KILL", "--full", job], check=False)
        subprocess.run(["scancel", job], check=False)


def queued() -> list[str]:
    """The jobs that wait or run; each element of an array is one."""
    return ask("squeue", "--noheader", "--array", "--format=%i").split()


def logs(line: CommandLine, name: str = "tiny") -> str:
    return "".join(path.read_text() for path in sorted((line.results / name / "slurm").glob("*.log")))


@pytest.mark.slow
@pytest.mark.slurm
def test_on_slurm_nothing_that_becomes_of_jobs_changes_anything_in_the_end(on_cluster):
    on_cluster.suite(SLOW_ENOUGH.replace("steps=1500", "steps=500"))
    assert on_cluster("run", "tiny", "--progress", "none", "--results", "whole").code == 0
    ran = on_cluster(*SUBMIT)
    assert ran.code == 0, ran.err
    array = ran.out.split()[2]
    wait_for(lambda: len(list((on_cluster.results / "tiny").glob("checkpoints/*"))) >= 2)
    # What SLURM sends when the time limit is near.
    subprocess.run(["scancel", "--batch", "--signal=USR1", f"{array}_1"], check=True)
    (worker,) = wait_for(lambda: [pid for pid in marked("SLURM_ARRAY_TASK_ID=0") if is_supervisor(pid)])
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: logs(on_cluster).count("hand-over 1") == 2)
    wait_for(lambda: "% of the work" in logs(on_cluster))
    subprocess.run(ran.out.rstrip().rpartition("cancel them with: ")[2].split(), check=True)
    wait_for(lambda: not queued())
    assert on_cluster(*SUBMIT).code == 0
    wait_for(lambda: not queued())
    assert on_cluster.tables() == on_cluster.tables(results="whole"), logs(on_cluster)
    assert (on_cluster.results / "tiny/report/index.html").exists()
    text = logs(on_cluster)
    for ending in ("exit code 75, the time limit is near", "exit code 137", "exit code 75, cancelled", "exit code 0"):
        assert f" ends with {ending}\n" in text, text


def is_supervisor(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[1:4] == ["-m", "harness", "run"]
    except OSError:  # it has just ended
        return False


@pytest.mark.slurm
def test_on_slurm_trials_of_several_ranks_train_under_torchrun_and_go_on_in_another_job(on_cluster):
    on_cluster.suite(TWO_RANKS.replace("world_size=2", "world_size=[1, 2]").replace("steps=200", "steps=600"))
    assert on_cluster("run", "tiny", "--progress", "none", "--results", "whole").code == 0
    ran = on_cluster("run", "tiny", "--executor", "slurm", "--workers", "1")
    assert ran.code == 0, ran.err
    scripts = [line.rpartition("/")[2] for line in ran.out.splitlines()[:2]]
    assert scripts == ["workers.sh", "ranks-2.sh"]
    array = ran.out.splitlines()[1].split()[2]
    log = on_cluster.results / "tiny/slurm/ranks-2-0.log"
    wait_for(lambda: log.exists() and "trained" in log.read_text())
    subprocess.run(["scancel", "--batch", "--signal=USR1", f"{array}_0"], check=True)
    wait_for(lambda: not queued())
    assert on_cluster.tables() == on_cluster.tables(results="whole"), logs(on_cluster)
    assert "the time limit is near" in logs(on_cluster)
    assert "a rank ended" not in logs(on_cluster), "a rank has ended without saving"


@pytest.mark.slurm
@pytest.mark.slow
def test_on_slurm_own_training_that_is_killed_goes_on_and_comes_out_as_a_local_run(on_cluster):
    on_cluster.suite(SLOW, "walk")
    assert on_cluster("run", "walk", "--progress", "none", "--results", "whole").code == 0
    assert on_cluster("run", "walk", *SUBMIT[2:]).code == 0
    wait_for(lambda: any((on_cluster.results / "walk").glob("checkpoints/*.snapshot")))
    time.sleep(random.uniform(0, 0.5))
    for job in queued():
        subprocess.run(["scancel", "--signal=KILL", "--full", job], check=True)
    wait_for(lambda: not queued())
    assert on_cluster("run", "walk", *SUBMIT[2:]).code == 0
    wait_for(lambda: not queued())
    assert on_cluster.tables("walk") == on_cluster.tables("walk", "whole"), logs(on_cluster, "walk")
