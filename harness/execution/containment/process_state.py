"""What a model may change in its process for all that come after it, put back as it was."""

import gc
import os
import random
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import torch
from torch.nn.modules import module

Setting = tuple[Callable[[], Any], Callable[[Any], object]]  # how it is read, how it is put back


def _of(owner: Any, name: str) -> Setting:
    return (lambda: getattr(owner, name), lambda value: setattr(owner, name, value))


def _content(container: Any) -> Setting:
    """What a list or a dictionary holds: others keep the container itself."""

    def put_back(content: Any) -> None:
        container.clear()
        (container.extend if isinstance(container, list) else container.update)(content)

    return (lambda: type(container)(container) if isinstance(container, list) else dict(container), put_back)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _handlers() -> dict[int, Any]:
    """The handlers of signals; none where this thread may not set them."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {number: handler for number in signal.valid_signals() if (handler := signal.getsignal(number)) is not None}


def _set_handlers(handlers: dict[int, Any]) -> None:
    for number, handler in handlers.items():
        if signal.getsignal(number) is not handler:
            with suppress(OSError, ValueError):
                signal.signal(number, handler)


def _set_default_device(device: torch.device) -> None:
    torch.set_default_device(None if device.type == "cpu" else device)


SETTINGS: dict[str, Setting] = {
    # torch
    "default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "default device": (torch.get_default_device, _set_default_device),
    "gradients": (torch.is_grad_enabled, torch.set_grad_enabled),
    "autocast": (
        lambda: torch.is_autocast_enabled("cpu"),
        lambda on: torch.set_autocast_enabled("cpu", on),
    ),
    "anomaly detection": (torch.is_anomaly_enabled, torch.set_anomaly_enabled),
    "deterministic algorithms": (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
    "threads": (torch.get_num_threads, torch.set_num_threads),
    "precision of products": (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    "mkldnn": _of(torch.backends.mkldnn, "enabled"),
    "cudnn": _of(torch.backends.cudnn, "enabled"),
    "generator of torch": (torch.get_rng_state, torch.set_rng_state),
    **{
        f"{name} of modules": _content(hooks)
        for name, hooks in vars(module).items()
        if name.startswith("_global_") and isinstance(hooks, dict)
    },
    # numpy and Python
    "errors of numpy": (np.geterr, lambda errors: np.seterr(**errors)),
    "generator of numpy": (np.random.get_state, np.random.set_state),
    "generator of Python": (random.getstate, random.setstate),
    "variables": _content(os.environ),
    "folder": (os.getcwd, os.chdir),
    "mask of new files": (_umask, os.umask),
    "handlers of signals": (_handlers, _set_handlers),
    "time limit of sockets": (socket.getdefaulttimeout, socket.setdefaulttimeout),
    "limit of recursion": (sys.getrecursionlimit, sys.setrecursionlimit),
    "garbage collection": (gc.isenabled, lambda on: gc.enable() if on else gc.disable()),
    "path of modules": _content(sys.path),
    "standard output": _of(sys, "stdout"),
    "standard error": _of(sys, "stderr"),
}


SWITCHES = ("default dtype", "default device", "gradients", "autocast")  # that decide whether anything can be trained


def switches() -> tuple[Any, ...]:
    """How SWITCHES are set."""
    return tuple(SETTINGS[name][0]() for name in SWITCHES)


@contextmanager
def preserved() -> Iterator[None]:
    """Put all of SETTINGS back at the end of the block, whatever it has changed of them."""
    before = {}
    for name, (read, _) in SETTINGS.items():
        with suppress(OSError):  # the current folder may be gone
            before[name] = read()
    try:
        yield
    finally:
        for name, value in before.items():
            with suppress(OSError):
                SETTINGS[name][1](value)
