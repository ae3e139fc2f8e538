"""What was typed as options and values. A verb's module is loaded when the verb is asked for."""

import argparse
import importlib
from collections.abc import Callable, Sequence
from typing import NoReturn

from harness._version import __version__
from harness.cli.option_values import convert
from harness.cli.options import VERBS, Given
from harness.errors import UsageError, nearest


class _Parser(argparse.ArgumentParser):
    """A parser that says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see `python -m {self.prog} --help`")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options, with the function of the verb as `do`; UsageError where they make no sense."""
    verb = next((word for word in arguments if not word.startswith("-")), None)
    if not arguments:
        raise UsageError(f"say what to do: {', '.join(VERBS)}; see `python -m harness --help`")
    if verb is not None and verb not in VERBS:
        raise UsageError(f"unknown verb {verb!r}; {nearest(verb, VERBS)}")
    options = make_parser().parse_args(arguments)
    options.given = given_options(options)
    options.do = _verb(options.verb)
    convert(options)
    return options


def make_parser() -> argparse.ArgumentParser:
    """The parser of the command line, with a parser for each verb."""
    parser = _Parser(prog="harness", description="A benchmarking harness for normalisation in neural networks.")
    parser.add_argument("--version", action="version", version=f"harness {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=_Parser)
    for name, (what, options) in VERBS.items():
        verb = verbs.add_parser(name, help=what, description=what.capitalize() + ".", allow_abbrev=False)
        for flag, settings in options:
            short = [settings["short"]] if "short" in settings else []
            verb.add_argument(*short, flag, **{name: value for name, value in settings.items() if name != "short"})
    return parser


def given_options(options: argparse.Namespace) -> Given:
    """The options that differ from their defaults, each with the words that stand for it."""
    given = {}
    for flag, settings in VERBS[options.verb][1]:
        value = getattr(options, flag.removeprefix("--").replace("-", "_"))
        if flag.startswith("--") and value != settings.get("default", False):
            values = value if isinstance(value, list) else [value]
            given[flag] = [flag] if value is True else [word for text in values for word in _words(flag, str(text))]
    return given


def _words(flag: str, value: str) -> list[str]:
    return [f"{flag}={value}"] if value.startswith("-") else [flag, value]


def _verb(name: str) -> Callable[[argparse.Namespace], int]:
    function = name.replace("-", "_")
    module = importlib.import_module(f"harness.cli.verbs.{function}")
    do: Callable[[argparse.Namespace], int] = getattr(module, function)
    return do
