"""SLURM as tests have it: a real one of one node, with all that is its own in one folder, or stand-ins for commands."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.processes import wait_for

COMMANDS = ("munged", "slurmctld", "slurmd", "sbatch")
CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
JobRequeue=1
KillWait=10
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=debug Nodes={host} Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:4
"""


def missing() -> str:
    """Why no SLURM can be started here; empty where one can."""
    lacking = [name for name in COMMANDS if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None]
    if lacking:
        return f"no {', '.join(lacking)}"
    return "" if os.geteuid() == 0 else "SLURM's daemons need root"


@contextmanager
def slurm_cluster(folder: Path) -> Iterator[dict[str, str]]:
    """The variables with which SLURM's commands find the cluster."""
    for name in ("state", "spool"):
        (folder / name).mkdir()
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o600)
    values = {"host": socket.gethostname(), "ports": free_ports(2), "cpus": os.cpu_count(), "folder": folder}
    (folder / "slurm.conf").write_text(CONFIGURATION.format(**values), "utf-8")
    variables = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf"), "PATH": f"{os.environ['PATH']}:/usr/sbin"}
    names = ("key-file", "key"), ("socket", "socket"), ("pid-file", "pid"), ("log-file", "log"), ("seed-file", "seed")
    munge = [f"--{option}={folder}/munge.{ending}" for option, ending in names]
    daemons = []
    try:
        for words in (["munged", "--foreground", "--force", *munge], ["slurmctld", "-D"], ["slurmd", "-D"]):
            log = (folder / f"{words[0]}.out").open("wb")
            daemons.append(subprocess.Popen(words, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log))
            log.close()
            if words[0] == "munged":
                wait_for((folder / "munge.socket").exists, 30)
        wait_for(lambda: "idle" in ask("sinfo", "--noheader", "--format=%T", env=variables), 60)
        yield {"SLURM_CONF": variables["SLURM_CONF"], "PATH": variables["PATH"]}
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()


def stand_in(path: Path, commands: str) -> None:
    """A program that does these commands of bash."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/bash\n{commands}\n", "utf-8")
    path.chmod(0o755)


def ask(*words: str, env: dict[str, str] | None = None) -> str:
    """What a command of SLURM prints."""
    return subprocess.run(words, capture_output=True, text=True, check=False, env=env).stdout


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
