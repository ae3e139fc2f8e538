"""What is measured on a GPU: small models by the thousand, large ones alone, and what normalising them costs.

Each part yields rows: the aim, what was measured, the aim's figure, the measured figure. All of it also runs on a CPU,
in sizes that show nothing but that it runs.
"""

import gc
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import rivals
import torch
import torch.distributed as dist
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from harness.data.datasets import Dataset, load_dataset
from harness.ensemble.compute_options import ComputeOptions
from harness.ensemble.device import configure, synchronise
from harness.ensemble.distributed import DistContext
from harness.nn.models import build
from harness.spec.trial import Trial
from harness.training import cuda_graphs
from harness.training.loop import train
from harness.training.state import TrainState, init_state

Row = tuple[str, str, str, str]
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is measured."""

    device: str
    models: tuple[int, ...]
    steps: int  # of small models, a multiple of 43
    nets: tuple[str, ...]
    large_steps: int
    images: int
    batch: int
    copied: int  # bytes
    square: int  # side of the matrices
    tests: bool


FULL = Sizes(
    device="cuda", models=(64, 512, 2048, 4096), steps=860, nets=("resnet-20", "resnet-110"), large_steps=60,
    images=4096, batch=128, copied=2**32, square=8192, tests=True,
)  # fmt: skip
SMALL = Sizes(
    device="cpu", models=(2, 3), steps=43, nets=("resnet-8x2",), large_steps=4, images=40, batch=8, copied=2**20,
    square=64, tests=False,
)  # fmt: skip


def mlp(sizes: Sizes, norm: str) -> Trial:
    """The tutorial's net, evaluated after every epoch."""
    return Trial(
        dataset="circles", model="mlp-64-32", norm=norm, lr=0.1, batch_size=32, steps=sizes.steps, eval_every=43,
        device=sizes.device,
    )  # fmt: skip


def net(sizes: Sizes, name: str, norm: str = "batch") -> Trial:
    """A large net on images as those of CIFAR-10."""
    return Trial(
        dataset="noise", model=name, norm=norm, lr=0.05, momentum=0.9, batch_size=sizes.batch, norm_groups=2,
        steps=sizes.large_steps, eval_every=10_000, device=sizes.device, max_cohort_size=1,
    )  # fmt: skip


def noise(sizes: Sizes) -> Dataset:
    """Images 3 x 32 x 32 of noise, in ten classes: time doesn't depend on what they show."""
    rng = np.random.default_rng(0)
    counts = {"train": sizes.images, "val": 32, "test": 32}
    x = {split: rng.standard_normal((n, 3, 32, 32)).astype(np.float32) for split, n in counts.items()}
    y = {split: rng.integers(0, 10, n) for split, n in counts.items()}
    return Dataset(name="noise", x=x, y=y, classes=10)


def prepared(trials: Sequence[Trial], data: Dataset, ranks: DistContext | None = None) -> TrainState:
    device = torch.device(trials[0].device)
    configure(trials[0], device)
    return init_state(trials, data, device, {}, *([ranks] if ranks else []))


def per_step(state: TrainState) -> float:
    """Seconds of a step after the first piece of training, with the evaluations between them."""
    device, events = state.fail_step.device, train(state)
    began = next(event.step for event in events if event.step > 0)
    synchronise(device)
    started = time.perf_counter()
    next(event for event in events if event.step == state.steps)
    synchronise(device)
    return (time.perf_counter() - started) / (state.steps - began)


def checks(sizes: Sizes) -> Iterator[Row]:
    """The tests that need a GPU."""
    if not sizes.tests:
        yield "7", "tests marked cuda", "all pass", "not run"
        return
    words = [sys.executable, "-m", "pytest", "-q", "-m", "cuda and not slow", "-p", "no:cacheprovider", "tests"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    print(done.stdout[-6000:], flush=True)
    yield "7", "tests marked cuda", "all pass", (done.stdout.strip().splitlines() or ["nothing said"])[-1].strip("= ")


def ceilings(sizes: Sizes) -> Iterator[Row]:
    """What the machine can do at most, measured by what torch does fastest."""
    yield "7", "a copy on the device, GB/s read and written", "", f"{bandwidth(sizes) / 1e9:.0f}"
    yield "7", "a matrix product in float32, TFLOP/s", "", f"{rate(sizes) / 1e12:.2f}"


def bandwidth(sizes: Sizes) -> float:
    """Bytes a second, those read and those written."""
    one = torch.randn(sizes.copied // 4, device=sizes.device)
    other = torch.empty_like(one)
    return 2 * one.nbytes / fastest(lambda: other.copy_(one), sizes)


def rate(sizes: Sizes) -> float:
    """Floating-point operations a second."""
    a = torch.randn(sizes.square, sizes.square, device=sizes.device)
    out = torch.empty_like(a)
    return 2 * sizes.square**3 / fastest(lambda: torch.mm(a, a, out=out), sizes)


def fastest(work: Callable[[], object], sizes: Sizes) -> float:
    """Median seconds of some work, warm."""
    spent = []
    for _ in range(8):
        synchronise(torch.device(sizes.device))
        started = time.perf_counter()
        work()
        synchronise(torch.device(sizes.device))
        spent.append(time.perf_counter() - started)
    return statistics.median(spent[3:])


def small_models(sizes: Sizes) -> Iterator[Row]:
    """Aim 7: thousands of small models in one program, against one at a time, JAX, and what the machine can do."""
    data = load_dataset("circles", Path(), {})
    for norm in ("none", "batch"):
        trial = mlp(sizes, norm)
        rivals.tutorial(replace(trial, steps=20), data, sizes.device)
        alone = rivals.tutorial(trial, data, sizes.device) / trial.steps
        ours = {m: per_step(prepared([replace(trial, seed=s % 10, lr=0.01 + s / 1e5) for s in range(m)], data)) / m
                for m in sizes.models}  # fmt: skip
        best = min(ours, key=ours.__getitem__)
        what = f"MLPs at batch 32, {norm}"
        yield "7", f"{what}: us per model-step, by size", "", ", ".join(f"{m}: {s * 1e6:.2f}" for m, s in ours.items())
        yield "7", f"{what}: against one at a time on the device", ">= 100", f"{alone / ours[best]:.0f} ({best})"
        bare = replace(trial, eval_every=10_000)  # as what follows, which doesn't evaluate
        step = per_step(prepared([replace(bare, seed=s % 10) for s in range(best)], data)) / best
        yield "7", f"{what}: us per model-step without evaluations", "", f"{step * 1e6:.2f} ({best})"
        yield "7", f"{what}: replayed against taken kernel by kernel", "", f"{taken(bare, data, best) / step:.2f}"
        floor = rivals.matrix_products(trial, data, best, 50, sizes.device) / 50 / best
        yield "7", f"{what}: against its matrix products alone", "", f"{step / floor:.2f}"
        yield "7", f"{what}: share of the roofline", "", f"{roofline(trial, data, sizes) / step:.3f}"
        yield (
            "7",
            f"{what}: times as fast as JAX jit(vmap(scan))",
            ">= 1",
            rivals.against_jax(bare, data, sizes.models, sizes.device, step),
        )


def taken(trial: Trial, data: Dataset, models: int) -> float:
    """Seconds of a model's step without replaying."""
    recorders = dict(cuda_graphs.CAPTURES)
    cuda_graphs.CAPTURES.clear()
    try:
        return per_step(prepared([replace(trial, seed=s % 10) for s in range(models)], data)) / models
    finally:
        cuda_graphs.CAPTURES.update(recorders)


def roofline(trial: Trial, data: Dataset, sizes: Sizes) -> float:
    """The least seconds of a model's step: its operations, or weights read and written and examples read."""
    layers = [m for m in build(trial, data.input_shape, data.classes, {}).modules() if isinstance(m, nn.Linear)]
    products = [2 * trial.batch_size * m.weight.numel() for m in layers]
    moved = 4 * (2 * sum(m.weight.numel() + m.out_features for m in layers) + trial.batch_size * layers[0].in_features)
    return max((3 * sum(products) - products[0]) / rate(sizes), moved / bandwidth(sizes))


def large_models(sizes: Sizes) -> Iterator[Row]:
    """One large model alone, against a loop by hand, on every way that it can take."""
    data = noise(sizes)
    ways = {"float32": {}, "TF32": {"tf32": True}, "bfloat16, channels last": {"precision": "bfloat16",
            "memory_format": "channels_last"}, "compiled": {"compile": True}}  # fmt: skip
    if sizes.device == "cpu":
        ways = {name: way for name, way in ways.items() if name not in ("TF32", "compiled")}
    for name in sizes.nets:
        for way, told in ways.items():
            if way == "compiled" and name != sizes.nets[0]:
                continue  # minutes, for nets that are deep
            trial = replace(net(sizes, name), **told)
            ours = per_step(prepared([trial], data))
            yield "7", f"{name}, {way}: ms per step at batch {sizes.batch}", "", f"{ours * 1e3:.2f}"
            yield "7", f"{name}, {way}: against a loop by hand", "<= 1.03", f"{ours / by_hand(trial, data):.3f}"
        yield "7", f"{name}, float32: share of a matrix product's rate", "", f"{share(sizes, name, data):.2f}"


def by_hand(trial: Trial, data: Dataset) -> float:
    """Seconds of a step in the loop that one would write for this net alone, its data on the device."""
    device, way = torch.device(trial.device), ComputeOptions.from_trial(trial)
    configure(trial, device)
    torch.use_deterministic_algorithms(False)  # nobody does by hand
    model = build(trial, data.input_shape, data.classes, {}).to(device)
    if way.channels_last:
        model = model.to(memory_format=torch.channels_last)
    run = torch.compile(model) if way.compile else model
    optimizer = torch.optim.SGD(model.parameters(), trial.lr, trial.momentum)
    x, y = (torch.from_numpy(arrays["train"]).to(device) for arrays in (data.x, data.y))
    began, started = max(1, trial.steps // 4), 0.0
    for step in range(trial.steps):
        if step == began:
            synchronise(device)
            started = time.perf_counter()
        low = step % (len(y) // trial.batch_size) * trial.batch_size
        if low == 0:
            order = torch.randperm(len(y), device=device)
        some = order[low : low + trial.batch_size]
        with torch.autocast(device.type, way.autocast, enabled=way.autocast is not None):
            out = run(way.to_memory_format(x[some]))
        loss = nn.functional.cross_entropy(out.float(), y[some])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    synchronise(device)
    return (time.perf_counter() - started) / (trial.steps - began)


def share(sizes: Sizes, name: str, data: Dataset) -> float:
    """Of the rate of a large matrix product, what a step reaches."""
    trial = net(sizes, name)
    model = build(trial, data.input_shape, data.classes, {}).eval()
    with FlopCounterMode(display=False) as counted:
        model(torch.from_numpy(data.x["train"][:1])).sum().backward()
    operations = counted.get_total_flops() * sizes.batch
    return operations / rate(sizes) / per_step(prepared([trial], data))


def norms(sizes: Sizes) -> Iterator[Row]:
    """What a step costs with a norm, against none."""
    data = noise(sizes)
    for name in sizes.nets:
        none = per_step(prepared([net(sizes, name, "none")], data))
        for norm in ("batch", "group", "layer"):
            cost = per_step(prepared([net(sizes, name, norm)], data))
            yield "7", f"{name}: a step with {norm} norm, against none", "", f"{cost / none:.2f}"


def synchronised(sizes: Sizes) -> Iterator[Row]:
    """What synchronising costs two ranks on one device, through gloo."""
    kinds = ["portable"] if sizes.device == "cpu" else ["native", "portable"]
    found = two_ranks(sizes, ["batch", *kinds])
    for kind in kinds:
        what = f"{sizes.nets[0]}: a step of 2 gloo ranks with sync_batch ({kind}), against batch"
        yield "7", what, "", f"{found[kind] / found['batch']:.2f}"


def two_ranks(sizes: Sizes, kinds: Sequence[str]) -> dict[str, float]:
    """Seconds of a step for each kind of batch norm, as the first of two ranks sees them."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        answers = context.SimpleQueue()
        ranks = [context.Process(target=_rank, args=(i, folder, sizes, kinds, answers)) for i in range(2)]
        for rank in ranks:
            rank.start()
        for rank in ranks:
            rank.join()
        if any(rank.exitcode for rank in ranks):
            raise RuntimeError("a rank failed")
        found: dict[str, float] = answers.get()
    return found


def _rank(number: int, folder: str, sizes: Sizes, kinds: Sequence[str], answers: Any) -> None:
    dist.init_process_group("gloo", store=dist.FileStore(f"{folder}/store", 2), rank=number, world_size=2)
    ranks, found = DistContext(rank=number, world_size=2, group=dist.group.WORLD, control=dist.group.WORLD), {}
    for kind in kinds:
        norm = {"norm": "batch"} if kind == "batch" else {"norm": "sync_batch", "sync_bn_impl": kind}
        trial = replace(net(sizes, sizes.nets[0]), world_size=2, **norm)
        found[kind] = per_step(prepared([trial], noise(sizes), ranks))
    if number == 0:
        answers.put(found)
    gc.collect()  # what communicates goes before the group that it goes through
    dist.destroy_process_group()


PARTS: dict[str, Callable[[Sizes], Iterator[Row]]] = {
    "checks": checks,
    "ceilings": ceilings,
    "small": small_models,
    "large": large_models,
    "norms": norms,
    "ranks": synchronised,
}
