"""Every probe is declared and measured: whatever of one is forgotten is named."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from harness.probes import MEASURES, curve_names
from harness.probes.layers import layers_of
from harness.spec.probes import PROBE_CURVES, PROBES
from harness.training.loop import train
from harness.training.state import init_state
from tests.support.probes_by_hand import BASE, CPU, DATA


def test_every_declared_probe_has_a_function_that_measures_it_and_the_other_way_round():
    assert sorted(set(PROBES) - set(MEASURES)) == [], "add the function to MEASURES in harness/probes/__init__.py"
    assert sorted(set(MEASURES) - set(PROBES)) == [], "declare its curves in harness/spec/probes.py"


@pytest.mark.parametrize("probe", PROBES)
def test_a_probe_measures_the_curves_that_it_declares_and_no_others(probe):
    measured = set()
    for activation in ("relu", "sigmoid"):  # units of the one die, those of the other saturate
        trial = replace(BASE, model="mlp-6x4", norm="batch", probes=probe, activation=activation)
        state = init_state([trial, replace(trial, seed=1)], DATA["digits"], CPU, {})
        declared = {f"probe.{name}" for name in curve_names([probe], state.layers)}
        next(train(state))
        curves = {name: curve for name, curve in state.curves.items() if name.startswith("probe.")}
        assert set(curves) == declared
        missing = [name for name, curve in curves.items() if not torch.isfinite(curve[0]).all()]
        assert missing == [], "declared, and not measured"
        measured |= {name.removeprefix("probe.").partition("/")[0] for name in curves}
    assert measured == set(PROBES[probe]), "no layer of a net with batch norm has such a curve"


def test_no_two_probes_have_a_curve_of_one_name():
    assert len(PROBE_CURVES) == sum(len(curves) for curves in PROBES.values())


@pytest.mark.parametrize("probe", PROBES)
def test_a_probe_has_its_row_in_the_readme(probe):
    assert f"\n| `{probe}` |" in (Path(__file__).parents[2] / "docs/probes.md").read_text("utf-8")


@pytest.mark.parametrize("name", PROBE_CURVES)
def test_a_curve_says_in_words_what_it_is(name):
    curve = PROBE_CURVES[name]
    assert curve.words
    assert curve.scale in ("linear", "log")
    assert curve.layers is not None or not curve.question, "a figure over the layers is of curves of layers"


def test_a_layer_tells_all_that_declarations_ask_for():
    layer, _ = layers_of(torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3)), (4,))
    assert (layer.has_nonlinearity, layer.can_saturate, layer.can_die) == (True, True, False)
    curves = {name for name, curve in PROBE_CURVES.items() if curve.layers is not None and curve.layers(layer)}
    percentiles = {"activation_p15", "activation_p50", "activation_p85"}
    assert curves >= percentiles | {"activation_mean", "activation_std", "saturated", "gradient_norm", "weight_norm"}
    assert not curves & {"dead", "running_mean_error", "running_var_error", "effective_lr"}
