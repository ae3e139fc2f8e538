"""What only torch can tell: the device, and whether trials of every shape can be trained at all."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from harness.data.datasets import Dataset
from harness.data.repeatable import label_notes, load_twice
from harness.data.settings import dataset_key
from harness.ensemble.backend_choice import (
    LARGE_MODEL_BYTES,
    REFERENCE,
    activation_bytes,
    find_mismatch,
    select_backend,
)
from harness.ensemble.backends import BACKENDS
from harness.ensemble.backends.compiled import missing_library
from harness.ensemble.device import check_compute_options, configure
from harness.ensemble.ensemble import fuse
from harness.ensemble.forward_checks import ForwardTraits, check_model, explained
from harness.ensemble.optim.checks import check_optimizers, check_own_optimizers, note_on_own
from harness.ensemble.optim.schedules import check_schedule
from harness.ensemble.precision import PRECISIONS
from harness.ensemble.same_models import check_arms
from harness.errors import NO_ERRORS, HarnessError, MachineError, SuiteError, lookup, name_is_taken
from harness.execution.cohort_size import (
    CACHE_SHARE,
    cache_bytes,
    max_size_on_device,
    step_time,
    timed,
    tune_cohort_size,
)
from harness.execution.containment.process_state import preserved, switches
from harness.execution.environment import fingerprint, machine
from harness.execution.messages import CohortEstimate, PreflightRequest, PreflightResult
from harness.execution.own_training.preflight import preflight_own
from harness.export.model_card import check_saving
from harness.nn.init import INITS
from harness.nn.models import MODELS, build, uses_own_modules
from harness.nn.module_state import to_precision
from harness.nn.norm_inputs import check_norm_inputs
from harness.nn.norms import NORMS, resolve_sync_bn_impl
from harness.nn.sequences.leakage import check_causal
from harness.probes import probes_of
from harness.spec.cohorts import Shape, shape
from harness.spec.loader import SuiteFile, check_late_imports, load_suite
from harness.spec.suite import Functions
from harness.spec.trial import Trial
from harness.tasks.checks import WANTED, check_objective, check_outputs, positions_and_outputs
from harness.training.augmentation import check_augment
from harness.training.decision_boundaries import save_for_report
from harness.training.state import (
    TrainState,
    eval_steps_of,
    init_state,
    probe_examples,
    probe_steps_of,
    steps_per_epoch,
    total_steps,
    trains_in_turn,
)

PROBE_STEPS = 4
MEMORY_MARGIN = 4  # on a GPU a model that keeps more than this many cohorts should trains alone


def preflight(request: PreflightRequest) -> PreflightResult:
    """Resolve the device and try a trial of each shape on a few examples; SuiteError or MachineError if that fails."""
    device = resolve_device(request.device)
    if device == "cuda":
        torch.cuda.set_device(int(request.device.partition(":")[2] or 0))
    if request.is_own:
        return preflight_own(request, device)
    suite = load_suite(request.suite)
    shapes: dict[Shape, list[Trial]] = {}
    for trial in suite.trials(device=device):
        assert isinstance(trial, Trial), "own training has a preflight of its own"
        shapes.setdefault(shape(trial), []).append(trial)
    for init in {trial.init for trials in shapes.values() for trial in trials}:
        lookup(INITS, init, "init")
    check_optimizers((trial for trials in shapes.values() for trial in trials), suite.suite.functions)
    keys = dict.fromkeys(dataset_key(trials[0]) for trials in shapes.values())
    datasets = {
        (name, settings): load_twice(name, suite.path.parent, suite.suite.functions, settings)
        for name, settings in keys
    }
    estimates: dict[Shape, CohortEstimate] = {}
    own_notes: dict[str, str] = {}  # optimizer -> what it costs
    for key, trials in shapes.items():
        with preserved():  # a model may change what the next one is built with
            dataset = datasets[dataset_key(trials[0])]
            estimates[key] = dry_run(trials[0], dataset, suite, request.workers)
            own_notes |= _try_own_optimizer(trials, dataset, suite)
    check_late_imports(suite)
    with preserved():
        all_trials = [trial for trials in shapes.values() for trial in trials]
        notes = check_arms(suite.suite.compare, all_trials, datasets, suite.suite.functions)
    for (_, settings), dataset in datasets.items():
        save_for_report(dataset, request.data_dir, standardize=settings.standardize)
    for key, trials in shapes.items():
        estimate, dataset = estimates[key], datasets[dataset_key(trials[0])]
        if device == "cuda" and request.tune_sizes:
            estimate = replace(estimate, max_cohort_size=tuned_size(trials, estimate, suite, dataset))
        if request.measure:
            cohort = trials[: estimate.max_cohort_size]
            estimate = replace(estimate, seconds=_measure(cohort, dataset, suite) / len(cohort))
        estimates[key] = estimate
    return PreflightResult(
        device=device,
        fingerprint=fingerprint(torch.device(device)),
        machine=machine(torch.device(device)),
        estimates=estimates,
        notes=(*notes, *own_notes.values(), *label_notes(datasets.values())),
    )


def resolve_device(name: str) -> str:
    """The device that the name stands for; "auto" is the best there is. MachineError where this machine lacks it."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    device_type, _, index = name.partition(":")
    counts = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if device_type not in counts or (index and not index.isdigit()):
        raise SuiteError(f"unknown device {name!r}; choose from: auto, {', '.join(counts)}, cuda:0, cuda:1, ...")
    count = counts[device_type]
    if int(index or 0) >= count:
        raise MachineError(f"device {name!r} is not on this machine (it has {count or 'none'}); try --device auto")
    return device_type  # of several GPUs, no trial depends on which it had


def dry_run(trial: Trial, dataset: Dataset, suite: SuiteFile, workers: int) -> CohortEstimate:
    """Build one model and pass a few examples through it, as in training."""
    functions = suite.suite.functions
    _check_before_building(trial, dataset, functions)
    one_process = replace(trial, world_size=1) if trial.world_size > 1 else trial
    subject = f"model {trial.model!r} with norm {trial.norm!r}"
    examples = probe_examples(trial, dataset)

    def make(seed: int) -> nn.Module:
        trial = replace(one_process, seed=seed)
        model = build(trial, dataset.input_shape, dataset.outputs, functions, dataset.vocabulary)
        return to_precision(model, lookup(PRECISIONS, trial.precision, "precision").dtype)

    try:
        model = make(trial.seed)
        check_norm_inputs(model, trial.model, examples)
        if dataset.next_token and dataset.vocabulary is not None:
            check_causal(model, trial.model, examples, dataset.vocabulary)
        check_compute_options(trial, model)
        is_own, is_spoiler, traits = uses_own_modules(trial, functions), False, ForwardTraits()
        if is_own:
            traits, is_spoiler = _traits(make, trial, examples, dataset)
        backend, reason = _backend_for(model, trial, dataset, traits)
        if is_own and not is_spoiler and backend == REFERENCE:
            mismatch = find_mismatch([model], dataset.input_shape, backend, examples, draws=traits.draws)
            if mismatch:
                raise SuiteError(f"{subject} would not train as torch trains it by itself: {mismatch}")
        ensemble = fuse([model], dataset.input_shape, torch.device("cpu"), backend, draws=traits.draws)
        ensemble.count_batches(0)
        check_outputs(trial, dataset, ensemble(examples[:2], shared=True))
        kept = activation_bytes(ensemble, dataset.input_shape, trial.batch_size)
        if suite.suite.save_models and is_own:
            check_saving(one_process, dataset.input_shape, dataset.outputs, functions, dataset.vocabulary)
        library_note = missing_library(model, dataset.input_shape) if trial.device == "cpu" else ""
    except (HarnessError, *NO_ERRORS):
        raise
    except BaseException as error:  # a model of the suite's own may raise anything
        raise SuiteError(f"{subject} can't be trained: {explained(error)}") from error
    work = float(kept * total_steps(trial, dataset))
    if trial.world_size > 1:
        resolve_sync_bn_impl(trial)  # raises where it can't be had
        return CohortEstimate(max_cohort_size=1, work=work)
    is_alone = backend == "loop" and trains_in_turn(trial)  # compiled code shares a cohort out over the threads
    max_size = trial.max_cohort_size or (
        1 if is_alone else max_size_on_device(ensemble, dataset, kept, trial.device, workers)
    )
    return CohortEstimate(
        max_cohort_size=1 if traits.trains_alone else max_size,
        work=work,
        note=f"{subject} {BACKENDS[backend].note}, which is slower and no fault of it: {reason}"
        if reason
        else library_note,
        runs_in_turn=trial.device == "cpu" and BACKENDS[backend].runs_in_turn,
    )


def _check_before_building(trial: Trial, dataset: Dataset, functions: Functions) -> None:
    """SuiteError where something is wrong that needs no model to be seen."""
    check_settings(trial)
    check_objective(trial, dataset, functions)
    check_augment(trial, dataset.input_shape)
    steps_per_epoch(trial, dataset)
    check_schedule(trial, total_steps(trial, dataset), functions)
    if trial.model in functions and trial.model.partition("-")[0] in MODELS:
        raise name_is_taken("a model", trial.model)
    if trial.norm in functions and trial.norm in NORMS:
        raise name_is_taken("a norm", trial.norm)


def _try_own_optimizer(trials: Sequence[Trial], dataset: Dataset, suite: SuiteFile) -> dict[str, str]:
    """The name of these trials' optimizer, where it is the suite's own, and what it costs; SuiteError if it fails."""
    trial, functions = trials[0], suite.suite.functions
    if trial.optimizer not in functions:
        return {}
    one_process = replace(trial, world_size=1)
    model = build(one_process, dataset.input_shape, dataset.outputs, functions, dataset.vocabulary)
    model = to_precision(model, lookup(PRECISIONS, trial.precision, "precision").dtype)
    check_own_optimizers(model, trials, functions)
    return {trial.optimizer: note_on_own(model, trial, functions)}


def _traits(
    make: Callable[[int], nn.Module], trial: Trial, examples: Tensor, dataset: Dataset
) -> tuple[ForwardTraits, bool]:
    """What has to be known of a model of the suite's own, and whether it spoils the process that it runs in.

    How one fares that turns gradients off for all that follows is the result of its own trials.
    """
    before = switches()
    with preserved():
        try:
            outputs, wanted = positions_and_outputs(dataset), WANTED[trial.task]
            return check_model(make, trial.seed, examples, outputs, trial.model, wanted), False
        except NO_ERRORS:
            raise
        except BaseException:
            if switches() == before:
                raise
    return ForwardTraits(trains_alone=True), True


def tuned_size(trials: Sequence[Trial], estimate: CohortEstimate, suite: SuiteFile, dataset: Dataset) -> int:
    """How many of these models gain from training together on the GPU, of those that it has memory for."""
    max_size = min(estimate.max_cohort_size, len(trials))
    if trials[0].max_cohort_size or max_size == 1:
        return estimate.max_cohort_size
    configure(trials[0], torch.device("cuda"))

    def init(some: Sequence[Trial]) -> TrainState:
        return init_state(some, dataset, torch.device("cuda"), suite.suite.functions)

    return tune_cohort_size(max_size, lambda size: step_time(trials[:size], init))


def _backend_for(model: nn.Module, trial: Trial, dataset: Dataset, traits: ForwardTraits) -> tuple[str, str]:
    """How models of this shape train together, and why so where it is slow; a large one trains alone.

    Whether such a model could be stacked is not looked for: that takes half a minute for a resnet-110.
    """
    if traits.draws:
        return REFERENCE, "its forward draws random numbers, and each model draws its own"
    inputs = dataset.input_shape
    lone = fuse([model], inputs, torch.device("cpu"), REFERENCE)
    limit = MEMORY_MARGIN * cache_bytes() // CACHE_SHARE if trial.device == "cuda" else LARGE_MODEL_BYTES
    is_large = not trial.max_cohort_size and activation_bytes(lone, inputs, trial.batch_size) > limit
    in_turn = is_large or trains_in_turn(trial)
    device, examples = torch.device(trial.device), probe_examples(trial, dataset)
    backend, reason = select_backend([model], inputs, device, examples, in_turn=in_turn)
    if backend == REFERENCE and trains_in_turn(trial):
        reason = f"with threads={trial.threads} a stack's bits would depend on its size; threads=1 trains faster"
    return backend, "" if is_large else reason


def check_settings(trial: Trial) -> None:
    """SuiteError or MachineError where a setting is unknown, or can't be had with the others or on this machine."""
    probes_of(trial.probes)
    precision = lookup(PRECISIONS, trial.precision, "precision")
    if resolve_device(trial.device) != trial.device:
        raise SuiteError(f"a trial trains on any GPU: write device='cuda' for {trial.device!r}, and choose by --device")
    if trial.device == "mps" and precision.dtype is torch.float64:
        raise MachineError("precision 'float64' is not on device 'mps'; use the cpu, or float32")
    if trial.world_size > 1 and trial.max_cohort_size not in (None, 1):
        raise SuiteError(
            f"max_cohort_size={trial.max_cohort_size}: a trial on {trial.world_size} ranks trains by itself"
        )


def _measure(trials: Sequence[Trial], dataset: Dataset, suite: SuiteFile) -> float:
    """A guess at the seconds that a cohort takes, from a few of its steps, which are thrown away."""
    trial = trials[0]
    if trial.world_size > 1:  # as long, at most, as it would take on one rank
        trials = [replace(trial, world_size=1)]
    state = init_state(trials, dataset, torch.device(trial.device), suite.suite.functions)
    seconds: dict[str, list[float]] = {"train": [], "eval": [], "probe": []}
    for elapsed, work in timed(state, PROBE_STEPS):
        seconds[work].append(elapsed)
    steps = total_steps(trial, dataset)
    counts = {"train": steps, "eval": len(eval_steps_of(trial, steps)), "probe": len(probe_steps_of(trial, steps))}
    return sum(min(seconds[work]) * count for work, count in counts.items() if count)
