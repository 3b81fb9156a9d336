"""A question becomes form fields; an HTTP status, headers and a body become answers or an error.

Source of the rules: https://smsc.ru/api/http/status_messages/check_status/ and what public code shows the server doing:
errors come with HTTP 200; a reply to a bulk request may leave messages out, repeat them, or give them in another order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

import attrs

from smsc_status._core.wire import codecs
from smsc_status._core.wire.asked import Asked, are_alike
from smsc_status._core.wire.codecs import BadRow, ErrorReply, Row
from smsc_status.errors import ApiError, ProtocolError, SmscError, TransportError
from smsc_status.models import Detail, Format, Identity, StatusRecord, id_key, phone_key

PATH: Final = "/sys/status.php"

# "Later" in HTTP's own words; 5xx are too.
_LATER: Final = frozenset({408, 425, 429})

LONGEST_RETRY_AFTER: Final = 86_400.0
"""A reply that asks for a longer pause, in seconds, is taken to ask for this one."""

Outcome = StatusRecord | SmscError | None
"""What the reply says of one message: `None` where it leaves it out."""


@attrs.frozen
class Wire:
    """How a client and its server talk: chosen once, the same for all its requests."""

    format: Format = Format.JSON
    charset: str = "utf-8"


def fields(wire: Wire, messages: Sequence[tuple[str, str]], *, bulk: bool, detail: Detail) -> dict[str, str]:
    """The form fields, without credentials, that ask for these `(id, phone)` pairs.

    One message asked in bulk takes a trailing comma, so that its answer has the bulk form.
    """
    ids = ",".join(id for id, _ in messages)
    phones = ",".join(phone for _, phone in messages)
    comma = "," if bulk and len(messages) == 1 else ""
    return {"id": ids + comma, "phone": phones + comma, **_form(wire), "all": str(int(detail))}


def deletion_fields(wire: Wire, id: str, phone: str) -> dict[str, str]:
    """The form fields, without credentials, that delete one message."""
    return {"id": id, "phone": phone, **_form(wire), "del": "1"}


def _form(wire: Wire) -> dict[str, str]:
    return {"fmt": str(int(wire.format)), "charset": wire.charset}


def read(
    wire: Wire,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    asked: Sequence[Identity],
    bulk: bool,
    detail: Detail,
) -> list[Outcome] | SmscError:
    """What a reply says of each message asked, in the order asked, or why it says nothing of any.

    Returns:
        One outcome a message; or a `TransportError` (the server said "later", or nothing), an `ApiError` or a
        `ProtocolError` that concerns the whole request.
    """
    failure = _http_failure(status, headers, body)
    if failure is not None:
        return failure
    try:
        rows = codecs.decode(body, format=wire.format, detail=detail, charset=wire.charset, asked=asked, bulk=bulk)
    except ProtocolError as error:
        excerpt = error.excerpt or _excerpt(body)
        return ProtocolError(error.reason, status=status, excerpt=excerpt, retry_after=retry_after(headers))
    return ApiError.of(rows.code, rows.text) if isinstance(rows, ErrorReply) else match(rows, asked)


def read_deletion(wire: Wire, status: int, headers: Mapping[str, str], body: bytes) -> SmscError | None:
    """Why a reply says that the message is not deleted, or `None`: it is."""
    failure = _http_failure(status, headers, body)
    if failure is not None:
        return failure
    try:
        refusal = codecs.decode_deletion(body, format=wire.format, charset=wire.charset)
    except ProtocolError as error:
        return ProtocolError(error.reason, status=status, excerpt=error.excerpt, retry_after=retry_after(headers))
    return None if refusal is None else ApiError.of(refusal.code, refusal.text)


def match(rows: Sequence[Row], asked: Sequence[Identity]) -> list[Outcome]:
    """Each row to the message it is about: by id and phone; by id and the phone in another notation, where that is
    true of one message alone; by id, where one message has it; by position, where the reply has as many rows as were
    asked and its ids line up. What fits nowhere is not ours; the first of a repetition counts.
    """
    if _is_in_order(rows, asked):
        return [row.error if isinstance(row, BadRow) else row for row in rows]
    outcomes: list[Outcome] = [None] * len(asked)
    indexes = {identity: index for index, identity in enumerate(asked)}
    named = [_name(row) for row in rows]
    rest = []
    for position, (row, (key, phone)) in enumerate(zip(rows, named, strict=True)):
        index = indexes.get((key, phone)) if key is not None and phone else None
        if index is None and isinstance(row, BadRow):
            index = row.index
        if index is None:
            rest.append(position)
        elif outcomes[index] is None:
            outcomes[index] = _outcome(row)
    if rest:
        _match_rest(rows, named, rest, asked, outcomes)
    return outcomes


def _is_in_order(rows: Sequence[Row], asked: Sequence[Identity]) -> bool:
    """Whether each row names the message that was asked in its index, as in most replies."""
    if len(rows) != len(asked):
        return False
    return all(row.id == key and row.phone == phone for row, (key, phone) in zip(rows, asked, strict=True))


def _match_rest(
    rows: Sequence[Row],
    named: Sequence[tuple[int | str | None, str | None]],
    rest: Sequence[int],
    asked: Sequence[Identity],
    outcomes: list[Outcome],
) -> None:
    who = Asked(asked)
    lined_up = len(rows) == len(asked) and all(
        (key is None or key == asked_key) and _agree(phone, asked_phone)
        for (key, phone), (asked_key, asked_phone) in zip(named, asked, strict=True)
    )
    for position in rest:
        key, phone = named[position]
        index = who.position(key, phone) if phone else None
        if index is None and len(who.of_id(key)) == 1:
            index = who.of_id(key)[0]
        if index is None and lined_up:
            index = position
        if index is not None and outcomes[index] is None and _agree(phone, asked[index][1]):
            outcomes[index] = _outcome(rows[position])


def _agree(echoed: str | None, asked: str) -> bool:
    """Whether two phones may be one in two notations."""
    return not echoed or are_alike(echoed, asked)


def _name(row: Row) -> tuple[int | str | None, str | None]:
    return (
        None if row.id is None else id_key(row.id),
        None if row.phone is None else phone_key(row.phone),
    )


def _outcome(row: Row) -> Outcome:
    return row.error if isinstance(row, BadRow) else row


def reply_date(headers: Mapping[str, str]) -> float | None:
    """The reply's own `Date`, by the server's clock, in seconds since 1970; `None` where none can be read.

    Args:
        headers: the reply's headers, their names in lower case or compared without regard to it.
    """
    return _seconds_since_1970(headers.get("date", ""))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """How many seconds the reply's `Retry-After` asks to wait, 0 to `LONGEST_RETRY_AFTER`; `None` where it does not.

    A date there is one by the server's clock, so it counts from the reply's own `Date`, and says nothing without it.
    """
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdecimal():
        return min(float(value), LONGEST_RETRY_AFTER)
    until, now = _seconds_since_1970(value), reply_date(headers)
    return None if until is None or now is None else min(max(0.0, until - now), LONGEST_RETRY_AFTER)


def _seconds_since_1970(http_date: str) -> float | None:
    try:
        date = parsedate_to_datetime(http_date)
        if date.tzinfo is None:  # HTTP's dates are all in GMT, also those that do not say so
            date = date.replace(tzinfo=UTC)
        return date.timestamp()
    except (ValueError, TypeError, OverflowError):  # no date, one that no calendar has, a zone beyond all hours
        return None


def _http_failure(status: int, headers: Mapping[str, str], body: bytes) -> SmscError | None:
    if status >= 500 or status in _LATER:
        return TransportError(
            f"the server answered HTTP {status}", http_status=status, retry_after=retry_after(headers)
        )
    if status != 200:
        return ProtocolError(
            "unexpected HTTP status", status=status, excerpt=_excerpt(body), retry_after=retry_after(headers)
        )
    if not body.strip():
        return TransportError("the server's answer was empty", http_status=status, retry_after=retry_after(headers))
    return None


def _excerpt(body: bytes) -> str:
    return body[:800].decode("utf-8", errors="replace")
