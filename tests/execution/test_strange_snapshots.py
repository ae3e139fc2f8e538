"""A snapshot that a stranger has sealed: it is gone on from, or refused in one line."""

import json
import struct

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import HarnessError
from harness.execution.messages import Finished, Stopped
from harness.storage.containers import read_container, seal
from harness.storage.records import ResultsDir
from tests.execution.test_models import job_of, train
from tests.support.mutations import mutated


def outcome_of(job):
    """What comes of a job: "trained", or the error that refuses it."""
    try:
        return "trained" if isinstance(train(job), Finished) else "stopped"
    except HarnessError as error:
        return str(error)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_strange_snapshot_is_gone_on_from_or_refused(tmp_path_factory, data):
    torn = job_of(tmp_path_factory.mktemp("snapshots"), "torn")
    assert isinstance(train(torn, pieces=4), Stopped)
    (path,) = ResultsDir(torn.root).checkpoints.iterdir()
    body = bytes(read_container(path))
    (length,) = struct.unpack("<Q", body[:8])
    header = json.loads(body[8 : 8 + length])
    header["about"] = data.draw(mutated(header["about"], {}))
    text = json.dumps(header).encode()
    path.write_bytes(seal([struct.pack("<Q", len(text)), text, body[8 + length :]]))
    outcome = outcome_of(torn)
    assert outcome == "trained" or ("snapshot" in outcome and len(outcome.splitlines()) == 1)
