"""Reads the fields of a form, url-encoded or multipart/form-data. The vendor's own Node library sends the latter."""

from __future__ import annotations

from email import message_from_bytes
from email.message import Message
from typing import cast
from urllib.parse import parse_qsl

DEFAULT_CHARSET = "windows-1251"
URL_ENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"


def read_form(body: bytes, content_type: str = URL_ENCODED) -> dict[str, str]:
    """The fields by name. If a field is given twice, the last one counts.

    As in PHP, an uploaded file is not a field, and a body of another type has no fields. A body without a type counts
    as url-encoded.
    """
    kind = content_type.partition(";")[0].strip().lower() or URL_ENCODED
    if kind == URL_ENCODED:
        # Latin-1 keeps each byte as it is: the charset of a value can only be told from its bytes, in `_text`.
        pairs = parse_qsl(body.decode("latin-1"), keep_blank_values=True, encoding="latin-1")
        return {name: _text(value.encode("latin-1")) for name, value in pairs}
    return {name: _text(value) for name, value in _parts(body, content_type)} if kind == MULTIPART else {}


def _parts(body: bytes, content_type: str) -> list[tuple[str, bytes]]:
    # The standard library parses it, so that the emulator needs no extra when it is not served on a port.
    try:
        form = message_from_bytes(b"Content-Type: %s\r\n\r\n%s" % (content_type.encode("latin-1"), body))
        parts = cast("list[Message]", form.get_payload()) if form.is_multipart() else []
        return [(name, value) for part in parts for name, value in _field(part)]
    except Exception:  # the parser raises many types of errors for headers that no client writes, such as `name*0=`
        return []


def _field(part: Message) -> list[tuple[str, bytes]]:
    """The name and the value of a part, in a list; an empty list if the part is not a field."""
    name = part.get_param("name", header="content-disposition")
    if not isinstance(name, str) or part.is_multipart() or part.get_filename() is not None:
        return []
    del part["content-transfer-encoding"]  # RFC 7578 (4.7) has none in forms, and PHP ignores it
    return [(name, cast("bytes", part.get_payload(decode=True)))]


def _text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode(DEFAULT_CHARSET, "replace")
