"""`fmt=1`: values in columns, parted by commas.

Nothing is quoted: a text may hold commas and newlines, and a name may hold commas. `fitting` finds the columns; a line
that fits in no way is not read, and where it fits in several the columns in doubt are unclear.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from smsc_status._core.wire import linefast
from smsc_status._core.wire.asked import Asked
from smsc_status._core.wire.csvfit import MAX_COMMAS, Reading, fit, has_network, is_phone
from smsc_status._core.wire.layouts import LAYOUTS, NOT_FOUND, Columns, columns_of
from smsc_status._core.wire.lineup import Form, align
from smsc_status._core.wire.segments import Head, Tail
from smsc_status._core.wire.values import (
    INTS,
    ErrorReply,
    Row,
    bad_row,
    bytes_of,
    key_of,
    record_of,
    refuse_flood,
    text_id,
    unreadable,
    wire_values,
)
from smsc_status.models import Detail, Format, HlrRecord, Identity, StatusRecord, is_look_up, phone_key

_ERROR = re.compile(r"\s*0, ?-(\d{1,9})\s*", re.ASCII)
_START = re.compile(r"\s*-?\d{1,9}\s*(?:,|$)", re.ASCII)
_SHORT = re.compile(r"\s*-[123](?:, ?\d*, ?\d*)?, ?([\w.-]+)(?:, ?([^,]++))?\s*+", re.ASCII)
_HEAD = re.compile(r"\s*-?\d{1,9}, ?\d{0,12}, ?\d*, ?\d*,", re.ASCII)
_STAMP = re.compile(r"\d{0,12}", re.ASCII)
_EXACT_COST = re.compile(r",\s*-?\d{1,12}\.\d{1,6}\s*,", re.ASCII)
_SEND_TIME = re.compile(r" ?(?:0|\d{9,12})?", re.ASCII)

SHORT = frozenset({"-3", "-2", "-1"})
"""A reply that begins with one of these is no refusal and no other status, however short it is."""

_SHORT_COLUMNS: tuple[Columns, ...] = (("status",), LAYOUTS[Format.CSV][Detail.BASIC].sms)
_WHOSE = ("id", "phone")
_ENDS_SINGLE: tuple[Columns, ...] = ((), ("id",), _WHOSE)
_ENDS_BULK: tuple[Columns, ...] = (("id",), _WHOSE)
_ENDS_BASIC: tuple[Columns, ...] = (_WHOSE, ("id",), ())
_SMS_PHONE, _HLR_PHONE = 4, 12
_MAX_CELLS, _MAX_LAST_CELLS = 60, 6


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
    who = Asked(asked)
    reader = _Reader(detail, who, bulk=bulk)
    if not bulk:
        return [reader.read(body, asked[0])]
    lines = body.split("\n")
    if detail is Detail.BASIC:
        lines = [line for line in lines if line.strip()]
        refuse_flood(len(lines), asked)
        return [reader.read_basic(line) for line in lines]
    return align(lines, who, Form(_head, _tails, reader.read_ordinary, reader.read))


def error(text: str) -> ErrorReply | None:
    """The refusal that the text is; it has no wording."""
    found = _ERROR.fullmatch(text)
    return ErrorReply(int(found[1]), "") if found else None


def encode(
    records: Sequence[StatusRecord], detail: Detail, charset: str, *, bulk: bool, empty_numbers: bool = False
) -> bytes:
    """A line a record; nothing is quoted. A number that is not there is printed as 0, or as nothing."""
    absent = "" if empty_numbers else "0"
    return bytes_of("\n".join(_line(record, detail, absent, bulk=bulk) for record in records), charset)


def encode_error(code: int, _text: str, charset: str) -> bytes:
    """The refusal, which has no wording here."""
    return bytes_of(f"0,-{code}", charset)


def encode_deletion(charset: str) -> bytes:
    """The message is deleted."""
    return bytes_of("OK", charset)


def decode_result(text: str) -> str:
    """What a deletion's reply says."""
    return text


def _line(record: StatusRecord, detail: Detail, absent: str, *, bulk: bool) -> str:
    found = record.status != NOT_FOUND
    columns = columns_of(Format.CSV, detail, hlr=isinstance(record, HlrRecord), found=found, bulk=bulk)
    if not found:
        columns = (*_SHORT_COLUMNS[1], *columns[1:])
        if record.phone is None and "phone" in columns:
            columns = columns[:-1]
    return ",".join(value or (absent if name in INTS else "") for name, value in wire_values(record, columns))


def _head(line: str) -> Head | None:
    """Whose record may begin with this line: the phone follows the send time. Commas in a look-up's names move both."""
    short = _SHORT.fullmatch(line)
    if short:
        return Head(frozenset({phone_key(short[2])} if short[2] else ()), key_of(short[1]), whole=True)
    if not _HEAD.match(line):
        return None
    cells = line.split(",", _HLR_PHONE + MAX_COMMAS + 1)
    positions = [_SMS_PHONE, *range(_HLR_PHONE, len(cells))]
    return Head(
        frozenset(phone_key(cells[position]) for position in positions if _SEND_TIME.fullmatch(cells[position - 1]))
    )


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

    def __init__(self, detail: Detail, asked: Asked, *, bulk: bool) -> None:
        self._level = LAYOUTS[Format.CSV][detail]
        self._has_text = "message" in self._level.sms
        self._ends = _ENDS_SINGLE if not bulk else _ENDS_BULK if self._has_text else _ENDS_BASIC
        self._asked = asked
        self._ordinary = [
            linefast.cells(columns_of(Format.CSV, detail, hlr=hlr, found=True, bulk=True)) for hlr in (False, True)
        ]

    def read_basic(self, line: str) -> Row:
        """The record of a line of a bulk reply without texts, which names its message."""
        for layout in self._ordinary:
            texts = layout.match(line)
            if texts is None or (layout.is_hlr and _may_be_pending(texts)):
                continue
            if self._asked.position_of_texts(str(texts["id"]), str(texts["phone"])) is not None:
                return layout.record(texts)
        return self.read(line, None)

    def read_ordinary(self, text: str, whose: Identity) -> StatusRecord | None:
        """The record of a whole text that can be read in one way alone, and names its message at its end."""
        for layout in self._ordinary:
            texts = layout.match(text)
            if texts and is_phone(texts["phone"], whose[1]) and key_of(str(texts["id"])) == whose[0]:
                return self._as_only_reading(layout, texts)
        return None

    def _as_only_reading(self, layout: linefast.Line, texts: dict[str, str | None]) -> StatusRecord | None:
        if _may_be_pending(texts) if layout.is_hlr else texts["type"] in ("4", "5"):
            return None
        if "," not in str(texts["message"]):
            return layout.record(texts)
        if layout.is_hlr or ("country" in texts and not _is_only_cost(texts)):
            return None  # a name may hold the comma too
        return layout.record(texts, ("message", "comment") if texts.get("comment") else ())

    def read(self, text: str, whose: Identity | None) -> Row:
        """The record that a whole text is, as far as its columns can be told."""
        cells = text.split(",", _MAX_CELLS)
        if len(cells) > _MAX_CELLS:  # the rest of a long text needs not be taken apart
            cells[_MAX_CELLS:] = cells[_MAX_CELLS].rsplit(",", _MAX_LAST_CELLS)
        reading = self._reading(cells, whose)
        if reading is None:
            return bad_row("columns that do not fit", self._known(cells, whose) | {"line": text})
        wire: dict[str, str | None] = reading.wire
        if wire.get("id"):
            wire["id"] = text_id(str(wire["id"]))
        if wire.get("err") == "0" and self._is_pending(reading):
            wire["err"] = None
        return record_of(wire, reading.unclear)

    def _reading(self, cells: list[str], whose: Identity | None) -> Reading | None:
        """The first way to read a line in which each column looks like itself, or else the first one at all."""
        doubtful = None
        for end in self._ends:
            if not self._may_end(cells, end, whose):
                continue
            found = [fit(cells, (*columns, *end), whose and whose[1]) for columns in self._layouts(cells, len(end))]
            readings = [reading for reading in found if reading is not None]
            if len(readings) > 1:  # as a message and as a look-up
                readings = [reading for reading in readings if _is_as_its_type_says(reading)]
            for reading in readings:
                if reading.is_whole:
                    return reading
                doubtful = doubtful or reading
        return doubtful

    def _may_end(self, cells: list[str], end: Columns, whose: Identity | None) -> bool:
        """Whether the line speaks of this message, or, without one, of any that was asked."""
        if not end:
            return True
        if len(end) >= len(cells):
            return False
        id = cells[-len(end)].strip()
        phone = cells[-1].strip() if "phone" in end else None
        if whose is not None:
            return key_of(id) == whose[0] and (phone is None or is_phone(phone, whose[1]))
        if phone is not None:
            return self._asked.position_of_texts(id, phone) is not None
        return bool(self._asked.of_id(key_of(id)))

    def _layouts(self, cells: list[str], end: int) -> Iterator[Columns]:
        """The layouts that these cells may have, by what can be seen at once."""
        count = len(cells) - end
        sms, hlr = self._level
        if cells[0].strip() in SHORT:
            yield from (columns for columns in _SHORT_COLUMNS if len(columns) == count)
        if not self._has_text:
            yield from (columns for columns in (sms, sms[:2]) if len(columns) == count)
        elif count == len(sms) - 1:
            yield tuple(name for name in sms if name != "comment")  # as lines were in 2018
        elif count > _SMS_PHONE:
            yield sms
        if count >= len(hlr):
            yield hlr

    def _is_pending(self, reading: Reading) -> bool:
        """Whether the line is of a look-up that has no answer yet: its missing error is printed as 0."""
        type, is_told = reading.wire.get("type"), "imsi" in reading.wire
        is_told = is_told or (type is not None and is_look_up(int(type), None))
        return is_told and not has_network(reading.wire, reading.unclear)

    def _known(self, cells: list[str], whose: Identity | None) -> dict[str, str]:
        """Whose a line is that can't be read."""
        if whose is None and len(cells) > 2:
            position = self._asked.position_of_texts(cells[-2].strip(), cells[-1].strip())
            whose = None if position is None else self._asked.identities[position]
        return {"id": text_id(str(whose[0])), "phone": whose[1]} if whose else {}


def _is_only_cost(texts: Mapping[str, str | None]) -> bool:
    """Whether nothing after the cost could be one, so that the names before it have no comma."""
    after = f",{texts['sender_id']},{texts['status_name']},{texts['message']},"
    return bool(texts["cost"]) and not _EXACT_COST.search(after)


def _may_be_pending(texts: Mapping[str, str | None]) -> bool:
    return texts["err"] in ("0", "") and texts["mcc"] in ("0", "")


def _is_as_its_type_says(reading: Reading) -> bool:
    return ("imsi" in reading.wire) == is_look_up(int(reading.wire.get("type") or 0), None)
