"""What a worker hears from its supervisor."""

import os
import queue
import threading
from multiprocessing.connection import Connection

from harness.execution.messages import Job, Stop


def listen(connection: Connection, jobs: "queue.SimpleQueue[Job]", stop: threading.Event) -> None:
    """Queue jobs as they come, and set `stop` when told to; end this process when the supervisor is gone."""
    while True:
        try:
            message = connection.recv()
        except (EOFError, OSError):
            os._exit(0)  # the supervisor is gone: nothing may run on without it
        if isinstance(message, Stop):
            stop.set()
        else:
            jobs.put(message)
