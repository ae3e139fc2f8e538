"""The words of a report that a newcomer may not know: explained where they first occur, and together at its end."""

import re

from markupsafe import Markup, escape

from harness.text import LINES, printable

GLOSSARY = {
    "arm": "One of the things compared: here a value of the compared axis, such as with batch norm or without.",
    "decade": "A factor of ten: from 0.01 to 1 are two decades.",
    "margin": "How large a difference has to be to count, as the claim declared before the run.",
    "points": "Percentage points: from 90 % to 95 % are 5 points.",
    "grid point": "One combination of the settings that vary, such as lr 0.1 with batch size 64.",
    "seed": "The number that decides initial weights and the order of batches. Arms are compared seed by seed.",
    "supported": "Most seeds agree with the claim, by a test that is wrong in at most 5 % of suites.",
    "refuted": "Most seeds contradict the claim, by the same test.",
    "undecided": "The seeds that there are can't tell; this is no sign that the arms are equal.",
    "descriptive": "Too few seeds for any test: the numbers describe these runs alone.",
    "exploratory": "The claim was declared when results were known: a question for new seeds.",
    "sign test": "Counts in how many seeds one arm is ahead; a coin would give such a count with probability p.",
    "95 % interval": "A range that holds the true value in 95 of 100 such experiments.",
    "Holm": "A correction of p for testing several claims at once, so that any wrong verdict has 5 % at most.",
    "power": "The chance that a test decides, if what it looks for is so.",
}
PLURALS = {"arms": "arm", "decades": "decade", "seeds": "seed", "grid points": "grid point", "margins": "margin"}
TERM = re.compile(
    r"(?<![\w-])(" + "|".join(sorted(map(re.escape, [*GLOSSARY, *PLURALS]), key=len, reverse=True)) + r")(?![\w-])"
)


def term_id(term: str) -> str:
    """The id of an entry of the glossary on its page."""
    return f"term-{term.replace(' ', '-').replace('%', 'percent')}"


def glossary_entries() -> list[tuple[str, str, str]]:
    """Id, word and explanation of each entry."""
    return [(term_id(term), term, words) for term, words in GLOSSARY.items()]


class Explainer:
    """Links each word of the glossary to its entry where a page has it first."""

    def __init__(self) -> None:
        self._explained: set[str] = set()

    def __call__(self, text: str) -> Markup:
        """The text, safe in a page, with links."""
        parts = TERM.split(printable(text, keep=LINES))
        return Markup("").join(self._linked(part) if i % 2 else escape(part) for i, part in enumerate(parts))

    def _linked(self, word: str) -> Markup:
        term = PLURALS.get(word, word)
        if term in self._explained:
            return escape(word)
        self._explained.add(term)
        return Markup('<a class="term" href="#{}" title="{}">{}</a>').format(term_id(term), GLOSSARY[term], word)
