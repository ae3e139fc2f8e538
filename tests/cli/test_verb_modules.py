"""Verbs: one a file, short, and none built on another. What they share lies in modules of its own."""

import ast
import subprocess
import sys

import pytest

from harness.cli.options import VERBS
from tests.test_layout import Module, imports, read_modules

MOST_LINES = 80  # with code, comments or docstrings


FUNCTIONS = {verb.replace("-", "_") for verb in VERBS}


def verb_modules():
    return [module for module in read_modules() if module.name.startswith("harness.cli.verbs.")]


def imported_verbs(module):
    """Other verbs that a verb imports, whole or a name of theirs."""
    names = {f"harness.cli.verbs.{verb}" for verb in FUNCTIONS} - {module.name}
    return [name for name in imports(module) if any(f"{name}.".startswith(f"{verb}.") for verb in names)]


def lines_of_code(module):
    return sum(bool(line.strip()) for line in module.text.splitlines())


def test_every_verb_is_a_module_with_a_function_of_its_name():
    verbs = {module.name.rpartition(".")[2]: module for module in verb_modules()}
    assert set(verbs) == FUNCTIONS
    for name, module in verbs.items():
        assert name in {node.name for node in module.tree.body if isinstance(node, ast.FunctionDef)}


def test_no_verb_imports_another():
    assert {module.name: imported_verbs(module) for module in verb_modules() if imported_verbs(module)} == {}


def test_no_verb_is_long():
    lengths = {module.name: lines_of_code(module) for module in verb_modules()}
    assert {name: length for name, length in lengths.items() if length > MOST_LINES} == {}


@pytest.mark.parametrize(
    "text",
    [
        "from harness.cli.verbs.show import find_record",
        "from harness.cli.verbs import show",
        "import harness.cli.verbs.show",
        "def f():\n    from .show import find_record",
    ],
)
def test_an_import_of_another_verb_is_seen(text):
    assert imported_verbs(Module("harness.cli.verbs.export", text)) != []


@pytest.mark.parametrize("text", ["from harness.cli.find_record import find_record", "from harness.cli import console"])
def test_what_verbs_share_may_be_imported(text):
    assert imported_verbs(Module("harness.cli.verbs.export", text)) == []
    assert imported_verbs(Module("harness.cli.verbs.show", "from harness.cli.verbs.show import show")) == []


@pytest.mark.parametrize("verb", ["compare", "merge", "plan", "show", "status", "verify"])
def test_a_verb_that_draws_nothing_starts_without_what_draws(verb):
    script = f"import sys, harness.cli.verbs.{verb}; sys.exit('matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
