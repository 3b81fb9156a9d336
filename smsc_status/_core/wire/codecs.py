"""Encodes replies for the emulator and decodes them for the client, in all four formats.

`replytext` decodes the bytes, `layouts` is the table of fields, and `values` turns the wire's texts into a record's
fields. `plainform`, `csvform`, `xmlform` and `jsonform` are the formats. `linefast` and `jsonfast` quickly read what is
written as the vendor's page shows it. Two formats quote nothing: `csvfit` finds the columns of a CSV
line; `lineup` and `segments` find the messages of a reply whose texts hold newlines; `asked` finds the message that a
phone in the reply names; `truncation` finds a last line that may have been cut.

Decoding accepts what it can and does not guess. A status that can be read is returned, and a field that can't be told
is named in its record's `unclear`. If it is not certain which message a line belongs to, the messages in question
become `BadRow`s; all others are returned.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Protocol

from smsc_status._core.wire import jsonform
from smsc_status._core.wire.portions import Portions, in_one_go
from smsc_status._core.wire.replytext import CHARSETS, ReplyText
from smsc_status._core.wire.truncation import without_cut_end
from smsc_status._core.wire.values import BadRow, ErrorReply, Row, plain_error, unreadable, with_index
from smsc_status.errors import ProtocolError
from smsc_status.models import Detail, Format, Identity, StatusRecord

__all__ = [
    "CHARSETS",
    "BadRow",
    "ErrorReply",
    "Row",
    "decode",
    "decode_deletion",
    "decode_in_portions",
    "encode",
    "encode_deletion",
    "encode_error",
]


def decode(
    body: bytes, *, format: Format, detail: Detail, charset: str, asked: Sequence[Identity], bulk: bool
) -> list[Row] | ErrorReply:
    """Do all portions of `decode_in_portions` at once."""
    return in_one_go(decode_in_portions(body, format=format, detail=detail, charset=charset, asked=asked, bulk=bulk))


def decode_in_portions(
    body: bytes, *, format: Format, detail: Detail, charset: str, asked: Sequence[Identity], bulk: bool
) -> Portions[list[Row] | ErrorReply]:
    """Read a reply to a status request.

    Args:
        body: the reply, undecoded. A byte that the charset lacks becomes U+FFFD.
        format: the format that was asked for.
        detail: the level that was asked for.
        charset: the charset that was asked for. What the reply says about its charset is ignored.
        asked: the messages that were asked about, in the request's order.
        bulk: whether the request was a bulk one, which changes the form of the reply.

    Returns:
        A row for each message in the reply, in the reply's order: a record with only the wire's fields, or what is
        known of a message that can't be read. Or the vendor's refusal.

    Raises:
        ProtocolError: the reply as a whole can't be read. Nothing else is ever raised, whatever the bytes.
    """
    text = _text(body, charset)
    if format is Format.JSON:
        rows = yield from jsonform.decode_documented((yield from text.in_utf8()), asked)
        if rows is not None:
            return rows
    reply = plain_error(text) or (yield from _form(format).decode(text, detail, asked, bulk=bulk))
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
    from smsc_status._core.wire import csvform  # noqa: PLC0415 (loaded when it is first used, see `_form`)

    text = _text(body, charset)
    result: str | ErrorReply | None = plain_error(text) or csvform.error(text)
    if result is None and text.whole.strip() != "OK":
        result = _form(format).decode_result(text.whole)
        if result is None or (isinstance(result, str) and result.strip() != "OK"):
            raise unreadable("neither deleted nor refused", text.whole)
    return result if isinstance(result, ErrorReply) else None


def _text(body: bytes, charset: str) -> ReplyText:
    text = ReplyText(body, charset)
    if not text.body.strip():
        raise ProtocolError("an empty reply")
    return text


def encode(
    records: Sequence[StatusRecord],
    *,
    format: Format,
    detail: Detail,
    charset: str,
    bulk: bool,
    empty_numbers: bool = False,
) -> bytes:
    """Write what the vendor's server would print for these records. Fields that are `None` are left out.

    `Format.CSV` has a column for a missing number too: it holds 0, or nothing with `empty_numbers`.
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
    """The functions of a format's module."""

    def decode(
        self, text: ReplyText, _detail: Detail, _asked: Sequence[Identity], /, *, bulk: bool
    ) -> Portions[list[Row] | ErrorReply]: ...

    def decode_result(self, text: str, /) -> str | ErrorReply | None: ...

    def encode(self, records: Sequence[StatusRecord], detail: Detail, charset: str, /, *, bulk: bool) -> bytes: ...

    def encode_error(self, code: int, text: str, charset: str, /) -> bytes: ...

    def encode_deletion(self, charset: str, /) -> bytes: ...


@functools.cache
def _form(format: Format) -> _Form:
    """A format's module, loaded when it is first used, since most processes use only one."""
    if format is Format.PLAIN:
        from smsc_status._core.wire import plainform  # noqa: PLC0415 (when it is first used)

        return plainform
    if format is Format.CSV:
        from smsc_status._core.wire import csvform  # noqa: PLC0415 (when it is first used)

        return csvform
    if format is Format.XML:
        from smsc_status._core.wire import xmlform  # noqa: PLC0415 (when it is first used)

        return xmlform
    return jsonform
