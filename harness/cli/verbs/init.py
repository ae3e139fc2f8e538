"""`init`: a first suite, with data and a model of its own, to be changed."""

import argparse
import re
from importlib.resources import files

from harness.cli.hints import command
from harness.errors import UsageError
from harness.io import create_atomically
from harness.spec.loader import ALL
from harness.spec.suite_files.shipped import shipped_suites
from harness.text import printable

TEMPLATE = "first_suite.py"


def init(options: argparse.Namespace) -> int:
    """Write the suite file; UsageError where its name makes no suite, or where there is such a file."""
    path = options.name if options.name.suffix == ".py" else options.name.with_name(f"{options.name.name}.py")
    if not re.fullmatch(r"[A-Za-z]\w*", path.stem, re.ASCII) or path.stem == ALL:
        raise UsageError(f"a suite is named by letters, digits and underscores, such as my_norms, got {path.stem!r}")
    if path.stem in shipped_suites():
        raise UsageError(f"a suite called {path.stem} ships already: `{command('run', path.stem, given={})}`")
    text = files("harness.cli").joinpath("templates", TEMPLATE).read_text("utf-8")
    text = text.replace("NAME", str(path.with_suffix("")))
    if not path.parent.is_dir():
        raise UsageError(f"no folder {path.parent}; make it first")
    if not create_atomically(path, text.encode()):
        raise UsageError(f"{path} is there already, and is left as it is; choose another name")
    again = command("run", path.with_suffix(""), given={})
    print(printable(f"{path} is a suite with data and a model of its own, to be changed; run it with: {again}"))
    return 0
