"""`fmt=0`: reads and writes `key = value` pairs in a line for people.

Nothing is escaped: a text may hold commas, ` = ` and newlines. So the keys before `message` are read from the left, and
`type` and what follows it from the right. In the rest, `, comment = ` most likely separates the text from the comment.
But it may also be part of the text, so wherever it occurs both are unclear.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from smsc_status._core.wire.asked import Asked, are_alike
from smsc_status._core.wire.layouts import HLR_KEYS, NOT_FOUND, columns_of
from smsc_status._core.wire.linefast import Line, pairs
from smsc_status._core.wire.lineup import LineFormat, line_up
from smsc_status._core.wire.portions import Portions, list_in_portions
from smsc_status._core.wire.replytext import ReplyText
from smsc_status._core.wire.segments import RecordEnd, RecordStart
from smsc_status._core.wire.values import (
    FIELDS,
    INTS,
    Row,
    bad_row,
    bytes_of,
    key_of,
    printed,
    record_of,
    refuse_too_many_rows,
    unreadable,
    wire_values,
)
from smsc_status.models import Detail, Format, HlrRecord, Identity, StatusRecord, phone_key

_LABELS = {"status": "Status", "last_date": "check_time"}
_NAMES = {"check_time": "last_date", "sender": "sender_id"}
_NAMELIKE = FIELDS - INTS - {"last_date", "send_date", "cost", "phone", "id", "mccmnc", "imsi", "msc", "mcc", "mnc"}

_FIRST = frozenset({"status", "last_date", "err", "imsi", "msc", "mcc", "mnc"})
"""The keys that come before the first name, so that the first value of each is certain."""

_DATE = r"(?:\d\d\.\d\d\.\d{4} \d\d:\d\d:\d\d)?"
_KEY = re.compile(r"(?:^|, ?)([A-Za-z_]\w*) ?= ?", re.ASCII)
_START = re.compile(r"\s*Status ?= ?-?\d{1,9}\s*(?:$|,)", re.ASCII | re.IGNORECASE)
_RECORD_START = re.compile(
    rf"Status ?= ?-?\d{{1,9}}(?:, ?check_time ?= ?{_DATE})?(?:, ?err ?= ?-?\d*)?(?=,).*?, ?phone ?= ?([^,]*)(?:,|$)",
    re.ASCII | re.IGNORECASE,
)
_SHORT = re.compile(
    rf"Status ?= ?-[123](?:, ?check_time ?= ?{_DATE})?(?:, ?err ?= ?\d*)?"
    r", ?id ?= ?([\w.-]+)(?:, ?phone ?= ?([^,]++))?\s*+",
    re.ASCII | re.IGNORECASE,
)
# The end of a reply that was cut. Either it is a status alone (only -1 to -3 may stand alone), or a date that is not
# complete or is followed by a part of a key.
_CUT = re.compile(
    rf"(?:\nStatus ?= ?+(?!-[123]\s*\Z)-?\d+|, ?(?:check_time|send_date) ?= ?+(?!{_DATE}\s*\Z)[^=]+)\Z",
    re.ASCII | re.IGNORECASE,
)
_CUT_CHARS = 60
_MESSAGE = re.compile(r", ?message ?= ?", re.IGNORECASE)
_COMMENT = re.compile(r", ?comment ?= ?", re.IGNORECASE)
_TYPE = re.compile(r", ?type ?= ?", re.IGNORECASE)
_ID = re.compile(r", ?id ?= ?([^,\n]+)", re.IGNORECASE)
_PHONE = re.compile(r", ?phone ?= ?([^,\n]+)", re.IGNORECASE)
_PAIRS_AFTER_TEXT = re.compile(r", ?type ?= ?\d*+(?:, ?\w++ ?= ?[^,\n]*+)*+\s*+", re.ASCII | re.IGNORECASE)


def decode(text: ReplyText, detail: Detail, asked: Sequence[Identity], *, bulk: bool) -> Portions[list[Row]]:
    """Read a reply.

    Raises:
        ProtocolError: no line begins with a status, or there are far too many lines.
    """
    lines = (yield from text.lines()) if bulk else [text.whole.strip("\r\n")]
    if not any(map(_START.match, lines)):
        raise unreadable("no line starts with a status", text.whole)
    if not bulk:
        return [bad_row("the line is cut", {}) if _is_cut(lines) else _read(lines[0], asked[0])]
    layouts = _layouts(detail)
    if detail is Detail.BASIC:
        is_cut = _is_cut(lines)
        lines = [line.strip() for line in lines if line.strip()]
        refuse_too_many_rows(len(lines), asked)
        rows = yield from list_in_portions(_ordinary(line, layouts) or _read(line, None) for line in lines)
        return [*rows[:-1], bad_row("the line is cut", {})] if is_cut else rows
    form = LineFormat(_record_start, _record_ends, lambda line, whose: _ordinary(line, layouts, whose), _read)
    return (yield from line_up(lines, Asked(asked), form))


def _is_cut(lines: Sequence[str]) -> bool:
    end = ""
    for line in reversed(lines):
        end = f"\n{line}{end}"
        if len(end) > _CUT_CHARS:
            break
    return bool(_CUT.search(end, len(end) - _CUT_CHARS))


def encode(records: Sequence[StatusRecord], detail: Detail, charset: str, *, bulk: bool) -> bytes:
    """Write one line for each record. Missing values and an empty comment are left out; nothing is escaped."""
    return bytes_of("\n".join(_line(record, detail, bulk=bulk) for record in records), charset)


def encode_error(code: int, text: str, charset: str) -> bytes:
    """Write the refusal."""
    return bytes_of(f"ERROR = {code} ({text})", charset)


def encode_deletion(charset: str) -> bytes:
    """Write the answer to a deletion that succeeded."""
    return bytes_of("OK", charset)


def decode_result(text: str) -> str:
    """The result in the reply to a deletion."""
    return text


def _line(record: StatusRecord, detail: Detail, *, bulk: bool) -> str:
    found = record.status != NOT_FOUND
    columns = columns_of(Format.PLAIN, detail, hlr=isinstance(record, HlrRecord), found=found, bulk=bulk)
    return ", ".join(
        # the vendor prints no space before the "=" of this one key
        f"{_LABELS.get(name, name)}{'' if name == 'operator_orig' else ' '}= {value}"
        for name, value in wire_values(record, columns)
        if value is not None and not (name == "comment" and not value)
    )


def _record_start(line: str) -> RecordStart | None:
    """Whose record may begin with this line."""
    short = _SHORT.fullmatch(line)
    if short:
        return RecordStart(frozenset({phone_key(short[2])} if short[2] else ()), key_of(short[1]), whole=True)
    message = _MESSAGE.search(line)
    begun = _RECORD_START.match(line[: message.start()] if message else line)
    return RecordStart(frozenset({phone_key(begun[1])})) if begun else None


def _record_ends(line: str) -> Sequence[RecordEnd]:
    """Whose record may end with this line."""
    start = _pairs_after_text(line)
    id = _ID.search(line, start) if start is not None else None
    if not id:
        return ()
    phone = _PHONE.search(line, id.start())
    return (RecordEnd(key_of(id[1].strip()), phone_key(phone[1]) if phone else None),)


def _layouts(detail: Detail) -> list[Line]:
    """The layouts of a bulk reply's lines: a message's and a look-up's."""
    return [pairs(columns_of(Format.PLAIN, detail, hlr=hlr, found=True, bulk=True)) for hlr in (False, True)]


def _ordinary(text: str, layouts: Sequence[Line], whose: Identity | None = None) -> StatusRecord | None:
    """The record of a text that names this message and, but for its comment, can be read in one way; else `None`."""
    for layout in layouts:
        texts = layout.match(text)
        if texts is None or (layout.is_hlr and all(texts[name] is None for name in HLR_KEYS)):
            continue
        if whose and not (are_alike(phone_key(str(texts["phone"])), whose[1]) and key_of(str(texts["id"])) == whose[0]):
            continue
        if "message" not in texts:
            return layout.record(texts)
        texts["message"], *comments = _COMMENT.split(str(texts["message"]))
        if len(comments) > 1 or (comments and layout.is_hlr):
            return None
        texts["comment"] = comments[0] if comments else None
        return layout.record(texts, ("message", "comment") if comments else ())
    return None


def _read(text: str, _whose: Identity | None) -> Row:
    """The row of a message's text, with the values that can be told."""
    message = _MESSAGE.search(text)
    pairs = _Pairs(text[: message.start()] if message else text.rstrip())
    if message:
        _read_text(text[message.end() :], pairs)
    phones = [phone_key(phone) for phone in pairs.phones]
    if len(pairs.ids) > 1 or any(not are_alike(phone, phones[0]) for phone in phones[1:]):
        return bad_row("an id or a phone is there twice", pairs.wire)
    return record_of(printed(pairs.wire), pairs.unclear)


class _Pairs:
    """The values of the known keys, which of them are unclear, and all ids and phones, repeated ones included."""

    def __init__(self, text: str) -> None:
        self.wire: dict[str, str] = {}
        self.unclear: set[str] = set()
        self.ids: list[str] = []
        self.phones: list[str] = []
        self._read(text)

    def _read(self, text: str) -> None:
        """Read the pairs.

        A name goes on until the next known key. If a key comes twice, or an unknown key follows a name, the values in
        question are unclear, since a name may hold what looks like a key.
        """
        wire = self.wire
        parts = _KEY.split(text)
        before = ""
        for key, value in zip(parts[1::2], parts[2::2], strict=True):
            name = key.lower()
            name = _NAMES.get(name, name)
            if name in {"id", "phone"}:
                (self.ids if name == "id" else self.phones).append(value)
            elif name in wire:
                self._doubt(name)
            if name in FIELDS:
                wire.setdefault(name, value.strip())
            elif before in _NAMELIKE:
                self._doubt(before)
            before = name

    def _doubt(self, name: str) -> None:
        """Mark this value and all names as unclear, since one of the names may hold it, and drop them.

        The keys before the first name stay certain.
        """
        doubtful = {name} - _FIRST | (_NAMELIKE & self.wire.keys())
        self.unclear |= doubtful
        for one in doubtful & self.wire.keys():
            self.wire[one] = ""


def _read_text(rest: str, pairs: _Pairs) -> None:
    """Add the message's text and all that follows it."""
    end = _pairs_after_text(rest)
    if end is not None:
        pairs_after = _Pairs(rest[end:])
        pairs.unclear |= pairs_after.unclear - pairs.wire.keys()
        pairs.wire = pairs_after.wire | pairs.wire
        pairs.ids += pairs_after.ids
        pairs.phones += pairs_after.phones
    elif _TYPE.search(rest):
        pairs.unclear |= {"message", "comment", "type"}
        return
    text, *comments = _COMMENT.split(rest if end is None else rest[:end])
    if comments:
        pairs.unclear |= {"message", "comment"}
    if len(comments) < 2:
        pairs.wire |= zip(("message", "comment"), (text, *comments), strict=False)


def _pairs_after_text(text: str) -> int | None:
    """The position of the last `, type = `, if only pairs follow it; else `None`."""
    position = max((found.start() for found in _TYPE.finditer(text)), default=None)
    return position if position is not None and _PAIRS_AFTER_TEXT.fullmatch(text, position) else None
