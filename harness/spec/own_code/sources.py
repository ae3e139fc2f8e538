"""What the models and datasets of a suite's own are made from: the text of the suite, local modules, packages, data.

It is part of the trial. Each part has a digest: the code of the suite without its docstring and the declaration, the
text of each local module that the model or dataset can reach, the version of each installed package that these import.
A suite that imports nothing but Python, torch, numpy, scikit-learn and the harness has one part, its own code: versions
of these stand in the fingerprint of the environment.
"""

import ast
import hashlib
import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from importlib.util import decode_source
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.spec.own_code.factories import inline_identity
from harness.spec.own_code.import_graph import ImportGraph, module_file, read

IN_FINGERPRINT = ("torch", "numpy", "sklearn")
Parts = Mapping[str, str]  # a file, a package, or what is given to a function -> a digest or a version


def digest_of(parts: Parts) -> str:
    """One digest for all parts; where there is a single one, its own."""
    if len(parts) == 1:
        return next(iter(parts.values()))
    first, *others = parts.values()
    names = [*parts][1:]  # the first is the suite, whatever its name
    return digest(json.dumps([first, *sorted(zip(names, others, strict=True))]))


def digest(content: str | bytes) -> str:
    """The first letters of a checksum."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()[:16]


def function_parts(
    name: str, function: Callable[..., Any], text: str, tree: ast.Module, module: ModuleType, graph: ImportGraph
) -> dict[str, str]:
    """The parts of a model or dataset that is a function of the suite's own."""
    code = [source_text(text, node) for node in tree.body if not is_declaration(node)]
    parts = {Path(str(module.__file__)).name: digest("\n".join(code))}
    everything = {other for other in graph.local if other}
    home = _home(function)
    is_narrow = home in everything and _links_nothing(tree)
    reached = graph.closure({home}) if is_narrow else everything
    for other in sorted(reached):
        if (file := graph.files.get(other)) is not None:
            parts[_label(other, file)] = digest(_comparable(file))
    parts |= package_parts(package for other in ("", *reached) for package in graph.installed[other])
    if identity := inline_identity(name, function, module, text):
        parts["what it is given"] = digest(identity)
    return parts


def digests_of_modules(graph: ImportGraph) -> dict[str, str]:
    """Local module -> digest of its file."""
    return {name: digest(_comparable(file)) for name, file in sorted(graph.files.items())}


def digest_of_module(name: str) -> str:
    """The digest of the file of a module as it is now; empty where it has none."""
    return "" if (file := module_file(name)) is None else digest(_comparable(file))


def _home(function: Callable[..., Any]) -> str:
    """The module at whose top level a function or class stands under its own name; else none."""
    if not inspect.isfunction(function) and not inspect.isclass(function):
        return ""
    home = inspect.getmodule(function)
    is_plain = getattr(home, function.__qualname__, None) is function and not hasattr(function, "__wrapped__")
    return str(function.__module__) if is_plain else ""


def _links_nothing(tree: ast.Module) -> bool:
    """Whether a suite does no more than import, define and name things: it can't change one module by another."""
    for node in tree.body:
        if is_declaration(node) or isinstance(node, ast.Import | ast.ImportFrom):
            continue
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.decorator_list:
            continue
        is_constant = isinstance(node, ast.Assign) and all(isinstance(target, ast.Name) for target in node.targets)
        if not is_constant or any(isinstance(part, ast.Call) for part in ast.walk(node)):
            return False
    return True


def _label(name: str, file: Path) -> str:
    """A module as it is written in messages, the same on every machine: nets.py, nets/__init__.py."""
    path = name.replace(".", "/")
    return f"{path}/{file.name}" if file.stem == "__init__" else f"{path}{file.suffix}"


def _comparable(file: Path) -> bytes:
    """What stands in a file; of a text, with the same ends of lines on every machine."""
    data = read(file) or b""
    try:
        return decode_source(data).encode() if file.suffix == ".py" else data
    except (SyntaxError, UnicodeDecodeError):
        return data


def package_parts(packages: Iterable[str]) -> dict[str, str]:
    """Installed package -> its version, but for those whose versions stand in the fingerprint."""
    return {package: _version(package) for package in sorted({*packages} - {*IN_FINGERPRINT})}


@cache
def _version(package: str) -> str:
    """The version of an installed package, by the name that it is imported by; of a lone file, its digest."""
    for name in (package, *packages_distributions().get(package, ())):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    file = module_file(package)
    return digest(_comparable(file)) if file is not None else "unknown"


def source_text(text: str, node: ast.stmt) -> str:
    """A statement as it is written, its decorators included."""
    parts = [*getattr(node, "decorator_list", []), node]
    return "\n".join(ast.get_source_segment(text, part) or "" for part in parts)


def is_declaration(node: ast.AST) -> bool:
    """Whether a statement is the docstring or the declaration of a suite: the code digest leaves these out."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return any(isinstance(target, ast.Name) and target.id == "suite" for target in targets)
