"""The options of a run, and its plan: which trials must train, in which cohorts."""

from collections.abc import Container, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path

from harness.execution.cores import usable_cores
from harness.execution.messages import CohortEstimate, PreflightRequest
from harness.spec.cohorts import Cohort, Shape, longest_first, make_cohorts, shape
from harness.spec.loader import SuiteFile
from harness.spec.manifest import Manifest
from harness.spec.measured import measured_by
from harness.spec.own_training.own_trial import AnyTrial
from harness.spec.selection import Selection, Shard, roundings, select
from harness.storage.models import find_damaged_models
from harness.storage.records import CHECKPOINT_KINDS, NO_RESULT, TRAINED, ResultsDir
from harness.storage.tables import read_outcomes

JOINED_WORKERS = 16  # for which cohorts are cut at least where runs join: how many there will be, the first can't know
COHORTS_PER_WORKER = 4  # at least, where that makes them no slower: short ones at the end keep all workers busy


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How to run a suite. What its trials are, the suite says."""

    results: Path = Path("results")
    only: Selection = field(default_factory=dict)  # the values that an axis may have, as typed; all trials where empty
    shard: Shard | None = None  # one part of these
    device: str = "auto"
    executor: str = "local"
    workers: int | None = None  # None: one for each core, or one for each GPU
    retry: frozenset[str] = frozenset()  # statuses without a result that are trained again
    fresh: bool = False  # archive earlier results and train everything again
    join: bool = False  # work beside others in the same folder
    command: str = ""  # what was typed, to be looked up in last_run.json
    any_machine: bool = False  # join though bits may differ from those of the machine that the suite was started on
    with_page: bool = True  # keep one up to date while the run lasts
    with_report: bool = True  # write it at the end
    max_seeds: int | None = None  # that claims without a word may get, where a run goes on until they are decided


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """Which trials of a suite must train, and in which cohorts."""

    trials: list[AnyTrial]  # of the whole suite
    selected: list[AnyTrial]
    cohorts: list[Cohort]  # of the whole suite
    pending: list[Cohort]  # those that must train
    missing: frozenset[str]  # keys of selected trials without a result: on a CPU these are what trains
    results: int  # trials of the suite that have been trained
    ended: int  # likewise, or came to their end without a result
    damaged: list[str]  # what is wrong with records and models that can't be read

    def seconds(self, estimates: Mapping[Shape, CohortEstimate], workers: int) -> float:
        """When the last of the workers is done, each taking the next cohort as it gets free."""
        ends = [0.0] * workers
        for cohort in longest_first(self.pending, {key: estimate.work for key, estimate in estimates.items()}):
            ends[ends.index(min(ends))] += estimates[shape(cohort.trials[0])].seconds * len(cohort.trials)
        return max(ends)

    @property
    def ranks_words(self) -> str:
        """That steps on several ranks take longer than those that were tried; empty where none are to come."""
        sizes = [trial.world_size for cohort in self.pending for trial in cohort.models if trial.world_size > 1]
        if not sizes:
            return ""
        ranks = " or ".join(map(str, sorted(set(sizes))))
        return f" in one process (on {ranks} ranks, as {len(sizes)} trials train, small models take many times as long)"


def require_selection(suite: SuiteFile, only: Selection) -> None:
    """EmptySelection where no trial can match, on whatever device the suite trains."""
    select(suite.trials(device="cpu"), {axis: values for axis, values in only.items() if axis not in ("device", "key")})


def known_device(device: str, earlier: Manifest | None) -> str | None:
    """The device that trials name, where it is known without a preflight: with "auto", that of earlier runs."""
    if device == "cpu":
        return "cpu"
    return earlier.device if earlier and device == "auto" else None


def find_work(
    suite: SuiteFile,
    results_dir: ResultsDir,
    device: str,
    options: RunOptions,
    earlier: Manifest | None,
    estimates: Mapping[Shape, CohortEstimate] | None = None,
) -> RunPlan:
    """Compare the suite with its records. Cohorts that no earlier run has made are as large as `estimates` allow."""
    trials = list(suite.trials(device=device))
    selected = select(trials, options.only, options.shard)
    of_suite = measured_by(trials, suite.suite.aim)
    outcomes, damaged = read_outcomes(results_dir, [trial.key for trial in trials], of_suite)
    damaged_models = find_damaged_models(results_dir) if suite.suite.save_models else {}
    keys = frozenset(trial.key for trial in selected)
    missing = keys - find_ended(suite, results_dir, outcomes, options, damaged_models)
    damaged += [error for name, error in damaged_models.items() if name.partition(".")[0] in keys]
    workers = max(options.workers or usable_cores(), JOINED_WORKERS if options.join else 1)
    max_size = max_cohort_sizes(trials, estimates or {}, workers)
    cohorts = make_cohorts(trials, earlier.cohorts if earlier else (), max_size)
    return RunPlan(
        trials=trials,
        selected=selected,
        cohorts=cohorts,
        pending=[part for cohort in cohorts if (part := trials_to_train(cohort, missing, results_dir)).trials],
        missing=missing,
        results=sum(outcome == TRAINED for outcome in outcomes.values()),
        ended=len(outcomes),
        damaged=[str(error) for error in damaged],
    )


def find_ended(
    suite: SuiteFile,
    results_dir: ResultsDir,
    outcomes: Mapping[str, str],
    options: RunOptions,
    damaged_models: Container[str] = (),
) -> set[str]:
    """The trials that need not be trained, of those with these outcomes; `damaged_models` are names of files."""
    to_repeat = {*options.retry, "skipped"}
    return {
        key
        for key, outcome in outcomes.items()
        if outcome not in to_repeat and _has_models(suite, results_dir, key, outcome, damaged_models)
    }


def max_cohort_sizes(
    trials: Sequence[AnyTrial], estimates: Mapping[Shape, CohortEstimate], workers: int
) -> dict[Shape, int]:
    """The largest cohort of each shape: where its models train in turn, a fair share of the work for every worker."""
    work = sum(estimates[shape(trial)].work for trial in trials if shape(trial) in estimates)
    share = work / workers / COHORTS_PER_WORKER
    return {
        key: min(estimate.max_cohort_size, max(1, int(share / estimate.work)))
        if estimate.runs_in_turn
        else estimate.max_cohort_size
        for key, estimate in estimates.items()
    }


def trials_to_train(cohort: Cohort, missing: Set[str], results_dir: ResultsDir) -> Cohort:
    """What must train of a cohort: on a CPU the trials that are missing, for no model's bits depend on the others.

    On a GPU they do, so there the whole trains; and wherever it has a snapshot, which is of the whole.
    """
    part = Cohort(tuple(trial for trial in cohort.trials if trial.key in missing))
    is_on_cpu = cohort.trials[0].device == "cpu"
    if not part.trials or (is_on_cpu and not any(results_dir.checkpoints.glob(f"{cohort.id}.*"))):
        return part
    return cohort


def _has_models(suite: SuiteFile, results_dir: ResultsDir, key: str, outcome: str, damaged: Container[str]) -> bool:
    """Whether the models that the suite asks for are kept, and whole, of a trial that has ended."""
    if not suite.suite.save_models or outcome in NO_RESULT:
        return True
    paths = [results_dir.model(key, which) for which in CHECKPOINT_KINDS]
    return all(path.name not in damaged and path.is_file() for path in paths)


def selection_notes(plan: RunPlan, options: RunOptions) -> Iterator[str]:
    """What a selection selects, and why more than that trains where it does."""
    yield from roundings(plan.trials, options.only)
    rules = [f"--only {axis}={','.join(sorted(lists))}" for axis, lists in options.only.items()]
    rules += [f"--shard {options.shard[0]}/{options.shard[1]}"] if options.shard else []
    if not rules:
        return
    n_trained = sum(len(cohort.trials) for cohort in plan.pending)
    text = f"{' '.join(rules)} selects {len(plan.selected)} of {len(plan.trials)} trials"
    if n_trained == len(plan.missing):
        yield text
        return
    on_cpu = all(cohort.trials[0].device == "cpu" for cohort in plan.pending)
    reason = (
        "earlier runs have saved whole cohorts on their way, and these go on from there"
        if on_cpu
        else "off a CPU a cohort trains as a whole: the bits of a trial depend on the others"
    )
    yield f"{text}, {n_trained} train where {len(plan.missing)} have no result, because {reason}"


def preflight_request(
    suite: SuiteFile, results_dir: ResultsDir, options: RunOptions, earlier: Manifest | None, plan: RunPlan | None
) -> PreflightRequest:
    """What to find out before cohorts can be made; `plan` is what is known without it."""
    return PreflightRequest(
        suite=suite.path.resolve(),
        device=known_device(options.device, earlier) or options.device,
        data_dir=results_dir.root.resolve() / "data",
        tune_sizes=plan is None or has_unassigned(plan, earlier),
        workers=options.workers or 1,
        is_own=suite.suite.is_own,
    )


def has_unassigned(plan: RunPlan, earlier: Manifest | None) -> bool:
    """Whether there are trials that no earlier run has put into a cohort."""
    assigned = {key for cohort in (earlier.cohorts if earlier else ()) for key in cohort}
    return not assigned.issuperset(trial.key for trial in plan.trials)
