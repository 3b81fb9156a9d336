"""What a request asks: its form fields, read as the vendor's page describes them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl

import attrs

from smsc_status.core.codecs import CHARSETS
from smsc_status.emulator.limits import Kind
from smsc_status.models import Detail, Format, Key, id_key

DEFAULT_CHARSET = "windows-1251"
MAX_NUMBER = 2147483647

_ID = re.compile(r"[A-Za-z0-9._-]{1,40}", re.ASCII)
_PHONE = re.compile(r"[0-9+() .-]+", re.ASCII)
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_MAX_PHONE_DIGITS = 15


@attrs.frozen(slots=True, kw_only=True)
class Query:
    """One request. `is_valid` is `False` where a parameter can't be used: the answer is then error 1."""

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
        """How it is counted."""
        if self.is_deletion:
            return Kind.DELETE
        return Kind.BULK if self.is_bulk else Kind.SINGLE


def read_query(*encoded: bytes) -> Query:
    """The query that url-encoded forms make together; of a field given twice, the last counts."""
    fields: dict[str, str] = {}
    for form in encoded:
        # Byte for byte, since only the values themselves can show what they are encoded in.
        pairs = parse_qsl(form.decode("latin-1"), keep_blank_values=True, encoding="latin-1")
        fields.update((name, _text(value)) for name, value in pairs)
    ids, phones = _listed(fields.get("id", "")), _listed(fields.get("phone", ""))
    charset = fields.get("charset", "").lower() or DEFAULT_CHARSET
    numbers = {name: fields.get(name) or "0" for name in ("fmt", "all", "del")}
    is_valid = (
        numbers["fmt"] in ("0", "1", "2", "3")
        and numbers["all"] in ("0", "1", "2")
        and numbers["del"] in ("0", "1")
        and charset in CHARSETS
        and len(ids) == len(phones)
        and all(map(_is_id, ids))
        and all(map(_is_phone, phones))
    )
    return Query(
        credentials={name: fields[name] for name in ("login", "psw", "apikey") if name in fields},
        messages=tuple(zip(ids, phones, strict=False)),
        ids=frozenset(id_key(id) for id in ids if len(id) <= 40),
        is_bulk="," in fields.get("id", "") or "," in fields.get("phone", ""),
        is_deletion=numbers["del"] == "1",
        format=Format(int(numbers["fmt"])) if numbers["fmt"] in ("0", "1", "2", "3") else Format.PLAIN,
        detail=Detail(int(numbers["all"])) if numbers["all"] in ("0", "1", "2") else Detail.BASIC,
        charset=charset if charset in CHARSETS else DEFAULT_CHARSET,
        is_valid=is_valid,
    )


def _text(value: str) -> str:
    raw = value.encode("latin-1")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode(DEFAULT_CHARSET, "replace")


def _listed(value: str) -> list[str]:
    """The values between commas; a trailing comma only asks for the form of a bulk answer."""
    return value.removesuffix(",").split(",")


def _is_id(id: str) -> bool:
    if id.isascii() and id.isdecimal() and len(id) <= len(str(MAX_NUMBER)):
        return 1 <= int(id) <= MAX_NUMBER
    return _ID.fullmatch(id) is not None


def _is_phone(phone: str) -> bool:
    if "@" in phone:
        return _EMAIL.fullmatch(phone.strip()) is not None
    digits = sum(char.isdigit() for char in phone)
    return _PHONE.fullmatch(phone) is not None and 1 <= digits <= _MAX_PHONE_DIGITS
