"""Results for others to read: what a reader needs to recompute them and to compare with them, and no records.

Published results stand in a folder of their own, such as the results/reference of this project. Beside the folders of
the suites, verdicts.csv says what each claim came to, which later runs of these suites are told they agree with or not.
"""

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from harness.analysis.verdicts import Verdict, verdicts
from harness.errors import DamageError, UsageError
from harness.io import make_folder, read_bytes, remove_file, write_atomically
from harness.reporting.upkeep.staleness import (
    MAX_PAGE_BYTES,
    current_page,
    data_files,
    digest_of,
    page_of,
    plane_files,
    with_digest,
    written_with,
)
from harness.reporting.upkeep.update import update_report
from harness.spec.manifest import Manifest
from harness.storage.csv_files import MAX_TABLE_BYTES, csv_bytes, read_table
from harness.storage.rechecking import FINDINGS
from harness.storage.records import ResultsDir, read_manifest, write_manifest
from harness.storage.tables import TABLES, Results

VERDICTS_FILE = "verdicts.csv"
VERDICT_COLUMNS = ("suite", "claim", "verdict")
REFERENCE = Path("results") / "reference"  # from the folder that the suites are in


def publish(results: Results, folder: Path) -> Path:
    """Write the tables, suite.json and the report of these results into `folder`/<suite>; the page of the report.

    UsageError where trials have not ended, or where results of a run are in the way.
    """
    n_unfinished = int((results.trials["status"] == "interrupted").sum())
    if n_unfinished:
        raise UsageError(
            f"{n_unfinished} of {len(results.trials)} trials of {results.manifest.name} have not ended; publish what "
            "is complete"
        )
    target = ResultsDir(folder / results.manifest.name)
    earlier = read_manifest(target)
    if target.records.exists() or (earlier is not None and not earlier.tables):
        raise UsageError(f"{target.root} holds results of a run, which stay as they are; publish into another folder")
    make_folder(target.root)
    if earlier is not None:
        remove_file(target.manifest)  # the tables are not those that it vouches for until it is written again
    tables = {name: _compact(results.folder / name) for name in TABLES}
    for name, data in tables.items():
        write_atomically(target.root / name, data)
    for path in [*data_files(results.folder, results.manifest), *plane_files(results.folder)]:
        copy = target.root / path.relative_to(results.folder)
        make_folder(copy.parent)
        write_atomically(copy, read_bytes(path, max_bytes=MAX_TABLE_BYTES))
    checksums = {name: hashlib.sha256(data).hexdigest() for name, data in tables.items()}
    manifest = replace(results.manifest, tables=checksums)
    write_manifest(target, manifest)
    _note_verdicts(folder, manifest.name, verdicts(results))
    _copy_report(results, target, manifest)
    return update_report(target, manifest)


def _copy_report(results: Results, target: ResultsDir, manifest: Manifest) -> None:
    """Copy the report of these results, where it is up to date: that of the same tables would have the same bytes.

    Not where it speaks of trials that were trained again to check, for what came of that is not published.
    """
    source = current_page(results.folder, results.manifest)
    if source is None or (results.folder / FINDINGS).exists():
        return
    page = page_of(target.root)
    figures = page.parent / "figures"
    make_folder(figures)
    for path in [*figures.iterdir()]:
        remove_file(path)
    text = read_bytes(source, max_bytes=MAX_PAGE_BYTES)
    for path in written_with(source, text):
        write_atomically(target.root / path.relative_to(results.folder), read_bytes(path, max_bytes=MAX_PAGE_BYTES))
    # The page comes last: with its digest it vouches for the others.
    write_atomically(page, with_digest(text, digest_of(target.root, manifest)))


def _compact(path: Path) -> bytes:
    """The content of a table, curves as small as they can be made without changing a bit of any."""
    data = read_bytes(path, max_bytes=MAX_TABLE_BYTES)
    if path.suffix != ".parquet":
        return data
    sink = io.BytesIO()
    pq.write_table(pq.read_table(io.BytesIO(data)), sink, compression="zstd", compression_level=19, store_schema=False)
    return sink.getvalue()


def _note_verdicts(folder: Path, suite: str, judged: Sequence[Verdict]) -> None:
    """Put the verdicts of a suite into verdicts.csv, in place of those that it had."""
    try:
        others = _read_verdicts(folder)
    except FileNotFoundError:
        others = pd.DataFrame(columns=list(VERDICT_COLUMNS))
    rows = [(suite, verdict.statement, verdict.word) for verdict in judged]
    table = pd.concat([others[others["suite"] != suite], pd.DataFrame(rows, columns=list(VERDICT_COLUMNS))])
    write_atomically(folder / VERDICTS_FILE, csv_bytes(table.sort_values("suite", kind="stable")))


def _read_verdicts(folder: Path) -> pd.DataFrame:
    return read_table(folder / VERDICTS_FILE, dict.fromkeys(VERDICT_COLUMNS, "str"))


def published_words(suite: Path) -> Mapping[str, str]:
    """What the claims of a suite came to in the results that ship with it: claim -> word. Empty where none do."""
    try:
        table = _read_verdicts(suite.resolve().parent.parent / REFERENCE)
    except (FileNotFoundError, NotADirectoryError, DamageError):  # it is a service, and must not end a run
        return {}
    rows = table[table["suite"] == suite.stem]
    return dict(zip(rows["claim"], rows["verdict"], strict=True))
