"""The files that a Python script is made from: what it imports from its own folder, and what that imports."""

import ast
from collections.abc import Iterator
from pathlib import Path


def imported_files(script: Path, home: Path) -> list[Path]:
    """The files below a folder that a script imports; of a package, all of its modules.

    `home` is the folder that Python looks in first. They are found by reading, not by running: an import by a name
    that is computed is not seen.
    """
    seen: set[Path] = set()
    unread = [script]
    while unread:
        file = unread.pop()
        for found in _imports(file, home):
            if found not in seen and found != script:
                seen.add(found)
                unread.append(found)
    return sorted(seen)


def module_file(name: str, home: Path) -> Path | None:
    """The file that `python -m name` runs where it lies below this folder."""
    path = home.joinpath(*name.split("."))
    candidates = (path.with_name(f"{path.name}.py"), path / "__main__.py")
    return next((file for file in candidates if file.is_file()), None)


def _imports(file: Path, home: Path) -> Iterator[Path]:
    """The files below home that this one imports."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, OSError):  # the program will say so when it is run
        return
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        for name in {name.partition(".")[0] for name in names}:
            if (home / f"{name}.py").is_file():
                yield home / f"{name}.py"
            elif (home / name).is_dir():
                yield from (home / name).rglob("*.py")
