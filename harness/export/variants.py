"""A model evaluated with each choice of statistics, and what becomes of one example."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from harness.data.labels import Label

SIZES = (1, 16)  # of batches whose statistics an example is evaluated with: alone, and in company
Answers = tuple[Tensor, Tensor]  # the prediction for each example, and the scores that it rests on


def variants(names: Sequence[str], sizes: Sequence[int]) -> Iterator[tuple[str, str, int]]:
    """What is evaluated: the name of its row, the statistics, and the examples in a batch, on which some depend."""
    for name in names:
        for size in sizes if name == "batch" else sizes[-1:]:
            yield f"batch of {size}" if name == "batch" else name, name, size


def example_words(answers: Mapping[str, Answers], impossible: Iterable[str], labels: Sequence[Label]) -> str:
    """What one example is taken for with each of the statistics: the first of which that depends, else the first."""
    predictions = torch.stack([predicted for predicted, _ in answers.values()])
    differs = (predictions != predictions[0]).any(0).int()
    number = int(differs.argmax())
    parts = [
        f"{labels[int(predicted[number])]} ({out[number].softmax(0).max():.0%}) {_by(row)}"
        for row, (predicted, out) in answers.items()
    ]
    parts += [f"no answer {_by(row)}" for row in impossible]
    return f"test example {number + 1} is taken for {', '.join(parts)}"


def _by(row: str) -> str:
    """A row in words: an example that is alone has itself for its statistics."""
    return {"batch of 1": "alone"}.get(row, f"in a {row}" if row.startswith("batch") else f"by {row} statistics")
