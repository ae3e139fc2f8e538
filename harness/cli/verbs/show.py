"""`show`: one trial, with the command that replays it."""

import argparse
from dataclasses import MISSING, fields
from typing import Any

from harness.analysis.looking.words import added_seed_words
from harness.cli.console import Console
from harness.cli.find_record import find_record
from harness.cli.hints import command
from harness.cli.trial_tables import curves_table, pairs_table, probes_table
from harness.spec.manifest import Manifest
from harness.spec.measured import SPLITS
from harness.spec.own_training.own_trial import TRAIN, OwnTrial
from harness.spec.trial import Trial
from harness.storage.records import TRAINED, Record, ResultsDir, failure, read_manifest, read_record
from harness.text import printable


def show(options: argparse.Namespace) -> int:
    """Print all that is known of a trial; the exit code."""
    path = find_record(options.results, options.trial)
    record, results_dir = read_record(path), ResultsDir(path.parent.parent)
    outcome = failure(record) if record.outcome == TRAINED else None
    print(f"trial {record.key} of {results_dir.root.name}: {outcome or record.outcome}")
    if record.error:
        print(printable(f"error: {record.error}"))
    for log in sorted(results_dir.logs.glob(f"{record.key}.*.log")):
        print(f"log: {log}")
    manifest = read_manifest(results_dir)
    console = Console()
    console.print(pairs_table("setting", _settings(record, manifest)))
    console.print(pairs_table("outcome", _outcomes(record)))
    probes = {name: curve for name, curve in record.curves.items() if name.startswith("probe.")}
    scores = {name: curve for name, curve in record.curves.items() if name not in probes}
    if scores:
        console.print(curves_table(scores))
    if probes:
        console.print(probes_table(probes))
    console.print(pairs_table("measured", record.telemetry))
    if note := manifest and added_seed_words(manifest, record.trial.get("seed", 0)):
        print(note)
    suite = manifest.path if manifest else f"suites/{results_dir.root.name}.py"
    if results_dir.model(record.key, "last").exists():
        export = ("export", record.key, "--format", "checkpoint", "-o", f"{record.key}.pth")
        print(f"its model: {command(*export, given=options.given)}")
    replay = command("run", suite, "--results", "replay", "--only", f"key={record.key}", given={})
    print(f"replay it with: {replay}")
    return 0


def _outcomes(record: Record) -> dict[str, Any]:
    """What came of the trial: where its curves end, test data first; of own training, each outcome by its name."""
    facts = dict(record.facts)
    ends = {
        name.replace(".", "_"): curve["value"][-1]
        for split in reversed(SPLITS)
        for name, curve in record.curves.items()
        if name.startswith(f"{split}.") and curve["value"]
    }
    return {**facts.pop("outcomes", {}), **ends, **facts}


def _settings(record: Record, manifest: Manifest | None) -> dict[str, Any]:
    """The trial's value on every axis of its suite, the compared one first, and each setting that is no default."""
    axes = {manifest.compare, *manifest.axes} if manifest else set()
    own = TRAIN in record.trial
    defaults = {field.name: field.default for field in fields(OwnTrial if own else Trial) if field.name in axes}
    settings = {**{name: value for name, value in defaults.items() if value is not MISSING}, **record.trial}
    compared = {manifest.compare: settings.pop(manifest.compare)} if manifest and manifest.compare in settings else {}
    return {**{f"{name} (compared)": value for name, value in compared.items()}, **settings}
