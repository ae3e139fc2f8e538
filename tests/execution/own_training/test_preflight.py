"""What is known of own training before any of it runs."""

import functools

import pytest

from harness.execution.own_training.preflight import uses_checkpoint
from harness.spec.own_training.command import command


def never(trial, log, checkpoint):  # noqa: ARG001 (which is what the test is about)
    log(1, a=trial.seed)
    return {}


def unpacked(trial, log, checkpoint):
    del checkpoint
    return {"a": trial, "b": log}


def saves(trial, log, checkpoint):
    del trial, log
    checkpoint.save(1)


def hands_on(trial, log, state):
    return saves(trial, log, state)


def inside(trial, log, checkpoint):
    def step():
        checkpoint.save(1)

    return [step(), trial, log]


@pytest.mark.parametrize(
    ("function", "uses"),
    [
        *((never, False), (unpacked, False), (saves, True), (hands_on, True), (inside, True)),
        *((functools.partial(never), True), (command("true"), False)),  # nobody knows what a partial does
    ],
)
def test_whether_a_function_uses_its_checkpoint_shows_in_its_code(function, uses):
    assert uses_checkpoint(function) == uses
