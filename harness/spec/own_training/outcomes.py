"""What comes of own training: the outcomes that a suite declares, each with its unit and its good direction."""

from collections.abc import Mapping
from typing import Any

from harness.errors import SuiteError
from harness.spec.metric import Metric, MetricSpec
from harness.spec.own_code.own_metrics import NAME
from harness.spec.own_training.own_trial import RESERVED, SEED_FIRST, TRAIN

EXAMPLE = 'outcomes={"accuracy": harness.Metric(higher_is_better=True, unit="fraction")}'


def declared_outcomes(given: Any, settings: set[str]) -> dict[str, MetricSpec]:
    """The outcomes of a suite by name, the first of which its trials are judged by; SuiteError where one is wrong."""
    if not isinstance(given, Mapping) or not given:
        raise SuiteError(f"own training needs to say what comes of a trial: {EXAMPLE}, got {given!r:.80}")
    specs = {}
    for name, metric in given.items():
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise SuiteError(f"an outcome is named by letters, digits, spaces and '_', got {name!r:.60}")
        if name in {TRAIN, *SEED_FIRST, *RESERVED, *settings}:
            what = "a setting" if name in {TRAIN, *SEED_FIRST, *settings} else "another column of the tables"
            raise SuiteError(f"an outcome can't be called {name!r:.60}, as {what} is; say test_{name}, for instance")
        if not isinstance(metric, Metric):
            raise SuiteError(f"outcome {name!r} must be a harness.Metric(higher_is_better=...), got {metric!r:.80}")
        if metric.function is not None:
            raise SuiteError(f"outcome {name!r} is returned by the function that trains: leave its function out")
        specs[name] = metric.spec(name.replace("_", " "))
    return specs
