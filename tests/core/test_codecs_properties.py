"""What holds for any bytes and any text."""

from __future__ import annotations

from typing import Any

import pytest
from codec_samples import ASKED, MAILING, PHONE, record, sent
from hypothesis import given, settings
from hypothesis import strategies as st

from smsc_status._core.wire import codecs
from smsc_status._core.wire.codecs import BadRow, ErrorReply
from smsc_status._core.wire.layouts import HLR_KEYS, NOT_FOUND, columns_of
from smsc_status._core.wire.values import INTS
from smsc_status._core.wire.values import TEXTS as TEXT_FIELDS
from smsc_status.errors import ProtocolError
from smsc_status.models import Detail, Format, HlrRecord, Identity, StatusRecord

FULL = Detail.FULL
NASTY = [
    ", comment = ",
    ", type = 0",
    ", id = 5",
    ", id = 6",
    ",,0,5",
    ",,0,6",
    "\n",
    "\r\n",
    "Status = 1, check_time = 24.11.2026 10:00:00, send_date = 24.11.2026 09:59:50, phone = 79990000002, message = ",
    "\nStatus = -3, id = 6",
    "\n1,1795503600,0,1795503590,79990000002,1.20,SMSC.RU,x,fake,,0,6",
    "\n1,1795503600,0,1795503590,79990000003,1.20,SMSC.RU,x,",
    "\n-3,,,6",
    '"',
    "\\",
    "]]>",
    "</message></sms><sms><status>1</status><id>6</id></sms>",
    "<![CDATA[",
    "😀",
    "\x00",
    "&amp;",
    "{}",
    ",",
]
TEXTS = st.lists(st.sampled_from(NASTY) | st.text(max_size=8), max_size=6).map("".join)
TEXTS_OF_ONE_LINE = TEXTS.map(lambda text: " ".join(text.split()))
PIECES = [
    b"Status = 1", b", check_time = 24.11.2026 10:00:00", b", message = ", b", type = 0", b", id = 5", b", phone = ",
    b"79990000001", b"1,", b"-3", b"0,", b",,0,5", b"<sms>", b"</sms>", b"<list>", b"</list>", b"<status>1</status>",
    b"<result>", b"</result>", b"<error_code>1</error_code>", b"[", b"]", b"{", b"}", b'"status": 1', b'"id": 5', b",",
    b'"imsi"', b": ", b'"', b"\n", b"\r", b"OK", b"ERROR = 1 (", b")", b"<!DOCTYPE a [", b"]>", b"\xff", b"\x00",
    b"9" * 20,
]  # fmt: skip
BODIES = st.binary(max_size=60) | st.lists(st.sampled_from(PIECES) | st.binary(max_size=3), max_size=20).map(b"".join)


@pytest.mark.slow
@pytest.mark.parametrize("bulk", [False, True])
@pytest.mark.parametrize("detail", Detail)
@pytest.mark.parametrize("format", Format)
@settings(max_examples=40, deadline=None)
@given(body=BODIES, charset=st.sampled_from(codecs.CHARSETS))
def test_any_bytes_are_rows_a_refusal_or_a_protocol_error(
    format: Format, detail: Detail, bulk: bool, body: bytes, charset: str
) -> None:
    """Any bytes give rows, a refusal or a `ProtocolError`, and nothing else."""
    asked = ASKED if bulk else ASKED[:1]
    try:
        found = codecs.decode(body, format=format, detail=detail, charset=charset, asked=asked, bulk=bulk)
    except ProtocolError:
        return
    if not isinstance(found, ErrorReply):
        for row in found:
            assert isinstance(row, StatusRecord | BadRow)
            assert isinstance(row, BadRow) or not sent(row).keys() & {"ref", "checked_at"}


@pytest.mark.slow
@pytest.mark.parametrize("format", Format)
@settings(max_examples=40, deadline=None)
@given(body=BODIES)
def test_any_bytes_for_a_deletion_are_done_refused_or_a_protocol_error(format: Format, body: bytes) -> None:
    """Any bytes are a deletion done, a refusal or a `ProtocolError`, and nothing else."""
    try:
        found = codecs.decode_deletion(body, format=format, charset="utf-8")
    except ProtocolError:
        return
    assert found is None or isinstance(found, ErrorReply)


def bulk_of(format: Format, detail: Detail, asked: list[Identity], texts: list[str]) -> list[StatusRecord]:
    """An answer for each message, with its own text."""
    comment = None if format is Format.PLAIN else ""
    return [
        record(format, detail, who, bulk=True, message=text, comment=comment)
        for who, text in zip(asked, texts, strict=True)
    ]


def answers(records: list[StatusRecord], format: Format, detail: Detail, asked: list[Identity]) -> list[codecs.Row]:
    body = codecs.encode(records, format=format, detail=detail, charset="utf-8", bulk=True)
    found = codecs.decode(body, format=format, detail=detail, charset="utf-8", asked=asked, bulk=True)
    assert isinstance(found, list)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("format", [Format.XML, Format.JSON])
@settings(max_examples=100, deadline=None)
@given(texts=st.lists(TEXTS, min_size=3, max_size=3))
def test_a_quoted_text_comes_back(format: Format, texts: list[str]) -> None:
    """In XML and JSON any text comes back as it was, but for characters that XML can't carry."""
    records = bulk_of(format, Detail.EXTENDED, ASKED, texts)
    for row, text in zip(answers(records, format, Detail.EXTENDED, ASKED), texts, strict=True):
        message = sent(row)["message"]
        if format is Format.JSON:
            assert message == text
        else:
            assert len(message) == len(text)
            assert all(here in (there, "\ufffd") for here, there in zip(message, text, strict=True))


def misread(row: StatusRecord, whole: StatusRecord) -> set[str]:
    """The fields that are not as they were printed, and not named as unclear either."""
    found, expected = sent(row), sent(whole)
    return {name for name in found | expected if found.get(name) != expected.get(name)} - {*row.unclear, "unclear"}


@pytest.mark.slow
@pytest.mark.parametrize("asked", [ASKED, MAILING], ids=["ids", "mailing"])
@pytest.mark.parametrize("detail", [Detail.FULL, Detail.EXTENDED])
@pytest.mark.parametrize("format", [Format.PLAIN, Format.CSV])
@settings(max_examples=60, deadline=None)
@given(text=TEXTS)
def test_a_text_that_is_not_quoted_harms_no_other_message(
    format: Format, detail: Detail, asked: list[Identity], text: str
) -> None:
    """A text that is not quoted never changes what is read of another message; its own is read or in doubt."""
    records = bulk_of(format, detail, asked, ["Hello", text, "Hello"])
    for row in answers(records, format, detail, asked):
        if isinstance(row, BadRow):
            assert row.index is not None
            continue
        place = asked.index((int(str(row.id)), str(row.phone)))
        assert not misread(row, records[place])


@pytest.mark.slow
@pytest.mark.parametrize("detail", [Detail.FULL, Detail.EXTENDED])
@pytest.mark.parametrize("format", [Format.PLAIN, Format.CSV])
@settings(max_examples=100, deadline=None)
@given(text=TEXTS)
def test_a_text_that_is_not_quoted_in_a_single_reply_is_read_or_unclear(
    format: Format, detail: Detail, text: str
) -> None:
    """A single reply with any text gives that text, or says that it is unclear; the rest of it is read."""
    whole = record(format, detail, message=text, comment=None if format is Format.PLAIN else "")
    body = codecs.encode([whole], format=format, detail=detail, charset="utf-8", bulk=False)
    (row,) = codecs.decode(body, format=format, detail=detail, charset="utf-8", asked=ASKED[:1], bulk=False)  # type: ignore[misc]  # rows
    assert not isinstance(row, BadRow)
    assert not misread(row, whole)
    assert (row.status, row.last_date, row.last_timestamp) == (whole.status, whole.last_date, whole.last_timestamp)


WORDS = st.sampled_from(
    ["МТС", "PJSC", " PJSC", "обл.", " обл.", "1.20", "5", "Доставлено", "HLR", "", PHONE, "0", "4"]
)
NAMES = st.lists(WORDS, min_size=1, max_size=4).map(lambda words: ",".join(words).strip())
VALUES: dict[str, st.SearchStrategy[object]] = {
    "status": st.sampled_from([-3, -2, -1, 0, 1, 2, 3, 20, 25, 6]),
    "err": st.sampled_from([0, 1, 6, 255]),
    "type": st.sampled_from([0, 4, 5, 8]),
    "flag": st.sampled_from([0, 4, 32, 0x104]),
    "sms_cnt": st.integers(1, 9),
    "last_timestamp": st.integers(1_795_000_000, 1_795_999_999),
    "send_timestamp": st.integers(1_795_000_000, 1_795_999_999),
    "last_date": st.just("24.11.2026 10:00:00"),
    "send_date": st.just("24.11.2026 09:59:50"),
    "phone": st.just(PHONE),
    "cost": st.decimals(0, 99, places=2),
    "sender_id": st.sampled_from(["SMSC.RU", "HLR", "79990000009"]),
    "status_name": st.sampled_from(["Доставлено", "Прочитано", "1.20"]),
    "message": TEXTS_OF_ONE_LINE,
    "comment": TEXTS_OF_ONE_LINE.filter(lambda text: not text.rstrip().endswith(",")),
    "imsi": st.sampled_from(["", "250011234567890"]),
    "msc": st.sampled_from(["", "79168999999"]),
    "mcc": st.sampled_from(["", "250"]),
    "mnc": st.sampled_from(["", "01"]),
    "mccmnc": st.just("25001"),
}


@st.composite
def printed(draw: st.DrawFn, format: Format, detail: Detail, *, bulk: bool) -> StatusRecord:
    """A record that has exactly what a reply of this form prints."""
    hlr = draw(st.booleans())
    status = draw(VALUES["status"])
    columns = columns_of(format, detail, hlr=hlr, found=status != NOT_FOUND, bulk=bulk)
    fields: dict[str, Any] = {name: draw(VALUES.get(name, NAMES)) for name in columns if name != "id"}
    fields |= {"status": status} | ({"id": 5} if bulk else {})
    if not hlr and fields.get("type") in (4, 5):
        fields["type"] = 0
    if not hlr and fields.get("flag") in (4, 0x104):
        fields["flag"] = 0
    if status == NOT_FOUND and format is Format.CSV:
        fields |= {"last_timestamp": 0, "err": 0}
    if format in (Format.PLAIN, Format.CSV):
        fields = {name: value if value != "" or name in TEXT_FIELDS else None for name, value in fields.items()}
    if format is Format.XML:
        fields |= {name: "".join(filter(str.isprintable, fields[name])) for name in TEXT_FIELDS & fields.keys()}
    if format is Format.PLAIN and fields.get("comment") == "":
        fields["comment"] = None
    return (HlrRecord if hlr and status != NOT_FOUND else StatusRecord)(**fields)


@pytest.mark.slow
@pytest.mark.parametrize("bulk", [False, True])
@pytest.mark.parametrize("detail", Detail)
@pytest.mark.parametrize("format", Format)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_misread_field_is_named_as_unclear(format: Format, detail: Detail, bulk: bool, data: st.DataObject) -> None:
    """Any record, printed and read again, has the same fields, or says which are unclear; those are `None`, or what
    stands in the line. Its status and times always come out.
    """
    whole = data.draw(printed(format, detail, bulk=bulk))
    body = codecs.encode([whole], format=format, detail=detail, charset="utf-8", bulk=bulk)
    (row,) = codecs.decode(body, format=format, detail=detail, charset="utf-8", asked=ASKED[:1], bulk=bulk)  # type: ignore[misc]  # rows
    assert not isinstance(row, BadRow)
    is_bare = format is Format.PLAIN and sent(whole).keys().isdisjoint(HLR_KEYS)  # nothing shows that it is a look-up
    assert type(row) is type(whole) or (detail is Detail.BASIC and isinstance(row, HlrRecord)) or is_bare
    wrong = misread(row, whole)
    if format is Format.CSV and isinstance(whole, HlrRecord) and whole.err == 0:
        wrong -= {"err"}  # that of a look-up without an answer
    assert not wrong
    assert not set(row.unclear) & (INTS | {"last_date", "send_date", "id", "phone"})
    for name in row.unclear:
        assert getattr(row, name) is None or str(getattr(row, name)) in body.decode()
