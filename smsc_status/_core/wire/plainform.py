"""`fmt=0`: `key = value` pairs in a line for people.

Nothing is escaped: a text may hold commas, ` = ` and newlines. So the keys before `message` are read from the left,
`type` and what follows it from the right, and of what is left `, comment = ` most likely parts the text from the
comment. It may as well be the text's, and so both are unclear wherever it stands.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from smsc_status._core.wire.asked import Asked, are_alike
from smsc_status._core.wire.layouts import HLR_KEYS, NOT_FOUND, columns_of
from smsc_status._core.wire.linefast import Line, pairs
from smsc_status._core.wire.lineup import Form, align
from smsc_status._core.wire.segments import Head, Tail
from smsc_status._core.wire.values import (
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

_FIRST = frozenset({"status", "last_date", "err", "imsi", "msc", "mcc", "mnc"})
"""What stands before any name."""

_DATE = r"(?:\d\d\.\d\d\.\d{4} \d\d:\d\d:\d\d)?"
_KEY = re.compile(r"(?:^|, ?)([A-Za-z_]\w*) ?= ?", re.ASCII)
_START = re.compile(r"\s*Status ?= ?-?\d{1,9}\s*(?:$|,)", re.ASCII | re.IGNORECASE)
_HEAD = re.compile(
    rf"Status ?= ?-?\d{{1,9}}(?:, ?check_time ?= ?{_DATE})?(?:, ?err ?= ?-?\d*)?(?=,).*?, ?phone ?= ?([^,]*)(?:,|$)",
    re.ASCII | re.IGNORECASE,
)
_SHORT = re.compile(
    rf"Status ?= ?-[123](?:, ?check_time ?= ?{_DATE})?(?:, ?err ?= ?\d*)?"
    r", ?id ?= ?([\w.-]+)(?:, ?phone ?= ?([^,]++))?\s*+",
    re.ASCII | re.IGNORECASE,
)
# A reply that ends with its status, which stands alone only if it is negative, or within a date or the key after it.
_CUT = re.compile(
    rf"(?:(?:\A|\n)Status ?= ?+(?!-[123]\s*\Z)-?\d+|, ?(?:check_time|send_date) ?= ?+(?!{_DATE}\s*\Z)[^=]+)\Z",
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
        return [bad_row("the line is cut", {}) if cut else _read(body, asked[0])]
    layouts = _layouts(detail)
    if detail is Detail.BASIC:
        lines = [line.strip() for line in body.split("\n") if line.strip()]
        refuse_flood(len(lines), asked)
        rows = [_ordinary(line, layouts) or _read(line, None) for line in lines]
        return [*rows[:-1], bad_row("the line is cut", {})] if cut else rows
    form = Form(_head, _tails, lambda line, whose: _ordinary(line, layouts, whose), _read)
    return align(body.split("\n"), Asked(asked), form)


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
    short = _SHORT.fullmatch(line)
    if short:
        return Head(frozenset({phone_key(short[2])} if short[2] else ()), key_of(short[1]), whole=True)
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


def _layouts(detail: Detail) -> list[Line]:
    """The layouts of a bulk reply's lines, as a message's and as a look-up's."""
    return [pairs(columns_of(Format.PLAIN, detail, hlr=hlr, found=True, bulk=True)) for hlr in (False, True)]


def _ordinary(text: str, layouts: Sequence[Line], whose: Identity | None = None) -> StatusRecord | None:
    """The record of a text that can be read in one way alone, but for its comment, and names this message."""
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
    """The record that a whole text is, as far as its values can be told."""
    message = _MESSAGE.search(text)
    pairs = _Pairs(text[: message.start()] if message else text.rstrip())
    if message:
        _read_text(text[message.end() :], pairs)
    phones = [phone_key(phone) for phone in pairs.phones]
    if len(pairs.ids) > 1 or any(not are_alike(phone, phones[0]) for phone in phones[1:]):
        return bad_row("an id or a phone is there twice", pairs.wire)
    return record_of(printed(pairs.wire), pairs.unclear)


class _Pairs:
    """The values of the known keys, and which of them are unclear; the ids and phones, however often they came."""

    def __init__(self, text: str) -> None:
        self.wire: dict[str, str] = {}
        self.unclear: set[str] = set()
        self.ids: list[str] = []
        self.phones: list[str] = []
        self._read(text)

    def _read(self, text: str) -> None:
        """A name goes on until the next known key. One that came before leaves a doubt, and so does an unknown one,
        which the name may hold.
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
        """Give up a value that came twice, and all names, one of which may hold it; those before any name are sure."""
        doubtful = {name} - _FIRST | (_NAMELIKE & self.wire.keys())
        self.unclear |= doubtful
        for one in doubtful & self.wire.keys():
            self.wire[one] = ""


def _read_text(rest: str, pairs: _Pairs) -> None:
    """Add what begins with the message's text."""
    end = _tail_of(rest)
    if end is not None:
        tail = _Pairs(rest[end:])
        pairs.unclear |= tail.unclear - pairs.wire.keys()
        pairs.wire = tail.wire | pairs.wire
        pairs.ids += tail.ids
        pairs.phones += tail.phones
    elif _TYPE.search(rest):
        pairs.unclear |= {"message", "comment", "type"}
        return
    text, *comments = _COMMENT.split(rest if end is None else rest[:end])
    if comments:
        pairs.unclear |= {"message", "comment"}
    if len(comments) < 2:
        pairs.wire |= zip(("message", "comment"), (text, *comments), strict=False)


def _tail_of(text: str) -> int | None:
    """Where the last `, type = ` stands, if nothing but pairs follows it."""
    position = max((found.start() for found in _TYPE.finditer(text)), default=None)
    return position if position is not None and _TAIL.fullmatch(text, position) else None
