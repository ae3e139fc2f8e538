"""Sharpness against the eigenvalues of whole Hessians, and the search for it against those of whole matrices."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from harness.probes.sharpness import largest_eigenvalue
from tests.support.probes_by_hand import fixed_batch, plain, probed, together


@pytest.mark.parametrize("norm", ["none", "batch", "layer", "rms"])
@together
def test_sharpness_is_the_largest_eigenvalue_of_the_hessian(norm, together):
    state, found = probed("sharpness", together, dataset="circles", model="mlp-2", norm=norm, activation="tanh")
    for i, values in enumerate(found):
        module = plain(state, i).double()
        x, y = fixed_batch(state, i)
        shapes = {name: weight.shape for name, weight in module.named_parameters()}

        def loss(flat, module=module, shapes=shapes, x=x, y=y):
            parts = flat.split([shape.numel() for shape in shapes.values()])
            named = {name: part.view(shapes[name]) for name, part in zip(shapes, parts, strict=True)}
            return F.cross_entropy(torch.func.functional_call(module, named, (x.double(),)), y)

        flat = nn.utils.parameters_to_vector(module.parameters()).detach()
        expected = torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, flat)).max().item()
        assert values["sharpness"] == pytest.approx(expected, rel=1e-4)
        assert values["relative_sharpness"] == pytest.approx(expected * flat.square().sum().item(), rel=1e-4)


@given(st.integers(1, 9), st.integers(0, 999))
def test_lanczos_finds_the_largest_eigenvalue_of_each_matrix_and_comes_near_it_from_below(size, seed):
    rng = torch.Generator().manual_seed(seed)
    some = torch.randn(3, size, size, generator=rng, dtype=torch.float64)
    matrices = some + some.mT
    start = torch.randn(3, size, generator=rng, dtype=torch.float64)
    expected = torch.linalg.eigvalsh(matrices).amax(1)

    def product(v):
        return torch.einsum("mpq,mq->mp", matrices, v)

    torch.testing.assert_close(largest_eigenvalue(product, start, size), expected)
    fewer = largest_eigenvalue(product, start, (size + 1) // 2)
    assert (fewer <= expected + 1e-9).all()


def test_a_model_that_is_no_number_has_no_sharpness():
    found = largest_eigenvalue(lambda v: v * torch.tensor([[2.0], [torch.nan]]), torch.randn(2, 5), 4)
    assert found[0].item() == pytest.approx(2.0)
    assert found[1].isnan()
