"""Checks the table before anything is sent, and makes missing columns if that was asked for."""

from __future__ import annotations

import logging
from datetime import tzinfo
from functools import partial

import sqlalchemy as sa

from smsc_status.errors import ConfigError
from smsc_status.tables import _columns
from smsc_status.tables._columns import Columns, Mapped
from smsc_status.tables._database import is_disconnect, said
from smsc_status.tables._rows import OpenRows

logger = logging.getLogger("smsc_status")


def check_table(
    connection: sa.Connection, *, name: str, columns: Columns, where: str | None, zone: tzinfo, create_columns: bool
) -> Mapped:
    """Find the columns and try to read a row. A missing index, and rows without a key, are only told.

    Raises:
        ConfigError: the table, a column or the condition can't be used. If columns are missing, the text has the
            statements that add them.
        sqlalchemy.exc.SQLAlchemyError: the database's error.
    """
    find = partial(_columns.find, connection, name, columns, zone)
    mapped = find()
    if mapped.missing:
        statements = _columns.alterations(mapped, connection.dialect)
        if not create_columns:
            names = ", ".join(column.name for column in mapped.missing)
            raise ConfigError(
                f"table {name!r}: missing {names}; let them be added (create_columns, --create-columns), or add them "
                f"by: {'; '.join(statements)}"
            )
        for statement in statements:
            connection.exec_driver_sql(statement)
        mapped = find()
    rows = OpenRows(mapped, where, zone)
    _try_condition(connection, rows, where)
    without_key = rows.without_key(connection)
    if without_key:
        logger.warning("table %s: rows that are left alone, because their primary key is NULL: %d", name, without_key)
    if not _columns.has_wanted_index(connection, mapped):
        wanted = _columns.wanted_index(mapped, connection.dialect)
        logger.warning("table %s: in a large table, looking for rows needs an index: %s", name, wanted)
    return mapped


def _try_condition(connection: sa.Connection, rows: OpenRows, where: str | None) -> None:
    try:
        rows.newest(connection, None, limit=1)
    except sa.exc.DBAPIError as error:
        if where is None or is_disconnect(error):
            raise
        problem = f"where {where!r}: the database refuses it: {said(error)}"
    else:
        return
    raise ConfigError(problem)  # here, so that its context holds no error of the database, which may quote rows
