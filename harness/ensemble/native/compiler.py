"""The C++ compiler of this machine, and one call of it."""

import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import BuildError, NoCompilerError

VARIABLE = "CXX"  # as make and CMake read it
COMMANDS = ("c++", "g++", "clang++")
# No -ffast-math: NaN and infinity are results here. Products and sums are fused alike by g++ and clang++, whose own
# defaults differ.
FLAGS = ("-O3", "-std=c++17", "-shared", "-fPIC", "-fno-math-errno", "-ffp-contract=fast", "-pthread")
TIMEOUT = 120.0  # seconds
VERSION_TIMEOUT = 20.0  # seconds
SLOWER = "small models train several times slower"
COMPILER_REMEDY = "install g++ (9 or later) or clang++"
DISK_ERRORS = ("No space left on device", "Disk quota exceeded", "Read-only file system")


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiler:
    """A command that compiles C++, and the first line of what it says of its version."""

    command: tuple[str, ...]
    version: str


def find_compiler() -> Compiler:
    """The compiler that CXX names, or the first of c++, g++ and clang++ that runs; NoCompilerError without any."""
    given = os.environ.get(VARIABLE, "").strip()
    for words in [_split(given)] if given else [[command] for command in COMMANDS]:
        path = shutil.which(words[0]) if words else None
        version = _version([path, *words[1:]]) if path else ""
        if path and version:
            return Compiler(command=(path, *words[1:]), version=version)
    if given:
        raise NoCompilerError(
            f"{VARIABLE}={given!r} is no compiler that runs here: {SLOWER}; unset it, or {COMPILER_REMEDY}"
        )
    raise NoCompilerError(f"no C++ compiler: {SLOWER}; {COMPILER_REMEDY}")


def _split(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:  # a quote is missing
        return []


def _version(command: Sequence[str]) -> str:
    """The first line of its version, "" where it does not run."""
    try:
        done = subprocess.run(
            [*command, "--version"],
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=VERSION_TIMEOUT,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return _printable(next(iter(done.stdout.decode(errors="replace").splitlines()), ""))


def compile_library(compiler: Compiler, flags: Sequence[str], source: Path, output: Path) -> None:
    """Compile a source to a shared library; BuildError where that fails, OSError where its folder can't be written.

    Whatever the compiler leaves lies in the folder of `output`, which must be for it alone.
    """
    process = subprocess.Popen(
        [*compiler.command, *flags, "-o", str(output), str(source)],
        env=_environment() | {"TMPDIR": str(output.parent)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,  # not a file: the disk may be full
        start_new_session=True,  # so that the processes that it starts can be ended with it
    )
    with process:
        try:
            said = process.communicate(timeout=TIMEOUT)[1].decode(errors="replace")
        except subprocess.TimeoutExpired:
            raise _failure(compiler, f"took over {TIMEOUT:.0f} s for {source.name}") from None
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
    code = process.returncode
    if code == 0 and output.is_file():
        return
    if any(error in said for error in DISK_ERRORS):
        raise OSError(f"{output.parent.parent} has no room for it")
    if code < 0:
        raise _failure(compiler, f"was killed by {signal.Signals(-code).name} while it compiled {source.name}")
    raise _failure(compiler, f"failed to compile {source.name} ({_error_line(said) or f'exit code {code}'})")


def _failure(compiler: Compiler, what: str) -> BuildError:
    command = shlex.join(compiler.command)
    return BuildError(f"{command} {what}: {SLOWER}; {COMPILER_REMEDY}, or name another compiler in {VARIABLE}")


def _error_line(said: str) -> str:
    """The line that says what is wrong."""
    lines = [line for line in said.splitlines() if "error" in line.lower()] or said.splitlines()
    return _printable(next(iter(lines), ""))


def _printable(line: str) -> str:
    """A line of another program's as a message may hold it."""
    return "".join(filter(str.isprintable, line)).strip()[:200]


def _environment() -> dict[str, str]:
    """This process's own, in English, so that messages can be read."""
    return {**os.environ, "LC_ALL": "C"}
