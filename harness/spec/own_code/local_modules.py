"""Modules of the user's own, which a suite imports: found beside it, from wherever it is run.

Names of Python's own and of installed packages are not to be had there: a file called random.py stands in for nothing.
One suite is loaded at a time: modules of the one before it are dropped from `sys.modules` where they lie in another
folder or have changed on disk, so that no suite gets those of another.
"""

import importlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

from harness.spec.own_code.import_graph import (
    PACKAGE_FOLDERS,
    ImportGraph,
    import_graph,
    is_local,
    module_file,
    places_of,
    read,
)


class _FreshLoader(SourceFileLoader):
    """Compiles a module anew each time: Python's own cache can't tell two texts of one second and length apart."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code


@dataclass(slots=True, eq=False)
class _SuiteFinder:
    """Finds modules in the folder of the suite that was loaded last; Python asks it before it looks elsewhere."""

    folders: list[str] = field(default_factory=list)  # that of the suite, and those that it has put in the path
    suite: tuple[Path, str] | None = None  # the file that was loaded last, and its text
    names: set[str] = field(default_factory=set)  # of local modules that it reaches
    texts: dict[str, bytes] = field(default_factory=dict)  # module -> what stood in its file
    loaded: set[str] = field(default_factory=set)  # modules of any kind, once it was

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Where a module of the suite's own lies; None where it is none."""
        if path is None:
            if not self.folders or name in sys.stdlib_module_names or _is_in_package_folders(name):
                return None
            path = self.folders
        elif not any(_is_below(Path(entry), folder) for entry in path for folder in self.folders[:1]):
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is None:
            return None
        if spec.origin is None and spec.submodule_search_locations is not None:  # a folder without __init__.py
            locations = [*spec.submodule_search_locations]
            spec = ModuleSpec(name, None, is_package=True)
            spec.submodule_search_locations = locations  # those of Python's own follow the path, and so other folders
        elif type(spec.loader) is SourceFileLoader and spec.origin is not None:
            spec.loader = _FreshLoader(name, spec.origin)
        return spec


_FINDER = _SuiteFinder()


@contextmanager
def importing(file: Path, text: str) -> Iterator[list[ImportGraph]]:
    """Let the suite in this file, of this text, be executed; at the end the list holds what it imports."""
    _enter(file.resolve(), text)
    before, paths = {*sys.modules}, {*sys.path}
    imported: list[ImportGraph] = []
    try:
        yield imported
    finally:
        new = {name for name in {*sys.modules} - before if _is_loaded_and_local(name)}
        # Paths that a suite adds are taken away when its process does another job.
        _FINDER.folders += [entry for entry in sys.path if entry not in paths]
        graph = import_graph(text, new | _FINDER.names)
        _FINDER.names.update(name for name in graph.local if name)
        _FINDER.texts = {name: data for name, file in graph.files.items() if (data := read(file)) is not None}
        _FINDER.loaded = {*sys.modules}
        imported.append(graph)


def _enter(file: Path, text: str) -> None:
    """Let modules be found beside this file, and drop those of another suite or of another text."""
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)
    importlib.invalidate_caches()
    is_same = _FINDER.suite == (file, text)
    if not is_same or any(read(module_file(name)) != before for name, before in _FINDER.texts.items()):
        _drop(_FINDER.names)
        _FINDER.suite, _FINDER.names, _FINDER.texts = (file, text), set(), {}
    root = str(file.parent)
    _FINDER.folders = [root]
    for top in [name for name in sys.modules if "." not in name]:
        spec = getattr(sys.modules[top], "__spec__", None)
        # The program itself has a module of this name from elsewhere.
        if spec and is_local(spec) and not _lies_below(spec, root) and _FINDER.find_spec(top):
            _drop(name for name in [*sys.modules] if name.partition(".")[0] == top)


def _drop(names: Iterable[str]) -> None:
    for name in names:
        sys.modules.pop(name, None)


def take_late_imports() -> list[str]:
    """Local modules in the folder of the suite that were imported since it was loaded; each is told once."""
    if not _FINDER.folders:
        return []
    new = {*sys.modules} - _FINDER.loaded
    _FINDER.loaded |= new
    places = {name: sys.modules[name].__spec__ for name in sorted(new) if _is_loaded_and_local(name)}
    return [name for name, spec in places.items() if spec and _lies_below(spec, _FINDER.folders[0])]


def _is_loaded_and_local(name: str) -> bool:
    spec = getattr(sys.modules.get(name), "__spec__", None)
    return spec is not None and is_local(spec)


@cache
def _is_in_package_folders(name: str) -> bool:
    folders = [entry for entry in sys.path if PACKAGE_FOLDERS & {*Path(entry).parts}]
    return PathFinder.find_spec(name, folders) is not None


def _lies_below(spec: ModuleSpec, folder: str) -> bool:
    return any(_is_below(Path(place), folder) for place in places_of(spec))


def _is_below(path: Path, folder: str) -> bool:
    return _resolved(path.absolute()).is_relative_to(folder)


@cache  # asked at every import: the folders of a package are those of all its modules
def _resolved(path: Path) -> Path:
    return path.resolve()
