"""SLURM: an array of plain workers, each a job that sbatch queues; torchrun on several nodes for trials of many ranks.

A job hands over to a successor where its time is too short. What a suite has reached stands in its records alone.
"""

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness.errors import MachineError, UsageError
from harness.execution.submission.base import Submission, Submitted
from harness.execution.submission.slurm_options import SlurmOptions, slurm_options
from harness.execution.submission.slurm_script import Script, script_text
from harness.execution.torchrun import SIGNALS
from harness.io import write_atomically

FOLDER = "slurm"  # in the results of a suite: scripts and logs
SHUTDOWN = 60  # seconds that ranks have for saving when their launcher is told to end


@dataclass(frozen=True, slots=True, kw_only=True)
class SlurmSubmitter:
    """Queues arrays of jobs by sbatch."""

    workers: SlurmOptions  # of plain workers
    ranks: SlurmOptions  # of jobs for trials of several ranks

    def check(self, submission: Submission) -> None:
        for size in submission.trials:
            if size > 1 and size % self.ranks.nodes:
                raise UsageError(f"world_size={size} can't be dealt out evenly over nodes = {self.ranks.nodes}")
        if "%" in str(submission.root) or "\\" in str(submission.root):
            # A job whose log can't be opened fails, and nobody is told why.
            raise UsageError(
                f"SLURM can't write logs under {submission.root}: % and \\ in a path mean something to it; "
                "choose another --results"
            )
        if shutil.which("sbatch") is None:
            raise MachineError(
                "--executor slurm needs sbatch, which is not on the PATH here; type the command on a login node"
            )

    def submit(self, submission: Submission) -> Submitted:
        jobs = []
        for script in self._scripts(submission):
            path = script.results / FOLDER / script.name
            write_atomically(path, script_text(script))
            jobs.append(f"array {_sbatch(script)} of {script.count} jobs: {path}")
        return Submitted(jobs=tuple(jobs), cancel=f"scancel --name={_job_name(submission)}")

    def _scripts(self, submission: Submission) -> Iterator[Script]:
        for size in sorted(submission.trials):
            if size == 1:
                yield self._worker_script(submission)
            else:
                yield self._ranks_script(submission, size)

    def _worker_script(self, submission: Submission) -> Script:
        options = self.workers
        workers = "auto" if options.has_gpus else str(options.cpus_per_task)
        return Script(
            name="workers.sh",
            job_name=_job_name(submission),
            log="worker-%a.log",
            count=submission.count,
            nodes=1,
            cpus_per_task=options.cpus_per_task,
            results=submission.root,
            folder=submission.folder,
            launcher=(),
            command=(sys.executable, "-m", "harness", *submission.worker_arguments(workers=workers, world_size=1)),
            options=options,
        )

    def _ranks_script(self, submission: Submission, size: int) -> Script:
        options = self.ranks
        on_a_node = size // options.nodes
        cores = max(options.cpus_per_task, on_a_node)
        return Script(
            name=f"ranks-{size}.sh",
            job_name=_job_name(submission),
            log=f"ranks-{size}-%a.log",
            count=min(submission.count, submission.trials[size]),
            nodes=options.nodes,
            cpus_per_task=cores,
            results=submission.root,
            folder=submission.folder,
            launcher=_launcher(options.nodes, on_a_node, cores),
            command=("-m", "harness", *submission.worker_arguments(world_size=size)),
            options=options,
        )


def slurm_submitter(table: Mapping[str, Any]) -> SlurmSubmitter:
    """SLURM, with the options of a file."""
    workers, ranks = slurm_options(table)
    return SlurmSubmitter(workers=workers, ranks=ranks)


def _launcher(nodes: int, on_a_node: int, cores: int) -> tuple[str, ...]:
    """torchrun on every node of a job, whose number is fixed: another one would change how batches are cut.

    Newer versions of srun don't take over the cores that the job has asked for.
    """
    return (
        *("srun", "--kill-on-bad-exit=1", f"--nodes={nodes}", "--ntasks-per-node=1", f"--cpus-per-task={cores}"),
        *(sys.executable, "-m", "torch.distributed.run"),
        *(f"--nnodes={nodes}", f"--nproc-per-node={on_a_node}", "--max-restarts=0", "--rdzv-backend=c10d"),
        *(f"--signals-to-handle={SIGNALS}", f"--shutdown-timeout={SHUTDOWN}"),
    )


def _job_name(submission: Submission) -> str:
    """A name that only the jobs of this results folder have, of letters that every command takes."""
    digest = hashlib.sha256(str(submission.root).encode("utf-8", "surrogateescape")).hexdigest()[:6]
    return f"harness-{re.sub(r'[^A-Za-z0-9_.-]', '_', submission.root.name)[:40]}-{digest}"


def _sbatch(script: Script) -> str:
    """The number of the array that was queued."""
    done = subprocess.run(
        ["sbatch", "--parsable", script.name],  # noqa: S607 (each cluster has it somewhere else)
        cwd=script.results / FOLDER,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        reason = " ".join(done.stderr.decode("utf-8", "replace").split())
        raise MachineError(f"sbatch refuses {script.results / FOLDER / script.name}: {reason or done.returncode}")
    return done.stdout.decode("utf-8", "replace").partition(";")[0].strip()
