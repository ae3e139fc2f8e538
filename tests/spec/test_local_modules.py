"""Modules that a suite imports from beside it: found from everywhere, part of its trials, kept apart from others'."""

import sys
import textwrap
from importlib.metadata import version

import pytest

from harness.errors import SuiteError
from harness.spec.loader import check_late_imports, check_unchanged, load_suite

SUITE = '''"""Which is better?"""

from harness import Suite
{code}
suite = Suite(dataset="digits", standardize=False, model=[{models}, "mlp-8"], lr=0.1, batch_size=7, steps=5)
'''
NET = "WIDTH = 8\n\n\ndef net(inputs, classes):\n    return WIDTH\n"


@pytest.fixture(autouse=True)
def forget_modules():
    """No test leaves modules behind."""
    before = {*sys.modules}
    yield
    for name in {*sys.modules} - before:
        del sys.modules[name]


def write(folder, **files):
    """Write modules by their paths without .py."""
    for name, text in files.items():
        path = folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), "utf-8")


def suite_in(folder, code="from nets import net", models="net"):
    write(folder, suite=SUITE.format(code=textwrap.dedent(code), models=models))
    return folder / "suite.py"


def keys_of(path):
    return {trial.model: trial.key for trial in load_suite(path).trials(device="cpu")}


def changed(path, folder, **files):
    """The models whose trials are others, once these files have changed."""
    before = keys_of(path)
    write(folder, **files)
    after = keys_of(path)
    return {name for name in before if before[name] != after[name]}


def test_a_module_is_found_beside_the_suite_from_any_folder(tmp_path, monkeypatch):
    write(tmp_path / "a", nets=NET)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load_suite(suite_in(tmp_path / "a")).suite.functions["net"](2, 2) == 8


IMPORTS = {  # how it is written -> the suite, the files, the one that is edited, and what is put into it
    "from": ("from nets import net", {"nets": NET}, "nets"),
    "import as": ("import nets as n\nnet = n.net", {"nets": NET}, "nets"),
    "through another": ("from nets import net", {"nets": "from base import W\n" + NET, "base": "W = 1"}, "base"),
    "of a package": ("from pkg.nets import net", {"pkg/nets": NET, "pkg/__init__": ""}, "pkg/nets"),
    "what a package begins with": (
        "from pkg.nets import net",
        {"pkg/nets": NET, "pkg/__init__": ""},
        "pkg/__init__",
    ),
    "of a folder": ("from pkg.nets import net", {"pkg/nets": NET}, "pkg/nets"),
    "relative": (
        "from pkg.nets import net",
        {"pkg/nets": "from . import base\nfrom .base import W\n" + NET, "pkg/base": "W = 1"},
        "pkg/base",
    ),
    "in a function": (
        "def net(inputs, classes):\n    from nets import net\n    return net(inputs, classes)",
        {"nets": NET},
        "nets",
    ),
    "in a function of a module": (
        "from nets import net",
        {"nets": "def net(inputs):\n    import base\n    return base", "base": "W = 1"},
        "base",
    ),
    "by importlib": (
        "import importlib\ndef net(inputs):\n    return importlib.import_module('nets').net(inputs, 2)",
        {"nets": NET},
        "nets",
    ),
    "by importlib and a computed name": (
        "import importlib\nnet = importlib.import_module('ne' + 'ts').net",
        {"nets": NET},
        "nets",
    ),
    "all names": ("from nets import *", {"nets": NET}, "nets"),
    "where it may be missing": (
        "try:\n    from nets import net\nexcept ImportError:\n    net = None",
        {"nets": NET},
        "nets",
    ),
    "what registers": (
        "from nets import net",
        {"nets": NET, "more": "import nets\nnets.WIDTH = 9"},
        "more",
    ),
}


@pytest.mark.parametrize("case", IMPORTS)
def test_what_is_imported_is_part_of_the_trials_that_use_it_and_of_no_others(case, tmp_path):
    code, files, edited = IMPORTS[case]
    if case == "what registers":
        code = f"import more\n{code}"
    write(tmp_path, **files)
    path = suite_in(tmp_path, code)
    assert changed(path, tmp_path, **{edited: files[edited] + "\nMORE = 1\n"}) == {"net"}
    assert changed(path, tmp_path, **{edited: files[edited] + "\nMORE = 1\n"}) == set()


def test_an_edit_of_the_same_length_in_the_same_second_is_seen(tmp_path):
    write(tmp_path, nets=NET)
    path = suite_in(tmp_path)
    assert load_suite(path).suite.functions["net"](2, 2) == 8
    write(tmp_path, nets=NET.replace("8", "9"))
    assert load_suite(path).suite.functions["net"](2, 2) == 9


def test_a_module_that_nothing_imports_renames_no_trial(tmp_path):
    write(tmp_path, nets=NET, other="A = 1")
    assert changed(suite_in(tmp_path), tmp_path, other="A = 2") == set()


def test_an_import_that_is_gone_is_no_longer_part_of_a_trial(tmp_path):
    write(tmp_path, nets=NET, other="A = 1")
    before = keys_of(suite_in(tmp_path))
    keys_of(suite_in(tmp_path, "import other\nfrom nets import net"))
    assert keys_of(suite_in(tmp_path)) == before


def test_models_of_modules_that_have_nothing_in_common_are_stale_each_by_itself(tmp_path):
    write(tmp_path, nets=NET, others="def other(inputs):\n    return 1\n")
    path = suite_in(tmp_path, "from nets import net\nfrom others import other", "net, other")
    assert changed(path, tmp_path, others="def other(inputs):\n    return 2\n") == {"other"}


@pytest.mark.parametrize(
    "link",
    ["nets.WIDTH = others.A", "other = others.wrap(net)"],
    ids=["assigns", "calls"],
)
def test_models_that_the_suite_links_are_stale_together(link, tmp_path):
    write(tmp_path, nets=NET, others="A = 1\n\n\ndef wrap(f):\n    return f\n")
    path = suite_in(tmp_path, f"import nets\nimport others\nfrom nets import net\n{link}")
    assert changed(path, tmp_path, others="A = 2\n\n\ndef wrap(f):\n    return f\n") == {"net"}


def test_a_suite_that_imports_nothing_of_its_own_keeps_the_key_that_it_has_had(tmp_path):
    path = suite_in(tmp_path, "import math\n\nimport numpy\n\ndef net(inputs, classes):\n    return math.pi")
    (net,) = [trial for trial in load_suite(path).trials(device="cpu") if trial.model == "net"]
    assert (net.source, net.key) == ("448f6df1e835b3e9", "be4907eca6261a88")


def test_two_suites_with_modules_of_one_name_get_each_its_own(tmp_path):
    for name, width in (("a", 3), ("b", 5)):
        write(tmp_path / name, nets="from base import WIDTH\n\n\ndef net(inputs):\n    return WIDTH\n")
        write(tmp_path / name, base=f"WIDTH = {width}")
    paths = [suite_in(tmp_path / name) for name in ("a", "b", "a")]
    assert [load_suite(path).suite.functions["net"](2) for path in paths] == [3, 5, 3]


def test_a_module_that_the_program_has_from_elsewhere_stands_in_for_none(tmp_path, monkeypatch):
    write(tmp_path / "a", nets=NET.replace("8", "3"))
    write(tmp_path / "b", nets=NET.replace("8", "5"))
    monkeypatch.syspath_prepend(tmp_path / "a")
    monkeypatch.setattr(sys, "meta_path", [finder for finder in sys.meta_path if "Suite" not in type(finder).__name__])
    import nets

    assert nets.WIDTH == 3
    assert load_suite(suite_in(tmp_path / "b")).suite.functions["net"](2, 2) == 5


@pytest.mark.parametrize("name", ["random", "torch"])
def test_a_file_beside_the_suite_stands_in_for_no_module_of_python_or_of_a_package(name, tmp_path):
    write(tmp_path, **{name: "raise SystemExit"}, nets=NET)
    path = suite_in(tmp_path, f"import {name}\nfrom nets import net")
    assert "net" in load_suite(path).suite.functions


def test_the_version_of_an_installed_package_is_part_of_the_trials_whose_code_imports_it(tmp_path):
    write(tmp_path, nets="import jinja2\n" + NET)
    found = load_suite(suite_in(tmp_path))
    assert found.parts["net"].keys() == {"suite.py", "nets.py", "jinja2"}
    assert found.parts["net"]["jinja2"] == version("jinja2")


def test_a_trial_that_was_planned_with_another_text_is_not_trained(tmp_path):
    write(tmp_path, nets=NET)
    path = suite_in(tmp_path)
    planned = [*load_suite(path).trials(device="cpu")]
    check_unchanged(load_suite(path), planned)
    write(tmp_path, nets=NET + "MORE = 1\n")
    with pytest.raises(SuiteError, match=r"nets\.py changed after the run had been planned"):
        check_unchanged(load_suite(path), planned)


LATE = """
def net(inputs):
    from importlib import import_module
    return import_module("ne" + "ts").net(inputs, 2)
"""


def test_what_is_imported_late_by_a_name_that_nobody_can_read_is_refused(tmp_path):
    write(tmp_path, nets=NET)
    found = load_suite(suite_in(tmp_path, LATE))
    check_late_imports(found)
    assert found.suite.functions["net"](2) == 8
    with pytest.raises(SuiteError, match="imports nets by a name that can't be read from its code"):
        check_late_imports(found)


def test_what_is_imported_late_must_be_as_it_was_planned(tmp_path):
    write(tmp_path, nets=NET)
    found = load_suite(suite_in(tmp_path, LATE.replace('"ne" + "ts"', '"nets"')))
    write(tmp_path, nets=NET.replace("8", "9"))
    assert found.suite.functions["net"](2) == 9
    with pytest.raises(SuiteError, match="nets changed after the run had been planned"):
        check_late_imports(found)


def test_a_module_that_is_wrong_is_named_in_one_line(tmp_path):
    write(tmp_path, nets="def net(:\n")
    with pytest.raises(SuiteError, match=r"suite.py:4: SyntaxError.*nets.py") as caught:
        load_suite(suite_in(tmp_path))
    assert len(str(caught.value).splitlines()) == 1
