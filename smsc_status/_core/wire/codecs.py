"""The four formats, each encode (the emulator speaks) and decode (the client listens), driven by one table.

`layouts` is the table; `values` stands between the wire's texts and a record's fields; `plainform`, `csvform`,
`xmlform` and `jsonform` are the formats, and `linefast` and `jsonfast` their fast paths for what is written as the
vendor's page shows it. Two formats quote nothing: there `csvfit` finds the columns of a line, `lineup` and `segments`
the messages of a reply whose texts hold newlines, `asked` the message that an echoed phone names, and `truncation` a
last line that may have been cut.

Decoding accepts what it can and guesses nothing. A status that can be read comes out; a field that can't be told is
named in its record's `unclear`. Where it is not certain which message a line belongs to, the messages concerned become
`BadRow`s, and no others.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Protocol

from smsc_status._core.wire import jsonform
from smsc_status._core.wire.truncation import without_cut_end
from smsc_status._core.wire.values import (
    CHARSETS,
    BadRow,
    ErrorReply,
    Row,
    in_utf8,
    plain_error,
    text_of,
    unreadable,
    with_index,
)
from smsc_status.models import Detail, Format, Identity, StatusRecord

__all__ = [
    "CHARSETS",
    "BadRow",
    "ErrorReply",
    "Row",
    "decode",
    "decode_deletion",
    "encode",
    "encode_deletion",
    "encode_error",
]


def decode(
    body: bytes, *, format: Format, detail: Detail, charset: str, asked: Sequence[Identity], bulk: bool
) -> list[Row] | ErrorReply:
    """Read a reply to a status request.

    Args:
        body: the reply, undecoded. A byte that the charset lacks becomes U+FFFD.
        format: the form that was asked for.
        detail: the level that was asked for.
        charset: the charset that was asked for; what the reply says of its own does not count.
        asked: the messages that were asked about, in the request's order.
        bulk: whether the request was a bulk one, which changes the form of the reply.

    Returns:
        A row for each message that the reply speaks of, in its order: a record with the wire's fields alone, or what
        is known of one that can't be read. Or the vendor's refusal.

    Raises:
        ProtocolError: the reply as a whole can't be read; nothing else is ever raised, whatever the bytes.
    """
    if format is Format.JSON:
        rows = jsonform.decode_documented(in_utf8(body, charset), asked)
        if rows is not None:
            return rows
    text = text_of(body, charset)
    reply = plain_error(text) or _form(format).decode(text, detail, asked, bulk=bulk)
    if isinstance(reply, ErrorReply):
        return reply
    if bulk:
        return without_cut_end(reply, asked, detail) if format in _OPEN_ENDED else reply
    return [with_index(reply[0], 0)] if len(reply) == 1 else reply


def decode_deletion(body: bytes, *, format: Format, charset: str) -> ErrorReply | None:
    """Read a reply to a deletion: `None` if the message is deleted, else the vendor's refusal.

    Raises:
        ProtocolError: it is neither.
    """
    from smsc_status._core.wire import csvform  # noqa: PLC0415 (as a format's module: when it is first used)

    text = text_of(body, charset)
    result: str | ErrorReply | None = text if text.strip() == "OK" else plain_error(text) or csvform.error(text)
    if result is None:
        result = _form(format).decode_result(text)
    if isinstance(result, ErrorReply):
        return result
    if result is None or result.strip() != "OK":
        raise unreadable("neither deleted nor refused", text)
    return None


def encode(
    records: Sequence[StatusRecord],
    *,
    format: Format,
    detail: Detail,
    charset: str,
    bulk: bool,
    empty_numbers: bool = False,
) -> bytes:
    """Write what the vendor's server would print for these records; fields that are `None` are absent.

    An absent number has a column all the same in `Format.CSV`: it holds 0, or nothing with `empty_numbers`.
    """
    if format is Format.CSV:
        from smsc_status._core.wire import csvform  # noqa: PLC0415 (see `decode_deletion`)

        return csvform.encode(records, detail, charset, bulk=bulk, empty_numbers=empty_numbers)
    return _form(format).encode(records, detail, charset, bulk=bulk)


def encode_error(code: int, text: str, *, format: Format, charset: str) -> bytes:
    """Write the vendor's refusal."""
    return _form(format).encode_error(code, text, charset)


def encode_deletion(*, format: Format, charset: str) -> bytes:
    """Write the answer to a deletion that succeeded."""
    return _form(format).encode_deletion(charset)


_OPEN_ENDED = (Format.PLAIN, Format.CSV)  # nothing marks the end of a reply


class _Form(Protocol):
    """What a format's module has."""

    def decode(
        self, text: str, _detail: Detail, _asked: Sequence[Identity], /, *, bulk: bool
    ) -> list[Row] | ErrorReply: ...

    def decode_result(self, text: str, /) -> str | ErrorReply | None: ...

    def encode(self, records: Sequence[StatusRecord], detail: Detail, charset: str, /, *, bulk: bool) -> bytes: ...

    def encode_error(self, code: int, text: str, charset: str, /) -> bytes: ...

    def encode_deletion(self, charset: str, /) -> bytes: ...


@functools.cache
def _form(format: Format) -> _Form:
    """A format's module, loaded when it is first used: most processes use one."""
    match format:
        case Format.PLAIN:
            from smsc_status._core.wire import plainform  # noqa: PLC0415

            return plainform
        case Format.CSV:
            from smsc_status._core.wire import csvform  # noqa: PLC0415

            return csvform
        case Format.XML:
            from smsc_status._core.wire import xmlform  # noqa: PLC0415

            return xmlform
        case Format.JSON:
            return jsonform
