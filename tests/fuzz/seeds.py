"""Replies to begin with, and what to put into them."""

from __future__ import annotations

from fuzz.guarantee import ASKED, MAILING
from smsc_status import Detail, Format, StatusRecord
from smsc_status._core.wire import codecs
from smsc_status._core.wire.codecs import CHARSETS
from smsc_status.emulator._details import NASTY_COMMENTS, NASTY_TEXTS
from smsc_status.emulator._world import World

SENT_AT = 1_773_122_400.0

_COMMON = [
    " ",
    ",",
    ", ",
    "\n",
    "\r\n",
    "0",
    "1",
    "-3",
    "5",
    "6",
    "7",
    "79990000001",
    "79990000002",
    "999999999999999999",
]
_KEYS = [
    "status",
    "err",
    "id",
    "phone",
    "message",
    "comment",
    "type",
    "cost",
    "last_timestamp",
    "imsi",
    "region",
    "flag",
]

TOKENS: dict[Format, list[str]] = {
    Format.PLAIN: [
        *_COMMON, " = ", "Status = 1", "Status = -3, id = 5", "Status = -3, id = 6, phone = 79990000002", ", type = 0",
        ", check_time = 10.03.2026 09:00:00", ", err = 0", ", message = ", ", comment = ", ", id = 5", ", ID = 6",
        ", phone = 79990000001", ", phone = +7 (999) 000-00-02", ", cost = 1.20", ", region = ", "operator_orig= ",
        "ERROR = 9 (", ")", "), ID - 275", "OK",
        "Status = -1", ", net = MTS, PJSC", ", region = A, cost = 5",
        "Status = 1, check_time = , phone = 79990000001, message = x, type = 0, id = 5\n",
    ],
    Format.CSV: [
        *_COMMON, ",,", "-3,5", "-1,5", "-2,,,6", "-3,,,6", ", PJSC", ",79990000001,A,B, C,1.20,",
        "-3,0,0,5,79990000001", "1,1773122400,0,", "1773122390,79990000001,1.20,",
        ",,0,5", ",0,6", ",HLR,", "0,-9", "OK", ",1.20,", "1,1773122400,0,1773122390,79990000001,1.20,A,x,y,,0,5\n",
        "1,1773122400,0,250011234567890,79168999999,250,01,A,B,,,",
    ],
    Format.XML: [
        *_COMMON, "<sms>", "</sms>", "<list>", "</list>", "<result>", "</result>", "<error_code>9</error_code>",
        "&amp;",
        "&#13;", "&#x41;", "&", "<![CDATA[", "]]>", "<!--", "-->", "<!DOCTYPE a [", "<!ENTITY a 'a'>", "]>", "<a/>",
        '<?xml version="1.0" encoding="koi8-r"?>', "<sms><status>1</status><id>6</id></sms>", "\x01", " a='b'",
        *[f"<{key}>" for key in _KEYS], *[f"</{key}>" for key in _KEYS],
    ],
    Format.JSON: [
        *_COMMON, "[", "]", "{", "}", '"', ":", "\\", "\\u0041", "\\ud800", "\\ud83d\\ude00", "null", "true", "1.0",
        "1e5", "NaN", '""', '"1"', "\x01", '{"status": 1}', '{"error": "x", "error_code": 9}', '{"result": "OK"}',
        *[f'"{key}": ' for key in _KEYS],
    ],
}  # fmt: skip


def seeds(format: Format) -> list[bytes]:
    """Replies of a server, with two bytes ahead that say how they were asked for, and are parsed."""
    found = []
    for detail in Detail:
        for bulk in (False, True):
            for mailing in (False, True):
                records = _records(mailing=mailing) if bulk else _records(mailing=mailing)[:1]
                for place, charset in enumerate(CHARSETS):
                    body = codecs.encode(records, format=format, detail=detail, charset=charset, bulk=bulk)
                    how = detail | bulk << 2 | mailing << 3
                    found += [bytes([how, place]) + body, bytes([how | 5 << 4, place]) + body]
    found += [b"\4\1" + token.encode() for token in TOKENS[format]]
    found.append(b"\0\1" + codecs.encode_error(9, "duplicate request", format=format, charset="utf-8"))
    found.append(b"\0\1" + codecs.encode_deletion(format=format, charset="utf-8"))
    return found


def _records(*, mailing: bool) -> list[StatusRecord]:
    """Records of several kinds, whose texts are hard to read, and one of a message that was not found."""
    world = World(1)
    records = []
    for position, (id, phone) in enumerate(MAILING if mailing else ASKED):
        kind = 4 if position == 1 else None
        world.add(
            id,
            phone,
            sent_at=SENT_AT,
            kind=kind,
            text=None if kind else NASTY_TEXTS[position * 2],
            comment=None if kind else NASTY_COMMENTS[position],
        )
        records.append(world.record(id, phone, at=SENT_AT + 3600))
    records[2] = StatusRecord(status=-3, id=records[2].id, phone=records[2].phone)
    return records
