"""Numbers and lists as a reader wants them: few digits, a unit, a real minus."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Unit:
    """How an amount is printed: 0.052 as 5.2 points.

    Ratios are compared as logarithms: an amount of log 2 prints as 2 times, or of -log 2 where the factor is negative.
    """

    name: str = ""
    factor: float = 1.0
    decimals: int | None = None  # None: so many significant digits
    digits: int = 3
    is_ratio: bool = False

    def fitted(self, low: float, high: float) -> "Unit":
        """The same with the digits that an interval bears: to the second of its width (JCGM 100:2008, 7.2.6).

        A width of 4.2 points bears tenths of a point, one of 40 whole points. As it is where there is no interval.
        """
        width, longest = (abs(self.factor) * size for size in (abs(high - low), max(abs(low), abs(high))))
        if not (math.isfinite(width) and width > RESIDUE):
            return self
        if self.is_ratio:  # of the logarithms: what is 1 % off is so at any size
            return replace(self, digits=min(MAX_DIGITS, max(1, 2 - _exponent(width))))
        return replace(self, decimals=max(0, min(1 - _exponent(width), MAX_DIGITS - 1 - _exponent(longest))))


MINUS = "\N{MINUS SIGN}"
RESIDUE = 1e-9  # what rounding may leave of a mean that is 0
MAX_POWER = 300  # of ten, nearly, that a float can be
MAX_DIGITS = 4  # of the longer end of an interval, however narrow it is
# Axes whose values are names that say what they are; "with batch" says nothing of eval_statistics.
NAMING_AXES = frozenset(
    ("activation", "dataset", "loss", "model", "norm", "optimizer", "precision", "schedule", "task", "train", "variant")
)
MAX_DECIMALS = 4  # beyond, powers of ten are shorter
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


def format_value(value: float, unit: Unit, towards: int = 0) -> str:
    """The amount in its unit as text, without the unit's name; rounded down for -1, up for 1."""
    shown = to_unit(value, unit)
    if not math.isfinite(shown):
        return number(shown)
    if unit.decimals is None:
        return _to_digits(shown, unit.digits, towards)
    rounded = _rounded(shown, unit.decimals, towards) + 0.0  # no minus before a zero
    # What would print as 0.0 though it is not 0 gets the digit that it needs.
    if rounded == 0 and abs(value) > RESIDUE:
        return _to_digits(shown, 1, towards)
    if unit.decimals > MAX_DECIMALS:
        return number(rounded, MAX_DIGITS)
    return f"{rounded:.{unit.decimals}f}".replace("-", MINUS)


def _to_digits(shown: float, digits: int, towards: int) -> str:
    """So many significant digits, all those before the point from 1000 on."""
    decimals = digits - 1 - _exponent(shown)
    return number(_rounded(shown, decimals if abs(shown) < 1000 else 0, towards), digits)


def _exponent(size: float) -> int:
    """The power of ten of the first digit."""
    return math.floor(math.log10(abs(size))) if size else 0


def _rounded(shown: float, decimals: int, towards: int) -> float:
    if not towards or decimals > MAX_POWER:
        return round(shown, decimals)
    scaled = shown * 10.0**decimals
    slack = RESIDUE * max(1.0, abs(scaled))  # 3.0000000000000004 is 3 in binary fractions
    return round(math.floor(scaled + slack) if towards < 0 else math.ceil(scaled - slack)) / 10.0**decimals


def amount(value: float, unit: Unit, towards: int = 0) -> str:
    """The amount with its unit: "5.2 points"."""
    return f"{format_value(value, unit, towards)} {unit.name}".rstrip()


@dataclass(frozen=True, slots=True)
class Direction:
    """In which unit a difference is told, and which way is which: positive is `more`."""

    unit: Unit
    more: str = ""  # "higher"; no direction is told of a ratio or a share, whose size says it
    less: str = ""

    def fitted(self, low: float, high: float) -> "Direction":
        """The same in the unit with the digits that an interval bears."""
        return replace(self, unit=self.unit.fitted(low, high))


def difference(value: float, direction: Direction, bound: str = "exact") -> str:
    """A signed difference in words, which may be a bound: -0.004 as "0.4 points lower", >= -0.004 as "at most" that.

    A bound is rounded to the side on which it still holds.
    """
    unit = direction.unit
    if not direction.more:
        return format_bound(value, unit, bound)
    sign = 1 if value >= 0 else -1
    text = _sized(value, direction, sign * TOWARDS.get(bound, 0))
    if bound == "unknown":
        return f"{text} in the grid"
    if bound not in BOUNDS:
        return text
    return f"{bound if sign > 0 else BOUNDS[bound]} {text}"


BOUNDS = {"at least": "at most", "at most": "at least"}  # of a signed value -> of its size where it is negative
TOWARDS = {"at least": -1, "at most": 1}  # where to round a bound, so that it excludes nothing that it includes


def differences(low: float, high: float, direction: Direction) -> str:
    """An interval of signed differences: "0.4 points lower to 1.2 points higher", "3.1 to 7.3 points higher".

    Its ends are rounded outwards: what it includes, it includes as it reads too.
    """
    if not direction.more:
        return f"{span(low, high, direction.unit)} {direction.unit.name}".rstrip()
    return _from_to(low, high, direction, outwards=True)


def _from_to(low: float, high: float, direction: Direction, *, outwards: bool) -> str:
    """Both ends in words, which share theirs where they lie on one side of 0."""
    ends = sorted((low, high), key=abs)
    is_one_sided = (low >= 0) == (high >= 0)
    inner, outer = (-1, 1) if outwards else (0, 0)
    if is_one_sided:
        first = format_value(abs(ends[0]), direction.unit, inner)
        return f"{first} to {_sized(ends[1], direction, outer)}"
    return f"{_sized(low, direction, outer)} to {_sized(high, direction, outer)}"


def _sized(value: float, direction: Direction, towards: int) -> str:
    return f"{amount(abs(value), direction.unit, towards)} {direction.more if value >= 0 else direction.less}"


def range_of(values: Sequence[float], direction: Direction) -> str:
    """From the least of signed differences to the most; once where both read the same: "0.9 points higher"."""
    low, high = min(values), max(values)
    text = difference(low, direction)
    if text == difference(high, direction):
        return text
    if direction.more:
        return _from_to(low, high, direction, outwards=False)
    return f"{span(low, high, direction.unit, outwards=False)} {direction.unit.name}".rstrip()


def format_bound(value: float, unit: Unit, bound: str) -> str:
    """The signed amount with its unit, marked where the grid is too short and it is only a bound."""
    text = amount(value, unit, TOWARDS.get(bound, 0))
    by_bound = {
        "at least": f"\N{GREATER-THAN OR EQUAL TO} {text}",
        "at most": f"\N{LESS-THAN OR EQUAL TO} {text}",
        "unknown": f"{text} in the grid",
    }
    return by_bound.get(bound, text)


def span(low: float, high: float, unit: Unit, *, outwards: bool = True) -> str:
    """An interval: "3.1 to 7.3", its ends rounded outwards."""
    low, high = (high, low) if unit.is_ratio and unit.factor < 0 else (low, high)
    return f"{format_value(low, unit, -outwards)} to {format_value(high, unit, +outwards)}"


def percent(share: float, decimals: int = 1) -> str:
    """A fraction as a percentage."""
    return "unknown" if math.isnan(share) else f"{share * 100:.{decimals}f} %"


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
    return f"with {arm}" if is_name and compare in NAMING_AXES else f"with {axis(compare)} {arm}"


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
