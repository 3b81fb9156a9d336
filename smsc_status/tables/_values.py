"""How the values of columns are read and written, by the kind of the column's type."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from enum import Enum, auto
from typing import Any
from uuid import UUID

import attrs
import sqlalchemy as sa

from smsc_status.errors import ConfigError

_SECONDS = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_MICROSECOND = 6
"""Digits after the second's point that a `datetime` has."""


class Kind(Enum):
    """What a column's type can hold, as far as it matters here."""

    WHOLE = auto()
    NUMBER = auto()
    TEXT = auto()
    UUID = auto()
    AWARE = auto()
    """Instants with a time zone."""
    NAIVE = auto()
    """Dates without a time zone."""
    OTHER = auto()


INSTANTS = frozenset({Kind.AWARE, Kind.NAIVE, Kind.WHOLE, Kind.NUMBER, Kind.TEXT})
IDS = frozenset({Kind.WHOLE, Kind.NUMBER, Kind.TEXT, Kind.UUID})
PHONES = frozenset({Kind.WHOLE, Kind.NUMBER, Kind.TEXT})
WHOLES = frozenset({Kind.WHOLE, Kind.NUMBER, Kind.TEXT})
NUMBERS = frozenset({Kind.NUMBER, Kind.TEXT})
TEXTS = frozenset({Kind.TEXT})

NAMES = {
    Kind.WHOLE: "whole numbers",
    Kind.NUMBER: "numbers",
    Kind.TEXT: "text",
    Kind.UUID: "UUIDs",
    Kind.AWARE: "timestamps",
    Kind.NAIVE: "timestamps without a zone",
}


def kind_of(type: sa.types.TypeEngine[Any]) -> Kind:
    """The kind of a reflected type. A column of SQLite without a type holds texts."""
    for known, kind in (
        (sa.Boolean, Kind.OTHER),
        (sa.Integer, Kind.WHOLE),
        (sa.Numeric, Kind.NUMBER),
        (sa.Float, Kind.NUMBER),
        (sa.String, Kind.TEXT),
        (sa.types.NullType, Kind.TEXT),
        (sa.Uuid, Kind.UUID),
    ):
        if isinstance(type, known):
            return kind
    if isinstance(type, sa.DateTime):
        return Kind.AWARE if type.timezone else Kind.NAIVE
    return Kind.OTHER


@attrs.frozen
class WrittenColumn:
    """A column that is written: its kind, and the form of its values.

    `zone` is the zone of naive dates. `digits` is how many digits after the second's point the column keeps. In SQLite
    values are written as its own types: `is_sqlite`.
    """

    kind: Kind
    zone: tzinfo
    digits: int
    is_sqlite: bool

    def of(self, value: Any) -> Any:
        """The value as it is given to the driver."""
        if value is None:
            return None
        if isinstance(value, datetime):
            return self._instant(value)
        if self.kind is Kind.TEXT:
            return str(value)
        return float(value) if self.is_sqlite and isinstance(value, Decimal) else value

    def highest_of_earlier(self, value: datetime | None) -> Any:
        """The highest that an instant may look that was before this one.

        It looks as if it was later in the hour that the zone repeats, when its clocks were set back.
        """
        if value is None or self.kind is not Kind.NAIVE:
            return self.of(value)
        first_time = value.astimezone(self.zone).replace(fold=0).astimezone(UTC)  # when the zone said so first
        return self.of(value + (value - first_time))

    def _instant(self, value: datetime) -> Any:
        step = 10 ** (_MICROSECOND - self.digits)
        # Cut here and not rounded by the database: otherwise a later answer could look older than an earlier one.
        value = value.replace(microsecond=value.microsecond // step * step)
        if self.kind is Kind.WHOLE:
            return int(value.timestamp())
        if self.kind is Kind.NUMBER:
            return value.timestamp() if self.is_sqlite else Decimal(str(value.timestamp()))
        if self.kind is Kind.NAIVE:
            value = value.astimezone(self.zone).replace(tzinfo=None)
        elif self.kind is Kind.TEXT:
            return value.astimezone(UTC).isoformat(" ", "microseconds")
        return value.isoformat(" ", "microseconds") if self.is_sqlite else value


def written_column(type: sa.types.TypeEngine[Any], dialect: sa.Dialect, zone: tzinfo) -> WrittenColumn:
    """How values are written into a column of this reflected type."""
    is_mysql = dialect.name in ("mysql", "mariadb")
    digits: int | None = getattr(type, "fsp" if is_mysql else "precision", None)
    if not isinstance(type, sa.DateTime):
        digits = _MICROSECOND
    elif digits is None:
        digits = 0 if is_mysql else _MICROSECOND
    return WrittenColumn(kind_of(type), zone, digits, dialect.name == "sqlite")


def id_of(value: Any) -> Any:
    """A message's id from the value of a column: an `int`, or a `str`. What can be neither stays as it is."""
    number = _whole(value)
    if number is not None:
        return number
    return str(value) if isinstance(value, UUID) else _without_padding(value)


def phone_of(value: Any) -> Any:
    """A phone from the value of a column, which may hold numbers. What can be none stays as it is."""
    number = _whole(value)
    return _without_padding(value) if number is None else str(number)


def _without_padding(value: Any) -> Any:
    """A column of type CHAR fills its values up with spaces."""
    return value.strip() if isinstance(value, str) else value


def _whole(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, Decimal):
        return int(value) if value.is_finite() and value == value.to_integral() else None
    # Beyond 2**53 a float has lost digits, so it can't be an id or a phone any more.
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) <= 2**53 else None


def instant_reader(zone: tzinfo, name: str = "sent_at") -> Callable[[Any], datetime | None]:
    """What reads the instants of a column: dates, seconds since 1970, or ISO 8601. Naive ones are in `zone`.

    Its errors call the column by `name`.
    """

    def read(value: Any) -> datetime | None:
        if value is None or value == "":
            return None
        at = _read(value)
        if at is None:
            raise ConfigError(f"{name} {str(value)[:60]!r}: expected a date and time, or seconds since 1970")
        return at if at.utcoffset() is not None else at.replace(tzinfo=zone)

    return read


def _read(value: Any) -> datetime | None:
    try:
        if isinstance(value, datetime):
            return value
        if isinstance(value, int | float | Decimal) or _SECONDS.fullmatch(value):
            return datetime.fromtimestamp(float(value), UTC)
        return datetime.fromisoformat(value)
    except (ValueError, TypeError, OverflowError, OSError):
        return None
