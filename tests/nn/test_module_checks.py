"""What torch allows in a module and can't be trained here is refused by name, before anything is trained."""

import pytest
import torch
from torch import nn

from harness.errors import SuiteError
from harness.nn.models import build
from harness.spec.trial import Trial

TRIAL = Trial(dataset="circles", model="own", lr=0.1, batch_size=5, steps=1, device="cpu")


def with_buffer(tensor):
    model = nn.Sequential(nn.Linear(2, 3))
    model[0].register_buffer("extra", tensor)
    return model


def with_parameter(tensor):
    model = nn.Sequential(nn.Linear(2, 3))
    model[0].extra = nn.Parameter(tensor)
    return model


def tied_by_data():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight.data = model[0].weight.data
    return model


def with_view():
    model = nn.Sequential(nn.Linear(3, 3))
    model.register_buffer("first_row", model[0].weight.data[0])
    return model


def pruned():
    from torch.nn.utils import prune

    model = nn.Sequential(nn.Linear(3, 3))
    prune.random_unstructured(model[0], "weight", amount=2)
    return model


def with_computed_buffer():
    model = nn.Sequential(nn.Linear(3, 3))
    model.register_buffer("scaled", 2 * model[0].weight)
    return model


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: nn.Sequential(nn.LazyLinear(3)), r"module '0' \(LazyLinear\) is lazy.* call the model once"),
        (lambda: nn.LazyBatchNorm1d(), r"the LazyBatchNorm1d is lazy"),
        (lambda: nn.Sequential(nn.utils.weight_norm(nn.Linear(2, 3))), r"module '0' \(Linear\) keeps in 'weight' what"),
        (lambda: nn.Sequential(nn.utils.spectral_norm(nn.Linear(2, 3))), "'0' .*parametrizations.spectral_norm"),
        (pruned, r"module '0' \(Linear\) keeps in 'weight' what it has computed"),
        (with_computed_buffer, r"the Sequential keeps in 'scaled' what it has computed"),
        (lambda: nn.DataParallel(nn.Linear(2, 3)), "spreads it over devices; return the module itself"),
        (lambda: torch.compile(nn.Linear(2, 3)), "is compiled; return the module itself, and set compile=True"),
        (lambda: with_parameter(torch.ones(2, dtype=torch.complex64)), "'0.extra' is torch.complex64, and float32 and"),
        (lambda: nn.Linear(2, 3).bfloat16(), "its parameter 'weight' is torch.bfloat16, and float32 and float64"),
        (lambda: with_buffer(torch.eye(2).to_sparse()), r"buffer '0.extra' is no plain tensor.*torch.sparse_coo"),
        (lambda: with_buffer(torch.empty(2, device="meta")), r"buffer '0.extra' is no plain tensor.*meta device"),
        (lambda: with_buffer(torch.ones(2).to(torch.float8_e4m3fn)), "buffer '0.extra' is torch.float8_e4m3fn, which"),
        (lambda: with_buffer(torch.ones(2).to(torch.uint16)), "buffer '0.extra' is torch.uint16, which torch can't"),
        (tied_by_data, "'0.weight' and '1.weight' lie in one memory and are not the same tensor"),
        (with_view, "'0.weight' and 'first_row' lie in one memory"),
    ],
)  # fmt: skip
def test_what_can_not_be_trained_is_refused_in_a_line_that_names_it(make, said):
    with pytest.raises(SuiteError, match=said) as refused:
        build(TRIAL, (2,), 3, {"own": lambda: make()})
    assert str(refused.value).startswith("model 'own' can't be trained: ")
    assert "\n" not in str(refused.value)


def test_parts_of_one_memory_that_do_not_overlap_are_fine():
    def halves():
        model, both = nn.Linear(2, 3), torch.arange(8.0)
        model.register_buffer("first", both[:4])
        model.register_buffer("second", both[4:])
        return model

    build(TRIAL, (2,), 3, {"own": halves})


@pytest.mark.parametrize("changes", [{"init": "he"}, {"init_scale": 2.0}])
def test_an_init_that_can_not_reach_a_parametrised_weight_says_so(changes):
    from dataclasses import replace

    def own():
        return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(2, 3)))

    with pytest.raises(SuiteError, match="module '0' is parametrised; leave both at their defaults"):
        build(replace(TRIAL, model="own", **changes), (2,), 3, {"own": own})
    build(replace(TRIAL, init="default"), (2,), 3, {"own": own})
