"""Counts that decide a sign test which is looked at more than once (docs/statistics.md, "Looks").

The number of seeds in favour is a walk of fair coins. A part of the level is spent by each look, and the boundary of a
look is the least count that keeps the probability of having crossed any so far within that: an exact recursion over
the binomial (Armitage, McPherson and Rowe 1969; spending: Lan and DeMets 1983). What a look leaves unspent, the next
one has.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
import scipy

from harness.analysis.stats.arrays import FloatArray
from harness.analysis.stats.paired import ALPHA
from harness.analysis.stats.sign_test import failures_p

MAX_FAMILY = 64  # claims times points up to which boundaries are searched one by one
SPENT_AT = ((0.0, 0.0), (0.25, 0.2), (0.5, 0.5), (1.0, 1.0))  # share of the most seeds -> share of the level


def level_spent(seeds: int, max_seeds: int) -> float:
    """The share of the level that may be spent by a look at so many seeds of the most that there will be."""
    shares, spent = ([pair[i] for pair in SPENT_AT] for i in (0, 1))
    return float(np.interp(seeds / max_seeds, shares, spent))


def level_at_look(spent: Sequence[float], claims: int) -> float:
    """The level of the last of these looks, for a test that keeps nothing from one look to the next."""
    return (spent[-1] - (spent[-2] if len(spent) > 1 else 0.0)) * ALPHA / max(claims, 1)


def shows_failures_from(looks: Sequence[int], spent: Sequence[float], tau: float, claims: int) -> int | None:
    """The first look whose seeds show that neither arm fails alone in a share `tau`, if none does; None: no look."""
    levels = [level_at_look(spent[: i + 1], claims) for i in range(len(looks))]
    return next((n for n, level in zip(looks, levels, strict=True) if failures_p(np.array(0), n, tau) < level), None)


def counts_needed(
    usable: Sequence[int], spent: Sequence[float], claims: int = 1, *, is_two_sided: bool = True
) -> tuple[int, ...]:
    """How many of the usable seeds decide one of so many claims at each look; one more than there are: none can.

    `spent` has the share of the level that is spent by each look. More claims never need fewer counts.
    """
    return _nested(tuple(usable), tuple(spent), _rounded_up(claims), is_two_sided)


def _rounded_up(claims: int) -> int:
    """The claims themselves, or where they are very many the next power of two, which errs on the safe side."""
    return claims if claims <= MAX_FAMILY else 1 << (claims - 1).bit_length()


@cache
def _nested(usable: tuple[int, ...], spent: tuple[float, ...], claims: int, is_two_sided: bool) -> tuple[int, ...]:
    counts = _boundaries(usable, spent, ALPHA / claims, is_two_sided)
    if claims == 1:
        return counts
    fewer = claims - 1 if claims <= MAX_FAMILY else claims // 2
    return tuple(map(max, counts, _nested(usable, spent, fewer, is_two_sided)))


def _boundaries(usable: Sequence[int], spent: Sequence[float], alpha: float, is_two_sided: bool) -> tuple[int, ...]:
    """The least counts at which the walk may stop; `going_on` is its distribution where it has not."""
    going_on: FloatArray = np.ones(1)
    crossed, n_before, counts = 0.0, 0, []
    for n, share in zip(usable, spent, strict=True):
        steps = np.arange(n - n_before + 1)
        going_on = np.convolve(going_on, scipy.special.comb(n - n_before, steps) * 0.5 ** (n - n_before))
        tails = np.append(np.cumsum(going_on[::-1])[::-1], 0.0)  # P(this many or more, and not stopped before)
        tails *= 2 if is_two_sided else 1
        lowest = n // 2 + 1
        fits = crossed + tails[lowest:] <= share * alpha * (1 + 1e-12)
        count = lowest + int(np.argmax(fits))
        crossed += float(tails[count])
        going_on = _not_stopped(going_on, n, count, is_two_sided=is_two_sided)
        n_before = n
        counts.append(count)
    return tuple(counts)


def expected_seeds(share: float, looks: Sequence[int], spent: Sequence[float], claims: int = 1) -> float:
    """How many seeds a claim takes on average where a seed agrees with this probability, if no other is decided."""
    counts = counts_needed(looks, spent, claims)
    going_on: FloatArray = np.ones(1)
    expected, n_before = 0.0, 0
    for n, count in zip(looks, counts, strict=True):
        expected += (n - n_before) * float(going_on.sum())
        going_on = np.convolve(going_on, scipy.stats.binom.pmf(np.arange(n - n_before + 1), n - n_before, share))
        going_on = _not_stopped(going_on, n, count, is_two_sided=True)
        n_before = n
    return expected


def _not_stopped(going_on: FloatArray, n: int, count: int, *, is_two_sided: bool) -> FloatArray:
    """The part of a distribution over counts of n that goes on: below `count`, two-sided as far from 0 too."""
    counts = np.arange(n + 1)
    return np.where((counts < count) & ((counts > n - count) | (not is_two_sided)), going_on, 0.0)
