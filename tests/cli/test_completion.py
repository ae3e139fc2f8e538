"""`completion`: the script, sourced by a real shell, completes what can be typed."""

import shlex
import shutil
import subprocess
import sys

import pytest

from harness.cli.dispatch import dispatch
from harness.cli.options import SHELLS, VERBS
from harness.spec.suite_files.shipped import shipped_suites

pytest.importorskip("shtab", reason="no shtab; it comes with the package")

ASKED = """
source {script}
COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMPREPLY=()
_shtab_harness
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture
def script(tmp_path, capsys):
    def write(shell: str):
        assert dispatch(["completion", shell]) == 0
        path = tmp_path / f"harness.{shell}"
        path.write_text(capsys.readouterr().out, "utf-8")
        return path

    return write


@pytest.fixture
def complete(script, tmp_path):
    """What bash completes the last of these words to."""
    if not shutil.which("bash"):
        pytest.skip("no bash")
    path, folder = script("bash"), tmp_path / "folder"
    (folder / "results").mkdir(parents=True)
    (folder / "my_norms.py").touch()

    def ask(*words: str) -> set[str]:
        program = ASKED.format(script=shlex.quote(str(path)), words=shlex.join(["harness", *words]))
        ran = subprocess.run(
            ["bash", "--norc", "-c", program], cwd=folder, capture_output=True, text=True, check=True, timeout=60
        )
        assert ran.stderr == ""
        return set(ran.stdout.split())

    return ask


def test_bash_completes_verbs(complete):
    assert complete("ru") == {"run"}
    assert complete("export") == {"export", "export-curves"}
    assert complete("") >= set(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_bash_completes_the_options_of_a_verb(complete, verb):
    assert complete(verb, "--") == {"--help", *(flag for flag, _ in VERBS[verb][1] if flag.startswith("--"))}


def test_bash_completes_the_values_of_an_option(complete):
    assert complete("run", "lr_sweep", "--executor", "in") == {"in-process"}
    assert complete("export-curves", "lr_sweep", "--to", "") == {"tensorboard", "mlflow", "wandb"}
    assert complete("report", "lr_sweep", "--results", "") == {"results"}


def test_bash_completes_suites_that_ship_and_files(complete):
    assert complete("run", "lr_") == {"lr_sweep"}
    assert complete("plan", "") >= {*shipped_suites(), "my_norms.py"}
    assert complete("run", "lr_sweep", "my") == {"my_norms.py"}


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_gets_a_script_that_it_can_read(script, shell):
    text = script(shell).read_text("utf-8")
    assert all(verb in text for verb in VERBS)
    if not (program := shutil.which(shell)):
        pytest.skip(f"no {shell}")
    subprocess.run([program, "-n", script(shell)], check=True, timeout=60)


def test_every_shell_is_one_that_the_library_knows():
    import shtab

    assert set(SHELLS) <= set(shtab.SUPPORTED_SHELLS)


def test_other_verbs_load_nothing_for_completion_or_trackers():
    lazy = {"shtab", "tensorboard", "mlflow", "wandb", "harness.export.trackers.tracked_trial"}
    program = (
        f"import sys; from harness.cli.parser import parse; parse(['status', 'x']); print({lazy!r} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout == "set()\n"
