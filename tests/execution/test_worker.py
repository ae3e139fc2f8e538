"""What a worker makes of an error, and which of torch's warnings reach the user."""

from types import SimpleNamespace

import torch

from harness.execution.messages import Failed
from harness.execution.pool import Pool, Worker
from harness.execution.worker import _pass_on, failed


def test_a_worker_whose_gpu_is_past_use_does_no_other_job():
    lost = failed(torch.AcceleratorError("CUDA error: an illegal memory access was encountered"))
    full = failed(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"))
    assert (lost.outcome, lost.is_worker_broken) == ("crashed", True)
    assert (full.outcome, full.is_worker_broken) == ("oom", False)
    assert not failed(ValueError("bad")).is_worker_broken
    ended = []

    def start(answer):
        process = SimpleNamespace(kill=lambda: ended.append(answer), join=lambda: None)
        return Worker(process, SimpleNamespace(send=lambda job: None, recv=lambda: answer, close=lambda: None))

    for answer, left in ((lost, 0), (full, 1)):
        made = Pool(1, lambda answer=answer: start(answer))
        made.submit("job")
        assert isinstance(made._receive(made.workers[0]), Failed)
        assert len(made.workers) == left
    assert ended == [lost]


def test_the_user_hears_of_what_is_not_deterministic_and_of_no_other_warning():
    heard = []
    pipe = SimpleNamespace(send=heard.append)
    _pass_on(
        pipe, UserWarning("max_pool2d does not have a deterministic implementation, but you turned it on. You can")
    )
    _pass_on(pipe, DeprecationWarning("this will go"), DeprecationWarning, "model.py", 3)
    (told,) = heard
    assert told.note == "max_pool2d does not have a deterministic implementation, but you turned it on"
