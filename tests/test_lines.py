"""Bytes to lines, lines to CSV records."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsc_status._lines import MAX_RECORD_LINES, CsvRecords, LineSplitter, Record


def split(*chunks: bytes, max_bytes: int = 100) -> list[tuple[int, bytes | None]]:
    splitter = LineSplitter(max_bytes)
    lines = [line for chunk in chunks for line in splitter.feed(chunk)]
    return lines + list(splitter.finish())


def records(*lines: str, delimiter: str = ",") -> list[Record]:
    assembler = CsvRecords(delimiter)
    found = [record for number, line in enumerate(lines, 1) for record in assembler.feed(number, line)]
    return found + assembler.finish()


@pytest.mark.parametrize(
    ("chunks", "lines"),
    [
        ([], []),
        ([b"a\nb\n"], [(1, b"a"), (2, b"b")]),
        ([b"a\nb"], [(1, b"a"), (2, b"b")]),
        ([b"a", b"b\n", b"\nc"], [(1, b"ab"), (2, b""), (3, b"c")]),
        ([b"0123456789\nb"], [(1, None), (2, b"b")]),
        ([b"0123456789", b"0123456789", b"\nb"], [(1, None), (2, b"b")]),
        ([b"0123456789"], [(1, None)]),
    ],
)
def test_lines_are_split_whatever_the_chunks(chunks: list[bytes], lines: list[tuple[int, bytes | None]]) -> None:
    """A line is numbered from 1, and one that is too long costs only itself."""
    assert split(*chunks, max_bytes=8) == lines


@given(st.lists(st.binary(max_size=12)))
def test_no_line_is_lost(chunks: list[bytes]) -> None:
    """However the bytes come, the lines are those of the whole."""
    whole = b"".join(chunks).split(b"\n")
    if whole[-1] == b"":
        whole.pop()
    assert [line for _, line in split(*chunks, max_bytes=10_000)] == whole


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (["1,2"], [(1, ["1", "2"])]),
        (['"1","2"'], [(1, ["1", "2"])]),
        (['1, "a, b"'], [(1, ["1", "a, b"])]),
        (['1,"a', 'b",3', "4"], [(1, ["1", "a\nb", "3"]), (3, ["4"])]),
        (['1,"a ""b""', '",3'], [(1, ["1", 'a "b"\n', "3"])]),
        (['1,a "b', "2,c"], [(1, ["1", 'a "b']), (2, ["2", "c"])]),
        (['1,"a', "2,b"], [(1, None), (2, ["2", "b"])]),
        ([""], [(1, [])]),
        (["1\r2"], [(1, None)]),
    ],
)
def test_a_record_may_go_over_several_lines(lines: list[str], found: list[Record]) -> None:
    """A quoted field may go over lines; a stray quote costs its own line."""
    assert records(*lines) == found


def test_a_stray_quote_is_given_up_after_a_bounded_number_of_lines() -> None:
    """It must not hold back the rest of an endless file."""
    assembler = CsvRecords(";")
    found = [assembler.feed(number, '1;"' if number == 1 else "2;3") for number in range(1, MAX_RECORD_LINES + 1)]
    assert not any(found[:-1])
    assert found[-1] == [(1, None), *((number, ["2", "3"]) for number in range(2, MAX_RECORD_LINES + 1))]


CELL = st.text(st.sampled_from('ab,;"\n '), max_size=8)


@pytest.mark.slow
@given(st.lists(st.lists(CELL, min_size=2, max_size=3), max_size=6), st.sampled_from(",;\t"))
def test_rows_of_a_csv_writer_are_read_back(rows: list[list[str]], delimiter: str) -> None:
    """Every row comes back as it was, as long as spaces do not begin a field."""
    rows = [[cell.lstrip(" ") for cell in row] for row in rows]
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator="\n").writerows(rows)
    lines = text.getvalue().split("\n")[:-1]
    assert [fields for _, fields in records(*lines, delimiter=delimiter)] == rows
