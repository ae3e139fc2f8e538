"""Which layers' outputs nothing but norms gets to see: twice their weights and biases are then the same net.

It is read from the graph that torch keeps for the backward pass: from the output of a layer each way has to end in a
norm, over nothing but nodes that keep or share out numbers as they are. Where a sum comes first, as behind a residual
branch, or where a norm and something else read the same numbers, the scale of a layer matters.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

Node = Any  # a node of torch's graph
Consumers = dict[Node, list[Node]]

# Nodes whose outputs are inputs of theirs, in another shape, or the largest or the mean of some: twice in, twice out.
KEEPING_SCALE = frozenset(
    f"{name}Backward0"
    for name in (
        *("View", "UnsafeView", "ReshapeAlias", "Alias", "Clone", "ToCopy", "Permute", "Transpose", "T", "Unfold"),
        *("Squeeze", "Unsqueeze", "Expand", "Select", "Slice", "Split", "SplitWithSizes", "Unbind"),
        *("AvgPool1D", "AvgPool2D", "MaxPool2DWithIndices", "AdaptiveAvgPool2D"),
    )
)


def weights_before_norms(
    model: nn.Module, x: Tensor, layers: Sequence[type[nn.Module]], norms: Sequence[nn.Module]
) -> frozenset[int]:
    """The ids of the weights of `layers` whose outputs go into some of `norms` and nowhere else, wherever they run."""
    outputs: dict[int, list[Node]] = {}  # id of a weight -> the nodes of all that is computed with it
    entries: set[Node] = set()

    def note_output(layer: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001
        outputs.setdefault(id(layer.weight), []).append(output.grad_fn)

    def enter(layer: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:  # noqa: ARG001
        x = args[0].view_as(args[0])  # a node that is the norm's own: what else reads x does not pass it
        entries.add(x.grad_fn)
        return (x, *args[1:])

    hooks = [layer.register_forward_hook(note_output) for layer in model.modules() if isinstance(layer, tuple(layers))]
    hooks += [norm.register_forward_pre_hook(enter) for norm in norms]
    with torch.enable_grad():
        consumers = _consumers(model(x).grad_fn)
    for hook in hooks:
        hook.remove()
    return frozenset(
        weight for weight, nodes in outputs.items() if all(_ends_in(entries, node, consumers) for node in nodes)
    )


def _consumers(last: Node) -> Consumers:
    """For each node of the graph, those that read what it puts out."""
    consumers: Consumers = {last: []}
    pending = [last]
    while pending:
        node = pending.pop()
        for source, _ in node.next_functions if node is not None else ():
            if source not in consumers:
                pending.append(source)
            consumers.setdefault(source, []).append(node)
    return consumers


def _ends_in(entries: set[Node], node: Node, consumers: Consumers) -> bool:
    """Whether all that reads a node is an entry of a norm, or hands on what it reads to such alone."""
    readers = consumers.get(node, [])
    return bool(readers) and all(
        reader in entries or (reader.name() in KEEPING_SCALE and _ends_in(entries, reader, consumers))
        for reader in readers
    )
