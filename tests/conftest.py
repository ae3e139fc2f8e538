"""What every test may rely on."""

import os
import shutil
import signal

import pytest
from hypothesis import settings

from tests.support.slurm import missing as missing_for_slurm

# As in a worker: the number of threads moves bits, and tests side by side would fight for the cores.
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
os.environ["MKL_CBWR"] = "AUTO"
os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"

# A run leaves signals alone that are ignored where it starts, as under nohup: tests of signals start with none ignored.
for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a shell
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Training is slow on a busy machine, which says nothing about the code. Under CI, hypothesis draws the same every time.
settings.register_profile("harness", deadline=None)
settings.load_profile("harness")

# An assertion in what tests share says what it compared, as one in a test does.
pytest.register_assert_rewrite("tests.support.records", "tests.support.alone", "tests.support.probes_by_hand")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("browser") and not shutil.which("chromium"):
        pytest.skip("no chromium")
    if item.get_closest_marker("slurm") and (reason := missing_for_slurm()):
        pytest.skip(reason)
    if item.get_closest_marker("cuda"):
        import torch  # only where it is needed: it takes over a second

        if not torch.cuda.is_available():
            pytest.skip("no CUDA device")
