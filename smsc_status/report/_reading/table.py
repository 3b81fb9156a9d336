"""Reads the rows of a table that `sync` keeps current."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import tzinfo
from typing import TYPE_CHECKING, Any

from smsc_status import codes
from smsc_status._runtime.account import Secret
from smsc_status.errors import ConfigError, DatabaseUnavailable
from smsc_status.models import MOSCOW
from smsc_status.report._reading.maker import OWN, RowMaker, with_channel_of_phone
from smsc_status.report._reading.sources import Report
from smsc_status.report._rows import Row, row_of

if TYPE_CHECKING:
    import sqlalchemy as sa

    from smsc_status.tables import Columns
    from smsc_status.tables._columns import Mapped

ROWS_AT_ONCE = 5_000

_WHOLES = ("status", "err", "flag", "type")
_FIELDS = (*_WHOLES, "cost", "sender_id", "operator", "outcome")
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
        from smsc_status.tables._columns import check_arguments  # noqa: PLC0415 (likewise)
        from smsc_status.tables._database import Database  # noqa: PLC0415 (likewise)

        check_arguments(table, columns, where, timezone)
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

        from smsc_status.tables._database import is_disconnect, said  # noqa: PLC0415 (likewise)

        is_connected = False
        try:
            with self._database.connected(errors="replace") as connection:
                is_connected = True
                yield from self._read(connection, report)
        except sa.exc.SQLAlchemyError as error:
            problem: Exception = ConfigError(f"table {self._table!r}: the database refuses it: {said(error)}")
            if not is_connected or is_disconnect(error):
                problem = DatabaseUnavailable(f"the database can't be reached: {said(error)}")
        else:
            return
        finally:
            self._database.close()
        raise problem  # here, so that its context holds none of the database's errors, which quote rows

    def _read(self, connection: sa.Connection, report: Report) -> Iterator[Row]:
        from smsc_status.tables._columns import find  # noqa: PLC0415 (SQLAlchemy is an extra)
        from smsc_status.tables._values import id_of, instant_reader, phone_of  # noqa: PLC0415 (likewise)

        mapped = find(connection, self._table, self._columns, self._zone)
        query, names = self._query(mapped)
        sent, changed = (instant_reader(self._zone, name) for name in ("sent_at", "changed_at"))
        maker = RowMaker(names[len(OWN) :], _prepared)
        found = connection.execution_options(stream_results=True, yield_per=ROWS_AT_ONCE).execute(query)
        for number, (id, phone, sent_at, changed_at, *further) in enumerate(found, 1):
            try:
                row = maker.make(id_of(id), phone_of(phone), sent(sent_at), changed(changed_at), tuple(further))
                yield with_channel_of_phone(row)
            except ConfigError as error:
                report(number, str(error))

    def _query(self, mapped: Mapped) -> tuple[sa.Select[Any], list[str]]:
        """What is read, and the names of its columns: first the row's own ones, then the further ones."""
        import sqlalchemy as sa  # noqa: PLC0415 (it is an extra)

        missing = [name for name in _NEEDED if name not in mapped.out]
        if missing:
            raise ConfigError(f"table {self._table!r}: expected a column for the {missing[0]}; name it with --column")
        columns = {"id": mapped.id, "phone": mapped.phone, "sent_at": mapped.sent_at, "changed_at": None}
        columns |= {name: mapped.out[name][0] for name in ("changed_at", *_FIELDS) if name in mapped.out}
        # Each column once by its own label: one column may be read for two fields.
        read = [sa.null() if column is None else column for column in columns.values()]
        query = sa.select(*(column.label(f"r_{name}") for name, column in zip(columns, read, strict=True)))
        query = query.select_from(mapped.table)
        if self._where is not None:
            query = query.where(sa.literal_column(f"({self._where})", sa.Boolean()))
        return query, list(columns)


def _prepared(given: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a row's fields, of what the database has."""
    from smsc_status.tables._values import id_of  # noqa: PLC0415 (SQLAlchemy is an extra)

    values = {name: id_of(value) if name in _WHOLES else value for name, value in given.items()}
    if "cost" in given:
        values["cost"] = str(given["cost"])  # a float as it is shown, and not by its binary digits
    outcome = values.pop("outcome", None)
    row = row_of(values)
    if outcome is not None and not _is_ended(row):
        values["error"] = str(outcome)
    if row.type is not None or row.flag is not None:
        values["channel"] = codes.channel_of((row.flag or 0) & 0xF if row.type is None else row.type)
    return values


def _is_ended(row: Row) -> bool:
    """Whether the status is final. If it is not, an outcome is the name of the error that ended the checks."""
    if row.status is None or not codes.is_final(row.status):
        return False
    return not (row.is_look_up and row.is_reachable is None)
