"""Round trips: a model that was exported is, read back, the same to the bit, in every form and for every net."""

import hashlib
import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import harness
from harness.data.datasets import load_dataset
from harness.errors import MachineError, ModelError, UsageError
from harness.export.evaluate import scores
from harness.export.formats import FORMATS, export_as
from harness.export.model_card import build_trained, state_of, trained_models
from harness.nn.models import MODELS
from harness.nn.norms import NORMS
from harness.spec.trial import Trial
from harness.training.best_checkpoint import keep_best
from harness.training.loop import train
from harness.training.state import init_state
from tests.support.own_norms import OWN_NORMS
from tests.support.pairs import SMALL, fits

CPU = torch.device("cpu")
DIGITS = load_dataset("digits", Path(), {})
BASE = Trial(dataset="digits", model="mlp-8x2", lr=0.1, batch_size=300, steps=2, norm_groups=2, device="cpu")
NEEDS = {"onnx": "onnx", "safetensors": "safetensors"}  # packages of the extra `export`
LARGE = {("vgg", "batch"), ("resnet", "ws_group"), ("resnet", "skipinit"), ("resmlp", "batch")}  # seconds each
COMBINATIONS = [
    (SMALL[family], norm)
    for family in MODELS
    for norm in NORMS
    if fits(norm, family) and (family in ("mlp", "cnn") or (family, norm) in LARGE)
]
X = torch.from_numpy(DIGITS.x["test"][:7])


def trained(factories=None, **changes):
    state = keep_best(init_state([replace(BASE, **changes)], DIGITS, CPU, factories or {}))
    for _ in train(state):
        pass
    return next(model for _, which, model in trained_models(state, factories or {}) if which == "last")


def outputs(model, factories=None):
    with torch.no_grad():
        return build_trained(model.metadata, {n: t.clone() for n, t in state_of(model).items()}, factories or {})(X)


def written(folder, model, form, factories=None):
    pytest.importorskip(NEEDS.get(form, "torch"), reason=f"{form} needs the extra `export`")
    (folder / form).write_bytes(export_as(model, form, factories or {}))
    return folder / form


def read_back(path, form):
    """What a stranger makes of the file."""
    if form == "torch-export":
        return torch.export.load(io.BytesIO(path.read_bytes())).module()
    if form == "onnx":
        from onnx.reference import ReferenceEvaluator

        session = ReferenceEvaluator(path.read_bytes())
        return lambda x: torch.from_numpy(session.run(None, {"x": x.numpy()})[0])
    return harness.load_model(path, allow_pickle=form == "module")


@pytest.mark.parametrize(("model", "norm"), COMBINATIONS)
def test_every_form_gives_back_the_same_outputs(tmp_path, model, norm):
    found = trained(model=model, norm=norm)
    expected = outputs(found)
    for form in FORMATS:
        back = read_back(written(tmp_path, found, form), form)
        with torch.no_grad():
            out, lone = back(X), back(X[:1])
        if form == "onnx":  # another program computes: near, not equal
            torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(lone, expected[:1], rtol=1e-4, atol=1e-5)
        else:
            assert torch.equal(out, expected), form
            assert lone.shape == (1, 10), form


@pytest.mark.parametrize("norm", OWN_NORMS)
def test_a_norm_of_the_suites_own_leaves_in_every_form_and_predicts_the_same(tmp_path, norm):
    model = trained(OWN_NORMS, norm=norm)
    expected = outputs(model, OWN_NORMS)
    for form in FORMATS:
        path = written(tmp_path, model, form, OWN_NORMS)
        if form in ("onnx", "torch-export"):
            back = read_back(path, form)
        else:
            back = harness.load_model(path, allow_pickle=form == "module", factories=OWN_NORMS)
        with torch.no_grad():
            out = back(X)
        torch.testing.assert_close(out, expected, rtol=1e-4 * (form == "onnx"), atol=1e-5 * (form == "onnx"))
    if norm == "SoftSign":
        with pytest.raises(ModelError, match="its norm 'SoftSign' is a function of its suite"):
            harness.load_model(tmp_path / "checkpoint")


@pytest.mark.parametrize("form", FORMATS)
def test_the_same_model_gives_the_same_bytes(tmp_path, form):
    model = trained(norm="batch", optimizer="adamw")
    once = written(tmp_path, model, form).read_bytes()
    assert once == written(tmp_path, model, form).read_bytes()


@pytest.mark.parametrize("form", FORMATS)
def test_every_form_holds_a_checksum_of_itself_that_anybody_can_verify(tmp_path, form):
    data = written(tmp_path, trained(norm="batch"), form).read_bytes()
    before, rest = data.split(b"harness-sha256:")
    blank = before + b"harness-sha256:" + b"0" * 64 + rest[64:]
    assert rest[:64].decode() == hashlib.sha256(blank).hexdigest()


def test_plain_torch_reads_a_state_dict_without_the_harness(tmp_path):
    model = trained(norm="batch")
    net = nn.Sequential(
        *(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU()),
        nn.Linear(8, 10),
    )
    net.load_state_dict(torch.load(written(tmp_path, model, "state_dict"), weights_only=True))
    with torch.no_grad():
        assert torch.equal(net.eval()(X), outputs(model))
    assert str(net) == model.metadata["layers"]


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_plain_torch_reads_all_of_a_checkpoint(tmp_path, optimizer):
    model = trained(norm="batch", optimizer=optimizer, momentum=0.9 * (optimizer == "sgd"))
    path = written(tmp_path, model, "checkpoint")
    plain, ours = torch.load(path, weights_only=True), harness.load_checkpoint(path)
    assert plain.keys() == ours.keys()
    assert ours["init_params"] == {"model": "mlp-8x2", "inputs": [1, 8, 8], "classes": 10}
    assert (ours["epoch"], ours["step"], ours["accuracy"]) == (2 / 3, 2, model.metadata["metrics"]["val.accuracy"])
    assert ours["trial"] == model.metadata["trial"]
    assert ours["trial"]["optimizer" if optimizer == "adamw" else "momentum"] in ("adamw", 0.9)
    assert ours["versions"] == {"harness": harness.__version__, "torch": str(torch.__version__)}
    assert str(plain) == str(ours)


def fine_tuned(module, optimizer):
    rng = torch.Generator().manual_seed(3)
    module.train()
    for _ in range(5):
        picked = torch.randint(0, 900, (50,), generator=rng)
        optimizer.zero_grad()
        x, y = torch.from_numpy(DIGITS.x["train"][picked]), torch.from_numpy(DIGITS.y["train"][picked])
        nn.functional.cross_entropy(module(x), y).backward()
        optimizer.step()
    return module.state_dict()


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
def test_fine_tuning_from_a_checkpoint_goes_on_bit_equal(tmp_path, optimizer):
    name = "sgd" if optimizer is torch.optim.SGD else "adamw"
    model = trained(norm="batch", norm_momentum="cumulative", optimizer=name, momentum=0.9 * (name == "sgd"))
    path = written(tmp_path, model, "checkpoint")
    went_on = []
    for kept in (harness.load_checkpoint(path), torch.load(path, weights_only=True)):
        module = harness.load_model(path)
        module.load_state_dict(kept["model_state_dict"])
        torch_optimizer = optimizer(module.parameters(), lr=9.0)
        torch_optimizer.load_state_dict(kept["optimizer_state_dict"])
        went_on.append(fine_tuned(module, torch_optimizer))
    # The optimizer as it was in memory, its slots cut out of the cohort.
    module = build_trained(model.metadata, {n: t.clone() for n, t in state_of(model).items()}, {})
    uninterrupted = optimizer(
        module.parameters(), lr=0.1, **({"momentum": 0.9} if name == "sgd" else {"weight_decay": 0})
    )
    for weight, (n, _) in zip(module.parameters(), module.named_parameters(), strict=True):
        slots = {"sgd": {"momentum_buffer": "velocity"}, "adamw": {"exp_avg": "mean", "exp_avg_sq": "square"}}[name]
        kept = {theirs: model.tensors[f"slot/{ours}/{n}"].clone() for theirs, ours in slots.items()}
        uninterrupted.state[weight] = {**kept, **({"step": torch.tensor(2.0)} if name == "adamw" else {})}
    expected = fine_tuned(module, uninterrupted)
    for found in went_on:
        assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_weights_that_do_not_decay_are_a_group_of_their_own_in_a_checkpoint(tmp_path):
    options = {"norm": "batch", "optimizer": "adamw", "weight_decay": 0.1}
    kept = harness.load_checkpoint(written(tmp_path, trained(decay_norms=False, **options), "checkpoint"))
    hidden = [*(nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU()), *(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU())]
    module = nn.Sequential(nn.Flatten(), *hidden, nn.Linear(8, 10))
    norms = [p for layer in module for p in layer.parameters() if isinstance(layer, nn.BatchNorm1d)]
    others = [p for layer in module for p in layer.parameters() if isinstance(layer, nn.Linear)]
    optimizer = torch.optim.AdamW([{"params": others}, {"params": norms, "weight_decay": 9.0}], lr=9.0)
    optimizer.load_state_dict(kept["optimizer_state_dict"])
    assert [(g["lr"], g["weight_decay"]) for g in optimizer.param_groups] == [(0.1, 0.1), (0.1, 0.0)]
    assert all(optimizer.state[p]["exp_avg"].shape == p.shape for p in [*others, *norms])


@pytest.mark.parametrize("decay_norms", [True, False])
@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
def test_a_checkpoint_names_the_parameters_of_each_group_of_its_optimizer(tmp_path, decay_norms, optimizer):
    name = "sgd" if optimizer is torch.optim.SGD else "adamw"
    options = {"norm": "batch", "optimizer": name, "weight_decay": 0.1, "momentum": 0.9 * (name == "sgd")}
    model = trained(decay_norms=decay_norms, **options)
    path = written(tmp_path, model, "checkpoint")
    module, checkpoint = harness.load_model(path), harness.load_checkpoint(path)
    groups = checkpoint["optimizer_state_dict"]["param_groups"]
    loaded = optimizer([{"params": [module.get_parameter(name) for name in g["param_names"]]} for g in groups], lr=9.0)
    loaded.load_state_dict(checkpoint["optimizer_state_dict"])
    slot, ours = {"sgd": ("momentum_buffer", "velocity"), "adamw": ("exp_avg", "mean")}[name]
    decays = {}
    for group in loaded.param_groups:
        assert group["lr"] == 0.1
        decays |= {id(weight): group["weight_decay"] for weight in group["params"]}
    for name, weight in module.named_parameters():
        is_spared = not decay_norms and name.partition(".")[0] in ("2", "5")
        assert torch.equal(loaded.state[weight][slot], model.tensors[f"slot/{ours}/{name}"])
        assert decays[id(weight)] == (0.0 if is_spared else 0.1)


def test_a_model_in_double_precision_leaves_in_it(tmp_path):
    found = trained(norm="batch", precision="float64")
    for form in ("checkpoint", "torch-export"):
        back = read_back(written(tmp_path, found, form), form)
        with torch.no_grad():
            assert torch.equal(back(X.double()), build_trained(found.metadata, state_of(found), {})(X.double()))
    assert scores(harness.load_model(tmp_path / "checkpoint"), X, 10).dtype is torch.float64


class Net(nn.Module):
    """A model of a suite's own."""

    def __init__(self, features):
        super().__init__()
        self.fc = nn.Linear(features, 10)

    def forward(self, x):
        return self.fc(x.flatten(1))


def net(inputs):
    return Net(inputs[0] * inputs[1] * inputs[2])


@pytest.mark.parametrize("form", FORMATS)
def test_a_model_of_a_suites_own_leaves_in_every_form(tmp_path, form):
    factories = {"net": net}
    model = trained(factories, model="net", source="d1e5")
    path = written(tmp_path, model, form, factories)
    with torch.no_grad():
        if form in ("checkpoint", "state_dict", "safetensors"):
            assert torch.equal(harness.load_model(path, factories=factories)(X), outputs(model, factories))
            with pytest.raises(ModelError, match="'net' is a function of its suite"):
                harness.load_model(path)
        else:
            torch.testing.assert_close(read_back(path, form)(X), outputs(model, factories), rtol=1e-4, atol=1e-5)


def test_a_device_that_is_none_or_is_not_there_is_named(tmp_path):
    path = written(tmp_path, trained(), "state_dict")
    with pytest.raises(UsageError, match="cpu or cuda:0, got 'gpu'"):
        harness.load_model(path, "gpu")
    if not torch.cuda.is_available():
        with pytest.raises(MachineError, match="'cuda' is not on this machine"):
            harness.load_model(path, map_location="cuda")
        with pytest.raises(MachineError, match="'cuda' is not on this machine"):
            harness.load_checkpoint(path, "cuda")


@pytest.mark.cuda
@pytest.mark.parametrize("form", ["checkpoint", "state_dict", "module", "safetensors"])
def test_a_model_moves_between_devices(tmp_path, form):
    path = written(tmp_path, trained(norm="batch"), form)
    there = harness.load_model(path, "cuda", allow_pickle=True)
    assert {tensor.device.type for tensor in there.state_dict().values()} == {"cuda"}
    torch.testing.assert_close(there(X.cuda()).cpu(), harness.load_model(path, allow_pickle=True)(X))


def test_loading_needs_torch_only_when_it_is_asked_for():
    assert "load_model" in harness.__all__
    with pytest.raises(AttributeError, match="load_modle"):
        harness.load_modle  # noqa: B018


def test_what_a_file_says_of_itself_can_be_read_with_a_zip_program(tmp_path):
    path = written(tmp_path, trained(norm="batch"), "state_dict")
    facts = json.loads(zipfile.ZipFile(path).read("archive/extra/harness.json"))
    assert (facts["form"], facts["format"], facts["trial"]["norm"], facts["which"]) == (
        "state_dict",
        2,
        "batch",
        "last",
    )
