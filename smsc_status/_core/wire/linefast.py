"""Quickly reads lines of `fmt=0` and `fmt=1` that are as the vendor's page shows them and not ambiguous.

Most lines are. Each layout of the table is one regular expression, which is far quicker than reading every column by
itself. `csvform` and `plainform` read all other lines.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from smsc_status._core.drafts import finished, new_draft, new_hlr_draft
from smsc_status._core.wire.layouts import HLR_KEYS, Columns
from smsc_status._core.wire.values import CODES, COSTS, NAMES, STAMPS, TEXTS, ReadCache
from smsc_status.models import StatusRecord

_DATE = r"(?:\d\d\.\d\d\.\d{4} \d\d:\d\d:\d\d)?"
_NUMBERS = {
    "status": r"-?\d{1,9}",
    "last_timestamp": r"(?:0|\d{10,12})?",
    "send_timestamp": r"(?:0|\d{10,12})?",
    "err": r"(?:-?\d{1,9})?",
    "type": r"\d{0,9}",
    "cost": r"(?:-?\d{1,12}\.\d{1,6})?",
    "id": r"[\w.-]+",
}
_CELLS = (
    _NUMBERS
    | dict.fromkeys(("imsi", "msc", "mcc", "mnc"), r"\d{0,18}")
    | {"phone": r"[^, ]++", "message": r".*", "comment": r"[^,]*+"}
)
_CELL = r"(?! )[^,]*(?<! )"
_VALUES = _NUMBERS | {"last_date": _DATE, "send_date": _DATE, "phone": r"[^,=]++", "message": r".*"}
_VALUE = r"[^=,\n]*+"
_LABELS = {"status": "Status", "last_date": "check_time"}


def _name(text: object) -> str | None:
    """A name; `None` for one that is printed empty."""
    return str(text or "").strip() or None


def _id(text: Any) -> int | str | None:
    """The id. Digits are a number, unless they begin with a zero."""
    return int(text) if text and text.isdecimal() and (text[0] != "0" or text == "0") and len(text) <= 40 else text


def _stamp(text: Any) -> int | None:
    return int(text) if text else None


_PRINTED: Callable[[object], Any] = ReadCache(_name).__getitem__
_READ: dict[str, Callable[[Any], Any]] = (
    dict.fromkeys(("status", "err", "type"), CODES.__getitem__)
    | dict.fromkeys(STAMPS, _stamp)
    | dict.fromkeys(NAMES, _PRINTED)
    | {"cost": COSTS.__getitem__, "id": _id}
)


class Line(NamedTuple):
    """The form of a layout's lines, and how their values are read."""

    pattern: re.Pattern[str]
    printed: Columns
    """The columns that the pattern captures, in its order."""
    readers: tuple[tuple[str, Callable[[Any], Any]], ...]
    is_hlr: bool

    def match(self, text: str) -> dict[str, str | None] | None:
        """The columns' texts; `None` if the line is not an ordinary one of this layout."""
        found = self.pattern.fullmatch(text)
        return dict(zip(self.printed, found.groups(), strict=True)) if found else None

    def record(self, texts: dict[str, str | None], unclear: tuple[str, ...] = ()) -> StatusRecord:
        """The record with these texts as values."""
        draft: Any = new_hlr_draft() if self.is_hlr else new_draft()  # `Any`: the type's fields are frozen
        for name, read in self.readers:
            setattr(draft, name, read(texts.get(name)))
        draft.unclear = unclear
        return finished(draft)


@functools.cache
def cells(columns: Columns) -> Line:
    """The layout of a line of values between commas."""
    return _line(",".join(f"({_CELLS.get(name, _CELL)})" for name in columns), columns, columns)


@functools.cache
def pairs(columns: Columns) -> Line:
    """The layout of a line of keys and values. Most keys may be missing. The comment is left in the message's value."""
    printed = tuple(name for name in columns if name != "comment")
    parts = []
    for name in printed:
        part = f"{_LABELS.get(name, name)} ?= ({_VALUES.get(name, _VALUE)})"
        is_needed = name in ("status", "id", "phone", "message", "type")
        parts.append(part if name == "status" else f", {part}" if is_needed else f"(?:, {part})?")
    return _line("".join(parts), printed, columns)


def _line(pattern: str, printed: Columns, columns: Columns) -> Line:
    readers = tuple((name, _READ.get(name, _text if name in TEXTS else _name)) for name in columns)
    hlr = not set(HLR_KEYS).isdisjoint(columns)
    return Line(re.compile(rf"{pattern}\r?", re.ASCII | re.DOTALL), printed, readers, hlr)


def _text(text: Any) -> Any:
    return text
