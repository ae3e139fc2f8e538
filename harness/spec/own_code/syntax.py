"""Syntax trees of Python text, made by one thread at a time.

Before Python 3.12 ast.parse counts the depth of a tree for all threads together, and raises SystemError where a thread
begins a tree while another is at one (CPython issue 106905).
"""

import ast
import threading

_parsing = threading.Lock()


def parse(text: str) -> ast.Module:
    """The tree of a module's text. Raises what ast.parse raises."""
    with _parsing:
        return ast.parse(text)


def parse_expression(text: str) -> ast.expr:
    """The tree of an expression. Raises what ast.parse raises."""
    with _parsing:
        return ast.parse(text, mode="eval").body
