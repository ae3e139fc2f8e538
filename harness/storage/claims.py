"""Claims of processes on parts of the work in a results folder that several hosts may share.

A claim is a file that one process alone can have made (O_EXCL, which NFS keeps too), and that its owner touches now and
then. When that has not happened for long, or its process is known to be gone, the claim is stale, and who first makes
the file with the next number has taken it over: a name is never won twice. All of this saves work and nothing else: who
was suspended may wake up and go on beside its successor, and of two records of a trial the first stands.
"""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from harness.errors import MachineError
from harness.io import make_folder, open_regular, parse_object
from harness.storage.owners import Owner, has_died, owner_from_json

HEARTBEAT_SECONDS = 10.0  # between two signs of life
STALE_SECONDS = 60.0  # without a sign of life after which a claim can be taken over
WAIT_SECONDS = 0.2  # between two tries to get a claim that another process holds
MAX_BYTES = 4096  # of a claim


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkClaim:
    """A claim as it was found."""

    name: str
    number: int  # how often it was taken over
    owner: Owner | None  # None where the file does not say: it is just being written
    silence: float  # seconds since its last sign of life, by the clock of the file server
    identity: tuple[int, int]  # changes with the file and with every sign of life

    def is_stale(self, stale_seconds: float = STALE_SECONDS) -> bool:
        """Whether it can be taken over."""
        return self.silence > stale_seconds or (self.owner is not None and has_died(self.owner))


class Claims:
    """The claims that this process holds in a folder; use it through `claims_in`, and `heartbeat`."""

    def __init__(self, folder: Path, owner: Owner, stale_seconds: float = STALE_SECONDS) -> None:
        self.folder, self.owner, self.stale_seconds = folder, owner, stale_seconds
        self._held: dict[str, tuple[int, int]] = {}  # name -> number and descriptor
        self._lock = threading.Lock()

    @property
    def names(self) -> list[str]:
        """What this process holds."""
        return list(self._held)

    def take(self, name: str, now: int | None = None) -> bool:
        """Claim a name that nobody holds, or whose claim is stale; whether this process has it now."""
        if name in self._held:
            return False
        newest = find_claim(self.folder, name, now)
        if newest is not None and not newest.is_stale(self.stale_seconds):
            return False
        number = 0 if newest is None else newest.number + 1
        descriptor = self._create(name, number)
        if descriptor is None:
            return False
        # In the meantime the stale claim may have been released, and the name claimed anew from 0.
        if newest is not None and _identity(_path(self.folder, name, newest.number)) != newest.identity:
            os.close(descriptor)
            with suppress(OSError):
                _path(self.folder, name, number).unlink(missing_ok=True)
            return False
        with self._lock:
            self._held[name] = number, descriptor
        return True

    def release(self, name: str) -> None:
        """Give a name up; one that another process has taken over stays with that one."""
        with self._lock:
            number, descriptor = self._held.pop(name)
        with suppress(OSError):
            os.close(descriptor)
        with suppress(OSError):
            if not _path(self.folder, name, number + 1).exists():
                for earlier in range(number, -1, -1):
                    _path(self.folder, name, earlier).unlink(missing_ok=True)

    def release_all(self) -> None:
        """Give up everything."""
        for name in self.names:
            self.release(name)

    def beat(self) -> None:
        """Give a sign of life for all that is held."""
        with self._lock:
            for _, descriptor in self._held.values():
                with suppress(OSError):  # it was taken over and is gone, or the disk is away: others will take it over
                    os.utime(descriptor)

    def _create(self, name: str, number: int) -> int | None:
        path = _path(self.folder, name, number)
        try:
            make_folder(self.folder)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            descriptor = os.open(path, flags, 0o644)
        except FileExistsError:
            return None
        except OSError as error:
            raise MachineError(f"can't write {path}: {error.strerror} (errno {error.errno})") from error
        with suppress(OSError):  # a claim counts by its name, whatever is in it
            os.write(descriptor, json.dumps(asdict(self.owner)).encode()[:MAX_BYTES])
        with suppress(OSError):
            os.utime(descriptor)  # which also sends it to a file server
        return descriptor


def find_claim(folder: Path, name: str, now: int | None = None) -> WorkClaim | None:
    """The newest claim on a name; None where there is none. `now` is by the clock of the file server."""
    newest, number = None, 0
    while (info := _open_and_stat(_path(folder, name, number))) is not None:
        newest, number = info, number + 1
    if newest is None:
        return None
    identity, data = newest
    now = server_time(folder) if now is None else now
    return WorkClaim(
        name=name,
        number=number - 1,
        owner=_owner(data),
        silence=(now - identity[1]) / 1e9,
        identity=identity,
    )


def claimed_names(folder: Path) -> set[str]:
    """The names on which there are claims, stale ones included."""
    try:
        with os.scandir(folder) as entries:
            files = [entry.name for entry in entries]
    except (FileNotFoundError, NotADirectoryError):
        return set()
    return {file.split(".")[0] for file in files if file.endswith(".json") and not file.startswith(".")}


def remove_claims(folder: Path) -> None:
    """Remove all claims: who calls this knows that nobody is left who made them."""
    with suppress(OSError):
        for path in folder.iterdir():
            path.unlink(missing_ok=True)


@contextmanager
def claims_in(folder: Path, owner: Owner) -> Iterator[Claims]:
    """Claims of this process in a folder; all are released at the end."""
    claims = Claims(folder, owner)
    try:
        yield claims
    finally:
        claims.release_all()


@contextmanager
def hold(claims: Claims | None, name: str, stop: Callable[[], bool]) -> Iterator[bool]:
    """Wait for a claim, or until `stop`; whether this process has it. Who works alone has everything."""
    if claims is None:
        yield True
        return
    while not (is_held := claims.take(name)) and not stop():
        time.sleep(WAIT_SECONDS)
    try:
        yield is_held
    finally:
        if is_held:
            claims.release(name)


class Beating(Protocol):
    """Something that gives signs of life."""

    def beat(self) -> None: ...


@contextmanager
def heartbeat(parts: Sequence[Beating], seconds: float = HEARTBEAT_SECONDS) -> Iterator[None]:
    """A thread that gives signs of life for as long as this lasts."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(seconds):
            for part in parts:
                part.beat()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def server_time(folder: Path) -> int:
    """The time in nanoseconds by the clock that files in this folder are dated with; ours where none can be made."""
    probe = folder / f".{uuid4().hex}.clock"
    try:
        descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    except OSError:
        return time.time_ns()
    try:
        return os.fstat(descriptor).st_mtime_ns
    finally:
        os.close(descriptor)
        probe.unlink(missing_ok=True)


def _path(folder: Path, name: str, number: int) -> Path:
    return folder / f"{name}.{number}.json"


def _identity(path: Path) -> tuple[int, int] | None:
    info = _open_and_stat(path)
    return None if info is None else info[0]


def _open_and_stat(path: Path) -> tuple[tuple[int, int], bytes] | None:
    """What tells a claim from any other, and its content; None where there is none.

    It is opened, because a file server's client may know an old date of it until then.
    """
    try:
        with open_regular(path, max_bytes=MAX_BYTES) as file:
            info = os.fstat(file.fileno())
            return (info.st_ino, info.st_mtime_ns), file.read()
    except FileNotFoundError:
        return None


def _owner(data: bytes) -> Owner | None:
    try:
        return owner_from_json(parse_object(data))
    except ValueError:
        return None
