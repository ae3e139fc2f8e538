"""`init` writes a suite that runs; names alone find suites that ship."""

import pytest

from harness.cli import main
from harness.errors import SuiteError
from harness.spec.loader import load_suite
from harness.spec.suite_files import shipped
from harness.spec.suite_files.shipped import shipped_suites
from tests.cli.conftest import Ran


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Run a command in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        code = main(words)
        return Ran(code, *capsys.readouterr())

    run.folder = tmp_path
    return run


def test_a_first_suite_is_written_and_runs(command):
    written = command("init", "my_norms")
    assert (written.code, written.err) == (0, "")
    assert "python -m harness run my_norms" in written.out
    text = (command.folder / "my_norms.py").read_text("utf-8")
    assert "python -m harness plan my_norms" in text
    (command.folder / "my_norms.py").write_text(text.replace("range(20)", "range(2)").replace("300", "20"), "utf-8")
    ran = command("run", "my_norms", "--progress", "none", "--executor", "in-process")
    assert (ran.code, ran.err) == (0, "")
    assert "12 of 12 trials have a result" in ran.out


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("taken", "is there already, and is left as it is"),
        ("lr_sweep", "a suite called lr_sweep ships already: `python -m harness run lr_sweep`"),
        ("a b", "letters, digits and underscores"),
        ("all", "letters, digits and underscores"),
        ("nowhere/mine", "no folder nowhere; make it first"),
    ],
)
def test_a_name_that_makes_no_new_suite_is_refused(command, name, word):
    (command.folder / "taken.py").write_text("mine", "utf-8")
    refused = command("init", name)
    assert refused.code == 2
    assert word in refused.err
    assert (command.folder / "taken.py").read_text("utf-8") == "mine"
    assert len(list(command.folder.iterdir())) == 1


def test_a_suite_that_ships_is_found_by_its_name_after_ones_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_suite("circles").path == shipped_suites()["circles"]
    (tmp_path / "suites").mkdir()
    own = (tmp_path / "suites/circles.py", tmp_path / "circles.py")
    for file in own:
        file.write_text(shipped_suites()["circles"].read_text("utf-8"), "utf-8")
        assert load_suite("circles").path.resolve() == file
    with pytest.raises(SuiteError, match="no suite file below/circles"):
        load_suite("below/circles")


def test_where_no_suite_is_near_those_that_ship_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        SuiteError, match=r"circle\.py; did you mean 'circles'\? suites that ship: .*circles, .*sync_bn"
    ):
        load_suite("circle")


def test_an_installed_package_knows_its_suites_by_the_files_of_the_wheel(tmp_path, monkeypatch):
    class Installed:
        files = ()

        def locate_file(self, name):
            return tmp_path / "site-packages" / name

    (tmp_path / "share/harness/suites").mkdir(parents=True)
    (tmp_path / "share/harness/suites/one.py").write_text("", "utf-8")
    wheel = ("../share/harness/suites/one.py", "harness/spec/suite_files/shipped.py")
    Installed.files = [shipped.Path(name) for name in wheel]
    monkeypatch.setattr(shipped, "CHECKOUT", tmp_path / "nowhere")
    monkeypatch.setattr(shipped, "distribution", lambda name: Installed())
    assert shipped_suites.__wrapped__() == {"one": tmp_path / "share/harness/suites/one.py"}
