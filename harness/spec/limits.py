"""What the training of a trial may take; one that takes more ends without a result, and the others go on."""

from dataclasses import dataclass, fields

from harness.errors import SuiteError
from harness.spec.claim import is_number


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of each trial; one that trains in a cohort has its share of what the cohort takes. None: no limit."""

    max_seconds: float | None = None  # of training and evaluation, over all attempts
    max_memory_mb: float | None = None  # beyond what an idle worker has; on a GPU, of the GPU
    heartbeat_timeout: float | None = None  # seconds without a sign of life after which it counts as hung

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and not (is_number(value) and value > 0):
                raise SuiteError(f"{field.name} must be a positive number, got {value!r}")
