"""`export`: the trained model of a trial, in a form that others can read."""

import argparse
from pathlib import Path

from harness.cli.find_record import find_record
from harness.cli.hints import command
from harness.cli.option_values import suite_functions
from harness.cli.options import Given
from harness.errors import NO_ERRORS, DamageError, HarnessError, ModelError, UsageError, error_line
from harness.export import formats
from harness.export.model_card import check, trial_of
from harness.io import write_atomically
from harness.storage.records import ResultsDir, read_manifest
from harness.tasks.objective import Objective
from harness.training.checkpoint import Snapshot, load

READERS = {  # format -> what reads it
    "checkpoint": "harness.load_checkpoint({!r})",
    "state_dict": "torch.load({!r}, weights_only=True)",
    "module": "harness.load_model({!r}, allow_pickle=True)",
    "safetensors": "safetensors.torch.load_file({!r})",
    "onnx": "an ONNX runtime",
    "torch-export": "torch.export.load({!r})",
}


def export(options: argparse.Namespace) -> int:
    """Write the file and say what it holds; the exit code."""
    record = find_record(options.results, options.trial)
    results_dir, key, which = ResultsDir(record.parent.parent), record.stem, options.which
    path = results_dir.model(key, which)
    model = _load_snapshot(path, key, results_dir, options.given)
    try:
        check(model.metadata)
        if (model.metadata["key"], model.metadata["which"]) != (key, which):
            raise DamageError("is not the model that its name says; remove it, and `run` trains it again")
        data = formats.export_as(model, options.format, suite_functions(options))
    except HarnessError as error:
        raise type(error)(f"{path}: {error}") from error
    except NO_ERRORS:
        raise
    except BaseException as error:  # the code of a suite may raise anything
        raise ModelError(f"{path} cannot be exported as {options.format}: {error_line(error)[:200]}") from error
    write_atomically(options.output, data)
    metadata, reader = model.metadata, READERS[options.format].format(str(options.output))
    name = Objective(trial_of(metadata).task).judged_by[0]
    value = metadata["accuracy"] if name == "accuracy" else metadata["metrics"].get(f"val.{name}")
    shown = "none" if value is None else f"{value:.4f}"
    state = f"step {metadata['step']}, epoch {metadata['epoch']:.3g}, validation {name} {shown}"
    print(f"{options.output}: the {which} model of {key} ({state}), {len(data)} bytes; read it with: {reader}")
    return 0


def _load_snapshot(path: Path, key: str, results_dir: ResultsDir, given: Given) -> Snapshot:
    try:
        return load(path)
    except FileNotFoundError as error:
        manifest = read_manifest(results_dir)
        suite = manifest.path if manifest else f"suites/{results_dir.root.name}.py"
        raise UsageError(
            f"no weights of {key} were kept: set save_models=True in its suite and run it again, "
            f"which trains what lacks them: {command('run', suite, given=given)}"
        ) from error
    except DamageError as error:
        raise DamageError(f"{error}; remove it, and `run` trains it again") from error
