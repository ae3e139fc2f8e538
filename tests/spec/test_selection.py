import re
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from harness.analysis import formatting
from harness.errors import EmptySelection, SuiteError, UnknownValue, UsageError
from harness.spec.selection import narrowed, parse_only, parse_shard, require_known, roundings, select
from harness.spec.suite import Suite
from tests.support.strategies import AXES, a_trial, trials

GRID = [a_trial(norm=norm, lr=lr, seed=seed) for seed in range(5) for lr in (0.1, 0.3) for norm in ("batch", "none")]


LRS = [a_trial(lr=lr, seed=seed) for lr in (0.001, 1 / 3, 1.0, 1234.5678) for seed in (0, 7, 1000)]
FIELDS = [
    a_trial(norm_momentum=momentum, max_grad_norm=clip, norm_affine=affine, dataset=dataset)
    for momentum in (0.1, 1, "cumulative")
    for clip in (None, 0.5)
    for affine in (True, False)
    for dataset in ("a,b.npz", "a=b.npz", "my data.npz", "a")
]


@pytest.mark.parametrize(
    ("grid", "rules", "axis", "wanted"),
    [
        (GRID, ["norm=batch"], "norm", {"batch"}),
        (GRID, ["norm=batch, none", "seed=1"], "norm", {"batch", "none"}),
        (GRID, ["seed=1", "seed=2,3"], "seed", {1, 2, 3}),
        (LRS, ["lr=1e-3,0.001,1.0e-3"], "lr", {0.001}),
        (LRS, ["lr=1E\N{MINUS SIGN}3"], "lr", {0.001}),
        (LRS, ["lr=1/3"], "lr", {1 / 3}),
        (LRS, ["lr=0.333"], "lr", {1 / 3}),
        (LRS, ["lr=1"], "lr", {1.0}),
        (LRS, ["lr=1235"], "lr", {1234.5678}),
        (LRS, ["seed=7.0,1e3"], "seed", {7, 1000}),
        (FIELDS, ["norm_affine=true,False"], "norm_affine", {True, False}),
        (FIELDS, ["max_grad_norm=none"], "max_grad_norm", {None}),
        (FIELDS, ["max_grad_norm=Not set,0.50"], "max_grad_norm", {None, 0.5}),
        (FIELDS, ["norm_momentum=cumulative,1e-1"], "norm_momentum", {"cumulative", 0.1}),
        (FIELDS, ["dataset=a=b.npz"], "dataset", {"a=b.npz"}),
        (FIELDS, ["dataset=a,b.npz"], "dataset", {"a,b.npz"}),
        (FIELDS, ["dataset=a,a,b.npz,my data.npz"], "dataset", {"a", "a,b.npz", "my data.npz"}),
    ],
)
def test_a_rule_finds_the_trials_with_the_values_that_it_lists_and_no_others(grid, rules, axis, wanted):
    chosen = select(grid, parse_only(rules))
    assert {getattr(trial, axis) for trial in chosen} == wanted
    if all(rule.startswith(f"{axis}=") for rule in rules):
        assert chosen == [trial for trial in grid if getattr(trial, axis) in wanted]


@given(trials(), st.data())
def test_a_trial_is_selected_by_its_own_values_written_out(trial, data):
    axes = data.draw(st.lists(st.sampled_from(sorted(AXES)), unique=True))
    only = parse_only([f"{axis}={getattr(trial, axis)}" for axis in axes])
    assert select([trial], only) == [trial]


@pytest.mark.parametrize("rule", ["", "norm", "norm=", "=batch", "=", "norm=batch,", "norm=,batch", "key=ab,", ","])
def test_a_rule_without_axis_or_values_is_refused(rule):
    with pytest.raises(UsageError, match=r"^--only"):
        parse_only([rule])


@pytest.mark.parametrize(
    "rule",
    [
        *("lr=high", "lr=none", "seed=1.5", "seed=true", "norm_affine=1", "norm_affine=yes", "epochs=few"),
        "seed=" + "1" * 5000,
        *("lr=1/0", "lr=1/", "lr=0x1", "seed=1/3", "seed=inf"),
    ],
)
def test_a_value_of_another_type_is_refused_with_the_types_that_it_may_have(rule):
    axis, _, value = rule.partition("=")
    with pytest.raises(UsageError) as caught:
        select(GRID, parse_only([rule]))
    assert str(caught.value).startswith(f"--only: {axis} can't be {value!r}; it takes ")
    assert caught.value.exit_code == 2


def test_two_axes_in_one_rule_are_told_to_have_one_each():
    with pytest.raises(UsageError, match="each axis has an --only of its own: --only seed=0"):
        select(GRID, parse_only(["lr=0.1,seed=0"]))


@pytest.mark.parametrize(("wrong", "right"), [("bacth_size", "batch_size"), ("keys", "key"), ("sed", "seed")])
def test_an_unknown_axis_is_named_with_the_nearest_one(wrong, right):
    with pytest.raises(UsageError, match=rf"unknown axis {wrong!r}; did you mean {right!r}\?"):
        select(GRID, parse_only([f"{wrong}=1"]))


def test_no_rule_selects_everything_in_its_order():
    assert select(iter(GRID), {}) == GRID


def test_every_rule_must_hold_and_any_of_its_values():
    chosen = select(GRID, parse_only(["norm=batch", "seed=1,3", "lr=0.30"]))
    assert chosen == [t for t in GRID if t.norm == "batch" and t.seed in (1, 3) and t.lr == 0.3]
    assert len(chosen) == 2


@given(st.sampled_from(GRID), st.integers(1, 16))
def test_the_start_of_a_key_selects_the_trials_whose_key_starts_so(trial, length):
    chosen = select(GRID, parse_only([f"key={trial.key[:length]}"]))
    assert chosen == [t for t in GRID if t.key[:length] == trial.key[:length]]


def test_key_and_axes_add_up():
    keys = ",".join(trial.key for trial in GRID[:3])
    assert select(GRID, parse_only([f"key={keys}", "norm=none"])) == [GRID[1]]


def test_the_middle_of_a_key_selects_nothing():
    with pytest.raises(UnknownValue):
        select(GRID[:1], parse_only([f"key={GRID[0].key[1:]}"]))


@given(st.lists(st.floats(1e-12, 1e12), min_size=1, max_size=4, unique=True), st.data())
def test_a_number_is_found_by_all_its_digits_and_as_reports_print_it_unless_several_print_so(lrs, data):
    grid, lr = [a_trial(lr=lr) for lr in lrs], data.draw(st.sampled_from(lrs))
    assert [trial.lr for trial in select(grid, parse_only([f"lr={lr}"]))] == [lr]
    printed = formatting.value(lr)
    alike = [other for other in lrs if formatting.value(other) == printed]
    exact = [other for other in alike if other == float(printed.replace(formatting.MINUS, "-"))]
    if len(alike) == 1 or exact:
        assert [trial.lr for trial in select(grid, parse_only([f"lr={printed}"]))] == (exact or alike)
    else:
        with pytest.raises(UsageError, match="type more digits"):
            select(grid, parse_only([f"lr={printed}"]))


@given(st.floats(2**-30, 2**30, width=32), st.sampled_from([np.float32, np.float64, torch.tensor]))
def test_a_number_of_numpy_or_torch_is_found_by_what_it_prints_as_and_by_all_its_digits(number, made_by):
    made = made_by(number)
    trial = a_trial(lr=made)
    texts = (str(np.float32(number)), str(number), repr(float(number)))
    assert all(select([trial], parse_only([f"lr={text}"])) == [trial] for text in texts)


def test_float32_is_the_number_that_was_typed():
    grid = [a_trial(lr=lr) for lr in np.logspace(-3, 0, 4, dtype=np.float32)]
    assert [trial.lr for trial in grid] == [0.001, 0.01, 0.1, 1.0]
    assert [a_trial(lr=lr).lr for lr in (Fraction(1, 10), Decimal("0.1"), np.float16(0.1), np.longdouble("0.1"))] == [
        0.1
    ] * 4


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["C"]) | st.sampled_from(", =1"), min_size=1)


@given(st.lists(TEXTS, min_size=1, max_size=5, unique=True), st.data())
def test_a_name_is_found_by_itself_whatever_letters_it_has(names, data):
    grid, name = [a_trial(dataset=name) for name in names], data.draw(st.sampled_from(names))
    assume(all(name.split(",")))
    assert [trial.dataset for trial in select(grid, parse_only([f"dataset={name}"]))] == [name]


@pytest.mark.parametrize(
    ("rule", "wrong", "hint"),
    [
        ("norm=layer", "norm=layer", "they have batch, none"),
        ("norm=batch,nome", "norm=nome", "did you mean none? they have batch, none"),
        ("norm=Batch", "norm=Batch", "did you mean batch? they have batch, none"),
        ("lr=0.2", "lr=0.2", "did you mean 0.3? they have 0.1, 0.3"),
        ("lr=0.1,-1", "lr=-1", "did you mean 0.1? they have 0.1, 0.3"),
        ("lr=0.12", "lr=0.12", "did you mean 0.1? they have 0.1, 0.3"),
        ("lr=nan", "lr=nan", "they have 0.1, 0.3"),
        ("seed=0,7", "seed=7", "did you mean 4? they have 0, 1, 2, 3, 4"),
        ("key=zz", "key=zz", "they have "),
        ("epochs=3", "epochs=3", "they have None"),
        ("norm_affine=false", "norm_affine=false", "they have True"),
    ],
)
def test_a_value_that_no_trial_has_is_named_with_the_nearest_that_one_has(rule, wrong, hint):
    with pytest.raises(
        UnknownValue, match=rf"^--only {re.escape(wrong)}: no trial has it; {re.escape(hint)}"
    ) as caught:
        select(GRID, parse_only([rule]))
    assert caught.value.exit_code == 2


def test_of_many_values_the_first_are_listed():
    grid = [a_trial(seed=seed) for seed in range(50)]
    with pytest.raises(UnknownValue, match=r"did you mean 49[?] they have 0, 1, .*, 11 and 38 more$"):
        select(grid, parse_only(["seed=99"]))


def test_a_number_that_several_are_printed_as_is_refused_with_all_of_them():
    grid = [a_trial(lr=lr) for lr in (0.33312, 0.33318, 0.4)]
    with pytest.raises(UsageError, match=r"--only lr=0.333 is short for 0.33312 and for 0.33318; type more digits"):
        select(grid, parse_only(["lr=0.333"]))
    assert select(grid, parse_only(["lr=0.33318"])) == [grid[1]]


def test_a_number_that_stands_for_another_is_told():
    assert list(roundings(LRS, parse_only(["lr=1,0.333", "seed=0"]))) == ["lr=0.333 stands for 0.3333333333333333"]


def test_values_that_exist_but_never_together_select_nothing():
    with pytest.raises(EmptySelection, match="no trial matches --only norm=batch --only seed=4") as caught:
        select(GRID[:-2], parse_only(["norm=batch", "seed=4", "lr=0.3"]))
    assert caught.value.exit_code == 3


def test_a_suite_of_several_takes_the_values_that_it_has():
    only = parse_only(["norm=batch,layer", "seed=9", "seed=1"])
    assert select(GRID, narrowed(GRID, only)) == [GRID[4], GRID[6]]
    with pytest.raises(EmptySelection, match="no trial matches --only lr=7"):
        narrowed(GRID, parse_only(["lr=7", "seed=1"]))


def test_a_suite_without_trials_is_wrong_and_not_the_selection():
    with pytest.raises(SuiteError, match="the suite has no trial"):
        select([], parse_only(["norm=batch"]))


def test_text_that_would_move_the_cursor_is_quoted():
    with pytest.raises(UsageError) as caught:
        select(GRID, parse_only(["norm\x1b[2J\n=a"]))
    assert str(caught.value).isprintable()
    with pytest.raises(UnknownValue) as caught:
        select(GRID, parse_only(["norm=a\x1b[2J\nb"]))
    assert str(caught.value).isprintable()


@given(st.integers(1, 9), st.permutations(GRID))
def test_shards_share_out_what_is_selected_evenly_and_alike_in_any_order(count, grid):
    chosen = select(GRID, {"norm": frozenset({"none"})})
    parts = [select(GRID, {"norm": frozenset({"none"})}, (number, count)) for number in range(1, count + 1)]
    assert sorted(trial.key for part in parts for trial in part) == sorted(trial.key for trial in chosen)
    assert {len(part) for part in parts} <= {len(chosen) // count, -(-len(chosen) // count)}
    for number, part in enumerate(parts, start=1):
        assert {*select(grid, {"norm": frozenset({"none"})}, (number, count))} == {*part}


def test_a_shard_that_holds_nothing_is_an_empty_selection():
    with pytest.raises(EmptySelection, match="shard 4/4 holds no trial: 3 are selected"):
        select(GRID[:3], {}, (4, 4))


@pytest.mark.parametrize(
    "text", ["", "1", "1/", "/2", "0/2", "3/2", "1/0", "a/2", "1/2/3", " 1/2", "1/2 ", "-1/2", "+1/2"]
)
def test_a_wrong_shard_is_refused(text):
    with pytest.raises(UsageError, match="--shard needs I/N"):
        parse_shard(text)


def test_a_shard_counts_from_one():
    assert (parse_shard("1/3"), parse_shard("3/3")) == ((1, 3), (3, 3))


@pytest.mark.parametrize(("typed", "meant"), [("learning_rate", "lr"), ("bs", "batch_size"), ("normalization", "norm")])
def test_what_others_call_an_axis_leads_to_its_name_here(typed, meant):
    with pytest.raises(UsageError, match=f"unknown axis '{typed}'; did you mean '{meant}'"):
        require_known([a_trial()], {typed: frozenset({"0.1"})})
    with pytest.raises(SuiteError, match=f"unknown field '{typed}'; did you mean '{meant}'"):
        Suite(dataset="digits", model="mlp-8", steps=3, **{typed: 0.1})
