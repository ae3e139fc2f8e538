"""The command line: a verb and its options in, messages and an exit code out."""

from collections.abc import Sequence

from harness.cli.faults import report_fault
from harness.execution.containment.machine_limits import require_address_space
from harness.text import printable_output

ADDRESS_SPACE = 800  # MiB that pandas and pyarrow need to be loaded and to start their threads


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the arguments say; return the exit code. Whatever goes wrong is one line and never a traceback."""
    with printable_output():
        try:
            require_address_space(ADDRESS_SPACE)
            from harness.cli.dispatch import dispatch  # here, since imports fail too: packages or memory may be missing

            return dispatch(arguments)
        except SystemExit:
            raise
        except BaseException as error:  # noqa: BLE001 (the outermost guard)
            return report_fault(error)
