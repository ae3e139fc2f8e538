"""The scripts for sbatch, run by bash with stand-ins for the worker and for SLURM's commands."""

import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.execution.submission.base import Submission
from harness.execution.submission.slurm import SlurmSubmitter
from harness.execution.submission.slurm_options import SlurmOptions
from harness.execution.submission.slurm_script import quote, script_text
from tests.support.processes import wait_for
from tests.support.slurm import stand_in

NASTY = [
    "a b",
    "it's",
    '"x" $HOME `id` $(id)',
    "back\\slash\\",
    "100%a",
    "new\nline\n#SBATCH --wrap=id",
    "grün",
    "\udcff",
]
SAVE = 'mkdir -p "$RESULTS/records"; echo x > "$RESULTS/records/a.json"; '


@dataclass(frozen=True)
class Job:
    """A folder with a script that was made for it, and stand-ins on the PATH."""

    folder: Path
    results: Path
    text: bytes

    def start(self, worker: str = "", handovers: int = 0) -> subprocess.Popen:
        """Run the script as SLURM would; `worker` is what bash does in the place of the worker."""
        (self.results / "slurm").mkdir(parents=True, exist_ok=True)
        stand_in(
            self.folder / "bin/worker", f'printf \'%s\\0\' "$PWD" "$@" > {quote(str(self.folder / "called"))}; {worker}'
        )
        stand_in(self.folder / "bin/sbatch", f'printf \'%s\\n\' "$PWD" "$@" > {quote(str(self.folder / "queued"))}')
        stand_in(self.folder / "bin/scontrol", "echo node1; echo node2")
        path = self.folder / "script.sh"
        path.write_bytes(self.text)
        variables = {"SLURM_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3", "SLURM_JOB_NODELIST": "node[1-2]"}
        return subprocess.Popen(
            ["bash", path, str(handovers)],
            env={"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "RESULTS": str(self.results), **variables},
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, worker: str = "", handovers: int = 0) -> int:
        process = self.start(worker, handovers)
        process.communicate(timeout=60)
        return process.returncode

    @property
    def called(self) -> list[str]:
        """The folder and the words that the worker was called with."""
        return os.fsdecode((self.folder / "called").read_bytes()).split("\0")[:-1]

    @property
    def queued(self) -> list[str]:
        """The folder and the words that sbatch was called with, none where it was not."""
        path = self.folder / "queued"
        return path.read_text().splitlines() if path.exists() else []


def submission(home: Path, **changes) -> Submission:
    plain = Submission(
        suite=home / "suites/tiny.py",
        root=home / "results/tiny",
        folder=home,
        count=8,
        only=("norm=batch,none",),
        arguments=("--device", "cpu"),
        trials={1: 200},
    )
    return replace(plain, **changes)


@pytest.fixture
def job(tmp_path) -> Callable[..., Job]:
    def make(options: SlurmOptions | None = None, **changes) -> Job:
        options = options or SlurmOptions()
        whole = submission(tmp_path, **changes)
        (script,) = SlurmSubmitter(workers=options, ranks=options)._scripts(whole)
        program = str(tmp_path / "bin/worker")
        if script.launcher:
            script = replace(
                script, launcher=tuple(program if word.endswith("srun") else word for word in script.launcher)
            )
        else:
            script = replace(script, command=(program, *script.command[1:]))
        return Job(tmp_path, whole.root, script_text(script))

    return make


def directives(text: bytes) -> list[str]:
    """What sbatch reads: lines up to the first that is neither blank nor a comment."""
    lines = []
    for line in text.decode("utf-8", "surrogateescape").splitlines():
        if line.startswith("#SBATCH "):
            lines.append(line.removeprefix("#SBATCH "))
        elif line and not line.startswith("#"):
            break
    return lines


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))))
def test_bash_reads_a_quoted_word_as_it_was_and_on_one_line(words):
    quoted = " ".join(map(quote, words))
    assert len(quoted.splitlines()) <= 1
    out = subprocess.run(["bash", "-c", f"printf '%s\\0' x {quoted}"], capture_output=True, check=True).stdout
    assert os.fsdecode(out).split("\0")[1:-1] == words


@pytest.mark.parametrize("name", NASTY)
def test_the_worker_gets_the_command_as_it_was_typed_in_the_folder_where_it_was_typed(tmp_path, job, name):
    folder = tmp_path / name
    folder.mkdir()
    made = job(suite=folder / f"{name}.py", root=folder / name, folder=folder, only=(f"model={name}",))
    assert made.run() == 0
    words = ["run", f"{folder / name}.py", "--results", str(folder), "--join", "--workers", "1"]
    options = ["--progress", "plain", "--device", "cpu", "--only", f"model={name}"]
    assert made.called == [str(folder), "-m", "harness", *words, *options]
    assert directives(made.text)[1:] == directives(job().text)[1:]


def test_a_job_asks_for_what_the_options_say(job):
    options = SlurmOptions(
        partition="gpu",
        account="me",
        qos="long",
        constraint="a100|h100",
        gres="gpu:1",
        mem="16G",
        time="04:00:00",
        cpus_per_task=4,
        warning=60,
        sbatch=("--exclude=node7", "--exclusive"),
    )
    assert directives(job(options).text)[1:] == [
        "--array=0-7",
        "--output=worker-%a.log",
        "--open-mode=append",
        "--signal=B:USR1@60",
        "--nodes=1",
        "--ntasks-per-node=1",
        "--cpus-per-task=4",
        "--partition=gpu",
        "--account=me",
        "--qos=long",
        "--constraint=a100|h100",
        "--gres=gpu:1",
        "--mem=16G",
        "--time=04:00:00",
        "--requeue",
        "--exclude=node7",
        "--exclusive",
    ]


def test_workers_of_a_job_share_its_cores_or_its_gpus(job):
    for options, workers in [
        (SlurmOptions(cpus_per_task=4), "4"),
        (SlurmOptions(cpus_per_task=4, gres="gpu:1"), "auto"),
        (SlurmOptions(cpus_per_task=4, sbatch=("--gpus-per-node=1",)), "auto"),
    ]:
        made = job(options)
        assert made.run() == 0
        assert made.called[made.called.index("--workers") + 1] == workers


def test_commands_of_setup_run_before_the_worker_and_prepare_its_environment(job):
    made = job(SlurmOptions(setup=("greeting='good day'", "export GREETING=$greeting")))
    assert made.run('[[ $GREETING == "good day" ]] || exit 9') == 0


HANDOVERS = [  # what the worker does -> exit code, whether a successor is queued
    ("", 0, False),
    (SAVE, 0, False),
    (SAVE + "exit 75", 75, True),
    ("exit 75", 75, False),  # nothing was saved
    (SAVE + "kill -KILL $$", 137, True),
    (SAVE + "exit 1", 1, False),
    (SAVE + "exit 2", 2, False),
    (SAVE + "exit 4", 4, False),
    ('mkdir -p "$RESULTS/checkpoints"; echo x > "$RESULTS/checkpoints/a.snapshot"; exit 75', 75, True),
]


@pytest.mark.parametrize(("worker", "code", "is_queued"), HANDOVERS)
def test_a_job_gets_a_successor_where_it_was_stopped_and_something_was_saved(job, worker, code, is_queued):
    made = job()
    assert made.run(worker) == code
    folder, words = str(made.results / "slurm"), ["--dependency=afterany:7", "--array=3", "workers.sh", "1"]
    assert made.queued == ([folder, *words] if is_queued else [])


def test_a_record_that_changes_counts_as_saved(job):
    made = job()
    (made.results / "records").mkdir(parents=True)
    (made.results / "records/a.json").write_text("of before")
    assert made.run(SAVE + "exit 75") == 75
    assert made.queued


@pytest.mark.parametrize(("handovers", "is_queued"), [(0, True), (19, True), (20, False)])
def test_hand_overs_are_bounded(job, handovers, is_queued):
    made = job()
    assert made.run(SAVE + "exit 75", handovers) == 75
    assert made.queued[4:] == ([str(handovers + 1)] if is_queued else [])


STOPPABLE = "trap 'sleep 0.3; " + SAVE + 'exit 75\' TERM; touch "$RESULTS/begun"; while :; do sleep 0.05; done'


@pytest.mark.parametrize(("number", "is_queued"), [(signal.SIGUSR1, True), (signal.SIGTERM, False)])
def test_the_worker_saves_when_the_time_is_nearly_over_and_goes_on_unless_it_was_cancelled(job, number, is_queued):
    made = job()
    process = made.start(STOPPABLE)
    wait_for((made.results / "begun").exists)
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 75
    assert (made.results / "records/a.json").exists()
    assert bool(made.queued) == is_queued
    assert ("cancelled" in out) != is_queued


def test_a_job_that_is_cancelled_twice_still_waits_for_its_worker(job):
    made = job()
    process = made.start(STOPPABLE)
    wait_for((made.results / "begun").exists)
    for _ in range(2):
        process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 75
    assert (made.results / "records/a.json").exists()


def test_a_signal_before_the_worker_begins_reaches_it_all_the_same(job):
    made = job(SlurmOptions(setup=('touch "$RESULTS/begun"; sleep 0.5',)))
    made.results.mkdir(parents=True)
    process = made.start("exec sleep 60")
    wait_for((made.results / "begun").exists)
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM


def test_where_no_successor_can_be_queued_the_log_says_so(job):
    made = job()
    (made.folder / "bin").mkdir()
    process = made.start(SAVE + "exit 75; ")
    stand_in(made.folder / "bin/sbatch", "exit 1")
    out, _ = process.communicate(timeout=30)
    assert (process.returncode, made.queued) == (75, [])
    assert "no successor could be queued; the same command goes on" in out


def test_several_ranks_are_started_by_torchrun_on_the_nodes_of_the_job(job):
    made = job(SlurmOptions(nodes=2), trials={4: 3})
    assert made.run() == 0
    assert {"--array=0-2", "--output=ranks-4-%a.log", "--nodes=2", "--cpus-per-task=2"} <= {*directives(made.text)}
    words = " ".join(made.called[1:])
    assert "--nodes=2 --ntasks-per-node=1" in words
    assert "-m torch.distributed.run --nnodes=2 --nproc-per-node=2" in words
    assert "--rdzv-endpoint=node1:20007 --rdzv-id=7 -m harness run" in words


@pytest.mark.parametrize(
    ("worker", "code", "is_queued"), [(SAVE, 0, False), (SAVE + "exit 1", 1, True), ("exit 1", 1, False)]
)
def test_ranks_go_on_in_another_job_where_one_was_lost_and_something_was_saved(job, worker, code, is_queued):
    made = job(trials={2: 5})
    assert made.run(worker) == code
    assert bool(made.queued) == is_queued


def test_ranks_that_were_stopped_in_time_end_with_0_and_go_on_in_another_job(job):
    made = job(trials={2: 5})
    process = made.start(STOPPABLE.replace("exit 75' TERM", "exit 0' USR1"))
    wait_for((made.results / "begun").exists)
    process.send_signal(signal.SIGUSR1)
    process.communicate(timeout=30)
    assert process.returncode == 0
    assert made.queued[1:] == ["--dependency=afterany:7", "--array=3", "ranks-2.sh", "1"]


def test_a_suite_with_trials_of_one_rank_and_of_several_has_a_script_for_each(tmp_path):
    options = SlurmOptions()
    whole = submission(tmp_path, trials={1: 10, 2: 20, 4: 3}, only=("norm=batch", "world_size=1,2,4"))
    scripts = {s.name: s for s in SlurmSubmitter(workers=options, ranks=options)._scripts(whole)}
    assert {name: script.count for name, script in scripts.items()} == {
        "workers.sh": 8,
        "ranks-2.sh": 8,
        "ranks-4.sh": 3,
    }
    for name, size in [("workers.sh", 1), ("ranks-2.sh", 2), ("ranks-4.sh", 4)]:
        assert scripts[name].command[-4:] == ("--only", "norm=batch", "--only", f"world_size={size}")


def test_ranks_that_dont_fit_the_nodes_are_refused(tmp_path):
    submitter = SlurmSubmitter(workers=SlurmOptions(), ranks=SlurmOptions(nodes=3))
    with pytest.raises(UsageError, match=r"world_size=4 can't be dealt out evenly over nodes = 3"):
        submitter.check(submission(tmp_path, trials={1: 5, 4: 5}))


@pytest.mark.parametrize("name", ["50%", "back\\slash"])
def test_a_folder_that_slurm_writes_no_logs_to_is_refused(tmp_path, name):
    submitter = SlurmSubmitter(workers=SlurmOptions(), ranks=SlurmOptions())
    with pytest.raises(UsageError, match="choose another --results"):
        submitter.check(submission(tmp_path, root=tmp_path / name / "tiny"))
