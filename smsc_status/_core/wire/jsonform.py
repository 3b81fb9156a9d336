"""`fmt=3`: reads and writes JSON.

A reply that is as documented is parsed straight into records, by `jsonfast`. Any other is read record by record.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from smsc_status._core.wire import jsonfast
from smsc_status._core.wire.layouts import NOT_FOUND, columns_of
from smsc_status._core.wire.portions import Portions, list_in_portions
from smsc_status._core.wire.replytext import ReplyText
from smsc_status._core.wire.values import (
    FIELDS,
    INTS,
    ErrorReply,
    Number,
    Row,
    bad_row,
    bytes_of,
    error_reply,
    record_of,
    refuse_too_many_rows,
    unreadable,
    wire_values,
    without_surrogates,
)
from smsc_status.errors import ProtocolError
from smsc_status.models import Detail, Format, HlrRecord, Identity, StatusRecord

_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_HALF = re.compile(r"\\u[dD][89a-fA-F]")
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TEXT = msgspec.json.Decoder(str)
_WRITER = json.JSONEncoder(ensure_ascii=False)  # `json.dumps` would make one for each value
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)

VALUES_A_ROW = 40
"""The most values that a record has."""

COUNTED = 1 << 20
"""In how many bytes at a time the values are counted."""

SKIPPED = 1 << 16
"""In how many bytes at a time the texts are skipped. They may be as short as two bytes."""


def decode_documented(body: bytes, asked: Sequence[Identity]) -> Portions[list[Row] | None]:
    """The rows of a reply in UTF-8, if it is a record as documented, or a list; else `None`.

    Raises:
        ProtocolError: there are far more records or values than the messages that were asked about can have.
    """
    try:
        if body.lstrip()[:1] != b"[":
            return [jsonfast.record_of(body)]
        return [*(yield from jsonfast.records_of(body, asked))]
    except (ValueError, RecursionError):
        pass
    yield from _refuse_too_many_values(body, asked)
    for portions in (jsonfast.portions_of(body), [body]):
        try:
            return (yield from list_in_portions(map(_row, _raw_records(portions, asked))))
        except (ValueError, RecursionError):  # a text may look like the end of a record, and a portion end there
            pass
    return None


def decode(
    text: ReplyText, _detail: Detail, asked: Sequence[Identity], *, bulk: bool
) -> Portions[list[Row] | ErrorReply]:
    """Read any reply: its rows, or the refusal. A list is accepted where an object is expected, and the reverse."""
    del bulk
    parsed = _parsed(text.whole)
    if isinstance(parsed, dict):
        return error_reply(parsed) or [record_of(parsed)]
    if isinstance(parsed, list):
        refuse_too_many_rows(len(parsed), asked)
        return (yield from list_in_portions(map(_row_of, parsed)))
    raise unreadable("neither a record nor a list", text.whole)


def decode_result(text: str) -> str | ErrorReply | None:
    """The result in the reply to a deletion, or the refusal; `None` if neither can be read."""
    parsed = _parsed(text)
    if not isinstance(parsed, dict):
        return None
    result = parsed.get("result")
    return error_reply(parsed) or (result if isinstance(result, str) else None)


def encode(records: Sequence[StatusRecord], detail: Detail, charset: str, *, bulk: bool) -> bytes:
    """Write one key on each line; the records of a bulk reply in brackets."""
    objects = [_object(_fields(record, detail, bulk=bulk), charset) for record in records]
    return bytes_of(f"[{','.join(objects)}]" if bulk else ",".join(objects), charset)


def encode_error(code: int, text: str, charset: str) -> bytes:
    """Write the refusal."""
    return bytes_of(_object([("error", _quoted(text)), ("error_code", str(code))], charset), charset)


def encode_deletion(charset: str) -> bytes:
    """Write the answer to a deletion that succeeded."""
    return bytes_of(_object([("result", _quoted("OK"))], charset), charset)


def _refuse_too_many_values(body: bytes, asked: Sequence[Identity]) -> Portions[None]:
    """Estimate the number of values before each becomes an object: by the texts, keys included, then by the commas.

    Raises:
        ProtocolError: there are too many.
    """
    quotes = commas = 0
    for began_at in range(0, len(body), COUNTED):
        if began_at:
            yield
        end = began_at + COUNTED
        quotes += body.count(b'"', began_at, end) - body.count(b'\\"', began_at, end + 1)
        commas += body.count(b",", began_at, end)
    refuse_too_many_rows(quotes // (4 * VALUES_A_ROW), asked)
    try:
        refuse_too_many_rows(commas // VALUES_A_ROW, asked)
    except ProtocolError:  # some commas may be inside texts
        counted_to = 0
        for text in _STRING.finditer(body):
            if text.end() > counted_to + SKIPPED:
                counted_to = text.end()
                yield
            commas -= body.count(b",", *text.span())
        refuse_too_many_rows(commas // VALUES_A_ROW, asked)


def _raw_records(portions: Iterable[bytes], asked: Sequence[Identity]) -> Iterator[bytes]:
    """The items of lists.

    Raises:
        ProtocolError: there are far more of them than messages that were asked about.
        ValueError: a portion is not a list.
        RecursionError: a value is nested too deeply.
    """
    count = 0
    for portion in portions:
        raws = _LIST.decode(portion)
        count += len(raws)
        refuse_too_many_rows(count, asked)
        yield from map(bytes, raws)


def _row(raw: bytes) -> Row:
    """The row of a record that may be as documented.

    Raises:
        ProtocolError: the record is not JSON, or nested too deeply.
    """
    try:
        return jsonfast.record_of(raw)
    except (ValueError, RecursionError):
        pass
    try:
        wire = {key: _value(bytes(value)) for key, value in _OBJECT.decode(raw).items() if key in FIELDS}
    except (ValueError, RecursionError):
        return _row_of(_parsed(raw.decode("utf-8", "replace")))
    return record_of(wire)


def _value(raw: bytes) -> Any:
    """A value of a record. A number keeps its digits.

    Raises:
        ValueError: msgspec can't read it.
    """
    if raw[:1] == b'"':
        return _TEXT.decode(raw)
    return Number(raw.decode()) if raw[:1] in b"-0123456789" else msgspec.json.decode(raw)


def _row_of(item: object) -> Row:
    return record_of(item) if isinstance(item, dict) else bad_row("not a record", {"item": item})


def _parsed(text: str) -> Any:
    """The JSON value. Numbers keep their digits; control characters inside texts are tolerated."""
    try:
        parsed = json.loads(text, strict=False, parse_int=Number, parse_float=Number)
    except (ValueError, RecursionError) as error:
        raise unreadable("not JSON", text) from error
    return _whole_characters(parsed) if _HALF.search(text) else parsed


def _whole_characters(parsed: Any) -> Any:
    """The records with U+FFFD for each escaped half of a surrogate pair. Only records' own values are looked at."""
    if isinstance(parsed, list):
        return [_whole_texts(item) for item in parsed]
    return _whole_texts(parsed)


def _whole_texts(item: Any) -> Any:
    if not isinstance(item, dict):
        return item
    return {key: without_surrogates(value) if type(value) is str else value for key, value in item.items()}


def _fields(record: StatusRecord, detail: Detail, *, bulk: bool) -> list[tuple[str, str]]:
    found = record.status != NOT_FOUND
    columns = columns_of(Format.JSON, detail, hlr=isinstance(record, HlrRecord), found=found, bulk=bulk)
    return [
        (name, value if name in INTS or (name == "id" and isinstance(record.id, int)) else _quoted(value))
        for name, value in wire_values(record, columns)
        if value is not None
    ]


def _quoted(value: str) -> str:
    return _WRITER.encode(value)


def _object(fields: list[tuple[str, str]], charset: str) -> str:
    lines = ",\n".join(f'"{name}": {_writable(value, charset)}' for name, value in fields)
    return f"{{\n{lines}\n}}"


def _writable(value: str, charset: str) -> str:
    r"""The JSON value with `\uXXXX` for each character that the charset lacks."""
    if _has(charset, value):
        return value
    return "".join(char if _has(charset, char) else json.dumps(char)[1:-1] for char in value)


def _has(charset: str, text: str) -> bool:
    try:
        text.encode(charset)
    except UnicodeEncodeError:
        return False
    return True
