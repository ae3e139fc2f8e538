"""What doctor says of CUDA: the driver's answer held against what torch was built for, all without a GPU."""

import re
from dataclasses import replace

import pytest

from harness.execution.environment import TorchBuild, cuda_findings
from harness.execution.gpus import parse_nvidia_smi
from tests.execution.test_gpus import SAID

HERE = TorchBuild(cuda="13.0", targets=("sm_75", "sm_80", "sm_90"), devices=4, nccl="2.27.5")
NONE = replace(HERE, devices=0, targets=(), nccl=None)


@pytest.mark.parametrize(
    ("said", "built", "found", "remedy"),
    [
        ("", replace(NONE, cuda=None), "built without CUDA", ""),
        (SAID, replace(NONE, cuda=None), "built without CUDA", "install a torch that is built for CUDA"),
        ("", NONE, r"no device \(torch is built for CUDA 13.0\)", "install NVIDIA's driver"),
        (SAID, NONE, "sees no GPU; driver 580.95.05 has 3", "update the driver to one for CUDA 13.0"),
        (SAID, HERE, "^4 visible to torch, built for CUDA 13.0$", ""),
    ],
)
def test_doctor_says_what_is_missing_to_train_on_gpus(said, built, found, remedy):
    (what, state, cure), *_ = cuda_findings(parse_nvidia_smi(said), built)
    assert what == "cuda"
    assert re.search(found, state)
    assert (cure == "") == (remedy == "")
    assert remedy in cure


def test_doctor_lists_every_gpu_and_those_that_torch_has_no_kernels_for():
    found = {what: (state, remedy) for what, state, remedy in cuda_findings(parse_nvidia_smi(SAID), HERE)}
    assert found["gpu 0"] == ("NVIDIA L4, 22.0 of 22.5 GiB free, capability 8.9, driver 580.95.05", "")
    assert "MIG" in found["gpu 1"][0]

    assert "sm_75, sm_80, sm_90 alone" in found["gpu 2"][1]
    assert found["nccl"] == ("2.27.5", "")
    assert (
        "several GPUs need it"
        in {w: r for w, _, r in cuda_findings(parse_nvidia_smi(SAID), replace(HERE, nccl=None))}["nccl"]
    )


@pytest.mark.parametrize(
    ("targets", "capability", "runs"),
    [
        (("sm_80",), (8, 6), True),
        (("sm_86",), (8, 0), False),
        (("sm_80",), (9, 0), False),
        (("sm_80", "compute_80"), (9, 0), True),
        (("sm_90a",), (9, 0), True),
        (("compute_120",), (9, 0), False),
        (("sm_120",), (12, 0), True),
    ],
)
def test_kernels_run_on_their_generation_and_compiled_ones_on_later(targets, capability, runs):
    gpu = replace(parse_nvidia_smi(SAID)[0], capability=capability)
    remedies = {what: remedy for what, _, remedy in cuda_findings([gpu], replace(HERE, targets=targets))}
    assert (remedies["gpu 0"] == "") == runs
