"""What a page says first: the sentence that answers, the short lines of claims, and what to do about open ones."""

import re
from dataclasses import replace

import pytest

from harness.analysis.verdicts import verdicts
from harness.reporting.answer import answer, with_arm
from harness.reporting.figures import figures
from harness.reporting.figures.frame import ResultSlice
from harness.reporting.figures.variants import variants_forest
from harness.reporting.findings import mixed_words, point_finding, short_finding
from harness.reporting.next_steps import next_step
from harness.reporting.page_parts import page_parts
from harness.reporting.variants import claim_words, point_words
from harness.spec.claim import Claim
from tests.reporting.figures.test_verdict import with_accuracy
from tests.support.manifests import declared
from tests.support.simulated import simulate

AXES = {"norm": ["batch", "none"], "lr": [0.01, 0.03, 0.1, 0.3, 1.0], "seed": range(8)}
WIDER = Claim.wider_lr_range("batch", than="none")


def judged(tmp_path, claims, accuracy, axes=AXES):
    results = with_accuracy(simulate(tmp_path, axes, claims=claims), accuracy)
    return results, verdicts(results)


def test_a_range_is_told_in_learning_rates_and_as_a_factor(tmp_path):
    def accuracy(trial):  # batch reaches 90 % from 0.03 up to the end of the grid, none from 0.03 to 0.1
        works = trial["lr"] >= 0.03 and (trial["norm"] == "batch" or trial["lr"] <= 0.1)
        return 0.95 if works else 0.85

    results, found = judged(tmp_path, [WIDER], accuracy)
    said = answer(results, found)
    low, top, high = 10**-1.761, 1.0, 10**-0.761  # where lines over log lr cross 90 %, halfway between two rates
    match = re.match(
        r"With batch norm, learning rates from ([\d.]+) to at least ([\d.]+) work; "
        r"without norm ([\d.]+) to ([\d.]+): at least ([\d.]+) times wider\.",
        said.sentence,
    )
    told = [float(text) for text in match.groups()]
    assert told == pytest.approx([low, top, low, high, top / high], rel=0.03)
    assert said.pictures[0] == "lr_range"


def test_the_first_claim_that_is_decided_answers_whether_supported_or_refuted(tmp_path):
    level, lost, led = (
        Claim.better("batch", than="none", lr=0.03),
        Claim.better("none", than="batch", lr=0.1),
        Claim.better("batch", than="none", by=0.02, lr=0.3),
    )

    def accuracy(trial):
        leads = trial["norm"] == "batch" and (trial["lr"] > 0.03 or trial["seed"] % 2)
        return 0.9 + 0.05 * leads - 0.01 * (trial["norm"] == "batch")

    results, found = judged(tmp_path, [level, lost, led], accuracy)
    assert [verdict.word for verdict in found] == ["undecided", "refuted", "supported"]
    said = answer(results, found)
    assert said.sentence.startswith("Test accuracy is 4.0 points lower without norm than with batch norm")
    assert said.sentence.endswith("at lr 0.1.")
    assert said.at == ("lr 0.1",)


def test_a_mixed_claim_shows_the_word_of_each_point_and_one_of_one_word_none(tmp_path):
    claim = Claim.better("batch", than="none", lr=[0.03, 0.1, 0.3, 1.0])

    def accuracy(trial):
        return 0.9 + (-0.03 if trial["lr"] == 0.1 else 0.03) * (trial["norm"] == "batch")

    results, (verdict,) = judged(tmp_path, [claim], accuracy)
    assert verdict.word == "refuted"
    assert mixed_words(verdict) == "3 of 4 points supported, 1 refuted"
    (line,) = page_parts(results, [verdict], [None], [])["verdicts"]
    assert [(word, point) for word, point, _ in line.points] == [
        ("supported", "lr 0.03"),
        ("refuted", "lr 0.1"),
        ("supported", "lr 0.3"),
        ("supported", "lr 1"),
    ]
    _, (alike,) = judged(tmp_path, [claim], lambda trial: 0.9 + 0.03 * (trial["norm"] == "batch"))
    assert mixed_words(alike) == ""
    assert short_finding(alike) == "at 4 points ahead in 8 of 8 seeds; 3.0 points higher on average"


def test_the_finding_of_an_equality_counts_the_seeds_within_both_ends(tmp_path):
    claim = Claim.equivalent("batch", to="none", within=0.01, lr=0.1)

    def accuracy(trial):  # three seeds are too far above, two too far below
        offset = {0: 0.02, 1: 0.02, 2: 0.02, 3: -0.02, 4: -0.02}.get(trial["seed"], 0.005)
        return 0.9 + offset * (trial["norm"] == "batch")

    _, (verdict,) = judged(tmp_path, [claim], accuracy)
    assert point_finding(verdict.comparisons[0]).startswith("within 1.0 points in 3 of 8 seeds, ")


@pytest.mark.parametrize(("lrs", "at"), [(0.1, ", at lr 0.1."), ([0.1, 0.3], ", over 2 grid points.")])
def test_an_equality_that_holds_is_told_as_one_and_not_as_a_lead(tmp_path, lrs, at):
    claim = Claim.equivalent("batch", to="none", within=0.01, lr=lrs)
    axes = {**AXES, "seed": range(30)}
    results, found = judged(tmp_path, [claim], lambda trial: 0.9 + 0.002 * (trial["norm"] == "batch"), axes)
    assert [verdict.word for verdict in found] == ["supported"]
    same = "Test accuracy is the same within 1.0 points with batch norm as without norm"
    assert answer(results, found).sentence == f"{same}{at}"


def test_a_lead_over_several_points_names_both_arms_in_plain_words(tmp_path):
    claim = Claim.better("batch", than="none", lr=[0.1, 0.3])
    results, found = judged(tmp_path, [claim], lambda trial: 0.9 + 0.05 * (trial["norm"] == "batch"))
    said = "Test accuracy is 5.0 points higher with batch norm than without norm, over 2 grid points."
    assert answer(results, found).sentence == said


@pytest.mark.parametrize(
    ("arm", "compare", "words"),
    [
        ("frn", "norm", "with filter response norm"),
        ("sync_batch at world size 4", "norm", "with synchronised batch norm at world size 4"),
        ("none", "norm", "without norm"),
        ("mine", "norm", "with mine"),
        ("batch", "eval_statistics", "with eval statistics batch"),
    ],
)
def test_arms_are_called_what_the_field_calls_them(arm, compare, words):
    assert with_arm(arm, compare) == words


def test_a_published_figure_that_is_met_is_told_as_that(tmp_path):
    claim = Claim.matches("batch", published=0.9, within=0.01, lr=0.1)
    axes = {**AXES, "seed": range(30)}
    results, found = judged(tmp_path, [claim], lambda trial: 0.902, axes)
    said = "With batch norm, test accuracy is within 1.0 points of what is published (90.2 % on average against 90.0 %)"
    assert answer(results, found).sentence == f"{said}, at lr 0.1."


def test_a_range_at_one_of_several_models_names_it(tmp_path):
    claim = replace(WIDER, where={"model": "mlp-16"})
    axes = {**AXES, "model": ["mlp-16", "mlp-16x2"]}
    results, found = judged(tmp_path, [claim], lambda trial: 0.95 if trial["norm"] == "batch" else 0.85, axes)
    assert ", at model mlp-16. To " in answer(results, found).sentence


def test_an_arm_whose_name_is_in_the_words_for_another_is_told_once(tmp_path):
    claim = Claim.better("batch_renorm", than="batch", lr=0.1)
    axes = {"norm": ["batch_renorm", "batch"], "lr": [0.1], "seed": range(12)}
    results, found = judged(tmp_path, [claim], lambda trial: 0.9 + 0.05 * (trial["norm"] == "batch_renorm"), axes)
    said = "Test accuracy is 5.0 points higher with batch renormalisation than with batch norm (95.0 % against 90.0 %"
    assert answer(results, found).sentence.startswith(said)


def test_times_over_several_points_are_told_as_long_and_not_as_large(tmp_path):
    claim = Claim.costs("batch", than="none", at_most=2.0, lr=[0.1, 0.3])
    results = simulate(tmp_path, AXES, claims=[claim])
    rows = results.trials.set_index("key").loc[results.telemetry["key"]]
    ratios = {0.1: 1.2, 0.3: 1.5}
    step_ms = [
        2.0 * (ratios.get(row.lr, 1) if row.norm == "batch" else 1) * (1 + 0.01 * (row.seed % 3))
        for row in rows.itertuples()
    ]
    results = replace(results, telemetry=results.telemetry.assign(step_ms=step_ms))
    said = "step takes 1.2 to 1.5 times as long with batch norm as without norm, over 2 grid points."
    assert answer(results, verdicts(results)).sentence.endswith(said)


def test_an_open_claim_says_how_many_seeds_decide_it_and_what_to_type(tmp_path):
    claim = Claim.better("batch", than="none", lr=0.1)

    def accuracy(trial):
        return 0.9 + (-0.01 if trial["seed"] == 0 else 0.01) * (trial["norm"] == "batch")

    results, (verdict,) = judged(tmp_path, [claim], accuracy)
    assert verdict.word == "undecided"
    step = next_step(verdict, results.manifest.claims[0], results.manifest)
    needed = int(re.search(r"About (\d+) fresh seeds would decide it", step.words)[1])
    assert 8 < needed < 40
    assert f"seed=range(8, {8 + needed})" in step.words
    assert step.command == f"python -m harness run {results.manifest.path}"
    _, (supported,) = judged(tmp_path, [claim], lambda trial: 0.9 + 0.05 * (trial["norm"] == "batch"))
    assert next_step(supported, results.manifest.claims[0], results.manifest) is None


def test_a_late_claim_is_to_be_asked_of_seeds_that_the_suite_has_not_had(tmp_path):
    claim = Claim.better("batch", than="none", lr=0.1)
    results, (verdict,) = judged(tmp_path, [claim], lambda trial: 0.9, {**AXES, "seed": range(20, 28)})
    step = next_step(replace(verdict, word="exploratory"), results.manifest.claims[0], results.manifest)
    assert "seed=range(28, 36)" in step.words


def test_seeds_are_not_asked_for_where_the_grid_ends_too_soon(tmp_path):
    def accuracy(trial):
        return 0.95 if trial["lr"] >= 0.1 else 0.5

    results, (verdict,) = judged(tmp_path, [replace(WIDER, arm="none", than="batch", margin=0.5)], accuracy)
    step = next_step(verdict, declared(verdict.claim)[0], results.manifest)
    assert "grid" in step.words
    assert "About" not in step.words


def changed(**to):
    defaults = {"norm_eps": 1e-5, "norm_momentum": 0.1}
    return Claim.equivalent("batch", to="batch", within=0.01, against={name: defaults[name] for name in to}, **to)


def test_variants_of_one_arm_stand_in_one_figure_each_named_by_what_it_changes(tmp_path):
    variants = [{"norm_eps": 1e-3}, {"norm_eps": 10.0}, {"norm_momentum": 1.0}]
    axes = {
        "norm": ["batch"],
        "norm_eps": [1e-5, 1e-3, 10.0],
        "norm_momentum": [0.1, 1.0],
        "seed": range(8),
    }
    claims = [replace(changed(**to), where={"norm_eps": 1e-5, "norm_momentum": 0.1} | to) for to in variants]
    results, found = judged(tmp_path, claims, lambda trial: 0.9 - 0.3 * (trial["norm_eps"] == 10), axes)
    (drawn,) = variants_forest(results, found)
    (axes,) = drawn.figure.axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["norm eps 0.001", "norm eps 10", "norm momentum 1"]
    said = answer(results, found)
    assert said.pictures == ("variants",)
    assert "norm eps 10: 30.0 points lower" in said.sentence
    assert not [figure for figure in figures(results) if figure.name.startswith("effect")]


def test_both_sides_of_one_arm_are_named_by_what_differs(tmp_path):
    claim = Claim.better("batch", than="batch", warmup_steps=30, lr=0.1, against={"warmup_steps": 0})
    axes = {"norm": ["batch"], "lr": [0.1, 0.3], "warmup_steps": [0, 30], "seed": range(8)}
    results, found = judged(
        tmp_path, [claim], lambda trial: 0.8 + 0.1 * (trial["warmup_steps"] == 30) + 0.002 * trial["seed"], axes
    )
    said = answer(results, found).sentence
    assert said.startswith("With batch norm, test accuracy is 10.0 points higher at warmup steps 30 than at warmup")
    assert said.endswith("than at warmup steps 0 (90.7 % against 80.7 % on average), at lr 0.1.")
    words = claim_words(found[0], results.manifest)
    assert words == "batch at warmup steps 30 has a higher test accuracy than at warmup steps 0, at lr 0.1"


def test_a_change_of_several_settings_names_each_on_both_sides(tmp_path):
    claim = changed(norm_eps=1e-3, norm_momentum=1.0)
    axes = {"norm": ["batch"], "norm_eps": [1e-5, 1e-3], "norm_momentum": [0.1, 1.0], "seed": range(8)}
    results, found = judged(tmp_path, [claim], lambda trial: 0.9, axes)
    words = claim_words(found[0], results.manifest)
    assert words.startswith(
        "norm eps 0.001, norm momentum 1 instead of norm eps 1e\N{MINUS SIGN}5, norm momentum 0.1 keeps"
    )


def test_figures_show_the_metric_that_claims_speak_of(tmp_path):
    results = simulate(tmp_path, AXES, claims=[Claim.better("batch", than="none", metric="test_loss", lr=0.1)])
    manifest = replace(results.manifest, target_accuracy=None)
    data = ResultSlice.whole(replace(results, manifest=manifest))
    assert (data.metric.name, data.validated_by.name) == ("test_loss", "val_loss")


def test_where_all_claims_are_on_times_no_figure_is_of_scores(tmp_path):
    results = simulate(tmp_path, AXES, claims=[Claim.costs("batch", than="none", at_most=2.0, lr=0.1)])
    names = {figure.name for figure in figures(results)}
    assert not names & {"effect", "lr_range", "best_of_k"}


def test_of_pictures_of_several_grid_points_the_first_is_that_of_the_answer(tmp_path):
    models = ["mlp-16", "mlp-16x2"]
    claims = [Claim.best_tuned("batch", than="none", model="mlp-16x2")]
    axes = {"norm": ["batch", "none"], "model": models, "lr": [0.03, 0.1, 0.3], "seed": range(8)}
    results, found = judged(tmp_path, claims, lambda trial: 0.9 + 0.05 * (trial["norm"] == "batch"), axes)
    drawn = [*figures(results)]
    titles = [figure.title for figure in drawn if figure.name.startswith("best_of_k")]
    assert [title.partition(" (")[2] for title in titles] == ["model mlp-16)", "model mlp-16x2)"]
    assert page_parts(results, found, [None], drawn)["hero"].title == titles[1]


def test_a_grid_point_of_variants_is_named_by_what_it_changes_alone(tmp_path):
    # Titles had all five settings of bn_options, of which four were those of every other figure
    usual = {"norm_eps": 1e-5, "norm_momentum": 0.1}
    axes = {"norm": ["batch"], "norm_eps": [1e-5, 0.1, 10.0], "norm_momentum": [0.1, 0.5], "seed": range(8)}
    changes = [{"norm_eps": 0.1}, {"norm_eps": 10.0}, {"norm_momentum": 0.5}]
    claims = [
        Claim.equivalent("batch", to="batch", within=0.01, against=usual, **{**usual, **change}) for change in changes
    ]
    manifest = simulate(tmp_path, axes, claims=claims).manifest
    assert point_words("norm eps 0.1, norm momentum 0.1", manifest) == "norm eps 0.1"
    assert point_words("norm eps 1e\N{MINUS SIGN}5, norm momentum 0.1", manifest) == "the usual settings"
    plain = replace(manifest, claims=declared(Claim.better("batch", than="none")))
    assert point_words("norm eps 0.1, norm momentum 0.1", plain) == "norm eps 0.1, norm momentum 0.1"
    assert point_words("", plain) == ""
