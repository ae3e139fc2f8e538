"""The image: its lines are held to the package that they install. No image is built here."""

import importlib.util
import json
import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from harness.cli.options import VERBS

REPOSITORY = Path(__file__).parent.parent
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))
PAGE = (REPOSITORY / "docs/docker.md").read_text("utf-8")


def instructions() -> list[tuple[str, str]]:
    """The name and the rest of each instruction; lines that go on are joined, comments are left out."""
    text = (REPOSITORY / "Dockerfile").read_text("utf-8")
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in joined.splitlines()]


def of(name: str) -> list[str]:
    return [rest for instruction, rest in instructions() if instruction == name]


ARGUMENTS = dict(rest.split("=", 1) for rest in of("ARG"))
LET_THROUGH = [
    line.removeprefix("!")
    for line in (REPOSITORY / ".dockerignore").read_text("utf-8").splitlines()
    if line.startswith("!")
]


def test_its_python_is_one_that_the_package_is_tested_on():
    version = ARGUMENTS["PYTHON"]
    assert version in SpecifierSet(PROJECT["project"]["requires-python"])
    assert f'"{version}"' in (REPOSITORY / ".github/workflows/ci.yml").read_text("utf-8")
    assert f"{version}" in (REPOSITORY / "README.md").read_text("utf-8")


def test_its_extras_exist_and_the_page_names_them():
    extras = ARGUMENTS["EXTRAS"].split(",")
    assert set(extras) <= set(PROJECT["project"]["optional-dependencies"])
    assert f"`{ARGUMENTS['EXTRAS']}`" in PAGE


def test_every_argument_is_used_and_those_of_the_page_are_there():
    text = " ".join(rest for name, rest in instructions() if name != "ARG")
    assert [name for name in ARGUMENTS if f"${{{name}}}" not in text] == []
    assert set(re.findall(r"--build-arg (\w+)=", PAGE)) <= set(ARGUMENTS)
    assert set(re.findall(r"^\| `([A-Z_]+)` \|", PAGE, flags=re.MULTILINE)) == set(ARGUMENTS)


def test_it_starts_the_console_script():
    (entry,) = of("ENTRYPOINT")
    assert json.loads(entry)[0] in PROJECT["project"]["scripts"]


def test_the_modules_that_it_runs_are_there():
    modules = set(re.findall(r"python -m (harness[\w.]*)", " ".join(of("RUN"))))
    assert modules
    assert [module for module in modules if importlib.util.find_spec(module) is None] == []


def test_nobody_runs_it_as_root():
    names = [name for name, _ in instructions()]
    (user,) = of("USER")
    assert user not in ("root", "0")
    assert any(user in rest for rest in of("RUN"))
    assert names.index("USER") > max(number for number, name in enumerate(names) if name in ("RUN", "COPY", "FROM"))
    (folder,) = [rest for rest in of("WORKDIR") if rest != "/source"]
    assert f'-v "$PWD:{folder}"' in PAGE


@pytest.mark.parametrize(
    "path",
    [
        *("pyproject.toml", "constraints.txt", "harness/__init__.py", PROJECT["project"]["readme"]),
        *PROJECT["project"]["license-files"],
        *(path for paths in PROJECT["tool"]["setuptools"]["data-files"].values() for path in paths),
    ],
)
def test_what_the_wheel_is_made_of_gets_into_the_build(path):
    assert any(fnmatch(path, pattern) or path.startswith(f"{pattern}/") for pattern in LET_THROUGH)


def test_results_and_the_history_stay_out_of_the_build():
    assert (REPOSITORY / ".dockerignore").read_text("utf-8").splitlines()[1] == "*"
    assert [path for path in LET_THROUGH if not (REPOSITORY / path).exists()] == []
    assert not any(fnmatch(path, pattern) for path in ("results", ".git", "tests") for pattern in LET_THROUGH)


def test_the_verbs_on_its_page_exist():
    verbs = re.findall(r"^docker run .* harness(?::\w+)? (\S+)", PAGE, flags=re.MULTILINE)
    assert len(verbs) == 2
    assert set(verbs) <= set(VERBS)
