import hashlib
import json
import math
import os
import subprocess
import sys
from dataclasses import asdict, fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import SuiteError, UsageError
from harness.spec.trial import RULES, Trial, axis_types, canonical
from tests.support.strategies import AXES, a_trial, contents, trials

WRONG: dict[str, list[object]] = {  # field -> values that its rule refuses
    "task": ["", "Classification", "forecasting"],
    "lr": [0, 0.0, -0.1, math.nan, math.inf, -math.inf],
    "context": [0, -1, 2**31],
    "batch_size": [0, -7, 2**31],
    "seed": [-1, 2**63],
    "norm_eps": [0.0, -1e-5, math.nan, math.inf],
    "norm_momentum": [-0.1, 1.1, math.nan, math.inf, "exponential", ""],
    "norm_groups": [0, -8, 2**31],
    "norm_batch": [0, -2, 2**31],
    "accumulation_steps": [0, -2, 2**31],
    "ddp_eval_buffers": ["", "rank1", "median"],
    "norm_position": ["", "before", "Pre"],
    "memory_format": ["", "channels_first", "torch.channels_last"],
    "sync_bn_impl": ["", "torch", "NATIVE"],
    "init_scale": [0.0, -1.0, math.nan, math.inf],
    "momentum": [-0.1, 1.0, math.nan, math.inf],
    "weight_decay": [-1e-9, math.nan, math.inf],
    "max_grad_norm": [0.0, -1.0, math.nan, math.inf],
    "adaptive_clip": [0.0, -1.0, math.nan, math.inf],
    "renorm_rmax": [0.9, math.nan, math.inf],
    "renorm_dmax": [-0.1, math.nan, math.inf],
    "renorm_warmup": [-1, 2**31],
    "label_noise": [-1e-9, 1.1, math.nan],
    "warmup_steps": [-1, 2**31],
    "decay_every": [0, -3, 2**31],
    "decay_factor": [0.0, -0.1, math.nan, math.inf],
    "steps": [0, -5, 2**31],
    "epochs": [0, -2, 2**31],
    "eval_every": [0, -4, 2**31],
    "eval_statistics": ["", "Running", "none"],
    "probe_every": [0, -4, 2**31],
    "world_size": [0, -1, 2**31],
    "threads": [0, -1, 2**31],
    "max_cohort_size": [0, -1, 2**31],
}
WRONG_TYPES = [
    ("lr", True),
    ("lr", "0.1"),
    ("lr", None),
    ("lr", 1j),
    ("lr", [0.1, 0.3]),
    ("lr", 10**400),
    ("lr", np.array([0.1, 0.3])),
    ("lr", np.array([])),
    ("lr", np.add),
    ("lr", np.datetime64("2020-01-01")),
    ("seed", True),
    ("seed", 1.0),
    ("seed", np.float64(1)),
    ("steps", "5"),
    ("model", None),
    ("model", 8),
    ("model", b"mlp-8"),
    ("norm_affine", 1),
    ("norm_affine", None),
    ("norm_affine", "True"),
    ("norm_momentum", None),
    ("norm_momentum", True),
]


def brief(value):
    return repr(value)[:30]


def test_the_key_of_a_published_trial_never_changes():
    assert a_trial().key == "2a5b2ff2710330fb"
    full = a_trial(
        norm="batch", norm_momentum="cumulative", lr=1e-3, seed=3, nesterov=True, momentum=0.9, decay_every=2
    )
    assert full.key == "0cb5c1c89a2a8277"


@given(contents())
def test_the_key_is_the_digest_of_what_differs_from_the_defaults(content):
    trial = Trial(**content)
    defaults = {field.name: field.default for field in fields(Trial)}
    changed = {axis: value for axis, value in asdict(trial).items() if value != defaults[axis]}
    text = "{" + ", ".join(f"{json.dumps(axis)}: {json.dumps(changed[axis])}" for axis in sorted(changed)) + "}"
    assert trial.key == hashlib.sha256(text.encode()).hexdigest()[:16]


@given(trials())
def test_the_content_of_a_trial_makes_it_again(trial):
    again = Trial(**json.loads(json.dumps(trial.content)))
    assert (again, again.key) == (trial, trial.key)


@given(trials())
def test_a_field_given_at_its_default_does_not_enter_the_key(trial):
    defaults = {f.name: f.default for f in fields(Trial) if f.name not in ("dataset", "model", "lr", "batch_size")}
    assert Trial(**{**defaults, **trial.content}).key == trial.key


@given(trials(), st.data())
def test_trials_share_a_key_only_where_they_are_equal(trial, data):
    axis = data.draw(st.sampled_from(sorted(AXES)))
    other = replace(trial, **{axis: data.draw(AXES[axis])})
    assert (other.key == trial.key) == (other == trial)


@pytest.mark.parametrize("hash_seed", ["0", "31", "random"])
def test_the_key_is_the_same_in_every_process(hash_seed):
    script = "from tests.support.strategies import a_trial; print(a_trial(norm='batch', lr=1e-3, momentum=0.9).key)"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == a_trial(norm="batch", lr=1e-3, momentum=0.9).key


@pytest.mark.parametrize(
    ("axis", "spellings"),
    [
        ("lr", [1e-3, 0.001, 1.0e-3, np.float64(0.001), np.array(0.001), np.array([0.001])]),
        ("lr", [3, 3.0, np.int32(3), np.float32(3)]),
        ("weight_decay", [0, 0.0, -0.0]),
        ("norm_momentum", [0, 0.0, -0.0, np.float64(-0.0)]),
        ("seed", [11, np.int64(11), np.uint8(11), np.array(11)]),
        ("norm", ["batch", np.str_("batch")]),
        ("norm_affine", [False, np.False_]),
    ],
)
def test_every_spelling_of_a_value_makes_one_trial(axis, spellings):
    made = [a_trial(**{axis: value}) for value in spellings]
    assert len(set(made)) == len({trial.key for trial in made}) == 1
    assert len({repr(getattr(trial, axis)) for trial in made}) == 1


@given(st.data())
def test_canonical_leaves_a_canonical_value_alone(data):
    axis = data.draw(st.sampled_from(sorted(AXES)))
    value = canonical(axis, data.draw(AXES[axis]))
    assert canonical(axis, value) == value
    assert type(canonical(axis, value)) in axis_types()[axis]


@pytest.mark.parametrize(("axis", "value"), WRONG_TYPES, ids=brief)
def test_a_value_of_another_type_is_refused_by_name(axis, value):
    with pytest.raises(SuiteError, match=f"^{axis} must be "):
        a_trial(**{axis: value})


def test_every_rule_is_put_to_the_test():
    assert set(WRONG) == set(RULES)


def test_every_axis_of_numbers_has_a_rule():
    numbers = {axis for axis, kinds in axis_types().items() if {int, float} & set(kinds)}
    assert numbers <= set(RULES)


@pytest.mark.parametrize(("axis", "value"), [(axis, value) for axis in WRONG for value in WRONG[axis]])
def test_a_value_out_of_range_is_refused_with_its_name_and_itself(axis, value):
    others = {"steps": None} if axis == "epochs" else {}
    with pytest.raises(SuiteError) as caught:
        a_trial(**{**others, axis: value})
    assert str(caught.value).startswith(f"{axis} must ")
    assert str(caught.value).endswith(f"got {float(value) if axis == 'lr' else value!r}")
    assert caught.value.exit_code == UsageError.exit_code == 2


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"steps": None}, "either steps or epochs"),
        ({"steps": 5, "epochs": 3}, "either steps or epochs"),
        ({"nesterov": True}, "nesterov"),
        ({"nesterov": True, "momentum": -0.0}, "nesterov"),
        ({"norm": "batch", "batch_size": 1}, "batch_size"),
        ({"norm": "batch", "batch_size": 6, "world_size": 3, "accumulation_steps": 2}, "norm_batch 1"),
        ({"norm": "batch", "batch_size": 7, "world_size": 2}, "multiple of accumulation_steps times world_size"),
        (
            {"norm": "sync_batch", "batch_size": 7, "accumulation_steps": 2},
            "multiple of accumulation_steps times world_size",
        ),
        (
            {"norm": "ghost_batch", "batch_size": 20, "norm_batch": 4, "world_size": 2, "probes": "gradients"},
            "divide the 10",
        ),
        (
            {"norm": "ghost_batch", "batch_size": 20, "norm_batch": 4, "accumulation_steps": 2, "probes": "gradients"},
            "divide the 10",
        ),
        ({"norm": "none", "batch_size": 7, "accumulation_steps": 4, "world_size": 2}, "an example in each"),
        ({"norm": "ghost_batch", "batch_size": 7, "norm_batch": 8}, "at most the 7"),
        ({"norm": "ghost_batch", "batch_size": 7, "norm_batch": 1}, "at least 2"),
        ({"norm": "batch", "norm_batch": 7}, "leave it out"),
        ({"schedule": "step"}, "decay_every"),
        ({"task": "regression", "label_noise": 0.1}, "label_noise is of task 'classification'"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(changes, says):
    with pytest.raises(SuiteError, match=says):
        a_trial(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": None, "epochs": 3},
        {"nesterov": True, "momentum": 0.9},
        {"norm": "batch", "batch_size": 2},
        {"norm": "layer", "batch_size": 1},
        {"norm": "sync_batch", "batch_size": 7, "world_size": 3},
        {"norm": "ghost_batch", "batch_size": 7, "norm_batch": 3},
        {"norm": "layer", "batch_size": 7, "accumulation_steps": 2, "world_size": 3},
        {"schedule": "step", "decay_every": 1},
        {"decay_every": 1},
        {"momentum": 0.0},
        {"norm_momentum": 1},
        {"seed": 2**63 - 1},
        {"steps": 2**31 - 1},
    ],
)
def test_settings_that_go_together_make_a_trial(changes):
    assert a_trial(**changes).content.items() >= {k: v for k, v in changes.items() if v not in (None, 0.0)}.items()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"norm": "layer"}, None),
        ({"norm": "batch"}, 60),
        ({"norm": "batch", "world_size": 3}, 20),
        ({"norm": "batch", "world_size": 3, "accumulation_steps": 2}, 10),
        ({"norm": "sync_batch", "world_size": 3}, 60),
        ({"norm": "sync_batch", "world_size": 3, "accumulation_steps": 2}, 30),
        ({"norm": "ghost_batch", "world_size": 3}, 20),
        ({"norm": "ghost_batch", "world_size": 3, "norm_batch": 7}, 7),
    ],
)
def test_how_many_examples_share_statistics_follows_from_norm_ranks_and_accumulation(changes, expected):
    assert a_trial(batch_size=60, **changes).statistics_batch == expected


@pytest.mark.parametrize(("wrong", "right"), [("bacth_size", "batch_size"), ("Norm", "norm"), ("learning_rate", "")])
def test_a_misspelt_axis_is_named_with_the_nearest_one(wrong, right):
    with pytest.raises(SuiteError) as caught:
        canonical(wrong, 1)
    assert f"unknown field {wrong!r}" in str(caught.value)
    assert (f"did you mean {right!r}?" in str(caught.value)) == bool(right)
    assert "choose from: accumulation_steps, activation, " in str(caught.value)


def test_a_trial_can_not_be_changed():
    with pytest.raises(AttributeError):
        a_trial().lr = 0.3
