"""What functions are made from that were written in a notebook or a script: their source, and all that they refer to.

There is no file of a suite whose text could be read. So each function is followed through the names that it uses: other
functions and classes by their source, plain values and arrays by what they hold, local modules by their files,
installed packages by their versions. What is none of these is refused: nobody could tell whether it has changed.
"""

import builtins
import functools
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from harness.errors import SuiteError
from harness.spec.own_code.import_graph import import_graph, imported_names
from harness.spec.own_code.sources import Parts, digest, digests_of_modules, package_parts
from harness.spec.own_training.command import Command
from harness.spec.trial import PLAIN_TYPES

CODE = "code"  # the part that holds what was written in the notebook


@dataclass(slots=True)
class _Walk:
    """What a function refers to, as far as it was followed."""

    name: str  # of the function, for messages
    texts: dict[str, str] = field(default_factory=dict)  # what -> its source or its value
    modules: set[str] = field(default_factory=set)
    seen: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveSources:
    """What a function is made from."""

    parts: Parts  # its code and that of all it uses, local modules, packages
    modules: frozenset[str]  # the local modules among these that are loaded


def live_sources(name: str, function: Callable[..., Any]) -> LiveSources:
    """What the function of this name is made from.

    SuiteError where it uses an object of which nobody can tell what it holds.
    """
    walk = _Walk(name)
    _visit(name, function, walk)
    code = digest("\n".join(f"{what}\n{text}" for what, text in sorted(walk.texts.items())))
    # By calls, since a name that an import statement can't say may be loaded all the same.
    graph = import_graph("\n".join(f"import_module({module!r})" for module in sorted(walk.modules)), ())
    packages = package_parts(package for of_one in graph.installed.values() for package in of_one)
    return LiveSources(
        parts={CODE: code, **digests_of_modules(graph), **packages},
        modules=frozenset(module for module in graph.local if module in sys.modules),
    )


def _visit(what: str, value: Any, walk: _Walk) -> None:
    """Note what a value is made from. `what` is the name that it goes by, and stands for it where it is met again."""
    if isinstance(value, PLAIN_TYPES) or value is Ellipsis:
        walk.texts[what] = repr(value)
        return
    if id(value) in walk.seen:
        walk.texts.setdefault(what, "as above")
        return
    walk.seen.add(id(value))
    match value:
        case ModuleType():
            walk.modules.add(value.__name__)
        case list() | tuple() | set() | frozenset():
            items = sorted(value, key=repr) if isinstance(value, set | frozenset) else value
            for i, item in enumerate(items):
                _visit(f"{what}[{i}]", item, walk)
            walk.texts[what] = f"{type(value).__name__} of {len(value)}"
        case dict():
            for key, item in value.items():
                _visit(f"{what}[{key!r}]", item, walk)
            walk.texts[what] = f"dict of {len(value)}"
        case Command():  # its files are parts of their own
            walk.texts[what] = repr(value.words)
        case functools.partial():
            for part in ("func", "args", "keywords"):
                _visit(f"{what}.{part}", getattr(value, part), walk)
        case MethodType():
            _visit(f"{what}.__self__", value.__self__, walk)
            _visit(f"{what}.__func__", value.__func__, walk)
        case type() | FunctionType() | BuiltinFunctionType() if not _is_written_here(value):
            walk.modules.add(value.__module__ or builtins.__name__)
            walk.texts[what] = f"{value.__module__}.{value.__qualname__}"
        case FunctionType():
            _visit_function(what, value, walk)
        case type():
            _visit_class(what, value, walk)
        case _ if hasattr(value, "__array__"):
            array = value.__array__()
            walk.texts[what] = f"{array.dtype} {array.shape} {digest(array.tobytes())}"
        case _:
            raise SuiteError(
                f"nobody can tell what {walk.name!r} is made from: it uses {what}, a {type(value).__name__}; make it "
                "inside the function, or write the suite to a file"
            )


def _visit_function(what: str, function: FunctionType, walk: _Walk) -> None:
    try:
        walk.texts[what] = inspect.getsource(function)
    except (OSError, TypeError) as error:
        raise SuiteError(f"the source of {what!r} can't be read; define it in a cell or in a file") from error
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    for name, cell in cells.items():
        _visit(name, cell.cell_contents, walk)
    for name in sorted({*_global_names(function.__code__)}):
        if name in function.__globals__:
            _visit(name, function.__globals__[name], walk)
    for name, default in _defaults(function).items():
        _visit(f"{what}({name})", default, walk)
    walk.modules |= set(imported_names(inspect.cleandoc(walk.texts[what]), ""))


def _visit_class(what: str, cls: type, walk: _Walk) -> None:
    """A class by what stands in it: its own source can't be found in every notebook."""
    for base in cls.__bases__:
        _visit(base.__qualname__, base, walk)
    walk.texts[what] = f"class {cls.__qualname__}"
    for name, member in sorted(vars(cls).items()):
        member = getattr(member, "fget", None) or getattr(member, "__func__", member)
        if name in ("__dict__", "__weakref__", "__module__", "__doc__", "__firstlineno__", "__annotations__"):
            continue
        _visit(f"{what}.{name}", member, walk)


def _is_written_here(value: Any) -> bool:
    """Whether a function or class was written in the notebook or script itself, and in no module."""
    module = sys.modules.get(value.__module__ or "")
    is_main = value.__module__ == "__main__"  # also of a program that was started by `python -m`
    is_of_file = module is not None and getattr(module, "__spec__", None) is not None and not is_main
    return isinstance(value, FunctionType | type) and not is_of_file


def _global_names(code: CodeType) -> Iterator[str]:
    """The names that a function looks up outside of itself, and those of functions inside of it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _global_names(constant)


def _defaults(function: FunctionType) -> Mapping[str, Any]:
    parameters = inspect.signature(function).parameters.values()
    return {parameter.name: parameter.default for parameter in parameters if parameter.default is not parameter.empty}
