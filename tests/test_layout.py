"""The shape of the house: who imports whom, how long things get, and what is never called.

Everything is read from the syntax tree, so an import inside a function counts as much as one at the top.
"""

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import pytest

import harness
from harness.spec.loader import load_suite

REPOSITORY = Path(__file__).parent.parent
PACKAGE = Path(harness.__file__).parent

ONE_FILE_PER_ENTRY = {  # folders that grow by what is added, file by file
    "harness.analysis.claims",
    "harness.cli.verbs",
    "harness.ensemble.backends",
    "harness.execution.executors",
    "harness.reporting.figures",
}
GROUND = {
    "errors",
    "fault_injection",
    "io",
    "text",
    "typed",
    "_version",
}  # modules beside the folders that all of these may import
MAY_IMPORT = {  # part of harness -> the parts directly below it; it may import whatever these may, too
    "ground": set(),
    "rng": {"ground"},
    "spec": {"ground"},
    "storage": {"spec"},
    "data": {"storage", "rng"},
    "nn": {"storage", "rng"},
    "tasks": {"data", "nn"},
    "ensemble": {"tasks"},
    "probes": {"ensemble"},
    "training": {"data", "probes"},
    "export": {"training"},
    "analysis": {"storage"},
    "reporting": {"analysis"},
    "execution": {"export", "reporting"},
    "api": {"execution"},
    "face": {"api"},
    "cli": {"execution", "face"},
}
WITHOUT_TORCH = {"ground", "spec", "storage", "analysis", "reporting"}
PICKLES = {"pickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
NEVER_CALLED = {"eval", "yaml.load", "torch.load", "pandas.read_pickle", "pd.read_pickle", "os.system", "os.popen"}
RUNS_SUITES = "harness.spec.loader"  # the one module whose work it is to run a stranger's code
DECLARES = "harness.spec.suite_files.declared"  # which reads a program's own suite in the processes that train it
OWN_STATES = "harness.execution.own_training.state_files"  # which keeps whatever a suite's own training saves
UNPICKLES = "harness.export.pickles"  # the one form of a trained model that is a pickle, for those who ask for it
FACE = "harness"  # what `import harness` offers; what of it needs torch is imported when it is asked for


@dataclass(frozen=True)
class Module:
    """A module of harness: its dotted name, its text, and whether it is a package's __init__."""

    name: str
    text: str
    is_package: bool = False

    @property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)


def read_modules() -> list[Module]:
    """Every module of the harness that is under test."""
    modules = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = ["harness", *path.relative_to(PACKAGE).with_suffix("").parts]
        is_package = parts[-1] == "__init__"
        modules.append(Module(".".join(parts[:-1] if is_package else parts), path.read_text("utf-8"), is_package))
    return modules


def part_of(name: str) -> str:
    """The part of harness that a dotted name lies in."""
    if name == FACE:
        return "face"
    second = [*name.split("."), ""][1]
    if second == "__main__":
        return "cli"
    if second in GROUND:
        return "ground"
    return second if second in MAY_IMPORT else "face"


def below(part: str) -> set[str]:
    """All parts that a part may import: its own, and those below it however far."""
    return {part}.union(*(below(lower) for lower in MAY_IMPORT[part]))


def imports(module: Module) -> Iterator[str]:
    """Dotted names that a module imports anywhere, those that it asks importlib for included."""
    for node in ast.walk(module.tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=source, names=names, level=level):
                base = module.name.split(".")
                base = base[: len(base) + module.is_package - level] if level else []
                origin = ".".join([*base, *([source] if source else [])])
                yield from (f"{origin}.{alias.name}" for alias in names)
            case ast.Call(args=[ast.Constant(value=str(name)), *_]):
                if called(node) in {"import_module", "importlib.import_module", "__import__"}:
                    yield name


def called(call: ast.Call) -> str:
    """What a call calls, as it is written."""
    return ast.unparse(call.func)


def upward_imports(module: Module) -> Iterator[str]:
    part = part_of(module.name)
    for name in imports(module):
        if name.split(".")[0] == "harness" and part_of(name) not in below(part):
            yield f"{part} imports {name}"


def imports_of_torch(module: Module) -> Iterator[str]:
    if part_of(module.name) in WITHOUT_TORCH:
        yield from (f"imports {name}" for name in imports(module) if name.split(".")[0] == "torch")


def long_files(module: Module) -> Iterator[str]:
    lines = len(module.text.splitlines())
    if lines > 300:
        yield f"{lines} lines"


def long_functions(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = node.end_lineno - node.lineno + 1
            if lines > 60:
                yield f"{node.name} has {lines} lines"


def formatting_switched_off(module: Module) -> Iterator[str]:
    for number, line in enumerate(module.text.splitlines(), start=1):
        if "fmt: " + "skip" in line or "fmt: " + "off" in line:
            yield f"line {number} switches the formatter off"


def pickles(module: Module) -> Iterator[str]:
    if module.name not in (DECLARES, OWN_STATES):
        yield from (f"imports {name}" for name in imports(module) if name.split(".")[0] in PICKLES)


def unsafe_calls(module: Module) -> Iterator[str]:
    never = NEVER_CALLED | {"exec"}
    never -= {RUNS_SUITES: {"exec"}, UNPICKLES: {"torch.load"}}.get(module.name, set())
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call):
            options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            harmless = called(node) == "torch.load" and options.get("weights_only") == "True"
            if called(node) in never and not harmless:
                yield f"line {node.lineno} calls {called(node)}"
            for option in ("shell", "allow_pickle"):
                if options.get(option, "False") != "False":
                    yield f"line {node.lineno} says {option}={options[option]}"
    # Under another name the calls above would go unseen.
    yield from (f"imports {name}" for name in imports(module) if name in NEVER_CALLED)


CHECKS = [upward_imports, imports_of_torch, long_files, long_functions, formatting_switched_off, pickles, unsafe_calls]


def brief(value: object) -> str:
    """The name of a test with this value: a listing of 300 lines isn't one."""
    return getattr(value, "__name__", str(value)[:40])


@pytest.mark.parametrize("check", CHECKS, ids=brief)
def test_harness_keeps_its_shape(check):
    assert [f"{module.name}: {fault}" for module in read_modules() for fault in check(module)] == []


def test_every_folder_has_its_place_in_the_order():
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders == set(MAY_IMPORT) - {"ground", "rng", "face"}
    assert {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__", "rng"} == GROUND & {
        path.stem for path in PACKAGE.glob("*.py")
    }


def test_a_folder_holds_at_most_sixteen_modules_or_one_for_each_entry_of_a_table():
    counts = Counter(module.name.rpartition(".")[0] for module in read_modules() if not module.is_package)
    for folder in ONE_FILE_PER_ENTRY:
        assert counts.pop(folder) > 1, f"{folder} has moved"
    assert {folder: count for folder, count in counts.items() if count > 16} == {}


def test_the_checks_see_every_part():
    assert {part_of(module.name) for module in read_modules()} == set(MAY_IMPORT)


@pytest.mark.parametrize(
    ("check", "name", "text"),
    [
        (upward_imports, "harness.storage.tables", "import harness.reporting.report"),
        (upward_imports, "harness.storage.tables", "from harness import cli"),
        (upward_imports, "harness.storage.tables", "def f():\n    from harness.training.loop import train"),
        (upward_imports, "harness.storage.tables", "importlib.import_module('harness.execution')"),
        (upward_imports, "harness.storage.tables", "from ..training import loop"),
        (upward_imports, "harness.training.loop", "from harness.analysis import stats"),
        (upward_imports, "harness.spec.trial", "from harness.rng import generator"),
        (upward_imports, "harness.nn.models", "from harness.ensemble.optim import update"),
        (upward_imports, "harness.probes.weights", "from harness.training.state import init_state"),
        (upward_imports, "harness.analysis.metrics", "from harness.reporting.tables import trials_table"),
        (upward_imports, "harness.export.load", "from harness.execution.pool import Pool"),
        (upward_imports, "harness.errors", "from harness.spec.trial import Trial"),
        (upward_imports, "harness.training.loop", "from ..execution import runner"),
        (upward_imports, "harness.reporting.report", "from harness.nn.norms import NORMS"),
        (upward_imports, "harness.reporting.report", "import harness.execution"),
        (upward_imports, "harness.execution.runner", "import harness.cli"),
        (upward_imports, "harness", "from harness.cli import main"),
        (upward_imports, "harness.storage.tables", "import harness"),
        (upward_imports, "harness.execution.runner", "from harness import __main__"),
        (imports_of_torch, "harness.analysis.metrics", "import torch"),
        (imports_of_torch, "harness.spec.suite", "def f():\n    import torch.nn as nn"),
        (imports_of_torch, "harness.reporting.figures", "from torch import Tensor"),
        (long_files, "harness.spec.cohorts", "a = 1\n" * 301),
        (long_functions, "harness.spec.cohorts", "def f():\n" + "    a = 1\n" * 60),
        (long_functions, "harness.spec.cohorts", "class A:\n    async def f(self):\n" + "        a = 1\n" * 60),
        (formatting_switched_off, "harness.spec.suite", "a = [1,  2]  # fmt: " + "skip"),
        (pickles, "harness.storage.tables", "import pickle"),
        (pickles, "harness.training.checkpoint", "def f():\n    from joblib import load"),
        (unsafe_calls, "harness.spec.suite", "eval('1')"),
        (unsafe_calls, "harness.spec.suite", "exec('1')"),
        (unsafe_calls, RUNS_SUITES, "eval('1')"),
        (unsafe_calls, "harness.spec.suite", "yaml.load(text)"),
        (unsafe_calls, "harness.cli", "subprocess.run(line, shell=True)"),
        (unsafe_calls, "harness.cli", "os.system(line)"),
        (unsafe_calls, "harness.storage.tables", "np.load(path, allow_pickle=True)"),
        (unsafe_calls, "harness.training.checkpoint", "torch.load(path)"),
        (unsafe_calls, "harness.training.checkpoint", "torch.load(path, weights_only=False)"),
        (unsafe_calls, "harness.training.checkpoint", "from torch import load"),
        (unsafe_calls, UNPICKLES, "eval('1')"),
        (pickles, UNPICKLES, "import pickle"),
    ],
    ids=brief,
)
def test_each_check_can_fail(check, name, text):
    assert list(check(Module(name, text))) != []


@pytest.mark.parametrize(
    ("check", "name", "text"),
    [
        (upward_imports, "harness.cli", "from harness.execution import runner"),
        (upward_imports, "harness.execution.runner", "from harness.training.loop import train"),
        (
            upward_imports,
            "harness.training.loop",
            "from harness.spec.suite import Suite\nfrom ..nn.norms import NORMS\nimport torch",
        ),
        (imports_of_torch, "harness.training.loop", "import torch"),
        (imports_of_torch, "harness.spec.suite", "import torchless"),
        (long_files, "harness.spec.cohorts", "a = 1\n" * 300),
        (long_functions, "harness.spec.cohorts", "def f():\n" + "    a = 1\n" * 59),
        (unsafe_calls, RUNS_SUITES, "exec(code, scope)"),
        (unsafe_calls, UNPICKLES, "torch.load(file, weights_only=False)"),
        (upward_imports, "harness", "def f():\n    from harness.export.load import load_model"),
        (unsafe_calls, "harness.training.checkpoint", "torch.load(path, weights_only=True)"),
        (unsafe_calls, "harness.probes", "model.eval()"),
        (unsafe_calls, "harness.cli", "subprocess.run(words, shell=False)"),
    ],
    ids=brief,
)
def test_the_checks_let_good_code_pass(check, name, text):
    assert list(check(Module(name, text))) == []


def test_reading_results_leaves_torch_out():
    script = "import sys, harness, harness.storage.tables, harness.reporting.report; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_templates_are_installed_with_the_package():
    assert any(files("harness.reporting").joinpath("templates").iterdir())


def test_ci_runs_the_line_that_the_readme_gives_for_the_tests():
    line = (REPOSITORY / ".ci/run").read_text("utf-8").splitlines()[-1]
    assert "-e tests" in line
    assert line in (REPOSITORY / "README.md").read_text("utf-8").splitlines()


def test_the_suite_in_the_readme_is_a_suite(tmp_path):
    _, _, rest = (REPOSITORY / "README.md").read_text("utf-8").partition("```python\n")
    (tmp_path / "example.py").write_text(rest.partition("```")[0], "utf-8")
    assert len(list(load_suite(tmp_path / "example").trials(device="cpu"))) == 3 * 3 * 30
