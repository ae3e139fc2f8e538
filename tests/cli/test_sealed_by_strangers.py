"""What a stranger has written with a checksum that holds, however strange: one line for each problem and no traceback,
the exit code that is documented, and the rows of other trials as they were."""

import io
import json
import shutil
import struct
import zipfile
from contextlib import chdir, redirect_stderr, redirect_stdout

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.cli import main
from harness.cli.streams import MAX_LINE
from harness.errors import DamageError
from harness.export.embedded_checksum import NO_CHECKSUM, embed_checksum
from harness.export.formats import FACTS_MEMBER
from harness.io import dump_checked_json, load_checked_json
from harness.reporting.figures.frame import ReportFigure
from harness.storage.containers import read_container, seal
from harness.storage.records import ResultsDir, read_manifest, read_record
from tests.cli.conftest import CommandLine
from tests.reporting.conftest import BLANK
from tests.support.mutations import STRANGE, at_the_edge, mutated

SUITE = '''"""Is it read with care?"""

from harness import Claim, Suite

suite = Suite(
    dataset="circles", model="mlp-4", norm=["batch", "none"], lr=0.1, batch_size=50, seed=range(2), steps=6,
    target_accuracy=0.5, save_models=True, claims=[Claim.better("batch", than="none")],
)
'''
CODES = {0, 1, 2, 3, 4, 5}
RUN = ("run", "s", "--progress", "none", "--executor", "in-process")
STATUS, REPORT, COMPARE, VERIFY = (
    ("status", "s"),
    ("report", "s"),
    ("compare", "results/s", "whole/s"),
    ("verify", "results"),
)
EXAMPLES = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)


def said_by(folder, words):
    """The exit code of a command in a folder, and what it says."""
    out, err = io.StringIO(), io.StringIO()
    with chdir(folder), redirect_stdout(out), redirect_stderr(err):
        code = main(words)
    return code, out.getvalue(), err.getvalue()


def check(folder, *commands, problems=2):
    """Do the commands; each ends as documented, and says no more than a line for each problem."""
    for words in commands:
        code, out, err = said_by(folder, words)
        assert code in CODES, (words, code, err)
        assert "Traceback" not in out + err, (words, err)
        assert len(err.splitlines()) <= problems, (words, err)
        assert all(len(line) <= MAX_LINE for line in err.splitlines()), words


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    line = CommandLine(tmp_path_factory.mktemp("whole"))
    line.suite(SUITE, "s")
    code, _, err = said_by(line.folder, RUN)
    assert code in (0, 1), err
    shutil.copytree(line.results, line.folder / "whole")
    keys = [path.stem for path in sorted((line.results / "s" / "records").iterdir())]
    for words in (
        ("export", keys[0], "-o", "model.pth"),
        ("export", keys[0], "-o", "net.pt", "--format", "state_dict"),
    ):
        code, _, err = said_by(line.folder, words)
        assert code == 0, err
    return line


@pytest.fixture
def copy(whole, monkeypatch):
    """The folder, and how to put it back before each example."""
    monkeypatch.setattr(ReportFigure, "files", lambda figure: {f"{figure.name}.{kind}": BLANK[kind] for kind in BLANK})

    def reset():
        shutil.rmtree(whole.results)
        shutil.copytree(whole.folder / "whole", whole.results)
        return whole.folder

    return reset


def contents(whole, pattern):
    """The paths of files, and what stands in them."""
    paths = sorted((whole.folder / "whole" / "s").glob(pattern))
    return [
        (whole.results / "s" / path.relative_to(whole.folder / "whole" / "s"), load_checked_json(path))
        for path in paths
    ]


def rows_of_others(whole, key):
    text = (whole.results / "s" / "trials.csv").read_text("utf-8")
    return [line for line in text.splitlines() if key not in line]


@EXAMPLES
@given(data=st.data())
def test_a_record(whole, copy, data):
    folder = copy()
    (path, content), (_, donor) = contents(whole, "records/*.json")[:2]
    before = rows_of_others(whole, path.stem)
    path.write_bytes(dump_checked_json(data.draw(mutated(content, donor))))
    check(folder, STATUS, ("show", path.stem), VERIFY)
    assert rows_of_others(whole, path.stem) == before
    check(folder, data.draw(st.sampled_from([REPORT, COMPARE, RUN, ("export", path.stem, "-o", "x.pth")])))


@EXAMPLES
@given(data=st.data())
def test_suite_json(whole, copy, data):
    folder = copy()
    ((path, content),) = contents(whole, "suite.json")
    key = contents(whole, "records/*.json")[0][0].stem
    path.write_bytes(dump_checked_json(data.draw(mutated(content, content["claims"][0]))))
    check(folder, STATUS, ("show", key), VERIFY, COMPARE)
    check(folder, data.draw(st.sampled_from([REPORT, RUN, ("export", key, "-o", "x.pth")])))


EDGES = range(0, len(STRANGE), 7)


def is_read(read, path, content):
    """Whether this content, sealed, is let in by what reads such a file."""
    path.write_bytes(dump_checked_json(content))
    try:
        read()
    except DamageError:
        return False
    return True


@pytest.mark.parametrize("number", EDGES)
def test_a_record_that_is_just_let_in(whole, copy, number):
    folder = copy()
    (path, content) = contents(whole, "records/*.json")[0]
    content["facts"] |= dict.fromkeys(("lr", "key", "suite", "status", "test_accuracy", "best_step", "unknown"), 1)
    before = rows_of_others(whole, path.stem)
    members = [("error",), *((part, name) for part in ("facts", "telemetry") for name in content[part])]
    members += [("curves", name, "value", 0) for name in content["curves"]]
    strange = at_the_edge(content, members, lambda c: is_read(lambda: read_record(path), path, c), number)
    assert is_read(lambda: read_record(path), path, strange)
    check(folder, STATUS, ("show", path.stem), VERIFY, REPORT, COMPARE, RUN, problems=1)
    assert rows_of_others(whole, path.stem) == before


TEXTS = [("name",), ("question",), ("path",), ("harness",), ("device",), ("cohorts",), ("trials",), ("machine",)]
SETTINGS = [("settings", name) for name in ("model", "lr", "batch_size", "steps", "schedule")]
AXES = [("compare",), ("axes",), ("following",), ("target_accuracy",)]
CLAIM = [("claims", 0, name) for name in ("kind", "arm", "than", "margin", "metric", "where", "against", "at", "along")]


@pytest.mark.parametrize("number", EDGES)
@pytest.mark.parametrize("members", [TEXTS, SETTINGS, AXES, CLAIM], ids=["texts", "settings", "axes", "claim"])
def test_a_suite_json_that_is_just_let_in(whole, copy, number, members):
    folder = copy()
    place = ResultsDir(whole.results / "s")
    ((path, content),) = contents(whole, "suite.json")
    key = contents(whole, "records/*.json")[0][0].stem
    strange = at_the_edge(content, members, lambda c: is_read(lambda: read_manifest(place), path, c), number)
    assert is_read(lambda: read_manifest(place), path, strange)
    check(folder, COMPARE, STATUS, ("show", key), VERIFY, REPORT, RUN, problems=1)


@EXAMPLES
@given(data=st.data(), name=st.sampled_from([".merged", ".whole_models"]))
def test_a_note_that_saves_reading(whole, copy, data, name):
    folder = copy()
    said_by(folder, RUN)
    path = whole.results / "s" / name
    before = (whole.results / "s" / "trials.csv").read_bytes()
    path.write_bytes(dump_checked_json(data.draw(mutated(load_checked_json(path), {}))))
    check(folder, STATUS, VERIFY, RUN)
    assert (whole.results / "s" / "trials.csv").read_bytes() == before


@EXAMPLES
@given(data=st.data())
def test_a_trained_model(whole, copy, data):
    folder = copy()
    path = sorted((whole.results / "s" / "models").glob("*.last"))[0]
    body = bytes(read_container(path))
    (length,) = struct.unpack("<Q", body[:8])
    header = json.dumps(data.draw(mutated(json.loads(body[8 : 8 + length]), {}))).encode()
    path.write_bytes(seal([struct.pack("<Q", len(header)), header, body[8 + length :]]))
    key = path.name.partition(".")[0]
    form = data.draw(st.sampled_from(["checkpoint", "state_dict", "safetensors"]))
    check(folder, ("export", key, "-o", "x", "--format", form), VERIFY, ("show", key), RUN)


def resealed(data, change):
    """An exported file whose model card is changed, with a checksum that holds."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w") as new:
        for entry in old.infolist():
            content = old.read(entry)
            if entry.filename.endswith(FACTS_MEMBER):
                content = json.dumps(change(json.loads(content))).encode()
            new.writestr(entry.filename, content)
        new.comment = NO_CHECKSUM
    return embed_checksum(file.getvalue())


@EXAMPLES
@given(data=st.data(), name=st.sampled_from(["model.pth", "net.pt"]))
def test_an_exported_model(whole, data, name):
    sound = (whole.folder / name).read_bytes()
    strange = resealed(sound, lambda card: data.draw(mutated(card, {})))
    (whole.folder / "strange.pth").write_bytes(strange)
    check(whole.folder, ("predict", "strange.pth", "circles"), ("evaluate", "strange.pth"), problems=1)


def test_an_exported_model_that_is_only_sealed_again_is_read(whole):
    (whole.folder / "again.pth").write_bytes(resealed((whole.folder / "model.pth").read_bytes(), lambda card: card))
    code, _, err = said_by(whole.folder, ("evaluate", "again.pth"))
    assert (code, err) == (0, "")
