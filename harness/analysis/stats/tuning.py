"""Which learning rate to choose, what the choice is worth, and how much it matters.

Scores are [seed, lr], higher is better. An lr is chosen by the validation scores of OTHER seeds and judged by the test
score of this one: choosing on the scored seed, or on test data, would flatter.
"""

import math

import numpy as np
from numpy.typing import NDArray

from harness.analysis.stats.arrays import FloatArray
from harness.analysis.stats.paired import RESAMPLES, Interval, expanded_percentiles

LOWEST = -1e300  # a missing score in a sum: finite, so that what is not drawn counts as 0
BAND_RESAMPLES = 1_999  # of curves that are looked at; numbers get RESAMPLES


def lr_sensitivity(losses: FloatArray, initial_loss: float) -> float:
    """How much loss a random lr of the grid costs against the best: E[min(l, l0) - l*] (Wortsman et al. 2023).

    A missing loss, a run that diverged, counts as the loss at initialisation.
    """
    capped = np.fmin(losses, initial_loss)
    return float(np.mean(capped) - np.min(capped))


def chosen_lrs(validation: FloatArray) -> NDArray[np.intp]:
    """Per seed the index of the lr that the other seeds would choose; a missing score never wins."""
    if len(validation) < 2:
        raise ValueError("an lr is chosen on the other seeds, and there is only one seed")
    known = np.where(np.isnan(validation), -np.inf, validation)
    return np.array([np.argmax(np.delete(known, seed, axis=0).mean(axis=0)) for seed in range(len(known))])


def cross_fitted(validation: FloatArray, test: FloatArray) -> FloatArray:
    """Per seed its test score at the lr that the other seeds would choose."""
    return test[np.arange(len(test)), chosen_lrs(validation)]


def tuned_difference(
    ours: tuple[FloatArray, FloatArray], theirs: tuple[FloatArray, FloatArray], rng: np.random.Generator
) -> Interval:
    """The mean cross-fitted difference with its bootstrap interval over seeds; each side is (validation, test).

    Each resample chooses the lr of both sides again.
    """
    n = len(ours[0])
    estimate = float(np.mean(cross_fitted(*ours) - cross_fitted(*theirs)))
    if n < 3:
        return Interval(estimate, math.nan, math.nan)
    counts = rng.multinomial(n, np.full(n, 1 / n), RESAMPLES)
    draws = _refitted(*ours, counts) - _refitted(*theirs, counts)
    low, high = np.percentile(draws, expanded_percentiles(n))
    return Interval(estimate, float(low), float(high))


def _refitted(validation: FloatArray, test: FloatArray, counts: NDArray[np.int64]) -> FloatArray:
    """Per resample, which holds each seed `counts` times, the mean cross-fitted score."""
    score = np.zeros(len(counts))
    for seed, scores in enumerate(test):
        score += counts[:, seed] * scores[_votes(validation, counts, seed).argmax(axis=1)]
    return np.asarray(score / len(test))


def _votes(validation: FloatArray, counts: NDArray[np.int64], seed: int) -> FloatArray:
    """[resample, lr]: the summed validation scores of the other seeds; a seed that is alone counts itself."""
    others = counts.copy()
    others[:, seed] = np.where(counts[:, seed] == len(validation), counts[:, seed], 0)
    return np.asarray(
        others.astype(float) @ np.where(np.isnan(validation), LOWEST, validation)
    )  # whole numbers are slow


def best_of_k(validation: FloatArray, test: FloatArray) -> FloatArray:
    """[seed, k - 1]: the expected test score of the best of k learning rates drawn from the grid, for k from 1 up.

    The best is the one that the other seeds' validation scores favour; draws are without replacement, so that the last
    column is the cross-fitted score (after Dodge et al. 2019, "Show your work", equation 1).
    """
    if len(validation) < 2:
        raise ValueError("an lr is chosen on the other seeds, and there is only one seed")
    known = np.where(np.isnan(validation), -np.inf, validation)
    chance = _chance_of_best(test.shape[1])
    # Ties go to the lower lr, as in `chosen_lrs`: sort by falling score, then reverse.
    orders = [
        np.argsort(-np.delete(known, seed, axis=0).mean(axis=0), kind="stable")[::-1] for seed in range(len(known))
    ]
    return np.array([chance @ scores[order] for scores, order in zip(test, orders, strict=True)])


def _chance_of_best(n: int) -> FloatArray:
    """[k - 1, rank]: how likely the candidate of this rank, 0 the worst of n, is the best of k draws."""
    return np.array([[math.comb(rank, k - 1) / math.comb(n, k) for rank in range(n)] for k in range(1, n + 1)])


def best_of_k_band(
    validation: FloatArray, test: FloatArray, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Over k from 1 up the mean of `best_of_k` over seeds, and the ends of its 95 % bootstrap band over seeds.

    Pointwise; NaN for fewer than three seeds. Each resample of seeds chooses again.
    """
    n = len(validation)
    mean = best_of_k(validation, test).mean(axis=0)
    if n < 3:
        return mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    chance = _chance_of_best(test.shape[1])
    counts = rng.multinomial(n, np.full(n, 1 / n), BAND_RESAMPLES)
    draws = np.zeros((len(counts), test.shape[1]))
    for seed, scores in enumerate(test):
        order = np.argsort(-_votes(validation, counts, seed), axis=1, kind="stable")[:, ::-1]
        draws += counts[:, seed, None] * (scores[order] @ chance.T)
    low, high = np.percentile(draws / n, expanded_percentiles(n), axis=0)
    return mean, low, high
