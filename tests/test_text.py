"""What can't be seen is escaped, what can is left alone, and no stream lets anything else through."""

import io
import sys
import unicodedata

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandas._libs.parsers import STR_NA_VALUES

from harness.text import (
    LINES,
    MISSING,
    PrintableStream,
    lost_in_tables,
    printable,
    printable_output,
    unescaped,
    unescaped_output,
)
from tests.support.unseen import UNSEEN


@given(st.text())
def test_what_comes_out_can_be_seen_and_what_could_be_seen_is_as_it_was(text):
    shown = printable(text)
    assert all(letter.isprintable() or unicodedata.category(letter) == "Zs" for letter in shown)
    assert printable(shown) == shown
    if text.isprintable():
        assert shown == text


@given(st.text(), st.sampled_from(["", LINES, "\x1b"]))
def test_a_letter_that_is_kept_is_kept(text, keep):
    assert {*printable(text, keep)} & {*keep} == {*text} & {*keep}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;x\x07", "\\x1b]0;x\\x07"),
        ("a\u202eb", "a\\u202eb"),
        ("\U000e0041", "\\U000e0041"),
        ("\ud800", "\\ud800"),
        ("12\N{NO-BREAK SPACE}%", "12\N{NO-BREAK SPACE}%"),
        ("\N{SNOWMAN} caf\u00e9", "\N{SNOWMAN} caf\u00e9"),
    ],
    ids=ascii,
)
def test_a_letter_is_escaped_as_python_writes_it(text, shown):
    assert printable(text) == shown


@given(st.lists(st.text() | st.sampled_from(UNSEEN)))
def test_a_stream_writes_lines_and_nothing_unseen(texts):
    below = io.StringIO(newline="")
    stream = PrintableStream(below)
    assert [stream.write(text) for text in texts] == list(map(len, texts))
    stream.writelines(texts)
    assert below.getvalue() == 2 * "".join(printable(text, keep="\n\t") for text in texts)


def test_all_that_is_printed_goes_through_and_what_is_a_users_own_does_not(capsys):
    before = sys.stdout, sys.stderr
    with printable_output(), printable_output():
        print("\x1b[1mour own")
        print("\u202eand errors", file=sys.stderr)
        with unescaped_output():
            print("\x1b[2ma model's")
        assert (unescaped(sys.stdout), unescaped(sys.stderr)) == before
        print("again \x07")
        assert sys.stdout.isatty() is before[0].isatty()
    assert (sys.stdout, sys.stderr) == before
    said = capsys.readouterr()
    assert said.out == "\\x1b[1mour own\n\x1b[2ma model's\nagain \\x07\n"
    assert said.err == "\\u202eand errors\n"


def test_a_process_without_streams_prints_nowhere(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    with printable_output():
        print("x")


def test_a_plain_read_csv_gives_back_all_names_but_those_that_are_told():
    names = [*STR_NA_VALUES, "inf", "-Infinity", "01", "1", "-1", "1e3", "1.0", "true", "FALSE", "True", "1_0", " 7"]
    names += [
        "null model",
        "NaNs",
        "none",
        "batch",
        "a1",
        "0x10",
        "na",
        "Null",
        "naN",
        "é",
        "1.2.3",
        "2026-01-31",
        "yes",
    ]
    for name in names:
        back = pd.read_csv(io.StringIO(pd.DataFrame({"name": [name]}).to_csv(index=False)))["name"][0]
        is_given_back = isinstance(back, str) and back == name
        assert (lost_in_tables(name) is None) == is_given_back or name in ("1_0", "naN")  # other tools read these
    assert MISSING == STR_NA_VALUES
