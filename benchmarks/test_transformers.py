"""Small language models: a cohort against one after the other, and against JAX."""

from dataclasses import replace

import pytest
import torch
import transformer_rivals
from timing import CONTEXT, DATA, cohort_step

from harness.spec.trial import Trial

SMALL = Trial(
    dataset="descriptions", task="sequence", context=CONTEXT, model="transformer-16x2", causal=True, norm="layer",
    optimizer="adamw", lr=0.003, batch_size=16, steps=1, eval_every=10_000, device="cpu",
)  # fmt: skip
MODELS = {"transformer-16x2": 16, "transformer-32x4": 8}  # -> how many train together
STEPS, ROUNDS = 24, 5


@pytest.mark.usefixtures("one_core")
@pytest.mark.parametrize("model", MODELS)
def test_a_step_of_small_transformers(benchmark, row, model):
    trial, models, data = replace(SMALL, model=model), MODELS[model], DATA["descriptions"]
    alone, together = [], []

    def both() -> None:
        together.append(cohort_step(trial, models, None, STEPS))
        alone.append(transformer_rivals.plain_loop(trial, data, STEPS) * 1e6)

    benchmark.pedantic(both, rounds=ROUNDS, warmup_rounds=1)
    ours, what = min(together), f"a step of {model} on {trial.batch_size} x {CONTEXT} characters"
    row("9", f"{what}: us per model of a cohort of {models}", "", f"{ours:.0f}")
    row("9", f"{what}: times as fast as a loop by hand", "", f"{min(alone) / ours:.2f}")
    pytest.importorskip("jax", reason="no JAX to compare with")
    jax = min(transformer_rivals.jax_scan(trial, data, size, STEPS) for size in (1, models)) * 1e6
    row("9", f"{what}: times as fast as JAX jit(vmap(scan))", "", f"{jax / ours:.2f}")


def test_the_model_of_jax_is_ours():
    jax = pytest.importorskip("jax", reason="no JAX to compare with")
    data = DATA["descriptions"]
    model = transformer_rivals.built_model(SMALL, data, 0)
    tokens = data.x["test"][:5]
    params = {name: jax.numpy.asarray(weight.numpy()) for name, weight in model.state_dict().items()}
    out = torch.tensor(transformer_rivals.jax_outputs(params, jax.numpy.asarray(tokens)).tolist())
    with torch.no_grad():
        torch.testing.assert_close(out, model(torch.from_numpy(tokens)), rtol=1e-4, atol=1e-4)
