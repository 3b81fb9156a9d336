"""Which column is what: found, checked, and made."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import attrs
import pytest
import sqlalchemy as sa

from smsc_status import ConfigError, Detail, Status, StatusRecord
from smsc_status.codes import status_title
from smsc_status.tables import Columns
from smsc_status.tables._columns import LONGEST_NAME, Mapped, alterations, find, has_wanted_index, wanted_index

POSTGRESQL, MYSQL, SQLITE = (
    sa.make_url(f"{name}://").get_dialect()() for name in ("postgresql+psycopg", "mysql+pymysql", "sqlite")
)
OUT = "status int, err int, changed_at timestamp, checked_at timestamp, outcome text"


def found(columns: str, given: Columns | None = None, name: str = "messages") -> Mapped:
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    with engine.begin() as connection:
        connection.execute(sa.text(f"create table messages ({columns})"))
        return find(connection, name, given or Columns(), UTC)


@pytest.mark.parametrize(
    ("columns", "id", "phone"),
    [
        ("id integer primary key, phone text", "id", "phone"),
        ("number integer primary key, SMS_ID text, MSISDN text", "SMS_ID", "MSISDN"),
        ("id integer primary key, message_id text, phone_number text", "id", "phone_number"),
    ],
)
def test_columns_are_found_by_their_usual_names(columns: str, id: str, phone: str) -> None:
    mapped = found(f"{columns}, {OUT}")
    assert (mapped.id.name, mapped.phone.name, mapped.sent_at) == (id, phone, None)


def test_columns_have_the_names_that_the_user_gives() -> None:
    given = Columns.of({"id": "message_id", "outcome": "Ended", "err": None, "cost": "price", "sender_id": "sender"})
    mapped = found(
        "id integer primary key, message_id text, phone text, cost real, price real, sender text, message text, "
        "status int, changed_at timestamp, checked_at timestamp, ended text",
        given,
    )
    assert mapped.id.name == "message_id"
    assert {field: column.name for field, (column, _) in mapped.out.items()} == {
        "status": "status",
        "changed_at": "changed_at",
        "checked_at": "checked_at",
        "outcome": "ended",
        "cost": "price",
        "sender_id": "sender",
    }
    assert not mapped.missing


def test_a_column_of_the_vendors_facts_is_left_alone_if_asked() -> None:
    columns = f"id integer primary key, phone text, cost real, {OUT}"
    assert found(columns).fields == ["cost"]
    assert found(columns, Columns(fields={"cost": None})).fields == []


@pytest.mark.parametrize(
    ("fields", "detail"),
    [("", Detail.BASIC), ("sms_cnt int", Detail.FULL), ("cost real", Detail.FULL), ("region text", Detail.EXTENDED)],
)
def test_the_level_of_detail_is_what_the_fields_need(fields: str, detail: Detail) -> None:
    mapped = found(", ".join(filter(None, ["id integer primary key, phone text", fields, OUT])))
    assert mapped.detail(Detail.BASIC) == detail
    assert mapped.detail(Detail.EXTENDED) == Detail.EXTENDED


@pytest.mark.parametrize(
    ("columns", "given", "expected"),
    [
        (
            "number integer primary key, phone text",
            {},
            "expected a column id or message_id or sms_id, or of a name that is given .columns, --column id=NAME., "
            "for the id; it has number",
        ),
        (
            "id integer primary key",
            {},
            "expected a column phone or phone_number or msisdn, or of a name .* for the phone",
        ),
        ("id integer primary key, phone text", {"phone": "tel"}, "expected a column tel for the phone; it has id"),
        (
            "number integer primary key, text text",
            {"sent_at": "sent"},
            "expected a column id .* for the id, and a column phone .* phone, and a column sent for the sent_at;",
        ),
        ("id integer, phone text", {}, "expected a primary key"),
        (
            "id integer primary key, phone blob",
            {},
            "column 'phone' of type BLOB: expected whole numbers or numbers or text",
        ),
        ("id integer primary key, phone boolean", {}, "expected whole numbers or numbers or text for the phone"),
        ("id integer primary key, phone text, cost int", {}, "expected numbers or text for the cost"),
        (
            "id integer primary key, phone text",
            {"outcome": "status"},
            "column 'status' .* expected text for the outcome",
        ),
        ("id integer primary key, phone text", {"cost": "phone"}, "column 'phone' is for phone and cost"),
        ("id integer primary key, phone text", {"status": "id"}, "column 'id' is for id and status"),
        ("key integer primary key, id int, phone text", {"err": "key"}, "column 'key' is for primary key and err"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(columns: str, given: dict[str, str], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        found(f"{columns}, {OUT}", Columns.of(given))


def test_a_table_that_is_not_there_is_refused_by_the_names_of_those_that_are() -> None:
    columns = f"id integer primary key, phone text, {OUT}"
    with pytest.raises(ConfigError) as caught:
        found(columns, name="sms")
    expected = "expected a table of the schema 'main', which has messages"
    assert str(caught.value) == f"table 'sms': {expected}; a table of another schema is named as schema.table"
    with pytest.raises(ConfigError) as caught:
        found(columns, name="main.sms")
    assert str(caught.value) == f"table 'main.sms': {expected}"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"id": None}, "column id None"),
        ({"outcome": None}, "column outcome None"),
        ({"status": 7}, "column status 7: expected the name of a column, or None"),
        ({"price": "cost"}, "field 'price': expected one of cn, comment, cost"),
        ({"cost": 7}, "column cost 7"),
    ],
)
def test_bad_names_are_refused(given: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        Columns.of(given)


@pytest.mark.parametrize(
    ("dialect", "date", "number"),
    [
        (POSTGRESQL, "TIMESTAMP WITH TIME ZONE", "NUMERIC(12, 4)"),
        (MYSQL, "DATETIME(6)", "NUMERIC(12, 4)"),
        (SQLITE, "DATETIME", "NUMERIC(12, 4)"),
    ],
)
def test_missing_columns_are_made_in_the_sql_of_the_database(dialect: Any, date: str, number: str) -> None:
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    with engine.begin() as connection:
        connection.execute(sa.text("create table messages (id integer primary key, phone text)"))
        connection.dialect = dialect if dialect.name == "sqlite" else connection.dialect
        mapped = find(connection, "messages", Columns(fields={"cost": "cost", "message": "text"}), UTC)
    made = alterations(mapped, SQLITE)
    assert made[0] == "ALTER TABLE messages ADD COLUMN status BIGINT"
    assert made[-1] == "ALTER TABLE messages ADD COLUMN text TEXT" or number in made[-2]
    from smsc_status.tables._columns import _type_for  # noqa: PLC0415 (what a database of this kind is told)

    assert _type_for("checked_at", dialect).compile(dialect=dialect) == date


def test_the_wanted_index_is_partial_where_the_database_has_such() -> None:
    mapped = found(f"id integer primary key, phone text, {OUT}")
    assert wanted_index(mapped, POSTGRESQL) == ("CREATE INDEX messages_open ON messages (id) WHERE outcome IS NULL")
    assert wanted_index(mapped, MYSQL) == "CREATE INDEX messages_open ON messages (outcome, id)"
    _, written = mapped.out["outcome"]
    long = attrs.evolve(mapped, out={"outcome": (sa.Column("outcome", sa.Text), written)})
    assert wanted_index(long, MYSQL) == "CREATE INDEX messages_open ON messages (outcome(20), id)"


@pytest.mark.parametrize(
    ("index", "fits"),
    [
        ("(id) where outcome is null", True),
        ("(outcome, id)", True),
        ("(id)", False),
        ("(phone) where outcome is null", False),
    ],
)
def test_an_index_that_serves_is_recognized(index: str, fits: bool) -> None:
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    with engine.begin() as connection:
        connection.execute(sa.text(f"create table messages (id integer primary key, phone text, {OUT})"))
        connection.execute(sa.text(f"create index i on messages {index}"))
        assert has_wanted_index(connection, find(connection, "messages", Columns(), UTC)) == fits


@pytest.mark.measured
def test_a_column_that_has_no_room_for_each_outcome_is_refused(engine: sa.Engine) -> None:
    """Only SQLite does not keep to the length that is given."""
    with engine.begin() as connection:
        for name, length in (("roomy", LONGEST_NAME), ("short", LONGEST_NAME - 1)):
            connection.execute(sa.text(f"create table {name} (id int primary key, phone varchar(20), {OUT})"))
            connection.execute(sa.text(f"alter table {name} drop column outcome"))
            connection.execute(sa.text(f"alter table {name} add column outcome varchar({length})"))
        find(connection, "roomy", Columns(), UTC)
        if engine.dialect.name == "sqlite":
            find(connection, "short", Columns(), UTC)
        else:
            with pytest.raises(ConfigError, match="column 'outcome' of 19 characters: expected at least 20 for the"):
                find(connection, "short", Columns(), UTC)


def test_each_outcome_has_room_in_a_column_of_the_least_length() -> None:
    titles = [status_title(status) for status in Status if StatusRecord(status=status, err=0).is_final]
    names = [title.en for title in titles if title is not None] + ["TrackingTimeout", "ParametersError", "Archived"]
    assert len(names) > 10
    assert max(map(len, names)) <= LONGEST_NAME


def test_a_column_may_be_left_out() -> None:
    assert found(f"id integer primary key, phone text, sent_at text, {OUT}", Columns(sent_at=None)).sent_at is None


@pytest.mark.slow
@pytest.mark.measured
@pytest.mark.parametrize(
    ("kind", "type"),
    [("postgresql", "jsonb"), ("postgresql", "int[]"), ("postgresql", "real"), ("mysql", "float")],
)
def test_a_key_that_cannot_be_compared_exactly_is_refused(kind: str, type: str, request: pytest.FixtureRequest) -> None:
    """Its rows would not be found again when they are to be written."""
    engine: sa.Engine = request.getfixturevalue(kind)
    with engine.begin() as connection:
        connection.execute(sa.text(f"create table t (k {type}, id bigint, phone varchar(40), primary key (k, id))"))
        with pytest.raises(ConfigError, match=r"column .k. of type .*: expected a type for the primary key"):
            find(connection, "t", Columns(), UTC)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
def test_a_key_may_be_a_double(kind: str, request: pytest.FixtureRequest) -> None:
    engine: sa.Engine = request.getfixturevalue(kind)
    with engine.begin() as connection:
        connection.execute(sa.text("create table t (k double precision primary key, id bigint, phone varchar(40))"))
        find(connection, "t", Columns(), UTC)
