"""Whether a report is of the results that are there: found out without making it or loading what draws."""

import hashlib
import json
import re
from itertools import product
from pathlib import Path

from harness.analysis import pairing
from harness.errors import DamageError
from harness.io import read_bytes
from harness.spec.manifest import Manifest, to_json
from harness.spec.own_code.data_files import drawn_name
from harness.storage.csv_files import MAX_TABLE_BYTES
from harness.storage.folders import PLAIN_NAME
from harness.storage.rechecking import FINDINGS
from harness.storage.tables import TABLES

# The formats of figures, with the metadata that must not be written into them.
IMAGE_FORMATS = {"svg": {"Date": None}, "png": {}, "pdf": {"CreationDate": None}}
MAX_PAGE_BYTES = 2**28
HEAD = 4096  # bytes, in which the digest is
DIGEST = re.compile(rb'<meta name="inputs" content="([0-9a-f]{64})">')
FIGURE_NAME = re.compile(rb'<figure id="figure-([\w.-]+)"')


def current_page(folder: Path, manifest: Manifest) -> Path | None:
    """The page of a report that needs not be made again; None where there is none, or from other results."""
    page = page_of(folder)
    return page if is_whole(page, digest_of(folder, manifest)) else None


def page_of(folder: Path) -> Path:
    page = folder / "report" / "index.html"
    for path in (page.parent, page.parent / "figures"):
        if path.is_symlink():
            raise DamageError(f"{path} is a link, a report is not written through one; remove it")
    return page


def digest_of(folder: Path, manifest: Manifest) -> str:
    """A digest of all that a report is made from: the results, and the code and templates that make it."""
    sums = hashlib.sha256(json.dumps(to_json(manifest), sort_keys=True, default=str).encode())
    folders = [Path(__file__).parents[2] / name for name in ("analysis", "reporting")]
    code = sorted(p for directory in folders for p in directory.rglob("*") if p.is_file() and p.suffix != ".pyc")
    results = [folder / name for name in (*TABLES, FINDINGS)]
    for path in [*results, *data_files(folder, manifest), *plane_files(folder), *code]:
        sums.update(hashlib.sha256(_content(path)).digest())
    return sums.hexdigest()


def _content(path: Path) -> bytes:
    try:
        return read_bytes(path, max_bytes=MAX_TABLE_BYTES)
    except FileNotFoundError:
        return b""


def is_whole(page: Path, digest: str) -> bool:
    """Whether a page was made from what the digest stands for, and all that was written with it is there still."""
    try:
        text = read_bytes(page, max_bytes=MAX_PAGE_BYTES)
    except (FileNotFoundError, DamageError):
        return False
    match = DIGEST.search(text[:HEAD])
    return (
        match is not None and match[1].decode() == digest and all(path.is_file() for path in written_with(page, text))
    )


def written_with(page: Path, text: bytes) -> list[Path]:
    """The files that were written together with a page, which has this text."""
    names = [f"{name.decode()}.{suffix}" for name in FIGURE_NAME.findall(text) for suffix in IMAGE_FORMATS]
    others = [page.parents[1] / "comparisons.csv", page.parents[1] / "report.md", page.parent / "table.tex"]
    return [*others, *(page.parent / "figures" / name for name in names)]


def with_digest(text: bytes, digest: str) -> bytes:
    """The page, as it is made from results that have this digest."""
    match = DIGEST.search(text[:HEAD])
    assert match is not None, "a page that is whole has one"
    return text[: match.start(1)] + digest.encode() + text[match.end(1) :]


def data_files(folder: Path, manifest: Manifest) -> list[Path]:
    """The files of the data sets that the suite names, in its results folder."""
    datasets, standardized = (pairing.values(manifest, axis) for axis in ("dataset", "standardize"))
    names = {drawn_name(name, standardize=is_so is True) for name, is_so in product(datasets, standardized)}
    paths = sorted((folder / "data").glob("*.npz"))
    return [path for path in paths if path.stem in names and PLAIN_NAME.fullmatch(path.stem)]


def plane_files(folder: Path) -> list[Path]:
    """The files of what trained models say of the plane, named by the keys of their trials."""
    return [path for path in sorted((folder / "data" / "planes").glob("*.npz")) if PLAIN_NAME.fullmatch(path.stem)]
