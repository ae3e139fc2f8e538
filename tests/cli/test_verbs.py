"""plan, status, report, show, doctor: what they say of a suite that has run, and that they train nothing."""

import ctypes
import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pandas as pd
import pytest

import harness as package
from harness.cli.verbs import doctor
from harness.ensemble.native.build import Library
from harness.ensemble.native.compiler import find_compiler
from harness.ensemble.native.targets import Target
from harness.errors import NoCompilerError
from tests.cli.conftest import TINY


def test_status_counts_every_trial_by_arm_and_names_the_next_command(finished):
    ran = finished("status", "tiny")
    assert (ran.code, ran.err) == (0, "")
    assert "batch" in ran.out
    assert "nonfinite" in ran.out
    assert ran.out.splitlines()[-1].startswith("18 of 18 trials have a result; see the report")


@pytest.mark.parametrize("words", [("status", "tiny"), ("status", "tiny", "--json"), ("show",)], ids=" ".join)
def test_a_reader_that_goes_away_is_no_failure_and_a_full_disk_is_one(finished, words):
    key = next((finished.results / "tiny" / "records").iterdir()).stem
    command = [sys.executable, "-m", "harness", *words, *([key] if words == ("show",) else [])]
    read, write = os.pipe()
    os.close(read)
    gone = subprocess.run(command, cwd=finished.folder, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (gone.returncode, gone.stderr) == (0, "")
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(command, cwd=finished.folder, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (ran.returncode, ran.stderr.count("\n")) == (4, 1), ran.stderr


def test_status_as_json_adds_up(finished):
    said = json.loads(finished("status", "tiny", "--json").out)
    assert said["trials"] == said["with_result"] == sum(said["by_status"].values()) == 18
    assert sum(sum(arm.values()) for arm in said["by_arm"].values()) == 18


def test_status_of_a_part_counts_that_part(finished):
    assert json.loads(finished("status", "tiny", "--json", "--only", "norm=none").out)["trials"] == 9


def test_status_of_a_half_finished_suite_says_how_to_go_on(harness):
    harness.suite()
    assert harness("run", "tiny", "--only", "norm=none", "--progress", "none").code == 0
    ran = harness("status", "tiny")
    assert ran.out.splitlines()[-1] == "9 of 18 trials have a result; go on with: python -m harness run tiny.py"
    page = harness.results / "tiny" / "report" / "index.html"
    assert "Unfinished: 9 of 18 trials have a result." in page.read_text("utf-8")


def test_show_tells_a_trial_from_its_record_and_how_to_replay_it(finished):
    key = sorted(path.stem for path in (finished.results / "tiny" / "records").iterdir())[0]
    ran = finished("show", key)
    assert (ran.code, ran.err) == (0, "")
    for word in (key, "digits", "accuracy", "cohort_size", "torch"):
        assert word in ran.out
    accuracy = pd.read_csv(finished.results / "tiny" / "trials.csv").set_index("key").loc[key, "test_accuracy"]
    shown = "" if pd.isna(accuracy) else f"{accuracy:.4g} "
    assert re.search(rf"│ test_accuracy +│ {shown}", ran.out)
    assert not re.search(r"\d\.\d{7}", ran.out)
    (replay,) = re.findall(r"replay it with: python -m harness (.*)", ran.out)
    assert finished(*replay.split(), "--progress", "none").code == 0
    original, again = (
        pd.read_csv(finished.folder / results / "tiny" / "trials.csv").set_index("key").loc[key]
        for results in ("results", "replay")
    )
    pd.testing.assert_series_equal(original, again)


def test_show_says_how_a_trial_failed_and_where_it_stands_on_every_axis(harness):
    harness.suite(TINY.replace("lr=[", "lr=[1e9, "))
    assert harness("run", "tiny", "--only", "norm=none", "--only", "lr=1e9", "--progress", "none").code == 0
    trials = pd.read_csv(harness.results / "tiny" / "trials.csv")
    failed = trials[trials["status"] == "nonfinite"].iloc[0]
    ran = harness("show", failed["key"])
    assert f"trial {failed['key']} of tiny: nonfinite\n" in ran.out
    assert re.search(rf"│ seed +│ {failed['seed']} ", ran.out)
    assert re.search(r"│ norm \(compared\) +│ none ", ran.out)


def test_plan_trains_nothing_and_says_what_would_run(harness):
    harness.suite()
    ran = harness("plan", "tiny")
    assert (ran.code, ran.err) == (0, "")
    assert not harness.results.exists()
    assert "18 trials: norm (2) x lr (3) x seed (3)" in ran.out
    assert "needs 6 seeds, has 3: TOO FEW" in ran.out
    assert "18 would train, in " in ran.out
    assert " cohorts of " in ran.out
    assert re.search(r"about \d+ s on cpu with", ran.out)


def test_plan_of_a_finished_suite_has_nothing_to_train(finished):
    ran = finished("plan", "tiny")
    assert "nothing to train" in ran.out


def test_report_takes_a_claim_that_was_added_later_and_says_that_it_was(harness):
    harness.suite(TINY.replace('claims=[Claim.better("batch", than="none", lr=0.3)],', ""))
    assert harness("run", "tiny", "--progress", "none").code == 0
    harness.suite()
    ran = harness("report", "tiny")
    assert ran.code == 0, ran.err
    assert "Declared after 18 trials had results." in (harness.results / "tiny/report/index.html").read_text("utf-8")
    again = harness("report", "tiny")
    assert again.code == 0
    assert json.loads((harness.results / "tiny/suite.json").read_text())["claims"][0]["declared_after"] == 18


def test_report_makes_the_same_bytes_from_records_alone(finished, harness):
    import shutil

    harness.suite()
    shutil.copytree(finished.results, harness.results)
    for path in [*(harness.results / "tiny").glob("*.csv"), harness.results / "tiny/curves.parquet"]:
        path.unlink()
    shutil.rmtree(harness.results / "tiny/report")
    assert harness("report", "tiny").code == 0
    assert harness.tables() == finished.tables()
    for name in ("comparisons.csv", "report.md", "report/index.html", "report/figures/effect.pdf"):
        assert (harness.results / "tiny" / name).read_bytes() == (finished.results / "tiny" / name).read_bytes(), name


def test_doctor_finds_this_machine_fit(harness):
    ran = harness("doctor")
    assert (ran.code, ran.err) == (0, "")
    assert "torch" in ran.out
    assert "gloo" in ran.out
    assert "doctor" not in ran.out.splitlines()[-1]


def library(**fields):
    target = Target(name="x86-64-v3", vector_bytes=32)
    fields = {"path": Path("/cache/a.so"), "target": target, "compiler": "g++ 12.2.0", "seconds": None, **fields}
    return Library(handle=ctypes.CDLL(None), **fields)


@pytest.mark.parametrize(
    ("fields", "found", "remedy"),
    [
        ({}, "g++ 12.2.0, for x86-64-v3 (vectors of 32 bytes), in /cache", ""),
        ({"seconds": 3.14}, "g++ 12.2.0, for x86-64-v3 (vectors of 32 bytes), compiled in 3.1 s", ""),
        ({"compiler": ""}, "part of the package, for x86-64-v3 (vectors of 32 bytes), in /cache", ""),
        (
            {"refused": ("/home can be written by others (chmod o-w)",)},
            "g++ 12.2.0, for x86-64-v3 (vectors of 32 bytes), in /cache",
            "/home can be written by others (chmod o-w): set XDG_CACHE_HOME to a folder that is yours alone",
        ),
    ],
)
def test_doctor_says_how_the_native_library_came_about(monkeypatch, fields, found, remedy):
    monkeypatch.setattr(doctor, "library_or_error", lambda _: library(**fields))
    assert doctor.native_finding() == ("native library", found, remedy)


def test_doctor_says_what_a_compiler_would_bring(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(NoCompilerError) as raised:
        find_compiler()
    monkeypatch.setattr(doctor, "library_or_error", lambda _: raised.value)
    found = "CXX='no-such-compiler' is no compiler that runs here: small models train several times slower"
    remedy = "unset it, or install g++ (9 or later) or clang++"
    assert doctor.native_finding() == ("native library", found, remedy)


def test_doctor_says_that_the_native_library_is_switched_off(monkeypatch):
    monkeypatch.setenv("HARNESS_NATIVE", "0")
    assert doctor.native_finding() == ("native library", "switched off by HARNESS_NATIVE=0", "")


def test_doctor_looks_for_what_the_package_requires():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
    names = [re.match(r"[\w.-]+", requirement)[0] for requirement in project["dependencies"]]
    assert sorted(doctor.REQUIRED_PACKAGES) == sorted(names)


def test_doctor_needs_no_installation_of_the_harness_itself(monkeypatch):
    def version_of_others(name):
        if name == "harness":
            raise PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(doctor, "version", version_of_others)
    assert [finding[1:] for finding in doctor._package_findings()] == [("1.0", "")] * len(doctor.REQUIRED_PACKAGES)


def test_results_gives_settings_outcomes_and_telemetry_in_one_frame(finished):
    frame = package.results(str(finished.results / "tiny"))
    assert len(frame) == 18
    assert {"norm", "status", "test_accuracy", "seconds_train", "cohort_size", "torch"} <= set(frame.columns)
    assert frame["cohort_size"].between(1, 9).all()


def test_reading_results_never_loads_torch(finished):
    script = (
        "import sys; from harness.cli import main\n"
        "for words in (['status', 'tiny'], ['report', 'tiny'], ['run', 'tiny']):\n    assert main(words) == 0\n"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=finished.folder, capture_output=True)
