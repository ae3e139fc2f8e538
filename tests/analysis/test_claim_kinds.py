"""What holds for every kind of claim: it has all its parts, judges simulated worlds and words every verdict."""

import inspect
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.analysis import claims
from harness.analysis.claims import KINDS
from harness.analysis.judging import DESCRIPTIVE, REFUTED, SUPPORTED, UNDECIDED
from harness.analysis.validation import check_claims
from harness.analysis.verdicts import verdicts
from harness.analysis.wording import statement
from harness.errors import SuiteError
from harness.spec.claim import Claim
from tests.support.claim_worlds import TOO_FEW, WORLDS, simulated

PAGE = Path(__file__).parents[2] / "docs/suites.md"
WITH_WORLD = [kind for kind in KINDS if kind in WORLDS]
SWAPPED = {SUPPORTED: REFUTED, REFUTED: SUPPORTED, UNDECIDED: UNDECIDED, DESCRIPTIVE: DESCRIPTIVE}
SIMULATED = {  # state of a world -> the effect in it, options of the simulation, the right verdict
    "true": (lambda world: world.if_true, {}, SUPPORTED),
    "false": (lambda world: world.if_false, {}, REFUTED),
    "at the margin": (lambda world: world.at_margin, {}, UNDECIDED),
    "too few seeds": (lambda world: world.if_true, {"seeds": TOO_FEW}, DESCRIPTIVE),
    "no data": (lambda world: world.if_true, {"keep": 0.0}, DESCRIPTIVE),
}
UNWORDED = re.compile(r"\bNone\b|\bnan\b|[{}]|  |\(\)|, ,|^\W")


def verdict_in(state, kind, folder):
    """The verdict on the claim of a kind in its world, and the right one."""
    effect, options, right = SIMULATED[state]
    world = WORLDS[kind]
    (verdict,) = verdicts(simulated(folder, world, effect(world), **options), np.random.default_rng(0))
    return verdict, right


def assert_judged_rightly(kind, folder):
    """Raise AssertionError unless the kind is judged rightly in a world where it is true and where it is false."""
    for state in ("true", "false"):
        verdict, right = verdict_in(state, kind, folder)
        assert verdict.word == right, f"{kind} in a world where it is {state}"


def assert_worded(verdict, *, has_data):
    """Raise AssertionError unless the statement and the sentence of a verdict say what they are about."""
    arms = {verdict.claim.arm, verdict.claim.than}
    for text in (verdict.statement, verdict.sentence):
        assert len(text.split()) >= 5
        assert UNWORDED.search(text) is None
    assert all(arm in verdict.statement for arm in arms)
    assert verdict.sentence.endswith(".")
    assert verdict.sentence[0].isupper() or verdict.sentence.startswith(tuple(f"{arm} " for arm in arms))
    if has_data:
        assert all(arm in verdict.sentence for arm in arms)


def constructors():
    """The public constructors of Claim."""
    return {name for name, _ in inspect.getmembers(Claim, inspect.ismethod) if not name.startswith("_")}


def test_every_kind_has_a_constructor_and_every_constructor_a_kind():
    assert sorted(constructors()) == sorted(KINDS)


def test_every_file_in_the_folder_of_kinds_is_a_kind():
    assert sorted(path.stem for path in Path(claims.__file__).parent.glob("*.py")) == sorted(["__init__", *KINDS])


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_listed_in_the_readme(kind):
    rows = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| `Claim.")]
    assert any(re.search(rf"\.{kind}\(", row) for row in rows), f"no row for Claim.{kind} on the page about suites"


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_world_in_which_its_own_constructor_is_used(kind):
    assert kind in WORLDS, f"no world for {kind} in tests/support/claim_worlds.py"
    assert WORLDS[kind].claim.kind == WORLDS[kind].unanswerable.kind == kind


@pytest.mark.parametrize("kind", WITH_WORLD)
@pytest.mark.parametrize("state", SIMULATED)
def test_the_verdict_is_right_and_worded_in_every_world(tmp_path, kind, state):
    verdict, right = verdict_in(state, kind, tmp_path)
    assert verdict.word == right
    assert_worded(verdict, has_data=state != "no data")


@pytest.mark.parametrize("kind", WITH_WORLD)
def test_a_claim_that_the_suite_can_not_answer_is_refused_before_the_run(tmp_path, kind):
    world = WORLDS[kind]
    manifest = simulated(tmp_path, world, world.if_true).manifest
    check_claims([world.claim], manifest)
    with pytest.raises(SuiteError, match=re.escape(world.because)):
        check_claims([world.unanswerable], manifest)


def test_no_two_kinds_are_worded_alike(tmp_path):
    manifest = simulated(tmp_path, WORLDS["better"], 0.1).manifest
    metric = "generalisation_gap"  # of which less is better, and that is called smaller
    plain = Claim(kind="", arm="batch", than="none", margin=0.1, metric=metric, along="batch_size", published=0.5)
    statements = [statement(replace(plain, kind=kind), manifest) for kind in KINDS]
    assert len(set(statements)) == len(KINDS)


@pytest.mark.parametrize("kind", WITH_WORLD)
def test_a_judge_that_swaps_supported_and_refuted_is_noticed(tmp_path, monkeypatch, kind):
    judge = KINDS[kind].judge
    monkeypatch.setitem(KINDS, kind, replace(KINDS[kind], judge=lambda comparison: SWAPPED[judge(comparison)]))
    with pytest.raises(AssertionError, match=kind):
        assert_judged_rightly(kind, tmp_path)


@pytest.mark.parametrize("kind", WITH_WORLD)
@pytest.mark.parametrize("word", [SUPPORTED, REFUTED, UNDECIDED, DESCRIPTIVE, "", None])
def test_a_judge_that_always_says_the_same_is_noticed(tmp_path, monkeypatch, kind, word):
    monkeypatch.setitem(KINDS, kind, replace(KINDS[kind], judge=lambda comparison: word))
    with pytest.raises(AssertionError, match=kind):
        assert_judged_rightly(kind, tmp_path)


@pytest.mark.parametrize("text", ["", "batch", "batch is better than nan of none", "batch leads none by {margin}"])
def test_a_statement_without_words_is_noticed(tmp_path, text):
    verdict, _ = verdict_in("true", "better", tmp_path)
    with pytest.raises(AssertionError):
        assert_worded(replace(verdict, statement=text), has_data=True)
