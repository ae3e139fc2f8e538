"""`python -m harness`, and the console script `harness`.

It heeds signals before it loads anything that takes time: until then nothing has begun that could be lost.
"""

import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn

SPARE_FILES = 3
SIGNALS = [number for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1") if (number := getattr(signal, name, None))]
IS_RANK = all(name in os.environ for name in ("TORCHELASTIC_RUN_ID", "RANK", "WORLD_SIZE"))  # of torchrun
IS_FIRST = not IS_RANK or os.environ["RANK"] == "0"  # which reads the options, and says what happens


def _end_at_once(number: int, _: "FrameType | None") -> None:
    """End before anything has begun, with the exit code of a run that is stopped; under torchrun that is no failure."""
    name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
    if IS_FIRST:
        os.write(2, f"harness: stopped by {name} before anything was begun; the same command goes on\n".encode())
    os._exit(0 if IS_RANK else 130 if number == signal.SIGINT else 75)


def heed_signals(handler: "signal._HANDLER") -> None:
    """Take signals from now on; those that are ignored stay so, as nohup wants it."""
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def _open_spare() -> list[int]:
    """Files that are closed at the end: where too many are open, folders could not be removed without them."""
    spare: list[int] = []
    try:
        while len(spare) < SPARE_FILES:
            spare.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        pass
    return spare


def run_and_exit() -> "NoReturn":
    """Run the command line and end the process with its exit code."""
    heed_signals(_end_at_once)
    # numpy's library of linear algebra starts a thread for each core as it is loaded, and where it can't, it interrupts
    # the process. Workers share the cores out among themselves; torch has threads of its own.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if IS_RANK:  # torchrun may be killed, and must not leave ranks behind
        from harness.execution.containment.keeper import keep

        keep()
    from harness.cli import main
    from harness.cli.streams import prepare_streams
    from harness.errors import RunAborted
    from harness.execution.stop_flag import INTERRUPTED, TEMPORARY, abort

    prepare_streams()
    spare = _open_spare()
    os.environ["MPLBACKEND"] = "agg"  # figures are drawn into files; notebooks export a backend of their own
    try:
        heed_signals(abort if IS_FIRST else _end_at_once)  # a rank that trains heeds them itself
        exit_code = main()
        heed_signals(signal.SIG_IGN)  # the work is done; a late signal would replace the exit code
    except RunAborted as aborted:  # the signal came when all was done
        exit_code = aborted.exit_code
    for descriptor in spare:
        os.close(descriptor)
    # What torchrun takes for a failure it reports at length, and starts again; an orderly end is none.
    sys.exit(0 if IS_RANK and exit_code in (1, TEMPORARY, INTERRUPTED) else exit_code)


if __name__ == "__main__":
    run_and_exit()
