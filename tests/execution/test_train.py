"""How a cohort is gone on with."""

from types import SimpleNamespace

import torch

from harness.ensemble.distributed import SINGLE_PROCESS, DistContext
from harness.execution.train import _resume
from harness.storage.records import ResultsDir


def test_ranks_tell_each_other_on_their_device_where_their_snapshots_stand(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(DistContext, "gather", lambda _, step: [told.append(step.device.type) or torch.tensor(0)])
    program = SimpleNamespace(dist=SINGLE_PROCESS, fail_step=torch.empty(1, device="meta"))
    step, _ = _resume(program, ResultsDir(tmp_path), {"cohort": "none"}, print)
    assert (step, told) == (0, ["meta"]), "NCCL takes nothing from main memory"
