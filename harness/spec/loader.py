"""Suite files: found by path, run as the Python that they are, and refused in one line where they are wrong."""

import ast
import errno
import hashlib
import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from harness.errors import NO_ERRORS, HarnessError, SuiteError, error_line
from harness.spec.suite import Suite
from harness.spec.trial import Trial
from harness.text import lost_in_tables


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteFile:
    """A suite and the file that it stands in."""

    suite: Suite
    name: str  # of the file without .py, and of the folder under results/
    path: Path
    question: str  # the docstring
    sources: Mapping[str, str]  # model or dataset that the suite brings -> digest of it

    def trials(self, *, device: str) -> Iterator[Trial]:
        """Every trial of the suite once, "auto" resolved to `device`."""
        return self.suite.trials(device=device, sources=self.sources)


ALL = "all"  # in the place of a suite's name: every suite of that folder


def load_suites(paths: Iterable[str | Path]) -> list[SuiteFile]:
    """The suites at these paths, in their order; `suites/all` stands for every suite in suites/, by name.

    Raises SuiteError as `load_suite` does, and where two suites would share a results folder.
    """
    suites: dict[str, SuiteFile] = {}
    for file in (file for path in paths for file in _expand(Path(path))):
        suite = load_suite(file)
        if suites.setdefault(suite.name, suite).path != suite.path:
            raise SuiteError(
                one_line(f"{suites[suite.name].path} and {file} share the name {suite.name!r}, and so a results folder")
            )
    return list(suites.values())


def _expand(path: Path) -> list[Path]:
    """The file that a path names, or those of a whole folder."""
    if path.name != ALL or path.with_suffix(".py").exists():
        return [path]
    if files := sorted(path.parent.glob("*.py")):
        return files
    raise SuiteError(one_line(f"no suite in {path.parent}/; {path} stands for all suites in that folder"))


def load_suite(path: str | Path) -> SuiteFile:
    """Run the suite file at `path`, with or without .py, and return what it declares.

    Running a suite is running its author's program. Raises SuiteError with the file, the line and the reason.
    """
    file = _find_file(Path(path))
    text = _read_text(file)
    suite = getattr(_execute(file, text), "suite", None)
    if not isinstance(suite, Suite):
        raise SuiteError(one_line(f"{file}: declares no suite; it must say `suite = Suite(...)`"))
    tree = ast.parse(text)
    return SuiteFile(
        suite=suite,
        name=file.stem,
        path=file,
        question=one_line(re.split(r"\n\s*\n", ast.get_docstring(tree) or file.stem)[0]),
        sources=_source_digests(
            suite, [_source_of(text, node) for node in tree.body if not _is_declaration(node)], file
        ),
    )


def _find_file(path: Path) -> Path:
    candidates = [path, path.parent / f"{path.name}.py"]
    for candidate in candidates:
        if candidate.suffix == ".py" and os.path.isfile(candidate):  # noqa: PTH113 (Path fails on a long name)
            if re.search("[\ud800-\udfff]", str(candidate)):  # bytes that are no text: no table could hold them
                raise SuiteError(f"the name of {candidate} is no text in UTF-8; rename it")
            if reason := lost_in_tables(candidate.stem):
                raise SuiteError(f"{reason}; rename {candidate}")
            return candidate
    near = sorted(p.stem for p in path.parent.glob("*.py")) if os.path.isdir(path.parent) else []  # noqa: PTH112
    there = f"; suites in {path.parent}/: {', '.join(near)}" if near else ""
    folder = f"; {path / ALL} stands for all suites in that folder" if os.path.isdir(path) else ""  # noqa: PTH112
    raise SuiteError(one_line(f"no suite file {candidates[-1]}{there}{folder}"))


def _read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")  # Python passes over a byte order mark too
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise
        raise SuiteError(one_line(f"{file}: can't be read: {error.strerror}")) from error
    except UnicodeDecodeError as error:
        raise SuiteError(one_line(f"{file}: is not a text in UTF-8 ({error.reason} at byte {error.start})")) from error


def _execute(file: Path, text: str) -> ModuleType:
    """The module that the suite file makes; every error of the file in one line."""
    module = ModuleType(f"suite_{file.stem}")
    module.__file__ = str(file)
    sys.modules[module.__name__] = module  # classes of the file are found by name, as pickle and inspect do
    try:
        exec(compile(text, str(file), "exec"), module.__dict__)  # noqa: S102 (a suite is a program)
    except HarnessError as error:
        raise SuiteError(one_line(f"{_location(error, file)}: {error}")) from error
    except NO_ERRORS:
        raise
    except BaseException as error:  # a suite may raise anything
        raise SuiteError(one_line(f"{_location(error, file)}: {error_line(error)}")) from error
    return module


def _location(error: BaseException, file: Path) -> str:
    """The suite file and, where it is known, the innermost line of it that the error went through."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    if isinstance(error, SyntaxError) and error.filename == str(file):
        lines.append(error.lineno)
    return f"{file}:{lines[-1]}" if lines else str(file)


def one_line(text: str) -> str:
    """The text on one line."""
    return " ".join(text.split())


def _source_digests(suite: Suite, code: list[str], file: Path) -> dict[str, str]:
    """A digest for each model and dataset that the suite brings, so that a change of it makes new trials."""
    sources = dict.fromkeys(suite.functions, hashlib.sha256("\n".join(code).encode()).hexdigest()[:16])
    for name in (value for grid in suite.grids for value in grid["dataset"]):
        if isinstance(name, str) and name.endswith(".npz"):
            sources[name] = _file_digest(file.parent / name)
    return sources


def _file_digest(data: Path) -> str:
    if not os.path.isfile(data):  # noqa: PTH113 (Path fails on a long name)
        raise SuiteError(one_line(f"dataset {data.name!r}: no file {data} (paths count from the suite's folder)"))
    try:
        return hashlib.sha256(data.read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise SuiteError(one_line(f"dataset {data.name!r}: can't read {data}: {error.strerror}")) from error


def _source_of(text: str, node: ast.stmt) -> str:
    """A statement as it is written, its decorators included."""
    parts = [*getattr(node, "decorator_list", []), node]
    return "\n".join(ast.get_source_segment(text, part) or "" for part in parts)


def _is_declaration(node: ast.AST) -> bool:
    """Whether a statement is the docstring or the declaration of a suite: the code digest leaves these out."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return any(isinstance(target, ast.Name) and target.id == "suite" for target in targets)
