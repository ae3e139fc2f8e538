"""The picture of effects, for those who can't see it."""

from dataclasses import replace

from harness.reporting.figures.effect import effect_at_each_point
from tests.reporting.simulated import simulate

ACCURACY = {"layer": 0.5, "batch": 0.9, "none": 0.7}


def test_the_picture_in_words_names_the_arms_that_differ_also_where_there_is_one_grid_point(tmp_path):
    results = simulate(tmp_path, {"norm": list(ACCURACY), "seed": range(10)})
    luck = results.trials["seed"] / 1000
    trials = results.trials.assign(status="ok", test_accuracy=results.trials["norm"].map(ACCURACY) + luck)
    (picture,) = effect_at_each_point(replace(results, trials=trials))
    assert picture.alt.endswith("differences from none. After correction, better are batch and worse are layer.")
