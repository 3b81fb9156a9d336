"""Messages from files."""

from __future__ import annotations

import io
import os
import threading
from contextlib import aclosing
from datetime import UTC, datetime, timedelta, timezone

import anyio
import pytest

from smsc_status.cli import _files
from smsc_status.cli._files import Columns, MessageFile
from smsc_status.errors import ConfigError
from smsc_status.models import MessageRef

Shown = list[tuple[int | str, str, datetime | None]]


def read(content: bytes, columns: Columns | None = None, name: str = "") -> tuple[Shown, list[tuple[int, str]]]:
    bad: list[tuple[int, str]] = []
    source = MessageFile(io.BytesIO(content), columns or Columns(), lambda number, why: bad.append((number, why)), name)
    source.open()
    refs = anyio.run(collect, source)
    assert source.has_ended
    assert source.bytes_used <= len(content) + 1
    assert source.messages == len(refs)
    assert source.bad_lines == sum(not is_note(why) for _, why in bad)
    return [(ref.id, ref.phone, ref.sent_at) for ref in refs], bad


def is_note(why: str) -> bool:
    return why.endswith(("without its time of sending", "names another)"))


async def collect(source: MessageFile) -> list[MessageRef]:
    async with aclosing(source.read()) as refs:
        return [ref async for ref in refs]


NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "content",
    [
        "id,phone,sent_at\n1,79990000001,2026-01-02T12:00:00Z\nab-2,a@b.ru,\n",
        "\ufeffID;Phone;Sent_At\r\n1;79990000001;1767355200\r\n\r\nab-2;a@b.ru\r\n",
        'name\tphone\tid\tsent_at\n"x\ty"\t79990000001\t1\t2026-01-02 15:00:00+03:00\n\ta@b.ru\tab-2\t\t',
        '\n{"id": "1", "phone": 79990000001, "sent_at": 1767355200}\n\n{"phone": "a@b.ru", "id": "ab-2", "x": [1]}',
    ],
)
def test_every_form_of_input_gives_the_same(content: str) -> None:
    """CSV with any of the delimiters, a byte order mark or none, JSON lines: known by what they hold."""
    found, bad = read(content.encode())
    assert not bad
    assert found == [("1", "79990000001", NOON), ("ab-2", "a@b.ru", None)]


def test_the_ids_of_json_keep_their_kind() -> None:
    """What goes on the wire is the caller's own form."""
    assert read(b'{"id": 7, "phone": "+7 999"}')[0] == [(7, "+7 999", None)]


def test_options_name_the_columns() -> None:
    """Options name the columns."""
    columns = Columns("Msg", "To", "At")
    expected = [("1", "79", NOON)]
    assert read(b"to,msg,at,id\n79,1,1767355200,x\n", columns)[0] == expected
    assert read(b'{"To": "79", "Msg": "1", "At": 1767355200.0}', columns)[0] == expected


@pytest.mark.parametrize("content", [b"", b"\n \r\n", b"\xef\xbb\xbf", b"id,phone\n"])
def test_an_empty_file_is_an_empty_list(content: bytes) -> None:
    """An empty file is an empty list."""
    assert read(content) == ([], [])


@pytest.mark.parametrize(
    ("content", "name", "what"),
    [
        (b"number,phone\n1,7\n", "", "no column 'id' in the input, which has 'number', 'phone': name yours with --id-"),
        (b"id\n1\n", "", "--phone-column"),
        (b'{"number": 1, "phone": 7}\n', "", "no column 'id'"),
        (b'[{"id": 1}]', "", "JSON array"),
        (b'{"id": 1, "phone": 7}\n', "x.csv", "no column 'id'"),
        (b"0" * (_files.CHUNK_BYTES * 20), "", "no column 'id'"),
    ],
)
def test_a_file_without_the_columns_is_refused_at_once(content: bytes, name: str, what: str) -> None:
    """Before any request, with what to do."""
    with pytest.raises(ConfigError, match=what):
        read(content, name=name)


def test_a_column_that_was_asked_for_must_be_there() -> None:
    """`sent_at` may be missing, unless it is named."""
    with pytest.raises(ConfigError, match="--sent-at-column"):
        read(b"id,phone\n1,7\n", Columns(sent_at="when"))


def test_a_bad_line_of_csv_is_reported_and_does_not_stop_the_rest() -> None:
    """Each is reported by its number and does not stop the rest."""
    content = (
        b"id,phone,sent_at\n"
        b"1,71\n"
        b",72\n"
        b"3\n"
        b"4,7,4,4\n"
        b"b d,75\n"
        b"6,76,2026-01-02\n"
        b"7,77,soon\n"
        b"8,\xff\xfe\n"
        b'9,"79\n'
        b"10,7" + b"0" * (1 << 20) + b"\n"
        b"11,711,99999999999999999\n"
        b"12,712"
    )
    found, bad = read(content)
    assert [id for id, _, _ in found] == ["1", "6", "7", "11", "12"]
    assert [number for number, _ in bad] == [3, 4, 5, 6, 7, 8, 9, 9, 11, 10, 12]  # 10 was open until the end
    why = dict(bad)
    assert "no 'id'" in why[3]
    assert "no 'phone'" in why[4]
    assert "4 columns: expected 3" in why[5]
    assert "expected 1 to 40" in why[6]
    assert "sent_at '2026-01-02': expected a date and time" in why[7]
    assert "sent_at 'soon': expected a date and time" in why[8]
    assert "phone 'яю': expected a number" in why[9]
    assert "quote" in why[10]
    assert why[11] == "too long"
    assert "sent_at '99999999999999999'" in why[12]


def test_a_bad_line_of_json_is_reported_and_does_not_stop_the_rest() -> None:
    """The same, a JSON object a line."""
    lines = [
        "{",
        '{"id": 1, "phone": "71"}',
        "[]",
        '{"id": 2}',
        '{"id": true, "phone": "7"}',
        '{"id": 3, "phone": true}',
        '{"id": 4, "phone": "74", "sent_at": true}',
        "[" * 100_000,
        '{"id": 5, "phone": "75"}',
    ]
    found, bad = read("\n".join(lines).encode(), name="x.jsonl")
    assert [id for id, _, _ in found] == [1, 4, 5]
    assert [number for number, _ in bad] == [1, 3, 4, 5, 6, 7, 8]
    assert [why for _, why in bad][:2] == ["not JSON", "expected a JSON object"]


@pytest.mark.parametrize("first", ["7", "null"])
def test_a_first_line_that_is_no_object_is_a_bad_line_of_a_json_file(first: str) -> None:
    """It is a bad line like another, where the file's name says that this is JSON."""
    found, bad = read(f'{first}\n{{"id": 1, "phone": "7"}}\n'.encode(), name="x.json")
    assert len(found) == len(bad) == 1


def test_a_pipe_is_waited_for_without_holding_up_the_loop() -> None:
    """A line is there as soon as it was written, and other tasks go on meanwhile."""
    reader, writer = os.pipe()
    os.write(writer, b"id,phone\n")
    with os.fdopen(reader, "rb") as pipe:
        source = MessageFile(pipe, Columns(), lambda number, why: None)
        source.open()

        async def main() -> list[MessageRef]:
            found = []
            async with aclosing(source.read()) as refs:
                threading.Timer(0.05, os.write, (writer, b"1,71\n")).start()
                async for ref in refs:
                    found.append(ref)
                    if len(found) == 1:
                        os.write(writer, b"2,72\n")
                        os.close(writer)
            return found

        assert [ref.id for ref in anyio.run(main)] == ["1", "2"]


@pytest.mark.parametrize(
    "content",
    [
        "ID;Телефон;Дата отправки\n00123;+7 999 000-00-01;25.11.2026 22:05\n",
        'sep=;\r\nID;Телефон;Дата отправки\r\n="00123";"+7 999 000-00-01";25.11.2026 22:05:00\r\n',
        '"sep=|"\n\nид|Номер телефона|Время отправки\n"=""00123"""|\'+7 999 000-00-01|2026-11-25T22:05\n',
        "Дата отправки\tТелефон\tid сообщения\tИмя\n2026-11-25 22:05+03:00\t+7 999 000-00-01\t00123\tИван\n",
        '{"ID": "00123", "Телефон": "+7 999 000-00-01", "Дата отправки": "25.11.26 22:05"}\n',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32", "windows-1251"])
def test_files_of_russian_spreadsheets_are_read(content: str, encoding: str) -> None:
    """Their headers, their first line, their charsets, their text cells and their dates, in Moscow's time."""
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    found, notes = read((mark + content).encode(encoding))
    assert found == [("00123", "+7 999 000-00-01", datetime(2026, 11, 25, 19, 5, tzinfo=UTC))]
    assert [note.split(":")[0] for _, note in notes] == ["not UTF-8"] * (encoding == "windows-1251")


def test_the_charset_that_was_named_is_kept_to() -> None:
    """A line in another is a bad one; without a name, the first line that is not ASCII decides."""
    lines = ["id,phone,имя", "1,71,Иван", "2,72,Пётр"]
    mixed = b"\n".join([lines[0].encode(), lines[1].encode("cp1251"), lines[2].encode()])
    assert read(mixed)[1] == [(2, "not UTF-8")]
    named = MessageFile(io.BytesIO("\n".join(lines).encode("koi8-r")), Columns(), print, encoding="KOI8-R")
    named.open()
    assert len(anyio.run(collect, named)) == 2
    wide = MessageFile(io.BytesIO("\n".join(lines).encode("utf-16-le")), Columns(), print, encoding="utf-16-le")
    wide.open()
    assert len(anyio.run(collect, wide)) == 2
    strict = MessageFile(io.BytesIO("\n".join(lines).encode("cp1251")), Columns(), print, "in.csv", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"^in\.csv: the first line is not UTF-8: name yours with --encoding$"):
        strict.open()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"PK\x03\x04" + bytes(100), r"an Excel workbook \(\.xlsx\)"),
        (b"id,phone\r1,71\r2,72\r", r"a text whose lines end with carriage returns alone \(CR\)"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\r", "a binary file"),
        ("id,phone\n1,71\n".encode("utf-16-le"), "UTF-16 without a byte order mark"),
    ],
)
@pytest.mark.parametrize("name", ["in.csv", "-"])
def test_a_file_that_is_no_text_is_refused_with_what_it_is(content: bytes, what: str, name: str) -> None:
    """By its first bytes, with its name, before any request."""
    with pytest.raises(ConfigError, match=f"^{'in.csv' if name != '-' else 'standard input'}: {what}"):
        read(content, name=name)


def test_a_separator_line_alone_is_an_empty_list() -> None:
    assert read(b"sep=;\n") == ([], [])


def test_a_time_without_a_zone_is_read_in_the_one_that_was_named() -> None:
    """A line whose time can't be read keeps its message, with a note."""
    said: list[tuple[int, str]] = []
    content = b"id,phone,sent_at\n1,71,25.11.2026 22:05\n2,72,yesterday\n3,73,2026-11-25T22:05Z\n"
    zone = timezone(timedelta(hours=5))
    source = MessageFile(io.BytesIO(content), Columns(), lambda number, why: said.append((number, why)), zone=zone)
    source.open()
    refs = anyio.run(collect, source)
    expected = [datetime(2026, 11, 25, 17, 5, tzinfo=UTC), None, datetime(2026, 11, 25, 22, 5, tzinfo=UTC)]
    assert [ref.sent_at for ref in refs] == expected
    [(number, why)] = said
    assert number == 3
    assert why.startswith("sent_at 'yesterday': expected a date and time such as")
    assert why.endswith("; the message is asked for without its time of sending")
    assert source.bad_lines == 0


def test_an_empty_name_leaves_the_times_unread() -> None:
    """Nothing is said of them."""
    assert read(b"id,phone,sent_at\n1,71,yesterday\n", Columns(sent_at="")) == ([("1", "71", None)], [])


def test_a_spoilt_cell_makes_a_bad_line() -> None:
    """As they are in the library."""
    found, bad = read(b"id;phone\n12345.0;71\n1,2E+12;71\n3;7,999E+10\n4;71\xc2\xa0\n5;'71\n")
    assert found == [("4", "71", None)]
    assert [number for number, _ in bad] == [2, 3, 4, 6]
    assert all("looks like" in why for _, why in bad)


def test_the_share_of_a_wide_file_that_was_read_is_known() -> None:
    """Two bytes a character are counted as such."""
    content = ("id,phone\n" + "1,71\n" * 1000).encode("utf-16")
    source = MessageFile(io.BytesIO(content), Columns(), print)
    source.open()
    anyio.run(collect, source)
    assert len(content) * 0.99 < source.bytes_used <= len(content)
