"""Reads the rows of a table that `sync` keeps current."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Any

import attrs

from smsc_status import codes
from smsc_status._runtime.account import Secret
from smsc_status.codes import Channel
from smsc_status.errors import ConfigError, DatabaseUnavailable
from smsc_status.models import MOSCOW
from smsc_status.report._reading.sources import Report
from smsc_status.report._rows import Row, row_of

if TYPE_CHECKING:
    import sqlalchemy as sa

    from smsc_status.tables import Columns
    from smsc_status.tables._columns import Mapped

ROWS_AT_ONCE = 5_000

_WHOLES = ("status", "err", "flag", "type")
_INSTANTS = ("changed_at", "sent_at")
_FIELDS = (*_WHOLES, "changed_at", "cost", "sender_id", "operator")
_NEEDED = ("status", "outcome")


class Table:
    """A table that `smsc-status sync` keeps current, as the source of a report. Each row counts as one message.

    It needs the extra `sql`. The table is only read.

    Args:
        database: an engine, or the database's URL. An engine is not closed.
        table: the table's name, or `schema.table`.
        columns: the names of its columns, where they are not the usual ones.
        where: a condition in SQL that narrows the rows. It is part of the statement as it stands.
        timezone: the zone of dates in columns without a zone.

    Raises:
        ConfigError: a value can't be used, SQLAlchemy or the URL's driver is not installed.
    """

    has_history = False

    def __init__(
        self,
        database: sa.Engine | sa.URL | str | Secret,
        *,
        table: str,
        columns: Columns | None = None,
        where: str | None = None,
        timezone: tzinfo = MOSCOW,
    ) -> None:
        database = Secret(database) if isinstance(database, str) else database  # no frame shows its password
        from smsc_status.tables import Columns  # noqa: PLC0415 (SQLAlchemy is an extra)
        from smsc_status.tables._database import Database  # noqa: PLC0415 (likewise)

        if not isinstance(table, str) or not table:
            raise ConfigError(f"table {table!r}: expected the name of a table")
        if where is not None and not (isinstance(where, str) and where.strip()):
            raise ConfigError(f"where {where!r}: expected a condition in SQL, or None")
        if not isinstance(timezone, tzinfo):
            raise ConfigError(f"timezone {timezone!r}: expected a tzinfo")
        if columns is not None and not isinstance(columns, Columns):
            raise ConfigError(f"columns {columns!r}: expected a Columns, or None")
        self._database = Database(database)
        self._table = table
        self._columns = columns or Columns()
        self._where = where
        self._zone = timezone

    @property
    def name(self) -> str:
        """The table's name."""
        return self._table

    def rows(self, report: Report) -> Iterator[Row]:
        """See `Source`.

        Raises:
            ConfigError: the table or a column can't be used.
            DatabaseUnavailable: the database can't be reached.
        """
        import sqlalchemy as sa  # noqa: PLC0415 (it is an extra)

        from smsc_status.tables._database import said  # noqa: PLC0415 (likewise)

        try:
            with self._database.engine.connect() as connection:
                yield from self._read(connection, report)
        except sa.exc.OperationalError as error:
            problem: Exception = DatabaseUnavailable(f"the database can't be reached: {said(error)}")
        except sa.exc.SQLAlchemyError as error:
            problem = ConfigError(f"table {self._table!r}: the database refuses it: {said(error)}")
        else:
            return
        finally:
            if self._database.is_own:
                self._database.engine.dispose()
        raise problem  # here, so that its context holds none of the database's errors, which quote rows

    def _read(self, connection: sa.Connection, report: Report) -> Iterator[Row]:
        from smsc_status.tables._columns import find  # noqa: PLC0415 (SQLAlchemy is an extra)
        from smsc_status.tables._values import instant_reader  # noqa: PLC0415 (likewise)

        mapped = find(connection, self._table, self._columns, self._zone)
        query, names = self._query(mapped)
        instant = instant_reader(self._zone)
        found = connection.execution_options(stream_results=True, yield_per=ROWS_AT_ONCE).execute(query)
        for number, values in enumerate(found, 1):
            given = {name: value for name, value in zip(names, values, strict=True) if value is not None}
            try:
                yield _row(given, instant)
            except ConfigError as error:
                report(number, str(error))

    def _query(self, mapped: Mapped) -> tuple[sa.Select[Any], list[str]]:
        """What is read, and the names of its columns in order."""
        import sqlalchemy as sa  # noqa: PLC0415 (it is an extra)

        missing = [name for name in _NEEDED if name not in mapped.out]
        if missing:
            raise ConfigError(f"table {self._table!r}: expected a column for the {missing[0]}; name it with --column")
        columns = {"id": mapped.id, "phone": mapped.phone}
        columns |= {"sent_at": mapped.sent_at} if mapped.sent_at is not None else {}
        columns |= {name: mapped.out[name][0] for name in (*_FIELDS, "outcome") if name in mapped.out}
        # Each column once by its own label: one column may be read for two fields.
        query = sa.select(*(column.label(f"r_{name}") for name, column in columns.items())).select_from(mapped.table)
        if self._where is not None:
            query = query.where(sa.literal_column(f"({self._where})", sa.Boolean()))
        return query, list(columns)


def _row(given: Mapping[str, Any], instant: Callable[[Any], datetime | None]) -> Row:
    from smsc_status.tables._values import id_of, phone_of  # noqa: PLC0415 (SQLAlchemy is an extra)

    values = {**given, **{name: id_of(given[name]) for name in ("id", *_WHOLES) if name in given}}
    values |= {name: instant(given[name]) for name in _INSTANTS if name in given}
    values["phone"] = phone_of(given.get("phone"))
    if "cost" in given:
        values["cost"] = str(given["cost"])  # a float as it is shown, and not by its binary digits
    outcome = values.pop("outcome", None)
    if outcome is not None and not codes.is_final(values.get("status", codes.Status.WAITING)):
        values["error"] = str(outcome)
    row = row_of(values)
    return attrs.evolve(row, channel=_channel(row))


def _channel(row: Row) -> Channel:
    if row.type is not None:
        return codes.channel_of(row.type)
    if row.flag is not None:
        return codes.channel_of(row.flag & 0xF)
    return Channel.EMAIL if "@" in (row.phone or "") else Channel.UNKNOWN
