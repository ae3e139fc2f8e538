"""Suite files: how one is found, what question it asks, and that what is no suite is refused in a line."""

import errno
import os
from pathlib import Path
from unittest.mock import Mock

import pytest

from harness.errors import SuiteError
from harness.spec.loader import load_suite

HEAD = '"""Which is better?"""\n\nfrom harness import Suite\n\n'
SETTINGS = "lr=0.1, batch_size=7, steps=5"
PLAIN = f'{HEAD}suite = Suite(dataset="digits", model="mlp-8", {SETTINGS})\n'
NAMES = {  # what a name may be -> one that is
    "plain": "lr_sweep",
    "dotted": "a.b",
    "spaces": " two words ",
    "accent composed": "\u00e9tude",
    "accent decomposed": "e\u0301tude",
    "emoji": "\U0001f600" * 20,
    "dash": "-rf",
    "reserved": "CON",
    "newline": "two\nlines",
    "markup": "<script>",
    "backslash": "a\\b",
    "tilde": "~",
    "quotes": "'\"",
}


def written(folder, text, name="suite.py"):
    """The path of a suite file with this text."""
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refusal(path):
    """The one line that says why the suite at `path` is refused."""
    with pytest.raises(SuiteError) as caught:
        load_suite(path)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert caught.value.exit_code == 2
    return message


def test_a_suite_is_found_with_and_without_its_ending(tmp_path):
    path = written(tmp_path, PLAIN)
    for spelling in (path, str(path), tmp_path / "suite", str(tmp_path / "suite")):
        found = load_suite(spelling)
        assert (found.path, found.name) == (path, "suite")


def test_a_path_counts_from_the_current_folder(tmp_path, monkeypatch):
    written(tmp_path, PLAIN)
    monkeypatch.chdir(tmp_path)
    assert load_suite("suite").path == Path("suite.py")


@pytest.mark.parametrize("kind", NAMES)
def test_any_name_that_a_file_may_have_is_the_name_of_its_suite(kind, tmp_path):
    path = written(tmp_path, PLAIN, f"{NAMES[kind]}.py")
    assert load_suite(path).name == load_suite(tmp_path / NAMES[kind]).name == NAMES[kind]


@pytest.mark.parametrize("kind", NAMES)
def test_an_error_in_a_file_of_any_name_is_one_line(kind, tmp_path):
    path = written(tmp_path, "\n1 / 0", f"{NAMES[kind]}.py")
    assert refusal(path).endswith(".py:2: ZeroDivisionError: division by zero")
    assert "no suite" in refusal(written(tmp_path, "", f"{NAMES[kind]}.py"))
    assert "no suite file" in refusal(tmp_path / f"{NAMES[kind]}.py" / "below")


def test_a_missing_suite_is_named_with_those_beside_it(tmp_path):
    for name in ("width.py", "depth.py", "notes.txt"):
        written(tmp_path, PLAIN, name)
    assert refusal(tmp_path / "breadth") == (
        f"no suite file {tmp_path}/breadth.py; suites in {tmp_path}/: depth, width"
    )


def test_a_missing_suite_in_a_missing_folder_is_one_line(tmp_path):
    assert refusal(tmp_path / "nowhere" / "breadth") == f"no suite file {tmp_path}/nowhere/breadth.py"


@pytest.mark.parametrize(
    "path", ["", ".", "..", "/", "x" * 300, "x" * 300 + "/y", "nul\0inside", "nul\0/below", "two\nlines", "\ud800"]
)
def test_a_path_that_can_be_no_suite_is_refused(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert refusal(path).startswith("no suite file ")


@pytest.mark.parametrize(
    "make",
    [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/dev/zero"), lambda path: path.symlink_to(path)],
    ids=["folder", "pipe", "device", "loop"],
)
@pytest.mark.timeout(20)
def test_what_is_no_regular_file_is_no_suite(make, tmp_path):
    make(tmp_path / "suite.py")
    assert refusal(tmp_path / "suite").startswith("no suite file ")
    assert refusal(tmp_path / "suite.py").startswith("no suite file ")


def test_a_file_that_can_not_be_read_is_named_with_the_reason(tmp_path, monkeypatch):
    path = written(tmp_path, PLAIN)
    monkeypatch.setattr(Path, "read_text", Mock(side_effect=PermissionError(errno.EACCES, "Permission denied")))
    assert refusal(path) == f"{path}: can't be read: Permission denied"


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("suite = (\n", ":1", "never closed"),
        (f"{HEAD}suite = Suite(lr=0.1\n", ":5", "never closed"),
        ("a = 1\nb = = 2\n", ":2", "invalid syntax"),
        ("if True:\na = 1\n", ":2", "indent"),
        ("a = 1\nb = '\ud83d'\n".encode("utf-8", "surrogatepass"), "", "UTF-8"),
        (b"\xff\xfe\x00", "", "UTF-8"),
        (PLAIN.encode("utf-16"), "", "UTF-8"),
        ("# caf\u00e9".encode("latin-1"), "", "UTF-8"),
        (b"a = 1\nb\0 = 2\n", "", "null bytes"),
        ("x = " + "(" * 400, ":1", "parentheses"),
        ("x = " + "-" * 100_000 + "1", "", "Error"),
        ("x = 1\ny = " + "1" * 5000, ":2", "digits"),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_a_text_that_is_not_python_is_refused_at_its_line(text, line, says, tmp_path):
    path = written(tmp_path, text)
    message = refusal(path)
    assert message.startswith(f"{path}{line}: ")
    assert says in message


@pytest.mark.parametrize("text", ["", "# nothing\n", f"{HEAD}suites = 1\n", "suite = None\n", "suite = {'lr': 1}\n"])
def test_a_file_that_declares_no_suite_says_what_it_must_say(text, tmp_path):
    path = written(tmp_path, text)
    assert refusal(path) == f"{path}: declares no suite; it must say `suite = Suite(...)`"


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("\n\nraise ValueError('one\\ntwo\\r\\nthree')", 3, "ValueError: one two three"),
        ("def f():\n    return {}['a']\n\nf()", 2, "KeyError: 'a'"),
        ("import json\n\njson.loads('{')", 3, "JSONDecodeError: "),
        ("import no_such_module", 1, "ModuleNotFoundError: "),
        ("\nimport sys\nsys.exit(0)", 3, "SystemExit: 0"),
        ("exit()", 1, "SystemExit: "),
        ("def f():\n    f()\n\nf()", 2, "RecursionError: "),
        ("assert 1 == 2", 1, "AssertionError:"),
        ("a = 1\ncompile('b = = 2', 'other.py', 'exec')", 2, "SyntaxError: "),
        (f"{HEAD}suite = Suite(dataset='digits', model='mlp-8', lrr=0.1, lr=1, batch_size=7)", 5, "did you mean 'lr'?"),
        (f"{HEAD}suite = Suite(dataset='digits', model='mlp-8', lr=[], batch_size=7)", 5, "axis 'lr' is empty"),
        (
            f"{HEAD}suite = Suite(\n    lr=10**400,\n    dataset='digits', model='m', batch_size=7)",
            5,
            "lr must be float",
        ),
        (f"{HEAD}from harness import Claim\nClaim.better('a', than='a')", 6, "a claim compares two arms"),
    ],
    ids=lambda value: repr(value)[-24:],
)
def test_an_error_in_a_suite_is_refused_at_its_line(text, line, says, tmp_path):
    path = written(tmp_path, text)
    assert refusal(path).startswith(f"{path}:{line}: {says}" if "Error:" in says else f"{path}:{line}: ")
    assert says in refusal(path)


def test_an_error_deep_in_a_suite_names_the_innermost_line_of_the_suite(tmp_path):
    path = written(tmp_path, "import json\n\n\ndef f():\n    json.loads('[')\n\n\nf()\n")
    assert refusal(path).startswith(f"{path}:5: ")


@pytest.mark.parametrize(
    ("docstring", "question"),
    [
        ("Which is better?", "Which is better?"),
        ("\n  Which\n  is   better?\n\n  More of it.\n", "Which is better?"),
        ("Which is\nbetter?\n   \nMore of it.", "Which is better?"),
        ("\n\nWhich is better?\n\n\nMore.\n\nAnd more.", "Which is better?"),
        ("  ", "suite"),
        ("", "suite"),
        ("\u00bfCu\u00e1l?", "\u00bfCu\u00e1l?"),
    ],
)
def test_the_question_is_the_first_paragraph_of_the_docstring(docstring, question, tmp_path):
    text = PLAIN.replace("Which is better?", docstring)
    assert load_suite(written(tmp_path, text)).question == question


def test_without_a_docstring_the_question_is_the_name_of_the_file(tmp_path):
    assert load_suite(written(tmp_path, PLAIN.partition("\n")[2], "width.py")).question == "width"


@pytest.mark.parametrize("name", ["null", "NA", "nan", "None", "true", "1e3", "inf", "2026"])
def test_a_suite_whose_name_tables_would_lose_is_refused(tmp_path, name):
    assert "tables take the name" in refusal(written(tmp_path, PLAIN, f"{name}.py"))
