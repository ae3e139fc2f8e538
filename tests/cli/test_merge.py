"""`merge`: shards of several machines come to one run, to the byte; what is damaged or contradicts is named."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli import main
from harness.io import dump_checked_json, load_checked_json
from harness.storage.records import ResultsDir
from tests.cli.conftest import TINY, CommandLine

SEEDS = range(3)
OTHER_KIND = {"cpu": "SSE2", "torch": "1.0"}


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """The tiny suite, a seed of it on each of three machines; tests leave it as it is."""
    line = CommandLine(tmp_path_factory.mktemp("shards"))
    line.suite()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(line.folder)
        patch.setattr("harness.execution.runner.update_report", lambda *_: None)
        for seed in SEEDS:
            words = ("--only", f"seed={seed}", "--results", f"machine{seed}", "--executor", "in-process")
            assert main(["run", "tiny", *words, "--progress", "none"]) == 0
    return line


@pytest.fixture
def undrawn(monkeypatch):
    """Merges without a report, which takes longer than all else."""
    monkeypatch.setattr("harness.cli.verbs.merge.update_report", lambda *_: "(no report)")


@pytest.fixture
def machines(shards, tmp_path, monkeypatch):
    """A copy of these results that a test may change, as the current folder."""
    shutil.copytree(shards.folder, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return CommandLine(tmp_path / "copy")


def resealed(file, **changes):
    """Change members of a file as somebody would who knows how to seal it again."""
    file.write_bytes(dump_checked_json({**load_checked_json(file), **changes}))


def record_in(machine):
    """The path of a record of a trial that learned, the same in every copy."""
    places = sorted(ResultsDir(Path(machine) / "tiny").records.iterdir())
    return next(path for path in places if load_checked_json(path)["facts"]["fail_step"] is None)


def doctored(path, accuracy=1.0, **changes):
    """Give a record a better accuracy, with a checksum that holds."""
    curves = load_checked_json(path)["curves"]
    curves["test.accuracy"]["value"][-1] = accuracy
    resealed(path, curves=curves, **changes)


def copy_of(machine):
    """Another machine with the same results."""
    shutil.copytree(machine, f"{machine}-copy")
    return f"{machine}-copy"


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_three_machines_come_to_the_bytes_of_one_run(machines, finished, capsys, order):
    assert main(["merge", *(f"machine{i}" for i in order)]) == 0
    out = capsys.readouterr().out
    assert (
        out
        == "tiny: 18 of 18 trials have a result, 18 of them new here\n  the report is results/tiny/report/index.html\n"
    )
    assert machines.tables() == finished.tables()
    assert main(["verify", "results"]) == 0
    assert main(["compare", "results", str(finished.results), "--fail-if", "bits,changed,verdicts"]) == 0


@pytest.mark.usefixtures("undrawn")
def test_suites_that_differ_in_their_seeds_alone_come_to_one_run(machines, finished, monkeypatch, capsys):
    monkeypatch.setattr("harness.execution.runner.update_report", lambda *_: None)
    for name, seeds in (("late", "[2]"), ("early", "range(2)")):
        machines.suite(TINY.replace("range(3)", seeds))
        words = ("--results", name, "--executor", "in-process", "--progress", "none")
        assert main(["run", "tiny", *words]) == 0
    capsys.readouterr()
    assert main(["merge", "late", "early"]) == 0
    assert capsys.readouterr().out.startswith("tiny: 18 of 18 trials have a result, 18 of them new here\n")
    assert machines.tables() == finished.tables()
    machines.suite(TINY)
    assert main(["run", "tiny", "--executor", "in-process", "--progress", "none"]) == 0
    assert machines.tables() == finished.tables()


def test_what_is_merged_is_a_run_like_any_other(machines, finished):
    assert main(["merge", "machine2", "machine0", "--results", "joined"]) == 0
    assert main(["status", "tiny", "--results", "joined"]) == 0
    ran = machines("run", "tiny", "--results", "joined", "--progress", "none")
    assert ran.code == 0, ran.err
    assert "18 of 18 trials have a result" in ran.out
    assert machines.tables(results="joined") == finished.tables()
    report = (machines.folder / "joined/tiny/report.md").read_bytes()
    assert main(["merge", "machine0", "machine1", "machine2", "--results", "joined"]) == 0
    assert machines.tables(results="joined") == finished.tables()
    assert (machines.folder / "joined/tiny/report.md").read_bytes() == report


@pytest.mark.usefixtures("machines", "undrawn")
def test_trials_without_a_result_are_counted_with_what_to_do(capsys):
    assert main(["merge", "machine0", "machine1/tiny", "--results", "out"]) == 0
    out = capsys.readouterr().out
    assert "tiny: 12 of 18 trials have a result, 12 of them new here\n" in out
    assert "  go on with: python -m harness run tiny.py --results out\n" in out


def test_machines_of_several_kinds_are_named_also_in_the_report(machines, capsys):
    suite = machines.folder / "machine1/tiny/suite.json"
    resealed(suite, fingerprint={**load_checked_json(suite)["fingerprint"], **OTHER_KIND})
    assert main(["merge", "machine0", "machine1", "machine2"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if "kinds" in line)
    assert line.startswith("  made on 2 kinds of machines, which differ: cpu ")
    assert "; torch 1.0, 2" in line
    assert "SSE2" in line
    report = (machines.results / "tiny/report.md").read_text("utf-8")
    assert "- made on: 2 kinds of machines, which differ in cpu, torch\n" in report
    assert "- torch: 1.0, 2" in report
    assert "2 kinds of machines" in (machines.results / "tiny/report/index.html").read_text("utf-8")


@pytest.mark.usefixtures("machines", "undrawn")
def test_a_tampered_record_is_named_and_the_others_are_merged(capsys):
    path = record_in("machine1")
    path.write_bytes(path.read_bytes().replace(b'"classes":10', b'"classes":11'))
    assert main(["merge", "machine0", "machine1", "machine2"]) == 1
    out = capsys.readouterr().out
    assert f"left out: {path} is damaged: its checksum does not hold\n" in out
    assert "tiny: 17 of 18 trials have a result" in out
    assert "go on with: python -m harness run tiny.py" in out


@pytest.mark.usefixtures("undrawn")
def test_a_result_that_contradicts_another_is_named_and_neither_counts(machines, capsys):
    other = copy_of("machine1")
    doctored(record_in(other))
    assert main(["merge", "machine0", "machine1", other]) == 1
    out = capsys.readouterr().out
    key = record_in("machine1").stem
    where = "machine1-copy/tiny, machine1/tiny"
    assert (
        f"trial {key}: 2 different results in {where} (made alike, so bits should be equal); none of them counts" in out
    )
    assert "tiny: 11 of 18 trials have a result" in out
    assert "in several folders, with equal results: 5 trials" in out
    assert "move the right one to results/tiny/records/KEY.json" in out
    kept = sorted(path.name for path in (machines.results / "tiny/conflicts").iterdir())
    assert [name[:17] for name in kept] == [f"{key}."] * 2
    trained = machines("run", "tiny", "--only", f"key={key}", "--progress", "none")
    assert trained.code == 0, trained.err
    assert (machines.results / "tiny/records" / f"{key}.json").exists()
    capsys.readouterr()
    assert main(["merge", "machine0", "machine1"]) == 0, "what was decided agrees with one side"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            TINY.replace("Is a", "Was a"),
            "question is 'Is a tiny suite enough to try the command line?' in the one, 'Was",
        ),
        (TINY.replace("batch_size=100", "batch_size=50"), "batch_size is 100 in the one, 50 in the other"),
        (TINY.replace(", lr=0.3)", ", lr=0.03)"), "claim 1 is not the same in both"),
    ],
    ids=["question", "grid", "claim"],
)
def test_results_of_another_suite_are_refused_and_nothing_is_written(machines, capsys, text, words):
    machines.suite(text)
    (machines.folder / "machine2/tiny/trials.csv").unlink()
    assert main(["report", "tiny", "--results", "machine2"]) == 0
    capsys.readouterr()
    assert main(["merge", "machine0", "machine2"]) == 2
    assert f"harness: machine0/tiny and machine2/tiny are not of the same suite: {words}" in capsys.readouterr().err
    assert not machines.results.exists()


@pytest.mark.usefixtures("undrawn")
def test_folders_of_several_suites_are_merged_suite_by_suite(machines, capsys):
    for i in (0, 1):
        shutil.copytree(f"machine{i}/tiny", f"machine{i}/second")
        resealed(machines.folder / f"machine{i}/second/suite.json", name="second")
    assert main(["merge", "machine0", "machine1", "machine2/tiny"]) == 0
    out = capsys.readouterr().out
    assert "tiny: 18 of 18 trials have a result" in out
    assert "second: 12 of 18 trials have a result" in out
    assert main(["merge", "machine0/tiny", "machine1/second"]) == 2
    assert "machine0/tiny holds results of the suite tiny, machine1/second those of second" in capsys.readouterr().err
    assert main(["merge", "machine0", "machine1", "--recheck", "1", "--suite", "tiny"]) == 2
    assert "--suite names one suite, and the folders hold 2" in capsys.readouterr().err


def test_a_merge_loads_no_torch_and_runs_no_suite(machines):
    (machines.folder / "tiny.py").write_text("raise SystemExit('the suite was run')", "utf-8")
    script = "import sys; from harness.cli import main; code = main(); sys.exit(code or 9 * ('torch' in sys.modules))"
    ran = subprocess.run([sys.executable, "-c", script, "merge", "machine0", "machine1"], check=False)
    assert ran.returncode == 0


@pytest.mark.usefixtures("undrawn")
def test_nothing_that_a_stranger_wrote_reaches_the_terminal_as_it_is(machines, capsys):
    for i in (0, 1):
        resealed(machines.folder / f"machine{i}/tiny/suite.json", path="\x1b[2J.py", question=f"\x1b[2J{i}")
    assert main(["merge", "machine0", "machine1"]) == 2
    assert main(["merge", "machine0"]) == 0
    printed = capsys.readouterr()
    assert "\x1b" not in printed.out + printed.err


@pytest.mark.usefixtures("undrawn")
def test_a_folder_without_a_readable_suite_json_is_refused(machines, capsys):
    (machines.folder / "machine0/tiny/suite.json").unlink()
    assert main(["merge", "machine0", "machine1"]) == 4
    assert "machine0/tiny/suite.json is missing; `run` with its suite writes it again" in capsys.readouterr().err
    suite = machines.folder / "machine2/tiny/suite.json"
    suite.write_bytes(suite.read_bytes().replace(b'"trials":18', b'"trials":19'))
    assert main(["merge", "machine1", "machine2"]) == 4
    assert "machine2/tiny/suite.json is damaged: its checksum does not hold" in capsys.readouterr().err
    assert not machines.results.exists()


@pytest.mark.usefixtures("undrawn")
def test_results_of_an_earlier_version_say_how_to_bring_them_up_to_date(machines, capsys):
    suite = machines.folder / "machine0/tiny/suite.json"
    resealed(suite, points={})
    assert main(["merge", "machine0"]) == 2
    assert (
        "is of an earlier version, which did not list the trials; `report` writes it again" in capsys.readouterr().err
    )
    assert main(["report", "tiny", "--results", "machine0"]) == 0
    assert main(["merge", "machine0"]) == 0


@pytest.mark.usefixtures("undrawn")
def test_a_sample_that_is_trained_again_is_equal_to_the_bit(machines, capsys):
    before = set(machines.folder.iterdir())
    assert main(["merge", "machine0", "machine1", "machine2", "--recheck", "2"]) == 0
    out = capsys.readouterr().out
    assert "training 2 of 18 results again, by tiny.py\n" in out
    assert out.endswith("trained again: 2 of 18 results; 2 equal to the bit\n")
    assert set(machines.folder.iterdir()) == {*before, machines.results}


@pytest.mark.usefixtures("machines", "undrawn")
def test_a_doctored_result_is_found_when_it_is_trained_again(capsys):
    path = record_in("machine0")
    doctored(path)
    assert main(["merge", "machine0", "--recheck", "100%"]) == 1
    out = capsys.readouterr().out
    assert f"trial {path.stem} is not what this machine gives: it was made on this kind of machine" in out
    assert out.endswith("trained again: 6 of 6 results; 5 equal to the bit, 1 different\n")


@pytest.mark.usefixtures("undrawn")
def test_results_of_another_kind_of_machine_may_differ_by_rounding_and_no_more(machines, capsys):
    suite = machines.folder / "machine0/tiny/suite.json"
    resealed(suite, fingerprint={**load_checked_json(suite)["fingerprint"], **OTHER_KIND})
    for path in sorted((machines.folder / "machine0/tiny/records").iterdir()):
        resealed(path, telemetry={**load_checked_json(path)["telemetry"], **OTHER_KIND})
    near = record_in("machine0")
    accuracy = load_checked_json(near)["curves"]["test.accuracy"]["value"][-1]
    doctored(near, accuracy + 0.01)
    assert main(["merge", "machine0", "--recheck", "6", "--results", "near"]) == 0
    words = (
        "5 equal to the bit, 1 from another kind of machine, within what rounding moves (accuracy differs by up to 1 po"
    )
    assert words in capsys.readouterr().out
    doctored(near, accuracy + 0.2)
    assert main(["merge", "machine0", "--recheck", "6", "--results", "far"]) == 1
    assert (
        f"trial {near.stem} is not what this machine gives: its accuracy is further away than rounding"
        in capsys.readouterr().out
    )


@pytest.mark.usefixtures("undrawn")
def test_a_suite_that_came_with_the_results_is_not_run_unless_it_is_named(machines, capsys):
    shutil.move("tiny.py", "machine0/tiny.py")
    resealed(machines.folder / "machine0/tiny/suite.json", path="machine0/tiny/../tiny.py")
    with (machines.folder / "machine0/tiny.py").open("a") as file:
        file.write("open('ran', 'w').close()\n")
    assert main(["merge", "machine0", "--recheck", "1"]) == 2
    assert "--recheck runs the suite file of tiny; say which that is with --suite PATH" in capsys.readouterr().err
    assert not Path("ran").exists()
    assert not machines.results.exists()
    assert main(["merge", "machine0", "--recheck", "1", "--suite", "machine0/tiny"]) == 0
    assert Path("ran").exists()


@pytest.mark.usefixtures("undrawn")
def test_a_suite_that_has_not_made_the_results_is_refused(machines, capsys):
    machines.suite(TINY.replace("steps=12", "steps=13"), "longer")
    assert main(["merge", "machine0", "--recheck", "1", "--suite", "longer"]) == 2
    assert "longer.py has no trial" in capsys.readouterr().err
