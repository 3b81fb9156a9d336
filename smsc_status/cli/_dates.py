"""Reads times of sending in the forms in which tables write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from smsc_status.errors import ConfigError
from smsc_status.models import MOSCOW

OLDEST = datetime(2000, 1, 1, tzinfo=UTC)
"""An older date is a misread number, such as a spreadsheet's count of days, or its zero."""

_RUSSIAN = ("%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d.%m.%y %H:%M:%S", "%d.%m.%y %H:%M")
_SECONDS = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_WITH_TIME = re.compile(r"[T: ]")
_OFFSET = re.compile(r"(?:UTC|GMT)?([+-])([0-9]{1,2})(?::?([0-5][0-9]))?", re.IGNORECASE)


def moment(value: object, zone: tzinfo = MOSCOW) -> datetime | None:
    """When a message was sent, as an aware datetime; `None` for an empty value.

    The value may be seconds since 1970, ISO 8601, or `25.11.2026 22:05[:00]`. A time without a time zone is in `zone`.

    Raises:
        ConfigError: the value has another form, has no time of day, or is before 2000.
    """
    if value is None or value == "":
        return None
    at = _read(value)
    if at is not None and at.utcoffset() is None:
        at = at.replace(tzinfo=zone)
    if at is None or at < OLDEST:
        shown = repr(value) if isinstance(value, str) else str(value)
        expected = "a date and time such as 2026-11-25T22:05 or 25.11.2026 22:05, or seconds since 1970"
        raise ConfigError(f"sent_at {shown[:60]}: expected {expected}")
    return at


def _read(value: object) -> datetime | None:
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
        if isinstance(value, str):
            text = " ".join(value.replace(",", " ").split())
            return datetime.fromtimestamp(float(text), UTC) if _SECONDS.fullmatch(text) else _read_text(text)
    except (ValueError, OverflowError, OSError):
        pass
    return None


def _read_text(text: str) -> datetime | None:
    for form in _RUSSIAN:
        try:
            return datetime.strptime(text, form)
        except ValueError:
            continue
    return datetime.fromisoformat(text) if _WITH_TIME.search(text) else None


def zone_of(name: str) -> tzinfo:
    """The time zone of this name: a name of the IANA's list (`Asia/Almaty`), `UTC`, or an offset such as `+05:00`.

    Raises:
        ConfigError: there is no such time zone.
    """
    if name.casefold() in ("europe/moscow", "moscow", "msk"):
        return MOSCOW  # works even if the system has no list of time zones
    if name.casefold() in ("utc", "gmt", "z"):
        return UTC
    found = _OFFSET.fullmatch(name)
    try:
        if found is None:
            return ZoneInfo(name)
        offset = timedelta(hours=int(found[2]), minutes=int(found[3] or 0))
        return timezone(-offset if found[1] == "-" else offset)
    except (LookupError, ValueError, OSError):
        expected = "expected a name such as Europe/Moscow, UTC, or an offset such as +05:00"
        raise ConfigError(f"--timezone {name[:60]!r}: {expected}") from None
