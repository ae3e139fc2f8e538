"""What a disk may hold after a power cut: a model of calls of the operating system, and of what was not synced yet.

A sync of a file makes its content last, a sync of a folder makes the names in it last. Whatever else was done since may
have reached the disk or not, each by itself and in any order; a content that was not synced may be there in part.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from random import Random


@dataclass(frozen=True)
class Call:
    """A call that changed the disk, or (kind "acknowledge") a thing that is said to last from here on."""

    kind: str  # create, content, sync, rename, remove, mkdir, acknowledge
    path: str = ""  # below the folder that is watched
    target: str = ""
    data: bytes = b""


@contextmanager
def recorded(root: Path) -> Iterator[list[Call]]:
    """The calls below a folder that are made in this block, as they are made."""
    calls: list[Call] = []
    opened: dict[int, str] = {}
    original = {name: getattr(os, name) for name in ("open", "close", "fsync", "rename", "replace", "unlink", "mkdir")}

    def relative(path: object) -> str:
        return str(Path(os.fspath(path)).relative_to(root))  # type: ignore[call-overload]

    def content(path: str) -> Call:
        return Call("content", path, data=(root / path).read_bytes())

    def open_(path, flags, *mode, **options):
        descriptor = original["open"](path, flags, *mode, **options)
        if isinstance(path, str | Path) and Path(path).is_relative_to(root):
            opened[descriptor] = relative(path)
            if flags & os.O_CREAT:
                calls.append(Call("create", relative(path)))
        return descriptor

    def fsync(descriptor):
        original["fsync"](descriptor)
        path = opened[descriptor]
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            calls.append(content(path))
        calls.append(Call("sync", path))

    def move(name):
        def moving(source, target, **options):
            calls.append(content(relative(source)))
            original[name](source, target, **options)
            calls.append(Call("rename", relative(source), relative(target)))

        return moving

    def unlink(path, **options):
        original["unlink"](path, **options)
        calls.append(Call("remove", relative(path)))

    def mkdir(path, *mode, **options):
        original["mkdir"](path, *mode, **options)
        calls.append(Call("mkdir", relative(path)))

    changed = {"open": open_, "fsync": fsync, "rename": move("rename"), "replace": move("replace")}
    changed |= {"unlink": unlink, "mkdir": mkdir}
    try:
        for name, function in changed.items():
            setattr(os, name, function)
        yield calls
    finally:
        for name, function in original.items():
            setattr(os, name, function)


@dataclass
class Disk:
    """Names and contents; a folder is a name whose content is None."""

    names: dict[str, int | None] = field(default_factory=lambda: {".": None})  # path -> number of its content
    contents: dict[int, bytes] = field(default_factory=dict)

    def apply(self, call: Call, number: int | None = None) -> None:
        match call.kind:
            case "create" | "mkdir":
                self.names[call.path] = number
            case "rename":
                self.names.pop(call.path, None)
                self.names[call.target] = number
            case "remove":
                self.names.pop(call.path, None)

    def files(self) -> dict[str, bytes]:
        """What can be found: a name in a folder that is not there is lost."""
        found = {}
        for path, number in self.names.items():
            parents = [str(parent) for parent in Path(path).parents]
            if number is not None and all(parent in self.names for parent in parents):
                found[path] = self.contents.get(number, b"")
        return found


@dataclass
class _Pending:
    """A change of a name that is not synced: the call, and which content it is of."""

    call: Call
    number: int | None

    @property
    def folder(self) -> str:
        return str(Path(self.call.target or self.call.path).parent)


def states_after(calls: list[Call], rng: Random, samples: int) -> Iterator[tuple[set[str], dict[str, bytes]]]:
    """For each prefix of the calls, what may be on the disk after a power cut: the names acknowledged, the files.

    Of each prefix all subsets of what is not synced are tried where there are few, or else so many samples of them.
    """
    live, durable, pending = Disk(), Disk(), list[_Pending]()
    synced: set[int] = set()
    acknowledged: set[str] = set()
    numbers = iter(range(10**6))
    yield set(), {}
    for call in calls:
        match call.kind:
            case "acknowledge":
                acknowledged.add(call.path)
            case "content":
                number = live.names[call.path]
                assert number is not None
                live.contents[number] = call.data
            case "sync" if live.names[call.path] is None:
                for change in [change for change in pending if change.folder == call.path]:
                    durable.apply(change.call, change.number)
                    pending.remove(change)
            case "sync":
                number = live.names[call.path]
                assert number is not None
                synced.add(number)
                durable.contents[number] = live.contents[number]
            case _:
                number = next(numbers) if call.kind == "create" else live.names.get(call.path)
                live.apply(call, number)
                pending.append(_Pending(call, number))
        yield from ((set(acknowledged), files) for files in _crashes(live, durable, pending, synced, rng, samples))


def _crashes(
    live: Disk, durable: Disk, pending: list[_Pending], synced: set[int], rng: Random, samples: int
) -> Iterator[dict[str, bytes]]:
    unsynced = [number for number in live.contents if number not in synced]
    choices = [[False, True]] * len(pending) + [[0, 1, 2]] * len(unsynced)
    total = 2 ** len(pending) * 3 ** len(unsynced)
    drawn = product(*choices) if total <= samples else ([rng.choice(c) for c in choices] for _ in range(samples))
    for chosen in drawn:
        disk = Disk(dict(durable.names), dict(durable.contents))
        for change, is_there in zip(pending, chosen, strict=False):
            if is_there:
                disk.apply(change.call, change.number)
        for number, part in zip(unsynced, chosen[len(pending) :], strict=True):
            disk.contents[number] = live.contents[number][: len(live.contents[number]) * part // 2]
        yield disk.files()


def lay_out(files: dict[str, bytes], root: Path) -> None:
    """Write what a disk holds into a folder."""
    for path, data in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
