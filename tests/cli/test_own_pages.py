"""The pages on what a suite may bring: their examples run as they stand."""

import re
from pathlib import Path

import pandas as pd
import pytest

PAGES = sorted((Path(__file__).parents[2] / "docs" / "own").glob("*.md"))
MODELS = next(page for page in PAGES if page.stem == "models")


def example(page):
    return re.search(r"```python\n(.*?)```", page.read_text("utf-8"), flags=re.DOTALL)[1]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_example_of_a_page_runs(harness, page):
    harness.suite(example(page), "example")
    ran = harness("run", "example", "--progress", "none")
    assert ran.code == 0, ran.err
    trials = pd.read_csv(harness.results / "example" / "trials.csv")
    assert set(trials["status"]) <= {"ok", "no_better_than_init"}


REFUSED = {  # what is written in the example's place -> what the line says
    "activation(), nn.Linear(16, classes))": (
        "activation(), nn.Linear(16, classes), nn.LSTM(10, classes))",
        "returned a tuple; return logits of shape (examples, classes)",
    ),
    "norm(16)": ("norm(16, channels_last=True)", "write norm(16)"),
    "norm(16),": ("", "does not use norm: the arms batch and none are the same model"),
}


@pytest.mark.parametrize("old", REFUSED)
def test_what_the_page_on_models_says_is_refused_is_refused_in_one_line(harness, old):
    new, said = REFUSED[old]
    text = example(MODELS).replace(old, new)
    harness.suite(text if new else text.replace("norm, activation", "activation"), "example")
    ran = harness("run", "example", "--progress", "none")
    assert ran.code == 2
    assert said in ran.err
    assert ran.err.count("\n") == 1
