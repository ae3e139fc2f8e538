"""Suite files: found by path, run as the Python that they are, and refused in one line where they are wrong."""

import ast
import errno
import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType

from harness.errors import NO_ERRORS, HarnessError, SuiteError, error_line, probably_meant
from harness.spec.looks import AddedSeeds, added_trials
from harness.spec.own_code.data_files import data_digest, is_data_file
from harness.spec.own_code.import_graph import ImportGraph
from harness.spec.own_code.local_modules import importing, take_late_imports
from harness.spec.own_code.sources import Parts, digest_of, digest_of_module, digests_of_modules, function_parts
from harness.spec.own_code.syntax import parse
from harness.spec.own_training.command import file_parts
from harness.spec.own_training.own_trial import AnyTrial
from harness.spec.suite import Suite, own_names, source_of
from harness.spec.suite_files.declared import SUFFIX, Declared, read_declared
from harness.spec.suite_files.shipped import shipped_suites
from harness.text import lost_in_tables


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteFile:
    """A suite and the file that it stands in."""

    suite: Suite
    name: str  # of the file without .py, and of the folder under results/
    path: Path
    question: str  # the docstring
    parts: Mapping[str, Parts]  # model or dataset that the suite brings -> what it is made from
    sources: Mapping[str, str]  # likewise -> one digest of these
    modules: Mapping[str, str]  # local module that the suite reaches -> digest of its file
    added: Sequence[AddedSeeds] = ()  # by runs that went on until claims were decided
    lrs: Sequence[float] = ()  # likewise, until both edges of usable ranges were seen

    def trials(self, *, device: str) -> Iterator[AnyTrial]:
        """Every trial of the suite once, "auto" resolved to `device`; then those with added seeds."""
        trials = partial(self.suite.trials, device=device, sources=self.sources, lrs=self.lrs)
        of_suite, more = trials(), added_trials(trials, self.added)
        yield from dict.fromkeys([*of_suite, *more]) if self.added else of_suite


SUITES_FOLDER = Path("suites")
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

    A name without a folder is also looked for in suites/, and among the suites that ship.

    Running a suite is running its author's program. Raises SuiteError with the file, the line and the reason.
    """
    file = find_suite(Path(path))
    if file.suffix == SUFFIX:
        return _from_declared(file, read_declared(file))
    text = _read_text(file)
    module, graph = _execute(file, text)
    suite = getattr(module, "suite", None)
    if not isinstance(suite, Suite):
        raise SuiteError(one_line(f"{file}: declares no suite; it must say `suite = Suite(...)`"))
    tree = parse(text)
    parts: dict[str, Parts] = {}
    try:
        for name, function in suite.functions.items():
            parts[name] = function_parts(name, function, text, tree, module, graph) | file_parts(function)
    except SuiteError as error:
        raise SuiteError(one_line(f"{file}: {error}")) from error
    for dataset in (value for grid in suite.grids if not suite.is_own for value in grid["dataset"]):
        if is_data_file(name := str(dataset)) and name not in parts:
            parts[name] = {name: _data_digest(file.parent, name)}
    return SuiteFile(
        suite=suite,
        name=file.stem,
        path=file,
        question=one_line(re.split(r"\n\s*\n", ast.get_docstring(tree) or file.stem)[0]),
        parts=parts,
        sources={name: digest_of(of_one) for name, of_one in parts.items()},
        modules=digests_of_modules(graph),
    )


def _from_declared(file: Path, declared: Declared) -> SuiteFile:
    """A suite that was declared in a notebook. It has no modules: those that it uses were written down with it."""
    return SuiteFile(
        suite=declared.suite,
        name=file.stem,
        path=file,
        question=declared.question,
        parts=declared.parts,
        sources={name: digest_of(of_one) for name, of_one in declared.parts.items()},
        modules={},
    )


def check_unchanged(suite: SuiteFile, trials: Iterable[AnyTrial]) -> None:
    """SuiteError where a trial was planned with another text of what the suite brings than the one that was loaded."""
    for trial in trials:
        if source_of(suite.sources, trial.content) != trial.source:
            own = own_names(trial.content)
            files = dict.fromkeys(part for name, parts in suite.parts.items() if name in own for part in parts)
            raise SuiteError(
                f"{', '.join(files) or suite.path.name} changed after the run had been planned; start it again"
            )


def check_late_imports(suite: SuiteFile) -> None:
    """SuiteError where making a model or dataset has imported what the suite was not known to import."""
    for name in take_late_imports():
        if name not in suite.modules:
            raise SuiteError(
                f"{suite.path.name} imports {name} by a name that can't be read from its code, while it makes a model "
                "or dataset; import it at the top, so that a change of it makes new trials"
            )
        if digest_of_module(name) != suite.modules[name]:
            raise SuiteError(f"{name} changed after the run had been planned; start it again")


def find_suite(path: Path) -> Path:
    """The file of the suite at `path`, which is not run; SuiteError where there is none."""
    candidates = [path, path.parent / f"{path.name}.py"]
    if is_name := path.parent == Path():  # nothing but a name: then also of suites/, and of the suites that ship
        candidates += [SUITES_FOLDER / f"{path.stem}.py"]
        candidates += [file] if (file := shipped_suites().get(path.stem)) else []
    for candidate in candidates:
        if candidate.suffix in (".py", SUFFIX) and os.path.isfile(candidate):  # noqa: PTH113 (Path fails on a long name)
            if re.search("[\ud800-\udfff]", str(candidate)):  # bytes that are no text: no table could hold them
                raise SuiteError(f"the name of {candidate} is no text in UTF-8; rename it")
            if reason := lost_in_tables(candidate.stem):
                raise SuiteError(f"{reason}; rename {candidate}")
            return candidate
    raise SuiteError(one_line(f"no suite file {candidates[1]}{_suites_there(path, is_name=is_name)}"))


def _suites_there(path: Path, *, is_name: bool) -> str:
    """What could have been meant, as the end of a line: the nearest name, the suites beside it, those that ship."""
    near = sorted(p.stem for p in path.parent.glob("*.py")) if os.path.isdir(path.parent) else []  # noqa: PTH112
    shipped = [*shipped_suites()] if is_name else []
    hint = probably_meant(path.stem, [*near, *shipped])
    there = [f"suites in {path.parent}/: {', '.join(near)}"] if near else []
    there += [f"{path / ALL} stands for all suites in that folder"] if os.path.isdir(path) else []  # noqa: PTH112
    there += [f"suites that ship: {', '.join(shipped)}"] if shipped and not near else []
    return f"; {hint}{'; '.join(there)}".rstrip() if hint or there else ""


def _read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")  # Python passes over a byte order mark too
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise
        raise SuiteError(one_line(f"{file}: can't be read: {error.strerror}")) from error
    except UnicodeDecodeError as error:
        raise SuiteError(one_line(f"{file}: is not a text in UTF-8 ({error.reason} at byte {error.start})")) from error


def _execute(file: Path, text: str) -> tuple[ModuleType, ImportGraph]:
    """The module that the suite file makes, and what it imports; every error of the file in one line."""
    module = ModuleType(f"suite_{file.stem}")
    module.__file__ = str(file)
    sys.modules[module.__name__] = module  # classes of the file are found by name, as pickle and inspect do
    with importing(file, text) as imported:
        try:
            exec(compile(text, str(file), "exec"), module.__dict__)  # noqa: S102 (a suite is a program)
        except HarnessError as error:
            raise SuiteError(one_line(f"{_location(error, file)}: {error}")) from error
        except NO_ERRORS:
            raise
        except BaseException as error:  # a suite may raise anything
            raise SuiteError(one_line(f"{_location(error, file)}: {error_line(error)}")) from error
    return module, imported[0]


def _location(error: BaseException, file: Path) -> str:
    """The suite file and, where it is known, the innermost line of it that the error went through."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    if isinstance(error, SyntaxError) and error.filename == str(file):
        lines.append(error.lineno)
    return f"{file}:{lines[-1]}" if lines else str(file)


def one_line(text: str) -> str:
    """The text on one line."""
    return " ".join(text.split())


def _data_digest(folder: Path, name: str) -> str:
    try:
        return data_digest(folder, name)
    except SuiteError as error:
        raise SuiteError(one_line(str(error))) from error
