"""What a user installs: the console script, the marker for type checkers, and what is said of versions."""

import pkgutil
import re
import signal
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from importlib.resources import files
from pathlib import Path

import pytest

import harness
from harness import __main__ as entry
from harness.ensemble.native.build import PREBUILT, SOURCE

REPOSITORY = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))


def test_the_console_script_is_what_python_m_harness_runs():
    assert pkgutil.resolve_name(PYPROJECT["project"]["scripts"]["harness"]) is entry.run_and_exit


@pytest.mark.parametrize(("arguments", "code"), [(["--help"], 0), (["no-such-verb"], 2)])
def test_the_console_script_ends_with_the_exit_code(arguments, code):
    script = "import pkgutil, sys; sys.argv[0] = 'harness'; pkgutil.resolve_name(sys.argv.pop(1))()"
    words = [sys.executable, "-c", script, PYPROJECT["project"]["scripts"]["harness"], *arguments]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr


def test_a_late_ctrl_c_does_not_replace_the_exit_code(monkeypatch):
    handlers = {number: signal.getsignal(number) for number in entry.SIGNALS}
    monkeypatch.setattr("harness.cli.main", lambda: 5)
    try:
        with pytest.raises(SystemExit) as ended:
            entry.run_and_exit()
        assert ended.value.code == 5
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def test_the_marker_for_type_checkers_is_installed_with_the_package():
    patterns = PYPROJECT["tool"]["setuptools"]["package-data"]["harness"]
    assert any(fnmatch("py.typed", pattern) for pattern in patterns)
    assert files("harness").joinpath("py.typed").is_file()


def test_the_source_of_the_native_library_is_installed_with_the_package_and_so_is_what_is_compiled_from_it():
    patterns = PYPROJECT["tool"]["setuptools"]["package-data"]["harness.ensemble.native"]
    for path in (SOURCE, PREBUILT / "kernels.so"):
        name = path.relative_to(SOURCE.parent).as_posix()
        assert any(fnmatch(name, pattern) for pattern in patterns), name


def test_the_citation_names_the_version_and_licence_of_the_package():
    citation = (REPOSITORY / "CITATION.cff").read_text("utf-8")
    fields = dict(re.findall(r"^([a-z-]+): (\S.*)$", citation, flags=re.MULTILINE))
    assert fields["version"].strip('"') == harness.__version__
    assert fields["license"] == PYPROJECT["project"]["license"]
    assert fields["cff-version"] == "1.2.0"
    for author in PYPROJECT["project"]["authors"]:
        assert f'- name: "{author["name"]}"' in citation
