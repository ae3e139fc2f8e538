"""How a cohort is resumed."""

from types import SimpleNamespace

import torch

from harness.ensemble.distributed import SINGLE_PROCESS, DistContext
from harness.execution.train import resume
from harness.storage.records import ResultsDir


def test_ranks_tell_each_other_on_their_device_where_their_snapshots_stand(tmp_path, monkeypatch):
    devices = []
    monkeypatch.setattr(DistContext, "gather", lambda _, step: [devices.append(step.device.type) or torch.tensor(0)])
    state = SimpleNamespace(dist=SINGLE_PROCESS, fail_step=torch.empty(1, device="meta"))
    step, _, rejected = resume(state, ResultsDir(tmp_path), {"cohort": "none"})
    assert (step, devices, rejected) == (0, ["meta"], []), "NCCL takes nothing from main memory"
