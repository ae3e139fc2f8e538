"""`--suite`: the models and datasets of a suite, for verbs that need them to read a trained model."""

import argparse

from harness.spec.loader import load_suite
from harness.spec.suite import Functions


def suite_functions(options: argparse.Namespace) -> Functions:
    """The functions that the suite brings, where one is named; its file is run for that."""
    return load_suite(options.suite).suite.functions if options.suite else {}
