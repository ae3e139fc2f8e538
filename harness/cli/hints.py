"""Commands that a message tells the user to type next."""

import shlex
import sys
from pathlib import Path

from harness.cli.options import VERBS, Given
from harness.spec.loader import find_suite
from harness.spec.suite_files.shipped import shipped_suites

SCRIPT, MODULE = "harness", "python -m harness"


def command(verb: str, *arguments: object, given: Given) -> str:
    """What to type at a shell to go on with a verb: with the options in use, as far as the verb takes them."""
    flags = [flag for flag, _ in VERBS[verb][1]]
    options = [word for flag in flags for word in given.get(flag, [])]
    return f"{program()} {shlex.join([verb, *map(_shortest, arguments), *options])}"


def _shortest(argument: object) -> str:
    """An argument as it is typed: a suite that ships by its name, where no other is found by that."""
    if isinstance(argument, Path) and shipped_suites().get(argument.stem) == argument:
        name = argument.stem
        return name if find_suite(Path(name)) == argument else str(argument)
    return str(argument)


def program() -> str:
    """The program as it was typed: the console script, else the module."""
    return SCRIPT if Path(sys.argv[0]).stem == SCRIPT else MODULE


def as_typed(message: str) -> str:
    """A message in which commands begin as the one that was typed."""
    return message.replace(f"{MODULE} ", f"{program()} ")


def without(given: Given, *flags: str) -> Given:
    """The options but for these, which are done, or said anew."""
    return {flag: words for flag, words in given.items() if flag not in flags}
