import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import EmptySelection, SuiteError, UsageError
from harness.spec.selection import parse_only, parse_shard, select
from tests.support.strategies import AXES, a_trial, trials

GRID = [a_trial(norm=norm, lr=lr, seed=seed) for seed in range(5) for lr in (0.1, 0.3) for norm in ("batch", "none")]


@pytest.mark.parametrize(
    ("rules", "wanted"),
    [
        ([], {}),
        (["norm=batch"], {"norm": {"batch"}}),
        (["norm=batch,none", "seed=1"], {"norm": {"batch", "none"}, "seed": {1}}),
        (["seed=1", "seed=2,3"], {"seed": {1, 2, 3}}),
        (["lr=1e-3,0.001,1.0e-3"], {"lr": {0.001}}),
        (["lr=3"], {"lr": {3.0}}),
        (["norm_affine=true,False"], {"norm_affine": {True, False}}),
        (["epochs=none,3", "decay_every=None"], {"epochs": {None, 3}, "decay_every": {None}}),
        (["norm_momentum=cumulative,0.5"], {"norm_momentum": {"cumulative", 0.5}}),
        (["model=8", "norm=none"], {"model": {"8"}, "norm": {"none"}}),
        (["key=0123,abc"], {"key": {"0123", "abc"}}),
        (["dataset=a=b.npz"], {"dataset": {"a=b.npz"}}),
    ],
)
def test_a_rule_is_read_as_values_of_its_axis(rules, wanted):
    found = parse_only(rules)
    assert found == wanted
    assert {axis: {*map(type, v)} for axis, v in found.items()} == {a: {*map(type, v)} for a, v in wanted.items()}


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
        *("lr=high", "lr=none", "seed=1.5", "seed=true", "seed=1e3", "norm_affine=1", "norm_affine=yes", "epochs=few"),
        "seed=" + "1" * 5000,
    ],
)
def test_a_value_of_another_type_is_refused_with_the_types_that_it_may_have(rule):
    axis, _, value = rule.partition("=")
    with pytest.raises(UsageError) as caught:
        parse_only([rule])
    assert str(caught.value).startswith(f"--only: {axis} can't be {value!r}; it takes ")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(("wrong", "right"), [("bacth_size", "batch_size"), ("keys", "key"), ("sed", "seed")])
def test_an_unknown_axis_is_named_with_the_nearest_one(wrong, right):
    with pytest.raises(UsageError, match=rf"unknown axis {wrong!r}; did you mean {right!r}\?"):
        parse_only([f"{wrong}=1"])


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
    with pytest.raises(EmptySelection):
        select(GRID[:1], parse_only([f"key={GRID[0].key[1:]}"]))


@pytest.mark.parametrize("rule", ["norm=layer", "lr=0.2", "lr=nan", "key=zz", "epochs=3"])
def test_a_selection_that_matches_nothing_says_so_with_its_rule(rule):
    with pytest.raises(EmptySelection) as caught:
        select(GRID, parse_only([rule]))
    assert caught.value.exit_code == 3
    assert rule.partition("=")[0] in str(caught.value)
    assert rule.partition("=")[2] in str(caught.value)
    assert "20 trials" in str(caught.value)


def test_a_suite_without_trials_is_wrong_and_not_the_selection():
    with pytest.raises(SuiteError, match="the suite has no trial"):
        select([], parse_only(["norm=batch"]))


def test_text_that_would_move_the_cursor_is_quoted():
    with pytest.raises(UsageError) as caught:
        parse_only(["norm\x1b[2J\n=a"])
    assert str(caught.value).isprintable()
    with pytest.raises(EmptySelection) as caught:
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
