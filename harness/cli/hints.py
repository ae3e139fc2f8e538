"""Commands that a message tells the user to type next."""

import shlex

from harness.cli.options import VERBS, Given


def command(verb: str, *arguments: object, given: Given) -> str:
    """What to type at a shell to go on with a verb: with the options in use, as far as the verb takes them."""
    flags = [flag for flag, _ in VERBS[verb][1]]
    options = [word for flag in flags for word in given.get(flag, [])]
    return shlex.join(["python", "-m", "harness", verb, *map(str, arguments), *options])


def without(given: Given, *flags: str) -> Given:
    """The options but for these, which are done, or said anew."""
    return {flag: words for flag, words in given.items() if flag not in flags}
