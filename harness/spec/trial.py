"""A trial: one model trained once, named by its content."""

import hashlib
import json
import math
import sys
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from fractions import Fraction
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

from harness.errors import SuiteError, nearest
from harness.spec.metric import TASK_METRICS
from harness.spec.optimizer_args import canonical_args

Value = str | int | float | bool | None
BATCH_NORMS = ("batch", "ws_batch", "sync_batch", "ghost_batch", "batch_renorm")  # their statistics are of a batch
PLAIN_TYPES = (str, int, float, bool, type(None))
JOIN = "+"  # between the names of probes, and of metrics
JOINED = ("probes", "metrics")  # fields that are lists of names: all are taken of a trial
FLOAT32_BYTES = 4  # numpy has no smaller float of torch's but one


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One model trained once: a single point of a suite's grid.

    Every field is an axis: a suite may give it a list of values. Fields that are left at their default don't enter the
    key, so that an axis added later doesn't rename the trials of today; a default, once published, never changes.
    """

    dataset: str
    context: int = 64  # characters of a text that make an example
    target_column: str = ""  # of a table, what is to be predicted
    standardize: bool = False  # whether each feature is less its mean over its deviation, of the training examples
    model: str
    task: str = "classification"  # or "regression", "multilabel", "sequence": what the targets are
    loss: str = ""  # a function of the suite's own; "" for that of the task
    metrics: str = ""  # names of the suite's own metrics besides those of the task, joined by "+"
    activation: str = "relu"
    norm: str = "none"
    norm_eps: float = 1e-5
    norm_momentum: float | str = 0.1  # share of the newest batch in the running statistics, or "cumulative"
    norm_affine: bool = True
    norm_track_running_stats: bool = True
    norm_groups: int = 8  # of group norm
    norm_batch: int | None = None  # examples that share statistics: chosen for ghost_batch, recorded for the others
    renorm_rmax: float = 3.0  # of batch_renorm: the most that deviations of batches are corrected by, as a factor
    renorm_dmax: float = 5.0  # the same of means, in running deviations
    renorm_warmup: int = 0  # batches of plain batch norm; the limits are reached after 8 and 5 times as many
    norm_position: str = "pre"  # in transformers: before each residual branch, or "post", after what it is added to
    qk_norm: bool = False  # whether attention normalises queries and keys, by a layer norm over each head's channels
    causal: bool = False  # whether attention looks at no later position
    lr: float
    batch_size: int  # examples per step, summed over all ranks
    accumulation_steps: int = 1  # parts of a batch that go through the model one after the other, before one update
    seed: int = 0
    init: str = "default"
    init_scale: float = 1.0  # the deviation of init "normal", a factor on the weights of every other init
    optimizer: str = "sgd"
    optimizer_args: str = ""  # what else the optimizer is given, in the one form of spec/optimizer_args.py
    momentum: float = 0.0  # of SGD and RMSprop; nothing to do with norm_momentum
    nesterov: bool = False
    weight_decay: float = 0.0
    decay_norms: bool = True  # whether it reaches the scale and shift of norm layers; all other weights it always does
    max_grad_norm: float | None = None  # the most that the norm of a model's whole gradient may be
    adaptive_clip: float | None = None  # the most that a gradient may be as a share of its weights, unit by unit
    schedule: str = "constant"
    warmup_steps: int = 0
    decay_every: int | None = None  # steps in which schedule "step" or "exponential" multiplies lr
    decay_factor: float = 0.1  # by this
    steps: int | None = None  # parameter updates; a suite gives either steps or epochs
    epochs: int | None = None
    precision: str = "float32"  # or "float64"; or "bfloat16": what torch.autocast does of float32 in it
    tf32: bool = False  # whether CUDA may round what it multiplies to TensorFloat32
    memory_format: str = "contiguous"  # of images and convolutions; or "channels_last"
    compile: bool = False  # whether forward and backward passes go through torch.compile
    augment: str = "none"  # of training images: "flip", "crop", "flip+crop"
    label_noise: float = 0.0  # share of training labels that are wrong
    eval_every: int | None = None  # steps; a twentieth of the budget unless told
    eval_statistics: str = "running"  # that batch norms use in evaluation: "running", "batch" or "recalibrated"
    probes: str = ""  # names of measurements, joined by "+"
    probe_every: int | None = None  # steps; with every evaluation unless told
    device: str = "auto"
    world_size: int = 1
    ddp_eval_buffers: str = (
        "rank0"  # whose running statistics are evaluated where each rank has its own, or their "mean"
    )
    sync_bn_impl: str = "auto"  # sync_batch by torch's own layer ("native", CUDA alone) or by ours ("portable")
    threads: int = 1  # of the process that trains it; bits depend on it
    max_cohort_size: int | None = None  # models that train as one program at most, where fusing itself is the question
    source: str = ""  # digest of the code or data file that the suite brings itself

    def __post_init__(self) -> None:
        for name, value in zip(Trial.__slots__, map(self.__getattribute__, Trial.__slots__), strict=True):
            object.__setattr__(self, name, canonical(name, value))
        for name, (holds, must) in RULES.items():
            value = getattr(self, name)
            if value is not None and not holds(value):
                raise SuiteError(f"{name} must {must}, got {value!r}")
        self._check_combinations()

    def _check_combinations(self) -> None:
        if (self.steps is None) == (self.epochs is None):
            raise SuiteError(f"give either steps or epochs, got steps={self.steps} and epochs={self.epochs}")
        if self.nesterov and not self.momentum:
            raise SuiteError("nesterov=True needs momentum > 0, got momentum=0.0")
        if self.schedule == "step" and self.decay_every is None:
            raise SuiteError("schedule 'step' needs decay_every (steps between two decays), got None")
        if self.probe_every is not None and not self.probes:
            raise SuiteError(f"probe_every={self.probe_every} needs probes, such as probes=['gradients'], got none")
        if self.label_noise and self.task != "classification":
            raise SuiteError(f"label_noise is of task 'classification', got {self.label_noise} in {self.task!r}")
        if self.eval_statistics == "recalibrated" and not self.norm_track_running_stats:
            raise SuiteError("eval_statistics 'recalibrated' needs norm_track_running_stats=True, got False")
        if self.norm == "batch_renorm" and not self.norm_track_running_stats:
            raise SuiteError(
                "norm 'batch_renorm' corrects by running statistics: norm_track_running_stats must be True"
            )
        self._check_batches()

    def _check_batches(self) -> None:
        parts, ranks = self.accumulation_steps, self.world_size
        if self.batch_size < parts * ranks:
            raise SuiteError(
                f"batch_size must be at least accumulation_steps times world_size, so that every rank has an example "
                f"in each part of it, got {self.batch_size} for {parts} times {ranks}"
            )
        if self.norm_batch is not None and self.norm != "ghost_batch":
            raise SuiteError(f"norm_batch is chosen for ghost_batch and follows for norm {self.norm!r}; leave it out")
        if self.norm not in BATCH_NORMS:
            return
        if self.batch_size % (parts if self.norm == "sync_batch" else parts * ranks):
            raise SuiteError(
                f"norm {self.norm!r} needs equal batches in all parts and on all ranks: batch_size must be a multiple "
                f"of accumulation_steps times world_size, got {self.batch_size} for {parts} times {ranks}"
            )
        examples_together = self.batch_size // parts // (1 if self.norm == "sync_batch" else ranks)
        if not 2 <= (self.statistics_batch or 0) <= examples_together:
            raise SuiteError(
                f"{self.norm} norm can't train on norm_batch {self.statistics_batch}: it needs at least 2 examples, "
                f"and at most the {examples_together} that stand together at batch_size {self.batch_size}"
            )
        if self.probes and examples_together < self.batch_size and self.norm == "batch_renorm":
            raise SuiteError("probes of batch_renorm look at one batch at a time: leave out accumulation and ranks")
        if self.probes and examples_together < self.batch_size and examples_together % (self.statistics_batch or 1):
            raise SuiteError(
                f"probes look at one batch in equal groups: in parts or on several ranks norm_batch must divide the "
                f"{examples_together} examples that stand together, got {self.norm_batch}"
            )

    @property
    def statistics_batch(self) -> int | None:
        """How many examples share normalisation statistics; None where a norm looks at each example by itself.

        Those of one rank for batch, of all ranks for sync_batch, of a group for ghost_batch.
        """
        if self.norm not in BATCH_NORMS:
            return None
        examples_together = self.batch_size // self.accumulation_steps
        return self.norm_batch or (
            examples_together if self.norm == "sync_batch" else examples_together // self.world_size
        )

    @property
    def content(self) -> dict[str, Value]:
        """The fields that differ from their default."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) != f.default}

    @property
    def key(self) -> str:
        """Name this trial by its content: equal trials share a key on every machine."""
        return _key(self)


@cache
def _key(trial: Trial) -> str:
    return key_of(trial.content)


def key_of(content: Mapping[str, Value]) -> str:
    """The name of a trial with this content."""
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


Rule = tuple[Callable[[Any], bool], str]  # what a value must satisfy, in code and in words

_POSITIVE: Rule = (lambda value: 0 < value < math.inf, "be positive and finite")
_NOT_NEGATIVE: Rule = (lambda value: 0 <= value < math.inf, "be zero or more, and finite")
_COUNT: Rule = (lambda value: 1 <= value < 2**31, "be at least 1, and less than 2**31")

RULES: dict[str, Rule] = {
    "context": _COUNT,
    "task": (lambda value: value in TASK_METRICS, f"be one of {', '.join(TASK_METRICS)}"),
    "lr": _POSITIVE,
    "batch_size": _COUNT,
    "seed": (lambda value: 0 <= value < 2**63, "be zero or more, and less than 2**63"),
    "norm_eps": _POSITIVE,
    "norm_momentum": (
        lambda value: value == "cumulative" if isinstance(value, str) else 0 <= value <= 1,
        "lie in 0..1, or be 'cumulative'",
    ),
    "norm_groups": _COUNT,
    "renorm_rmax": (lambda value: 1 <= value < math.inf, "be at least 1, and finite"),
    "renorm_dmax": _NOT_NEGATIVE,
    "renorm_warmup": (lambda value: 0 <= value < 2**31, "be zero or more, and less than 2**31"),
    "norm_batch": _COUNT,
    "norm_position": (lambda value: value in ("pre", "post"), "be 'pre' or 'post'"),
    "accumulation_steps": _COUNT,
    "ddp_eval_buffers": (lambda value: value in ("rank0", "mean"), "be 'rank0' or 'mean'"),
    "sync_bn_impl": (lambda value: value in ("auto", "native", "portable"), "be 'auto', 'native' or 'portable'"),
    "init_scale": _POSITIVE,
    "memory_format": (
        lambda value: value in ("contiguous", "channels_last"),
        "be 'contiguous' or 'channels_last'",
    ),
    "momentum": (lambda value: 0 <= value < 1, "lie in 0..1, without 1"),
    "weight_decay": _NOT_NEGATIVE,
    "max_grad_norm": _POSITIVE,
    "adaptive_clip": _POSITIVE,
    "warmup_steps": (lambda value: 0 <= value < 2**31, "be zero or more, and less than 2**31"),
    "decay_every": _COUNT,
    "decay_factor": _POSITIVE,
    "steps": _COUNT,
    "epochs": _COUNT,
    "label_noise": (lambda value: 0 <= value <= 1, "lie in 0..1"),
    "eval_every": _COUNT,
    "eval_statistics": (
        lambda value: value in ("running", "batch", "recalibrated"),
        "be 'running', 'batch' or 'recalibrated'",
    ),
    "probe_every": _COUNT,
    "world_size": _COUNT,
    "threads": _COUNT,
    "max_cohort_size": _COUNT,
}


@cache
def axis_types() -> dict[str, tuple[type, ...]]:
    """Tell for every axis which types its values may have."""
    hints = get_type_hints(Trial)
    unions = (Union, types.UnionType)
    return {f.name: get_args(h) if get_origin(h := hints[f.name]) in unions else (h,) for f in fields(Trial)}


def require_field(axis: str) -> None:
    """SuiteError where a trial has no such field."""
    if axis not in axis_types():
        raise SuiteError(f"unknown field {axis!r}; {nearest(axis, axis_types())}")


def canonical(axis: str, value: Any) -> Value:
    """Bring a value into the one form that its axis knows: 1e-3 is 0.001, and True is not 1."""
    require_field(axis)
    if axis == "optimizer_args":
        return canonical_args(value, as_python)
    allowed = axis_types()[axis]
    if type(value) not in PLAIN_TYPES:
        value = as_python(value)
    if float in allowed and type(value) in (int, float) and not abs(value) > sys.float_info.max:
        return float(value) + 0.0  # -0.0 equals 0.0, so it is 0.0
    if type(value) in allowed:
        return join_names(value) if axis in JOINED else value
    names = " or ".join("None" if t is type(None) else t.__name__ for t in allowed)
    raise SuiteError(f"{axis} must be {names}, got {value!r} ({type(value).__name__})")


def as_python(value: Any) -> Any:
    """A number of numpy, torch or the standard library as a plain one: what it prints as, so float32 0.1 is 0.1."""
    module = type(value).__module__
    if module == "torch" and getattr(value, "ndim", None) == 0:
        value = value.detach().cpu().numpy() if value.dtype.itemsize >= FLOAT32_BYTES else value.item()
        module = type(value).__module__
    if module == "numpy" and getattr(value, "size", 0) == 1:
        return float(str(value.reshape(())[()])) if value.dtype.kind == "f" else value.item()
    if isinstance(value, Fraction | Decimal):
        return float(value)
    return value


def join_names(names: str | Iterable[str]) -> str:
    """A list of probes or metrics as the one value that a trial has for it: each once, sorted, joined by "+"."""
    return JOIN.join(sorted({name for name in (split_names(names) if isinstance(names, str) else names) if name}))


def split_names(joined: str) -> list[str]:
    """The names that a trial has as one value."""
    return joined.split(JOIN) if joined else []
