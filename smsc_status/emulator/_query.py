"""Reads what a request asks from its form fields, as the vendor's page describes them."""

from __future__ import annotations

import re
from collections.abc import Mapping

import attrs

from smsc_status._core.wire.codecs import CHARSETS
from smsc_status.emulator._forms import DEFAULT_CHARSET, read_form
from smsc_status.emulator._limits import Kind
from smsc_status.models import Detail, Format, Key, id_key

MAX_NUMBER = 2147483647
MAX_ID_CHARS = 40
# The page describes levels up to 2. Level 3 gives the same as 2.
LEVELS = {"0": Detail.BASIC, "1": Detail.FULL, "2": Detail.EXTENDED, "3": Detail.EXTENDED}

_ID = re.compile(rf"[A-Za-z0-9._-]{{1,{MAX_ID_CHARS}}}", re.ASCII)
_PHONE = re.compile(r"[0-9+() .-]+", re.ASCII)
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_MAX_PHONE_DIGITS = 15


@attrs.frozen(slots=True, kw_only=True)
class Query:
    """One request. `is_valid` is `False` if a parameter can't be used: then the answer is error 1."""

    credentials: Mapping[str, str] = attrs.field(repr=False)
    messages: tuple[tuple[str, str], ...]
    ids: frozenset[Key]
    is_bulk: bool
    is_deletion: bool
    format: Format
    detail: Detail
    charset: str
    is_valid: bool

    @property
    def kind(self) -> Kind:
        """The kind as which the referee counts it."""
        if self.is_deletion:
            return Kind.DELETE
        return Kind.BULK if self.is_bulk else Kind.SINGLE


def read_query(query_string: bytes, body: bytes = b"", content_type: str = "") -> Query:
    """The query in a URL and a body together. If a field is given twice, the last one counts."""
    fields = read_form(query_string) | read_form(body, content_type)
    ids, phones = _listed(fields.get("id", "")), _listed(fields.get("phone", ""))
    charset = fields.get("charset", "").lower() or DEFAULT_CHARSET
    numbers = {name: fields.get(name) or "0" for name in ("fmt", "all", "del")}
    is_valid = (
        numbers["fmt"] in ("0", "1", "2", "3")
        and numbers["all"] in LEVELS
        and numbers["del"] in ("0", "1")
        and charset in CHARSETS
        and len(ids) == len(phones)
        and all(map(_is_id, ids))
        and all(map(_is_phone, phones))
    )
    return Query(
        credentials={name: fields[name] for name in ("login", "psw", "apikey") if fields.get(name)},
        messages=tuple(zip(ids, phones, strict=False)),
        ids=frozenset(id_key(id) for id in ids if len(id) <= MAX_ID_CHARS),
        is_bulk="," in fields.get("id", "") or "," in fields.get("phone", ""),
        is_deletion=numbers["del"] == "1",
        format=Format(int(numbers["fmt"])) if numbers["fmt"] in ("0", "1", "2", "3") else Format.PLAIN,
        detail=LEVELS.get(numbers["all"], Detail.BASIC),
        charset=charset if charset in CHARSETS else DEFAULT_CHARSET,
        is_valid=is_valid,
    )


def _listed(value: str) -> list[str]:
    """The values between commas. A trailing comma adds no value: it only asks for a bulk answer."""
    return value.removesuffix(",").split(",")


def _is_id(id: str) -> bool:
    if _ID.fullmatch(id) is None:
        return False
    return not id.isdecimal() or 1 <= int(id) <= MAX_NUMBER


def _is_phone(phone: str) -> bool:
    if "@" in phone:
        return _EMAIL.fullmatch(phone.strip()) is not None
    digits = sum(char.isdigit() for char in phone)
    return _PHONE.fullmatch(phone) is not None and 1 <= digits <= _MAX_PHONE_DIGITS
