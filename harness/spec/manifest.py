"""suite.json: what a suite comes to, as reports and later runs need it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from harness._version import __version__
from harness.spec.claim import Claim
from harness.spec.loader import SuiteFile
from harness.spec.trial import Trial

NOT_AXES = ("source",)  # a digest follows its model or dataset


def describe(suite: SuiteFile, trials: Sequence[Trial]) -> dict[str, Any]:
    """The suite in plain values: its question, its axes, its constants and its claims."""
    axes = [axis for grid in suite.suite.grids for axis in grid]
    names = [*dict.fromkeys(axes), *(f.name for f in fields(Trial))]
    values = {name: list(dict.fromkeys(getattr(t, name) for t in trials)) for name in dict.fromkeys(names)}
    varying = {name: found for name, found in values.items() if len(found) > 1 and name not in NOT_AXES}
    following = _following(trials, [name for name in varying if name not in (suite.suite.compare, "seed")])
    return {
        "name": suite.name,
        "question": suite.question,
        "path": str(suite.path),
        "compare": suite.suite.compare,
        "target_accuracy": suite.suite.target_accuracy,
        "axes": {name: found for name, found in varying.items() if name not in following},
        "following": following,
        "settings": {name: found[0] for name, found in values.items() if name not in varying and found},
        "claims": [asdict(claim) for claim in suite.suite.claims],
        "trials": len(trials),
        "harness": __version__,
    }


def _following(trials: Sequence[Trial], varying: Sequence[str]) -> dict[str, str]:
    """Axes that a rule of the suite ties to an axis before them, such as an lr that grows with the batch size."""
    following: dict[str, str] = {}
    for later in range(len(varying)):
        for leader in varying[:later]:
            pairs = {(getattr(trial, leader), getattr(trial, varying[later])) for trial in trials}
            if leader not in following and len(pairs) == len({leading for leading, _ in pairs}):
                following[varying[later]] = leader
    return following


def with_history(
    description: Mapping[str, Any], before: Mapping[str, Any] | None, *, cohorts: list[list[str]], results: int
) -> dict[str, Any]:
    """The description with what earlier runs of the suite decided: the cut into cohorts, when claims were declared."""
    earlier = before or {}
    declared = {_identity(claim): claim["declared_after"] for claim in earlier.get("claims", [])}
    claims = [{**claim, "declared_after": declared.get(_identity(claim), results)} for claim in description["claims"]]
    kept = {name: earlier[name] for name in ("device", "fingerprint", "machine") if name in earlier}
    return {**description, **kept, "claims": claims, "cohorts": cohorts}


def _identity(claim: Mapping[str, Any]) -> str:
    """What a claim says, whichever of its fields a manifest leaves out."""
    whole = asdict(Claim(**{name: value for name, value in claim.items() if name != "declared_after"}))
    return repr(sorted((name, _plain(value)) for name, value in whole.items()))


def _plain(value: Any) -> str:
    """The value as JSON would bring it back."""
    return json.dumps(value, sort_keys=True, default=str)
