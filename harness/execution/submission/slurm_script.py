"""The text of a script for sbatch: what a job asks for, then a worker, its signals, and its successor."""

import os
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.execution.submission.slurm_options import SlurmOptions

BEGIN = """\
handovers=${1:-0}  # jobs before this one, each the successor of the one before it
worker= reason= is_interrupted=

pass_on() {  # a signal to the worker, which saves and ends
    reason=$1 is_interrupted=1
    [[ -z $worker ]] || kill -s "$worker_signal" "$worker" 2>/dev/null
}
trap 'pass_on "the time limit is near"' USR1
trap 'pass_on cancelled' TERM INT

progress() {  # another text when a record or a snapshot was written
    ls -ln --full-time "$results/records" "$results/checkpoints" 2>/dev/null | cksum
}
"""
RUN = """\
before=$(progress)
echo "$(date -Iseconds) $(hostname): job $SLURM_JOB_ID begins, hand-over $handovers"
"${command[@]}" &
worker=$!
[[ -z $reason ]] || pass_on "$reason"
while is_interrupted=; wait "$worker"; code=$?; [[ -n $is_interrupted ]]; do :; done
echo "$(date -Iseconds) $(hostname): job $SLURM_JOB_ID ends with exit code $code${reason:+, $reason}"

if [[ $reason == cancelled ]] || ! is_unfinished; then
    exit "$code"
elif [[ $(progress) == "$before" ]]; then
    echo "nothing was saved in this job, so it gets no successor"
elif ((handovers >= max_successors)); then
    echo "no successor: max_successors = $max_successors"
else
    cd "$results/slurm" && sbatch --dependency="afterany:$SLURM_JOB_ID" --array="$SLURM_ARRAY_TASK_ID" \\
        "$script" "$((handovers + 1))" || echo "no successor could be queued; the same command goes on"
fi
exit "$code"
"""
WORKER = """\
worker_signal=TERM
is_unfinished() {  # saved and stopped (75), or killed
    ((code == 75 || code >= 128))
}
"""
# srun answers SIGTERM by killing its tasks, and passes SIGUSR1 on. Ranks that were stopped end with 0 under torchrun.
RANKS = """\
worker_signal=USR1
is_unfinished() {
    [[ -n $reason ]] || ((code != 0))
}
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
head_node=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
command=("${launcher[@]}" --rdzv-endpoint="$head_node:$((20000 + SLURM_JOB_ID % 20000))" --rdzv-id="$SLURM_JOB_ID"
    "${command[@]}")
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A script for sbatch, and what it stands for."""

    name: str  # of the file
    job_name: str
    log: str  # pattern of the file names of logs, %a is the number in the array
    count: int  # of jobs
    nodes: int
    cpus_per_task: int
    results: Path  # of the suite
    folder: Path  # where the command was typed
    launcher: tuple[str, ...]  # what starts the command on several nodes; empty for plain workers
    command: tuple[str, ...]
    options: SlurmOptions


def script_text(script: Script) -> bytes:
    """What the file holds. Directives come before all commands, since sbatch looks for none after the first."""
    options = script.options
    directives = {
        "job-name": script.job_name,
        "array": f"0-{script.count - 1}",
        "output": script.log,
        "open-mode": "append",
        "signal": f"B:USR1@{options.warning}",
        "nodes": script.nodes,
        "ntasks-per-node": 1,
        "cpus-per-task": script.cpus_per_task,
        **{
            name: getattr(options, name)
            for name in ("partition", "account", "qos", "constraint", "gres", "mem", "time")
        },
    }
    variables = {
        "results": str(script.results),
        "script": script.name,
        "max_successors": str(options.max_successors),
    }
    lines = [
        "#!/bin/bash",
        "# Workers of a suite, beside each other in its results folder: each takes trials that no other has.",
        "# Written by `harness run`. For more workers, submit it again in this folder: sbatch " + script.name,
        *_directives(directives),
        "#SBATCH --requeue",
        *(f"#SBATCH {option}" for option in options.sbatch),
        "",
        *(f"{name}={quote(value)}" for name, value in variables.items()),
        BEGIN,
        f"cd {quote(str(script.folder))} || exit 4",
        *options.setup,
        _array("command", script.command),
        *([_array("launcher", script.launcher), RANKS] if script.launcher else [WORKER]),
        RUN,
    ]
    return os.fsencode("\n".join(lines))


def _directives(values: Mapping[str, object]) -> Iterable[str]:
    yield from (f"#SBATCH --{name}={value}" for name, value in values.items() if value is not None)


def _array(name: str, words: Iterable[str]) -> str:
    return f"{name}=({' '.join(quote(word) for word in words)})"


def quote(word: str) -> str:
    """The word as bash reads it, on one line whatever is in it."""
    if word.isprintable():
        return shlex.quote(word)
    escaped = (chr(byte) if chr(byte).isalnum() and byte < 128 else f"\\x{byte:02x}" for byte in os.fsencode(word))
    return f"$'{''.join(escaped)}'"
