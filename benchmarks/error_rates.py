"""How often verdicts err in worlds whose truth is known: the tables of docs/measurements.md.

`python -m benchmarks.error_rates` simulates and writes them there. Each rule is the function that judges results
(harness/analysis/stats), on thousands of suites at once: arrays are [suite, seed]. In every world the sentence of the
claim is neither true nor false: a seed is as likely ahead of the margin as behind it. Wrong is any word but undecided;
where arms are to be equal, supported.
"""

from collections.abc import Callable, Iterator
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
TUNED_SUITES = 400  # sign-flip tests of 20 seeds take time
MARGIN, TAU = 1.0, 0.15
EXAMPLES = 50  # of a test set: accuracies are multiples of one in so many

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]


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
    "Gauss, one deviation": finds_lead(WORLDS["Gauss"], 1.0),
    "Gauss, two deviations": finds_lead(WORLDS["Gauss"], 2.0),
    "one arm collapses in 5 % of seeds, one deviation": finds_lead(
        lambda rng, shape: Pairs(rng.normal(size=shape), rng.random(shape) < 0.05, np.zeros(shape, bool)), 1.0
    ),
}


CLAIMS = 4  # of a suite that is run until they are decided
LOOKS = (10, 20, 40)
SPENT = tuple(level_spent(n, LOOKS[-1]) for n in LOOKS)


def until_decided(differences: Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The sign of the word on each claim, 0 for none, and the seeds that it took; of [suite, claim, seed]."""
    words = np.zeros(differences.shape[:2], int)
    seeds = np.full(words.shape, LOOKS[-1])
    tests = [stats.sign_test(differences[..., :n]) for n in LOOKS]
    for suite in range(len(differences)):
        for look, n in enumerate(LOOKS):
            while is_open := [claim for claim in range(words.shape[1]) if not words[suite, claim]]:
                for claim in is_open:
                    seen = [(t.wins[suite, claim], t.losses[suite, claim]) for t in tests[: look + 1]]
                    usable = tuple(int(wins + losses) for wins, losses in seen)
                    needed = counts_needed(usable, SPENT[: look + 1], len(is_open))[-1]
                    if max(seen[-1]) >= needed:
                        words[suite, claim], seeds[suite, claim] = np.sign(seen[-1][0] - seen[-1][1]), n
                if len(is_open) == sum(words[suite] == 0):
                    break
    return words, seeds


def errs_until_decided(world: World, suites: int) -> float:
    """The share of suites in which any of the claims gets a word, of which none is true or false."""
    rng = np.random.default_rng(11)
    drawn = [world(rng, (suites, LOOKS[-1])) for _ in range(CLAIMS)]
    words, _ = until_decided(np.stack([stats.with_failures(*pairs) for pairs in drawn], axis=1))
    return float((words != 0).any(axis=1).mean())


def seeds_until_decided(lead: float, suites: int) -> tuple[float, float]:
    """The mean number of seeds that a claim takes, and the share that is supported, at a lead of so many deviations."""
    words, seeds = until_decided(np.random.default_rng(12).normal(lead, 1, (suites, CLAIMS, LOOKS[-1])))
    return float(seeds.mean()), float((words > 0).mean())


LEADS = (0.0, 0.5, 1.0, 2.0)


def table_of_looks(suites: int = SUITES) -> Iterator[str]:
    """The lines on runs until decided: any wrong word of four claims, and what it takes to find a lead."""
    yield f"| `run --until-decided`, {CLAIMS} claims, looks at {', '.join(map(str, LOOKS))} seeds | any wrong word, % |"
    yield "| --- | --- |"
    for name, world in WORLDS.items():
        yield f"| until decided: {name} | {100 * errs_until_decided(world, suites):.1f} |"
    yield ""
    yield f"| all {CLAIMS} leads, in deviations | seeds of a claim on average | supported, % |"
    yield "| --- | --- | --- |"
    for lead in LEADS:
        seeds, share = seeds_until_decided(lead, suites)
        yield f"| {lead:g} | {seeds:.1f} | {100 * share:.1f} |"


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
