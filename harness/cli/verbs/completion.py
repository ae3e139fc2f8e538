"""`completion`: a script by which a shell completes verbs, options, files and the suites that ship."""

import argparse
from pathlib import Path

import shtab

from harness.cli.hints import SCRIPT
from harness.cli.options import SUITE, SUITES
from harness.cli.parser import make_parser
from harness.spec.suite_files.shipped import shipped_suites

FOLDERS, FILES = ("DIR", "OUT"), ("FILE", "PATH")  # what help calls values that are folders, and files
COMPLETER = "_harness_suites"  # a function of the script: suites that ship, and files
FUNCTIONS = {  # shell -> that function, which is given the word so far
    "bash": '{name}() {{ compgen -W "{suites}" -- "$1"; _shtab_compgen_files "$1"; }}',
    "zsh": "{name}() {{ compadd -- {suites}; _files }}",
    "fish": "function {name}; printf '%s\\n' {suites}; __fish_complete_path (commandline -ct); end",
}


def completion(options: argparse.Namespace) -> int:
    """Print the script; the exit code."""
    parser = make_parser()
    verbs = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    for verb in verbs.choices.values():
        for action in verb._actions:
            if values := _values_of(action):
                action.complete = values
    suites = " ".join(shipped_suites())
    preamble = {shell: text.format(name=COMPLETER, suites=suites) for shell, text in FUNCTIONS.items()}
    print(shtab.complete(parser, options.shell, root_prefix=SCRIPT, preamble=preamble))
    return 0


def _values_of(action: argparse.Action) -> dict[str, str] | None:
    """What completes an option or argument; None where nothing does, or its choices do."""
    if action.dest in (SUITE[0], SUITES[0]):
        return {"bash": COMPLETER, "zsh": COMPLETER, "fish": f"({COMPLETER})"}
    if action.metavar in FOLDERS:
        return dict(shtab.DIRECTORY)
    return dict(shtab.FILE) if action.metavar in FILES or action.type is Path else None
