"""A grid of learning rates that grows: where its ends are still usable, and how it came about in words."""

import pandas as pd

from harness.analysis import formatting
from harness.analysis.metrics import FINISHED, judged_by, trial_scores
from harness.analysis.pairing import arms
from harness.spec.grids.lr_growth import LrGrowth
from harness.spec.manifest import Manifest, measured_of
from harness.storage.records import NO_RESULT


def open_ends(trials: pd.DataFrame, manifest: Manifest) -> list[float]:
    """The ends of a grid that may grow, lowest first, at which any trial reaches the target.

    There the usable range of its arm and seed goes on beyond the grid. A trial without a result reaches nothing.
    """
    reached = _reaching(trials, manifest)
    return [end for end in _growth(manifest).ends if (reached["lr"] == end).any()]


def has_ended(trials: pd.DataFrame, manifest: Manifest) -> bool:
    """Whether the grid grows no more: all trials have ended, and no end is open, or verdicts have been looked at."""
    return bool(manifest.looks) or not (_are_unfinished(trials) or open_ends(trials, manifest))


def growth_words(trials: pd.DataFrame, manifest: Manifest) -> str:
    """How a grid came about that may grow, as a sentence; empty where it may not."""
    growth = manifest.growth
    if growth is None:
        return ""
    started, now = f"{growth.low:g}..{growth.high:g}", "..".join(f"{end:g}" for end in growth.ends)
    grew = f"grew from {started} to {now}" if growth.added else f"stayed at {started}"
    return f"The grid of learning rates {grew}{_why_it_ended(trials, manifest)}."


def _why_it_ended(trials: pd.DataFrame, manifest: Manifest) -> str:
    reached, open_at = _reaching(trials, manifest), open_ends(trials, manifest)
    if _are_unfinished(trials):
        return " so far: trials that decide it have no result yet"
    if reached.empty:
        return ", for no trial reaches the target: there is no edge to look for"
    arms_there = set(reached[manifest.compare].where(reached[manifest.compare].notna(), None))
    nowhere = [arm for arm in arms(manifest) if arm not in arms_there]
    there = formatting.listing(formatting.with_arm(formatting.value(arm), manifest.compare) for arm in nowhere)
    note = f"; {there} it is reached nowhere" if nowhere else ""
    if not open_at:
        return f", until both edges of the usable range were seen wherever the target is reached{note}"
    return f"; {'; '.join(_end_words(end, manifest) for end in open_at)}{note}"


def _end_words(end: float, manifest: Manifest) -> str:
    growth = _growth(manifest)
    if _is_bound(end, growth):
        return f"no edge within the bounds at {end:g}: the target is reached there"
    if manifest.looks:
        return f"the target is reached at {end:g} still, and the grid stays, for verdicts have been looked at"
    return f"the target is reached at {end:g} still, so the next run adds to it"


def _is_bound(end: float, growth: LrGrowth) -> bool:
    return end in (growth.lowest, growth.highest)


def _growth(manifest: Manifest) -> LrGrowth:
    assert manifest.growth is not None, "a grid that stays has no open ends"
    return manifest.growth


def _are_unfinished(trials: pd.DataFrame) -> bool:
    return bool((~trials["status"].isin((*FINISHED, *NO_RESULT))).any())


def _reaching(trials: pd.DataFrame, manifest: Manifest) -> pd.DataFrame:
    """The trials whose test metric is as good as the target."""
    target = measured_of(manifest).target
    assert target is not None, "a grid that may grow is refused where the suite has no target"
    return trials[trial_scores(trials, judged_by(manifest)).map(target.is_reached).astype(bool)]
