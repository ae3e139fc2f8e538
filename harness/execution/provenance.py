"""Where results come from: the code and its state. An allow-list, never all of the environment."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from harness.execution.messages import PreflightResult

PACKAGE = Path(__file__).parents[1]
BITS_DEPEND_ON = (
    *("spec/trial.py", "spec/cohorts.py", "spec/optimizer_args.py", "rng.py"),
    *("data", "nn", "tasks", "ensemble", "probes", "training"),
)


def telemetry_of(preflight: PreflightResult) -> dict[str, Any]:
    """What the record of every trial holds on this run."""
    commit, dirty = _commit()
    return {
        **{name: preflight.machine[name] for name in ("host", "device_name", "python")},
        **{name: preflight.fingerprint[name] for name in ("torch", "machine", "cpu")},
        "commit": commit,
        "dirty": dirty,
        "code_hash": _code_hash(),
    }


def _commit() -> tuple[str | None, bool | None]:
    """The commit of the harness and whether its files differ from it, where it is a git checkout.

    A package that is installed below somebody's project is not in that project's commits.
    """
    try:
        _git(PACKAGE, "ls-files", "--error-unmatch", "--", "__init__.py")
        head = _git(PACKAGE, "rev-parse", "HEAD")
        return head, bool(_git(PACKAGE, "status", "--porcelain", "--", "."))
    except (OSError, subprocess.SubprocessError):
        return None, None


def _git(folder: Path, *words: str) -> str:
    git = shutil.which("git")
    if git is None:
        raise FileNotFoundError("git")
    # A hook of git exports GIT_DIR and others that point to the repository of the user.
    env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_") or k.startswith("GIT_CONFIG_")}
    done = subprocess.run([git, *words], cwd=folder, env=env, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()


def _code_hash() -> str:
    """A digest of the code that trains: a snapshot of other code is not resumed from."""
    files = sorted(
        file for name in BITS_DEPEND_ON for file in [PACKAGE / name, *(PACKAGE / name).rglob("*.py")] if file.is_file()
    )
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
