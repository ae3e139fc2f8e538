"""Ranks on GPUs: torch's SyncBatchNorm against ours, and trials through NCCL against one process."""

from dataclasses import replace

import pytest
import torch

from harness.ensemble.distributed import SINGLE_PROCESS
from tests.support import rank_processes
from tests.support.rank_processes import trial_of

pytestmark = pytest.mark.cuda


def together(tmp_path, function, *arguments, backend, size=2):
    """What the function comes to on ranks that are started for it."""
    with rank_processes.crew_of(size, tmp_path, backend) as ranks:
        return ranks(size, function, *arguments)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)])
def test_torchs_synchronised_batch_norm_learns_what_ours_does_with_two_gloo_ranks_on_one_gpu(
    tmp_path, dtype, tolerance
):
    trial = trial_of(norm="sync_batch", model="cnn-4-8", world_size=2, steps=5, eval_every=5, device="cuda:0")
    found = {}
    for kind in ("native", "portable"):
        folder = tmp_path / kind
        folder.mkdir()
        asked = replace(trial, sync_bn_impl=kind)
        found[kind] = together(folder, rank_processes.learn, asked, dtype, None, None, 0, backend="gloo")[0][0]
    for name, tensor in found["portable"].items():
        theirs = found["native"][name]
        torch.testing.assert_close(theirs, tensor, rtol=tolerance, atol=tolerance, equal_nan=True)


@pytest.mark.parametrize("norm", ["none", "sync_batch"])
def test_through_nccl_two_gpus_learn_what_one_process_learns(tmp_path, norm):
    if torch.cuda.device_count() < 2:
        pytest.skip(f"needs 2 CUDA devices, and there are {torch.cuda.device_count()}")
    trial = trial_of(norm=norm, model="cnn-4-8", world_size=2, device="cuda:0")
    found = together(tmp_path, rank_processes.learn, trial, "float64", None, None, 0, backend="nccl")[0][0]
    alone, _ = rank_processes.learn(
        replace(trial, world_size=1, max_cohort_size=1), "float64", None, None, 0, SINGLE_PROCESS
    )
    for name, tensor in alone.items():
        if name != "loss_buffer":
            torch.testing.assert_close(found[name].cpu(), tensor.cpu(), rtol=1e-8, atol=1e-8, equal_nan=True)
