"""How a verdict came about, in words."""

from collections.abc import Sequence

from harness.analysis import formatting
from harness.spec.looks import Look
from harness.spec.manifest import Manifest
from harness.spec.trial import Value


def looks_words(path: Sequence[tuple[int, str]]) -> str:
    """The word at each look: "Looked at with 10 seeds: undecided; with 20: supported. "; empty where there is one."""
    if not path:
        return ""
    parts = [f"with {formatting.count(n, 'seed') if not i else n}: {word}" for i, (n, word) in enumerate(path)]
    return f"Looked at {'; '.join(parts)}. "


def planned_words(looks: Sequence[Look], max_seeds: int) -> str:
    """What the looks at a suite's verdicts have been, and how they share the level."""
    counts = formatting.listing(str(look.seeds) for look in looks)
    before = f"its verdicts were looked at with {counts} seeds before" if looks else "no look has been recorded yet"
    return f"{before}; {f'up to {max_seeds} seeds were planned' if max_seeds else 'no looks were planned'}"


def added_seed_words(manifest: Manifest, seed: Value) -> str:
    """After which look a trial of this seed was added; empty where its suite has the seed of itself, or none was."""
    if not isinstance(seed, int) or all(added.seeds <= seed for added in manifest.added):
        return ""
    before = max((look.seeds for look in manifest.looks if look.seeds <= seed), default=0)
    return (
        f"its seed was added after a look at verdicts with {before} seeds, since claims had no word" if before else ""
    )
