"""Files beside the user that are called like modules of Python's or of torch's stand in for none of them."""

from tests.cli.conftest import TINY


def test_a_suite_called_like_a_module_runs_among_others_that_are(harness):
    for name in ("random", "select", "queue", "torch"):
        harness.suite("raise SystemExit('this is no module')", name)
    harness.suite(TINY, "statistics")
    ran = harness("run", "statistics", "--progress", "none", "--only", "norm=none")
    assert ran.code == 0, ran.err


def test_a_package_in_the_current_folder_alone_is_found(harness):
    (harness.folder / "beside.py").write_text("LR = 0.03", "utf-8")
    harness.suite(TINY.replace("from harness", "from beside import LR\nfrom harness").replace("0.03,", "LR,"))
    ran = harness("run", "tiny", "--progress", "none", "--only", "norm=none")
    assert ran.code == 0, ran.err
