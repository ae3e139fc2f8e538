"""Which attributes a forward pass reads before it writes them: others carry nothing from one pass to the next."""

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

from harness.ensemble.python_state import Place


def read_first(model: nn.Module, examples: Tensor, places: Collection[Place]) -> set[Place]:
    """Those of the places that are no plain attribute, or one that is read before it is written, by this very model.

    In training and in evaluation alike. An attribute that is written first, such as the last activations, is a note for
    whoever looks at the model.
    """
    modules = dict(model.named_modules())
    first: dict[tuple[int, str], str] = {}

    def note(module: nn.Module, name: str, access: str) -> None:
        first.setdefault((id(module), name), access)

    for module in modules.values():
        module.__class__ = _watched(type(module), note)
    written_first = set(places)
    for mode in (True, False):
        model.train(mode)
        first.clear()
        with torch.no_grad():
            model(examples)
        written_first &= {
            (name, what)
            for name, what in places
            if first.get((id(modules[name]), what), "" if mode else "write") == "write"
        }
    return set(places) - written_first


def _watched(kind: type[nn.Module], note: Any) -> type[nn.Module]:
    """The class, whose instances have each access to an attribute noted."""

    class Watched(kind):  # type: ignore[valid-type,misc]
        def __getattribute__(self, name: str) -> Any:
            note(self, name, "read")
            return super().__getattribute__(name)

        def __setattr__(self, name: str, value: Any) -> None:
            note(self, name, "write")
            super().__setattr__(name, value)

        def __delattr__(self, name: str) -> None:
            note(self, name, "read")
            super().__delattr__(name)

    Watched.__name__ = Watched.__qualname__ = kind.__name__
    return Watched
