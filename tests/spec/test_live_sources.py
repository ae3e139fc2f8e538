"""What a function of a notebook is made from: what it uses is in it, what it does not use is not."""

import functools

import numpy as np
import pytest

from harness.errors import SuiteError
from harness.spec.own_code.live_sources import CODE, live_sources

CELL = """
import functools
import numpy as np

SIZES = {"width": 16, "names": ["a", "b"]}
SHIFT = np.arange(3.0)
UNUSED = 1


def helper(x):
    return x * 2


class Base:
    scale = 2


class Net(Base):
    def __init__(self, width=SIZES["width"]):
        self.width = helper(width)

    @property
    def half(self):
        return self.width // 2

    @staticmethod
    def shifted():
        return [SHIFT[i] for i in range(3)]


def made(bias):
    def inner(inputs):
        return Net(SIZES["width"]), bias

    return inner


net = made(0.5)
partial = functools.partial(net, inputs=3)
"""
CHANGES = {
    "a number in a dictionary": ('"width": 16', '"width": 17'),
    "a text in a list": ('"a", "b"', '"a", "c"'),
    "an array": ("np.arange(3.0)", "np.arange(3.0) + 1"),
    "a helper": ("x * 2", "x * 3"),
    "an attribute of a base class": ("scale = 2", "scale = 3"),
    "a property": ("// 2", "// 3"),
    "what a static method uses": ("SHIFT[i]", "SHIFT[-i]"),
    "a closure": ("made(0.5)", "made(0.6)"),
}


def parts_of(text, tmp_path, name="net"):
    """As a notebook has it: code that stands in no module, and whose source can be read."""
    file = tmp_path / "cell.py"
    file.write_text(text, "utf-8")
    cell = {"__name__": "no_module"}
    exec(compile(text, str(file), "exec"), cell)
    import linecache

    linecache.checkcache(str(file))
    return live_sources(name, cell[name]).parts


@pytest.mark.parametrize("name", ["net", "partial"])
@pytest.mark.parametrize("change", CHANGES)
def test_whatever_a_function_uses_is_part_of_it(change, name, tmp_path):
    before = parts_of(CELL, tmp_path, name)
    assert parts_of(CELL, tmp_path, name) == before
    assert parts_of(CELL.replace("UNUSED = 1", "UNUSED = 2"), tmp_path, name) == before
    assert parts_of(CELL.replace(*CHANGES[change]), tmp_path, name)[CODE] != before[CODE]


def test_what_is_given_to_a_partial_is_part_of_it(tmp_path):
    assert parts_of(CELL, tmp_path, "partial") != parts_of(CELL.replace("inputs=3", "inputs=4"), tmp_path, "partial")


def test_an_object_of_which_nobody_can_tell_what_it_holds_is_refused():
    opened = iter([1])

    def net():
        return next(opened)

    with pytest.raises(SuiteError, match="nobody can tell what 'net' is made from: it uses opened, a list_iterator"):
        live_sources("net", _as_written_in_a_notebook(net))


def test_packages_are_part_of_it_by_their_versions_and_local_modules_by_their_files(tmp_path, monkeypatch):
    (tmp_path / "my_layers.py").write_text("WIDTH = 3\n", "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    text = "import pandas as pd\nimport my_layers\n\n\ndef net():\n    return pd.DataFrame, my_layers.WIDTH\n"
    before = parts_of(text, tmp_path)
    assert set(before) == {CODE, "my_layers", "pandas"}
    (tmp_path / "my_layers.py").write_text("WIDTH = 4\n", "utf-8")
    after = parts_of(text, tmp_path)
    assert {part for part in before if before[part] != after[part]} == {"my_layers"}


def _as_written_in_a_notebook(function):
    function.__module__ = "no_module"
    return function


def test_arrays_of_numpy_are_known_by_what_they_hold():
    def use(array):
        function = functools.partial(_as_written_in_a_notebook(lambda: None), array)
        return live_sources("net", function).parts

    assert use(np.zeros(3)) == use(np.zeros(3)) != use(np.zeros(4))


def test_functions_of_a_program_that_was_started_as_a_module_are_known_by_their_code(monkeypatch):
    """`python -m tool` gives __main__ a spec; its functions stand in no module that another process could import."""
    import sys
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    main = ModuleType("__main__")
    main.__spec__ = ModuleSpec("tool", None)
    monkeypatch.setitem(sys.modules, "__main__", main)

    def one():
        return 1

    def two():
        return 2

    for function in (one, two):
        function.__module__, function.__qualname__ = "__main__", "net"
    assert live_sources("net", one).parts != live_sources("net", two).parts
