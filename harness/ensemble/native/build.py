"""The native library of this machine, compiled unless there is one already; whoever can't have it trains without.

Nothing here needs torch, so that a supervisor can have it built while its workers still load torch.
"""

import ctypes
import hashlib
import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness.ensemble.native.cache import (
    cache_folders,
    draft_folder,
    find_library,
    lock,
    mark_used,
    note_failure,
    prepare_folder,
    recent_failure,
    remove_unused,
    store_library,
)
from harness.ensemble.native.compiler import FLAGS, SLOWER, Compiler, compile_library, find_compiler
from harness.ensemble.native.targets import Target, best_target
from harness.errors import BuildError

SWITCH = "HARNESS_NATIVE"  # "0": do without
SOURCE = Path(__file__).parent / "kernels.cpp"
CACHE_REMEDY = "set XDG_CACHE_HOME to a folder that is yours alone"
PREBUILT = Path(__file__).parent / "prebuilt"  # what `prebuild.py` has put into an installed package
SCALARS = ("float", "double")  # of C++


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """A library that is loaded, and how it came about."""

    handle: ctypes.CDLL
    path: Path
    target: Target
    compiler: str  # its version; "" where the library came with the package
    seconds: float | None  # that it took to compile; None where it was there already
    refused: tuple[str, ...] = ()  # better folders for it, and why they could not be used


def load(scalar: str, source: Path = SOURCE) -> ctypes.CDLL:
    """The library for numbers of type "float" or "double"; BuildError, one line for the user, where there is none."""
    library = library_or_error(scalar, source)
    if isinstance(library, BuildError):
        raise library
    return library.handle


def is_switched_off() -> bool:
    """Whether the user wants no native library."""
    return os.environ.get(SWITCH) == "0"


@cache
def library_or_error(scalar: str, source: Path = SOURCE) -> Library | BuildError:
    """The library that this process uses, or why there is none: a process tries it once."""
    try:
        return open_library(scalar, source)
    except BuildError as error:
        return error


def absence_note(scalar: str) -> str:
    """One line for a user whose models train without the library; "" where it is there, or is not wanted."""
    library = None if is_switched_off() else library_or_error(scalar)
    return str(library) if isinstance(library, BuildError) else ""


@cache
def start_building(source: Path = SOURCE) -> None:
    """Have the library compiled in the background, for both types at once; a process that loads it waits for that."""
    for scalar in SCALARS if source.exists() else ():
        with suppress(RuntimeError):  # no thread to be had: it is compiled when it is loaded
            threading.Thread(target=library_or_error, args=(scalar, source), daemon=True).start()


def open_library(scalar: str, source: Path = SOURCE, prebuilt: Path = PREBUILT) -> Library:
    """The library from the package, from the user's cache, or compiled just now; BuildError where that all fails."""
    if is_switched_off():
        raise BuildError(f"the native library is switched off by {SWITCH}=0: {SLOWER}; unset it")
    target = best_target()
    name = library_name(scalar, source, target)
    if shipped := find_library(prebuilt, name, is_private=False):
        with suppress(OSError):  # built for another system
            return Library(handle=ctypes.CDLL(str(shipped)), path=shipped, target=target, compiler="", seconds=None)
    compiler, refused = find_compiler(), []
    name += f"-{_digest(*compiler.command, compiler.version)[:8]}"
    for folder in cache_folders():
        try:
            prepare_folder(folder)
            path, seconds = _find_or_build(folder, name, compiler, library_flags(scalar, target), source)
            handle = ctypes.CDLL(str(path))
        except OSError as error:  # a folder of another's, a full disk, a mount that lets nothing run
            refused.append(" ".join(str(error).split()))
            continue
        version, because = compiler.version, tuple(refused)
        return Library(handle=handle, path=path, target=target, compiler=version, seconds=seconds, refused=because)
    reasons = ", ".join(refused) or "no folder to keep it in"
    raise BuildError(f"the native library can't be kept ({reasons}): {SLOWER}; {CACHE_REMEDY}")


def library_flags(scalar: str, target: Target) -> tuple[str, ...]:
    """All that the compiler is told besides names of files."""
    assert scalar in SCALARS, f"{scalar!r} is none of {SCALARS}"
    return (*FLAGS, f"-DSCALAR={scalar}", *target.flags)


def library_name(scalar: str, source: Path, target: Target) -> str:
    """What a library is called, whoever compiles it: by what it is for, and by its source and flags."""
    try:
        text = source.read_text("utf-8")
    except OSError as error:
        raise BuildError(f"can't read {source}: {error.strerror}: {SLOWER}; reinstall the package") from error
    return f"{source.stem}-{scalar}-{target.name}-{_digest(text, *library_flags(scalar, target))[:16]}"


def _digest(*parts: str) -> str:
    return hashlib.sha256(os.fsencode("\0".join(parts))).hexdigest()


def _find_or_build(
    folder: Path, name: str, compiler: Compiler, flags: tuple[str, ...], source: Path
) -> tuple[Path, float | None]:
    """The library in this folder, and the seconds that compiling it took, if it was."""

    def is_decided() -> bool:
        return bool(find_library(folder, name) or recent_failure(folder, name))

    with lock(folder, name, is_decided):
        if library := find_library(folder, name):
            mark_used(library)
            return library, None
        if error := recent_failure(folder, name):
            raise BuildError(error)
        started = time.monotonic()
        remove_unused(folder)
        with draft_folder(folder) as draft:
            try:
                compile_library(compiler, flags, source, draft / "library.so")
            except BuildError as error:
                note_failure(folder, name, str(error))
                raise
            return store_library(folder, name, draft / "library.so"), time.monotonic() - started
