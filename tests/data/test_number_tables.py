"""Tables of numbers as anybody writes them: read as what they are, or refused with row, column and remedy."""

import csv
import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data.number_tables import read_csv
from harness.errors import UsageError
from harness.export.evaluate import read_examples

X = np.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]], dtype=np.float32)
ROWS = "0.1,0.2\n0.3,0.4\n0.5,0.6\n"


def read(tmp_path, content):
    path = tmp_path / "a.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_csv(path)


@pytest.mark.parametrize(
    "content",
    [
        ROWS,
        ROWS.rstrip("\n"),
        ROWS.replace("\n", "\r\n"),
        ROWS.replace("\n", "\r"),
        ROWS.replace(",", ", "),
        ROWS.replace(",", " ,"),
        "a,b\n" + ROWS,
        "a,a\n" + ROWS,
        '"a","b"\n' + ROWS,
        "\n\n" + ROWS.replace("\n", "\n\n"),
        "größe,länge\n" + ROWS,
        ("\ufeff" + ROWS).encode(),
        ("\ufeffa,b\n" + ROWS).encode(),
        ROWS.encode("utf-16"),
        ("\ufeffa,b\n" + ROWS).encode("utf-16-be"),
        ROWS.encode("utf-32"),
        '"0.1","0.2"\n"0.3","0.4"\n"0.5","0.6"\n',
        "1e-1,2E-1\n+.3,4.0e-1\n0.5000,00.6\n",
    ],
)
def test_what_pandas_numpy_spreadsheets_and_editors_write_is_read(tmp_path, content):
    x, y = read(tmp_path, content)
    assert y is None
    np.testing.assert_array_equal(x, X)


@pytest.mark.parametrize(
    ("content", "y"),
    [
        ("first, label, second\n0.1, 2, 0.2\n0.3, 0, 0.4\n", [2, 0]),
        ("label,a,b\n1.0,0.1,0.2\n0.0,0.3,0.4\n", [1.0, 0.0]),
        ("0,1,label\n0.1,0.2,cat\n0.3,0.4,dog, big\n".replace("dog, big", '"dog, big"'), ["cat", "dog, big"]),
        ("\ufefflabel,a,b\r\n1,0.1,0.2\r\n0,0.3,0.4\r\n", [1, 0]),
        ("a,b,label\n0.1,0.2,True\n0.3,0.4,False\n", ["True", "False"]),
        (f"a,b,label\n0.1,0.2,{2**62 + 1}\n0.3,0.4,-1\n", [2**62 + 1, -1]),
    ],
)
def test_labels_stand_in_the_column_of_that_name(tmp_path, content, y):
    x, labels = read(tmp_path, content)
    np.testing.assert_array_equal(x, X[:2])
    assert labels.tolist() == y


def test_truth_values_are_zero_and_one(tmp_path):
    x, _ = read(tmp_path, "a,b\nTrue,0.5\nFALSE,1\n")
    assert x.tolist() == [[1, 0.5], [0, 1]]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "it is empty"),
        ("\n \n", "it is empty"),
        ("a,b\n", "it has no rows with numbers"),
        ("0,1\n0.1,0.2\n", "row 1 reads 0,1, which may be numbers of columns"),
        ("0\n0.1\n", "row 1 reads 0, which may be numbers of columns"),
        (",a,b\n0,0.1,0.2\n", "row 1, column 1 has no name: it is an index"),
        ("Unnamed: 0,a,b\n0,0.1,0.2\n", "row 1, column 1 has no name: it is an index"),
        ("a,b\n9,0.1,0.2\n8,0.3,0.4\n", "row 2 has 3 cells and row 1 2; the first column is an index"),
        ("a,b\n0.1,0.2\n0.1,0.2,\n", "row 3 has 3 cells and row 1 2"),
        ("a,b\n0.1\n0.3,0.4\n", "row 2 has 1 cells and row 1 2"),
        ("0.1,\n0.3,0.4\n", "row 1, column 2 has no name ('')"),
        ("0.1,cat\n0.3,dog\n", "row 1 has numbers, and 'cat' in column 2"),
        ("nan,0.2\n0.3,0.4\n", "row 1, column 1 holds nan"),
        ("a,b\n0.3,0.4\n\n0.3,-inf\n", "row 4, column 2 holds -inf"),
        ("a,b\n0.3,1e39\n", "row 2, column 2 holds 1e+39"),
        ("label,a\n1,0.4\n0,inf\n", "row 3, column 2 holds inf"),
        ("a,b\n0.3,\n", "row 2, column 2 is empty or missing"),
        ("a,b\n0.3,NA\n", "row 2, column 2 is empty or missing"),
        ("a,label,b\n0.3,1,\n", "row 2, column 3 is empty or missing"),
        ("a,label,b\n0.3,,1\n", "row 2 has no label ('')"),
        ("a,label,b\n0.3,None,1\n", "row 2 has no label ('None')"),
        ('a\n0.3\n""\n0.4\n', "row 3 is empty"),
        ('a\n0.3\n""\n', "row 3 is empty"),
        ('a,b\n"1,234",0.2\n', "row 2, column 1 holds '1,234', which is no number; write numbers without thousands"),
        ("a,b\n2026-01-31,0.2\n", "row 2, column 1 holds '2026-01-31', which is no number; write dates"),
        ("a,b\n1_000,0.2\n", "row 2, column 1 holds '1_000'"),
        ("a,b\n0x10,0.2\n", "row 2, column 1 holds '0x10'"),
        ("a,b\n5 %,0.2\n", "row 2, column 1 holds '5 %'"),
        ("0.1;0.2\n0.3;0.4\n", "row 1 has semicolons between its cells; save it with commas"),
        ("0,1;0,2\n0,3;0,4\n", "row 1 has semicolons between its cells"),
        ("a;b\n0,3;0,4\n", "row 1 has semicolons between its cells"),
        ("0.1\t0.2\n0.3\t0.4\n", "row 1 has tabs between its cells"),
        ("a|b\n0.3|0.4\n", "row 1 has bars between its cells"),
        ("0.1 0.2\n0.3 0.4\n", "row 2, column 1 holds '0.3 0.4', which is no number; save it with commas"),
        ("sep=,\n0.1,0.2\n", "row 1 sets a separator"),
        ("# made by hand\n0.1,0.2\n", "row 1 is a comment"),
        ("a,b\n0.1,0.2\n# the end\n", "row 3 has 1 cells and row 1 2"),
        ("a,label,label\n0.1,1,2\n", "2 columns are called 'label'"),
        ('a,b\n"0.1,0.2\n', "unexpected end of data"),
        ("[" * 200_000, "field larger than field limit"),
        (b"\0\1\2", "zero bytes"),
        (ROWS.encode("utf-16-le"), "zero bytes"),
        ("a,b\n0.1,0.2\ngröße,1\n".encode("cp1252"), "row 3 has bytes that are not UTF-8; save it as UTF-8"),
        (ROWS.encode("utf-16")[:-1], "not UTF-16"),
    ],
)
def test_what_is_no_such_table_is_refused_in_one_line_with_its_place(tmp_path, content, words):
    with pytest.raises(UsageError) as refusal:
        read(tmp_path, content)
    message = str(refusal.value)
    assert words in message
    assert message.startswith(f"{tmp_path}/a.csv is no table of numbers: ")
    assert message.isprintable()
    assert len(message) < 400 + len(str(tmp_path))


def test_a_table_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"no file .*none\.csv"):
        read_csv(tmp_path / "none.csv")


NUMBERS = st.floats(width=32, allow_nan=False, allow_infinity=False) | st.integers(-(2**24), 2**24).map(float)
TABLES = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(NUMBERS, min_size=width, max_size=width), min_size=1, max_size=5)
)
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["C"]) | st.sampled_from(', "\n'), min_size=1).filter(
    lambda name: name.strip() and not name.strip()[:1].isdigit()
)
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-32")


@given(
    TABLES,
    st.data(),
    st.sampled_from(ENCODINGS),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.booleans(),
)
def test_a_table_with_names_written_in_any_way_comes_back_or_its_names_are_refused(
    tmp_path_factory, rows, data, encoding, ending, quoting, has_labels
):
    names = data.draw(st.lists(NAMES, min_size=len(rows[0]), max_size=len(rows[0])))
    labels = data.draw(st.lists(st.integers(-9, 9) | st.integers(), min_size=len(rows), max_size=len(rows)))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator=ending, quoting=quoting)
    writer.writerow([*names, "label"] if has_labels else names)
    writer.writerows([*row, label] if has_labels else row for row, label in zip(rows, labels, strict=True))
    path = tmp_path_factory.mktemp("tables") / "a.csv"
    path.write_bytes(text.getvalue().encode(encoding))
    try:
        x, y = read_csv(path)
    except UsageError as error:
        # A name may look like a number, a gap, a comment, an index, another separator, and go over lines.
        rows_of_names = range(1, 2 + sum(name.count("\n") + name.count("\r") for name in names))
        said = ("columns are called", "which may be", *(f"row {number}" for number in rows_of_names))
        assert any(words in str(error) for words in said)  # noqa: PT017
        return
    np.testing.assert_array_equal(x, np.array(rows, np.float32))
    if has_labels and all(abs(label) < 2**63 for label in labels):
        assert y.tolist() == labels


@given(TABLES, st.sampled_from(ENCODINGS))
def test_a_table_without_names_comes_back_or_its_first_row_is_refused(tmp_path_factory, rows, encoding):
    path = tmp_path_factory.mktemp("tables") / "a.csv"
    pd.DataFrame(rows).to_csv(path, index=False, header=False, encoding=encoding)
    x, _ = read_csv(path)
    np.testing.assert_array_equal(x, np.array(rows, np.float32))


@given(TABLES, st.integers(0, 4), st.integers(0, 4), st.sampled_from(["", "nan", "x", "1,5", "inf", "1e40"]))
def test_one_wrong_cell_is_named_by_its_row_and_column(tmp_path_factory, rows, row, column, wrong):
    row, column = row % len(rows), column % len(rows[0])
    cells = [list(map(str, values)) for values in rows]
    cells[row][column] = wrong
    path = tmp_path_factory.mktemp("tables") / "a.csv"
    pd.DataFrame(cells, columns=[f"c{i}" for i in range(len(rows[0]))]).to_csv(path, index=False)
    with pytest.raises(UsageError, match=rf"row {row + 2}(, column {column + 1} | is empty)"):
        read_csv(path)


@given(TABLES)
def test_an_index_or_numbered_columns_of_pandas_are_never_taken_for_examples(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("tables") / "a.csv"
    for options in ({"index": True}, {"index": False}):
        pd.DataFrame(rows).to_csv(path, **options)
        with pytest.raises(UsageError, match=r"an index|which may be numbers of columns"):
            read_csv(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a,b,c\n1,2,3\n", "shape (N, 2)"),
        ("a,b,label\n1,2,3\n", "label 3 is none of the model's: 0, 1, 2"),
        ("a,b,label\n1,2,-1\n", "label -1 is none of the model's: 0, 1, 2"),
        ("a,b,label\n1,2,0.5\n", "labels must be whole numbers or text, got 0.5 at [0]"),
        ("a,b,label\n1,2,x\n", "label 'x' is none of the model's: 0, 1, 2"),
    ],
)
def test_a_table_that_does_not_fit_the_model_is_refused_in_one_line(tmp_path, content, words):
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(UsageError) as refusal:
        read_examples(str(tmp_path / "a.csv"), (2,), range(3), {})
    assert words in str(refusal.value)
    assert str(refusal.value).isprintable()
