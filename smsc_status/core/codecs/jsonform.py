"""`fmt=3`: JSON. What is as documented goes straight into the records; anything else is read record by record."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from smsc_status.core.codecs.layouts import HLR_KEYS, NOT_FOUND, columns_of
from smsc_status.core.codecs.values import (
    INTS,
    ErrorReply,
    Number,
    Row,
    bad_row,
    bytes_of,
    error_reply,
    record_of,
    unreadable,
    wire_values,
    without_surrogates,
)
from smsc_status.models import MOSCOW, Detail, Format, HlrRecord, Identity, StatusRecord

_RECORDS = msgspec.json.Decoder(list[StatusRecord], strict=False)
_RECORD = msgspec.json.Decoder(StatusRecord, strict=False)
_HLR_MARKS = tuple(f'"{key}"'.encode() for key in HLR_KEYS)
_HLR_TYPE = 4
_HALF = re.compile(r"\\u[dD][89a-fA-F]")
_COST_DIGITS = 30


def decode_documented(body: bytes) -> list[Row] | None:
    """The rows of a reply in UTF-8, if all of them are messages with values of the documented kinds."""
    try:
        records = _RECORDS.decode(body) if body.lstrip()[:1] == b"[" else [_RECORD.decode(body)]
    except (msgspec.MsgspecError, ValueError, ArithmeticError, RecursionError):
        return None
    doubt = False
    for record in records:
        cost, flag, type = record.cost, record.flag, record.type
        if cost is not None and not (cost.is_finite() and abs(cost.adjusted()) < _COST_DIGITS):
            return None
        if record.ref is not None or record.checked_at is not None or record.timezone is not MOSCOW:
            return None
        if type is None:
            type = _HLR_TYPE if flag is None else flag & 0xF
        doubt = doubt or type == _HLR_TYPE
    return None if doubt and any(mark in body for mark in _HLR_MARKS) else list(records)


def decode(text: str, _detail: Detail, _asked: Sequence[Identity], *, bulk: bool) -> list[Row] | ErrorReply:
    """The rows of any reply, or the refusal that it is; a list and an object stand for each other."""
    del bulk
    parsed = _parsed(text)
    if isinstance(parsed, dict):
        return error_reply(parsed) or [record_of(parsed)]
    if isinstance(parsed, list):
        return [
            record_of(item) if isinstance(item, dict) else bad_row("not a record", {"item": item}) for item in parsed
        ]
    raise unreadable("neither a record nor a list", text)


def decode_result(text: str) -> str | ErrorReply | None:
    """What a deletion's reply says: its result or the refusal; `None` if neither can be read."""
    parsed = _parsed(text)
    if not isinstance(parsed, dict):
        return None
    result = parsed.get("result")
    return error_reply(parsed) or (result if isinstance(result, str) else None)


def encode(records: Sequence[StatusRecord], detail: Detail, charset: str, *, bulk: bool) -> bytes:
    """One key a line; several records in brackets."""
    objects = [_object(_fields(record, detail, bulk=bulk), charset) for record in records]
    return bytes_of(f"[{','.join(objects)}]" if bulk else ",".join(objects), charset)


def encode_error(code: int, text: str, charset: str) -> bytes:
    """The refusal."""
    return bytes_of(_object([("error", _quoted(text)), ("error_code", str(code))], charset), charset)


def encode_deletion(charset: str) -> bytes:
    """The message is deleted."""
    return bytes_of(_object([("result", _quoted("OK"))], charset), charset)


def _parsed(text: str) -> Any:
    """The JSON value, its numbers in their own digits; control characters inside texts are tolerated."""
    try:
        parsed = json.loads(text, strict=False, parse_int=Number, parse_float=Number)
    except (ValueError, RecursionError) as error:
        raise unreadable("not JSON", text) from error
    return _whole_characters(parsed) if _HALF.search(text) else parsed


def _whole_characters(parsed: Any) -> Any:
    """The records with U+FFFD for what was escaped as half a character."""
    if isinstance(parsed, list):
        return [_whole_characters(item) for item in parsed]
    if isinstance(parsed, dict):
        return {key: without_surrogates(item) if type(item) is str else item for key, item in parsed.items()}
    return parsed


def _fields(record: StatusRecord, detail: Detail, *, bulk: bool) -> list[tuple[str, str]]:
    found = record.status != NOT_FOUND
    columns = columns_of(Format.JSON, detail, hlr=isinstance(record, HlrRecord), found=found, bulk=bulk)
    return [
        (name, value if name in INTS or (name == "id" and isinstance(record.id, int)) else _quoted(value))
        for name, value in wire_values(record, columns)
        if value is not None
    ]


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _object(fields: list[tuple[str, str]], charset: str) -> str:
    lines = ",\n".join(f'"{name}": {_writable(value, charset)}' for name, value in fields)
    return f"{{\n{lines}\n}}"


def _writable(value: str, charset: str) -> str:
    r"""The JSON value with `\uXXXX` for what the charset lacks."""
    if value.isascii():
        return value
    return "".join(char if _has(charset, char) else json.dumps(char)[1:-1] for char in value)


def _has(charset: str, char: str) -> bool:
    try:
        char.encode(charset)
    except UnicodeEncodeError:
        return False
    return True
