"""What a run says of where its results come from."""

import subprocess

import pytest

from harness.execution import provenance
from harness.execution.provenance import _code_hash, _commit


def test_the_digest_of_the_code_that_trains_has_all_of_it_and_no_more(tmp_path, monkeypatch):
    files = ["spec/trial.py", "spec/cohorts.py", "rng.py", "training/loop.py", "probes/weights.py", "nn/norms.py"]
    trains = [tmp_path / name for name in [*files, "ensemble/device.py", "data/datasets.py", "tasks/task.py"]]
    trains += [tmp_path / "spec/optimizer_args.py"]
    for file in (*trains, tmp_path / "storage" / "tables.py"):
        file.parent.mkdir(exist_ok=True)
        file.write_text("before")
    assert all((provenance.PACKAGE / file.relative_to(tmp_path)).is_file() for file in trains)
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path)
    digests = [_code_hash()]
    for file in trains:
        file.write_text("after")
        digests.append(_code_hash())
    assert len(set(digests)) == 1 + len(trains)
    (tmp_path / "storage" / "tables.py").write_text("after")
    assert _code_hash() == digests[-1]


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A git repository with one commit, and a package in it that git ignores."""

    def git(*words):
        command = ["git", "-c", "user.email=a@b.c", "-c", "user.name=a", *words]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.strip()

    package = tmp_path / "venv" / "harness"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (tmp_path / ".gitignore").write_text("venv\n")
    git("init", "-q")
    git("add", ".gitignore")
    git("commit", "-qm", "a project")
    monkeypatch.setattr(provenance, "PACKAGE", package)
    return git


@pytest.mark.usefixtures("repository")
def test_the_commit_of_a_project_that_holds_the_package_unseen_is_not_the_harness_s():
    assert _commit() == (None, None)


def test_a_package_in_the_repository_has_its_commit_and_says_when_it_differs(repository):
    repository("add", "-f", "venv/harness/__init__.py")
    repository("commit", "-qm", "the package")
    assert _commit() == (repository("rev-parse", "HEAD"), False)
    (provenance.PACKAGE / "__init__.py").write_text("changed = True")
    assert _commit() == (repository("rev-parse", "HEAD"), True)


def test_variables_that_git_exports_to_hooks_do_not_move_the_commit(repository, tmp_path, monkeypatch):
    other = tmp_path / "other"
    repository("init", "-q", str(other))
    repository("-C", str(other), "commit", "-q", "--allow-empty", "-m", "another project")
    repository("add", "-f", "venv/harness/__init__.py")
    repository("commit", "-qm", "the package")
    head = repository("rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))
    assert _commit() == (head, False)
