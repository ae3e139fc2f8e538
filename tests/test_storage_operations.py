"""Whatever changes a disk goes through `harness/io.py`, where faults can be tried at every operation."""

import ast
from collections.abc import Iterator

import pytest

from tests.test_layout import Module, brief, called, read_modules

CHANGING = {  # methods and functions that change a disk, whatever they are called on
    *("write_text", "write_bytes", "unlink", "rename", "renames", "rmdir", "rmtree", "mkdir", "makedirs", "touch"),
    *("symlink_to", "hardlink_to", "symlink", "link", "copyfile", "copytree", "copy2", "truncate", "ftruncate"),
    *("mkstemp", "mkdtemp", "TemporaryDirectory", "NamedTemporaryFile", "TemporaryFile", "fsync", "pwrite", "sendfile"),
    *("savefig", "to_parquet", "to_pickle", "to_feather", "savez", "savez_compressed", "savetxt"),
    *("write_table", "ParquetWriter", "save_file", "tofile"),
}
EXEMPT = {  # (module, what is called) -> why it need not go through io.py
    ("harness.training.decision_boundaries", "np.savez"): "into memory",
    ("harness.training.decision_boundaries", "np.savez_compressed"): "into memory",
    ("harness.storage.tables", "pq.write_table"): "into memory",
    ("harness.reporting.publishing", "pq.write_table"): "into memory",
    ("harness.reporting.figures.frame", "figure.savefig"): "into memory",
    ("harness.export.formats", "torch.save"): "into memory",
    ("harness.export.formats", "torch.export.save"): "into memory",
    ("harness.export.pickles", "torch.save"): "into memory",
    ("harness.storage.lock", "os.open"): "the lock, which has no content",
    ("harness.storage.claims", "os.open"): "a claim, which outlives no run",
    ("harness.storage.claims", "unlink"): "a claim, which outlives no run",
    ("harness.storage.running", "unlink"): "a sign of life, which outlives no run",
    ("harness.cli.recheck", "TemporaryDirectory"): "what is trained again to be compared",
    ("harness.spec.own_training.command", "tempfile.TemporaryDirectory"): "what a command says of itself while it runs",
    ("harness.spec.own_training.command", "errors.open"): "what a command says of itself while it runs",
    ("harness.cli.streams", "os.open"): "/dev/null",
    ("harness.cli.faults", "path.open"): "a log of what went wrong, perhaps in io.py itself",
    ("harness.fault_injection", "os.open"): "the file that counts operations",
    ("harness.fault_injection", "tempfile.mkstemp"): "the file that counts operations",
    ("harness.execution.drill.drill", "tempfile.mkdtemp"): "the drill's own folder",
    ("harness.execution.drill.drill", "shutil.rmtree"): "the drill's own folder",
    ("harness.execution.drill.commands", "log.open"): "the drill's own folder",
    ("harness.execution.drill.lines", "shutil.rmtree"): "the drill's own folder",
    ("harness.execution.submission.dask_task", "open"): "the log of a worker",
    ("harness.export.trackers.wandb", "shutil.rmtree"): "files of W&B, which it writes itself, outside of results",
    ("harness.execution.torchrun", "tempfile.TemporaryDirectory"): "for a socket",
    ("harness.execution.torchrun", "tempfile.TemporaryFile"): "the log of ranks, gone with this process",
    **{
        (f"harness.ensemble.native.{module}", call): "a cache of libraries, which can be compiled again"
        for module, call in (
            *(("cache", call) for call in ("path.mkdir", "draft.replace", "tempfile.mkdtemp", "shutil.rmtree")),
            *(("cache", call) for call in ("path.unlink", "os.open", "write_text")),
            *(("prebuild", call) for call in ("folder.mkdir", "earlier.unlink", "tempfile.TemporaryDirectory")),
        )
    },
}


def disk_changes(module: Module) -> Iterator[str]:
    """Calls in a module that change a disk, as they are written."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call):
            name = called(node)
            last = name.rpartition(".")[2]
            arguments = [ast.unparse(argument) for argument in [*node.args, *(k.value for k in node.keywords)]]
            if (
                last in CHANGING
                or (last == "open" and _writes(name, arguments))
                # str.replace takes two texts, dataclasses.replace stands without a dot
                or (last == "replace" and "." in name and len(arguments) == 1)
                or (last == "to_csv" and node.args)
                or name
                in (
                    "os.replace",
                    "os.remove",
                    "shutil.move",
                    "torch.save",
                    "torch.export.save",
                    "np.save",
                    "numpy.save",
                )
            ):
                yield name


def _writes(name: str, arguments: list[str]) -> bool:
    if name == "os.open":
        return any(flag in " ".join(arguments) for flag in ("O_WRONLY", "O_RDWR", "O_CREAT", "O_APPEND", "flags"))
    return any(set(mode) & set("wax+") for mode in arguments if mode[:1] in "'\"" and len(mode) <= 5)


def is_exempt(module: str, name: str) -> bool:
    return any(module == exempt and f".{name}".endswith(f".{call}") for exempt, call in EXEMPT)


def test_no_module_but_io_changes_a_disk():
    modules = [module for module in read_modules() if module.name != "harness.io"]
    found = [(module.name, name) for module in modules for name in disk_changes(module)]
    assert [pair for pair in found if not is_exempt(*pair)] == []


def test_every_exemption_is_needed():
    found = [(module.name, f".{name}") for module in read_modules() for name in disk_changes(module)]
    is_needed = {pair: any(pair[0] == m and n.endswith(f".{pair[1]}") for m, n in found) for pair in EXEMPT}
    assert [pair for pair, needed in is_needed.items() if not needed] == []


@pytest.mark.parametrize(
    "text",
    [
        "path.write_text('x')",
        "path.open('w')",
        "path.open(mode='ab')",
        "open(path, 'r+b')",
        "os.open(path, os.O_RDWR | os.O_CREAT)",
        "draft.replace(path)",
        "os.replace(draft, path)",
        "frame.to_csv(path)",
        "shutil.rmtree(folder)",
        "(folder / 'a').unlink(missing_ok=True)",
        "np.savez(path, **arrays)",
    ],
    ids=brief,
)
def test_a_call_that_changes_a_disk_is_seen(text):
    assert list(disk_changes(Module("harness.storage.tables", text))) != []


@pytest.mark.parametrize(
    "text",
    [
        "path.open('rb')",
        "path.open(encoding='utf-8')",
        "open(descriptor, 'rb', closefd=False)",
        "os.open(folder, os.O_RDONLY)",
        "text.replace('a', 'b')",
        "replace(record, curves={})",
        "frame.to_csv(index=False)",
        "set.remove(name)",
    ],
    ids=brief,
)
def test_a_call_that_changes_nothing_is_let_pass(text):
    assert list(disk_changes(Module("harness.storage.tables", text))) == []
