"""What makes up a kind of claim: its check before a run, its comparison, its judge and its words."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from harness.analysis.comparison import Comparison
from harness.spec.claim import Claim
from harness.spec.manifest import Manifest
from harness.spec.trial import Value
from harness.storage.tables import Results


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimKind:
    """How one kind of claim is checked, tested, judged and worded; each kind is a file in the folder claims/.

    `compare` returns one comparison for each grid point that the claim covers. `secondary_tests` returns families of
    comparisons that are reported beside them and have no part in the verdict.
    """

    # Before a run: raises SuiteError where the suite can't answer the claim.
    check: Callable[[Claim, Manifest], None]
    collapsed_axes: Callable[[Claim], Sequence[str]] = lambda claim: ()  # axes whose values go into one comparison
    arms_against: Callable[[Claim], Sequence[Value]] = lambda claim: (claim.arm,)  # arms compared with `claim.against`
    margin_is_of_metric: bool = True  # False: it is in decades, steps, a share or a ratio
    is_one_sample: bool = False  # the arm is compared with a number and not with another arm

    # From results to verdicts.
    compare: Callable[[Claim, Results, np.random.Generator], list[Comparison]]
    judge: Callable[[Comparison], str]
    secondary_tests: Callable[[Claim, Results, np.random.Generator], list[list[Comparison]]] = (
        lambda claim, results, rng: []
    )

    # In words.
    statement: Callable[[Claim, Manifest], str]
    bounds: Callable[[Sequence[Comparison]], str] = lambda comparisons: ""  # what the grid is too short to show
    test: str = "exact sign test"  # the name of what has to pass
    reference_test: str = ""  # the name of the test whose p is `reference_p`
    no_estimate: str = ""  # what it means if the effect can't be estimated
