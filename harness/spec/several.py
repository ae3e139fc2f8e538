"""One selection for several suites: each takes those of its values that its trials have."""

from collections.abc import Mapping, Sequence

from harness.spec.loader import SuiteFile
from harness.spec.own_training.own_trial import AnyTrial
from harness.spec.selection import Selection, narrowed, require_known

DEVICES = ("cpu", "cuda", "mps")  # that "auto" may come to


def require_known_by_some(suites: Sequence[SuiteFile], only: Selection, device: str) -> None:
    """Raise UnknownValue where a rule names a value that no trial of these suites has."""
    require_known([trial for suite in suites for trial in _trials(suite, device)], only)


def narrowed_to(suite: SuiteFile, only: Selection, device: str) -> Mapping[str, frozenset[str]]:
    """The rules without the values that no trial of this suite has; EmptySelection where a rule has no other."""
    return narrowed(_trials(suite, device), only)


def _trials(suite: SuiteFile, device: str) -> list[AnyTrial]:
    """All that the trials may be, their device and so their keys, as far as a selection can name it."""
    devices = [name for name in dict.fromkeys((device, *DEVICES)) if name != "auto"]
    return [trial for name in devices for trial in suite.trials(device=name)]
