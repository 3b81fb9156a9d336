"""Writes changes into rows, in batches. If one row of a batch fails, it fails alone.

An UPDATE has conditions, so it does nothing where it must not:

- the row still is this message, and has not ended;
- its last answer is not newer than this one, unless this one is final;
- something differs.

So it does not matter if a change is written twice, or by a process that another one has replaced.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import sqlalchemy as sa

from smsc_status.codes import status_title
from smsc_status.models import FailedCheck, StatusRecord
from smsc_status.tables._columns import Mapped
from smsc_status.tables._database import WAIT_FOR_LOCK, concerns_row, is_disconnect, is_locked, said
from smsc_status.tables._rows import Row

MAX_WAITING = 5
"""If this many rows can't be written now, the batch's others are not tried either: it may be the database's trouble."""


@attrs.frozen(eq=False)
class Change:
    """What is written into a row. `outcome` is how its message ended; `None` if it goes on."""

    row: Row
    record: StatusRecord | None
    outcome: str | None


def change_of(row: Row, said: StatusRecord | FailedCheck) -> Change:
    """The change of a row that an outcome means."""
    if isinstance(said, FailedCheck):
        return Change(row, None, type(said.error).__name__)
    return Change(row, said, outcome_name(said.status) if said.is_final else None)


def outcome_name(status: int) -> str:
    """A final status as an outcome: its English title."""
    title = status_title(status)
    return title.en if title is not None else str(status)


@attrs.define
class Written:
    """What became of some changes: how many were written, which had no effect, and which failed, each with the reason.

    `left` are those that have to be written again. `trouble` is the database's last word on them. `locked` are the rows
    that were not written because somebody else has them locked.
    """

    count: int = 0
    idle: list[Change] = attrs.field(factory=list)
    failed: list[tuple[Change, str]] = attrs.field(factory=list)
    left: list[Change] = attrs.field(factory=list)
    trouble: str = ""
    locked: set[Row] = attrs.field(factory=set)


class Writer:
    """Writes changes into the table. Its methods run in threads."""

    def __init__(self, mapped: Mapped) -> None:
        self._mapped = mapped
        self._record_fields = [field for field in mapped.out if field not in ("checked_at", "outcome")]
        # A row of the same key may be another message now. An id or phone in the key itself need not be compared.
        named = {"r_id": mapped.id, "r_phone": mapped.phone}
        self._compared = {name: column for name, column in named.items() if not _is_among(column, mapped.key)}
        self._update_record = self._statement([*mapped.out])
        self._update_failure = self._statement(["outcome"])

    def write(self, engine: sa.Engine, changes: Sequence[Change]) -> Written:
        """Write all in one transaction, or, if that fails, each in one of its own."""
        try:
            with engine.connect() as connection:
                return self._write_by(connection, changes)
        except sa.exc.SQLAlchemyError as error:  # there is no connection
            return Written(left=list(changes), trouble=said(error))

    def _write_by(self, connection: sa.Connection, changes: Sequence[Change]) -> Written:
        try:
            return self._write_all(connection, changes)
        except Exception as error:  # a driver raises errors of its own for a value that it can't send
            if is_disconnect(error):
                return Written(left=list(changes), trouble=said(error))
        return self._write_each(connection, changes)

    def _write_all(self, connection: sa.Connection, changes: Sequence[Change]) -> Written:
        """Write all in one transaction."""
        # A message's failure is the last of its changes, so the order of each message is kept.
        records = [change for change in changes if change.record is not None]
        failures = [change for change in changes if change.record is None]
        written = Written()
        with connection.begin():
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{WAIT_FOR_LOCK}s'")
            for statement, part in ((self._update_record, records), (self._update_failure, failures)):
                if part:
                    hit = connection.execute(statement, [self._values(change) for change in part]).rowcount
                    written.count += max(0, hit)
                    if hit != len(part):  # one of them had no effect, and only the rows can tell which
                        written.idle += part
        return written

    def _write_each(self, connection: sa.Connection, changes: Sequence[Change]) -> Written:
        """Write each in a transaction of its own. Changes of a row that can't be written now are left."""
        written, waiting = Written(), set[Row]()
        for number, change in enumerate(changes):
            if change.row in waiting:  # an earlier change of the row comes first
                written.left.append(change)
                continue
            try:
                done = self._write_all(connection, [change])
            except Exception as error:  # likewise
                if not is_disconnect(error) and concerns_row(error):
                    written.failed.append((change, said(error)))
                    continue
                waiting.add(change.row)
                written.left.append(change)
                if is_locked(error):
                    written.locked.add(change.row)
                written.trouble = said(error)
                if is_disconnect(error) or len(waiting) == MAX_WAITING:
                    written.left += changes[number + 1 :]
                    break
            else:
                written.count += done.count
                written.idle += done.idle
        return written

    def reopen(self, connection: sa.Connection, rows: Sequence[Row], outcomes: Sequence[str]) -> None:
        """Open rows again that ended with one of these outcomes."""
        outcome = self._mapped.out["outcome"][0]
        key = [column == sa.bindparam(f"k{number}") for number, column in enumerate(self._mapped.key)]
        is_one_of = sa.or_(*(outcome == name for name in outcomes))  # IN can't be executed for many rows at once
        statement = sa.update(self._mapped.table).where(*key, is_one_of).values({outcome: None})
        connection.execute(statement, [self._key_of(row) for row in rows])

    def _statement(self, fields: Sequence[str]) -> sa.Update:
        mapped = self._mapped
        bound = {field: sa.bindparam(f"v_{field}", type_=mapped.out[field][0].type) for field in fields}
        values = {
            mapped.out[field][0]: value if field in _AS_IT_IS else sa.func.coalesce(value, mapped.out[field][0])
            for field, value in bound.items()
        }
        outcome = mapped.out["outcome"][0]
        condition = [column == sa.bindparam(f"k{number}") for number, column in enumerate(mapped.key)]
        condition += [
            column.is_not_distinct_from(sa.bindparam(name, type_=column.type))
            for name, column in self._compared.items()
        ]
        condition.append(outcome.is_(None))
        if "checked_at" in fields:
            checked_at = mapped.out["checked_at"][0]
            highest = sa.bindparam("highest", type_=checked_at.type)
            is_newer = sa.or_(checked_at.is_(None), checked_at <= highest)
            condition.append(sa.or_(_is_filled(outcome, bound["outcome"]), is_newer))
            condition.append(
                sa.or_(*(_differs(mapped.out[field][0], field, bound[field]) for field in _deciding(fields)))
            )
        return sa.update(mapped.table).where(*condition).values(values)

    def _values(self, change: Change) -> dict[str, Any]:
        out, row, record = self._mapped.out, change.row, change.record
        values: dict[str, Any] = {"v_outcome": out["outcome"][1].of(change.outcome)}
        if record is not None:
            values["v_checked_at"] = out["checked_at"][1].of(record.checked_at)
            values["highest"] = out["checked_at"][1].highest_of_earlier(record.checked_at)
            for field in self._record_fields:
                values[f"v_{field}"] = out[field][1].of(_value_of(record, field))
        stored = dict(zip(("r_id", "r_phone"), row.stored, strict=True))
        return values | {name: stored[name] for name in self._compared} | self._key_of(row)

    def _key_of(self, row: Row) -> dict[str, Any]:
        key = row.key if len(self._mapped.key) > 1 else (row.key,)
        return {f"k{number}": value for number, value in enumerate(key)}


def _is_among(column: sa.Column[Any], columns: Sequence[sa.Column[Any]]) -> bool:
    """Whether it is one of them. `in` would compare, and columns compare to SQL."""
    return any(column is other for other in columns)


_AS_IT_IS = frozenset({"status", "err", "checked_at", "outcome"})
"""Fields of which an answer always says what they are. What it does not say of the others stays as it was."""


def _deciding(fields: Sequence[str]) -> list[str]:
    return [field for field in fields if field not in ("changed_at", "checked_at")]


def _differs(column: sa.Column[Any], field: str, value: sa.BindParameter[Any]) -> sa.ColumnElement[bool]:
    """Whether a change of this field alone is a reason to write.

    Further fields are only filled: the database may have rounded them, so they can't be compared.
    """
    if field in ("status", "err", "outcome"):
        return column.is_distinct_from(value)
    return sa.and_(column.is_(None), _is_filled(column, value))


def _is_filled(empty: sa.Column[Any], value: sa.BindParameter[Any]) -> sa.ColumnElement[bool]:
    """Whether there is a value for a column that is NULL.

    The column is named so that PostgreSQL knows the value's type. It refuses `:value IS NOT NULL` if the value is NULL
    and the driver does not tell its type, as psycopg does not of a number.
    """
    return sa.func.coalesce(value, empty).is_not(None)


def _value_of(record: StatusRecord, field: str) -> Any:
    return getattr(record, field, None)  # a message has none of a look-up's fields
