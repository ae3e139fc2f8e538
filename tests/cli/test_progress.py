"""How a run shows where it is."""

import os
import pty
import re
import subprocess
import sys

import pytest

from harness.cli import progress
from harness.cli.progress import Count, Tally, display, duration
from harness.execution.executors.base import Event
from harness.spec.trial import Trial

TRIALS = [
    Trial(dataset="digits", model="mlp-8", norm=norm, lr=0.1, batch_size=50, steps=5, seed=seed)
    for seed in range(5)
    for norm in ("batch", "none")
]
BATCH = tuple(trial.key for trial in TRIALS if trial.norm == "batch")


def tally(*events):
    made = Tally(TRIALS, "norm")
    for event in events:
        made.add(event)
    return made


def test_a_tally_counts_work_and_failures_by_arm():
    made = tally(Event(keys=BATCH[:2], done=0.5), Event(keys=BATCH[2:], done=1.0, failed=BATCH[2:4]))
    assert made.by_arm() == {"batch": Count(4.0, 3, 5, 2), "none": Count(0.0, 0, 5, 0)}


def test_lines_in_a_pipe_are_at_least_ten_seconds_apart(capsys, monkeypatch):
    clock = iter([0.0, 1.0, 9.9, 10.1, 12.0, 20.5])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    half = tally(Event(keys=BATCH, done=1.0, failed=BATCH[:1]))
    with display("plain") as shown:
        for _ in range(5):
            shown.show(half)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "5 of 10 trials trained, 50% of the work, 1 failed to train, about 10 s left",
        "5 of 10 trials trained, 50% of the work, 1 failed to train, about 20 s left",
    ]


def test_with_progress_none_only_notes_are_shown(capsys):
    with display("none") as shown:
        shown.show(tally())
        shown.note("something happened")
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "something happened\n")


def test_a_terminal_has_a_bar_for_each_arm_with_its_failures(tmp_path):
    (tmp_path / "tiny.py").write_text(
        '"""Q?"""\nfrom harness import Suite\nsuite = Suite(dataset="digits", model="mlp-8", norm=["batch", "none"], '
        "lr=[0.1, 1e30], batch_size=50, steps=5, seed=[0, 1])"
    )
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "harness", "run", "tiny"],
        cwd=tmp_path,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "160"},
    )
    os.close(theirs)
    said = b""
    while True:
        try:
            said += os.read(ours, 65536)
        except OSError:  # the other side is gone
            break
    os.close(ours)
    assert process.wait() == 0, said.decode()
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", said.decode())
    for arm in ("batch", "none"):
        assert re.search(rf"{arm} .*4 of 4 trials.*failed to train", text), text
    assert "8 of 8 trials have a result" in text.splitlines()[-1]


@pytest.mark.parametrize(("seconds", "said"), [(0.2, "1 s"), (89, "89 s"), (180, "3 min"), (7800, "2 h 10 min")])
def test_durations_are_said_as_people_say_them(seconds, said):
    assert duration(seconds) == said
