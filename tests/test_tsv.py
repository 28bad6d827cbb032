"""TSV files: the fast reader agrees with the plain one, and says where a row is wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arithprobe.data.dataset import ArithmeticDataset, batches
from arithprobe.data.tsv import check_row, read_tsv, write_tsv
from arithprobe.errors import ArithprobeError
from arithprobe.problems.grammar import Problem
from arithprobe.tokenizer import encode, pad_batch

GOOD = "103 + 40 = ?\t143\n50 + 7 = ?\t57\n"

problems = st.builds(Problem, st.integers(0, 10**6), st.integers(0, 10**6), st.just(97))


@pytest.fixture
def write(tmp_path):
    def make(content: str | bytes):
        path = tmp_path / "rows.tsv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return make


@given(st.lists(problems, min_size=1, max_size=30))
def test_what_is_written_is_read(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("tsv") / "rows.tsv"
    dataset = ArithmeticDataset(read_tsv(write_tsv(path, rows)))
    assert dataset.texts() == [str(row) for row in rows]
    assert dataset.answers.tolist() == [row.answer for row in rows]
    assert list(zip(dataset.x.tolist(), dataset.y.tolist(), strict=True)) == [(row.x, row.y) for row in rows]
    expected = pad_batch([encode(str(row)) for row in rows])
    assert dataset.ids.tolist() == expected.ids.tolist()
    assert dataset.lengths.tolist() == expected.lengths.tolist()


rows = st.one_of(
    problems.map(lambda p: f"{p}\t{p.answer}"),
    problems.map(lambda p: f"{p}\t{p.answer}.0"),
    problems.map(lambda p: f"{p}\t{p.answer + 1}"),
    st.text("0123 +=?(mod97)\t.-eE_", max_size=24),
    st.text(max_size=12),
)


@given(st.lists(rows, min_size=1, max_size=4))
def test_a_row_is_right_for_the_fast_reader_if_it_is_for_the_plain_one(tmp_path_factory, lines):
    content = "\n".join(["1 + 2 (mod 97) = ?\t3", *lines, "1 + 2 (mod 97) = ?\t3"])
    path = tmp_path_factory.mktemp("tsv") / "rows.tsv"
    path.write_bytes(content.encode("utf-8", "surrogatepass"))

    def right(line):
        try:
            return check_row(line).modulus == 97
        except ArithprobeError:
            return False

    if all(right(line) for line in path.read_bytes().replace(b"\r\n", b"\n").decode("utf-8", "replace").split("\n")):
        assert read_tsv(path).modulus == 97
    else:
        with pytest.raises(ArithprobeError, match=r"rows.tsv:\d+"):
            read_tsv(path)


@pytest.mark.parametrize(
    "content",
    [
        GOOD,
        GOOD.replace("\n", "\r\n"),
        "\ufeff" + GOOD,
        GOOD.rstrip(),
        GOOD + "\n \n\t\n",
        GOOD.replace("143", "143.0"),
        GOOD.replace("57", "5.7e1"),
        GOOD.replace("57", "+57"),
    ],
)
def test_harmless_differences_are_accepted(write, content):
    assert read_tsv(write(content)).answers.tolist() == [143, 57]


@pytest.mark.parametrize(
    ("content", "where", "message"),
    [
        ("", "", "the file is empty"),
        ("\n \n\t\n", "", "the file has only blank lines"),
        (GOOD + "\n" + GOOD, ":3", "got a blank line"),
        (GOOD + "5 + 7 = ?\n", ":3", "expected 'problem<TAB>answer', got 1 field"),
        (GOOD + "5 + 7 = ?\t12\t1\n", ":3", "got 3 fields"),
        (GOOD + "5 + 7 = ?\t12\t", ":3", "got 3 fields"),
        ("5 + 7 = ?\n12\t12\t12\n", ":1", "got 1 field"),
        (GOOD + "5 + 7 = ?\ttwelve\n", ":3", "expected a finite number as the answer, got 'twelve'"),
        (GOOD + "5 + 7 = ?\t\n", ":3", "expected a finite number as the answer, got ''"),
        (GOOD + "5 + 7 = ?\t1_2\n", ":3", "got '1_2'"),
        (GOOD + "5 + 7 = ?\tnan\n", ":3", "got 'nan'"),
        (GOOD + "5 + 7 = ?\tinf\n", ":3", "got 'inf'"),
        (GOOD + "5 + 7 = ?\t1e999\n", ":3", "the answer to '5 + 7 = ?' is 12, the file says 1e999"),
        (GOOD + "5 x 7 = ?\t12\n", ":3:3", "character 'x' (U+0078) is outside the vocabulary"),
        (GOOD + "5 + 7 = é\t12\n", ":3:9", "character 'é' (U+00E9)"),
        (GOOD + "5 + 7\0 = ?\t12\n", ":3:6", "character '\\x00'"),
        (GOOD + "5 + 7 = ?\0\t12\n", ":3:10", "character '\\x00'"),
        (GOOD + "-5 + 7 = ?\t2\n", ":3", "'-5 + 7 = ?' is neither"),
        (GOOD + "5 + 7 =\t12\n", ":3", "is neither"),
        (GOOD + "5 + 7 = ?\t13\n", ":3", "the answer to '5 + 7 = ?' is 12, the file says 13"),
        (GOOD + "05 + 7 = ?\t13\n", ":3", "the answer to '05 + 7 = ?' is 12, the file says 13"),
        (GOOD + "5 + 7 (mod 97) = ?\t12\n", ":3", "modulus 97 here, a plain sum on line 1"),
        ("5 + 7 (mod 97) = ?\t12\n5 + 7 (mod 13) = ?\t12\n", ":2", "modulus 13 here, modulus 97 on line 1"),
        (GOOD.encode() + b"5 + \xff = ?\t12\n", ":3:5", "not UTF-8 (byte 0xFF)"),
        (GOOD + "1" * 600 + " + 7 = ?\t12\n", ":3", "x has 600 digits; expected at most 15"),
    ],
)
def test_wrong_rows_are_named_with_their_line(write, content, where, message):
    path = write(content)
    with pytest.raises(ArithprobeError) as raised:
        read_tsv(path)
    assert str(raised.value).startswith(f"{path}{where}: ")
    assert message in str(raised.value)


@pytest.mark.parametrize(
    "header",
    [
        "problem\tanswer",
        "Problem\tAnswer\r",
        '"problem"\t"answer"',
        "question\tresult",
        "x1\ty_10\tsum",
        "Aufgabe\tLösung",
        "input",
        "\ufeffproblem\tanswer",
        "# made by hand",
    ],
)
def test_a_header_row_is_called_one(write, header):
    path = write(f"{header}\n{GOOD}")
    with pytest.raises(ArithprobeError) as raised:
        read_tsv(path)
    assert str(raised.value) == (
        f"{path}:1: is a header row; delete it: expected 'problem<TAB>answer' rows from the first line on"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("5 + 7 = ?\ttwelve\n" + GOOD, ":1: expected a finite number as the answer, got 'twelve'"),
        ("5 x 7 = ?\t35\n" + GOOD, ":1:3: character 'x'"),
        ("five\t5\n" + GOOD, ":1:1: character 'f'"),
        ("\t\n" + GOOD, ":1: expected 'problem<TAB>answer', got a blank line"),
        ("hello\nworld\n", ":1: expected 'problem<TAB>answer', got 1 field"),
        (GOOD + "problem\tanswer\n" + GOOD, ":3:1: character 'p'"),
    ],
)
def test_other_wrong_rows_are_no_headers(write, content, message):
    path = write(content)
    with pytest.raises(ArithprobeError) as raised:
        read_tsv(path)
    assert str(raised.value).startswith(f"{path}{message}")


def test_a_missing_file_and_a_folder_are_said(tmp_path):
    with pytest.raises(ArithprobeError, match="no such file; 'arithprobe generate' makes data files"):
        read_tsv(tmp_path / "none.tsv")
    with pytest.raises(ArithprobeError, match="cannot be read: Is a directory"):
        read_tsv(tmp_path)


def test_batches_hold_each_row_once(write):
    dataset = ArithmeticDataset(read_tsv(write("".join(f"{i} + 1 = ?\t{i + 1}\n" for i in range(10)))))
    seen = list(batches(dataset, 4, shuffle=True))
    assert [len(batch.rows) for batch in seen] == [4, 4, 2]
    order = [row for batch in seen for row in batch.rows.tolist()]
    assert sorted(order) == list(range(10))
    for batch in seen:
        assert batch.answers.tolist() == [row + 1 for row in batch.rows.tolist()]
        assert batch.ids.dtype.is_floating_point is False
    assert dataset[3].answers.tolist() == [4]
