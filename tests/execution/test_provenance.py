"""What a run says of where its results come from."""

from harness.execution import provenance
from harness.execution.provenance import _code_hash


def test_the_digest_of_the_code_that_trains_has_all_of_it_and_no_more(tmp_path, monkeypatch):
    files = ["spec/trial.py", "spec/cohorts.py", "rng.py", "training/loop.py", "probes/weights.py", "nn/norms.py"]
    trains = [tmp_path / name for name in [*files, "ensemble/optim.py", "data/datasets.py"]]
    for file in (*trains, tmp_path / "storage" / "tables.py"):
        file.parent.mkdir(exist_ok=True)
        file.write_text("before")
    assert all((provenance.PACKAGE / file.relative_to(tmp_path)).is_file() for file in trains)
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path)
    digests = [_code_hash()]
    for file in trains:
        file.write_text("after")
        digests.append(_code_hash())
    assert len(set(digests)) == 1 + len(trains)
    (tmp_path / "storage" / "tables.py").write_text("after")
    assert _code_hash() == digests[-1]
