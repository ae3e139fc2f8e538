"""A suite with what earlier runs have added to it."""

from dataclasses import replace

from harness.spec.loader import SuiteFile
from harness.spec.manifest import Manifest


def grown(suite: SuiteFile, manifest: Manifest | None) -> SuiteFile:
    """The suite with the seeds that earlier runs added where claims had no word, and the learning rates of its grid."""
    if manifest is None:
        return suite
    lrs = () if manifest.growth is None else tuple(manifest.growth.added)
    return replace(suite, added=tuple(manifest.added), lrs=lrs)
