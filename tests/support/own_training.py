"""Small suites of own training, and single trials of them, run in this process."""

from pathlib import Path

from harness.execution.messages import Progress, TrainRequest
from harness.execution.own_training.trial_run import run_trial
from harness.spec.cohorts import Cohort
from harness.spec.limits import Limits
from harness.spec.loader import load_suite
from harness.storage.records import Record, ResultsDir, read_record

# Draws from generators that nobody has passed to it, and saves every other step.
WALK = '''"""Where does a walk end?"""
import random, sys
from harness import Claim, Metric, Suite

def walk(trial, log, checkpoint):
    step, place = checkpoint.load() or (0, 0.0)
    while step < trial.steps:
        if step == trial.steps // 2 and trial.fails:
            exec(trial.fails)
        place += trial.stride * random.random()
        step += 1
        log(step, place=place)
        if step % 2 == 0:
            checkpoint.save((step, place))
    return {"end": place, "torch": int("torch" in sys.modules)}

suite = Suite(train=walk, stride=[1, 0.5], steps=7, fails="", seed=range(2), outcomes={
    "end": Metric(higher_is_better=True, unit="m", low=0), "torch": Metric(higher_is_better=False)},
    claims=[Claim.more(1.0, than=0.5, metric="log.place")])
'''

# So slow that it can be killed on its way, and so short that all of it is over soon.
SLOW = (
    WALK.replace("import random, sys", "import random, sys, time")
    .replace("        step += 1\n", "        step += 1\n        time.sleep(0.03)\n")
    .replace("steps=7", "steps=20")
)


def failing_once(folder: Path) -> str:
    """The walk, which raises half-way when it is run for the first time."""
    file = str(folder / "seen")
    fails = f"import os\nif not os.path.exists({file!r}): open({file!r}, 'w').close(); raise ValueError('half-way')"
    return WALK.replace('fails=""', f"fails={fails!r}").replace("steps=7", "steps=13")


def returning(body: str, **keywords: str) -> str:
    """A suite whose function does this."""
    lines = "".join(f", {name}={value}" for name, value in keywords.items())
    return (
        f'"""Is it refused?"""\nfrom harness import Metric, Suite\n\ndef fit(trial, log, checkpoint):\n    {body}\n\n'
        f"suite = Suite(train=fit, outcomes={{'acc': Metric(higher_is_better=True, low=0, high=1)}}{lines})\n"
    )


def request_for(folder: Path, text: str, **limits: float) -> TrainRequest:
    """The first trial of a suite with this text."""
    (folder / "own.py").write_text(text, "utf-8")
    suite = load_suite(folder / "own.py")
    first = next(suite.trials(device="cpu"))
    return TrainRequest(
        suite=suite.path, cohort=Cohort((first,)), root=folder / "results", telemetry={}, limits=Limits(**limits)
    )


def run(request: TrainRequest, **how) -> tuple[object, list[str], Record | None]:
    """The answer, the notes before it, and the record where there is one."""
    *others, answer = run_trial(request, **{"stop": lambda: False, **how})
    notes = [message.note for message in others if isinstance(message, Progress) and message.note]
    path = ResultsDir(request.root).record(request.cohort.trials[0].key)
    return answer, notes, read_record(path) if path.exists() else None
