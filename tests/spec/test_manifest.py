"""suite.json: what a suite comes to, and what later runs keep of it."""

import pytest

from harness.spec.loader import load_suite
from harness.spec.manifest import describe, with_history

HEAD = "from harness import Claim, Suite\n"


def described(tmp_path, text):
    (tmp_path / "s.py").write_text(f'"""Q?"""\n{HEAD}{text}', "utf-8")
    suite = load_suite(tmp_path / "s.py")
    return describe(suite, list(suite.trials(device="cpu")))


def test_axes_vary_and_settings_do_not(tmp_path):
    found = described(
        tmp_path,
        'suite = Suite(dataset="digits", model="mlp-8", norm=["batch", "none"], lr=[0.1, 0.2], batch_size=5, steps=3, '
        "seed=[0, 1])",
    )
    assert found["axes"] == {"norm": ["batch", "none"], "lr": [0.1, 0.2], "seed": [0, 1]}
    assert found["settings"]["batch_size"] == 5
    assert found["settings"]["optimizer"] == "sgd"
    assert not set(found["axes"]) & set(found["settings"])
    assert (found["question"], found["trials"], found["following"]) == ("Q?", 8, {})


@pytest.mark.parametrize(
    ("grids", "axes", "following"),
    [
        ("batch_size=4, lr=0.1, also=[dict(batch_size=8, lr=0.2)]", {"batch_size"}, {"lr": "batch_size"}),
        ("lr=0.1, batch_size=4, also=[dict(batch_size=8, lr=0.2)]", {"lr"}, {"batch_size": "lr"}),
        ("batch_size=[4, 8], lr=[0.1, 0.2]", {"batch_size", "lr"}, {}),
        ("batch_size=[4, 8, 16], lr=0.1, also=[dict(batch_size=8, lr=0.2)]", {"batch_size", "lr"}, {}),
    ],
)
def test_an_axis_that_follows_another_is_no_axis_of_its_own(tmp_path, grids, axes, following):
    found = described(
        tmp_path, f'suite = Suite(dataset="digits", model="mlp-8", norm=["batch", "none"], steps=3, {grids})'
    )
    assert set(found["axes"]) == {"norm", *axes}
    assert found["following"] == following


def test_a_claim_keeps_the_moment_of_its_first_declaration(tmp_path):
    text = (
        'suite = Suite(dataset="digits", model="mlp-8", norm=["batch", "none"], lr=0.1, batch_size=5, steps=3, '
        'claims=[Claim.better("batch", than="none"), Claim.better("batch", than="none", by=0.1)])'
    )
    now = described(tmp_path, text)
    first = with_history({**now, "claims": now["claims"][:1]}, None, cohorts=[], results=0)
    later = with_history(now, first, cohorts=[], results=7)
    again = with_history(now, later, cohorts=[], results=9)
    assert [claim["declared_after"] for claim in again["claims"]] == [0, 7]


def test_a_claim_that_was_kept_by_an_earlier_version_is_the_same_claim(tmp_path):
    text = (
        'suite = Suite(dataset="digits", model="mlp-8", norm=["batch", "none"], lr=[0.1, 0.2], batch_size=5, steps=3, '
        'claims=[Claim.better("batch", than="none", lr=(0.1, 0.2))])'
    )
    now = described(tmp_path, text)
    fields = ("kind", "arm", "than", "margin", "metric")  # all that version 0.1 knew, beside where
    old = {"claims": [{**{f: now["claims"][0][f] for f in fields}, "where": {"lr": [0.1, 0.2]}, "declared_after": 4}]}
    assert with_history(now, old, cohorts=[], results=9)["claims"][0]["declared_after"] == 4
