"""Numbers and lists as a reader wants them: few digits, a unit, a real minus."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Unit:
    """How an amount is printed: 0.052 as 5.2 points.

    Ratios are compared as logarithms: an amount of log 2 prints as 2 times, or of -log 2 where the factor is negative.
    """

    name: str = ""
    factor: float = 1.0
    decimals: int | None = None  # None: three significant digits
    is_ratio: bool = False


MINUS = "\N{MINUS SIGN}"
RESIDUE = 1e-9  # what rounding may leave of a mean that is 0
PLAIN = Unit()
POINTS = Unit("points", 100.0, 1)  # percentage points of a fraction, such as accuracy
STEPS = Unit("steps", 1.0, 0)
DECADES = Unit("decades", 1.0, 2)
TIMES = Unit("times", is_ratio=True)
TIMES_LESS = Unit("times", -1.0, is_ratio=True)  # less is better
SHARE = Unit("%", 100.0, 0)


def number(value: float, digits: int = 3) -> str:
    """So many significant digits without trailing zeros; all those before the point from 1000 on."""
    if math.isnan(value):
        return "unknown"
    if math.isinf(value):
        return f"{MINUS if value < 0 else ''}infinite"
    text = f"{value:.{digits}g}" if abs(value) < 1000 else f"{value:.0f}"
    if "e" in text:
        mantissa, exponent = text.split("e")
        text = f"{mantissa}e{int(exponent)}"
    return text.replace("-", MINUS)


def to_unit(value: float, unit: Unit) -> float:
    """The amount in its unit."""
    return math.exp(unit.factor * value) if unit.is_ratio else unit.factor * value


def format_value(value: float, unit: Unit) -> str:
    """The amount in its unit as text, without the unit's name."""
    shown = to_unit(value, unit)
    if unit.decimals is None or not math.isfinite(shown):
        return number(shown)
    rounded = round(shown, unit.decimals) + 0.0  # no minus before a zero
    # What would print as 0.0 though it is not 0 gets the digit that it needs.
    if rounded == 0 and abs(value) > RESIDUE:
        return number(shown, 1)
    return f"{rounded:.{unit.decimals}f}".replace("-", MINUS)


def amount(value: float, unit: Unit) -> str:
    """The amount with its unit: "5.2 points"."""
    return f"{format_value(value, unit)} {unit.name}".rstrip()


@dataclass(frozen=True, slots=True)
class Direction:
    """In which unit a difference is told, and which way is which: positive is `more`."""

    unit: Unit
    more: str = ""  # "higher"; no direction is told of a ratio or a share, whose size says it
    less: str = ""


def difference(value: float, direction: Direction, bound: str = "exact") -> str:
    """A signed difference in words, which may be a bound: -0.004 as "0.4 points lower", >= -0.004 as "at most" that."""
    unit = direction.unit
    if not direction.more:
        return format_bound(value, unit, bound)
    text = f"{amount(abs(value), unit)} {direction.more if value >= 0 else direction.less}"
    if bound == "unknown":
        return f"{text} in the grid"
    if bound not in BOUNDS:
        return text
    return f"{bound if value >= 0 else BOUNDS[bound]} {text}"


BOUNDS = {"at least": "at most", "at most": "at least"}  # of a signed value -> of its size where it is negative


def differences(low: float, high: float, direction: Direction) -> str:
    """An interval of signed differences: "0.4 points lower to 1.2 points higher", "3.1 to 7.3 points higher"."""
    if not direction.more:
        return f"{span(low, high, direction.unit)} {direction.unit.name}".rstrip()
    if (low >= 0) == (high >= 0):
        ends = sorted((low, high), key=abs)
        return f"{format_value(abs(ends[0]), direction.unit)} to {difference(ends[1], direction)}"
    return f"{difference(low, direction)} to {difference(high, direction)}"


def range_of(values: Sequence[float], direction: Direction) -> str:
    """From the least of signed differences to the most; once where both read the same: "0.9 points higher"."""
    low, high = min(values), max(values)
    text = difference(low, direction)
    return text if text == difference(high, direction) else differences(low, high, direction)


def format_bound(value: float, unit: Unit, bound: str) -> str:
    """The signed amount with its unit, marked where the grid is too short and it is only a bound."""
    text = amount(value, unit)
    by_bound = {
        "at least": f"\N{GREATER-THAN OR EQUAL TO} {text}",
        "at most": f"\N{LESS-THAN OR EQUAL TO} {text}",
        "unknown": f"{text} in the grid",
    }
    return by_bound.get(bound, text)


def span(low: float, high: float, unit: Unit) -> str:
    """An interval: "3.1 to 7.3"."""
    low, high = (high, low) if unit.is_ratio and unit.factor < 0 else (low, high)
    return f"{format_value(low, unit)} to {format_value(high, unit)}"


def percent(share: float) -> str:
    """A fraction as a percentage with one decimal."""
    return "unknown" if math.isnan(share) else f"{share * 100:.1f} %"


def level(value: float, unit: Unit) -> str:
    """A value that is no difference: a fraction in per cent, anything else with its unit."""
    return percent(value) if unit is POINTS else amount(value, unit)


def p_value(p: float) -> str:
    """A p value as it is printed in papers: "p = 0.031", "p < 0.001"."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def capitalised(text: str) -> str:
    """The text with its first letter in upper case, the others as they are."""
    return text[:1].upper() + text[1:]


def count(n: int, noun: str) -> str:
    """The number with its noun: "1 seed", "2 seeds"."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}".replace(",", " ")


def listing(items: Iterable[str]) -> str:
    """The items as prose: "a, b and c"."""
    *head, last = list(items) or ["none"]
    return f"{', '.join(head)} and {last}" if head else last


def value(setting: Any) -> str:
    """A setting as it is printed: 0.1, batch, true."""
    if setting is None or (isinstance(setting, float) and math.isnan(setting)):
        return "not set"
    if isinstance(setting, bool):
        return str(setting).lower()
    return number(setting) if isinstance(setting, float) else str(setting)


def with_arm(arm: str, compare: str) -> str:
    """An arm after a count: "with batch", "without norm", "with lr 0.1"; `compare` is the axis of the arms."""
    setting, at, point = arm.partition(" at ")
    if setting == "none":
        return f"without {axis(compare)}{at}{point}"
    is_name = setting[:1].isalpha() and setting not in (value(True), value(False), value(None))
    return f"with {arm}" if is_name else f"with {axis(compare)} {arm}"


def axis(name: str) -> str:
    """An axis as it is printed: "batch size"."""
    return name.replace("_", " ")


def full_axis(name: str) -> str:
    """An axis without abbreviations, for running text: "learning rate"."""
    return {"lr": "learning rate"}.get(name, axis(name))


def point(settings: Mapping[str, Any]) -> str:
    """A grid point: "lr 0.1, batch size 64"; empty where the grid has one point only."""
    shown = {name: value(None if setting == "" else setting) for name, setting in settings.items()}
    return ", ".join(f"{axis(name)} {setting}" for name, setting in shown.items())
