"""Builds the form fields of a request, and turns an HTTP status, headers and a body into outcomes or an error.

The rules come from https://smsc.ru/api/http/status_messages/check_status/ and from what public code shows of the
server: errors come with HTTP 200, and a reply to a bulk request may leave messages out, repeat or reorder them.
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
from smsc_status._core.wire.portions import Portions, in_one_go
from smsc_status.errors import ApiError, ProtocolError, SmscError, TransportError
from smsc_status.models import Detail, Format, Identity, StatusRecord, id_key, phone_key

PATH: Final = "/sys/status.php"

# HTTP statuses that ask to try again later; 5xx do so too.
_LATER: Final = frozenset({408, 425, 429})

LONGEST_RETRY_AFTER: Final = 86_400.0
"""The longest pause, in seconds, that a reply can ask for. A longer one is cut to this."""

Outcome = StatusRecord | SmscError | None
"""What the reply says about one message: `None` if it leaves the message out."""


@attrs.frozen
class Wire:
    """The format and charset of all of a client's requests."""

    format: Format = Format.JSON
    charset: str = "utf-8"


def fields(wire: Wire, messages: Sequence[tuple[str, str]], *, bulk: bool, detail: Detail) -> dict[str, str]:
    """The form fields, without credentials, that ask about these `(id, phone)` pairs.

    A bulk request for one message has a trailing comma, so that its answer has the bulk form.
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
    """Do all portions of `read_in_portions` at once."""
    return in_one_go(read_in_portions(wire, status, headers, body, asked=asked, bulk=bulk, detail=detail))


def read_in_portions(
    wire: Wire,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    asked: Sequence[Identity],
    bulk: bool,
    detail: Detail,
) -> Portions[list[Outcome] | SmscError]:
    """What a reply says about each message, in the request's order, or the error of the whole request.

    Returns:
        One outcome for each message; or a `TransportError` (the server asked to try later, or answered nothing), an
        `ApiError` or a `ProtocolError` that concerns the whole request.
    """
    failure = _http_failure(status, headers, body)
    if failure is not None:
        return failure
    try:
        rows = yield from codecs.decode_in_portions(
            body, format=wire.format, detail=detail, charset=wire.charset, asked=asked, bulk=bulk
        )
    except ProtocolError as error:
        excerpt = error.excerpt or _excerpt(body)
        return ProtocolError(error.reason, status=status, excerpt=excerpt, retry_after=retry_after(headers))
    return ApiError.of(rows.code, rows.text) if isinstance(rows, ErrorReply) else match(rows, asked)


def read_deletion(wire: Wire, status: int, headers: Mapping[str, str], body: bytes) -> SmscError | None:
    """The error that a reply to a deletion means; `None` if the message is deleted."""
    failure = _http_failure(status, headers, body)
    if failure is not None:
        return failure
    try:
        refusal = codecs.decode_deletion(body, format=wire.format, charset=wire.charset)
    except ProtocolError as error:
        return ProtocolError(error.reason, status=status, excerpt=error.excerpt, retry_after=retry_after(headers))
    return None if refusal is None else ApiError.of(refusal.code, refusal.text)


def match(rows: Sequence[Row], asked: Sequence[Identity]) -> list[Outcome]:
    """Assign each row to the message that it is about, and return the outcomes in the request's order.

    A row is assigned by the first of these that applies:

    - its id and phone;
    - its position in the request, if it is a `BadRow` that knows it;
    - its id and its phone in another notation, if that fits only one message;
    - its id, if only one message has it;
    - its position in the reply, if there are as many rows as messages and all ids and phones that are there agree.

    A row that fits no message, or names another phone, is ignored. If several rows fit a message, the first counts.
    """
    if _is_in_order(rows, asked) or _is_nameless_alone(rows, asked):
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
    """Whether each row names the message at its position in the request, as in most replies."""
    if len(rows) != len(asked):
        return False
    return all(row.id == key and row.phone == phone for row, (key, phone) in zip(rows, asked, strict=True))


def _is_nameless_alone(rows: Sequence[Row], asked: Sequence[Identity]) -> bool:
    """Whether there is one row for one message and it names none, as in the replies to most single requests."""
    return len(rows) == len(asked) == 1 and rows[0].id is None and rows[0].phone is None


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
    """Whether two phones may be one phone in two notations. A missing phone agrees with any."""
    return not echoed or are_alike(echoed, asked)


def _name(row: Row) -> tuple[int | str | None, str | None]:
    return (
        None if row.id is None else id_key(row.id),
        None if row.phone is None else phone_key(row.phone),
    )


def _outcome(row: Row) -> Outcome:
    return row.error if isinstance(row, BadRow) else row


def reply_date(headers: Mapping[str, str]) -> float | None:
    """The reply's `Date`, by the server's clock, in seconds since 1970; `None` if there is none that can be read.

    Args:
        headers: the reply's headers. Their names are in lower case, or are compared without regard to case.
    """
    return _seconds_since_1970(headers.get("date", ""))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """How many seconds the reply's `Retry-After` asks to wait, 0 to `LONGEST_RETRY_AFTER`; `None` if it asks nothing.

    A date in it is by the server's clock, so it counts from the reply's own `Date`. Without that it is ignored.
    """
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdecimal():
        return min(float(value), LONGEST_RETRY_AFTER)
    until, now = _seconds_since_1970(value), reply_date(headers)
    return None if until is None or now is None else min(max(0.0, until - now), LONGEST_RETRY_AFTER)


def _seconds_since_1970(http_date: str) -> float | None:
    try:
        date = parsedate_to_datetime(http_date)
        if date.tzinfo is None:  # all dates in HTTP are GMT, even if they do not say so
            date = date.replace(tzinfo=UTC)
        return date.timestamp()
    except (ValueError, TypeError, OverflowError):  # not a date, a day that does not exist, or an impossible zone
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
