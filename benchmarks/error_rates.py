"""How often verdicts err in worlds whose truth is known: the tables of docs/measurements.md.

`python -m benchmarks.error_rates` simulates and writes them there. Each rule is the function that judges results
(harness/analysis/stats), on thousands of suites at once: arrays are [suite, seed]. In every world the sentence of the
claim is neither true nor false: a seed is as likely ahead of the margin as behind it. Wrong is any word but undecided;
where arms are to be equal, supported.
"""

from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.analysis import stats
from harness.analysis.stats.looks import counts_needed, level_spent

PAGE = Path(__file__).parents[1] / "docs" / "measurements.md"
BEGIN, END = "<!-- error rates: begin -->\n", "<!-- error rates: end -->\n"
SEEDS = (6, 10, 20, 40)
SUITES = 4000
EQUALITIES = 2000  # suites whose claims of equality are run until decided
TUNED_SUITES = 400  # sign-flip tests of 20 seeds take time
MARGIN, TAU = 1.0, 0.15
EXAMPLES = 50  # of a test set: accuracies are multiples of one in so many

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Counts = NDArray[np.int64]


class Pairs(NamedTuple):
    """Differences of paired runs in units of their own spread, and which runs failed to train."""

    differences: Array
    ours_failed: Flags
    theirs_failed: Flags


World = Callable[[np.random.Generator, tuple[int, int]], Pairs]
Sizes = tuple[int, int]


def trained(draw: Callable[[np.random.Generator, Sizes], Array]) -> World:
    """A world in which every run trains."""

    def world(rng: np.random.Generator, shape: Sizes) -> Pairs:
        return Pairs(draw(rng, shape), np.zeros(shape, bool), np.zeros(shape, bool))

    return world


def failing(ours: float, theirs: float) -> World:
    """A world in which either arm fails with these probabilities, and is as often ahead as the other all the same."""

    def world(rng: np.random.Generator, shape: Sizes) -> Pairs:
        ours_failed, theirs_failed = rng.random(shape) < ours, rng.random(shape) < theirs
        both_train, ahead = (1 - ours) * (1 - theirs), theirs * (1 - ours)
        behind = ours * (1 - theirs)
        share = ((both_train + ahead + behind) / 2 - ahead) / both_train
        sign = np.where(rng.random(shape) < share, 1, -1)
        return Pairs(sign * np.abs(rng.normal(size=shape)), ours_failed, theirs_failed)

    return world


def lognormal(sigma: float) -> World:
    return trained(lambda rng, shape: rng.lognormal(0, sigma, shape) - 1)


def skewed_grid(rng: np.random.Generator, shape: Sizes) -> Array:
    """One step behind or, as often, an exponential number of steps ahead; level in a fifth of seeds."""
    ahead = np.ceil(rng.exponential(4, shape))
    steps = np.where(rng.random(shape) < 0.5, ahead, -1.0)
    return np.where(rng.random(shape) < 0.2, 0.0, steps) / EXAMPLES


WORLDS: dict[str, World] = {
    "Gauss": trained(lambda rng, shape: rng.normal(size=shape)),
    "t with 2 degrees of freedom": trained(lambda rng, shape: rng.standard_t(2, shape)),
    "Cauchy": trained(lambda rng, shape: rng.standard_cauchy(shape)),
    "ties: 50 test examples": trained(lambda rng, shape: (rng.normal(0, 0.02, shape) * EXAMPLES).round() / EXAMPLES),
    "ties: six seeds in ten equal": trained(
        lambda rng, shape: np.where(rng.random(shape) < 0.6, 0.0, rng.normal(size=shape))
    ),
    "skew on the grid of 50 examples": trained(skewed_grid),
    "exponential deficits": trained(lambda rng, shape: np.log(2) - rng.exponential(1, shape)),
    "lognormal .5": lognormal(0.5),
    "lognormal 1": lognormal(1.0),
    "lognormal 1.5": lognormal(1.5),
    "one arm collapses in 5 % of seeds": failing(0.05, 0.0),
    "one arm collapses in 10 % of seeds": failing(0.10, 0.0),
    "unlike seeds": trained(lambda rng, shape: rng.normal(size=shape) * rng.lognormal(0, 1, shape[1])),
    "unlike arms": trained(lambda rng, shape: 5 * (rng.exponential(1, shape) - np.log(2))),
    "bimodal": trained(lambda rng, shape: rng.normal(size=shape) + 5 * rng.choice([-1, 1], shape)),
    "both arms fail, 20 % and 10 %": failing(0.2, 0.1),
}


def errs_on_lead(pairs: Pairs) -> Flags:
    """Whether `better` is supported or refuted, before any correction."""
    ours, theirs = pairs.ours_failed, pairs.theirs_failed
    test = stats.sign_test(stats.with_failures(pairs.differences, ours, theirs))
    is_held_back = (test.p_more < test.p_less) & stats.fails_more(*stats.lone_failures(ours, theirs))
    return (test.p < stats.ALPHA) & ~is_held_back


def errs_on_equality(pairs: Pairs, tau: float = TAU) -> Flags:
    """Whether `equivalent` is supported."""
    test = stats.equivalence_test(*pairs, MARGIN, tau)
    return test.p_supporting < stats.ALPHA


def on_the_margin(pairs: Pairs) -> Pairs:
    """The pairs where half of them lie beyond the upper end of the margin; failures are beyond it already."""
    return pairs._replace(differences=pairs.differences + MARGIN)


def errs_on_points(rng: np.random.Generator, shape: Sizes) -> Flags:
    """Whether a claim over four points errs that holds at three of them, and at one is open."""
    differences = np.stack([rng.normal(3.0 * (point > 0), 1, shape) for point in range(4)], axis=1)
    test = stats.sign_test(differences)
    holds, fails = stats.over_points(test.p_more, test.p_less)
    return stats.two_sided(holds, fails) < stats.ALPHA


def errs_in_a_family(rng: np.random.Generator, shape: Sizes) -> Flags:
    """Whether any of eight claims on one question errs after Holm."""
    p = np.stack([stats.sign_test(rng.lognormal(0, 1, shape) - 1).p for _ in range(8)], axis=-1)
    return 8 * p.min(axis=-1) < stats.ALPHA


def errs_on_failures(rng: np.random.Generator, shape: Sizes) -> Flags:
    """Whether arms are called equal of which one fails alone in a share tau of seeds."""
    alone = rng.random(shape) < TAU
    return errs_on_equality(Pairs(np.zeros(shape), alone, np.zeros(shape, bool)))


def signs_err(differences: Array) -> Flags:
    return stats.sign_test(differences).p < stats.ALPHA


def errs_on_trend(rng: np.random.Generator, shape: Sizes) -> Flags:
    """A lead that is the same at four batch sizes; noise of either arm has a long tail."""
    x = np.arange(4.0)
    ours, theirs = (stats.slopes(x, rng.exponential(1, (*shape, 4))) for _ in range(2))
    return signs_err(ours - theirs)


def errs_on_recovery(rng: np.random.Generator, shape: Sizes) -> Flags:
    """Half of what is lost is recovered, against a margin of half."""
    local, arm, big = (level + rng.normal(size=shape) for level in (0.0, 2.0, 4.0))
    test, lost = stats.sign_test((arm - local) - 0.5 * (big - local)), stats.sign_test(big - local)
    one_sided = (np.maximum(side, lost.p_more) for side in (test.p_more, test.p_less))
    return stats.two_sided(*one_sided) < stats.ALPHA


def errs_on_ranges(rng: np.random.Generator, shape: Sizes) -> Flags:
    """Usable ranges of learning rates over a grid of seven; either arm loses its grip at an lr of its own."""
    lrs = 10.0 ** np.arange(-3, 0.5, 0.5)
    low = rng.normal(-2.5, 0.2, (2, *shape, 1))
    scores = (
        1 / (1 + np.exp(6 * (np.log10(lrs) - low - rng.lognormal(0.4, 0.3, (2, *shape, 1))))) * (np.log10(lrs) > low)
    )
    decades = (scores >= 0.5).sum(axis=-1) / 2 + np.take_along_axis(scores, scores.argmin(axis=-1)[..., None], -1)[
        ..., 0
    ]
    return signs_err(decades[0] - decades[1])


LOG_LRS = np.arange(-5, 3.25, 0.5)  # three decades beyond either end of the grid that is started with
STARTED = (6, 10)  # its ends in there: 0.01 and 1


def edges(rng: np.random.Generator, shape: Sizes) -> tuple[Array, Array]:
    """The ends of the usable ranges of both arms, log10, that are alike: either end may lie beyond the first grid."""
    of_seed = rng.normal(0, 0.3, (2, 1, *shape))
    low, high = of_seed + rng.normal([[[[-2.2]]], [[[0.3]]]], 0.3, (2, 2, *shape))
    return low, high


def range_words(rng: np.random.Generator, low: Array, high: Array, *, grows: bool, stray: float = 0.0) -> Counts:
    """The sign of the word on `wider_lr_range`, 0 for none; the grid grows by what all trials of a suite come to.

    Any trial comes out the other way in a share `stray` of cases, inside its range or outside.
    """
    x = LOG_LRS
    scores = 1 / ((1 + np.exp(12 * (low[..., None] - x))) * (1 + np.exp(12 * (x - high[..., None]))))
    scores = np.where(rng.random(scores.shape) < stray, 1 - scores, scores)
    usable = scores >= 0.5
    first, last = (np.full(scores.shape[1], end) for end in STARTED)
    for _ in range(len(x) if grows else 0):
        reached = usable.any(axis=(0, 2))
        suites = np.arange(len(first))
        first = first - (reached[suites, first] & (first > 0))
        last = last + (reached[suites, last] & (last < len(x) - 1))
    lower, upper = np.minimum(scores[..., :-1], scores[..., 1:]), np.maximum(scores[..., :-1], scores[..., 1:])
    share = np.where(lower >= 0.5, 1.0, np.where(upper >= 0.5, (upper - 0.5) / np.maximum(upper - lower, 1e-12), 0.0))
    pieces = np.arange(len(x) - 1)
    is_in_grid = (pieces >= first[:, None]) & (pieces < last[:, None])
    decades = 0.5 * (share * is_in_grid[:, None, :]).sum(axis=-1)
    at_ends = [np.take_along_axis(usable, end[None, :, None, None], axis=-1)[..., 0] for end in (first, last)]
    ours_open, theirs_open = (at_ends[0] | at_ends[1]).any(axis=-1)
    test = stats.sign_test(decades[0] - decades[1])
    is_supported = (2 * test.p_more < stats.ALPHA) & ~theirs_open
    is_refuted = (2 * test.p_less < stats.ALPHA) & ~ours_open
    return is_supported.astype(int) - is_refuted


def errs_on_grown_ranges(rng: np.random.Generator, shape: Sizes) -> Flags:
    """Arms that are alike; one trial in fifty comes out the other way, so that a grid may end too soon, or too late."""
    return range_words(rng, *edges(rng, shape), grows=True, stray=0.02) != 0


def errs_on_grown_ranges_of_unlike_arms(rng: np.random.Generator, shape: Sizes) -> Flags:
    """The end of one arm's range is that of the other's and a deficit with a long tail, as often less as more."""
    low, high = edges(rng, shape)
    low[0], high[0] = low[1], high[1] + 0.7 * (rng.exponential(1, shape) - np.log(2))
    return range_words(rng, low, high, grows=True) != 0


def finds_wider_range(*, grows: bool) -> Callable[[np.random.Generator, Sizes], Flags]:
    """Whether a range that is half a decade wider at its upper end is found to be."""

    def finds(rng: np.random.Generator, shape: Sizes) -> Flags:
        low, high = edges(rng, shape)
        high[0] += 0.5
        return range_words(rng, low, high, grows=grows) > 0

    return finds


def errs_on_times(rng: np.random.Generator, shape: Sizes) -> Flags:
    """Steps to a target, on a grid of twenty evaluations; a fifth of the runs never gets there."""
    steps = np.ceil(rng.exponential(6, (2, *shape))).clip(max=20)
    steps = np.where(rng.random(steps.shape) < 0.2, 20, steps)
    return signs_err(steps[1] - steps[0])


def errs_on_curves(rng: np.random.Generator, shape: Sizes) -> Flags:
    """The mean of a curve over training, whose noise goes on from one evaluation to the next and has a long tail."""
    noise = rng.standard_t(2, (2, *shape, 20)).cumsum(axis=-1)
    return signs_err(noise[0].mean(axis=-1) - noise[1].mean(axis=-1))


def errs_on_costs(rng: np.random.Generator, shape: Sizes) -> Flags:
    """Times of blocks on a machine that drifts and is disturbed now and then."""
    drift = np.cumsum(rng.normal(0, 0.02, shape), axis=-1)
    disturbed = np.where(rng.random((2, *shape)) < 0.1, rng.exponential(0.5, (2, *shape)), 0.0)
    times = drift + disturbed + rng.normal(0, 0.01, (2, *shape))
    return signs_err(times[0] - times[1])


def errs_on_tuned(rng: np.random.Generator, shape: Sizes) -> Flags:
    """Two arms that are alike, each at the best of seven learning rates by the validation scores of other seeds."""
    wrong = []
    for _ in range(min(shape[0], TUNED_SUITES)):
        test = 0.9 - 0.02 * np.abs(np.arange(7) - 3) + rng.normal(0, 0.01, (2, shape[1], 7))
        chosen = [stats.cross_fitted(scores + rng.normal(0, 0.01, scores.shape), scores) for scores in test]
        differences = chosen[0] - chosen[1]
        signs, flips = stats.sign_test(differences), stats.sign_flip_sides(differences, rng)
        p = stats.two_sided(np.maximum(signs.p_more, flips[0]), np.maximum(signs.p_less, flips[1]))
        wrong.append(bool(p < stats.ALPHA))
    return np.array(wrong)


KINDS: dict[str, Callable[[np.random.Generator, Sizes], Flags]] = {
    "`better` at four points, true at three": errs_on_points,
    "eight claims on one question, any wrong": errs_in_a_family,
    "`equivalent`, one arm fails alone in 15 % of seeds": errs_on_failures,
    "`trend`, a constant lead": errs_on_trend,
    "`recovers`, half of the loss against half": errs_on_recovery,
    "`wider_lr_range`": errs_on_ranges,
    "`wider_lr_range`, the grid grows": errs_on_grown_ranges,
    "`wider_lr_range`, the grid grows, unlike arms": errs_on_grown_ranges_of_unlike_arms,
    "`sooner`, a fifth never gets there": errs_on_times,
    "`more`, `less` of a curve's mean": errs_on_curves,
    "`costs`, blocks of time": errs_on_costs,
    f"`best_tuned` over seven lrs ({TUNED_SUITES} suites)": errs_on_tuned,
}


def finds_lead(world: World, lead: float) -> Callable[[np.random.Generator, Sizes], Flags]:
    """Whether `better` is supported where the arm is ahead by so much."""

    def finds(rng: np.random.Generator, shape: Sizes) -> Flags:
        pairs = world(rng, shape)
        test = stats.sign_test(stats.with_failures(pairs.differences + lead, pairs.ours_failed, pairs.theirs_failed))
        return 2 * test.p_more < stats.ALPHA

    return finds


POWER = {
    "half a decade wider, a grid of two decades": finds_wider_range(grows=False),
    "half a decade wider, the grid grows": finds_wider_range(grows=True),
    "Gauss, one deviation": finds_lead(WORLDS["Gauss"], 1.0),
    "Gauss, two deviations": finds_lead(WORLDS["Gauss"], 2.0),
    "one arm collapses in 5 % of seeds, one deviation": finds_lead(
        lambda rng, shape: Pairs(rng.normal(size=shape), rng.random(shape) < 0.05, np.zeros(shape, bool)), 1.0
    ),
}


CLAIMS = 4  # of a suite that is run until they are decided
LOOKS = (10, 20, 40)
SPENT = tuple(level_spent(n, LOOKS[-1]) for n in LOOKS)


Word = Callable[[int, int, int, int], int]  # of suite, claim and look, with so many claims open: 1, -1, or 0 for none


def decided(shape: tuple[int, int], word: Word) -> tuple[Counts, Counts]:
    """The word on each claim of each suite, and the seeds that it took: each word leaves others more of the level."""
    words, seeds = np.zeros(shape, int), np.full(shape, LOOKS[-1])
    for suite in range(shape[0]):
        for look, n in enumerate(LOOKS):
            while is_open := [claim for claim in range(shape[1]) if not words[suite, claim]]:
                for claim in is_open:
                    words[suite, claim] = word(suite, claim, look, len(is_open))
                    seeds[suite, claim] = n if words[suite, claim] else LOOKS[-1]
                if len(is_open) == sum(words[suite] == 0):
                    break
    return words, seeds


def until_decided(differences: Array) -> tuple[Counts, Counts]:
    """The sign of the word on each lead, 0 for none, and the seeds that it took; of [suite, claim, seed]."""
    tests = [stats.sign_test(differences[..., :n]) for n in LOOKS]

    def word(suite: int, claim: int, look: int, family: int) -> int:
        seen = [(t.wins[suite, claim], t.losses[suite, claim]) for t in tests[: look + 1]]
        usable = tuple(int(wins + losses) for wins, losses in seen)
        needed = counts_needed(usable, SPENT[: look + 1], family)[-1]
        return int(np.sign(seen[-1][0] - seen[-1][1])) if max(seen[-1]) >= needed else 0

    return decided(differences.shape[:2], word)


def equality_until_decided(pairs: Pairs, tau: float = TAU) -> tuple[Counts, Counts]:
    """The word on each equality, 1: supported, -1: refuted, and the seeds that it took; of [suite, claim, seed]."""
    seen = [Pairs(*(array[..., :n] for array in pairs)) for n in LOOKS]
    tests = [stats.equivalence_test(*part, MARGIN, tau) for part in seen]
    usable = [n - (part.ours_failed & part.theirs_failed).sum(axis=-1) for part, n in zip(seen, LOOKS, strict=True)]
    within = [np.minimum(test.below, test.above) for test in tests]
    p_failures, p_refuting = [test.p_failures for test in tests], [test.p_refuting for test in tests]
    shares = np.diff([0.0, *SPENT]) * stats.ALPHA / pairs.differences.shape[1]

    def word(suite: int, claim: int, look: int, family: int) -> int:
        needed = counts_needed(LOOKS[: look + 1], SPENT[: look + 1], family, is_two_sided=False)[-1]
        if within[look][suite, claim] >= needed and p_failures[look][suite, claim] < shares[look]:
            return 1
        counted = tuple(int(n[suite, claim]) for n in usable[: look + 1])
        count = np.asarray(counts_needed(counted, SPENT[: look + 1], family)[-1])
        return -1 if p_refuting[look][suite, claim] <= 2 * stats.upper_tail(count, np.asarray(counted[-1])) else 0

    return decided(pairs.differences.shape[:2], word)


def claims_of(world: World, suites: int) -> Pairs:
    """The pairs of every claim of so many suites, with as many seeds as there are at the last look."""
    rng = np.random.default_rng(11)
    drawn = [world(rng, (suites, LOOKS[-1])) for _ in range(CLAIMS)]
    return Pairs(*(np.stack(arrays, axis=1) for arrays in zip(*drawn, strict=True)))


def errs_until_decided(world: World, suites: int) -> float:
    """The share of suites in which any of the claims gets a word, of which none is true or false."""
    words, _ = until_decided(stats.with_failures(*claims_of(world, suites)))
    return float((words != 0).any(axis=1).mean())


def equalities_err_until_decided(world: World, suites: int) -> tuple[float, float]:
    """The shares of suites in which any equality on the margin is supported, and in which any is refuted."""
    words, _ = equality_until_decided(on_the_margin(claims_of(world, suites)))
    return float((words > 0).any(axis=1).mean()), float((words < 0).any(axis=1).mean())


def seeds_until_decided(lead: float, suites: int) -> tuple[float, float]:
    """The mean number of seeds that a claim takes, and the share that is supported, at a lead of so many deviations."""
    words, seeds = until_decided(np.random.default_rng(12).normal(lead, 1, (suites, CLAIMS, LOOKS[-1])))
    return float(seeds.mean()), float((words > 0).mean())


def seeds_until_equal(spread: float, failing: float, tau: float, suites: int) -> tuple[float, float]:
    """Likewise of equalities: arms that are equal on average, differences with a deviation of so many margins."""
    rng, shape = np.random.default_rng(13), (suites, CLAIMS, LOOKS[-1])
    differences = rng.normal(0, spread * MARGIN, shape)
    pairs = Pairs(differences, *(rng.random(shape) < failing for _ in range(2)))
    words, seeds = equality_until_decided(pairs, tau)
    return float(seeds.mean()), float((words > 0).mean())


LEADS = (0.0, 0.5, 1.0, 2.0)
EQUALS = {  # deviation of differences, in margins, and the share of seeds in which either arm fails
    "0": (0.0, 0.0),
    "a third of the margin": (1 / 3, 0.0),
    "the margin": (1.0, 0.0),
    "a third, either arm fails in 1 % of seeds": (1 / 3, 0.01),
    "a third, either arm fails in 5 % of seeds": (1 / 3, 0.05),
}
TAUS = (0.15, 0.25)
LONELY = "one arm fails alone in 15 % of seeds"  # as tau allows, in a world where differences are 0


def lonely(rng: np.random.Generator, shape: Sizes) -> Pairs:
    """Equal arms, of which one fails alone as often as is allowed at most; less the margin: see `on_the_margin`."""
    return Pairs(np.full(shape, -MARGIN), rng.random(shape) < TAU, np.zeros(shape, bool))


def table_of_looks(suites: int = SUITES, equalities: int = EQUALITIES) -> Iterator[str]:
    """The lines on runs until decided: any wrong word of four claims, and what it takes to find a lead, or equality."""
    looks = f"looks at {', '.join(map(str, LOOKS))} seeds"
    yield f"| `run --until-decided`, {CLAIMS} claims, {looks} | any wrong word, % |"
    yield "| --- | --- |"
    for name, world in WORLDS.items():
        yield f"| until decided: {name} | {100 * errs_until_decided(world, suites):.1f} |"
    yield ""
    yield f"| all {CLAIMS} leads, in deviations | seeds of a claim on average | supported, % |"
    yield "| --- | --- | --- |"
    for lead in LEADS:
        seeds, share = seeds_until_decided(lead, suites)
        yield f"| {lead:g} | {seeds:.1f} | {100 * share:.1f} |"
    yield ""
    yield f"| {CLAIMS} claims `equivalent` on the margin, n = {equalities} | any supported, % | any refuted, % |"
    yield "| --- | --- | --- |"
    for name, world in {**WORLDS, LONELY: lonely}.items():
        shares = " | ".join(f"{100 * share:.1f}" for share in equalities_err_until_decided(world, equalities))
        yield f"| equal until decided: {name} | {shares} |"
    yield ""
    yield f"| arms equal on average, deviation in margins, n = {equalities} | tau | seeds of a claim | supported, % |"
    yield "| --- | --- | --- | --- |"
    for (name, world_of_equals), tau in product(EQUALS.items(), TAUS):
        seeds, share = seeds_until_equal(*world_of_equals, tau, equalities)
        yield f"| {name} | {tau:g} | {seeds:.1f} | {100 * share:.1f} |"


def rates(errs: Callable[[np.random.Generator, Sizes], Flags], suites: int, seeds: tuple[int, ...]) -> list[float]:
    """The share of suites with a wrong verdict, for each number of seeds."""
    return [float(errs(np.random.default_rng([7, n]), (suites, n)).mean()) for n in seeds]


def lead_and_equality(world: World, suites: int, seeds: tuple[int, ...]) -> tuple[list[float], list[float]]:
    """The rates of `better`, and of `equivalent` where half of the seeds lie beyond the margin."""
    return (
        rates(lambda rng, shape: errs_on_lead(world(rng, shape)), suites, seeds),
        rates(lambda rng, shape: errs_on_equality(on_the_margin(world(rng, shape))), suites, seeds),
    )


def table(suites: int = SUITES, seeds: tuple[int, ...] = SEEDS) -> Iterator[str]:
    """The lines of both tables."""
    yield f"| wrong verdicts, %, with {' / '.join(map(str, seeds))} seeds | `better` | `equivalent` on the margin |"
    yield "| --- | --- | --- |"
    for name, world in WORLDS.items():
        columns = (
            " / ".join(f"{100 * rate:.1f}" for rate in of_kind) for of_kind in lead_and_equality(world, suites, seeds)
        )
        yield f"| {name} | {' | '.join(columns)} |"
    yield ""
    yield f"| wrong verdicts, %, with {' / '.join(map(str, seeds))} seeds | |"
    yield "| --- | --- |"
    for name, errs in KINDS.items():
        yield f"| {name} | {_percentages(rates(errs, suites, seeds))} |"
    yield ""
    yield f"| a true lead found, %, with {' / '.join(map(str, seeds))} seeds | |"
    yield "| --- | --- |"
    for name, finds in POWER.items():
        yield f"| {name} | {_percentages(rates(finds, suites, seeds))} |"


def _percentages(shares: list[float]) -> str:
    return " / ".join(f"{100 * share:.1f}" for share in shares)


def main() -> None:
    """Write the tables into the page."""
    text = PAGE.read_text("utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    lines = "\n".join([*table(), "", *table_of_looks()])
    print(lines)
    PAGE.write_text(f"{before}{BEGIN}\n{lines}\n\n{END}{after}", "utf-8")


if __name__ == "__main__":
    main()
