"""`fmt=1`: values in columns, parted by commas.

Nothing is quoted: a text may hold commas and newlines, and a name may hold commas. So the columns before the text are
counted from the left, those after it from the right; a line that fits in two ways, or in none, is not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from smsc_status.core.codecs.align import align
from smsc_status.core.codecs.chains import Head, Tail
from smsc_status.core.codecs.layouts import LAYOUTS, NOT_FOUND, Columns, columns_of
from smsc_status.core.codecs.values import (
    TEXTS,
    ErrorReply,
    Row,
    bad_row,
    bytes_of,
    key_of,
    printed,
    record_of,
    refuse_flood,
    text_id,
    unreadable,
    wire_values,
)
from smsc_status.models import Detail, Format, HlrRecord, Identity, StatusRecord, phone_key

_ERROR = re.compile(r"\s*0, ?-(\d{1,9})\s*", re.ASCII)
_START = re.compile(r"\s*-?\d{1,9}\s*(?:,|$)", re.ASCII)
_INT = re.compile(r"-?\d{0,18}", re.ASCII)
_STATUS = re.compile(r"-?\d{1,9}", re.ASCII)
_STAMP = re.compile(r"\d{0,12}", re.ASCII)
_SECONDS = re.compile(r"(?:0|\d{10,12})?", re.ASCII)  # fewer digits are those of a line that was cut
_COST = re.compile(r"(?:-?\d{1,12}(?:\.\d{1,6})?)?", re.ASCII)
_EXACT_COST = re.compile(r"-?\d{1,12}\.\d{1,6}", re.ASCII)
_GONE = re.compile(r"\s*-3(?:, ?\d*, ?\d*)?, ?([\w.-]+)(?:, ?([^,]++))?\s*+", re.ASCII)
_HEAD = re.compile(r"\s*-?\d{1,9}, ?\d{0,12}, ?\d*, ?\d*,", re.ASCII)

_SEND_TIME = re.compile(r" ?\d{9,11}", re.ASCII)

_PATTERNS = {
    "status": _STATUS,
    "last_timestamp": _SECONDS,
    "send_timestamp": _SECONDS,
    "err": _INT,
    "type": _STAMP,
    "cost": _COST,
}
_GONE_COLUMNS: tuple[Columns, ...] = (("status",), LAYOUTS[Format.CSV][Detail.BASIC].sms)
_WHOSE = ("id", "phone")
_ENDS_SINGLE: tuple[tuple[Columns, ...], ...] = (((),), (("id",), _WHOSE))
_ENDS_BULK: tuple[tuple[Columns, ...], ...] = ((("id",), _WHOSE),)
_ENDS_BASIC: tuple[tuple[Columns, ...], ...] = ((_WHOSE,), (("id",),), ((),))
_SMS_PHONE, _HLR_PHONE = 4, 12
_MAX_NAME_COMMAS = 8

Wire = dict[str, str]


def decode(text: str, detail: Detail, asked: Sequence[Identity], *, bulk: bool) -> list[Row] | ErrorReply:
    """The rows of a reply, or the refusal that it is.

    Raises:
        ProtocolError: it is no reply of this form.
    """
    refusal = error(text)
    if refusal:
        return refusal
    body = text.strip("\r\n")
    if not _START.match(body) and not (bulk and any(_START.match(line) for line in body.split("\n"))):
        raise unreadable("no line starts with a status", text)
    reader = _Reader(detail, asked, bulk=bulk)
    if not bulk:
        return [reader.read(body, asked[0])]
    lines = body.split("\n")
    if detail is Detail.BASIC:
        lines = [line for line in lines if line.strip()]
        refuse_flood(len(lines), asked)
        return [reader.read(line, None) for line in lines]
    return align(lines, asked, head=_head, tails=_tails, read=reader.read)


def error(text: str) -> ErrorReply | None:
    """The refusal that the text is; it has no wording."""
    found = _ERROR.fullmatch(text)
    return ErrorReply(int(found[1]), "") if found else None


def encode(records: Sequence[StatusRecord], detail: Detail, charset: str, *, bulk: bool) -> bytes:
    """A line a record; nothing is quoted."""
    return bytes_of("\n".join(_line(record, detail, bulk=bulk) for record in records), charset)


def encode_error(code: int, _text: str, charset: str) -> bytes:
    """The refusal, which has no wording here."""
    return bytes_of(f"0,-{code}", charset)


def encode_deletion(charset: str) -> bytes:
    """The message is deleted."""
    return bytes_of("OK", charset)


def decode_result(text: str) -> str:
    """What a deletion's reply says."""
    return text


def _line(record: StatusRecord, detail: Detail, *, bulk: bool) -> str:
    found = record.status != NOT_FOUND
    columns = columns_of(Format.CSV, detail, hlr=isinstance(record, HlrRecord), found=found, bulk=bulk)
    if not found:
        columns = (*_GONE_COLUMNS[1], *columns[1:])
        if record.phone is None and "phone" in columns:
            columns = columns[:-1]
    return ",".join(value or "" for _, value in wire_values(record, columns))


def _head(line: str) -> Head | None:
    """Whose record may begin with this line.

    A message has its send time and then its phone where a look-up has the IMSI, which is longer, and the MSC; commas in
    the names of a look-up move its phone to the right.
    """
    gone = _GONE.fullmatch(line)
    if gone:
        return Head(frozenset({phone_key(gone[2])} if gone[2] else ()), key_of(gone[1]), whole=True)
    if not _HEAD.match(line):
        return None
    cells = line.split(",", _HLR_PHONE + _MAX_NAME_COMMAS + 1)
    if _SEND_TIME.fullmatch(cells[_SMS_PHONE - 1]):
        return Head(frozenset({phone_key(cells[_SMS_PHONE])}))
    return Head(frozenset(map(phone_key, [cells[_SMS_PHONE], *cells[_HLR_PHONE : _HLR_PHONE + _MAX_NAME_COMMAS]])))


def _tails(line: str) -> Sequence[Tail]:
    """Whose record may end with this line: the last column is the id, or a phone that follows it."""
    cells = [cell.strip() for cell in line.rsplit(",", 3)]
    tails = []
    if len(cells) > 2 and cells[-1] and _STAMP.fullmatch(cells[-2]):
        tails.append(Tail(key_of(cells[-1]), None))
    if len(cells) > 3 and cells[-2] and _STAMP.fullmatch(cells[-3]):
        tails.append(Tail(key_of(cells[-2]), phone_key(cells[-1])))
    return tails


class _Reader:
    """Reads lines of one level of detail."""

    def __init__(self, detail: Detail, asked: Sequence[Identity], *, bulk: bool) -> None:
        self._level = LAYOUTS[Format.CSV][detail]
        basic = _ENDS_BASIC if detail is Detail.BASIC else _ENDS_BULK
        self._ends = basic if bulk else _ENDS_SINGLE
        self._asked = frozenset(asked)
        self._ids = frozenset(id for id, _ in asked)

    def read(self, text: str, whose: Identity | None) -> Row:
        """The record that a whole text is, if there is one way to read it."""
        cells = text.split(",")
        readings: list[Wire | None] = []
        for ends in self._ends:
            readings = [wire for end in ends for wire in self._readings(cells, end, whose)]
            if readings:
                break
        wire = readings[0] if readings else None
        if wire is not None and all(reading == wire for reading in readings):
            return record_of(printed(wire))
        known = self._known(cells, whose)
        return bad_row(
            "columns that fit in two ways" if readings else "columns that do not fit", known | {"line": text}
        )

    def _readings(self, cells: list[str], end: Columns, whose: Identity | None) -> Iterator[Wire | None]:
        """The ways to read a line, and `None` for one that could not tell which column is which."""
        if len(end) > len(cells) or (end and whose and key_of(cells[-len(end)].strip()) != whose[0]):
            return
        for columns in self._layouts(cells, len(end)):
            wire = _fit(cells, (*columns, *end))
            if wire is not None and self._is_whose(wire, whose):
                yield wire
                if _names_may_hold_commas(cells, (*columns, *end)):
                    yield None

    def _is_whose(self, wire: Wire, whose: Identity | None) -> bool:
        """Whether the line speaks of this message, or, without one, of any that was asked."""
        id = key_of(wire["id"]) if "id" in wire else None
        phone = phone_key(wire["phone"]) if wire.get("phone") else None
        if whose is None:
            return id is None or (id in self._ids if phone is None else (id, phone) in self._asked)
        missing = "phone" not in wire or wire["status"] == str(NOT_FOUND)
        return phone == whose[1] or (phone is None and missing)

    def _known(self, cells: list[str], whose: Identity | None) -> Wire:
        """Whose a line is that can't be read."""
        if whose is None and len(cells) > 2 and (key_of(cells[-2].strip()), phone_key(cells[-1])) in self._asked:
            whose = key_of(cells[-2].strip()), phone_key(cells[-1])
        return {"id": text_id(str(whose[0])), "phone": whose[1]} if whose else {}

    def _layouts(self, cells: list[str], end: int) -> Iterator[Columns]:
        """The layouts that these cells may have, by what can be seen at once."""
        count = len(cells) - end
        sms, hlr = self._level
        if cells[0].strip() == str(NOT_FOUND):
            yield from (columns for columns in _GONE_COLUMNS if len(columns) == count)
        if "message" not in sms:
            yield from (columns for columns in (sms, sms[:2], hlr) if len(columns) == count)
            return
        sender = hlr.index("sender_id")
        if count >= len(hlr) and cells[sender].strip() == "HLR":
            yield hlr
        if count >= len(sms):
            yield sms
        elif count == len(sms) - 1:
            yield tuple(name for name in sms if name != "comment")  # as lines were in 2018


def _fit(cells: list[str], columns: Columns) -> Wire | None:
    """The cells under their names, those that are too many in the message's text; `None` if one can't be there."""
    extra = len(cells) - len(columns)
    text = columns.index("message") if "message" in columns else len(columns)
    wire: Wire = {}
    for place, name in enumerate(columns):
        if name == "message":
            wire[name] = ",".join(cells[place : place + extra + 1])
            continue
        cell = cells[place if place < text else place + extra]
        wire[name] = cell if name in TEXTS else cell.strip()
        pattern = _PATTERNS.get(name)
        if pattern and not pattern.fullmatch(wire[name]):
            return None
    _strip_spaces(wire, cells[text - 1], cells[text + extra + 1 :])
    return wire


def _strip_spaces(wire: Wire, before: str, after: list[str]) -> None:
    """Drop the space after a text's comma where the column beside it shows that there is one."""
    if before.startswith(" ") and "message" in wire:
        wire["message"] = wire["message"].removeprefix(" ")
    if "comment" in wire and after[1].startswith(" "):
        wire["comment"] = wire["comment"].removeprefix(" ")


def _names_may_hold_commas(cells: list[str], columns: Columns) -> bool:
    """Whether a comma of the text may as well be one of a name before the cost, which moves the cost to the right."""
    if "country" not in columns:
        return False
    cost = columns.index("cost")
    places = range(cost + 1, cost + 1 + min(len(cells) - len(columns), _MAX_NAME_COMMAS))
    exact = _EXACT_COST.fullmatch(cells[cost].strip())
    pattern = _EXACT_COST if exact else _COST
    return any(cells[place].strip() and pattern.fullmatch(cells[place].strip()) for place in places)
