"""One trial of own training: what comes of it, how it goes on, and how bad functions are refused."""

import pytest

from harness.errors import HarnessError, MachineError, SuiteError
from harness.execution.messages import Failed, Finished, Stopped
from harness.storage.records import ResultsDir
from tests.support.own_training import WALK, failing_once, request_for, returning, run


def test_outcomes_and_curves_are_in_the_record(tmp_path):
    answer, notes, record = run(request_for(tmp_path, WALK))
    assert (answer, notes) == (Finished(failed=()), [])
    curve = record.curves["log.place"]
    assert curve["step"] == [*range(1, 8)]
    assert record.facts["outcomes"]["end"] == curve["value"][-1] > 0
    assert record.facts["fail_step"] is None


@pytest.mark.parametrize("damaged", [0, 1, 2])
def test_a_trial_that_ended_half_way_goes_on_to_the_same_bits_from_the_newest_whole_state(tmp_path, damaged):
    (tmp_path / "whole").mkdir()
    whole = run(request_for(tmp_path / "whole", WALK.replace("steps=7", "steps=13")))[2]
    request = request_for(tmp_path, failing_once(tmp_path))
    with pytest.raises(ValueError, match="half-way"):
        run(request)
    states = sorted(ResultsDir(request.root).checkpoints.iterdir())
    assert len(states) == 2
    for path in states[:damaged]:
        data = bytearray(path.read_bytes())
        data[-40] ^= 1
        path.write_bytes(data)
    _, notes, record = run(request)
    assert record.facts == whole.facts
    assert record.curves == whole.curves
    assert len([note for note in notes if "is damaged" in note]) == damaged
    assert record.telemetry["resumes"] == (damaged < 2)
    assert not any(ResultsDir(request.root).checkpoints.iterdir())


def test_a_run_that_stops_leaves_at_the_next_save_and_goes_on(tmp_path):
    request = request_for(tmp_path, WALK)
    answer, _, record = run(request, stop=lambda: True)
    if isinstance(answer, Stopped):  # it may have ended before it heard of it
        assert record is None
        answer, _, record = run(request)
    assert isinstance(answer, Finished)
    assert record.curves["log.place"]["step"] == [*range(1, 8)]


def test_max_seconds_ends_it_for_good(tmp_path):
    text = returning("import time\n    for step in range(1000):\n        time.sleep(0.01); log(step, a=1)")
    answer, _, record = run(request_for(tmp_path, text, max_seconds=0.2))
    assert isinstance(answer, Failed)
    assert answer.outcome == "timeout"
    assert answer.is_final
    assert "max_seconds=0.2" in answer.error
    assert record is None


@pytest.mark.parametrize("value", ["float('nan')", "float('inf')", "-float('inf')"])
def test_an_outcome_that_is_not_finite_is_a_result_and_missing(tmp_path, value):
    body = f"log(3, loss=1.0); log(5, loss=float('nan')); log(8, loss=2.0)\n    return {{'acc': {value}}}"
    answer, notes, record = run(request_for(tmp_path, returning(body)))
    assert len(answer.failed) == 1
    assert record.facts == {"fail_step": 5, "outcomes": {"acc": None}}
    assert record.curves["log.loss"]["value"] == [1.0, None, 2.0]
    assert notes == ["fit logged loss=nan at step 5, which its curve can't show"]


@pytest.mark.parametrize(
    ("body", "error", "says"),
    [
        ("return None", SuiteError, r"fit must return its outcomes, {'acc': ...}, got None"),
        ("return {'acc': 'high'}", SuiteError, "outcome 'acc' of fit needs a number, got 'high'"),
        ("return {'acc': True}", SuiteError, "needs a number, got True"),
        ("return {}", SuiteError, "left out 'acc'"),
        ("return {'acc': 1, 'acd': 2}", SuiteError, "returned 'acd', which the suite does not declare; did you mean"),
        ("return {'acc': 1.5}", SuiteError, "returned acc=1.5, which lies"),
        ("log(1.5, a=1)", SuiteError, "log needs a step, a whole number of 0 or more, got 1.5"),
        ("log(1, a=1); log(1, a=2)", SuiteError, r"log\(1, a=...\) comes after step 1"),
        ("log(1, a='x')", SuiteError, r"log\(1, a=...\) needs a number, got 'x'"),
        ("checkpoint.save(n for n in [1])", SuiteError, "saves a state that can't be pickled"),
        ("import not_there", MachineError, "fit needs the package 'not_there', which is not installed"),
        ("return {'acc': trial.widht}", AttributeError, "no setting 'widht'; did you mean 'width'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, body, error, says):
    with pytest.raises(error, match=says) as raised:
        run(request_for(tmp_path, returning(body, width="3")))
    assert "\n" not in str(raised.value)
    assert isinstance(raised.value, HarnessError) or error is AttributeError


def test_generators_are_seeded_beforehand_by_the_seed_alone(tmp_path):
    draws = "(random.random() + numpy.random.rand() + torch.rand(1).item()) / 3"
    body = f"import random, numpy, torch\n    return {{'acc': {draws}}}"
    ends = []
    for number, seed in enumerate((3, 3, 4)):
        folder = tmp_path / str(number)
        folder.mkdir()
        ends.append(run(request_for(folder, returning(body, seed=str(seed))))[2].facts["outcomes"]["acc"])
    assert ends[0] == ends[1] != ends[2]


@pytest.mark.parametrize("value", ["weight.sum()", "weight.mean().bfloat16()", "weight.detach().double().mean()"])
def test_numbers_may_be_tensors_as_a_loop_has_them(tmp_path, value):
    body = f"import torch\n    weight = torch.tensor([0.5], requires_grad=True)\n    value = {value}"
    _, _, record = run(request_for(tmp_path, returning(f"{body}\n    log(1, loss=value)\n    return {{'acc': value}}")))
    assert record.facts["outcomes"] == {"acc": 0.5}
    assert record.curves["log.loss"]["value"] == [0.5]
