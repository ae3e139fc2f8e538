"""Replayed steps: whatever is trained, they do what the plain loop does; what can't be recorded is trained as it is."""

from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch import nn

from harness.nn.norms import NORMS
from harness.training.checkpoint import Snapshot, dump, load
from harness.training.cuda_graphs import CAPTURES, cuda_graph, maybe_capture
from harness.training.loop import train
from harness.training.state import init_state
from harness.training.step_inputs import StepInputs
from tests.support.pairs import fits
from tests.support.stopping import train_until
from tests.support.tape import on_tape
from tests.training.test_loop import CPU, DIGITS, assert_bit_equal, finish
from tests.training.test_options import SINGLE

pytestmark = pytest.mark.usefixtures("without_native_library")  # as on a GPU

LRS = (0.1, 1e20, 0.2, 1e20, 1e19)  # most of them diverge, so that the others go on alone, in another recording
SCHEDULED = {"schedule": "cosine", "warmup_steps": 3}
OPTIONS = [
    {"momentum": 0.9, "nesterov": True, **SCHEDULED},
    {"optimizer": "adamw", "weight_decay": 0.1, "schedule": "step", "decay_every": 4},
    {"optimizer": "adamw", "precision": "float64", "norm_momentum": "cumulative", **SCHEDULED},
    {"batch_size": 987},
    {"batch_size": 987, "accumulation_steps": 4, "norm": "group", "augment": "flip"},
    {"accumulation_steps": 3, "augment": "flip+crop", "batch_size": 99},
    {"accumulation_steps": 3, "norm": "layer"},  # in parts that are not of one size
    {"max_grad_norm": 0.3, "label_noise": 0.2, "augment": "crop"},
    {"precision": "bfloat16", "momentum": 0.9},
    {"probes": "gradients+landscape+running", "probe_every": 2},
]  # fmt: skip


def cohort(**settings):
    return [
        replace(SINGLE, **{"model": "mlp-8", "norm": "batch", "seed": i, "lr": lr, **settings})
        for i, lr in enumerate(LRS)
    ]


def finish_with_notes(state):
    """The state trained to its end, and what a user is told on the way."""
    notes = [event.note for event in train(state) if event.note]
    return state, notes


def trained(trials, factories=None):
    return finish_with_notes(init_state(trials, DIGITS, CPU, factories or {}))


@pytest.fixture
def tape(monkeypatch):
    """Replay steps on the CPU as on a GPU."""
    made = []

    def record(work):
        made.append(work)
        return on_tape(work)

    monkeypatch.setitem(CAPTURES, "cpu", record)
    return made


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_replayed_steps_equal_plain_ones_to_the_bit(monkeypatch, options):
    plain, _ = trained(cohort(**options))
    monkeypatch.setitem(CAPTURES, "cpu", on_tape)
    replayed, notes = trained(cohort(**options))
    assert notes == []
    assert_bit_equal(replayed, plain)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("model", ["mlp-8", "cnn-4"])
def test_every_norm_is_replayed_as_it_trains(monkeypatch, norm, model):
    if not fits(norm, model):
        pytest.skip("it can't have this norm")
    trials = [replace(trial, lr=0.1, steps=2, norm_groups=2) for trial in cohort(model=model, norm=norm)[:2]]
    plain, _ = trained(trials)
    monkeypatch.setitem(CAPTURES, "cpu", on_tape)
    replayed, notes = trained(trials)
    assert notes == []
    assert_bit_equal(replayed, plain)


def test_a_step_is_recorded_once_and_again_where_the_others_go_on_alone(tape):
    *_, last = train(init_state(cohort(), DIGITS, CPU, {}))
    assert last.active.rows == (0, 2)
    assert len(tape) == 2


@pytest.mark.usefixtures("tape")
def test_resumed_replays_equal_uninterrupted_ones_to_the_bit(tmp_path):
    trials = cohort(optimizer="adamw", **SCHEDULED)
    whole, _ = trained(trials)
    for moment in (2, 9):
        stopped = init_state(trials, DIGITS, CPU, {})
        done = train_until(stopped, moment)
        (tmp_path / "snapshot").write_bytes(dump(Snapshot({"step": done}, stopped.tensors)))
        resumed = init_state(trials, DIGITS, CPU, {})
        resumed.restore(load(tmp_path / "snapshot").tensors)
        assert_bit_equal(finish(resumed, done), whole)


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(64, 10)
        self.scale = nn.Parameter(torch.ones(10))

    def forward(self, x):
        return self.inner(x.flatten(1)) * self.scale


class Reading(Own):
    def forward(self, x):
        out = super().forward(x)
        return out * 2 if out.max().item() > 1e9 else out


class Dropping(Own):
    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.2)

    def forward(self, x):
        return self.drop(super().forward(x))


class Counting(Own):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(10, momentum=None)

    def forward(self, x):
        return self.norm(super().forward(x))


def test_a_model_that_is_mapped_is_replayed_too(monkeypatch):
    trials = cohort(model="own")[::2]
    plain, _ = trained(trials, {"own": Own})
    monkeypatch.setitem(CAPTURES, "cpu", on_tape)
    replayed, notes = trained(trials, {"own": Own})
    assert (replayed.ensemble.backend.name, notes) == ("vmap", [])
    assert_bit_equal(replayed, plain)


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (Reading, "reads a number while it is recorded"),
        (Dropping, "draws random numbers"),
        (Counting, "Python counts"),
    ],
)
def test_what_can_t_be_recorded_is_trained_as_it_is_and_says_why(monkeypatch, model, why):
    trials = cohort(model="own", momentum=0.5)[::2]
    plain, _ = trained(trials, {"own": model})
    monkeypatch.setitem(CAPTURES, "cpu", on_tape)
    found, (note,) = trained(trials, {"own": model})
    assert "kernel by kernel" in note
    assert why in note
    assert_bit_equal(found, plain)


def test_running_out_of_memory_while_recording_is_not_hidden(monkeypatch):
    def full(_):
        raise torch.OutOfMemoryError("full")

    monkeypatch.setitem(CAPTURES, "cpu", full)
    with pytest.raises(torch.OutOfMemoryError):
        trained(cohort())


@pytest.fixture
def cuda(monkeypatch):
    """What is said to CUDA, with doubles in its place: on a GPU, test_cuda.py has the real calls."""
    said = []

    class Stream:
        def wait_stream(self, other):
            said.append(("wait", self is other))

    class Graph:
        def replay(self):
            said.append("replay")

    @contextmanager
    def within(what):
        said.append(("enter", type(what).__name__))
        yield
        said.append(("leave", type(what).__name__))

    main = Stream()
    for name, double in {
        "Stream": Stream, "current_stream": lambda: main, "stream": within, "CUDAGraph": Graph, "graph": within,
        "set_sync_debug_mode": said.append,
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, double)
    return said


def test_a_graph_is_warmed_up_aside_and_recorded_once(cuda):
    def work():
        cuda.append("work")
        return torch.tensor(len(cuda))

    replay, result = cuda_graph(work)
    aside = [("enter", "Stream"), "work", "work", "error", "work", "default", ("leave", "Stream")]
    recorded = [("enter", "Graph"), "work", ("leave", "Graph")]
    assert cuda == [("wait", False), *aside, ("wait", False), *recorded]
    assert result == len(cuda) - 1
    replay()
    assert cuda[-1] == "replay"


def test_what_was_started_aside_is_waited_for_also_where_the_work_raises(cuda):
    """Else the steps of the warm-up would still be taken while they are taken back."""

    def work():
        cuda.append("work")
        if cuda.count("work") == 3:
            raise RuntimeError("waits for the device")
        return torch.zeros(())

    with pytest.raises(RuntimeError, match="waits for the device"):
        cuda_graph(work)
    assert cuda[-2:] == ["default", ("wait", False)]


def test_on_a_cpu_steps_are_taken_as_they_are():
    state = init_state(cohort(), DIGITS, CPU, {})

    def step_fn(inputs):
        return inputs

    inputs = StepInputs(step=0, micro_batches=(), lr_factor=1.0, corrections=())
    assert maybe_capture(state, step_fn, inputs) == (step_fn, "")
