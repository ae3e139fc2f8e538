"""What a verdict says in words: the grid point that it rests on, and what its n counts."""

import math
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis import formatting
from harness.analysis.claim_words import claim_words
from harness.analysis.verdicts import verdicts
from harness.reporting.figures.verdict import estimates
from harness.reporting.tables import comparisons_table
from harness.spec.claim import Claim
from tests.support.manifests import a_manifest
from tests.support.simulated import simulate
from tests.support.verdicts import NORMS, SEEDS, judged, verdict_on

LRS = [0.01, 0.1, 1.0]
EQUAL = Claim.equivalent("batch", to="none", within=0.006, tau=0.3)
SPREAD = np.linspace(-1, 1, SEEDS)


def led(lead, spread=(0.001, 0.001, 0.001)):
    """Accuracy in which batch leads none by so much at each lr, give or take as much over seeds."""
    at = dict(zip(LRS, zip(lead, spread, strict=True), strict=True))

    def value(row):
        mean, width = at[row["lr"]]
        return 0.5 + (mean + width * SPREAD[row["seed"]]) * (row["norm"] == "batch")

    return value


@pytest.mark.parametrize(
    ("claim", "values", "word", "closest"),
    [
        (EQUAL, led((-0.001, 0.004, 0.001)), "supported", "lr 0.1 "),
        (EQUAL, led((-0.02, -0.01, 0.03)), "refuted", "lr 0.1 "),
        (Claim.better("batch", than="none"), led((0.05, 0.06, 0.3), (0.001, 0.05, 0.001)), "supported", "lr 0.1 "),
        (Claim.better("batch", than="none"), led((-0.05, -0.06, 0.1), (0.001, 0.06, 0.001)), "refuted", "lr 0.1 "),
        (Claim.better("batch", than="none"), led((0.001, 0.004, -0.001), (0.2, 0.01, 0.2)), "undecided", "lr 0.1 "),
    ],
)
def test_the_closest_call_is_the_point_nearest_to_another_verdict(tmp_path, claim, values, word, closest):
    verdict = judged(tmp_path, {"norm": NORMS, "lr": LRS, "seed": range(SEEDS)}, claim, values)
    assert verdict.word == word
    assert f"The closest call: at {closest}" in verdict.sentence


@pytest.mark.parametrize(("seeds", "said"), [(SEEDS, f"of {SEEDS} seeds"), (3, "a verdict needs 6 seeds")])
def test_against_a_published_figure_seeds_are_counted_and_no_pairs(tmp_path, seeds, said):
    claim = Claim.matches("batch", published=0.9, within=0.01)
    verdict = judged(tmp_path, {"norm": NORMS, "seed": range(seeds)}, claim, lambda row: 0.9 + 0.001 * row["seed"])
    assert said in verdict.sentence
    assert "pair" not in verdict.sentence
    (figure,) = estimates(simulate(tmp_path, {"norm": NORMS, "seed": range(seeds)}), [verdict])
    assert f"n = {seeds} seeds;" in figure.caption


def test_arms_are_written_alike_in_the_claim_and_in_what_is_said_of_it(tmp_path):
    results = simulate(
        tmp_path, {"decay_norms": [True, False], "seed": range(SEEDS)}, claims=[Claim.better(True, than=False)]
    )
    results = replace(results, manifest=replace(results.manifest, compare="decay_norms"))
    verdict = verdict_on(results)
    assert verdict.statement == "true has a higher test accuracy than false"
    assert "with true than with false" in verdict.sentence


@pytest.mark.parametrize(
    ("arm", "compare", "words"),
    [
        ("batch", "norm", "with batch"),
        ("none", "norm", "without norm"),
        ("none at world size 1", "norm", "without norm at world size 1"),
        ("batch at world size 1", "norm", "with batch at world size 1"),
        ("0.1", "lr", "with lr 0.1"),
        ("true", "decay_norms", "with decay norms true"),
        ("not set", "max_grad_norm", "with max grad norm not set"),
        ("batch", "eval_statistics", "with eval statistics batch"),
        ("rank0 at world size 2", "ddp_eval_buffers", "with ddp eval buffers rank0 at world size 2"),
        ("adam", "optimizer", "with adam"),
    ],
)
def test_an_arm_reads_as_english_after_a_count(arm, compare, words):
    assert formatting.with_arm(arm, compare) == words


def test_a_lead_is_told_as_a_count_of_seeds_with_its_test_before_any_mean(tmp_path):
    axes, claim = {"norm": NORMS, "seed": range(SEEDS)}, Claim.better("batch", than="none", by=0.01)
    leads = [0.02, 0.03, 0.01, 0.04, 0.05, 0.02, 0.03, 0.06, 0.001]
    verdict = judged(tmp_path, axes, claim, lambda row: 0.8 + leads[row["seed"]] * (row["norm"] == "batch"))
    assert verdict.sentence.startswith(
        "batch leads none in test accuracy by more than 1.0 points in 7 of 9 seeds, falls short of that in 1, level "
        "in 1 (exact sign test: p = 0.07). Median difference: 3.0 points higher (95 % interval 1.0 to 5.0 points "
        "higher). As an estimate, on which no word rests: test accuracy is 2.9 points higher with batch than with none"
    )
    assert "one." in verdict.sentence[-5:]


@pytest.mark.parametrize(
    ("value", "text"),
    [(-5.55e-18, "0.0 points"), (4e-5, "0.004 points"), (5.14e-5, "0.005 points"), (0.004, "0.4 points")],
)
def test_what_rounding_leaves_of_zero_is_zero_and_what_is_small_keeps_a_digit(value, text):
    assert formatting.amount(value, formatting.POINTS) == text


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([0.0093, 0.0088], "0.9 points higher"),
        ([0.0093, 0.0188], "0.9 to 1.9 points higher"),
        ([-0.0093, 0.0092], "0.9 points lower to 0.9 points higher"),
    ],
)
def test_differences_that_read_the_same_are_told_once(values, text):
    assert formatting.range_of(values, formatting.Direction(formatting.POINTS, "higher", "lower")) == text


UNITS = [formatting.POINTS, formatting.STEPS, formatting.DECADES, formatting.PLAIN, formatting.Unit("kWh")]
SIGNED = re.compile(r"(?:(at least|at most) )?(\S+)(?: (points|steps|decades|kWh))? (higher|lower)")


def _number(text):
    return float(text.replace(formatting.MINUS, "-"))


def _step(value, unit):
    """The least by which the printed amounts next to this one may differ from it, as a value."""
    if unit.decimals is not None:
        return 10**-unit.decimals / unit.factor
    return 10 ** (math.floor(math.log10(abs(value))) + 1 - unit.digits) if value else 0


@given(st.floats(-50, 50), st.sampled_from(UNITS), st.sampled_from(["exact", "at least", "at most"]))
def test_a_difference_in_words_is_the_signed_difference_and_its_bound(value, unit, bound):
    text = formatting.difference(value, formatting.Direction(unit, "higher", "lower"), bound)
    said_bound, size, name, direction = SIGNED.fullmatch(text).groups()
    sign = 1 if direction == "higher" else -1
    read = sign * _number(size) / unit.factor
    assert (name or "") == unit.name
    assert read == pytest.approx(value, abs=_step(value, unit) * (0.501 if bound == "exact" else 1.001) + 1e-9)
    # "At most 0.4 points lower" says >= -0.4: what is said of the size is turned where the sign is negative.
    is_lower_bound = {None: None, "at least": sign > 0, "at most": sign < 0}[said_bound]
    assert is_lower_bound == {"exact": None, "at least": True, "at most": False}[bound]
    if bound != "exact":
        assert read <= value + 1e-7 if bound == "at least" else read >= value - 1e-7, "excludes what it includes"


def _signed_ends(text, unit):
    """Both ends of an interval as a reader takes them, as values."""
    first, second = text.split(" to ")
    if not first.endswith(("higher", "lower")):
        first = f"{first} {second.partition(' ')[2]}"
    for end in (first, second):
        _, size, _, direction = SIGNED.fullmatch(end).groups()
        yield (1 if direction == "higher" else -1) * _number(size) / unit.factor


@given(st.floats(-50, 50), st.floats(1e-3, 50), st.sampled_from(UNITS), st.booleans())
def test_an_interval_in_words_includes_all_that_it_includes_and_little_else(low, width, unit, is_fitted):
    high = low + width
    direction = formatting.Direction(unit, "higher", "lower")
    direction = direction.fitted(low, high) if is_fitted else direction
    read_low, read_high = sorted(_signed_ends(formatting.differences(low, high, direction), unit))
    slack = 1e-7
    assert read_low <= low + slack
    assert high - slack <= read_high
    for read, end in ((read_low, low), (read_high, high)):
        assert abs(read - end) <= 1.001 * _step(end, direction.unit) + slack


@given(st.floats(-50, 50), st.floats(1e-3, 50), st.sampled_from([formatting.POINTS, formatting.STEPS]))
def test_an_estimate_has_the_digits_that_the_width_of_its_interval_bears(low, width, unit):
    step, shown_width = 10.0 ** -unit.fitted(low, low + width).decimals, width * unit.factor
    longest = unit.factor * max(abs(low), abs(low + width), 1000 / unit.factor)
    assert step == 1 or step >= 0.999 * shown_width / 100, "no finer than the second digit of the width"
    assert step <= max(1.001 * shown_width / 10, 0.001 * longest), "and no coarser, but for four digits in all"


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0.031, 0.073, "3.1 to 7.3 points higher"),
        (0.0309, 0.0731, "3.0 to 7.4 points higher"),
        (0.104, 0.504, "10 to 51 points higher"),
        (0.00046, 0.0021, "0.04 to 0.21 points higher"),
        (-0.00004, 0.052, "0.1 points lower to 5.2 points higher"),
        (0.2, 0.2, "20.0 to 20.0 points higher"),
    ],
)
def test_an_interval_is_told_in_the_digits_of_its_width(low, high, text):
    direction = formatting.Direction(formatting.POINTS, "higher", "lower").fitted(low, high)
    assert formatting.differences(low, high, direction) == text


@given(st.floats(-4, 4), st.floats(1e-3, 4), st.sampled_from([formatting.TIMES, formatting.TIMES_LESS]))
def test_an_interval_of_ratios_includes_all_that_it_includes(low, width, unit):
    read = [_number(end) for end in formatting.span(low, low + width, unit.fitted(low, low + width)).split(" to ")]
    low, high = sorted(np.exp([unit.factor * low, unit.factor * (low + width)]))
    assert read[0] <= low * (1 + 1e-7)
    assert high * (1 - 1e-7) <= read[1]
    assert read[1] / read[0] <= (high / low) ** 1.5 + 0.003


@pytest.mark.parametrize(
    ("claim", "words"),
    [
        (Claim.sooner("batch", than="none"), "a validation accuracy of 90.0 %"),
        (Claim.wider_lr_range("batch", than="none"), "a test accuracy of 90.0 %"),
    ],
)
def test_a_target_is_said_to_be_of_the_data_that_it_is_reached_on(tmp_path, claim, words):
    (verdict,) = verdicts(simulate(tmp_path, {"norm": NORMS, "lr": [0.1, 0.3], "seed": range(3)}, claims=[claim]))
    assert words in verdict.statement


@pytest.mark.parametrize(
    ("lost", "measured", "words"),
    [
        ([], True, None),
        (
            [0, 3],
            True,
            "Of these scores 2 of 10 with batch were replaced by guessing; as measured it is 80 % against 60 %",
        ),
        (
            [0, 3],
            False,
            "Of these scores 2 of 10 with batch were replaced by guessing; as measured it is 80 % against 60 %",
        ),
        (range(10), False, "Of these scores 10 of 10 with batch were replaced by guessing."),
    ],
)
def test_where_guessing_stands_in_for_scores_both_means_are_told(tmp_path, lost, measured, words):
    claim = Claim.better("batch", than="none")
    results = simulate(tmp_path, {"norm": NORMS, "seed": range(10)}, claims=[claim])
    trials = results.trials
    accuracy = np.where(trials["norm"] == "batch", 0.8, 0.6)
    is_lost = (trials["norm"] == "batch") & trials["seed"].isin(list(lost))
    status = trials["status"].mask(is_lost, "no_better_than_init" if measured else "nonfinite")
    test_accuracy = pd.Series(accuracy, index=trials.index).mask(is_lost & (not measured))
    results = replace(results, trials=trials.assign(test_accuracy=test_accuracy, status=status))
    (verdict,) = verdicts(results, np.random.default_rng(0))
    (comparison, *_) = verdict.comparisons
    assert (comparison.arm_replaced, comparison.than_replaced) == (len(lost), 0)
    guess = 1 / trials["classes"].iloc[0]
    assert comparison.arm_mean == pytest.approx((0.8 * (10 - len(lost)) + guess * len(lost)) / 10)
    if words is None:
        assert "replaced" not in verdict.sentence
        assert np.isnan(comparison.arm_measured)
    else:
        assert words in verdict.sentence
    (table,) = [comparisons_table("t", "t", verdict.comparisons[:1])]
    cell = dict(zip(table.columns, table.rows[0], strict=True))["means as measured (scores replaced)"][0]
    assert cell == ("" if words is None else "unknown, 60.0 (10, 0)" if len(lost) == 10 else "80, 60 (2, 0)")


def test_a_claim_where_the_loss_is_that_of_the_task_says_that_none_is_set():
    words = claim_words(Claim.better("batch", than="none", loss=["", "huber"]), a_manifest())
    assert words.where == ", at loss not set and huber"
