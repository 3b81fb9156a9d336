"""`fmt=1`: reads and writes values in columns, separated by commas.

Nothing is quoted: a text may hold commas and newlines, and a name may hold commas. `csvfit` finds the columns. A line
that fits no layout is not read; where it fits in several ways, the columns in doubt are unclear.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from smsc_status._core.wire import linefast
from smsc_status._core.wire.asked import Asked
from smsc_status._core.wire.csvfit import MAX_COMMAS, FittedLine, fit_layout, has_network, is_phone
from smsc_status._core.wire.layouts import LAYOUTS, NOT_FOUND, Columns, columns_of
from smsc_status._core.wire.lineup import LineFormat, line_up
from smsc_status._core.wire.portions import Portions, list_in_portions
from smsc_status._core.wire.replytext import ReplyText
from smsc_status._core.wire.segments import RecordEnd, RecordStart
from smsc_status._core.wire.values import (
    INTS,
    ErrorReply,
    Row,
    bad_row,
    bytes_of,
    key_of,
    record_of,
    refuse_too_many_rows,
    text_id,
    unreadable,
    wire_values,
)
from smsc_status.models import Detail, Format, HlrRecord, Identity, StatusRecord, is_look_up, phone_key

_ERROR = re.compile(rb"\s*0, ?-(\d{1,9})\s*")
_START = re.compile(r"\s*-?\d{1,9}\s*(?:,|$)", re.ASCII)
_SHORT = re.compile(r"\s*-[123](?:, ?\d*, ?\d*)?, ?([\w.-]+)(?:, ?([^,]++))?\s*+", re.ASCII)
_RECORD_START = re.compile(r"\s*-?\d{1,9}, ?\d{0,12}, ?\d*, ?\d*,", re.ASCII)
_STAMP = re.compile(r"\d{0,12}", re.ASCII)
_EXACT_COST = re.compile(r",\s*-?\d{1,12}\.\d{1,6}\s*,", re.ASCII)
_SEND_TIME = re.compile(r" ?(?:0|\d{9,12})?", re.ASCII)

SHORT = frozenset({"-3", "-2", "-1"})
"""Statuses that may come with few other columns, or none. No refusal and no other status begins like these, so a short
line with one of them can be trusted."""

_SHORT_COLUMNS: tuple[Columns, ...] = (("status",), LAYOUTS[Format.CSV][Detail.BASIC].sms)
_ID_AND_PHONE = ("id", "phone")
# The columns at the end of a line that name its message, in the order in which they are tried.
_NAMING_SINGLE: tuple[Columns, ...] = ((), ("id",), _ID_AND_PHONE)
_NAMING_BULK: tuple[Columns, ...] = (("id",), _ID_AND_PHONE)
_NAMING_BASIC: tuple[Columns, ...] = (_ID_AND_PHONE, ("id",), ())
_SMS_PHONE, _HLR_PHONE = 4, 12
_MAX_CELLS, _MAX_LAST_CELLS = 60, 6


def decode(
    text: ReplyText, detail: Detail, asked: Sequence[Identity], *, bulk: bool
) -> Portions[list[Row] | ErrorReply]:
    """Read a reply: its rows, or the refusal.

    Raises:
        ProtocolError: no line begins with a status, or there are far too many lines.
    """
    refusal = error(text)
    if refusal:
        return refusal
    lines = (yield from text.lines()) if bulk else [text.whole.strip("\r\n")]
    if not any(map(_START.match, lines)):
        raise unreadable("no line starts with a status", text.whole)
    who = Asked(asked)
    reader = _Reader(detail, who, bulk=bulk)
    if not bulk:
        return [reader.read(lines[0], asked[0])]
    if detail is Detail.BASIC:
        lines = [line for line in lines if line.strip()]
        refuse_too_many_rows(len(lines), asked)
        return (yield from list_in_portions(map(reader.read_basic, lines)))
    form = LineFormat(_record_start, _record_ends, reader.read_ordinary, reader.read)
    return (yield from line_up(lines, who, form))


def error(text: ReplyText) -> ErrorReply | None:
    """The refusal, if the text is one. It has no wording in this format."""
    found = _ERROR.fullmatch(text.body)
    return ErrorReply(int(found[1]), "") if found else None


def encode(
    records: Sequence[StatusRecord], detail: Detail, charset: str, *, bulk: bool, empty_numbers: bool = False
) -> bytes:
    """Write one line for each record. A missing number is printed as 0, or as nothing with `empty_numbers`."""
    absent = "" if empty_numbers else "0"
    return bytes_of("\n".join(_line(record, detail, absent, bulk=bulk) for record in records), charset)


def encode_error(code: int, _text: str, charset: str) -> bytes:
    """Write the refusal. It has no wording in this format."""
    return bytes_of(f"0,-{code}", charset)


def encode_deletion(charset: str) -> bytes:
    """Write the answer to a deletion that succeeded."""
    return bytes_of("OK", charset)


def decode_result(text: str) -> str:
    """The result in the reply to a deletion."""
    return text


def _line(record: StatusRecord, detail: Detail, absent: str, *, bulk: bool) -> str:
    found = record.status != NOT_FOUND
    columns = columns_of(Format.CSV, detail, hlr=isinstance(record, HlrRecord), found=found, bulk=bulk)
    if not found:
        columns = (*_SHORT_COLUMNS[1], *columns[1:])
        if record.phone is None and "phone" in columns:
            columns = columns[:-1]
    return ",".join(value or (absent if name in INTS else "") for name, value in wire_values(record, columns))


def _record_start(line: str) -> RecordStart | None:
    """Whose record may begin with this line, by the phone, which follows the send time.

    Commas in a look-up's names move both to later cells, so that several cells may be the phone.
    """
    short = _SHORT.fullmatch(line)
    if short:
        return RecordStart(frozenset({phone_key(short[2])} if short[2] else ()), key_of(short[1]), whole=True)
    if not _RECORD_START.match(line):
        return None
    cells = line.split(",", _HLR_PHONE + MAX_COMMAS + 1)
    positions = [_SMS_PHONE, *range(_HLR_PHONE, len(cells))]
    return RecordStart(
        frozenset(phone_key(cells[position]) for position in positions if _SEND_TIME.fullmatch(cells[position - 1]))
    )


def _record_ends(line: str) -> Sequence[RecordEnd]:
    """Whose record may end with this line: its last column is the id, or the phone after the id."""
    cells = [cell.strip() for cell in line.rsplit(",", 3)]
    ends = []
    if len(cells) > 2 and cells[-1] and _STAMP.fullmatch(cells[-2]):
        ends.append(RecordEnd(key_of(cells[-1]), None))
    if len(cells) > 3 and cells[-2] and _STAMP.fullmatch(cells[-3]):
        ends.append(RecordEnd(key_of(cells[-2]), phone_key(cells[-1])))
    return ends


class _Reader:
    """Reads lines of one level of detail."""

    def __init__(self, detail: Detail, asked: Asked, *, bulk: bool) -> None:
        self._level = LAYOUTS[Format.CSV][detail]
        self._has_text = "message" in self._level.sms
        self._naming = _NAMING_SINGLE if not bulk else _NAMING_BULK if self._has_text else _NAMING_BASIC
        self._asked = asked
        self._ordinary = [
            linefast.cells(columns_of(Format.CSV, detail, hlr=hlr, found=True, bulk=True)) for hlr in (False, True)
        ]

    def read_basic(self, line: str) -> Row:
        """The row of a line of a bulk reply without texts. The line names its message itself."""
        for layout in self._ordinary:
            texts = layout.match(line)
            if texts is None or (layout.is_hlr and _may_be_pending(texts)):
                continue
            if self._asked.position_of_texts(str(texts["id"]), str(texts["phone"])) is not None:
                return layout.record(texts)
        return self.read(line, None)

    def read_ordinary(self, text: str, whose: Identity) -> StatusRecord | None:
        """The record of a message's text, if that can be read in one way only and names the message; else `None`."""
        for layout in self._ordinary:
            texts = layout.match(text)
            if texts and is_phone(texts["phone"], whose[1]) and key_of(str(texts["id"])) == whose[0]:
                return self._unambiguous(layout, texts)
        return None

    def _unambiguous(self, layout: linefast.Line, texts: dict[str, str | None]) -> StatusRecord | None:
        if _may_be_pending(texts) if layout.is_hlr else texts["type"] in ("4", "5"):
            return None
        if "," not in str(texts["message"]):
            return layout.record(texts)
        if layout.is_hlr or ("country" in texts and not _is_only_cost(texts)):
            return None  # the comma may as well be in a name
        return layout.record(texts, ("message", "comment") if texts.get("comment") else ())

    def read(self, text: str, whose: Identity | None) -> Row:
        """The row of a message's text, with the columns that can be told."""
        cells = text.split(",", _MAX_CELLS)
        if len(cells) > _MAX_CELLS:  # the middle of a long text need not be split
            cells[_MAX_CELLS:] = cells[_MAX_CELLS].rsplit(",", _MAX_LAST_CELLS)
        fitted = self._fitted(cells, whose)
        if fitted is None:
            return bad_row("columns that do not fit", self._known(cells, whose) | {"line": text})
        wire: dict[str, str | None] = fitted.wire
        if wire.get("id"):
            wire["id"] = text_id(str(wire["id"]))
        if wire.get("err") == "0" and self._is_pending(fitted):
            wire["err"] = None
        return record_of(wire, fitted.unclear)

    def _fitted(self, cells: list[str], whose: Identity | None) -> FittedLine | None:
        """The first way to read the line in which each fixed column has its form; if there is none, the first way."""
        doubtful = None
        for naming in self._naming:
            if not self._may_name(cells, naming, whose):
                continue
            phone = whose and whose[1]
            layouts = self._layouts(cells, len(naming))
            found = [fit_layout(cells, (*columns, *naming), phone) for columns in layouts]
            lines = [line for line in found if line is not None]
            if len(lines) > 1:  # once as a message and once as a look-up
                lines = [line for line in lines if _is_as_its_type_says(line)]
            for line in lines:
                if line.is_whole:
                    return line
                doubtful = doubtful or line
        return doubtful

    def _may_name(self, cells: list[str], naming: Columns, whose: Identity | None) -> bool:
        """Whether these last columns name this message, or, where it is `None`, any message of the request."""
        if not naming:
            return True
        if len(naming) >= len(cells):
            return False
        id = cells[-len(naming)].strip()
        phone = cells[-1].strip() if "phone" in naming else None
        if whose is not None:
            return key_of(id) == whose[0] and (phone is None or is_phone(phone, whose[1]))
        if phone is not None:
            return self._asked.position_of_texts(id, phone) is not None
        return bool(self._asked.of_id(key_of(id)))

    def _layouts(self, cells: list[str], naming: int) -> Iterator[Columns]:
        """The layouts that these cells may have, by the status and the number of cells."""
        count = len(cells) - naming
        sms, hlr = self._level
        if cells[0].strip() in SHORT:
            yield from (columns for columns in _SHORT_COLUMNS if len(columns) == count)
        if not self._has_text:
            yield from (columns for columns in (sms, sms[:2]) if len(columns) == count)
        elif count == len(sms) - 1:
            yield tuple(name for name in sms if name != "comment")  # lines had no comment in 2018
        elif count > _SMS_PHONE:
            yield sms
        if count >= len(hlr):
            yield hlr

    def _is_pending(self, line: FittedLine) -> bool:
        """Whether this is a look-up that has no answer yet. Its missing `err` is printed as 0."""
        type, is_look_up_line = line.wire.get("type"), "imsi" in line.wire
        is_look_up_line = is_look_up_line or (type is not None and is_look_up(int(type), None))
        return is_look_up_line and not has_network(line.wire, line.unclear)

    def _known(self, cells: list[str], whose: Identity | None) -> dict[str, str]:
        """The id and phone of a line that can't be read, as far as they are known."""
        if whose is None and len(cells) > 2:
            position = self._asked.position_of_texts(cells[-2].strip(), cells[-1].strip())
            whose = None if position is None else self._asked.identities[position]
        return {"id": text_id(str(whose[0])), "phone": whose[1]} if whose else {}


def _is_only_cost(texts: Mapping[str, str | None]) -> bool:
    """Whether no later cell could be the cost as well, so that the names before the cost have no comma."""
    after = f",{texts['sender_id']},{texts['status_name']},{texts['message']},"
    return bool(texts["cost"]) and not _EXACT_COST.search(after)


def _may_be_pending(texts: Mapping[str, str | None]) -> bool:
    return texts["err"] in ("0", "") and texts["mcc"] in ("0", "")


def _is_as_its_type_says(line: FittedLine) -> bool:
    return ("imsi" in line.wire) == is_look_up(int(line.wire.get("type") or 0), None)
