"""Letters that a terminal or a page would obey, or not show: none of them may get to a reader."""

UNSEEN = (
    *("\x1b]0;x\x07", "\x1b[2J", "\x9b31m", "\x9d", "\x07", "\x08", "\x7f", "\x01"),
    *("\u202e", "\u202a", "\u2066", "\u2069", "\u200f", "\u061c"),
    *("\u200b", "\u200d", "\u2060", "\ufeff", "\u00ad", "\U000e0041"),
    *("\x85", "\u2028", "\u2029", "\r", "\x0b", "\x0c"),
)
EVIL = "".join(UNSEEN)


def unseen_in(text: str, *, allowed: str = "") -> list[str]:
    """The letters of UNSEEN that are in a text."""
    return sorted({letter for letter in text if letter in EVIL and not letter.isprintable()} - {*allowed})
