"""The ways to run many models as one, the fastest first.

To add one: a file with a class (see base.py), and its entry here. The first in this table that takes a model, and that
computes what the plain modules compute, is the one that trains it: see backend_choice.py.
"""

from harness.ensemble.backends.base import Backend
from harness.ensemble.backends.compiled import CompiledBackend
from harness.ensemble.backends.ddp import DDPBackend
from harness.ensemble.backends.loop import LoopBackend
from harness.ensemble.backends.stacked import StackedBackend
from harness.ensemble.backends.vmap import VmapBackend

BACKENDS: dict[str, type[Backend]] = {
    "compiled": CompiledBackend,
    "stacked": StackedBackend,
    "vmap": VmapBackend,
    "loop": LoopBackend,
    "ddp": DDPBackend,  # never chosen, since the loop takes every model: several ranks ask for it
}
