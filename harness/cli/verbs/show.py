"""`show`: one trial, with the command that replays it."""

import argparse

from harness.cli.console import Console
from harness.cli.find_record import find_record
from harness.cli.trial_tables import curves_table, pairs_table, probes_table
from harness.storage.records import ResultsDir, read_manifest, read_record


def show(options: argparse.Namespace) -> int:
    """Print all that is known of a trial; the exit code."""
    path = find_record(options.results, options.trial)
    record, results_dir = read_record(path), ResultsDir(path.parent.parent)
    print(f"trial {record.key} of {results_dir.root.name}: {record.outcome}")
    if record.error:
        print(f"error: {record.error}")
    for log in sorted(results_dir.logs.glob(f"{record.key}.*.log")):
        print(f"log: {log}")
    console = Console()
    console.print(pairs_table("setting", record.trial))
    console.print(pairs_table("outcome", record.facts))
    probes = {name: curve for name, curve in record.curves.items() if name.startswith("probe.")}
    scores = {name: curve for name, curve in record.curves.items() if name not in probes}
    if scores:
        console.print(curves_table(scores))
    if probes:
        console.print(probes_table(probes))
    console.print(pairs_table("measured", record.telemetry))
    manifest = read_manifest(results_dir)
    suite = manifest.path if manifest else f"suites/{results_dir.root.name}.py"
    if results_dir.model(record.key, "last").exists():
        print(f"its model: python -m harness export {record.key} --format checkpoint -o {record.key}.pth")
    print(f"replay it with: python -m harness run {suite} --only key={record.key} --results replay")
    return 0
