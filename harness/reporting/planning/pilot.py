"""What results that there are say of the claims of a plan."""

from harness.analysis.verdicts import Verdict, verdicts
from harness.spec.manifest import claim_identity
from harness.storage.records import ResultsDir
from harness.storage.tables import read_results


def pilot_verdicts(results_dir: ResultsDir) -> dict[str, Verdict]:
    """The verdicts on the results that there are, by the identities of their claims."""
    if not (results_dir.root / "trials.csv").exists():
        return {}
    return {claim_identity(verdict.claim): verdict for verdict in verdicts(read_results(results_dir.root))}
