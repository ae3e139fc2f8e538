"""The frame of figures: what it adds to their words, what it refuses, and that every figure can be drawn."""

from collections.abc import Iterator
from importlib import import_module
from inspect import get_annotations, getmembers, isfunction
from pathlib import Path

import numpy as np
import pytest
import seaborn as sns
from matplotlib.figure import Figure

from harness.reporting import figures as package
from harness.reporting.figures import FIGURES, OF_OWN_TRAINING, figures
from harness.reporting.figures.drawing import canvas
from harness.reporting.figures.frame import NO_WORDS, ReportFigure, points_of, report_figure
from harness.spec.claim import Claim
from harness.storage.tables import Results
from tests.analysis.test_recovered import RECOVERS, SYNC, recovering
from tests.reporting.figures.test_boundaries import plane
from tests.reporting.figures.test_probes import probed
from tests.reporting.figures.test_tasks import results_of
from tests.reporting.figures.test_verdict import with_accuracy
from tests.support.simulated import simulate

AXES = {"norm": ["batch", "none"], "lr": [0.03, 0.1, 1.0], "seed": range(3)}
SIZES = {"batch_size": [8, 64], "norm": ["batch", "none"], "lr": [0.03, 0.1], "seed": range(3)}
CLAIMS = [Claim.costs("batch", than="none", at_most=2.0, lr=0.1), Claim.sooner("batch", than="none", lr=0.1)]
FIGURE_SIGNATURE = {"results": Results, "return": Iterator[ReportFigure]}
WORDS = {"title": "How high is it?", "caption": "Every seed is a dot.", "alt": "Dots by arm."}


def final_losses(results, alt="Dots of the final training loss of every seed, by arm."):
    """A figure as one would add it: panels, the words that are particular to it, and nothing else."""
    for data in points_of(results, "lr"):
        with canvas(2.5) as figure:
            axes = figure.subplots()
            sns.stripplot(data.trials, x=data.compare, y="train_loss", hue=data.compare, palette=data.palette, ax=axes)
            axes.set(xlabel="", ylabel="training loss")
        yield report_figure(
            data,
            figure,
            name="final_loss",
            title="Where does the loss end?",
            caption="Every seed is a dot at its final training loss.",
            alt=alt,
        )


def test_a_new_figure_says_what_all_say_without_writing_it(tmp_path):
    results = simulate(tmp_path, {**AXES, "batch_size": [8, 64]})
    first, second = final_losses(results)
    assert (first.name, second.name) == ("final_loss_1", "final_loss_2")
    assert second.title == "Where does the loss end? (batch size 64)"
    assert second.caption == "Every seed is a dot at its final training loss. n = 3 seeds, not tested here."


def test_a_figure_without_alt_text_is_refused_by_its_name(tmp_path):
    with pytest.raises(AssertionError, match="figure final_loss: its alt is empty"):
        list(final_losses(simulate(tmp_path, AXES), alt=""))


@pytest.mark.parametrize("part", WORDS)
@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("", "is empty"),
        (" ", "is empty"),
        ("The mean of test_accuracy over seeds.", "says 'test_accuracy'"),
        ("The max_grad_norm is the same.", "says 'max_grad_norm'"),
        ("Mean slope: nan points.", "says 'nan'"),
        ("At lr None.", "says 'None'"),
    ],
)
def test_words_of_the_tables_and_of_python_are_refused(part, words, fault):
    with pytest.raises(AssertionError, match=f"figure dots: its {part} {fault}"):
        ReportFigure(name="dots", figure=Figure(), **{**WORDS, part: words})


@pytest.mark.parametrize("part", ["caption", "alt"])
def test_captions_and_alternative_texts_are_sentences(part):
    with pytest.raises(AssertionError, match=f"its {part} does not end in a full stop"):
        ReportFigure(name="dots", figure=Figure(), **{**WORDS, part: "Every seed is a dot"})


@pytest.mark.parametrize("arm", ["nan", "None", "test_accuracy", "lib/step_ms.py:None"])
def test_a_suite_may_call_its_arms_what_it_likes(tmp_path, arm):
    claims = [Claim.better(arm, than="none", lr=0.1)]
    assert [*figures(simulate(tmp_path, {**AXES, "norm": [arm, "none"]}, claims=claims))]


@pytest.fixture(scope="module")
def rich_results(tmp_path_factory):
    """Results that have between them what each figure needs."""
    folders = [tmp_path_factory.mktemp(name) for name in ("lr", "sizes", "tasks", "ranks", "probes")]
    lr_sweep = simulate(folders[0], AXES, claims=CLAIMS)
    lr_sweep.telemetry["step_ms"] = 0.4 + 0.01 * np.arange(len(lr_sweep.telemetry))
    (folders[0] / "data" / "planes").mkdir(parents=True)
    parts = {f"x_{split}": np.zeros((4, 2)) for split in ("train", "test")}
    labels = {f"y_{split}": np.arange(4) for split in ("train", "test")}
    np.savez(folders[0] / "data" / "digits.npz", **parts, **labels)
    plane(folders[0] / "data" / "planes" / f"{lr_sweep.trials['key'].iloc[0]}.npz")
    ranks = simulate(folders[3], {**SYNC, "seed": range(3)}, claims=[RECOVERS])
    return [
        lr_sweep,
        simulate(folders[1], SIZES),
        results_of(folders[2]),
        with_accuracy(ranks, recovering(0.9, 0.05, noise=0.004)),
        probed(folders[4]),
    ]


def test_every_function_that_draws_figures_from_results_is_in_the_table():
    forgotten, tables = set(), {*FIGURES, *OF_OWN_TRAINING}
    for path in Path(package.__file__).parent.glob("[!_]*.py"):
        module = import_module(f"{package.__name__}.{path.stem}")
        for name, function in getmembers(module, isfunction):
            if not name.startswith("_") and get_annotations(function) == FIGURE_SIGNATURE:
                forgotten |= {f"{path.name}: {name}"} if function not in tables else set()
    assert forgotten == set(), "add it to FIGURES in harness/reporting/figures/__init__.py"


@pytest.mark.parametrize("draw", FIGURES, ids=lambda draw: draw.__name__)
def test_every_figure_of_the_table_can_be_drawn_and_has_words_that_pass(draw, rich_results):
    drawn = [figure for results in rich_results for figure in draw(results)]
    assert drawn
    for figure in drawn:
        figure.lay_out()
    panels = [axes for figure in drawn for axes in figure.figure.axes]
    labels = [label for axes in panels for label in (axes.get_xlabel(), axes.get_ylabel(), axes.get_title())]
    assert not NO_WORDS.intersection(labels)
