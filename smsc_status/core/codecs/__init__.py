"""The four formats, each encode (the emulator speaks) and decode (the client listens), driven by one table.

`layouts` is the table; `values` stands between the wire's texts and a record's fields; `plain`, `columns`, `xmlform`
and `jsonform` are the formats; `align` finds the messages in a reply whose texts may hold newlines.

Tolerant in what is accepted, and nothing is guessed: where a reply can be read in more than one way, the messages
concerned are `BadRow`s, and they alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from smsc_status.core.codecs import columns, jsonform, plain, xmlform
from smsc_status.core.codecs.values import CHARSETS, BadRow, ErrorReply, Row, plain_error, text_of, unreadable
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
    text = text_of(body, charset)
    refusal = plain_error(text)
    if refusal:
        return refusal
    match format:
        case Format.JSON:
            return jsonform.decode(text)
        case Format.XML:
            return xmlform.decode(text, asked, bulk=bulk)
        case Format.CSV:
            return columns.decode(text, detail, asked, bulk=bulk)
        case Format.PLAIN:
            return plain.decode(text, detail, asked, bulk=bulk)


def decode_deletion(body: bytes, *, format: Format, charset: str) -> ErrorReply | None:
    """Read a reply to a deletion: `None` if the message is deleted, else the vendor's refusal.

    Raises:
        ProtocolError: it is neither.
    """
    text = text_of(body, charset)
    if text.strip() == "OK":
        return None
    refusal = plain_error(text) or columns.error(text)
    if refusal:
        return refusal
    result: str | ErrorReply | None = None
    if format is Format.JSON:
        result = jsonform.decode_result(text)
    elif format is Format.XML:
        result = xmlform.decode_result(text)
    if isinstance(result, ErrorReply):
        return result
    if result is None or result.strip() != "OK":
        raise unreadable("neither deleted nor refused", text)
    return None


def encode(records: Sequence[StatusRecord], *, format: Format, detail: Detail, charset: str, bulk: bool) -> bytes:
    """Write what the vendor's server would print for these records; fields that are `None` are absent."""
    match format:
        case Format.JSON:
            return jsonform.encode(records, detail, charset, bulk=bulk)
        case Format.XML:
            return xmlform.encode(records, detail, charset, bulk=bulk)
        case Format.CSV:
            return columns.encode(records, detail, charset, bulk=bulk)
        case Format.PLAIN:
            return plain.encode(records, detail, charset, bulk=bulk)


def encode_error(code: int, text: str, *, format: Format, charset: str) -> bytes:
    """Write the vendor's refusal."""
    match format:
        case Format.JSON:
            return jsonform.encode_error(code, text, charset)
        case Format.XML:
            return xmlform.encode_error(code, text, charset)
        case Format.CSV:
            return columns.encode_error(code, charset)
        case Format.PLAIN:
            return plain.encode_error(code, text, charset)


def encode_deletion(*, format: Format, charset: str) -> bytes:
    """Write the answer to a deletion that succeeded."""
    match format:
        case Format.JSON:
            return jsonform.encode_deletion(charset)
        case Format.XML:
            return xmlform.encode_deletion(charset)
        case Format.CSV | Format.PLAIN:
            return b"OK"
