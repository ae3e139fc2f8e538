"""A field's trailing comment is its documentation: the settings of a trial are described where they are declared."""

import io
import tokenize
from typing import Any

from griffe import Attribute, Docstring, Extension


class Comments(Extension):
    """Takes the comment behind an attribute as its docstring where it has none."""

    def on_attribute_instance(self, *, attr: Attribute, **_: Any) -> None:
        """Called by griffe for each attribute that it reads."""
        if attr.docstring is None and attr.parent is not None and attr.parent.is_class and (text := comment(attr)):
            attr.docstring = Docstring(text, parent=attr)


def comment(attr: Attribute) -> str:
    """The comment on the lines of an attribute, without its sign; empty where there is none."""
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(attr.source).readline))
    except (tokenize.TokenError, IndentationError):
        return ""
    return " ".join(token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT)
