"""`export`: the trained model of a trial, in a form that others can read."""

import argparse

from harness.cli.show import find_record
from harness.errors import DamageError, HarnessError, ModelError, UsageError
from harness.export.formats import export as in_form
from harness.export.model_card import check
from harness.io import write_atomically
from harness.spec.loader import load_suite
from harness.spec.suite import Functions
from harness.storage.records import ResultsDir, read_manifest
from harness.training.checkpoint import load


def export(options: argparse.Namespace) -> int:
    """Write the file and say what it holds; the exit code."""
    record = find_record(options.results, options.trial)
    place, key = ResultsDir(record.parent.parent), record.stem
    path = place.model(key, options.which)
    try:
        model = load(path)
    except FileNotFoundError as error:
        manifest = read_manifest(place)
        suite = manifest.path if manifest else f"suites/{place.root.name}.py"
        raise UsageError(
            f"no weights of {key} were kept: say save_models=True in its suite and run it again, "
            f"which trains what lacks them: python -m harness run {suite}"
        ) from error
    except DamageError as error:
        raise DamageError(f"{error}; remove it, and `run` trains it again") from error
    try:
        check(model.metadata)
        if (model.metadata["key"], model.metadata["which"]) != (key, options.which):
            raise DamageError("is not the model that its name says; remove it, and `run` trains it again")
        data = in_form(model, options.format, functions_of(options))
    except HarnessError as error:
        raise type(error)(f"{path}: {error}") from error
    except Exception as error:
        line = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise ModelError(f"{path} can't leave as {options.format}: {line}") from error
    write_atomically(options.output, data)
    about, read = model.metadata, READ[options.format].format(str(options.output))
    accuracy = "none" if about["accuracy"] is None else f"{about['accuracy']:.4f}"
    said = f"step {about['step']}, epoch {about['epoch']:.3g}, validation accuracy {accuracy}"
    print(f"{options.output}: the {options.which} model of {key} ({said}), {len(data)} bytes; read it with: {read}")
    return 0


READ = {  # form -> what reads it
    "checkpoint": "harness.load_checkpoint({!r})",
    "state_dict": "torch.load({!r}, weights_only=True)",
    "module": "harness.load_model({!r}, allow_pickle=True)",
    "safetensors": "safetensors.torch.load_file({!r})",
    "onnx": "an ONNX runtime",
    "torch-export": "torch.export.load({!r})",
}


def functions_of(options: argparse.Namespace) -> Functions:
    """The models and datasets that a suite brings, where one is named: it is run for that."""
    return load_suite(options.suite).suite.functions if options.suite else {}
