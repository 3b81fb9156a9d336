"""Turns the wire's texts into a record's fields and back, and defines the rows that a reply is made of.

If a value does not fit its field, the field is `None` and named in `unclear`; if it is a field of `VITAL`, the whole
record can't be read. A number sent as an empty text is `None`. An empty text stays an empty text if its key was sent.
In the two formats for people (`PLAIN`, `CSV`) it is `None`, except for `message` and `comment`, because these formats
print a missing name as an empty text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from reprlib import Repr
from typing import Any

import attrs

from smsc_status._core.drafts import finished, new_draft, new_hlr_draft
from smsc_status._core.wire.layouts import HLR_KEYS, Columns
from smsc_status._core.wire.replytext import ReplyText
from smsc_status.errors import EXCERPT_CHARS, ProtocolError
from smsc_status.models import HlrRecord, Identity, Key, StatusRecord, id_key

OURS = frozenset({"ref", "checked_at", "timezone", "unclear"})
"""The fields of a record that never come from the wire."""

VITAL = frozenset({"status", "id", "phone"})
"""Without these fields it is not known what a record says, or about which message."""

INTS = frozenset({"status", "last_timestamp", "flag", "err", "send_timestamp", "type", "sms_cnt"})
STAMPS = frozenset({"last_timestamp", "send_timestamp"})
TEXTS = frozenset({"message", "comment"})
NAMES = frozenset(
    {"sender_id", "status_name", "mccmnc", "country", "operator", "operator_orig", "region"}
    | {"mcc", "mnc", "cn", "net", "rcn", "rnet"}
)
"""The fields whose values many records share."""

ROWS_A_MESSAGE = 4
MORE_ROWS = 1000

MAX_CACHED = 4096
MAX_CACHED_CHARS = 64

ORDER = tuple(field.name for field in attrs.fields(HlrRecord) if field.name not in OURS)
FIELDS = frozenset(ORDER)
_HLR = frozenset(HLR_KEYS)

_INT = re.compile(r"\s*([-+]?\d{1,18})(?:\.0+)?\s*", re.ASCII)
_COST = re.compile(r"\s*([-+]?\d{1,30}(?:\.\d{1,30})?(?:[eE][-+]?\d)?)\s*", re.ASCII)
# Another script of the vendor appends the id. The text may hold brackets. It ends at the bracket that closes the first
# one, if there is such a bracket.
_PLAIN_ERROR = re.compile(
    rb"\s*+ERROR\s*+=\s*+(\d{1,9})\s*+(?:\Z|,|\(((?:[^()]++|\([^()]*+\))*+)\)|\((.*)\))", re.IGNORECASE | re.DOTALL
)
_NUMERIC_ID = re.compile(r"0|[1-9][0-9]{0,39}", re.ASCII)
_SURROGATES = re.compile("[\ud800-\udfff]")


_SHOWN = Repr()
_SHOWN.maxlevel = 3
_SHOWN.maxdict = len(FIELDS)
_SHOWN.maxstring = _SHOWN.maxother = EXCERPT_CHARS
"""Limits the size and depth of what is shown, because a server may send anything."""


def refuse_too_many_rows(rows: int, asked: Sequence[Identity]) -> None:
    """Refuse a reply that has many times the rows that were asked for, because reading them would take too long.

    Some more rows are allowed, since a server may repeat messages and add others.

    Raises:
        ProtocolError: there are too many rows.
    """
    if rows > MORE_ROWS + len(asked) * ROWS_A_MESSAGE:
        raise ProtocolError(f"{rows:,} rows or more about {len(asked):,} messages")


class Number(str):
    """A number of the wire, as the digits that were sent."""

    __slots__ = ()


class BadValue(ValueError):
    """A value that does not fit its field."""


@attrs.frozen(slots=True)
class BadRow:
    """One message's part of a reply that can't be read, with what is known about its message.

    `index` is the message's position in the request, if that is certain.
    """

    error: ProtocolError
    id: int | str | None = None
    phone: str | None = None
    index: int | None = None


@attrs.frozen(slots=True)
class ErrorReply:
    """The server's refusal of a request: the number and the wording."""

    code: int
    text: str


Row = StatusRecord | BadRow


def bytes_of(text: str, charset: str, errors: str = "replace") -> bytes:
    """The text as the bytes that the server would send."""
    return without_surrogates(text).encode(charset, errors)


def without_surrogates(text: str) -> str:
    """The text with U+FFFD for halves of surrogate pairs, which no charset can write."""
    return text if text.isascii() else _SURROGATES.sub("\ufffd", text)


def unreadable(what: str, text: object) -> ProtocolError:
    """The error that says why a text can't be read, and shows it."""
    return ProtocolError(what, excerpt=text if isinstance(text, str) else _SHOWN.repr(text))


def plain_error(text: ReplyText) -> ErrorReply | None:
    """The refusal, if the text is one in the wording of `fmt=0`."""
    found = _PLAIN_ERROR.match(text.body)
    return ErrorReply(int(found[1]), text.text_of(found[2] or found[3] or b"")) if found else None


def error_reply(wire: Mapping[str, Any]) -> ErrorReply | None:
    """The refusal, if these keys are one; else `None`."""
    if "status" in wire or "error_code" not in wire:
        return None
    try:
        code = int_of(wire["error_code"])
        text = str_of(wire.get("error"))
    except BadValue:
        return None
    return None if code is None else ErrorReply(code, text or "")


def int_of(value: object) -> int | None:
    """The whole number; `None` if nothing was sent."""
    if value is None or value == "":
        return None
    if isinstance(value, str) and len(value) < 19 and value.isascii() and value.isdecimal():
        return int(value)
    found = _INT.fullmatch(value) if isinstance(value, str) else None
    if not found:
        raise BadValue
    return int(found[1])


def cost_of(value: object) -> Decimal | None:
    """The amount; `None` if nothing was sent."""
    if value is None or value == "":
        return None
    found = _COST.fullmatch(value) if isinstance(value, str) else None
    if not found:
        raise BadValue
    return Decimal(found[1])


def str_of(value: object) -> str | None:
    """The text, or the digits of a number; `None` if nothing was sent."""
    if value is None:
        return None
    if type(value) is str:
        return value
    if not isinstance(value, str):
        raise BadValue
    return str(value)


def id_of(value: object) -> int | str | None:
    """The id: a number where one was sent, else a text; `None` if nothing was sent."""
    if value is None or value == "":
        return None
    if type(value) is Number and _NUMERIC_ID.fullmatch(value):
        return int(value)
    return str_of(value)


def text_id(value: str) -> str:
    """An id from a format that has only texts. Digits are taken for a number."""
    return Number(value)


def key_of(value: str) -> Key:
    """The id as it is compared. A text that is too long for an id stays as it is."""
    return id_key(value) if len(value) <= 40 else value


class ReadCache(dict[Any, Any]):
    """A cache of values by the texts that they are read from, so that records with the same text share one value.

    Texts of more than `MAX_CACHED_CHARS` are not kept, and the cache is emptied when it has `MAX_CACHED` entries.
    """

    def __init__(self, read: Callable[[object], Any]) -> None:
        super().__init__()
        self._read = read

    def __missing__(self, text: object) -> Any:
        value = self._read(text)
        if len(self) >= MAX_CACHED:
            self.clear()
        if text is None or len(str(text)) <= MAX_CACHED_CHARS:
            self[text] = value
        return value


SHARED_NAMES = ReadCache(str_of)
"""The values of the fields in `NAMES`."""

COSTS = ReadCache(cost_of)
CODES = ReadCache(int_of)
"""The values of numbers that have few different values."""

_Reader = Callable[[object], Any]
_READ: dict[str, _Reader] = {name: int_of if name in STAMPS else str_of for name in FIELDS}
_READ |= dict.fromkeys(NAMES, SHARED_NAMES.__getitem__)
_READ |= dict.fromkeys(INTS - STAMPS, CODES.__getitem__)
_READ |= {"cost": COSTS.__getitem__, "id": id_of}


def record_of(wire: Mapping[str, Any], unclear: Iterable[str] = ()) -> Row:
    """The record with these fields, or a `BadRow`. Unknown keys are ignored.

    Args:
        wire: the fields' values as they were sent; `None` for a value that was not sent.
        unclear: the fields that are in doubt already.
    """
    draft: Any = new_draft() if _HLR.isdisjoint(wire) else new_hlr_draft()  # `Any`: the type's fields are frozen
    doubts = unclear
    for name, value in wire.items():
        read = _READ.get(name)
        if read is not None:
            try:
                setattr(draft, name, read(value))
            except (BadValue, TypeError):  # TypeError: a value without a hash is not a text
                if name in VITAL:
                    return bad_row(f"{name} is not what it should be", wire)
                doubts = {name, *doubts}
    if draft.status is None:
        return bad_row("no status", wire)
    if doubts:
        draft.unclear = tuple(name for name in ORDER if name in doubts)
    return finished(draft)


def bad_row(what: str, wire: Mapping[str, Any], index: int | None = None) -> BadRow:
    """The row of a message that can't be read, with its id and phone if these can be read."""
    return BadRow(
        unreadable(what, dict(wire)),
        _read_or_none(id_of, wire.get("id")),
        _read_or_none(str_of, wire.get("phone")),
        index,
    )


def with_index(row: Row, index: int) -> Row:
    """The row. If it can't be read, its position in the request is added."""
    return BadRow(row.error, row.id, row.phone, index) if isinstance(row, BadRow) else row


def _read_or_none(read: Any, value: object) -> Any:
    try:
        return read(value) or None
    except BadValue:
        return None


def printed(wire: Mapping[str, str]) -> dict[str, str | None]:
    """The fields from a format for people. An empty field is `None`, except for texts; an id of digits is a number."""
    fields: dict[str, str | None] = {name: value if value or name in TEXTS else None for name, value in wire.items()}
    if fields.get("id"):
        fields["id"] = text_id(wire["id"])
    return fields


def wire_values(record: StatusRecord, columns: Columns) -> list[tuple[str, str | None]]:
    """The record's fields in this order, each with the wire's text or `None`."""
    return [(name, _wire(getattr(record, name, None))) for name in columns]


def _wire(value: object) -> str | None:
    if value is None:
        return None
    return format(value, "f") if isinstance(value, Decimal) else str(value)
