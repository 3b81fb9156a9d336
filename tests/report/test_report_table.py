"""Tables as the source of a report."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from report_support import NOW, not_expected

from smsc_status import ConfigError, DatabaseUnavailable
from smsc_status.codes import Channel
from smsc_status.models import MOSCOW
from smsc_status.report import Table, write
from smsc_status.report._counting.tallies import Group
from smsc_status.report._reading.sources import count
from smsc_status.tables import Columns

COLUMNS = (
    "id bigint primary key, phone varchar(60), sent_at timestamp, status int, err int, changed_at timestamp, "
    "checked_at timestamp, outcome varchar(60), cost numeric(12, 4), operator varchar(60), sender varchar(20), kind int"
)
FIELDS = {"sender_id": "sender", "type": "kind"}


@pytest.fixture
def database(tmp_path: Path) -> Any:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'app.db'}")
    with engine.begin() as connection:
        connection.execute(sa.text(f"create table messages ({COLUMNS})"))
    yield engine
    engine.dispose()


def insert(engine: sa.Engine, **values: Any) -> None:
    names = ", ".join(values)
    with engine.begin() as connection:
        places = ", ".join(f":{name}" for name in values)
        connection.execute(sa.text(f"insert into messages ({names}) values ({places})"), values)


def sent(engine: sa.Engine, id: int, status: int | None = 1, *, phone: str = "79990000000", **values: Any) -> None:
    """A message that was sent at noon in Moscow, and changed a minute later."""
    known = {"sent_at": "2026-03-10 12:00:00", "changed_at": "2026-03-10 09:01:00+00:00", "outcome": "Delivered"}
    insert(engine, id=id, phone=phone, status=status, **known | values)


def table(engine: sa.Engine, **options: Any) -> Table:
    values: dict[str, Any] = {"table": "messages", "columns": Columns.of(FIELDS)}
    return Table(engine, **values | options)


def test_each_row_is_a_message_with_all_that_its_columns_say(database: sa.Engine) -> None:
    """Also two of one message. Dates without a zone are Moscow's."""
    for id in (1, 2):
        sent(database, id, operator="МТС", sender="SHOP", kind=0, cost=0.1)
    sent(database, 3, 20, err=6, outcome="Can't be delivered", cost=2, phone="a@b.c")
    sent(database, 4, 0, outcome="TrackingTimeout", kind=10)
    sent(database, 5, None, outcome=None, changed_at=None)
    sent(database, 6, 0, outcome=None)
    sent(database, 7, 1, err=0, kind=4)
    figures = count(table(database), MOSCOW, not_expected)
    assert {group: figures.messages.of(group) for group in Group} == {
        Group.DELIVERED: 2, Group.FAILED: 1, Group.UNKNOWN: 1, Group.OPEN: 2,
    }  # fmt: skip
    assert figures.statuses == {1: 2, 20: 1, None: 1, 0: 1}
    assert {name: tally.total for name, tally in figures.by_channel.items()} == {
        Channel.SMS: 2, Channel.EMAIL: 1, Channel.VIBER: 1, Channel.UNKNOWN: 2,
    }  # fmt: skip
    assert [(name, tally.total) for name, tally in figures.by_operator.items()] == [("МТС", 2)]
    assert [(name, tally.total) for name, tally in figures.by_sender.items()] == [("SHOP", 2)]
    assert figures.messages.costs.total == Decimal("2.2")
    assert figures.times.curve() == [(60.0, 1.0)]
    assert figures.look_ups.reachable == 1
    assert [name for name, _ in figures.errors.items()] == ["TrackingTimeout"]


def test_a_status_may_be_a_text_and_a_look_up_may_end_without_an_answer(database: sa.Engine) -> None:
    """SQLite keeps what it is given."""
    sent(database, 1, "1", err="0")  # type: ignore[arg-type]  # that is the test
    sent(database, 2, "20", outcome="Can't be delivered")  # type: ignore[arg-type]  # likewise
    sent(database, 3, 1, kind=4, outcome="TrackingTimeout")
    figures = count(table(database), MOSCOW, not_expected)
    assert {group: figures.messages.of(group) for group in (Group.DELIVERED, Group.FAILED)} == {
        Group.DELIVERED: 1, Group.FAILED: 1,
    }  # fmt: skip
    assert (figures.look_ups.total, figures.look_ups.unknown) == (1, 1)
    assert [name for name, _ in figures.errors.items()] == ["TrackingTimeout"]


def test_a_condition_narrows_the_rows(database: sa.Engine) -> None:
    for id in range(5):
        sent(database, id)
    assert count(table(database, where="id > 2"), MOSCOW, not_expected).messages.total == 2


def test_a_flag_tells_the_channel_where_no_type_does(database: sa.Engine) -> None:
    sent(database, 1, kind=7)
    figures = count(table(database, columns=Columns.of({"flag": "kind"})), MOSCOW, not_expected)
    assert list(figures.by_channel) == [Channel.CALL]


def test_a_row_that_can_not_be_read_is_reported(database: sa.Engine) -> None:
    """By its place, and the value."""
    sent(database, 1)
    sent(database, 2, cost="much")
    sent(database, 3, changed_at="once")
    said: list[tuple[int, str]] = []
    figures = count(table(database), MOSCOW, lambda number, why: said.append((number, why)))
    assert [(number, why.partition(":")[0]) for number, why in said] == [(2, "cost 'much'"), (3, "changed_at 'once'")]
    assert (figures.messages.total, figures.bad_rows) == (1, 2)


def test_a_text_that_is_not_utf_8_is_read_as_far_as_it_can_be(database: sa.Engine) -> None:
    sent(database, 1, operator="x")
    with database.begin() as connection:
        connection.execute(sa.text("update messages set operator = cast(x'4dff53' as text)"))
    assert list(count(table(database), MOSCOW, not_expected).by_operator) == ["M\N{REPLACEMENT CHARACTER}S"]


def test_a_table_without_dates_and_names_is_read(database: sa.Engine) -> None:
    with database.begin() as connection:
        connection.execute(
            sa.text(
                "create table few (sms_id text primary key, msisdn bigint, status int, checked_at text, outcome text)"
            )
        )
        connection.execute(sa.text("insert into few values ('a-1', 79990000000, 1, null, 'Delivered')"))
    figures = count(Table(database, table="few"), MOSCOW, not_expected)
    assert (figures.messages.of(Group.DELIVERED), figures.times.count) == (1, 0)


@pytest.mark.parametrize("missing", ["status", "outcome"])
def test_a_table_that_sync_does_not_keep_is_refused(missing: str, database: sa.Engine) -> None:
    with database.begin() as connection:
        connection.execute(sa.text(f"alter table messages drop column {missing}"))
    with pytest.raises(ConfigError, match=f"table 'messages': expected a column for the {missing}; name it with"):
        count(table(database), MOSCOW, not_expected)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"table": ""}, "table '': expected the name of a table"),
        ({"table": 7}, "table 7: expected the name"),
        ({"where": " "}, "where ' ': expected a condition in SQL"),
        ({"timezone": "UTC"}, "timezone 'UTC': expected a tzinfo"),
        ({"columns": {"id": "x"}}, "columns {'id': 'x'}: expected a Columns"),
    ],
)
def test_an_argument_that_can_not_be_is_refused_at_once(
    options: dict[str, Any], expected: str, database: sa.Engine
) -> None:
    with pytest.raises(ConfigError, match=expected):
        table(database, **options)


def test_what_the_database_refuses_is_said(database: sa.Engine) -> None:
    with pytest.raises(ConfigError, match="the database refuses it: no such column: nonsense"):
        count(table(database, where="nonsense = 1"), MOSCOW, not_expected)
    with pytest.raises(ConfigError, match="expected a table of the schema 'main', which has messages"):
        count(table(database, table="nothing"), MOSCOW, not_expected)


def test_an_error_of_the_statement_is_the_caller_s(database: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """As PostgreSQL says it."""

    def refuse(*_: object) -> None:
        raise sa.exc.ProgrammingError("select", {}, Exception("column nonsense does not exist\nLINE 1: secret"))

    monkeypatch.setattr(Table, "_read", refuse)
    with pytest.raises(ConfigError) as caught:
        count(table(database), MOSCOW, not_expected)
    assert str(caught.value) == "table 'messages': the database refuses it: column nonsense does not exist"
    assert caught.value.__context__ is None


def test_a_database_that_goes_away_while_it_is_read_is_said(
    database: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(*_: object) -> None:
        raise sa.exc.OperationalError("select", {}, Exception("server closed"), connection_invalidated=True)

    monkeypatch.setattr(Table, "_read", lose)
    with pytest.raises(DatabaseUnavailable, match="the database can't be reached: server closed"):
        count(table(database), MOSCOW, not_expected)


def test_a_database_that_is_away_is_said_without_its_password() -> None:
    url = "postgresql+psycopg://app:s3cret@127.0.0.1:1/app"
    with pytest.raises(DatabaseUnavailable, match="the database can't be reached") as caught:
        count(Table(url, table="messages"), MOSCOW, not_expected)
    assert "s3cret" not in str(caught.value) + repr(caught.value.__context__)


@pytest.mark.usefixtures("no_plots")
def test_the_page_of_a_table_says_which_columns_are_missing(database: sa.Engine, tmp_path: Path) -> None:
    """And that each row counts. A database that was given by its URL is closed again."""
    sent(database, 1, sent_at=None)
    source = Table(str(database.url), table="messages")
    write(source, tmp_path / "r.html", now=NOW)
    page = (tmp_path / "r.html").read_text()
    for text in (
        "--column sent_at=…",
        "--column sender_id=…",
        "Each row of the table is one message.",
        "from messages",
    ):
        assert text in page
    assert source._database.engine.pool.checkedin() == 0  # type: ignore[attr-defined]  # a pool that counts


def test_an_instant_of_the_database_keeps_its_zone(database: sa.Engine) -> None:
    sent(database, 1, sent_at="2026-03-10 09:00:30+00:00")
    figures = count(table(database), MOSCOW, not_expected)
    assert figures.first_sent_at == datetime(2026, 3, 10, 9, 0, 30, tzinfo=UTC)
    assert figures.times.curve() == [(30.0, 1.0)]
