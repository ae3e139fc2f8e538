"""Model files as somebody might make them who wishes harm: sealed and well-formed, with something else inside."""

import io
import json
import os
import pickle
import struct
import zipfile
from functools import cache
from pathlib import Path

import torch

from harness.export.embedded_checksum import NO_CHECKSUM, embed_checksum, zip_with_checksum
from harness.export.model_card import FORMAT

FACTS = {
    "format": 1, "form": "state_dict", "key": "0" * 16, "layers": "", "which": "last", "step": 1, "epoch": 1.0,
    "trial": {"dataset": "digits", "model": "mlp-8", "lr": 0.1, "batch_size": 10, "steps": 1},
    "init_params": {"model": "mlp-8", "inputs": [64], "classes": 10},
    "lr": 0.1, "accuracy": 0.5, "metrics": {}, "versions": {"harness": "0.1.0", "torch": "2.13.0"},
}  # fmt: skip


class Marker:
    """Unpickled, it writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


class Storage:
    """What a pickle claims of a tensor's memory."""

    def __init__(self, key, count):
        self.key, self.count = key, count


class View:
    """A tensor of any shape over a storage."""

    def __init__(self, storage, size, stride):
        self.parts = (storage, 0, size, stride, False, {})

    def __reduce__(self):
        return torch._utils._rebuild_tensor_v2, self.parts


class Pickler(pickle.Pickler):
    def persistent_id(self, found):
        if isinstance(found, Storage):
            return ("storage", torch.FloatStorage, found.key, "cpu", found.count)
        return None


def archive(content, **changes):
    """A sealed archive with this object in the place of the weights; every storage holds four bytes."""
    text = io.BytesIO()
    Pickler(text, 2).dump(content)
    return archive_of(
        {"data.pkl": text.getvalue(), "byteorder": b"little", "data/0": b"\0" * 4, "version": b"3\n"}, changes
    )


def archive_of(entries, changes, compression=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as zipped:
        for name, data in entries.items():
            zipped.writestr(f"archive/{name}", data)
    return zip_with_checksum(file.getvalue(), {"harness.json": json.dumps({**FACTS, **changes}).encode()})


def saved(content, **changes):
    """A sealed archive of what torch itself saves."""
    file = io.BytesIO()
    torch.save(content, file)
    return zip_with_checksum(file.getvalue(), {"harness.json": json.dumps({**FACTS, **changes}).encode()})


def state(**changes):
    """The state of the net that FACTS describe."""
    shapes = {"0.weight": (8, 64), "0.bias": (8,), "3.weight": (10, 8), "3.bias": (10,)}
    return {**{name: torch.zeros(shape) for name, shape in shapes.items()}, **changes}


def tensors(layout, metadata, data=b""):
    """A sealed safetensors file."""
    header = json.dumps({**layout, "__metadata__": metadata}).encode()
    return embed_checksum(struct.pack("<Q", len(header)) + header + data)


def nested():
    """Ten lists of ten lists of ...: small in the file, endless to walk."""
    found = [0]
    for _ in range(40):
        found = [found] * 10
    return {"a": found}


def overlapping():
    """An archive whose entries are one and the same megabyte."""
    name, mega = "archive/data/00000", b"\0" * 2**20
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        zipped.writestr(name, mega)
        zipped.writestr("archive/extra/harness.json", json.dumps(FACTS))
        zipped.filelist += [zipped.filelist[0]] * 1000
        zipped.comment = NO_CHECKSUM
    return embed_checksum(file.getvalue())


@cache
def files():
    """Name -> a file that must be refused."""
    huge = Storage("0", 1)
    facts = json.dumps(FACTS)
    deep = "[" * 100_000 + "]" * 100_000
    return {
        "a view of one number": archive({"0.weight": View(huge, (2**40,), (0,))}),
        "a tensor past its memory": archive({"0.weight": View(huge, (2**34,), (1,))}),
        "a storage past its bytes": archive({"0.weight": View(Storage("0", 2**34), (8, 64), (64, 1))}),
        "a negative shape": archive({"0.weight": View(huge, (-1, 64), (64, 1))}),
        "lists without end": archive(nested()),
        "a list": archive([1, 2]),
        "numbers for tensors": archive(dict.fromkeys(state(), 3)),
        "a sparse tensor": saved(state(**{"0.bias": torch.zeros(8).to_sparse()})),
        "a tensor without memory": saved(state(**{"0.bias": torch.zeros(8, device="meta")})),
        "whole numbers": saved(state(**{"0.bias": torch.zeros(8, dtype=torch.int64)})),
        "one weight too few": saved({name: tensor for name, tensor in state().items() if name != "0.bias"}),
        "one weight too many": saved(state(more=torch.zeros(3))),
        "another shape": saved(state(**{"0.bias": torch.zeros(9)})),
        "a checkpoint of a list": saved([1], form="checkpoint"),
        "a checkpoint without weights": saved({"epoch": 3}, form="checkpoint"),
        "a bomb": archive_of({"data.pkl": b"\x80\x02}q\0.", "data/0": b"\0" * 2**28}, {}, zipfile.ZIP_DEFLATED),
        "an overlap": overlapping(),
        "no pickle": archive_of({"data.pkl": b"", "version": b"3\n"}, {}),
        "torn pickle": archive_of({"data.pkl": b"\x80\x02}q\0(X", "version": b"3\n"}, {}),
        "a net too large": saved(state(), trial={**FACTS["trial"], "model": "mlp-30000x2"}),
        "a net too deep": saved(state(), trial={**FACTS["trial"], "model": "mlp-" + "-".join(["1x9999"] * 12)}),
        "inputs too large": saved(state(), init_params={"model": "mlp-8", "inputs": [2**30, 2**30], "classes": 10}),
        "inputs of text": saved(state(), init_params={"model": "mlp-8", "inputs": ["64"], "classes": 10}),
        "inputs without end": saved(state(), init_params={"inputs": [1] * 10_000, "classes": 10}),
        "a model unknown": saved(state(), trial={**FACTS["trial"], "model": "os.system"}),
        "a model of no text": saved(state(), trial={**FACTS["trial"], "model": ["mlp"]}),
        "a norm unknown": saved(state(), trial={**FACTS["trial"], "norm": "btach"}),
        "a setting unknown": saved(state(), trial={**FACTS["trial"], "__class__": "x"}),
        "a newer format": saved(state(), format=FORMAT + 1),
        "no format": saved(state(), format=None),
        "a step of text": saved(state(), step="\x1b[2J"),
        "an accuracy of text": saved(state(), accuracy="1.0"),
        "a form unknown": saved(state(), form="exe"),
        "a form that is a list": saved(state(), form=["module"]),
        "facts without end": zip_with_checksum(plain_zip(), {"harness.json": deep.encode()}),
        "facts in two": zip_with_checksum(plain_zip(), {"harness.json": b'{"form": 1, "form": 2}'}),
        "facts of digits": zip_with_checksum(plain_zip(), {"harness.json": b'{"format": ' + b"9" * 5000 + b"}"}),
        "no facts": zip_with_checksum(plain_zip(), {}),
        "a header past the end": embed_checksum(struct.pack("<Q", 2**63) + NO_CHECKSUM),
        "a header of nothing": embed_checksum(struct.pack("<Q", 79) + NO_CHECKSUM),
        "tensors past the end": tensors(
            {"0.weight": {"dtype": "F32", "shape": [8, 64], "data_offsets": [0, 2048]}},
            {"harness": facts.replace("state_dict", "safetensors"), "seal": NO_CHECKSUM.decode()},
        ),
        "tensors of a huge shape": tensors(
            {"0.weight": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 4]}},
            {"harness": facts.replace("state_dict", "safetensors"), "seal": NO_CHECKSUM.decode()},
            b"\0" * 4,
        ),
        "tensors that say they are a pickle": tensors({}, {"harness": facts, "seal": NO_CHECKSUM.decode()}),
        "a pickle that says it is tensors": saved(state(), form="safetensors"),
        "tensors without facts": tensors({}, {"seal": NO_CHECKSUM.decode()}),
        "an empty file": b"",
        "one byte": b"\x80",
        "a page": b"<!doctype html><p>404",
        "a plain zip": plain_zip(),
        "a program": b"\x7fELF" + b"\0" * 100,
    }  # fmt: skip


def plain_zip():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        zipped.writestr("archive/data.pkl", b"\x80\x02}q\0.")
    return file.getvalue()


def pickles(marker):
    """Name -> a file that writes the marker where it is unpickled."""
    evil = Marker(marker)
    file = io.BytesIO()
    torch.save({"a": evil}, file)
    legacy = io.BytesIO()
    torch.save({"a": evil}, legacy, _use_new_zipfile_serialization=False)
    return {
        "a pickle": pickle.dumps(evil),
        "a dictionary saved by torch": file.getvalue(),
        "one saved by an old torch": legacy.getvalue(),
        "a sealed state_dict": saved({"0.weight": evil}),
        "a sealed object": saved(evil),
        "a sealed checkpoint": saved({"model_state_dict": state(), "optimizer_state_dict": evil}, form="checkpoint"),
        "a sealed module": saved(evil, form="module"),
        "a module that says it is a state_dict": saved(evil, form="state_dict"),
        "a sealed torch.export": saved(evil, form="torch-export"),
    }


def write_all(folder: Path, found) -> dict[str, Path]:
    """The files in a folder, by name."""
    paths = {name: folder / f"{number}.pth" for number, name in enumerate(found)}
    for name, path in paths.items():
        path.write_bytes(found[name])
    return paths
