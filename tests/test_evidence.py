"""Evidence: whatever a trial may be is used by a shipped suite, or is exempt for a reason that stands here.

A capability that no suite needs is code that nobody asked for. Give it a suite with a question, or delete it.
"""

from collections.abc import Mapping, Set
from dataclasses import fields
from inspect import getmembers, ismethod
from pathlib import Path

import pytest

from harness import Claim
from harness.data.sources.bundled import DATASETS
from harness.ensemble.optim import OPTIMIZERS
from harness.ensemble.optim.schedules import SCHEDULES
from harness.ensemble.precision import PRECISIONS
from harness.nn.init import INITS
from harness.nn.models import ACTIVATIONS, MODELS
from harness.nn.norms import NORMS
from harness.probes import PROBES
from harness.spec.loader import load_suites
from harness.spec.trial import Trial, split_names
from harness.training.augmentation import AUGMENTATIONS

SUITES = Path(__file__).parent.parent / "suites"

CAPABILITIES: dict[str, Set[str]] = {  # kind -> names of all that there are
    "field": {field.name for field in fields(Trial)},
    "norm": set(NORMS),
    "model": set(MODELS),
    "dataset": set(DATASETS),
    "init": set(INITS),
    "activation": set(ACTIVATIONS),
    "optimizer": set(OPTIMIZERS),
    "schedule": set(SCHEDULES),
    "augment": set(AUGMENTATIONS),
    "precision": set(PRECISIONS),
    "probe": set(PROBES),
    "claim": {name for name, _ in getmembers(Claim, ismethod)},
}

EXEMPT: dict[tuple[str, str], str] = {  # (kind, name) -> why no shipped suite uses it
    ("field", "device"): "a run chooses it by --device, so that a suite asks the same question on every machine",
    ("field", "loss"): "a function of the suite's own: a page of docs/own shows one, and the tests train by others",
    ("field", "metrics"): "functions of the suite's own: a page of docs/own shows some, and the tests compute others",
    (
        "dataset",
        "diabetes",
    ): "too few patients for a question about norms; a page of docs/own and the tests train on it",
    ("dataset", "topics"): "drawn, so that task='multilabel' can be tried by name; an answer would be of its generator",
    ("field", "threads"): "a setting of the machine that moves bits: every shipped suite trains with one thread",
    ("field", "compile"): "for large nets on a GPU: compiling takes longer than a whole trial of the other suites",
    ("field", "tf32"): "rounds on CUDA alone, where large nets such as those of cifar_resnet may be tried with it",
    (
        "field",
        "sync_bn_impl",
    ): "picks torch's layer (CUDA alone) or ours; the tests that need CUDA hold one against the other",
    ("field", "renorm_rmax"): "the bound of the paper; small_batches widens to it, and tests try others",
    ("field", "renorm_dmax"): "likewise",
    ("field", "target_column"): "of tables that users bring: those that ship with packages are arrays",
    ("model", "lstm"): "the tests train it on text; language_model asks of norms in transformers, where the papers do",
    ("activation", "gelu"): "what transformers outside the first papers have; no suite asks about activations in them",
    ("augment", "flip"): "half of flip+crop, which cifar_resnet uses, and no code beside it",
    ("augment", "crop"): "half of flip+crop, and all that can be used where mirror images are another class",
}


def used_by_suites() -> dict[str, set[str]]:
    """The names of each kind that a trial or a claim of a shipped suite uses.

    A trial uses a field where its value is not the default.
    """
    used: dict[str, set[str]] = {kind: set() for kind in CAPABILITIES}
    for shipped in load_suites([SUITES / "all"]):
        used["claim"] |= {claim.kind for claim in shipped.suite.claims}
        for trial in shipped.trials(device="auto"):
            used["field"] |= set(trial.content)
            used["model"].add(trial.model.partition("-")[0])
            used["probe"] |= set(split_names(trial.probes))
            for kind in CAPABILITIES.keys() - {"field", "model", "probe", "claim"}:
                used[kind].add(getattr(trial, kind))
    return used


def without_evidence(existing: Set[str], used: Set[str], exempt: Set[str]) -> list[str]:
    """What exists, is used by no suite, and has no exemption."""
    return sorted(existing - used - exempt)


def stale(existing: Set[str], used: Set[str], exempt: Mapping[str, str]) -> list[str]:
    """Exemptions of what no longer exists or is used by a suite after all, and those without a reason."""
    return sorted(name for name, reason in exempt.items() if name not in existing or name in used or not reason.strip())


def exempt_of(kind: str) -> dict[str, str]:
    return {name: reason for (its_kind, name), reason in EXEMPT.items() if its_kind == kind}


@pytest.fixture(scope="module")
def used() -> dict[str, set[str]]:
    return used_by_suites()


@pytest.mark.parametrize("kind", CAPABILITIES)
def test_a_shipped_suite_uses_it_or_an_exemption_says_why_not(kind, used):
    unused = without_evidence(CAPABILITIES[kind], used[kind], exempt_of(kind).keys())
    assert not unused, f"no shipped suite uses {kind} {', '.join(unused)}: add a suite that asks about it, or delete it"


@pytest.mark.parametrize("kind", CAPABILITIES)
def test_no_exemption_outlives_its_reason(kind, used):
    outlived = stale(CAPABILITIES[kind], used[kind], exempt_of(kind))
    assert not outlived, f"exempt without need or reason: {kind} {', '.join(outlived)}; take it out of EXEMPT"


def test_every_exemption_is_of_a_known_kind():
    assert {kind for kind, _ in EXEMPT} <= CAPABILITIES.keys()


def test_what_is_neither_used_nor_exempt_is_listed():
    assert without_evidence({"lr", "threads", "tf32"}, {"lr"}, {"tf32"}) == ["threads"]


def test_an_exemption_of_what_is_used_gone_or_without_a_reason_is_stale():
    exempt = {"lr": "hard to vary", "gone": "was hard to vary", "tf32": " ", "threads": "a setting of the machine"}
    assert stale({"lr", "threads", "tf32"}, {"lr"}, exempt) == ["gone", "lr", "tf32"]
