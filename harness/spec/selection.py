"""What `--only AXIS=VALUE[,VALUE]` picks out of a grid: whatever a value is printed as finds it, and no other does.

Rules stay as they were typed until the grid is known: it alone can tell what 0.333 or a name with a comma stands for.
"""

import difflib
import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction

from harness.errors import EmptySelection, SuiteError, UnknownValue, UsageError, nearest
from harness.spec.own_training.own_trial import AnyTrial, names_of
from harness.spec.trial import Value, axis_types
from harness.text import printable

Selection = Mapping[str, frozenset[str]]  # axis -> lists of values as they were typed: {"norm": {"batch,none"}}
Shard = tuple[int, int]  # which part, from 1, of how many
MAX_SHARDS = 100_000
KEY = "key"
PRINTED_DIGITS = 3  # of a number in tables and reports
SINGLE_PRECISION = 1e-7  # relative: numbers this close are one number in float32
MINUS = "\N{MINUS SIGN}"  # as reports print it
UNSET = ("none", "not set")  # how None is printed, in any case of letters
MAX_SHOWN = 12  # values in a message


def parse_only(rules: Sequence[str]) -> dict[str, frozenset[str]]:
    """The lists of values that were typed for each axis; the trials of a suite tell which axes and values there are."""
    typed: dict[str, frozenset[str]] = {}
    for rule in rules:
        axis, equals, values = rule.partition("=")
        if not axis or not equals or not all(values.split(",")):
            raise UsageError(f"--only needs AXIS=VALUE[,VALUE], got {rule!r}")
        typed[axis] = typed.get(axis, frozenset()) | {values}
    return typed


def parse_shard(text: str) -> Shard:
    """The part that I/N stands for: from 1/N to N/N."""
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text, re.ASCII)
    number, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= number <= count <= MAX_SHARDS:
        raise UsageError(f"--shard needs I/N with I from 1 to N, and N up to {MAX_SHARDS}, got {text!r}")
    return number, count


def select(trials: Iterable[AnyTrial], only: Selection, shard: Shard | None = None) -> list[AnyTrial]:
    """The trials that match every rule; of these, those of one part.

    UnknownValue where a rule has a value that no trial has, EmptySelection where no trial matches all rules. The parts
    are equal but for one trial, and the same on every machine: each is every N-th trial in the order of their keys,
    which is random as far as settings go.
    """
    trials = list(trials)
    if not trials:
        raise SuiteError("the suite has no trial: its only_if keeps none")
    chosen = require_known(trials, only)
    selected = [
        trial for trial in trials if all(getattr(trial, axis, None) in values for axis, values in chosen.items())
    ]
    if not selected:
        raise EmptySelection(
            f"no trial matches {_rules(only)}; the suite has {len(trials)} trials, `plan` shows their axes"
        )
    if shard is None:
        return selected
    number, count = shard
    kept = {trial.key for trial in sorted(selected, key=lambda trial: trial.key)[number - 1 :: count]}
    if not kept:
        raise EmptySelection(f"shard {number}/{count} holds no trial: {len(selected)} are selected")
    return [trial for trial in selected if trial.key in kept]


def require_known(trials: Iterable[AnyTrial], only: Selection) -> dict[str, frozenset[Value]]:
    """The values that the rules name, by axis, whether or not a trial has all; UnknownValue where no trial has one."""
    trials, chosen = list(trials), {}
    for axis, lists in only.items():
        having = _values_of(trials, axis)
        if trials and not having:
            known = dict.fromkeys(name for trial in trials for name in names_of(trial))
            raise UsageError(f"--only: unknown axis {axis!r}; {nearest(axis, [KEY, *known])}")
        _check_types(axis, lists, _types(axis, having))
        pieces = [piece for text in lists for piece in _pieces(axis, text, having)]
        chosen[axis] = frozenset(value for piece in pieces for value in _known(axis, piece, having))
    return chosen


def narrowed(trials: Iterable[AnyTrial], only: Selection) -> dict[str, frozenset[str]]:
    """The rules without the values that none of these trials has; EmptySelection where a rule has no other.

    For one suite of several that are run by one command, where another suite has the rest.
    """
    trials, rules = list(trials), {}
    for axis, lists in only.items():
        having = _values_of(trials, axis)
        pieces = [piece for text in lists for piece in _pieces(axis, text, having)]
        rules[axis] = frozenset(piece for piece in pieces if _matches(axis, piece, having))
        if not rules[axis]:
            raise EmptySelection(f"no trial matches {_rules({axis: lists})}")
    return rules


def _check_types(axis: str, lists: Iterable[str], types: Collection[type]) -> None:
    """Raise UsageError where a value is of no type that the axis takes."""
    for text in (text for several in lists for text in several.split(",")):
        if not any(True for _ in _readings(text, types)):
            names = " or ".join("None" if kind is type(None) else kind.__name__ for kind in types)
            hint = f"; each axis has an --only of its own: --only {text}" if "=" in text else ""
            raise UsageError(f"--only: {axis} can't be {text!r}; it takes {names}{hint}")


def roundings(trials: Sequence[AnyTrial], only: Selection) -> Iterator[str]:
    """Which numbers of the trials were meant by others that were typed: "lr=0.333 stands for 0.3333333333333333"."""
    for axis, lists in only.items():
        having = _values_of(trials, axis)
        for piece in (piece for text in lists for piece in _pieces(axis, text, having)):
            for value in _matches(axis, piece, having):
                if isinstance(value, float) and value not in _readings(piece, _types(axis, having)):
                    yield f"{axis}={piece} stands for {value}"


def _rules(only: Selection) -> str:
    return " ".join(f"--only {axis}={printable(text)}" for axis, lists in only.items() for text in sorted(lists))


def _types(axis: str, having: Collection[Value]) -> tuple[type, ...]:
    """The types that an axis takes: of a setting of the suite's own, those of the values that it has."""
    if axis == KEY or not having:
        return (str,)
    kinds = tuple({type(value) for value in having})
    known = axis_types().get(axis, kinds)
    return known if {*kinds} <= {*known} else kinds


def _values_of(trials: Sequence[AnyTrial], axis: str) -> dict[Value, None]:
    """The values that the trials have on an axis, each once, in their order."""
    return dict.fromkeys(getattr(trial, axis) for trial in trials if axis == KEY or axis in names_of(trial))


def _pieces(axis: str, text: str, having: Collection[Value]) -> Iterator[str]:
    """The values in a list; a name with commas is one where the trials have it."""
    parts = text.split(",")
    most = 1 + max((value.count(",") for value in having if isinstance(value, str)), default=0)
    while parts:
        sizes = range(min(most, len(parts)), 1, -1)
        size = next((size for size in sizes if _matches(axis, ",".join(parts[:size]), having)), 1)
        yield ",".join(parts[:size])
        parts = parts[size:]


def _known(axis: str, text: str, having: Collection[Value]) -> list[Value]:
    """The values that a text stands for; UnknownValue where no trial has one, UsageError where it may be two."""
    values = _matches(axis, text, having)
    if len(values) > 1 and axis != KEY:
        raise UsageError(f"--only {axis}={text} is short for {' and for '.join(map(str, values))}; type more digits")
    if not values:
        raise UnknownValue(f"--only {axis}={printable(text)}: no trial has it; {_nearest(axis, text, list(having))}")
    return values


def _matches(axis: str, text: str, having: Collection[Value]) -> list[Value]:
    """The values of the trials that a text stands for: the one that it is, else those that may be printed so."""
    if axis == KEY:
        return [key for key in having if str(key).startswith(text)]
    readings = list(_readings(text, _types(axis, having)))
    if exact := [value for value in readings if value in having]:
        return exact[:1]
    numbers = [value for value in readings if isinstance(value, float)]
    return [value for value in having if isinstance(value, float) and any(_prints_as(value, n) for n in numbers)]


def _readings(text: str, types: Collection[type]) -> Iterator[Value]:
    """What a text may stand for on an axis of these types, the likeliest first; a name as it is, or stripped."""
    word = text.strip().lower()
    number = _number(word)
    if bool in types and word in ("true", "false"):
        yield word == "true"
    if type(None) in types and word in UNSET:
        yield None
    if float in types and number is not None:
        yield float(number)
    if int in types and number is not None and number == number // 1:
        yield int(number)
    if str in types:
        yield from dict.fromkeys((text, text.strip(), *([""] if word == UNSET[1] else [])))


def _number(text: str) -> int | float | None:
    """The number that a text is: 10, 1e-3, 1/3, or as reports print it, with a real minus."""
    for read in (_whole_number, float, lambda fraction: float(Fraction(fraction))):
        try:
            return read(text.replace(MINUS, "-"))
        except (ValueError, OverflowError, ZeroDivisionError):
            continue
    return None


def _whole_number(text: str) -> int:
    number = int(text)
    float(number)  # OverflowError where it is larger than any value of an axis
    return number


def _prints_as(value: float, typed: float) -> bool:
    """Whether a value may have been printed as the number that was typed: rounded, or in single precision."""
    if math.isclose(value, typed, rel_tol=SINGLE_PRECISION):
        return True
    typed_digits = repr(abs(typed)).partition("e")[0].replace(".", "").strip("0")
    return float(f"{value:.{max(PRINTED_DIGITS, len(typed_digits))}g}") == typed


def _nearest(axis: str, text: str, having: Sequence[Value]) -> str:
    """Which values there are instead, the nearest first."""
    typed = _number(text)
    numbers = [value for value in having if isinstance(value, int | float)]
    if typed is not None and math.isfinite(typed) and numbers:
        close: list[Value] = [min(numbers, key=_distance_from(typed, is_ratio=min(typed, *numbers) > 0))]
    else:
        names = {str(value)[: len(text) if axis == KEY else None].lower(): value for value in having}
        close = [names[name] for name in difflib.get_close_matches(text.strip().lower(), names, n=1)]
    hint = f"did you mean {printable(str(close[0]))}? " if close else ""
    shown = ", ".join(printable(str(value)) for value in having[:MAX_SHOWN])
    more = f" and {len(having) - MAX_SHOWN} more" if len(having) > MAX_SHOWN else ""
    return f"{hint}they have {shown}{more}"


def _distance_from(typed: float, *, is_ratio: bool) -> Callable[[float], float]:
    return (lambda value: abs(math.log(value / typed))) if is_ratio else (lambda value: abs(value - typed))
