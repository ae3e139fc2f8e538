"""What keeps models from being run as one, though each of their layers could be."""

from harness.ensemble.backends.base import ModelStack, NotStackableError
from harness.ensemble.module_copy import has_hooks


def check_side_effects(stack: ModelStack) -> None:
    """NotStackableError where a forward pass does what has to be done for each model by itself."""
    if stack.draws:
        raise NotStackableError("it draws random numbers, which each model has to itself")
    if has_hooks(stack.template):
        raise NotStackableError("it has hooks, which are called for each model by itself")
