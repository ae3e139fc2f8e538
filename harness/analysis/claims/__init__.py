"""The kinds of claims, a file for each: what is checked before a run, the comparison, the judge and the words.

A new kind is a file in this folder, its entry in KINDS, and its constructor in harness/spec/claim.py.
"""

from harness.analysis.claim_kind import ClaimKind
from harness.analysis.claims.best_tuned import BEST_TUNED
from harness.analysis.claims.better import BETTER
from harness.analysis.claims.costs import COSTS
from harness.analysis.claims.equivalent import EQUIVALENT
from harness.analysis.claims.less import LESS
from harness.analysis.claims.matches import MATCHES
from harness.analysis.claims.more import MORE
from harness.analysis.claims.recovers import RECOVERS
from harness.analysis.claims.sooner import SOONER
from harness.analysis.claims.trend import TREND
from harness.analysis.claims.wider_lr_range import WIDER_LR_RANGE

KINDS: dict[str, ClaimKind] = {  # by the name of the constructor
    "better": BETTER,
    "more": MORE,
    "less": LESS,
    "equivalent": EQUIVALENT,
    "matches": MATCHES,
    "wider_lr_range": WIDER_LR_RANGE,
    "best_tuned": BEST_TUNED,
    "trend": TREND,
    "sooner": SOONER,
    "recovers": RECOVERS,
    "costs": COSTS,
}
