"""A model that is imported from beside the suite: trained wherever it is run, and again once its file has changed."""

import os
import subprocess
import sys

import pytest

NETS = """
from torch import nn

from sizes import WIDTH


class Net(nn.Sequential):
    def __init__(self, inputs, classes, norm):
        super().__init__(nn.Flatten(), nn.Linear(2, WIDTH), norm(WIDTH), nn.ReLU(), nn.Linear(WIDTH, classes))
"""
SUITE = '''"""Which is better?"""

from harness import Suite
from nets import Net

suite = Suite(
    dataset="circles", model={models}, norm=["batch", "none"], lr=0.1, batch_size=50, seed=range(2), steps=4{more}
)
'''


@pytest.fixture(name="suite")
def own_suite(harness):
    """A suite in a folder below the current one, with modules beside it."""
    folder = harness.folder / "below"
    folder.mkdir()
    (folder / "sizes.py").write_text("WIDTH = 5\n", "utf-8")
    (folder / "nets.py").write_text(NETS, "utf-8")
    write_suite(folder)
    return folder / "own.py"


def write_suite(folder, models="Net", more=""):
    (folder / "own.py").write_text(SUITE.format(models=models, more=more), "utf-8")


def parameters(harness, name="own"):
    return {int(row.split(",")[parameters_column(harness, name)]) for row in rows(harness, name)[1:]}


def rows(harness, name):
    return (harness.results / name / "trials.csv").read_text("utf-8").splitlines()


def parameters_column(harness, name):
    return rows(harness, name)[0].split(",").index("parameters")


def test_an_edit_of_an_imported_module_makes_trials_stale_and_the_file_is_named(harness, suite):
    assert harness("run", "below/own", "--progress", "none").code == 0
    assert parameters(harness) == {27, 37}
    assert "nothing to train" in harness("plan", str(suite)).out
    (suite.parent / "sizes.py").write_text("WIDTH = 6\n", "utf-8")
    for verb in ("status", "report"):
        assert "4 trials are stale, to be trained again: sizes.py has changed" in harness(verb, "below/own").err
    assert "4 trials are stale, to be trained again: sizes.py has changed" in harness("plan", "below/own").out
    ran = harness("run", "below/own", "--progress", "plain")
    assert "4 trials are stale, to be trained again: sizes.py has changed" in ran.out + ran.err
    assert parameters(harness) == {32, 44}
    (suite.parent / "sizes.py").write_text("WIDTH = 5\n", "utf-8")
    assert "nothing to train" in harness("plan", "below/own").out


def test_trials_of_other_models_are_not_stale(harness, suite):
    write_suite(suite.parent, '[Net, "mlp-4"]')
    assert harness("run", "below/own", "--progress", "none").code == 0
    (suite.parent / "sizes.py").write_text("WIDTH = 6\n", "utf-8")
    planned = harness("plan", "below/own").out
    assert "4 trials have a result; 4 would train" in planned


@pytest.mark.parametrize(
    "words", [("--executor", "in-process"), ("--join",), ("--workers", "2")], ids=["in-process", "join", "workers"]
)
def test_a_module_beside_the_suite_is_found_by_whoever_trains(words, harness, suite):
    ran = harness("run", str(suite), "--progress", "none", *words)
    assert ran.code == 0, ran.err
    assert parameters(harness) == {27, 37}


def test_a_module_beside_the_suite_is_found_in_ranks(harness, suite):
    write_suite(suite.parent, more=", world_size=2")
    ran = harness("run", "below/own", "--progress", "none")
    assert ran.code == 0, ran.err
    assert parameters(harness) == {27, 37}


def test_a_module_beside_the_suite_is_found_under_torchrun(harness, suite):
    write_suite(suite.parent, more=", world_size=[1, 2]")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    ran = subprocess.run(
        [*command, "-m", "harness", "run", str(suite), "--progress", "none"],
        cwd=harness.folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert parameters(harness) == {27, 37}


def test_two_suites_in_one_command_get_each_its_own_modules(harness, suite):
    assert suite.exists()
    other = harness.folder / "beside"
    other.mkdir()
    (other / "nets.py").write_text(NETS.replace("5", "7"), "utf-8")
    (other / "sizes.py").write_text("WIDTH = 7\n", "utf-8")
    write_suite(other)
    (other / "own.py").rename(other / "others.py")
    ran = harness("run", "below/own", "beside/others", "--progress", "none", "--workers", "1")
    assert ran.code == 0, ran.err
    assert (parameters(harness), parameters(harness, "others")) == ({27, 37}, {37, 51})


def test_workers_train_what_was_planned_or_say_that_it_has_changed(harness, suite):
    """The module changes itself once it was read, as an editor would between the plan and the start of a worker."""
    (suite.parent / "sizes.py").write_text(
        "import os\nfrom pathlib import Path\nWIDTH = 5\nfile = Path(__file__)\n"
        "changed = Path(f'{file}.{os.getpid()}')\n"
        "changed.write_text(file.read_text() + '# more\\n')\nchanged.replace(file)  # at once: others read it too\n"
    )
    ran = harness("run", "below/own", "--progress", "none")
    assert ran.code == 2
    assert "sizes.py changed after the run had been planned; start it again" in ran.err.replace("\n", " ")
    assert not [*harness.results.rglob("records/*.json")]


def test_an_import_that_no_one_can_foresee_is_refused(harness, suite):
    (suite.parent / "nets.py").write_text(
        NETS.replace("from sizes import WIDTH", "import importlib").replace(
            "        super()", "        WIDTH = importlib.import_module('size' + 's').WIDTH\n        super()"
        )
    )
    ran = harness("run", "below/own", "--progress", "none")
    assert ran.code == 2
    assert ran.err.startswith("harness: own.py imports sizes by a name that can't be read from its code"), ran.err
