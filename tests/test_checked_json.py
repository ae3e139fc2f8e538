"""Sealed files: what was written comes back, any damage is seen, and a stranger's JSON is read strictly."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import io
from harness.errors import DamageError
from harness.io import dump_checked_json, load_checked_json

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=9
)
contents = st.dictionaries(st.text(), values, min_size=1, max_size=5)


def sealed(body):
    """A file as a stranger may make it: any bytes, with a checksum that holds."""
    body = body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass")
    return body[:-1] + b',"sha256":"' + hashlib.sha256(body).hexdigest().encode() + b'"}\n'


@pytest.fixture
def stored(tmp_path):
    """Store bytes as a file, and read them as sealed JSON."""

    def store(data):
        path = tmp_path / "a.json"
        path.write_bytes(data)
        return load_checked_json(path)

    return store


@given(contents)
def test_sealed_content_comes_back_as_it_was(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "sealed.json"
    path.write_bytes(dump_checked_json(content))
    assert load_checked_json(path) == content
    assert repr(load_checked_json(path)) == repr(json.loads(json.dumps(content)))


def test_empty_content_comes_back_empty(stored):
    assert stored(dump_checked_json({})) == {}


@given(contents)
def test_a_sealed_file_is_one_line_of_plain_json_with_its_digest_last(content):
    data = dump_checked_json(content)
    whole = json.loads(data)
    assert data.isascii()
    assert data.endswith(b"}\n")
    assert data.count(b"\n") == 1
    assert list(whole)[-1] == "sha256"


@given(contents)
def test_equal_content_is_sealed_in_equal_bytes(content):
    assert dump_checked_json(content) == dump_checked_json(json.loads(json.dumps(content)))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_json_has_not_is_not_written(value):
    with pytest.raises(ValueError, match="JSON"):
        dump_checked_json({"a": value})


DATA = dump_checked_json({"key": "0123456789abcdef", "value": [0.5, None, -1e-9], "text": 'say "sha256":"'})


def test_any_single_bit_that_flips_is_seen(stored):
    for bit in range(8 * len(DATA)):
        flipped = bytearray(DATA)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DamageError, match="checksum"):
            stored(bytes(flipped))


def test_any_part_that_is_missing_is_seen(stored):
    for length in range(len(DATA)):
        with pytest.raises(DamageError, match="checksum"):
            stored(DATA[:length])
        with pytest.raises(DamageError, match="checksum"):
            stored(DATA[length + 1 :])


@pytest.mark.parametrize("more", [b"\n", b" ", b"\0", DATA, b"x" * 512], ids=repr)
def test_anything_that_is_added_is_seen(stored, more):
    for data in (DATA + more, more + DATA):
        with pytest.raises(DamageError, match="checksum"):
            stored(data)


def test_a_block_of_zeros_is_seen(stored):
    for start in range(0, len(DATA), 16):
        with pytest.raises(DamageError, match="checksum"):
            stored(DATA[:start] + bytes(16) + DATA[start + 16 :])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"null\n",
        json.dumps({"a": 1}).encode(),
        json.dumps({"a": 1, "sha256": "0" * 64}, separators=(",", ":")).encode() + b"\n",
        DATA.decode().encode("utf-16"),
        b"\xef\xbb\xbf" + DATA,
        DATA.upper(),
        DATA.replace(b"\n", b"\r\n"),
        bytes(4096),
    ],
    ids=lambda data: repr(data[:20]),
)
def test_what_is_not_sealed_is_refused(stored, data):
    with pytest.raises(DamageError, match="checksum"):
        stored(data)


@pytest.mark.parametrize(
    "body",
    [
        '{"a":1,"a":2}',
        '{"a":{"b":1,"b":1}}',
        '{"a":NaN}',
        '{"a":Infinity}',
        '{"a":[-Infinity]}',
        '{"a":1e400}',
        '{"a":-1e400}',
        '{"a":' + "1" * 5000 + "}",
        '{"a":' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"a":' * 100_000 + "1" + "}" * 100_000,
        b"\xef\xbb\xbf" + b'{"a":1}',
        '{"a":"\u00e9"}',
        '{"a":"\ud800"}',
        b'{"a":"\xff"}',
        '{"a":1}'.encode("utf-16-le") + b"}",
        '{"a":1,}',
        "{'a':1}",
        '{"a":1}{"b":2}',
        '{"a":01}',
        '{"a":"\n"}',
        "nonsense}",
        "}",
    ],
    ids=lambda body: repr(body[:24]),
)
@pytest.mark.timeout(20)
def test_a_strangers_json_is_read_strictly_though_its_checksum_holds(stored, body):
    with pytest.raises(DamageError, match="not JSON as this project writes it"):
        stored(sealed(body))


def test_a_lone_surrogate_that_is_escaped_is_a_text_like_any(stored):
    assert stored(sealed('{"a":"\\ud800"}')) == {"a": "\ud800"}


def test_a_sealed_file_that_is_too_large_is_refused_unread(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    path.write_bytes(DATA)
    monkeypatch.setattr(io, "MAX_JSON_BYTES", len(DATA) - 1)
    with pytest.raises(DamageError, match="more than the"):
        load_checked_json(path)


def test_every_refusal_names_the_file(tmp_path):
    path = tmp_path / "a.json"
    for data in (DATA[1:], sealed('{"a":NaN}')):
        path.write_bytes(data)
        with pytest.raises(DamageError, match=str(path)):
            load_checked_json(path)
