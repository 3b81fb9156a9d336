"""Which column of the table is what: finding the columns, checking them, and making those that are missing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import tzinfo
from types import MappingProxyType
from typing import Any

import attrs
import sqlalchemy as sa
from sqlalchemy.schema import CreateColumn

from smsc_status._core.wire.layouts import LAYOUTS
from smsc_status.errors import ConfigError
from smsc_status.models import Detail, Format, HlrRecord
from smsc_status.tables import _values
from smsc_status.tables._values import Kind, WrittenColumn, kind_of, written_column

_USUAL: Mapping[str, tuple[str, ...]] = {
    "id": ("id", "message_id", "sms_id"),
    "phone": ("phone", "phone_number", "msisdn"),
}
"""The names by which a column is found, where it is not the field's own."""

_KINDS: Mapping[str, frozenset[Kind]] = {
    "id": _values.IDS,
    "phone": _values.PHONES,
    "sent_at": _values.INSTANTS,
    "status": _values.WHOLES,
    "err": _values.WHOLES,
    "changed_at": _values.INSTANTS,
    "checked_at": _values.INSTANTS,
    "outcome": _values.TEXTS,
    "cost": _values.NUMBERS,
    **dict.fromkeys(("last_timestamp", "flag", "send_timestamp", "type", "sms_cnt"), _values.WHOLES),
}
"""Which kinds of columns a field may have. A field that is not named is a text."""

_FOUND_BY_NAME = frozenset({"cost", "sms_cnt", "mccmnc", "country", "operator", "operator_orig", "region"})
"""What only the vendor knows. A column of another field's name (`message`, `comment`, `type`) may be the sender's own,
so that field is written only if its column is named."""

_NOT_WRITTEN = {"id", "phone", "ref", "checked_at", "timezone", "unclear", "status", "err"}
FIELDS = frozenset(field.name for field in attrs.fields(HlrRecord)) - _NOT_WRITTEN
"""The record's fields that can be written beside status, err, changed_at, checked_at and outcome."""

_IN = ("id", "phone", "sent_at")
_OUT = ("status", "err", "changed_at", "checked_at", "outcome")
_NEEDED = frozenset({"id", "phone", "status", "checked_at", "outcome"})


LONGEST_NAME = 20
"""Characters. Each title of a final status, and each name of an error that ends a row, is at most as long."""


def _frozen(given: Mapping[str, str | None]) -> Mapping[str, str | None]:
    return MappingProxyType(dict(given))


@attrs.frozen(kw_only=True)
class Columns:
    """The names of the table's columns.

    By default a column has its field's name. An id is also found as `message_id` or `sms_id` (if there is no `id`), and
    a phone as `phone_number` or `msisdn`. `None` means that there is no such column: `sent_at`, `err` and `changed_at`
    can be left out.

    `fields` names the columns of further fields of the record: `{"cost": "price", "sender_id": "sender"}`. Columns of
    the names `cost`, `sms_cnt`, `mccmnc`, `country`, `operator`, `operator_orig` and `region` are found by themselves;
    `None` leaves such a column alone.

    Raises:
        ConfigError: a name is not a text or empty, a needed column is `None`, or the record has no such field.
    """

    id: str | None = ""
    phone: str | None = ""
    sent_at: str | None = ""
    status: str | None = "status"
    err: str | None = "err"
    changed_at: str | None = "changed_at"
    checked_at: str | None = "checked_at"
    outcome: str | None = "outcome"
    fields: Mapping[str, str | None] = attrs.field(factory=dict[str, str | None], converter=_frozen)

    def __attrs_post_init__(self) -> None:
        for field in (*_IN, *_OUT):
            name = getattr(self, field)
            if name is None and field in _NEEDED:
                raise ConfigError(f"column {field} None: expected a name, because this column is needed")
        for field in self.fields:
            if field not in FIELDS:
                raise ConfigError(f"field {field!r}: expected one of {', '.join(sorted(FIELDS))}")
        for field, name in [*((field, getattr(self, field)) for field in (*_IN, *_OUT)), *self.fields.items()]:
            if name is not None and not isinstance(name, str):
                raise ConfigError(f"column {field} {name!r}: expected the name of a column, or None")

    @classmethod
    def of(cls, names: Mapping[str, str | None]) -> Columns:
        """Columns by the names of the fields, those of `fields` included.

        Raises:
            ConfigError: as from the constructor.
        """
        own = {field: name for field, name in names.items() if field in (*_IN, *_OUT)}
        return cls(**own, fields={field: name for field, name in names.items() if field not in own})


@attrs.frozen
class Mapped:
    """The columns as they were found.

    `table` has all columns of the database's table. In SQLite, which does not enforce types, their values come as they
    are stored. `out` says by field how the columns are written that are there.
    """

    table: sa.Table
    key: tuple[sa.Column[Any], ...]
    key_is_number: bool
    is_sqlite: bool
    id: sa.Column[Any]
    phone: sa.Column[Any]
    sent_at: sa.Column[Any] | None
    out: Mapping[str, tuple[sa.Column[Any], WrittenColumn]]
    missing: tuple[sa.Column[Any], ...]

    @property
    def fields(self) -> list[str]:
        """The record's further fields that are written."""
        return [field for field in self.out if field not in _OUT]

    def detail(self, at_least: Detail) -> Detail:
        """The level of detail that the written fields need, or `at_least` if that is more."""
        return max([at_least, *map(_level_of, self.fields)])


def _level_of(field: str) -> Detail:
    """The lowest level of detail at which a reply has the field."""
    levels = LAYOUTS[Format.JSON]
    return next(detail for detail in Detail if field in levels[detail].sms or field in levels[detail].hlr)


def find(connection: sa.Connection, name: str, columns: Columns, zone: tzinfo) -> Mapped:
    """Find and check the columns of the table of this name, which may be `schema.table`.

    Raises:
        ConfigError: there is no such table, it has no primary key or no column of ids or phones, or a column has a type
            that can't hold its values.
    """
    table = _reflected(connection, name)
    by_name = {column.name.casefold(): column for column in table.columns}
    found = {field: _find_in(by_name, field, getattr(columns, field)) for field in _IN}
    _check_found(name, columns, found, table)
    if not table.primary_key.columns:
        raise ConfigError(f"table {name!r}: expected a primary key, by which its rows are told apart")
    if connection.dialect.name != "sqlite":  # which keeps values as they are, whatever the type
        _check_key(table)
    out, missing = _out_columns(columns, by_name, connection.dialect)
    for field, column in [*found.items(), *out.items()]:
        if column is not None:
            _check_type(name, field, column)
    if "outcome" in out and connection.dialect.name != "sqlite":  # SQLite does not keep to lengths
        _check_length(name, out["outcome"])
    _check_distinct(name, found, out, table)
    written = {field: (column, written_column(column.type, connection.dialect, zone)) for field, column in out.items()}
    is_sqlite = connection.dialect.name == "sqlite"
    used = _untyped(table) if is_sqlite else table
    sent_at = found["sent_at"]
    return Mapped(
        table=used,
        key=tuple(used.c[column.name] for column in table.primary_key.columns),
        key_is_number=[kind_of(column.type) for column in table.primary_key.columns] == [Kind.WHOLE],
        is_sqlite=is_sqlite,
        id=used.c[found["id"].name],  # type: ignore[union-attr]  # checked above
        phone=used.c[found["phone"].name],  # type: ignore[union-attr]  # likewise
        sent_at=None if sent_at is None else used.c[sent_at.name],
        out={field: (used.c[column.name], form) for field, (column, form) in written.items()},
        missing=tuple(missing),
    )


def alterations(mapped: Mapped, dialect: sa.Dialect) -> list[str]:
    """The statements that add the missing columns, for this database."""
    preparer = dialect.identifier_preparer
    add = "ADD" if dialect.name in ("mssql", "oracle") else "ADD COLUMN"
    return [
        f"ALTER TABLE {preparer.format_table(mapped.table)} {add} {CreateColumn(column).compile(dialect=dialect)}"
        for column in mapped.missing
    ]


def wanted_index(mapped: Mapped, dialect: sa.Dialect) -> str:
    """The statement that makes the index by which open rows are found quickly."""
    preparer = dialect.identifier_preparer
    outcome = preparer.format_column(mapped.out["outcome"][0])
    key = ", ".join(preparer.format_column(column) for column in mapped.key)
    name = preparer.quote(f"{mapped.table.name}_open")
    on = f"CREATE INDEX {name} ON {preparer.format_table(mapped.table)}"
    if dialect.name in ("postgresql", "sqlite"):
        return f"{on} ({key}) WHERE {outcome} IS NULL"
    if isinstance(mapped.out["outcome"][0].type, sa.Text):  # of which MySQL puts only a part into an index
        outcome = f"{outcome}({LONGEST_NAME})"
    return f"{on} ({outcome}, {key})"


def has_wanted_index(connection: sa.Connection, mapped: Mapped) -> bool:
    """Whether there is an index that begins as the wanted one, or narrows the rows by the outcome."""
    outcome = mapped.out["outcome"][0].name
    for index in sa.inspect(connection).get_indexes(mapped.table.name, schema=mapped.table.schema):
        names = index["column_names"]
        condition = str(index.get("dialect_options", {}).get(f"{connection.dialect.name}_where", ""))
        if names[:1] == [outcome] or (names[:1] == [mapped.key[0].name] and outcome in condition):
            return True
    return False


def _reflected(connection: sa.Connection, name: str) -> sa.Table:
    schema, _, table = name.rpartition(".")
    try:
        found = sa.Table(table, sa.MetaData(), schema=schema or None, autoload_with=connection, resolve_fks=False)
    except sa.exc.NoSuchTableError:
        inspector = sa.inspect(connection)
        there = ", ".join(sorted(inspector.get_table_names(schema=schema or None))[:20]) or "no tables"
        where = f"the schema {schema or inspector.default_schema_name!r}, which has {there}"
        others = "" if schema else "; a table of another schema is named as schema.table"
        raise ConfigError(f"table {name!r}: expected a table of {where}{others}") from None
    for column in found.columns:
        column.type = _without_domain(column.type)
    return found


def _without_domain(type: sa.types.TypeEngine[Any]) -> sa.types.TypeEngine[Any]:
    """The type itself, or the one that a domain of PostgreSQL narrows. Values are read and written as of that one."""
    narrowed: sa.types.TypeEngine[Any] | None = getattr(type, "data_type", None)
    return type if narrowed is None else _without_domain(narrowed)


def _find_in(by_name: Mapping[str, sa.Column[Any]], field: str, name: str | None) -> sa.Column[Any] | None:
    """The column of this name, or with the name "" the one with a usual name of the field."""
    if name is None:
        return None
    if name:
        return by_name.get(name.casefold())
    return next((by_name[usual] for usual in _USUAL.get(field, (field,)) if usual in by_name), None)


def _out_columns(
    columns: Columns, by_name: Mapping[str, sa.Column[Any]], dialect: sa.Dialect
) -> tuple[dict[str, sa.Column[Any]], list[sa.Column[Any]]]:
    names: dict[str, str | None] = {field: getattr(columns, field) for field in _OUT}
    names |= {field: field for field in sorted(_FOUND_BY_NAME) if field in by_name} | dict(columns.fields)
    out, missing = {}, []
    for field, name in names.items():
        if name is None:
            continue
        column = by_name.get(name.casefold())
        if column is None:
            column = sa.Column(name, _type_for(field, dialect))
            missing.append(column)
        else:
            out[field] = column
    return out, missing


def _type_for(field: str, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
    """The type of a column that is made for a field."""
    kinds = _KINDS.get(field, _values.TEXTS)
    if kinds is _values.INSTANTS:
        if dialect.name in ("mysql", "mariadb"):
            from sqlalchemy.dialects import mysql  # noqa: PLC0415 (only for this database)

            return mysql.DATETIME(fsp=6)
        return sa.DateTime(timezone=True)
    if kinds is _values.WHOLES:
        return sa.BigInteger()
    if field == "cost":
        return sa.Numeric(12, 4)
    return sa.Text() if field in ("message", "comment") else sa.String(255)


def _check_found(table: str, columns: Columns, found: Mapping[str, sa.Column[Any] | None], whole: sa.Table) -> None:
    """Check that the columns are there that are needed or named."""
    wanted = []
    for field in _IN:
        given = getattr(columns, field)
        if found[field] is None and (given or field in _NEEDED):
            usual = " or ".join(_USUAL.get(field, (field,)))
            given_otherwise = f"{usual}, or of a name that is given (columns, --column {field}=NAME),"
            wanted.append(f"{given or given_otherwise} for the {field}")
    if wanted:
        there = ", ".join(column.name for column in whole.columns)
        raise ConfigError(f"table {table!r}: expected a column {', and a column '.join(wanted)}; it has {there}")


def _check_key(table: sa.Table) -> None:
    """Check that a row is found by the key that was read: a value of a short float is another one when it is sent."""
    for column in table.primary_key.columns:
        if not column.type.hashable or isinstance(column.type, sa.REAL | sa.FLOAT):
            raise ConfigError(
                f"table {table.name!r}, column {column.name!r} of type {column.type}: "
                "expected a type for the primary key that can be compared exactly"
            )


def _check_type(table: str, field: str, column: sa.Column[Any]) -> None:
    allowed = _KINDS.get(field, _values.TEXTS)
    if kind_of(column.type) not in allowed:
        expected = " or ".join(_values.NAMES[kind] for kind in Kind if kind in allowed)
        raise ConfigError(
            f"table {table!r}, column {column.name!r} of type {column.type}: expected {expected} for the {field}"
        )


def _check_length(table: str, outcome: sa.Column[Any]) -> None:
    """Check that the column has room for each outcome."""
    length = getattr(outcome.type, "length", None)
    if length is not None and length < LONGEST_NAME:
        raise ConfigError(
            f"table {table!r}, column {outcome.name!r} of {length} characters: "
            f"expected at least {LONGEST_NAME} for the outcome"
        )


def _check_distinct(
    table: str, found: Mapping[str, sa.Column[Any] | None], out: Mapping[str, sa.Column[Any]], whole: sa.Table
) -> None:
    """Check that no column is written that is read, is a part of the key, or is written for another field."""
    used = {column.name: field for field, column in found.items() if column is not None}
    used = {column.name: "primary key" for column in whole.primary_key.columns} | used
    for field, column in out.items():
        other = used.setdefault(column.name, field)
        if other != field:
            raise ConfigError(
                f"table {table!r}: column {column.name!r} is for {other} and {field}: expected one of them"
            )


def _untyped(table: sa.Table) -> sa.Table:
    """The table with columns whose values come and go as they are."""
    columns: list[sa.Column[Any]] = [sa.Column(column.name, primary_key=column.primary_key) for column in table.columns]
    return sa.Table(table.name, sa.MetaData(), *columns, schema=table.schema)


def check_arguments(table: object, columns: object, where: object, timezone: object) -> None:
    """Check what names a table and says how it is read.

    Raises:
        ConfigError: one of them can't be used; the text names it.
    """
    if not isinstance(table, str) or not table:
        raise ConfigError(f"table {table!r}: expected the name of a table")
    if where is not None and not (isinstance(where, str) and where.strip()):
        raise ConfigError(f"where {where!r}: expected a condition in SQL, or None")
    if not isinstance(timezone, tzinfo):
        raise ConfigError(f"timezone {timezone!r}: expected a tzinfo")
    if columns is not None and not isinstance(columns, Columns):
        raise ConfigError(f"columns {columns!r}: expected a Columns, or None")
