"""How figures look: sizes, colours, lines and labels."""

from functools import cache
from textwrap import fill
from typing import Any

import matplotlib as mpl
from matplotlib.font_manager import findfont, get_font

from harness.analysis import formatting
from harness.text import printable

WIDTH = 5.2  # inches: in a column of 3.35, as most papers have, the text is of 6 points
MAX_LABEL_LENGTH = 40  # of a line
MAX_LABEL_LETTERS = 400  # of what may be anything, such as a file's text
GREY = "#808080"  # of lines for reference

# Okabe & Ito 2008: told apart by colour-blind eyes. Norms keep their colour in every report.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
NORM_COLORS = {
    "none": "#595959",
    "batch": "#0072B2",
    "layer": "#D55E00",
    "group": "#009E73",
    "instance": "#CC79A7",
    "sync_batch": "#56B4E9",
    "ghost_batch": "#E69F00",
    # With batch and group norm, and seldom with those whose colours they share.
    "batch_renorm": "#56B4E9",
    "frn": "#E69F00",
    "evonorm_s0": "#CC79A7",
    # With layer norm.
    "rms": "#56B4E9",
    "dyt": "#009E73",
    "skipinit": "#CC79A7",
}
DASHES = ("-", (0, (5, 1.2)), (0, (1.5, 1)), (0, (6, 1, 1.5, 1)))  # a line that lies on another leaves it visible
STYLE: Any = {
    # Nothing of a user's own style: the same results are to give the same bytes everywhere.
    **{name: value for name, value in mpl.rcParamsDefault.items() if not name.startswith("backend")},
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9,
    "text.parse_math": False,  # names come from suites: a `$` or a backslash in one is text, not a formula
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.hashsalt": "harness",
    "svg.fonttype": "path",
}


def color_of(arm: Any, index: int) -> str:
    """The colour of an arm: that of its norm, else by its position in the manifest."""
    color = NORM_COLORS.get(arm) if isinstance(arm, str) else None
    return color or COLORS[index % len(COLORS)]


def label_text(text: Any) -> str:
    """Text of a suite for a figure: in lines of a length that fits, in letters that the font has; none is cut off."""
    label = printable(formatting.value(text))
    if len(label) > MAX_LABEL_LENGTH:
        label = fill(label[:MAX_LABEL_LETTERS], MAX_LABEL_LENGTH, break_on_hyphens=False)
    return "".join(
        letter if letter == "\n" or ord(letter) in _font_letters() else "\N{REPLACEMENT CHARACTER}" for letter in label
    )


@cache
def _font_letters() -> frozenset[int]:
    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())
