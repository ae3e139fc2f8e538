"""What a worker makes of an error, and which of torch's warnings reach the user."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from harness.execution.messages import Failed, Finished, TrainRequest
from harness.execution.pool import Pool, Worker
from harness.execution.worker import do_job, failed
from harness.spec.cohorts import make_cohorts
from harness.spec.loader import load_suite


def test_a_worker_whose_gpu_is_past_use_does_no_other_job():
    lost = failed(torch.AcceleratorError("CUDA error: an illegal memory access was encountered"))
    full = failed(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"))
    assert (lost.outcome, lost.is_worker_broken) == ("crashed", True)
    assert (full.outcome, full.is_worker_broken) == ("oom", False)
    assert not failed(ValueError("bad")).is_worker_broken
    ended = []

    def start(answer):
        process = SimpleNamespace(kill=lambda: ended.append(answer), join=lambda: None, pid=None)
        return Worker(
            process, SimpleNamespace(send=lambda job: None, poll=lambda: True, recv=lambda: answer, close=lambda: None)
        )

    for answer, left in ((lost, 0), (full, 1)):
        made = Pool(1, lambda answer=answer: start(answer))
        made.submit("job")
        assert isinstance(made._receive(made.workers[0]), Failed)
        assert len(made.workers) == left
    assert ended == [lost]


SUITE = """
import warnings
from torch import nn
from harness import Suite

class Net(nn.Sequential):
    def forward(self, x):
        warnings.warn("max_pool2d does not have a deterministic implementation, but you turned it on. You can")
        warnings.warn("this will go", DeprecationWarning)
        return super().forward(x)

def net(classes):
    return Net(nn.Flatten(), nn.Linear(64, classes))

suite = Suite(dataset="digits", model=net, lr=0.1, batch_size=100, steps=2, max_cohort_size=1)
"""


@pytest.mark.filterwarnings("default")
def test_the_user_hears_of_what_is_not_deterministic_and_of_no_other_warning(tmp_path):
    (tmp_path / "s.py").write_text(SUITE, "utf-8")
    (cohort,) = make_cohorts(load_suite(tmp_path / "s.py").trials(device="cpu"))
    job = TrainRequest(suite=tmp_path / "s.py", cohort=cohort, root=tmp_path, telemetry={"code_hash": "x"})
    *progress, answer = do_job(job, lambda: False)
    assert isinstance(answer, Finished)
    assert {message.note for message in progress if message.note} == {
        "max_pool2d does not have a deterministic implementation, but you turned it on"
    }


FIRST_GRADIENT = """
import sys
import torch
from harness.execution import worker
before = set(sys.modules)
x = torch.ones(3, requires_grad=True)
torch.autograd.grad(2 * x, x, torch.ones(3))
print(len(set(sys.modules) - before))
"""


def test_all_that_a_gradient_needs_is_loaded_before_workers_are_forked():
    ran = subprocess.run([sys.executable, "-c", FIRST_GRADIENT], capture_output=True, text=True, check=True)
    assert ran.stdout == "0\n"
