"""What a message tells the user to type next can be typed, and asks for the same as what was typed before."""

import argparse
import shlex

import pytest

from harness.cli import options
from harness.cli.dispatch import dispatch
from harness.cli.hints import command, without
from harness.cli.parser import given_options, make_parser
from harness.spec.suite_files.shipped import shipped_suites

TYPED = {  # what to type for an option that takes any text
    "--drill-seed": "3",
    "--drill-rounds": "2",
    **{
        "--results": "my results",
        "--publish": "for readers",
        "--only": "norm=batch,none",
        "--shard": "2/3",
        "--workers": "3",
        "--device": "cuda:1",
    },
    **{"--retry": "oom,crashed", "--time-budget": "1h30m", "--fail-if": "refuted", "--output": "it's $HOME"},
    **{"--executor-options": "my cluster.toml", "--scheduler": "tcp://127.0.0.1:8786"},
    **{"--recheck": "2%", "--max-seeds": "30", "--suite": "-", "--dataset": "digits", "--batch-size": "8"},
}


def parsed(words: list[str]) -> argparse.Namespace:
    return make_parser().parse_args(words)


def typed(verb: str, flag: str, settings: dict) -> list[str]:
    """A command of the verb with that option at another value than its default."""
    arguments = ["x" for name, _ in options.VERBS[verb][1] if not name.startswith("-")]
    required = [
        word
        for name, more in options.VERBS[verb][1]
        if more.get("required") and name != flag
        for word in (name, *more.get("choices", ["file"])[:1])
    ]
    values = [value for value in settings.get("choices", [TYPED.get(flag)]) if value != settings.get("default")]
    words = [flag] if settings.get("action") == "store_true" else [f"{flag}={values[0]}"]
    return [verb, *arguments, *required, *words]


FLAGS = [(verb, *option) for verb in options.VERBS for option in options.VERBS[verb][1] if option[0].startswith("-")]


@pytest.mark.parametrize(("verb", "flag", "settings"), FLAGS, ids=[f"{verb}{flag}" for verb, flag, _ in FLAGS])
def test_a_hint_repeats_every_option_of_its_verb_that_was_given(verb, flag, settings):
    before = parsed(typed(verb, flag, settings))
    arguments = [word for word in typed(verb, flag, settings)[1:] if word == "x"]
    hint = command(verb, *arguments, given=given_options(before))
    program, *words = shlex.split(hint.removeprefix("python -m "))
    assert program == "harness"
    assert vars(parsed(words)) == vars(before)
    assert flag in " ".join(words)


def test_a_suite_that_ships_is_typed_by_its_name_where_no_other_is_found_by_that(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = shipped_suites()["circles"]
    assert command("run", path, given={}).endswith(" run circles")
    (tmp_path / "circles.py").write_text("")
    assert command("run", path, given={}).endswith(f" run {path}")


@pytest.mark.parametrize(
    ("typed", "program"),
    [
        ("/venv/bin/harness", "harness"),
        ("C:/venv/Scripts/harness.exe", "harness"),
        ("/site-packages/harness/__main__.py", "python -m harness"),
        ("-c", "python -m harness"),
    ],
)
def test_a_hint_begins_as_the_command_that_was_typed(monkeypatch, capsys, typed, program):
    monkeypatch.setattr("sys.argv", [typed])
    assert command("run", "tiny.py", given={"--workers": ["--workers", "2"]}) == f"{program} run tiny.py --workers 2"
    assert dispatch([]) == 2
    assert capsys.readouterr().err.endswith(f"see `{program} --help`\n")
    assert dispatch(["run", "--bogus"]) == 2
    assert f"see `{program} run --help`" in capsys.readouterr().err


def test_what_was_not_given_is_left_out():
    given = given_options(parsed(["run", "tiny.py", "--workers", "auto"]))
    assert command("run", "tiny.py", given=given) == "python -m harness run tiny.py"


def test_options_of_one_verb_that_another_does_not_take_are_left_out():
    given = given_options(parsed(["run", "a", "--join", "--only", "lr=1", "--only", "seed=0", "--results", "r s"]))
    assert command("show", "0123", given=given) == "python -m harness show 0123 --results 'r s'"
    assert command("status", "a", given=given) == "python -m harness status a --results 'r s' --only lr=1 --only seed=0"


def test_what_is_done_is_left_out():
    given = given_options(parsed(["run", "a", "--fresh", "--workers", "2"]))
    assert command("run", "a", given=without(given, "--fresh")) == "python -m harness run a --workers 2"


@pytest.mark.parametrize("folder", ["other", "my results", "it's $HOME", "-r"])
def test_another_results_folder_is_named_and_quoted(folder):
    given = given_options(parsed(["show", "0123", f"--results={folder}"]))
    again = parsed(shlex.split(command("show", "0123", given=given))[3:])
    assert str(again.results) == folder


def test_every_verb_leads_to_the_results_that_it_was_given(harness):
    harness.suite()
    folder = "--results", "other results"
    hint = "python -m harness run tiny.py --results 'other results'"
    assert harness("status", "tiny", *folder).err.endswith(f"make some with: {hint}\n")
    assert f"start with: {hint}" in harness("plan", "tiny", *folder).out
    assert harness("run", "tiny", "--only", "norm=none", "--progress", "none", *folder).code == 0
    assert f"go on with: {hint}" in harness("status", "tiny", *folder).out
    assert f"; {hint} --only norm=none writes the report" in harness("plan", "tiny", "--only", "norm=none", *folder).out


def test_a_run_that_ends_without_all_results_is_tried_again_with_the_same_options(harness):
    harness.suite(
        '''"""Does it fail?"""
from harness import Suite
from torch import nn

class Boom(nn.Linear):
    def forward(self, x):
        if len(x) == 100:
            raise ValueError("boom")
        return super().forward(x.flatten(1))

def boom(inputs, classes):
    return Boom(64, classes)

suite = Suite(dataset="digits", model=[boom, "mlp-8"], lr=[0.1, 0.2], batch_size=100, steps=3, compare="model")
'''
    )
    given = "--results 'other results' --only lr=0.1 --workers 2 --device cpu --time-budget 1h --progress none"
    ran = harness("run", "tiny", *shlex.split(given), "--fresh", "--retry", "oom")
    assert ran.code == 1
    hint = ran.out.splitlines()[-1].partition("try again with: ")[2]
    assert parsed(shlex.split(hint)[3:]) == parsed(["run", "tiny.py", *shlex.split(given), "--retry", "crashed"])


def test_a_run_that_is_stopped_goes_on_with_the_same_options_and_suites(harness):
    harness.suite()
    harness.suite(name="other")
    ran = harness("run", "tiny", "other", "--only", "norm=none", "--retry", "oom", "--time-budget", "1s", "--fresh")
    assert ran.code == 75
    hint = ran.out.splitlines()[-1].partition("go on with: ")[2]
    again = ["run", "tiny", "other", "--only", "norm=none", "--retry", "oom", "--time-budget", "1s"]
    assert parsed(shlex.split(hint)[3:]) == parsed(again)
