"""What of a task, a loss or a metric can't be, in a line, before anything trains."""

import numpy as np
import pytest

from harness.errors import SuiteError
from harness.execution.messages import PreflightRequest
from harness.execution.preflight import preflight

SUITE = """
import torch.nn.functional as F
from sklearn import metrics as sk
from torch import nn
from harness import Metric, Suite

def mean_loss(outputs, targets):
    return F.mse_loss(outputs, targets)

def cut(outputs, targets):
    return (outputs.detach() - targets).abs()

def each(outputs, targets):
    return outputs - targets

def broken(outputs, targets):
    return outputs.no_such_thing

class Two(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.last = nn.Linear(inputs[0], outputs)
    def forward(self, x):
        return self.last(x), x

def for_classes(inputs, classes):
    return nn.Linear(inputs[0], classes)

def flat(inputs, outputs):
    return nn.Sequential(nn.Linear(inputs[0], outputs), nn.Flatten(0))

suite = Suite(**{"task": "regression", "dataset": "diabetes", "model": "mlp-4", "norm": "none", "lr": 0.1,
    "batch_size": 8, "steps": 1, **dict(CHANGES)})
"""


def tried(folder, changes):
    (folder / "own.py").write_text(SUITE.replace("CHANGES", changes))
    return preflight(PreflightRequest(suite=folder / "own.py", device="cpu", measure=False))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ("loss=mean_loss", "loss 'mean_loss' must return a loss for each of 64 examples, got shape .*reduction='none'"),
        ("loss=cut", "loss 'cut' must be computed from the outputs, without detach"),
        ("loss=broken", "loss 'broken' can't be computed: AttributeError"),
        ("loss='hinge'", "unknown loss 'hinge'"),
        ("metrics={'each': Metric(each, higher_is_better=True)}", "metric 'each' must return one number"),
        ("metrics={'b': Metric(broken, higher_is_better=True)}", "metric 'b' can't be computed: AttributeError"),
        ("metrics=[sk.accuracy_score]", "metric 'accuracy_score' can't be computed: ValueError"),
        ("model=Two", r"returned a tuple; return numbers of shape \(examples, targets\), here \(15, 1\)"),
        ("model=flat", r"returned a tensor of shape \(15,\); return numbers of shape"),
        ("model=for_classes", "asks for 'classes'; it can have: inputs, outputs"),
        ("dataset='digits', task='sequence'", "needs a label for each position"),
        ("task='classification'", "numbers are of task='regression'|has one example"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, changes, says):
    with pytest.raises(SuiteError, match=says):
        tried(tmp_path, changes)


def test_a_model_without_an_output_for_each_position_is_refused(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "rows.npz", x=rng.normal(size=(40, 6)), y=rng.integers(0, 2, (40, 6)))
    with pytest.raises(SuiteError, match="'mlp-4' gives one output for an example, and task 'sequence' needs one for"):
        tried(tmp_path, "dataset='rows.npz', task='sequence'")


def test_what_fits_is_not_refused(tmp_path):
    assert tried(tmp_path, "metrics=[sk.r2_score], loss=each, model=['mlp-4', nn.Identity and flat][0:1]").estimates
