"""What `--only AXIS=VALUE[,VALUE]` picks out of a grid."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.errors import EmptySelection, SuiteError, UsageError, nearest
from harness.spec.trial import Trial, Value, axis_types

Selection = Mapping[str, frozenset[Value]]
Shard = tuple[int, int]  # which part, from 1, of how many
MAX_SHARDS = 100_000


def parse_only(rules: Sequence[str]) -> dict[str, frozenset[Value]]:
    """The values that each named axis may have; several rules for one axis add up."""
    allowed: dict[str, set[Value]] = {}
    for rule in rules:
        axis, equals, values = rule.partition("=")
        if not equals or not all(values.split(",")):
            raise UsageError(f"--only needs AXIS=VALUE[,VALUE], got {rule!r}")
        if axis != "key" and axis not in axis_types():
            raise UsageError(f"--only: unknown axis {axis!r}; {nearest(axis, ['key', *axis_types()])}")
        allowed.setdefault(axis, set()).update(_parse_value(axis, text) for text in values.split(","))
    return {axis: frozenset(values) for axis, values in allowed.items()}


def parse_shard(text: str) -> Shard:
    """The part that I/N stands for: from 1/N to N/N."""
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text, re.ASCII)
    number, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= number <= count <= MAX_SHARDS:
        raise UsageError(f"--shard needs I/N with I from 1 to N, and N up to {MAX_SHARDS}, got {text!r}")
    return number, count


def select(trials: Iterable[Trial], only: Selection, shard: Shard | None = None) -> list[Trial]:
    """The trials that match every rule; of these, those of one part. EmptySelection where there is none.

    The parts are equal but for one trial, and the same on every machine: each is every N-th trial in the order of their
    keys, which is random as far as settings go.
    """
    trials = list(trials)
    if not trials:
        raise SuiteError("the suite has no trial: its only_if keeps none")
    selected = [trial for trial in trials if _matches(trial, only)]
    if not selected:
        rules = ", ".join(f"{axis} in {sorted(map(str, values))}" for axis, values in only.items())
        raise EmptySelection(f"no trial matches: {rules}; the suite has {len(trials)} trials, `plan` shows their axes")
    if shard is None:
        return selected
    number, count = shard
    kept = {trial.key for trial in sorted(selected, key=lambda trial: trial.key)[number - 1 :: count]}
    if not kept:
        raise EmptySelection(f"shard {number}/{count} holds no trial: {len(selected)} are selected")
    return [trial for trial in selected if trial.key in kept]


def _matches(trial: Trial, only: Selection) -> bool:
    keys = only.get("key", frozenset())
    if keys and not any(trial.key.startswith(str(prefix)) for prefix in keys):
        return False
    return all(getattr(trial, axis) in values for axis, values in only.items() if axis != "key")


def _parse_value(axis: str, text: str) -> Value:
    """The value that `text` stands for on this axis."""
    readers: dict[type, Any] = {
        int: int,
        float: float,
        bool: {"true": True, "false": False}.__getitem__,
        type(None): {"none": None}.__getitem__,
    }
    types = (str,) if axis == "key" else axis_types()[axis]
    for kind in sorted(types, key=lambda kind: kind is str):  # a text is whatever nothing else is
        try:
            value: Value = readers.get(kind, str)(text.lower() if kind in (bool, type(None)) else text)
        except (ValueError, KeyError):
            continue
        return value
    raise UsageError(f"--only: {axis} can't be {text!r}; it takes {' or '.join(kind.__name__ for kind in types)}")
