"""Data that are larger than the memory that a process may have."""

import subprocess
import sys

import numpy as np
import pytest

MAP_BYTES, BOUND = 2**28, 2**27  # of the file, and of memory besides what the libraries take
PROGRAM = """
import resource, sys
from pathlib import Path
import numpy as np, torch
from harness.data.datasets import load_dataset
from harness.data.streamed import Streamed
from harness.spec.trial import Trial
from harness.training.loop import train
from harness.training.state import init_state

x = np.load("x.npy", mmap_mode="r")
trial = Trial(dataset="own", model="mlp-8", norm="batch", lr=0.1, batch_size=64, steps=3, eval_every=3, device="cpu")
data = Streamed(x) if sys.argv[1] == "streamed" else x
used = 1024 * int(next(line for line in open("/proc/self/status") if line.startswith("VmData")).split()[1])
resource.setrlimit(resource.RLIMIT_DATA, (used + int(sys.argv[2]),) * 2)
dataset = load_dataset("own", Path(), {"own": lambda: (data, np.arange(len(x)) % 2)})
for event in train(init_state([trial], dataset, torch.device("cpu"), {})):
    pass
print(event.step)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds what a process has besides its maps")
def test_a_process_trains_from_a_memory_map_that_is_larger_than_its_memory(tmp_path):
    # A file with a hole: its zeros take no room on the disk
    np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (MAP_BYTES // 1024, 256))

    def run(how):
        command = [sys.executable, "-c", PROGRAM, how, str(BOUND)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    streamed = run("streamed")
    assert streamed.stdout.split() == ["3"], streamed.stderr
    assert "MemoryError" in run("read").stderr
