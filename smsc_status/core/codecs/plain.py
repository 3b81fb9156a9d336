"""`fmt=0`: `key = value` pairs in a line for people.

Nothing is escaped: a text may hold commas, ` = ` and newlines. So the keys before `message` are read from the left,
`type` and what follows it from the right, and of what is left `, comment = ` parts the text from the comment; a second
one leaves a doubt.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from smsc_status.core.codecs.align import align
from smsc_status.core.codecs.chains import Head, Tail
from smsc_status.core.codecs.layouts import NOT_FOUND, columns_of
from smsc_status.core.codecs.values import (
    FIELDS,
    INTS,
    Row,
    bad_row,
    bytes_of,
    key_of,
    printed,
    record_of,
    refuse_flood,
    unreadable,
    wire_values,
)
from smsc_status.models import Detail, Format, HlrRecord, Identity, StatusRecord, phone_key

_LABELS = {"status": "Status", "last_date": "check_time"}
_NAMES = {"check_time": "last_date", "sender": "sender_id"}
_NAMELIKE = FIELDS - INTS - {"last_date", "send_date", "cost", "phone", "id", "mccmnc", "imsi", "msc", "mcc", "mnc"}

_DATE = r"(?:\d\d\.\d\d\.\d{4} \d\d:\d\d:\d\d)?"
_KEY = re.compile(r"(?:^|, ?)([A-Za-z_]\w*) ?= ?", re.ASCII)
_START = re.compile(r"\s*Status ?= ?-?\d{1,9}\s*(?:$|,)", re.ASCII | re.IGNORECASE)
_HEAD = re.compile(
    rf"Status ?= ?-?\d{{1,9}}(?:, ?check_time ?= ?{_DATE})?(?:, ?err ?= ?-?\d*)?(?=,).*?, ?phone ?= ?([^,]*)(?:,|$)",
    re.ASCII | re.IGNORECASE,
)
_GONE = re.compile(
    rf"Status ?= ?-3(?:, ?check_time ?= ?{_DATE})?(?:, ?err ?= ?\d*)?, ?id ?= ?([\w.-]+)(?:, ?phone ?= ?([^,]++))?\s*+",
    re.ASCII | re.IGNORECASE,
)
# A reply that ends with its status, which stands alone only if it is -3, or within a date or the key after it.
_CUT = re.compile(
    rf"(?:(?:\A|\n)Status ?= ?+(?!-3\s*\Z)-?\d+|, ?(?:check_time|send_date) ?= ?+(?!{_DATE}\s*\Z)[^=]+)\Z",
    re.ASCII | re.IGNORECASE,
)
_CUT_CHARS = 60
_MESSAGE = re.compile(r", ?message ?= ?", re.IGNORECASE)
_COMMENT = re.compile(r", ?comment ?= ?", re.IGNORECASE)
_TYPE = re.compile(r", ?type ?= ?", re.IGNORECASE)
_ID = re.compile(r", ?id ?= ?([^,\n]+)", re.IGNORECASE)
_PHONE = re.compile(r", ?phone ?= ?([^,\n]+)", re.IGNORECASE)
_TAIL = re.compile(r", ?type ?= ?\d*+(?:, ?\w++ ?= ?[^,\n]*+)*+\s*+", re.ASCII | re.IGNORECASE)


def decode(text: str, detail: Detail, asked: Sequence[Identity], *, bulk: bool) -> list[Row]:
    """The rows of a reply.

    Raises:
        ProtocolError: it is no reply of this form.
    """
    body = text.strip("\r\n")
    if not _START.match(body) and not (bulk and _any_start(body)):
        raise unreadable("no line starts with a status", text)
    cut = _CUT.search(body, len(body) - _CUT_CHARS)
    if not bulk:
        return [bad_row("the line is cut", {}) if cut else _read(body)]
    if detail is Detail.BASIC:
        lines = [line.strip() for line in body.split("\n") if line.strip()]
        refuse_flood(len(lines), asked)
        rows = [_read(line) for line in lines]
        return [*rows[:-1], bad_row("the line is cut", {})] if cut else rows
    return align(body.split("\n"), asked, head=_head, tails=_tails, read=_read)


def encode(records: Sequence[StatusRecord], detail: Detail, charset: str, *, bulk: bool) -> bytes:
    """A line a record; an `err` or a comment that is not there is left out, nothing is escaped."""
    return bytes_of("\n".join(_line(record, detail, bulk=bulk) for record in records), charset)


def encode_error(code: int, text: str, charset: str) -> bytes:
    """The refusal."""
    return bytes_of(f"ERROR = {code} ({text})", charset)


def encode_deletion(charset: str) -> bytes:
    """The message is deleted."""
    return bytes_of("OK", charset)


def decode_result(text: str) -> str:
    """What a deletion's reply says."""
    return text


def _line(record: StatusRecord, detail: Detail, *, bulk: bool) -> str:
    found = record.status != NOT_FOUND
    columns = columns_of(Format.PLAIN, detail, hlr=isinstance(record, HlrRecord), found=found, bulk=bulk)
    return ", ".join(
        # the vendor prints this one key without a space before its sign
        f"{_LABELS.get(name, name)}{'' if name == 'operator_orig' else ' '}= {value}"
        for name, value in wire_values(record, columns)
        if value is not None and not (name == "comment" and not value)
    )


def _any_start(body: str) -> bool:
    return any(_START.match(line) for line in body.split("\n"))


def _head(line: str) -> Head | None:
    """Whose record may begin with this line."""
    gone = _GONE.fullmatch(line)
    if gone:
        return Head(frozenset({phone_key(gone[2])} if gone[2] else ()), key_of(gone[1]), whole=True)
    message = _MESSAGE.search(line)
    begun = _HEAD.match(line[: message.start()] if message else line)
    return Head(frozenset({phone_key(begun[1])})) if begun else None


def _tails(line: str) -> Sequence[Tail]:
    """Whose record may end with this line."""
    start = _tail_of(line)
    id = _ID.search(line, start) if start is not None else None
    if not id:
        return ()
    phone = _PHONE.search(line, id.start())
    return (Tail(key_of(id[1].strip()), phone_key(phone[1]) if phone else None),)


def _read(text: str, _whose: Identity | None = None) -> Row:
    """The record that a whole text is."""
    message = _MESSAGE.search(text)
    wire, doubt = _pairs(text[: message.start()] if message else text.rstrip())
    if message and not doubt:
        doubt = _read_text(text[message.end() :], wire)
    return bad_row(doubt, wire) if doubt else record_of(printed(wire))


def _read_text(rest: str, wire: dict[str, str]) -> str | None:
    """Add what begins with the message's text; what is doubtful about it, or `None`."""
    end = _tail_of(rest)
    tail, doubt = _pairs(rest[end:]) if end is not None else ({}, None)
    if end is None and _TYPE.search(rest):
        return "a text that may hold a type"
    if end is None:
        end = len(rest)
    parts = _COMMENT.split(rest[:end])
    if len(parts) > 2:
        return "a text that may hold a comment"
    for name, value in tail.items():
        if name not in wire:
            wire[name] = value
        elif name == "phone" and phone_key(wire[name]) != phone_key(value):
            doubt = "two phones"
    wire.update(zip(("message", "comment"), parts, strict=False))
    return doubt


def _tail_of(text: str) -> int | None:
    """Where the last `, type = ` stands, if nothing but pairs follows it."""
    place = max((found.start() for found in _TYPE.finditer(text)), default=None)
    return place if place is not None and _TAIL.fullmatch(text, place) else None


def _pairs(text: str) -> tuple[dict[str, str], str | None]:
    """The known keys' values, and what is doubtful about them."""
    wire: dict[str, str] = {}
    parts = _KEY.split(text)
    before, doubt = "status", None
    for key, value in zip(parts[1::2], parts[2::2], strict=True):
        name = key.lower()
        name = _NAMES.get(name, name)
        if name in wire:
            doubt = f"{name} is there twice"
        elif name in FIELDS:
            wire[name] = value.strip()
        elif before in _NAMELIKE:
            doubt = f"{before} may hold {name}"
        before = name
    return wire, doubt
