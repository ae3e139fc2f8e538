"""The one place that pickles: a whole module, where it is asked for by name (`--format module`).

Many tutorials save models so, and a module that no table has can't be saved whole in another format. Loading it runs
whatever its author put into it, so `unpickled` is only called with `--allow-pickle` or `allow_pickle=True`.
"""

import io

import torch
from torch import nn

from harness.errors import NO_ERRORS, ModelError, error_line

PROTOCOL = 2  # every Python that torch still runs on reads it


def pickled(model: nn.Module) -> bytes:
    """The whole module, its classes by name."""
    file = io.BytesIO()
    torch.save(model, file, pickle_protocol=PROTOCOL)
    return file.getvalue()


def unpickled(data: bytes, device: torch.device) -> nn.Module:
    """The module that `pickled` saved; its classes must be there to import."""
    try:
        model = torch.load(io.BytesIO(data), map_location=device, weights_only=False)
    except NO_ERRORS:
        raise
    except BaseException as error:
        raise ModelError(
            f"a module in it can't be read, {error_line(error)[:200]}; the code of its classes must be there"
        ) from error
    if not isinstance(model, nn.Module):
        raise ModelError(f"it holds a {type(model).__name__} and no module")
    return model
