"""What is said of a reply, or a record, that can't be read; and that the short ways are taken where they can be."""

from __future__ import annotations

import json

import pytest

from smsc_status import ProtocolError, TransportError
from smsc_status._core.wire import codecs, jsonfast, jsonform, xmlform
from smsc_status._core.wire.codecs import BadRow, ErrorReply, Row
from smsc_status._core.wire.portions import in_one_go
from smsc_status._core.wire.protocol import Wire, read
from smsc_status._core.wire.replytext import ReplyText
from smsc_status.models import Detail, Format, Identity, StatusRecord

JSON, XML, PLAIN, CSV = Format.JSON, Format.XML, Format.PLAIN, Format.CSV
ASKED: list[Identity] = [(1, "79990000001"), (2, "79990000002")]

DATE = "10.10.2010 10:10:10"
LINE = f"Status = 1, check_time = {DATE}, id = 1, phone = 79990000001"


def decoded(body: str, format: Format, detail: Detail, *, bulk: bool) -> list[codecs.Row] | ErrorReply:
    asked = ASKED if bulk else ASKED[:1]
    return codecs.decode(body.encode(), format=format, detail=detail, charset="utf-8", asked=asked, bulk=bulk)


def only(rows: object) -> object:
    """The one row."""
    assert isinstance(rows, list)
    (row,) = rows
    return row


@pytest.mark.parametrize(
    ("format", "body", "reason", "excerpt"),
    [
        (JSON, "5", "neither a record nor a list", "5"),
        (JSON, "{", "not JSON", "{"),
        (XML, "<a", "not XML", "<a"),
        (XML, "<a/>", "neither messages nor a refusal", "<a/>"),
        (XML, "<!DOCTYPE x []><sms><status>1</status></sms>", "a document type is declared", "<!DOCTYPE x"),
        (PLAIN, "rubbish", "no line starts with a status", "rubbish"),
        (CSV, "rubbish", "no line starts with a status", "rubbish"),
    ],
)
def test_a_reply_that_says_nothing_is_an_error_with_its_reason_and_excerpt(
    format: Format, body: str, reason: str, excerpt: str
) -> None:
    for bulk in (True, False):
        with pytest.raises(ProtocolError) as caught:
            decoded(body, format, Detail.BASIC, bulk=bulk)
        assert (caught.value.reason, caught.value.excerpt) == (reason, excerpt)


@pytest.mark.parametrize(
    ("format", "detail", "body", "said", "whose"),
    [
        (JSON, 0, "{}", ("no status", "{}"), (None, None)),
        (JSON, 0, '{"status": [1], "id": 1}', ("status is not what it should be", "'status': ['1']"), (1, None)),
        (JSON, 0, '{"err": 1, "id": 2, "phone": "3"}', ("no status", "'err': '1'"), (2, "3")),
        (XML, 0, "<sms><status>1</status></sms>" * 2, ("several messages where one was asked", "{}"), (None, None)),
        (PLAIN, 0, "Status = 1, check_time = 10.10.2010 10:1", ("the line is cut", "{}"), (None, None)),
        (
            PLAIN,
            0,
            "Status = 1, phone = 1, phone = 2",
            ("an id or a phone is there twice", "'phone': '1'"),
            (None, "1"),
        ),
        (CSV, 0, "1,2", ("columns that do not fit", "'line': '1,2'"), (1, "79990000001")),
        (CSV, 1, "1,1286524541,0,9,79990000002,1.00", ("columns that do not fit", "'line': '1,12"), (1, "79990000001")),
    ],
)
def test_a_record_that_can_not_be_read_says_why_and_whose_it_may_be(
    format: Format, detail: int, body: str, said: tuple[str, str], whose: tuple[int | None, str | None]
) -> None:
    """It says why, shows what came, and whose it may be."""
    row = only(decoded(body, format, Detail(detail), bulk=False))
    assert isinstance(row, BadRow)
    reason, excerpt = said
    assert row.error.reason == reason
    assert excerpt in row.error.excerpt
    assert (row.id, row.phone, row.index) == (*whose, 0)


def told(row: codecs.Row) -> object:
    return (row.error.reason, row.id) if isinstance(row, BadRow) else (row.status, row.id)


@pytest.mark.parametrize(
    ("format", "body", "expected"),
    [
        (JSON, '[5, {"status": 0, "id": 2}]', [("not a record", None), (0, 2)]),
        (
            XML,
            "<list><sms><status>1</status><id>1</id></sms><sms><status>1</sms>"
            "<sms><status>0</status><id>2</id></sms></list>",
            [(1, 1), ("not XML", None), (0, 2)],
        ),
        (
            XML,
            "<list><sms><status>1<b></status><id>1</id></sms><sms><status>1</status><id>2</id></sms>"
            "<sms><status>1<c></status></sms></list>",
            [
                ("beside a message that can't be read", None),
                ("beside a message that can't be read", 2),
                ("not XML", None),
            ],
        ),
        (PLAIN, f"{LINE}\nStatus = 1, check_time = {DATE}", [(1, 1), ("a line that may be cut", None)]),
    ],
)
def test_a_record_that_can_not_be_read_costs_the_others_nothing(
    format: Format, body: str, expected: list[object]
) -> None:
    """One that can't be read costs the others nothing, where it is sure that they are others."""
    rows = decoded(body, format, Detail.BASIC, bulk=True)
    assert isinstance(rows, list)
    assert [told(row) for row in rows] == expected


@pytest.mark.parametrize(
    ("format", "body", "reason"),
    [
        (PLAIN, "nonsense", "neither deleted nor refused"),
        (CSV, "nonsense", "neither deleted nor refused"),
        (XML, "nonsense", "not XML"),
        (XML, "<result>no</result>", "neither deleted nor refused"),
        (XML, "<result>O<b/>K</result>", None),
        (JSON, "nonsense", "not JSON"),
        (JSON, '{"result": 5}', "neither deleted nor refused"),
    ],
)
def test_an_unreadable_answer_to_a_deletion_says_why(format: Format, body: str, reason: str | None) -> None:
    if reason is None:
        assert codecs.decode_deletion(body.encode(), format=format, charset="utf-8") is None
        return
    with pytest.raises(ProtocolError) as caught:
        codecs.decode_deletion(body.encode(), format=format, charset="utf-8")
    assert (caught.value.reason, caught.value.excerpt) == (reason, body)


@pytest.mark.parametrize(
    ("status", "body", "kind", "text"),
    [
        (200, b" \n", TransportError, "the server's answer was empty"),
        (503, b"", TransportError, "the server answered HTTP 503"),
        (404, b"x" * 2000, ProtocolError, "unexpected HTTP status"),
        (200, b"<html>", ProtocolError, "not JSON"),
    ],
)
def test_the_http_status_goes_before_the_body(status: int, body: bytes, kind: type[Exception], text: str) -> None:
    """A body is read only after HTTP 200."""
    error = read(Wire(), status, {}, body, asked=ASKED, bulk=True, detail=Detail.BASIC)
    assert type(error) is kind
    assert text in str(error)
    if isinstance(error, ProtocolError):
        assert error.status == status
        assert error.reason == text
    if isinstance(error, TransportError):
        assert error.retry_after is None
        assert str(error) == text


@pytest.mark.parametrize("prologue", ["", '<?xml version="1.0" encoding="UTF-8"?>\n'])
@pytest.mark.parametrize("space", ["", "\n", "\r\n "])
def test_flat_xml_takes_the_short_way(prologue: str, space: str) -> None:
    """One message, or a list, with an entity or without."""
    fields = "<status>1</status><err>0</err><sender_id>A&amp;B &#x2713;&#33;</sender_id><id>7</id>"
    one = f"{space}<sms>{fields.replace('><', f'>{space}<')}{space}</sms>{space}"
    row = only(_read_flat(prologue + one))
    assert isinstance(row, StatusRecord)
    assert (row.status, row.err, row.sender_id, row.id) == (1, 0, "A&B \u2713!", 7)
    assert _read_flat(f"{prologue}<list>{one}{one}") == [row, row]  # each of them is whole
    assert _read_flat(f"{prologue}<list>{one}{one}</list>{space}") == [row, row]
    for odd in (
        one + one,
        one.replace("<err>", "<err a='1'>"),
        one.replace("<err>0", "<err>0<b/>"),
        one.replace("</sms>", ""),
        one.replace("&amp;", "&unknown;"),
        one.replace("&#33;", "&#0;"),
        one.replace("<err>", "&amp;<err>"),
        one.replace("<err>0</err>", "<err>0</err><err>1</err>"),
        f"{one}more",
        f"more{one}",
    ):
        assert _read_flat(prologue + odd) is None, odd


def _read_flat(document: str) -> list[Row] | None:
    # Whether the short way was taken can't be told from the decoded rows: they are the same.
    return in_one_go(xmlform._read_flat(ReplyText(document.encode(), "utf-8"), ASKED))


def test_documented_json_takes_the_short_way() -> None:
    """One record, or a list; whatever else is a list goes record by record."""
    record = b'{"status": 1, "err": 0, "id": 7, "cost": "1.50"}'
    row = only(in_one_go(jsonform.decode_documented(b" \n" + record, ASKED)))
    assert isinstance(row, StatusRecord)
    assert (row.status, row.err, row.id, str(row.cost)) == (1, 0, 7, "1.50")
    assert in_one_go(jsonform.decode_documented(b"\n[" + record + b"," + record + b"]", ASKED)) == [row, row]
    assert in_one_go(jsonform.decode_documented(b'{"status": "1"}', ASKED)) is None
    assert in_one_go(jsonform.decode_documented(b"[", ASKED)) is None
    rows = in_one_go(jsonform.decode_documented(b"[" + record + b',{"status": "2"}]', ASKED))
    assert rows == [row, StatusRecord(status=2)]


def test_a_long_list_is_read_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever they end: a text that looks like the end of a record, and what follows one, are read as they are."""
    text = '[{"status":0,"comment":"}, {"},\n{"x":{"y":{},"z":[{},{}]},"status":1} , {"status":2,"id":"a},{"}]'
    for portion in range(90):
        monkeypatch.setattr(jsonfast, "PORTION", portion)
        rows = in_one_go(jsonform.decode_documented(text.encode(), ASKED))
        assert rows is not None, portion
        assert [(row.status, row.comment, row.id) for row in rows if isinstance(row, StatusRecord)] == [
            (0, "}, {", None),
            (1, None, None),
            (2, None, "a},{"),
        ], portion
        for broken in (text[:-1], text[:-1] + ",]", text + "]", text.replace('":1} ,', '":1}')):
            assert in_one_go(jsonform.decode_documented(broken.encode(), ASKED)) is None, (portion, broken)


@pytest.mark.parametrize(
    "end", ["Status = 2", "Status = 2, check_time = 10.10", "Status = 2, check_time = 1.10.2010 1"]
)
def test_a_plain_line_that_ends_within_its_status_or_date_is_cut(end: str) -> None:
    """Whatever stood after it; the lines before it stand."""
    alone = only(decoded(end, PLAIN, Detail.BASIC, bulk=True))
    assert isinstance(alone, BadRow)
    assert alone.error.reason == "the line is cut"
    rows = decoded(f"{LINE}\n{LINE}1\n{end}", PLAIN, Detail.BASIC, bulk=True)
    assert isinstance(rows, list)
    assert [getattr(row, "phone", None) for row in rows] == ["79990000001", "799900000011", None]
    assert isinstance(rows[2], BadRow)


FLOODS = {
    JSON: (b'[{"status":1}', b',{"status":1}', b"]"),
    XML: (b"<list>", b"<sms><status>1</status></sms>", b"</list>"),
    PLAIN: (b"", LINE.encode() + b"\n", b""),
    CSV: (b"", b"1,10.10.2010 10:10:10,1,79990000001\n", b""),
}
ODD = {
    JSON: (b'["", 1', b", {}", b"]"),
    XML: (b"<list>", b'<sms a="1"><status>1</status></sms>', b"</list>"),
    PLAIN: (LINE.encode(), b"\n!", b""),
    CSV: (b"1,10.10.2010 10:10:10,1,79990000001", b"\n,", b""),
}


@pytest.mark.parametrize("format", Format)
@pytest.mark.parametrize("flood", [FLOODS, ODD], ids=["records", "odd"])
def test_a_flood_of_rows_is_refused(format: Format, flood: dict[Format, tuple[bytes, bytes, bytes]]) -> None:
    """Some repetitions are put up with, a server that does not stop is not."""
    begin, row, end = flood[format]
    known = {"format": format, "detail": Detail.BASIC, "charset": "utf-8", "asked": ASKED, "bulk": True}
    assert len(codecs.decode(begin + row * 1000 + end, **known)) >= 1000  # type: ignore[arg-type]  # a list
    with pytest.raises(ProtocolError, match=r"^1,\d\d\d rows or more about 2 messages"):
        codecs.decode(begin + row * 1010 + end, **known)  # type: ignore[arg-type]  # as above


@pytest.mark.slow
@pytest.mark.parametrize("value", ["0", '""', "{}", '"a":1', '"\\\\"', '"\\""'])
@pytest.mark.parametrize("around", ["[%s]", '[{"status": "1", "x": [%s]}]', "[%s", "{%s}", '[{"status": "1"}, %s,"'])
def test_a_flood_of_values_is_refused_before_they_are_made(value: str, around: str) -> None:
    """Whether it is JSON at all; a text may hold as many commas and quotes as it likes."""
    body = around % ",".join([value] * 200_000)
    with pytest.raises(ProtocolError, match="rows or more about 2 messages"):
        decoded(body, JSON, Detail.BASIC, bulk=True)
    text = json.dumps([{"status": "1", "message": body}, {"status": "2", "message": "\\"}])
    rows = decoded(text, JSON, Detail.BASIC, bulk=True)
    assert isinstance(rows, list)
    assert [getattr(row, "message", None) for row in rows] == [body, "\\"]


def test_white_space_that_json_does_not_allow_is_no_place_to_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same in one piece."""
    for portion in (1, 1000):
        monkeypatch.setattr(jsonfast, "PORTION", portion)
        with pytest.raises(ProtocolError, match="not JSON"):
            decoded('[{"status":1}\x0c,{"status":1}]', JSON, Detail.BASIC, bulk=True)


def test_a_flood_of_documented_json_is_refused_while_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not after ten megabytes of it."""
    monkeypatch.setattr(jsonfast, "PORTION", 1000)
    with pytest.raises(ProtocolError, match=r"^1,\d\d\d rows or more"):
        in_one_go(jsonform.decode_documented(b"[" + b'{"status":1},' * 100_000 + b'{"status":1}]', ASKED))
