"""The fields of a form: url-encoded, or multipart/form-data, which the vendor's own Node library sends."""

from __future__ import annotations

from email import message_from_bytes
from email.message import Message
from typing import cast
from urllib.parse import parse_qsl

DEFAULT_CHARSET = "windows-1251"
URL_ENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"


def read_form(body: bytes, content_type: str = URL_ENCODED) -> dict[str, str]:
    """The fields by name; of a field given twice, the last counts.

    As in PHP, an uploaded file is no field, and a body of a type other than these two has none. A body whose type is
    not said counts as url-encoded.
    """
    kind = content_type.partition(";")[0].strip().lower() or URL_ENCODED
    if kind == URL_ENCODED:
        # Byte for byte, since only the values themselves can show what they are encoded in.
        pairs = parse_qsl(body.decode("latin-1"), keep_blank_values=True, encoding="latin-1")
        return {name: _text(value.encode("latin-1")) for name, value in pairs}
    return {name: _text(value) for name, value in _parts(body, content_type)} if kind == MULTIPART else {}


def _parts(body: bytes, content_type: str) -> list[tuple[str, bytes]]:
    # By the standard library's parser of MIME, because the emulator needs no extra when it runs in process.
    try:
        form = message_from_bytes(b"Content-Type: %s\r\n\r\n%s" % (content_type.encode("latin-1"), body))
        parts = cast("list[Message]", form.get_payload()) if form.is_multipart() else []
        return [(name, value) for part in parts for name, value in _field(part)]
    except Exception:  # it raises errors of many types for headers that no client writes, such as `name*0=`
        return []


def _field(part: Message) -> list[tuple[str, bytes]]:
    """The name and the value of a part; nothing, if it is no field."""
    name = part.get_param("name", header="content-disposition")
    if not isinstance(name, str) or part.is_multipart() or part.get_filename() is not None:
        return []
    del part["content-transfer-encoding"]  # RFC 7578 (4.7) has none in forms, and PHP does not look at it
    return [(name, cast("bytes", part.get_payload(decode=True)))]


def _text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode(DEFAULT_CHARSET, "replace")
