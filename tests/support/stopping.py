"""Training that is stopped on the way, as it is before a checkpoint is written."""

from itertools import islice

from harness.training.loop import train
from harness.training.pruning import scatter_into
from harness.training.state import TrainState


def train_until(state: TrainState, events: int) -> int:
    """Train for so many events and bring the state up to date; the steps that are done."""
    *_, last = islice(train(state), events)
    scatter_into(state, last.active)
    return last.step
