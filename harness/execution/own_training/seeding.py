"""The default generators of Python, numpy and torch: seeded before own training begins, and kept with its state.

Torch is not loaded for that: it is seeded when a function, or what it imports, loads it.
"""

import importlib.util
import random
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import numpy as np

NUMPY_SEEDS = 2**32


def seed_generators(seed: int) -> None:
    """Seed all default generators, that of torch now or once it is loaded."""
    random.seed(seed)
    np.random.seed(seed % NUMPY_SEEDS)  # noqa: NPY002 (own training may draw from it)
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _SeedsTorch)]
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)
    else:
        sys.meta_path.insert(0, _SeedsTorch(seed))


def generator_states() -> dict[str, Any]:
    """Where the default generators stand, of those that are loaded."""
    states: dict[str, Any] = {"random": random.getstate(), "numpy": np.random.get_state()}  # noqa: NPY002
    if (torch := sys.modules.get("torch")) is not None:
        states["torch"] = torch.get_rng_state().numpy()
        if torch.cuda.is_initialized():
            states["cuda"] = [state.numpy() for state in torch.cuda.get_rng_state_all()]
    return states


def restore_generators(states: dict[str, Any]) -> None:
    """Put the default generators back to where they stood."""
    random.setstate(states["random"])
    np.random.set_state(states["numpy"])  # noqa: NPY002
    if "torch" in states:
        import torch  # which the function uses, since it was loaded when the state was saved

        torch.set_rng_state(torch.from_numpy(states["torch"]))
        if "cuda" in states:
            torch.cuda.set_rng_state_all([torch.from_numpy(state) for state in states["cuda"]])


class _SeedsTorch(MetaPathFinder, Loader):
    """Finds torch as Python does, and seeds it once it is loaded."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.loader: Loader | None = None

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        del path, target  # torch is no part of another package
        if name != "torch":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            self.loader, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        assert self.loader is not None
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        assert self.loader is not None
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self.loader
        self.loader.exec_module(module)
        module.manual_seed(self.seed)
