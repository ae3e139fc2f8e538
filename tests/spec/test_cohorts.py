import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.spec.cohorts import MAX_COHORT, PER_MODEL, Cohort, cohort_id, longest_first, make_cohorts, shape
from harness.spec.trial import Trial, axis_types
from tests.support.strategies import a_trial, trials

grids = st.lists(trials(), unique=True, max_size=12)


def many(count, **changes):
    """Trials that differ in their seed alone."""
    return [a_trial(seed=seed, **changes) for seed in range(count)]


def keys(cohorts):
    """The keys of the trials, cohort by cohort."""
    return [[trial.key for trial in cohort.trials] for cohort in cohorts]


@given(grids)
def test_plan_puts_every_trial_in_exactly_one_cohort(todo):
    assert sorted(key for cohort in keys(make_cohorts(todo)) for key in cohort) == sorted(trial.key for trial in todo)


@given(grids)
def test_the_members_of_a_cohort_are_equal_in_all_but_what_each_model_has_of_its_own(todo):
    for cohort in make_cohorts(todo):
        first = cohort.trials[0]
        for axis in axis_types():
            if axis not in PER_MODEL:
                assert {getattr(trial, axis) for trial in cohort.trials} == {getattr(first, axis)}


@given(grids)
def test_trials_that_can_train_together_are_not_kept_apart(todo):
    cohorts = make_cohorts(todo)
    assert len({shape(cohort.trials[0]) for cohort in cohorts}) == len(cohorts)


@given(grids)
def test_a_cohort_keeps_the_order_of_the_trials(todo):
    order = [trial.key for trial in todo]
    for cohort in keys(make_cohorts(todo)):
        assert cohort == sorted(cohort, key=order.index)


@given(st.integers(1, 5 * MAX_COHORT))
def test_no_cohort_is_larger_than_it_may_be_and_none_much_smaller_than_another(count):
    sizes = [len(cohort) for cohort in keys(make_cohorts(many(count)))]
    assert sum(sizes) == count
    assert max(sizes) <= MAX_COHORT
    assert max(sizes) - min(sizes) <= 1
    assert len(sizes) == -(-count // MAX_COHORT)


CHOICES = {  # of axes that can't have any value
    **{
        "accumulation_steps": 3,
        "ddp_eval_buffers": "mean",
        "eval_statistics": "batch",
        "norm_batch": 3,
        "sync_bn_impl": "portable",
    },
    "world_size": 3,
    "optimizer_args": "eps=0.1",
    "memory_format": "channels_last",
    "task": "regression",
    "renorm_rmax": 2.0,
    "norm_position": "post",
}
NEEDED = {  # what an axis needs beside it
    "epochs": {"epochs": 3, "steps": None},
    "norm_batch": {"norm": "ghost_batch"},
    "probe_every": {"probes": "gradients"},
}


@pytest.mark.parametrize("axis", sorted(set(axis_types()) - PER_MODEL))
def test_an_axis_that_changes_the_program_parts_trials(axis):
    other = {str: "other", bool: not getattr(a_trial(), axis), int: 99, float: 0.7}
    change = {axis: CHOICES.get(axis, other[axis_types()[axis][0]])}
    settings = {"momentum": 0.9, **NEEDED.get(axis, {})}
    pair = [a_trial(**settings), a_trial(**{**settings, **change})]
    if pair[0] == pair[1]:
        pytest.fail(f"{change} changes nothing")
    assert len(make_cohorts(pair)) == 2


@pytest.mark.parametrize("axis", sorted(PER_MODEL))
def test_an_axis_that_each_model_has_of_its_own_parts_no_trials(axis):
    other = {str: "other", bool: False, int: 99, float: 0.7}
    change = {axis: CHOICES.get(axis, other[axis_types()[axis][0]])}
    assert len(make_cohorts([a_trial(), a_trial(**change)])) == 1


def test_of_an_optimizers_arguments_what_is_no_real_number_parts_trials():
    texts = ["", "eps=0.1", "betas=(0.9, 0.8), eps=0.1", "centered=True, eps=0.1", "centered=True", "steps=3"]
    cohorts = make_cohorts([a_trial(optimizer_args=text) for text in texts])
    assert [[trial.optimizer_args for trial in cohort.trials] for cohort in cohorts] == [
        texts[:3],
        texts[3:5],
        texts[5:],
    ]


def test_the_first_cohorts_are_a_fair_part_of_the_grid():
    seeds = 3 * MAX_COHORT
    todo = [a_trial(seed=seed, norm=norm) for seed in range(seeds) for norm in ("batch", "none")]
    cohorts = [(cohort.trials[0].norm, cohort.trials[0].seed) for cohort in make_cohorts(todo)]
    assert cohorts == [(norm, seed) for seed in range(0, seeds, MAX_COHORT) for norm in ("batch", "none")]


@given(grids)
def test_a_plan_is_kept_as_it_was(todo):
    first = make_cohorts(todo)
    assert make_cohorts(list(reversed(todo)), keys(first)) == first


@given(st.lists(trials(), unique=True, min_size=2, max_size=12), st.data())
def test_trials_added_later_are_cut_among_themselves(todo, data):
    middle = data.draw(st.integers(0, len(todo)))
    first = make_cohorts(todo[:middle])
    assert make_cohorts(todo, keys(first)) == first + make_cohorts(todo[middle:])


def test_trials_added_later_join_no_cohort_that_stands():
    seeds = many(11)
    first = make_cohorts(seeds[:4])
    assert keys(make_cohorts(seeds, keys(first))) == [[t.key for t in seeds[:4]], [t.key for t in seeds[4:]]]


def test_a_cohort_that_lost_a_trial_is_cut_anew():
    seeds = many(5)
    assert keys(make_cohorts(seeds[1:], keys(make_cohorts(seeds)))) == [[trial.key for trial in seeds[1:]]]


@pytest.mark.parametrize(
    "kept",
    [
        [[]],
        [["0" * 16]],
        [[a_trial().key, a_trial().key]],
        [[a_trial().key], [a_trial().key]],
        [[a_trial().key, a_trial(model="cnn").key]],
        [["0" * 16, a_trial().key]],
    ],
    ids=["none", "unknown", "twice", "in two", "unlike", "one unknown"],
)
def test_a_kept_cohort_that_can_not_train_is_cut_anew(kept):
    todo = [a_trial(), a_trial(model="cnn")]
    assert keys(make_cohorts(todo, kept)) == [[trial.key] for trial in todo]


def test_a_trial_given_twice_trains_once():
    assert keys(make_cohorts([a_trial(), a_trial()])) == [[a_trial().key]]


def test_nothing_to_do_is_an_empty_plan():
    assert make_cohorts([]) == []


@given(st.lists(trials(), unique=True, min_size=2, max_size=9))
def test_halves_are_the_cohort_and_differ_by_one_at_most(todo):
    left, right = Cohort(tuple(todo)).halves()
    assert left.trials + right.trials == tuple(todo)
    assert 0 <= len(right.trials) - len(left.trials) <= 1


@given(st.lists(trials(), unique=True, min_size=1, max_size=5), st.data())
def test_a_cohort_is_named_by_its_trials_and_their_order(todo, data):
    again = data.draw(st.permutations(todo))
    assert (Cohort(tuple(todo)).id == Cohort(tuple(again)).id) == (todo == again)
    assert Cohort(tuple(todo)).id == cohort_id([trial.key for trial in todo])


def test_the_name_of_a_cohort_is_the_digest_of_its_keys():
    assert cohort_id(["ab", "cd"]) == hashlib.sha256(b"ab\ncd").hexdigest()[:16]


def test_what_each_model_has_of_its_own_is_an_axis():
    assert set(Trial.__slots__) >= PER_MODEL


@given(st.integers(1, 40), st.integers(1, 9))
def test_a_cohort_has_no_more_models_than_may_train_at_once(count, most):
    todo = many(count)
    sizes = [len(cohort) for cohort in keys(make_cohorts(todo, max_size={shape(todo[0]): most}))]
    assert (max(sizes) <= most, sum(sizes), len(sizes)) == (True, count, -(-count // most))


@given(grids)
def test_the_longest_first_order_loses_nothing_and_is_fair_to_every_shape(todo):
    cohorts = make_cohorts(todo, max_size=dict.fromkeys(map(shape, todo), 2))
    work = {of: float(i) for i, of in enumerate({shape(trial): None for trial in todo})}
    ordered = longest_first(cohorts, work)
    assert sorted(cohort.id for cohort in ordered) == sorted(cohort.id for cohort in cohorts)
    # No shape is more than a round ahead of one that still has cohorts, and each keeps its own order.
    for of in work:
        assert [c.id for c in ordered if shape(c.trials[0]) == of] == [
            c.id for c in cohorts if shape(c.trials[0]) == of
        ]


def test_within_a_round_the_cohort_with_the_most_work_goes_first():
    small, large = many(4, batch_size=16), many(4, batch_size=512)
    cohorts = make_cohorts([*small, *large], max_size={shape(small[0]): 2, shape(large[0]): 2})
    order = [c.trials[0].batch_size for c in longest_first(cohorts, {shape(small[0]): 1.0, shape(large[0]): 9.0})]
    assert order == [512, 16, 512, 16]
