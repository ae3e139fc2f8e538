"""Modules of benchmarks/, which is no package: a test of the installed wheel finds them by their place."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).parents[2] / "benchmarks"


def benchmark_module(name: str) -> ModuleType:
    """The module of this name."""
    spec = spec_from_file_location(f"benchmarks.{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = module_from_spec(spec)  # which dataclasses and pickles look up
    spec.loader.exec_module(module)
    return module
