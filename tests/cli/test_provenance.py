"""What a run says of where its results come from."""

import harness
from harness.cli.provenance import _code_hash


def test_the_digest_of_the_code_that_trains_has_all_of_it_and_no_more(tmp_path, monkeypatch):
    monkeypatch.setattr(harness, "__file__", str(tmp_path / "__init__.py"))
    (tmp_path / "training" / "probes").mkdir(parents=True)
    trains = [tmp_path / name for name in ("trial.py", "plan.py", "training/loop.py", "training/probes/weights.py")]
    for file in (*trains, tmp_path / "store.py"):
        file.write_text("before")
    digests = [_code_hash()]
    for file in trains:
        file.write_text("after")
        digests.append(_code_hash())
    assert len(set(digests)) == 1 + len(trains)
    (tmp_path / "store.py").write_text("after")
    assert _code_hash() == digests[-1]
