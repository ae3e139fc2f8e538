"""Letters that move a cursor, turn a line around or have no width: no output and no file of a run holds any of them.

They come in by every way there is: the suite's question and name, a model's error and warning, the name of a data set,
the folder of the results, and records that a stranger has written with checksums that hold.
"""

import json
import os
import pty
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness.io import dump_checked_json, load_checked_json
from tests.cli.conftest import CommandLine, Ran
from tests.support.unseen import EVIL, unseen_in

SUITE = f'''"""Is {ascii(EVIL)[1:-1]} seen?"""

import warnings

from harness import Claim, Suite

EVIL = {EVIL!a}


def net(inputs, classes):
    import torch

    class Net(torch.nn.Linear):
        def forward(self, x):
            warnings.warn("not deterministic " + EVIL)
            if x.shape[0] == 20 and torch.is_grad_enabled() and FAILS:
                raise RuntimeError(EVIL)
            return super().forward(x)

    return Net(*inputs, classes)


FAILS = False
suite = Suite(
    dataset=[f"{{EVIL}}.npz", "b.npz"], model="mlp-4", lr=[0.1, 0.3], batch_size=20, steps=3, seed=range(2),
    compare="dataset", claims=[Claim.better(f"{{EVIL}}.npz", than="b.npz", lr=0.1)],
)
'''
TEXT = {".csv", ".html", ".md", ".tex", ".svg", ".log", ".json"}
NAME = "seen" + EVIL


@dataclass(frozen=True)
class Evil(CommandLine):
    """The program, whose results are in a folder of an evil name."""

    @property
    def results(self) -> Path:
        return self.folder / EVIL

    def of_suite(self, verb: str, *words: str, name: str = NAME) -> Ran:
        return self(verb, name, *words, "--results", EVIL)


@pytest.fixture(scope="module")
def evil(tmp_path_factory):
    line = Evil(tmp_path_factory.mktemp("evil"))
    rng = np.random.default_rng(0)
    for name in (EVIL, "b"):
        np.savez(line.folder / f"{name}.npz", x=rng.normal(size=(90, 2)), y=np.arange(90) % 3)
    line.suite(SUITE, NAME)
    line.suite(SUITE.replace("FAILS = False", "FAILS = True").replace('"mlp-4"', "net"), f"fails{EVIL}")
    assert line.of_suite("run", "--progress", "none").code == 0
    return line


def assert_seen(ran: Ran, code: int, *, allowed: str = "") -> None:
    assert ran.code == code, ascii(ran.out + ran.err)
    assert unseen_in(ran.out, allowed=allowed) == [], ascii(ran.out)
    assert unseen_in(ran.err, allowed=allowed) == [], ascii(ran.err)


def assert_files_seen(folder: Path) -> None:
    texts = [path for path in folder.rglob("*") if path.suffix in TEXT]
    assert {path.suffix for path in texts} >= TEXT - {".log"}
    for path in texts:
        text = path.read_bytes().decode("utf-8")
        assert unseen_in(text, allowed="\x7f" if path.suffix == ".json" else "") == [], path.suffix


def key_of(line, name, status):
    trials = pd.read_csv(line.results / name / "trials.csv")
    return trials.loc[trials["status"].isin(status), "key"].iloc[0]


def test_what_a_model_says_is_escaped_wherever_it_is_told(evil):
    name = f"fails{EVIL}"
    ran = evil.of_suite("run", "--only", "lr=0.1", "--workers", "1", name=name)
    assert_seen(ran, 1)
    assert "\\x1b]0;x\\x07" in ran.err
    assert "RuntimeError" in ran.err
    assert "not deterministic" in ran.err
    assert_files_seen(evil.results / name)
    key = key_of(evil, name, ["crashed"])
    shown = evil("show", key, "--results", EVIL)
    assert_seen(shown, 0)
    assert "error: RuntimeError: \\x1b]0;x\\x07" in shown.out
    assert_seen(evil.of_suite("status", name=name), 0)


def test_nothing_unseen_is_printed_or_written(evil):
    ran = evil.of_suite("run")
    assert_seen(ran, 0)
    assert "the report is \\x1b]0;x\\x07" in ran.out
    assert_files_seen(evil.results)
    for words in (["status"], ["status", "--json"], ["report"], ["plan"]):
        assert_seen(evil.of_suite(*words), 0)
    arms = json.loads(evil.of_suite("status", "--json").out)["by_arm"]
    assert set(arms) == {f"{EVIL}.npz", "b.npz"}
    assert_seen(evil("verify", EVIL), 0)
    assert_seen(evil("doctor", "--results", EVIL), 0)
    assert_seen(evil("compare", f"{EVIL}/{NAME}", f"{EVIL}/{NAME}"), 0)
    assert_seen(evil("compare", f"{EVIL}/{NAME}", f"{EVIL}/{NAME}", "--json"), 0)


def test_an_arm_of_unseen_letters_is_compared_like_any_other(evil):
    comparisons = pd.read_csv(evil.results / NAME / "comparisons.csv")
    assert (comparisons["n"] == 2).any()


def test_what_is_refused_is_named_in_letters_that_are_seen(evil):
    for words in (
        ["run", EVIL],
        [EVIL],
        ["show", EVIL],
        ["export", "0", "-o", EVIL, "--which", EVIL],
        ["predict", EVIL, EVIL],
        ["evaluate", EVIL],
        ["verify", f"{EVIL}none"],
        ["compare", EVIL, f"{EVIL}none"],
        ["run", NAME, "--only", f"{EVIL}=1", "--results", EVIL],
        ["run", NAME, "--device", EVIL, "--results", EVIL],
    ):
        ran = evil(*words)
        assert_seen(ran, 2)
        assert ran.err.count("\n") == 1


def test_records_of_a_stranger_are_shown_and_reported_without_harm(evil):
    place = evil.results / NAME
    key = key_of(evil, NAME, ["ok", "no_better_than_init", "below_target"])
    path = place / "records" / f"{key}.json"
    whole, content = path.read_bytes(), load_checked_json(path)
    telemetry = {**content["telemetry"], "host": EVIL, "device_name": EVIL, "commit": EVIL, EVIL: EVIL}
    content |= {"outcome": "crashed", "error": f"{EVIL}\nforged", "telemetry": telemetry}
    path.write_bytes(dump_checked_json({**content, "facts": {**content["facts"], EVIL: EVIL}}))
    suite = load_checked_json(place / "suite.json")
    (place / "suite.json").write_bytes(
        dump_checked_json({**suite, "question": EVIL, "path": EVIL, "machine": {EVIL: EVIL, "host": EVIL}})
    )
    try:
        for words in (["status"], ["report"]):
            assert_seen(evil.of_suite(*words), 0)
        shown = evil("show", key, "--results", EVIL)
        assert_seen(shown, 0)
        assert "\nforged" not in shown.out
        assert_seen(evil("compare", f"{EVIL}/{NAME}", f"{EVIL}/{NAME}"), 0)
        assert_files_seen(evil.results)
    finally:
        path.write_bytes(whole)


def test_bars_on_a_terminal_have_their_colours_and_nothing_else(evil):
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "harness", "run", NAME, "--results", "fresh", "--progress", "rich"]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "200"}
    process = subprocess.Popen(command, cwd=evil.folder, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    said = b"".join(iter(lambda: _read(ours), b""))
    assert process.wait() == 0
    text = said.decode("utf-8")
    assert "\x1b[" in text, "bars move the cursor"
    assert "\x1b]" not in text
    assert unseen_in(text, allowed="\x1b\r") == []
    assert "\\u202e" in text


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # the other end is closed
        return b""
