"""One table for the four formats: each line is what the server prints, and what the client reads from it."""

from __future__ import annotations

from typing import NamedTuple

import attrs
import pytest
from codec_samples import ASKED, WHO, decode, record, sent

from smsc_status._core.wire import codecs
from smsc_status._core.wire.layouts import columns_of
from smsc_status.errors import ProtocolError
from smsc_status.models import Detail, Format, HlrRecord, StatusRecord

BASIC, FULL, EXTENDED = Detail
PLAIN, CSV, XML, JSON = Format


class Case(NamedTuple):
    name: str
    format: Format
    detail: Detail
    records: list[StatusRecord]
    wire: str
    bulk: bool = False
    empty_numbers: bool = False
    unclear: tuple[str, ...] = ()
    """What a reader of the wire can't tell for sure."""


def keyed_json(fields: str) -> str:
    return "{\n" + ",\n".join(line.strip() for line in fields.strip().splitlines()) + "\n}"


def keyed_xml(fields: str) -> str:
    return "<sms>\n" + "\n".join(line.strip() for line in fields.strip().splitlines()) + "\n</sms>"


JSON_FULL = """
    "status": 1
    "last_date": "24.11.2026 10:00:00"
    "last_timestamp": 1795503600
    "flag": 0
    "err": 0
    "send_date": "24.11.2026 09:59:50"
    "send_timestamp": 1795503590
    "phone": "79990000001"
    "cost": "1.20"
    "sender_id": "SMSC.RU"
    "status_name": "Доставлено"
    "message": "Hello"
    "comment": "order 7"
    """
JSON_HLR = """
    "status": 1
    "last_date": "24.11.2026 10:00:00"
    "last_timestamp": 1795503600
    "flag": 4
    "err": 0
    "imsi": "250011234567890"
    "msc": "79168999999"
    "mcc": "250"
    "mnc": "01"
    "cn": "Россия"
    "net": "МТС"
    "rcn": "Турция"
    "rnet": "Turkcell"
    """
XML_FULL = """
    <status>1</status>
    <last_date>24.11.2026 10:00:00</last_date>
    <last_timestamp>1795503600</last_timestamp>
    <flag>0</flag>
    <err>0</err>
    <send_date>24.11.2026 09:59:50</send_date>
    <send_timestamp>1795503590</send_timestamp>
    <phone>79990000001</phone>
    <cost>1.20</cost>
    <sender_id>SMSC.RU</sender_id>
    <status_name>Доставлено</status_name>
    <message>Hello</message>
    <comment>order 7</comment>
    """
PLAIN_HLR = (
    "Status = 1, check_time = 24.11.2026 10:00:00, err = 0, imsi = 250011234567890, msc = 79168999999, mcc = 250, "
    "mnc = 01, cn = Россия, net = МТС, rcn = Турция, rnet = Turkcell"
)
CSV_HLR = "1,1795503600,0,250011234567890,79168999999,250,01,Россия,МТС,Турция,Turkcell"

SIMPLE_CASES = [
    Case("message", PLAIN, BASIC, [record(PLAIN, BASIC)], "Status = 1, check_time = 24.11.2026 10:00:00, err = 0"),
    Case(
        "message",
        PLAIN,
        FULL,
        [record(PLAIN, FULL)],
        "Status = 1, check_time = 24.11.2026 10:00:00, err = 0, send_date = 24.11.2026 09:59:50, phone = 79990000001, "
        "cost = 1.20, sender_id = SMSC.RU, status_name = Доставлено, message = Hello, comment = order 7, type = 0",
        unclear=("message", "comment"),
    ),
    Case(
        "message",
        PLAIN,
        EXTENDED,
        [record(PLAIN, EXTENDED)],
        "Status = 1, check_time = 24.11.2026 10:00:00, err = 0, send_date = 24.11.2026 09:59:50, phone = 79990000001, "
        "mccmnc = 25001, country = Россия, operator = МТС, operator_orig= Билайн, region = Москва, cost = 1.20, "
        "sender_id = SMSC.RU, status_name = Доставлено, message = Hello, comment = order 7, type = 0",
        unclear=("message", "comment"),
    ),
    Case("message", CSV, BASIC, [record(CSV, BASIC)], "1,1795503600,0"),
    Case(
        "message",
        CSV,
        FULL,
        [record(CSV, FULL)],
        "1,1795503600,0,1795503590,79990000001,1.20,SMSC.RU,Доставлено,Hello,order 7,0",
    ),
    Case(
        "message",
        CSV,
        EXTENDED,
        [record(CSV, EXTENDED)],
        "1,1795503600,0,1795503590,79990000001,Россия,МТС,Москва,1.20,SMSC.RU,Доставлено,Hello,order 7,0",
    ),
    Case(
        "message",
        XML,
        BASIC,
        [record(XML, BASIC)],
        keyed_xml("\n".join(XML_FULL.strip().splitlines()[:5])),
    ),
    Case(
        "message",
        XML,
        FULL,
        [record(XML, FULL)],
        keyed_xml(XML_FULL.rstrip() + "\n<type>0</type>\n<sms_cnt>1</sms_cnt>"),
    ),
    Case(
        "message",
        XML,
        EXTENDED,
        [record(XML, EXTENDED)],
        keyed_xml(
            XML_FULL.rstrip()
            + """
            <mccmnc>25001</mccmnc>
            <country>Россия</country>
            <operator>МТС</operator>
            <operator_orig>Билайн</operator_orig>
            <region>Москва</region>
            <type>0</type>
            <sms_cnt>1</sms_cnt>"""
        ),
    ),
    Case("message", JSON, BASIC, [record(JSON, BASIC)], keyed_json("\n".join(JSON_FULL.strip().splitlines()[:5]))),
    Case("message", JSON, FULL, [record(JSON, FULL)], keyed_json(JSON_FULL.rstrip() + '\n"type": 0\n"sms_cnt": 1')),
    Case(
        "message",
        JSON,
        EXTENDED,
        [record(JSON, EXTENDED)],
        keyed_json(
            JSON_FULL.rstrip()
            + """
            "mccmnc": "25001"
            "country": "Россия"
            "operator": "МТС"
            "operator_orig": "Билайн"
            "region": "Москва"
            "type": 0
            "sms_cnt": 1"""
        ),
    ),
    Case("look-up", PLAIN, BASIC, [record(PLAIN, BASIC, hlr=True)], PLAIN_HLR),
    Case(
        "look-up",
        PLAIN,
        FULL,
        [record(PLAIN, FULL, hlr=True)],
        PLAIN_HLR + ", send_date = 24.11.2026 09:59:50, phone = 79990000001, cost = 1.20, sender_id = HLR, "
        "status_name = Доставлено, message = , type = 4",
    ),
    Case(
        "look-up",
        PLAIN,
        EXTENDED,
        [record(PLAIN, EXTENDED, hlr=True)],
        PLAIN_HLR + ", send_date = 24.11.2026 09:59:50, phone = 79990000001, country = Россия, operator = МТС, "
        "region = Москва, cost = 1.20, sender_id = HLR, status_name = Доставлено, message = , type = 4",
    ),
    Case("look-up", CSV, BASIC, [record(CSV, BASIC, hlr=True)], CSV_HLR),
    Case(
        "look-up",
        CSV,
        FULL,
        [record(CSV, FULL, hlr=True)],
        CSV_HLR + ",1795503590,79990000001,1.20,HLR,Доставлено,,4",
    ),
    Case(
        "look-up",
        CSV,
        EXTENDED,
        [record(CSV, EXTENDED, hlr=True)],
        CSV_HLR + ",1795503590,79990000001,Россия,МТС,Москва,1.20,HLR,Доставлено,,4",
    ),
    Case("look-up", JSON, BASIC, [record(JSON, BASIC, hlr=True)], keyed_json(JSON_HLR)),
    Case(
        "look-up",
        JSON,
        EXTENDED,
        [record(JSON, EXTENDED, hlr=True)],
        keyed_json(
            JSON_HLR.rstrip()
            + """
            "send_date": "24.11.2026 09:59:50"
            "send_timestamp": 1795503590
            "phone": "79990000001"
            "cost": "1.20"
            "sender_id": "HLR"
            "status_name": "Доставлено"
            "message": ""
            "country": "Россия"
            "operator": "МТС"
            "region": "Москва"
            "type": 4"""
        ),
    ),
    Case(
        "no error, no comment",
        PLAIN,
        FULL,
        [record(PLAIN, FULL, err=None, comment=None)],
        "Status = 1, check_time = 24.11.2026 10:00:00, send_date = 24.11.2026 09:59:50, phone = 79990000001, "
        "cost = 1.20, sender_id = SMSC.RU, status_name = Доставлено, message = Hello, type = 0",
    ),
    Case(
        "no error, no comment",
        CSV,
        FULL,
        [record(CSV, FULL, err=None, comment="")],
        "1,1795503600,,1795503590,79990000001,1.20,SMSC.RU,Доставлено,Hello,,0",
        empty_numbers=True,
    ),
    Case(
        "no times",
        CSV,
        FULL,
        [record(CSV, FULL, last_timestamp=0, err=0, send_timestamp=0, cost=None, sender_id=None)],
        "1,0,0,0,79990000001,,,Доставлено,Hello,order 7,0",
    ),
    Case(
        "look-up without an answer",
        CSV,
        BASIC,
        [HlrRecord(status=1, last_timestamp=1795503600)],
        "1,1795503600,0,,,,,,,,",
    ),
    Case(
        "look-up without an answer",
        CSV,
        BASIC,
        [HlrRecord(status=1, last_timestamp=1795503600)],
        "1,1795503600,,,,,,,,,",
        empty_numbers=True,
    ),
    Case(
        "nothing but two keys",
        JSON,
        BASIC,
        [StatusRecord(status=0, last_timestamp=1795503600)],
        keyed_json('"status": 0\n"last_timestamp": 1795503600'),
    ),
    Case("an unknown status", JSON, BASIC, [StatusRecord(status=6)], keyed_json('"status": 6')),
    Case("not found", PLAIN, FULL, [StatusRecord(status=-3)], "Status = -3"),
    Case("not found", CSV, FULL, [StatusRecord(status=-3, last_timestamp=0, err=0)], "-3,0,0"),
    Case("not found", CSV, FULL, [StatusRecord(status=-3)], "-3,,", empty_numbers=True),
    Case("not found", XML, FULL, [StatusRecord(status=-3)], keyed_xml("<status>-3</status>")),
    Case("not found", JSON, FULL, [StatusRecord(status=-3)], keyed_json('"status": -3')),
    Case("accepted", CSV, BASIC, [record(CSV, BASIC, status=0)], "0,1795503600,0"),
    Case(
        "bulk",
        PLAIN,
        BASIC,
        [record(PLAIN, BASIC, bulk=True), StatusRecord(status=-3, id=6, phone="79990000002")],
        "Status = 1, check_time = 24.11.2026 10:00:00, err = 0, id = 5, phone = 79990000001\n"
        "Status = -3, id = 6, phone = 79990000002",
        bulk=True,
    ),
    Case(
        "bulk",
        PLAIN,
        FULL,
        [record(PLAIN, FULL, bulk=True), StatusRecord(status=-3, id=6), record(PLAIN, FULL, ASKED[2], bulk=True)],
        "Status = 1, check_time = 24.11.2026 10:00:00, err = 0, send_date = 24.11.2026 09:59:50, phone = 79990000001, "
        "cost = 1.20, sender_id = SMSC.RU, status_name = Доставлено, message = Hello, comment = order 7, type = 0, "
        "id = 5\n"
        "Status = -3, id = 6\n"
        "Status = 1, check_time = 24.11.2026 10:00:00, err = 0, send_date = 24.11.2026 09:59:50, phone = 79990000003, "
        "cost = 1.20, sender_id = SMSC.RU, status_name = Доставлено, message = Hello, comment = order 7, type = 0, "
        "id = 7",
        bulk=True,
        unclear=("message", "comment"),
    ),
    Case(
        "bulk",
        CSV,
        BASIC,
        [
            record(CSV, BASIC, bulk=True),
            record(CSV, BASIC, ASKED[1], hlr=True, bulk=True),
            StatusRecord(status=-3, last_timestamp=0, err=0, id=7, phone="79990000003"),
        ],
        f"1,1795503600,0,5,79990000001\n{CSV_HLR},6,79990000002\n-3,0,0,7,79990000003",
        bulk=True,
    ),
    Case(
        "bulk",
        CSV,
        FULL,
        [
            record(CSV, FULL, bulk=True),
            StatusRecord(status=-3, id=6),
            record(CSV, FULL, ASKED[2], hlr=True, bulk=True),
        ],
        "1,1795503600,0,1795503590,79990000001,1.20,SMSC.RU,Доставлено,Hello,order 7,0,5\n-3,,,6\n"
        + CSV_HLR
        + ",1795503590,79990000003,1.20,HLR,Доставлено,,4,7",
        bulk=True,
        empty_numbers=True,
    ),
    Case(
        "bulk",
        XML,
        BASIC,
        [StatusRecord(status=0, id="a-7", phone="79990000001"), StatusRecord(status=-3, id=6)],
        "<list>\n<sms>\n<status>0</status>\n<id>a-7</id>\n<phone>79990000001</phone>\n</sms>\n"
        "<sms>\n<status>-3</status>\n<id>6</id>\n</sms>\n</list>",
        bulk=True,
    ),
    Case(
        "bulk",
        JSON,
        BASIC,
        [StatusRecord(status=0, id="a-7", phone="79990000001"), StatusRecord(status=-3, id=6, phone="79990000002")],
        '[{\n"status": 0,\n"id": "a-7",\n"phone": "79990000001"\n},'
        '{\n"status": -3,\n"id": 6,\n"phone": "79990000002"\n}]',
        bulk=True,
    ),
    Case(
        "bulk",
        JSON,
        FULL,
        [StatusRecord(status=1, phone="79990000001", type=0, id=5)],
        '[{\n"status": 1,\n"phone": "79990000001",\n"type": 0,\n"id": 5\n}]',
        bulk=True,
    ),
]


def title(case: Case) -> str:
    return f"{case.format.name}-{case.detail.name}-{case.name}"


@pytest.mark.parametrize("case", SIMPLE_CASES, ids=title)
def test_the_emulator_prints_the_vendor_s_lines(case: Case) -> None:
    """The emulator prints the vendor's lines, byte for byte, in each charset."""
    for charset in codecs.CHARSETS:
        body = codecs.encode(
            case.records,
            format=case.format,
            detail=case.detail,
            charset=charset,
            bulk=case.bulk,
            empty_numbers=case.empty_numbers,
        )
        assert body.decode(charset) == case.wire, charset


@pytest.mark.parametrize("case", SIMPLE_CASES, ids=title)
def test_the_client_reads_the_vendor_s_lines(case: Case) -> None:
    """The client reads the vendor's lines as the same records, nothing added and nothing lost, and says what may be
    otherwise.
    """
    asked = [("a-7", ASKED[0][1]) if case.records[0].id == "a-7" else ASKED[0], *ASKED[1:]][: len(case.records)]
    expected = [
        attrs.evolve(record, unclear=case.unclear if record.message else ()) if case.unclear else record
        for record in case.records
    ]
    for charset in codecs.CHARSETS:
        found = decode(case.wire, case.format, case.detail, asked=asked, bulk=case.bulk, charset=charset)
        assert isinstance(found, list), charset
        assert [(type(row), sent(row)) for row in found] == [(type(record), sent(record)) for record in expected]


ERRORS = [
    (PLAIN, "ERROR = 9 (duplicate request, wait a minute)"),
    (CSV, "0,-9"),
    (XML, "<result>\n<error>duplicate request, wait a minute</error>\n<error_code>9</error_code>\n</result>"),
    (JSON, '{\n"error": "duplicate request, wait a minute",\n"error_code": 9\n}'),
]


@pytest.mark.parametrize("bulk", [False, True])
@pytest.mark.parametrize("detail", Detail)
@pytest.mark.parametrize(("format", "wire"), ERRORS)
def test_a_refusal_is_told_from_records_at_every_level(format: Format, wire: str, detail: Detail, bulk: bool) -> None:
    """A refusal is told from records at every level, and a bulk request is refused in the same words."""
    text = "duplicate request, wait a minute"
    assert codecs.encode_error(9, text, format=format, charset="utf-8") == wire.encode()
    found = decode(wire, format, detail, bulk=bulk)
    assert found == codecs.ErrorReply(9, "" if format is CSV else text)
    assert codecs.decode_deletion(wire.encode(), format=format, charset="utf-8") == found


DELETIONS = [(PLAIN, "OK"), (CSV, "OK"), (XML, "<result>OK</result>"), (JSON, '{\n"result": "OK"\n}')]


@pytest.mark.parametrize(("format", "wire"), DELETIONS)
def test_a_deletion_is_confirmed_in_every_format(format: Format, wire: str) -> None:
    """A deletion is confirmed in the documented form, and a bare OK is taken in every format."""
    assert codecs.encode_deletion(format=format, charset="utf-8") == wire.encode()
    assert codecs.decode_deletion(wire.encode(), format=format, charset="utf-8") is None
    assert codecs.decode_deletion(b"OK\n", format=format, charset="utf-8") is None


@pytest.mark.parametrize(
    "body", [b"", b" \n", b"<html>", b"[]", b"{}", b'{"result": 1}', b"<result>NO</result>", b"<a/>"]
)
@pytest.mark.parametrize("format", Format)
def test_a_deletion_that_is_neither_done_nor_refused_is_an_error(format: Format, body: bytes) -> None:
    """Anything else is an error, never taken for a deletion."""
    with pytest.raises(ProtocolError):
        codecs.decode_deletion(body, format=format, charset="utf-8")


@pytest.mark.parametrize("body", [b"", b"  \r\n", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("format", Format)
def test_an_empty_reply_is_an_error(format: Format, body: bytes) -> None:
    """A reply with nothing in it is an error."""
    with pytest.raises(ProtocolError, match="empty"):
        decode(body, format)


@pytest.mark.parametrize("body", ["<html><body>Bad Gateway</body></html>", "nonsense", "null", "7 seven", "<sms>"])
@pytest.mark.parametrize("bulk", [False, True])
@pytest.mark.parametrize("format", Format)
def test_a_reply_in_none_of_the_forms_is_an_error_that_shows_it(format: Format, body: str, bulk: bool) -> None:
    """What is none of the forms is an error that shows it."""
    with pytest.raises(ProtocolError) as caught:
        decode(body, format, bulk=bulk)
    assert caught.value.excerpt in body


@pytest.mark.parametrize("format", Format)
def test_a_byte_order_mark_is_no_part_of_the_reply(format: Format) -> None:
    """A byte order mark before the reply does not hide it."""
    body = b"\xef\xbb\xbf" + codecs.encode(
        [record(format, BASIC)], format=format, detail=BASIC, charset="utf-8", bulk=False
    )
    assert decode(body, format) == [record(format, BASIC)]


@pytest.mark.parametrize("format", Format)
def test_a_byte_that_the_charset_lacks_costs_one_character(format: Format) -> None:
    """A broken byte in a text becomes U+FFFD; the record is read all the same."""
    body = codecs.encode([record(format, FULL, message="a?b")], format=format, detail=FULL, charset="utf-8", bulk=False)
    for charset, broken in (("utf-8", b"a\xffb"), ("windows-1251", b"a\x98b")):
        plain = body.decode().encode(charset)
        (row,) = codecs.decode(
            plain.replace(b"a?b", broken), format=format, detail=FULL, charset=charset, asked=[WHO], bulk=False
        )  # type: ignore[misc]  # rows, or the test fails
        assert sent(row)["message"] == "a\ufffdb"


def test_what_the_charset_lacks_is_escaped_where_the_format_can() -> None:
    """JSON and XML escape a character that the charset lacks, the others print a question mark."""
    text = "Привет 😀 é"
    for format, kept in ((PLAIN, "Привет ? ?"), (CSV, "Привет ? ?"), (XML, text), (JSON, text)):
        body = codecs.encode(
            [record(format, FULL, message=text)], format=format, detail=FULL, charset="windows-1251", bulk=False
        )
        found = decode(body, format, FULL, charset="windows-1251")
        assert isinstance(found, list)
        assert sent(found[0])["message"] == kept


@pytest.mark.parametrize("format", Format)
def test_every_column_is_a_field_of_the_records(format: Format) -> None:
    """Every column of the table is a field of the records, and only a look-up has the look-up's."""
    for detail in Detail:
        for bulk in (False, True):
            names = {field.name for field in attrs.fields(StatusRecord)}
            assert set(columns_of(format, detail, hlr=False, found=True, bulk=bulk)) <= names
            names = {field.name for field in attrs.fields(HlrRecord)}
            assert set(columns_of(format, detail, hlr=True, found=True, bulk=bulk)) <= names
