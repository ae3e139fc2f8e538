"""What a suite imports of the user's own: which modules it reaches, and where they lie.

A module is local unless it belongs to Python, to the harness or to an installed package.
"""

import ast
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.util import decode_source
from pathlib import Path

from harness.spec.own_code.syntax import parse

PACKAGE = Path(__file__).resolve().parents[2]
PYTHON = [Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")]
PACKAGE_FOLDERS = {"site-packages", "dist-packages"}
IMPORTERS = ("import_module", "__import__")  # functions whose first argument names a module


@dataclass(frozen=True, slots=True)
class ImportGraph:
    """The local modules that a suite reaches: each with its file, and what it imports."""

    files: dict[str, Path]  # module -> its file; none for a folder that is a package without __init__.py
    local: dict[str, set[str]]  # module, "" for the suite -> the local modules that it imports
    installed: dict[str, set[str]]  # likewise -> the installed packages

    def closure(self, starts: Iterable[str]) -> set[str]:
        """All local modules that these import, however far, and those that import these: they may register with them.

        The suite itself links nothing.
        """
        reached: set[str] = set()
        waiting = [*starts]
        while waiting:
            name = waiting.pop()
            if name in reached:
                continue
            reached.add(name)
            waiting += self.local.get(name, ())
            waiting += [other for other, imports in self.local.items() if other and name in imports]
        return reached


def import_graph(text: str, extra: Iterable[str]) -> ImportGraph:
    """What the suite of this text imports, in functions too, and what that imports; `extra` are loaded otherwise."""
    graph = ImportGraph({}, {}, {})
    waiting = [("", text, ""), *((name, None, "") for name in sorted(extra))]
    while waiting:
        name, source, package = waiting.pop()
        if name in graph.local:
            continue
        graph.local[name], graph.installed[name] = set(), set()
        if name:
            file, package = module_file(name), _package_of(name)
            if file is not None:
                graph.files[name] = file
            source = _source(file)
            if parent := name.rpartition(".")[0]:  # it is loaded first
                graph.local[name].add(parent)
                waiting.append((parent, None, ""))
        for imported in imported_names(source or "", package):
            parts = imported.split(".")
            for end in range(1, len(parts) + 1):
                prefix = ".".join(parts[:end])
                spec = _spec(prefix)
                if spec is None or spec.name.partition(".")[0] == PACKAGE.name:
                    break
                if is_local(spec):
                    graph.local[name].add(prefix)
                    waiting.append((prefix, None, ""))
                    continue
                if is_installed(spec):
                    graph.installed[name].add(parts[0])
                break
    return graph


def imported_names(source: str, package: str) -> Iterator[str]:
    """Dotted names that a text imports anywhere; of `from a import b` both a and a.b, which may be no module."""
    try:
        tree = parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # Python will say so when the module is imported
        return
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                base = _absolute(module or "", level, package)
                if base:
                    yield base
                    yield from (f"{base}.{alias.name}" for alias in names if alias.name != "*")
            case ast.Call(args=[ast.Constant(value=str(name)), *_]) if _called(node).endswith(IMPORTERS):
                level = len(name) - len(name.lstrip("."))
                if absolute := _absolute(name[level:], level, package):
                    yield absolute


def _called(call: ast.Call) -> str:
    return ast.unparse(call.func)


def _absolute(name: str, level: int, package: str) -> str:
    """The dotted name that a relative one stands for in a package; empty where there is none."""
    if not level:
        return name
    parents = package.split(".")
    if not package or level > len(parents):
        return ""
    return ".".join([*parents[: len(parents) - level + 1], *([name] if name else [])])


def _package_of(name: str) -> str:
    spec = _spec(name)
    is_package = spec is not None and spec.submodule_search_locations is not None
    return name if is_package else name.rpartition(".")[0]


def _spec(name: str) -> ModuleSpec | None:
    """Where a module lies, which is not loaded for that."""
    module = sys.modules.get(name)
    spec: ModuleSpec | None = getattr(module, "__spec__", None)
    if spec is not None or module is not None:
        return spec
    parent = _spec(name.rpartition(".")[0]) if "." in name else None
    if "." in name and (parent is None or parent.submodule_search_locations is None):
        return None
    path = None if parent is None else [*(parent.submodule_search_locations or ())]
    for finder in sys.meta_path:
        try:
            spec = finder.find_spec(name, path)
        except (AttributeError, ImportError, ValueError):  # an old finder, or none for such a name
            continue
        if spec is not None:
            return spec
    return None


def module_file(name: str) -> Path | None:
    """The file of a module; None of one that has none."""
    spec = _spec(name)
    return None if spec is None or spec.origin is None or not spec.has_location else Path(spec.origin)


def read(file: Path | None) -> bytes | None:
    """What stands in a file, None where it can't be read."""
    try:
        return None if file is None else file.read_bytes()
    except OSError:
        return None


def _source(file: Path | None) -> str:
    """The text of a module; empty where it is none in Python."""
    data = read(file) if file is not None and file.suffix == ".py" else None
    try:
        return "" if data is None else decode_source(data)
    except (SyntaxError, UnicodeDecodeError):
        return ""


def is_local(spec: ModuleSpec) -> bool:
    """Whether a module is the user's own: none of Python's, of the harness's, or of an installed package's."""
    if spec.name.partition(".")[0] in (PACKAGE.name, "__main__", *sys.builtin_module_names):
        return False
    return any(_is_local_path(place) for place in places_of(spec))


def places_of(spec: ModuleSpec) -> list[str]:
    """The file of a module, or the folders of a package that has none."""
    return [spec.origin] if spec.has_location and spec.origin else [*(spec.submodule_search_locations or ())]


@cache
def _is_local_path(place: str) -> bool:
    path = Path(place)
    if PACKAGE_FOLDERS & {*path.parts}:
        return False
    resolved = path.resolve()
    return not (PACKAGE_FOLDERS & {*resolved.parts} or any(resolved.is_relative_to(folder) for folder in PYTHON))


def is_installed(spec: ModuleSpec) -> bool:
    """Whether a module belongs to an installed package."""
    return any(PACKAGE_FOLDERS & {*Path(place).parts} for place in places_of(spec))
