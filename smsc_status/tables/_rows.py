"""The rows: which are open, how they are read page by page, and which of them are not held yet.

A row is open while its outcome is NULL. Reading all open rows every second would cost too much where there are a
million. So a look reads three things:

- **The newest rows**, by key (or by the time of sending, if the key is no number), page by page until a page has
  nothing new. Rows that are inserted one after the other are found here, and so are those whose transaction was
  committed after that of newer ones, as long as fewer than a page of rows has come between.
- **The gaps** between the keys of these rows, if the key is a number (see `_gaps`). Rows that are committed later still
  are found here.
- **The next part of the sweep**, which goes over all open rows in the order of their keys, and then begins again. It
  finds whatever the others do not have, in whatever order it was committed, and it notices rows that were deleted,
  ended or changed by somebody else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, tzinfo
from typing import Any, NamedTuple, TypeVar

import attrs
import sqlalchemy as sa

from smsc_status._texts import one_line
from smsc_status.errors import ConfigError
from smsc_status.models import MessageRef
from smsc_status.tables._columns import Mapped
from smsc_status.tables._gaps import Range
from smsc_status.tables._values import id_of, instant_reader, phone_of

PAGE = 5_000
"""The newest rows, and those in gaps, are read in pages of this many."""

SWEEP = 10_000
"""Rows of one part of the sweep."""

MOST_SECONDS = 100_000
"""Times of sending that are shared, at most."""

NAMED_AT_ONCE = 200
"""Rows that one statement names by their keys."""

T = TypeVar("T")

Key = Any
"""A row's primary key: its value, or a tuple if it has several columns."""


class Seen(NamedTuple):
    """A row as the database has it."""

    key: Key
    id: Any
    phone: Any
    sent_at: Any


@attrs.frozen(eq=False, slots=True)
class RowRef(MessageRef[Any]):
    """The message of a row, and the row. There may be a million of them, so they are one object with few fields.

    `data` is the row's key; or the whole row, if its id or phone is not the same value as the message's. `seen_in` is
    the number of the sweep in which the row was last seen.
    """

    seen_in: int = 0

    @property
    def key(self) -> Key:
        """The row's key."""
        return self.data.key if isinstance(self.data, Seen) else self.data

    @property
    def stored(self) -> tuple[Any, Any]:
        """The id and the phone as the database has them."""
        return self.data[1:3] if isinstance(self.data, Seen) else (self.id, self.phone)

    def see(self, number: int) -> None:
        """It was seen in this sweep."""
        object.__setattr__(self, "seen_in", number)


@attrs.define(eq=False)
class BadRow:
    """A row whose id or phone can't be used. `problem` says which of the two, and nothing of its value."""

    key: Key
    stored: tuple[Any, Any]
    problem: str = ""
    seen_in: int = 0

    def see(self, number: int) -> None:
        """It was seen in this sweep."""
        self.seen_in = number


Row = RowRef | BadRow


@attrs.define
class Page:
    """Rows that were read. `at` is where the next page begins; `None` if there is none."""

    rows: list[Seen]
    at: Any


class OpenRows:
    """Reads the open rows. Its methods but `row_of` run in threads.

    Args:
        mapped: the table's columns.
        where: a condition in SQL that narrows the rows; `None` means all.
        zone: the zone of times of sending without one.
    """

    def __init__(self, mapped: Mapped, where: str | None, zone: tzinfo) -> None:
        self._mapped = mapped
        self._is_single = len(mapped.key) == 1
        self._read_sent_at = instant_reader(zone)
        self._outcome = mapped.out["outcome"][0]
        # Only SQLite allows NULL in a primary key, if it is not declared as NOT NULL.
        self._lacks_key = [column.is_(None) for column in mapped.key] if mapped.is_sqlite else []
        self._narrowed: list[sa.ColumnElement[bool]] = []
        if where is not None:
            self._narrowed = [sa.literal_column(f"({where})", sa.Boolean())]
        self._seconds: dict[datetime, datetime] = {}
        # Each column once: a value that is both key and id is one object.
        self._identity = list(dict.fromkeys([*mapped.key, mapped.id, mapped.phone]))
        self._columns = list(dict.fromkeys([*self._identity, *([] if mapped.sent_at is None else [mapped.sent_at])]))
        positions = {column: position for position, column in enumerate(self._columns)}
        self._id_at, self._phone_at = positions[mapped.id], positions[mapped.phone]
        self._sent_at_at = None if mapped.sent_at is None else positions[mapped.sent_at]
        self._order = mapped.key if mapped.sent_at is None or mapped.key_is_number else (mapped.sent_at, *mapped.key)

    @property
    def have_gaps(self) -> bool:
        """Whether the database gives out the keys in ascending order, so that one that is not there may come later."""
        return self._mapped.key_is_number

    def newest(self, connection: sa.Connection, at: Any, limit: int = PAGE) -> Page:
        """A page of the newest open rows: the first if `at` is `None`, else the one that begins there."""
        order = self._order
        condition: list[sa.ColumnElement[bool]] = []
        if order is not self._mapped.key:
            condition.append(order[0].is_not(None))  # the sweep finds the others
        if at is not None:
            condition.append(_beyond(order, at, is_before=True))
        return self._page(connection, condition, order, limit, is_descending=True)

    def between(self, connection: sa.Connection, ranges: Sequence[Range], at: Any, limit: int = PAGE) -> Page:
        """A page of the open rows in these ranges of keys, from the highest on."""
        [key] = order = self._mapped.key
        condition: list[sa.ColumnElement[bool]] = [sa.or_(*(sa.and_(key > low, key < high) for low, high in ranges))]
        if at is not None:
            condition.append(_beyond(order, at, is_before=True))
        return self._page(connection, condition, order, limit, is_descending=True)

    def sweep(self, connection: sa.Connection, at: Any, limit: int = SWEEP) -> Page:
        """A part of the sweep: the first if `at` is `None`, else the one that begins there."""
        order = self._mapped.key
        condition = [] if at is None else [_beyond(order, at, is_before=False)]
        return self._page(connection, condition, order, limit, is_descending=False)

    def without_key(self, connection: sa.Connection) -> int:
        """How many open rows can't be told apart, because a value of their primary key is NULL. No page has them."""
        if not self._lacks_key:
            return 0
        query = sa.select(sa.func.count()).select_from(self._mapped.table)
        query = query.where(self._outcome.is_(None), *self._narrowed, sa.or_(*self._lacks_key))
        return connection.execute(query).scalar_one()

    def ended(self, connection: sa.Connection, outcomes: Sequence[str], limit: int) -> list[tuple[Seen, str]]:
        """The rows with these outcomes, at most `limit`, those with the highest keys."""
        query = sa.select(*self._identity, self._outcome).where(self._outcome.in_(outcomes), *self._narrowed)
        query = query.order_by(*(column.desc() for column in self._mapped.key)).limit(limit)
        return [(self._seen(values, has_sent_at=False), values[-1]) for values in connection.execute(query)]

    def named(self, connection: sa.Connection, keys: Sequence[Key]) -> dict[Key, tuple[Seen, str | None]]:
        """The rows with these keys and their outcomes, as far as they exist."""
        found: dict[Key, tuple[Seen, str | None]] = {}
        for part in chunks(filter(_can_be_sent, keys), NAMED_AT_ONCE):
            for values in connection.execute(sa.select(*self._identity, self._outcome).where(self._is_one_of(part))):
                seen = self._seen(values, has_sent_at=False)
                found[seen.key] = seen, values[-1]
        return found

    def row_of(self, seen: Seen, number: int, report: Callable[[str], None]) -> Row:
        """The row and its message, or why it has none. A time of sending that can't be read is reported and ignored."""
        try:
            sent_at = self._read_sent_at(seen.sent_at)
        except ConfigError as error:
            report(f"row of id {one_line(str(seen.id), max_chars=40)}: {error}; its message is followed without")
            sent_at = None
        id, phone, sent_at = id_of(seen.id), phone_of(seen.phone), self._shared(sent_at)
        try:
            ref = RowRef(id, phone, sent_at, seen.key, number)
        except ConfigError as error:
            what = str(error).partition(" ")[0]  # the text has the value, too, which does not belong in a log
            return BadRow(seen.key, (seen.id, seen.phone), what, number)
        # A ref's id and phone may be other values than the row's: without padding and invisible characters, say.
        return ref if (ref.id, ref.phone) == (seen.id, seen.phone) else RowRef(id, phone, sent_at, seen, number)

    def _shared(self, sent_at: datetime | None) -> datetime | None:
        """The time of sending in whole seconds: the same object for the same second, because that saves memory."""
        if sent_at is None:
            return None
        second = sent_at.replace(microsecond=0)
        if len(self._seconds) >= MOST_SECONDS:
            self._seconds.clear()
        return self._seconds.setdefault(second, second)

    def _page(
        self,
        connection: sa.Connection,
        condition: Sequence[sa.ColumnElement[bool]],
        order: Sequence[sa.Column[Any]],
        limit: int,
        *,
        is_descending: bool,
    ) -> Page:
        has_key = (~lacks for lacks in self._lacks_key)
        query = sa.select(*self._columns).where(self._outcome.is_(None), *self._narrowed, *has_key, *condition)
        query = query.order_by(*(column.desc() if is_descending else column for column in order)).limit(limit)
        rows = [self._seen(values, has_sent_at=True) for values in self._read(connection, query)]
        last = next((row for row in reversed(rows) if _can_be_sent(row.key)), None)
        if len(rows) < limit or last is None:
            return Page(rows, None)
        key = (last.key,) if self._is_single else last.key
        return Page(rows, key if order is self._mapped.key else (last.sent_at, *key))

    def _read(self, connection: sa.Connection, query: sa.Select[Any]) -> Sequence[Sequence[Any]]:
        try:
            return connection.execute(query).all()
        except sa.exc.DataError as error:
            if self._mapped.sent_at is None or getattr(error.orig, "sqlstate", None) is not None:
                raise
        # psycopg can't make a datetime of PostgreSQL's infinity or of the year 20226. So all of this page are read as
        # texts, and `row_of` reports the one.
        sent_at = self._mapped.sent_at
        as_text = (sa.cast(column, sa.Text()) if column is sent_at else column for column in self._columns)
        return connection.execute(query.with_only_columns(*as_text)).all()

    def _seen(self, values: Sequence[Any], *, has_sent_at: bool) -> Seen:
        width = len(self._mapped.key)
        key = values[0] if self._is_single else tuple(values[:width])
        sent_at = values[self._sent_at_at] if has_sent_at and self._sent_at_at is not None else None
        return Seen(key, values[self._id_at], values[self._phone_at], sent_at)

    def _is_one_of(self, keys: Sequence[Key]) -> sa.ColumnElement[bool]:
        columns = self._mapped.key
        if self._is_single:
            return columns[0].in_(keys)
        return sa.or_(*(sa.and_(*(c == value for c, value in zip(columns, key, strict=True))) for key in keys))


def _beyond(columns: Sequence[sa.Column[Any]], at: Sequence[Any], *, is_before: bool) -> sa.ColumnElement[bool]:
    """Whether a row comes after `at` in the order of the columns, or before it.

    Not by comparing tuples, for which MySQL would not use an index.
    """
    first, value = columns[0], at[0]
    further: sa.ColumnElement[bool] = first < value if is_before else first > value
    if len(columns) == 1:
        return further
    rest = _beyond(columns[1:], at[1:], is_before=is_before)
    reached = first <= value if is_before else first >= value
    return sa.and_(reached, sa.or_(further, rest))


def _can_be_sent(key: Key) -> bool:
    """Whether the driver can send the key. It can't if it is a text that is not UTF-8, which SQLite may hold."""
    try:
        for value in key if isinstance(key, tuple) else (key,):
            str(value).encode()
    except UnicodeEncodeError:
        return False
    return True


def is_same(row: Row, seen: Seen) -> bool:
    """Whether a held row is the message that the database has now."""
    stored = seen.id, seen.phone
    return row.stored == stored or repr(row.stored) == repr(stored)  # NaN equals nothing


def chunks(things: Iterable[T], size: int) -> list[list[T]]:
    """The things in parts of at most `size`."""
    things = list(things)
    return [things[begin : begin + size] for begin in range(0, len(things), size)]
