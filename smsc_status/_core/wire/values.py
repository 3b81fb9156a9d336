"""Between the wire's texts and a record's fields, and the rows that a reply is made of.

A value that can't be its field's costs the field, which is `None` and named in `unclear`; one of `VITAL` costs the
record. A number sent as an empty text is `None`. An empty text is an empty text where its key was sent; in the two
formats for people (`PLAIN`, `CSV`), which print a name that they don't have as nothing, it is `None` but for `message`
and `comment`.
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
from smsc_status.errors import EXCERPT_CHARS, ProtocolError
from smsc_status.models import HlrRecord, Identity, Key, StatusRecord, id_key

CHARSETS = ("windows-1251", "utf-8", "koi8-r")

OURS = frozenset({"ref", "checked_at", "timezone", "unclear"})
"""What a record has that never comes from the wire."""

VITAL = frozenset({"status", "id", "phone"})
"""Without these it is not known what is said, or of whom."""

INTS = frozenset({"status", "last_timestamp", "flag", "err", "send_timestamp", "type", "sms_cnt"})
STAMPS = frozenset({"last_timestamp", "send_timestamp"})
TEXTS = frozenset({"message", "comment"})
NAMES = frozenset(
    {"sender_id", "status_name", "mccmnc", "country", "operator", "operator_orig", "region"}
    | {"mcc", "mnc", "cn", "net", "rcn", "rnet"}
)
"""What many records have in common."""

ROWS_A_MESSAGE = 4
MORE_ROWS = 1000

MAX_SHARED = 4096
MAX_SHARED_CHARS = 64

ORDER = tuple(field.name for field in attrs.fields(HlrRecord) if field.name not in OURS)
FIELDS = frozenset(ORDER)
_HLR = frozenset(HLR_KEYS)

_INT = re.compile(r"\s*([-+]?\d{1,18})(?:\.0+)?\s*", re.ASCII)
_COST = re.compile(r"\s*([-+]?\d{1,30}(?:\.\d{1,30})?(?:[eE][-+]?\d)?)\s*", re.ASCII)
# A sibling script appends the id. The text may hold brackets; it ends with the one that closes the first, if any does.
_PLAIN_ERROR = re.compile(
    r"\s*+ERROR\s*+=\s*+(\d{1,9})\s*+(?:\Z|,|\(((?:[^()]++|\([^()]*+\))*+)\)|\((.*)\))",
    re.IGNORECASE | re.ASCII | re.DOTALL,
)
_NUMERIC_ID = re.compile(r"0|[1-9][0-9]{0,39}", re.ASCII)
_SURROGATES = re.compile("[\ud800-\udfff]")
_BOM = b"\xef\xbb\xbf"


_SHOWN = Repr()
_SHOWN.maxlevel = 3
_SHOWN.maxdict = len(FIELDS)
_SHOWN.maxstring = _SHOWN.maxother = EXCERPT_CHARS
"""Shows what is hostile too, however large or deep."""


def refuse_flood(rows: int, asked: Sequence[Identity]) -> None:
    """A server may repeat messages and add others; one that sends many times what was asked for would keep us busy.

    Raises:
        ProtocolError: these are too many rows.
    """
    if rows > MORE_ROWS + len(asked) * ROWS_A_MESSAGE:
        raise ProtocolError(f"{rows:,} rows or more about {len(asked):,} messages")


class Number(str):
    """A number of the wire, in its own digits."""

    __slots__ = ()


class BadValue(ValueError):
    """A value that can't be its field's."""


@attrs.frozen(slots=True)
class BadRow:
    """One message's part of a reply that can't be read, with what is known of whose it is.

    `index` is the position in the request that it surely belongs to, if known.
    """

    error: ProtocolError
    id: int | str | None = None
    phone: str | None = None
    index: int | None = None


@attrs.frozen(slots=True)
class ErrorReply:
    """The server refused the request: its number, and its wording."""

    code: int
    text: str


Row = StatusRecord | BadRow


def text_of(body: bytes, charset: str) -> str:
    """The body as text; a byte that the charset lacks becomes U+FFFD.

    Raises:
        ProtocolError: there is nothing in it.
    """
    text = body.removeprefix(_BOM).decode(charset, "replace")
    if not text.strip():
        raise ProtocolError("an empty reply")
    return text


def in_utf8(body: bytes, charset: str) -> bytes:
    """The body in UTF-8, where a byte that another charset lacks is U+FFFD."""
    body = body.removeprefix(_BOM)
    return body if charset == "utf-8" else body.decode(charset, "replace").encode()


def bytes_of(text: str, charset: str, errors: str = "replace") -> bytes:
    """The text as the server would send it."""
    return without_surrogates(text).encode(charset, errors)


def without_surrogates(text: str) -> str:
    """The text with U+FFFD for halves of characters, which no charset has."""
    return text if text.isascii() else _SURROGATES.sub("\ufffd", text)


def unreadable(what: str, text: object) -> ProtocolError:
    """The error that shows where reading ended."""
    return ProtocolError(what, excerpt=text if isinstance(text, str) else _SHOWN.repr(text))


def plain_error(text: str) -> ErrorReply | None:
    """The refusal that this text is, as `fmt=0` words it."""
    found = _PLAIN_ERROR.match(text)
    return ErrorReply(int(found[1]), found[2] or found[3] or "") if found else None


def error_reply(wire: Mapping[str, Any]) -> ErrorReply | None:
    """The refusal that these keys are, if they are one."""
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
    """An id from a format that has only texts: digits are a number there."""
    return Number(value)


def key_of(value: str) -> Key:
    """The id as it is compared; digits beyond any id stay text."""
    return id_key(value) if len(value) <= 40 else value


class Shared(dict[Any, Any]):
    """What texts are read as, made once for all records that have the same; long or too many texts are not kept."""

    def __init__(self, read: Callable[[object], Any]) -> None:
        super().__init__()
        self._read = read

    def __missing__(self, text: object) -> Any:
        value = self._read(text)
        if len(self) >= MAX_SHARED:
            self.clear()
        if text is None or len(str(text)) <= MAX_SHARED_CHARS:
            self[text] = value
        return value


SHARED = Shared(str_of)
"""The texts of `NAMES`."""

COSTS = Shared(cost_of)
CODES = Shared(int_of)
"""The numbers of which there are few."""

_Read = Callable[[object], Any]
_READ: dict[str, _Read] = {name: int_of if name in STAMPS else str_of for name in FIELDS}
_READ |= dict.fromkeys(NAMES, SHARED.__getitem__)
_READ |= dict.fromkeys(INTS - STAMPS, CODES.__getitem__)
_READ |= {"cost": COSTS.__getitem__, "id": id_of}


def record_of(wire: Mapping[str, Any], unclear: Iterable[str] = ()) -> Row:
    """The record that these keys are. Unknown keys are ignored.

    Args:
        wire: the fields' values as texts; `None` is what was not sent.
        unclear: the fields that are in doubt already.
    """
    draft: Any = new_draft() if _HLR.isdisjoint(wire) else new_hlr_draft()  # to the type checker its fields are frozen
    doubts = unclear
    for name, value in wire.items():
        read = _READ.get(name)
        if read is not None:
            try:
                setattr(draft, name, read(value))
            except (BadValue, TypeError):  # the latter: what has no hash is no text
                if name in VITAL:
                    return bad_row(f"{name} is not what it should be", wire)
                doubts = {name, *doubts}
    if draft.status is None:
        return bad_row("no status", wire)
    if doubts:
        draft.unclear = tuple(name for name in ORDER if name in doubts)
    return finished(draft)


def bad_row(what: str, wire: Mapping[str, Any], index: int | None = None) -> BadRow:
    """A row that can't be read, with its id and phone as far as they can."""
    return BadRow(unreadable(what, dict(wire)), _tried(id_of, wire.get("id")), _tried(str_of, wire.get("phone")), index)


def with_index(row: Row, index: int) -> Row:
    """The row; one that can't be read with its position in the request."""
    return BadRow(row.error, row.id, row.phone, index) if isinstance(row, BadRow) else row


def _tried(read: Any, value: object) -> Any:
    try:
        return read(value) or None
    except BadValue:
        return None


def printed(wire: Mapping[str, str]) -> dict[str, str | None]:
    """The fields as the formats for people print them: empty is nothing, but for the texts; digits are numbers."""
    fields: dict[str, str | None] = {name: value if value or name in TEXTS else None for name, value in wire.items()}
    if fields.get("id"):
        fields["id"] = text_id(wire["id"])
    return fields


def wire_values(record: StatusRecord, columns: Columns) -> list[tuple[str, str | None]]:
    """The record's fields in this order, each as the wire's text or `None`."""
    return [(name, _wire(getattr(record, name, None))) for name in columns]


def _wire(value: object) -> str | None:
    if value is None:
        return None
    return format(value, "f") if isinstance(value, Decimal) else str(value)
