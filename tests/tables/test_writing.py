"""Changes are written in batches, in the order of each message, and only where they may be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from table_support import IN, OUT

from smsc_status import Archived, FailedCheck, StatusRecord
from smsc_status.tables import Columns, _database, _writing
from smsc_status.tables._columns import find
from smsc_status.tables._database import Database, concerns_row, is_locked
from smsc_status.tables._rows import OpenRows
from smsc_status.tables._writing import Change, Writer, Written, change_of, outcome_name

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)


class WrittenTable:
    """A table, and what writes into it."""

    def __init__(self, engine: sa.Engine, columns: str = f"{IN}, {OUT}", zone: tzinfo = UTC) -> None:
        self.engine = engine
        self.sql(f"create table messages ({columns})")
        self.sql("insert into messages (id, phone) values (1, '79990000001'), (2, '79990000002'), (3, '79990000003')")
        with engine.begin() as connection:
            mapped = find(connection, "messages", Columns(), zone)
            rows = OpenRows(mapped, None, zone)
            self.rows: dict[int, Any] = {
                seen.key: rows.row_of(seen, 1, print) for seen in rows.sweep(connection, None).rows
            }
        self.writer = Writer(mapped)

    def sql(self, statement: str) -> None:
        with self.engine.begin() as connection:
            connection.execute(sa.text(statement))

    def content(self, what: str = "id, status, err, outcome") -> list[tuple[Any, ...]]:
        with self.engine.begin() as connection:
            return [tuple(row) for row in connection.execute(sa.text(f"select {what} from messages order by id"))]

    def change(self, id: int, status: int, *, minutes: float = 0, **fields: Any) -> Change:
        checked_at = NOON + timedelta(minutes=minutes)
        return change_of(self.rows[id], StatusRecord(status=status, checked_at=checked_at, err=0, **fields))

    def write(self, *changes: Change) -> Written:
        return self.writer.write(self.engine, changes)


def test_changes_of_a_row_are_written_in_their_order(engine: sa.Engine) -> None:
    table = WrittenTable(engine)
    ended = change_of(table.rows[2], FailedCheck(table.rows[2], Archived("gone")))
    written = table.write(table.change(1, 0), table.change(2, 0), ended, table.change(1, 1, minutes=1))
    assert written == Written(count=4)
    assert table.content() == [(1, 1, 0, "Delivered"), (2, 0, 0, "Archived"), (3, None, None, None)]


@pytest.mark.parametrize(
    ("before", "change"),
    [
        ("status = 0, err = 0", {"status": 0}),  # nothing differs
        ("status = 0, err = 0, checked_at = '2026-03-10 12:00:01'", {"status": -1}),  # a later answer is there
        ("status = 0, err = 0, outcome = 'TrackingTimeout'", {"status": 1}),  # it has ended
        ("status = 0, err = 0, phone = '7'", {"status": 1}),  # it is another message now
    ],
    ids=["same", "later", "ended", "another"],
)
def test_a_change_that_must_not_be_written_has_no_effect(engine: sa.Engine, before: str, change: Any) -> None:
    table = WrittenTable(engine)
    table.sql(f"update messages set {before} where id = 1")
    content = table.content("*")
    written = table.write(table.change(1, **change))
    assert written == Written(idle=written.idle)
    assert [idle.row for idle in written.idle] == [table.rows[1]]
    assert table.content("*") == content


def test_a_final_answer_is_written_even_if_a_clock_was_ahead(engine: sa.Engine) -> None:
    table = WrittenTable(engine)
    table.sql("update messages set checked_at = '2027-01-01 00:00:00'")
    table.write(table.change(1, 1))
    assert table.content()[0] == (1, 1, 0, "Delivered")


def test_an_answer_is_written_when_the_zones_clocks_were_set_back(engine: sa.Engine) -> None:
    """In a column without a zone it looks older than the one before. One that is older by more stays out."""
    table = WrittenTable(engine, zone=ZoneInfo("Europe/Berlin"))
    before = datetime(2026, 10, 25, 0, 50, tzinfo=UTC)
    for minutes, status in ((0, -1), (20, 0), (-50, -1)):
        record = StatusRecord(status=status, checked_at=before + timedelta(minutes=minutes), err=0)
        table.write(change_of(table.rows[1], record))
    [row, *_] = table.content("status, checked_at")
    assert (row[0], str(row[1])[:16]) == (0, "2026-10-25 02:10")


def test_one_rows_failure_costs_that_row_alone(engine: sa.Engine) -> None:
    table = WrittenTable(engine, f"{IN}, {OUT}, operator varchar(9), check (length(operator) < 5)")
    changes = table.change(1, 1), table.change(2, 1, operator="a long name"), table.change(3, 1)
    written = table.write(*changes)
    assert written.count == 2
    [(failed, reason)] = written.failed
    assert failed.row is table.rows[2]
    assert "79990000002" not in reason
    assert reason
    assert [row[3] for row in table.content()] == ["Delivered", None, "Delivered"]


def test_a_value_that_the_driver_cannot_send_costs_its_row_alone(engine: sa.Engine) -> None:
    """SQLite's driver then raises an error that SQLAlchemy does not know."""
    table = WrittenTable(engine, f"{IN}, {OUT}, sms_cnt integer")
    written = table.write(table.change(1, 1), table.change(2, 1, sms_cnt=2**70), table.change(3, 1))
    assert written.count == 2
    [(failed, _)] = written.failed
    assert failed.row is table.rows[2]
    assert [row[3] for row in table.content()] == ["Delivered", None, "Delivered"]


def test_what_a_reply_does_not_say_stays_as_it_was(engine: sa.Engine) -> None:
    table = WrittenTable(engine, f"{IN}, {OUT}, operator text, region text")
    table.sql("update messages set operator = 'MTS'")
    table.write(table.change(1, 0, region="Moscow"))
    assert table.content("id, operator, region")[0] == (1, "MTS", "Moscow")


def test_a_new_column_is_filled_though_the_status_is_the_same(engine: sa.Engine) -> None:
    table = WrittenTable(engine, f"{IN}, {OUT}, region text")
    table.sql("update messages set status = 0, err = 0")
    assert table.write(table.change(1, 0, region="Moscow")).count == 1
    assert table.write(table.change(1, 0, region="Tver", minutes=1)).count == 0


@pytest.mark.parametrize("type", ["numeric(8, 2)", "double precision"])
def test_an_answer_without_a_cost_is_written_beside_one_that_has_it(engine: sa.Engine, type: str) -> None:
    table = WrittenTable(engine, f"{IN}, {OUT}, cost {type}")
    written = table.write(table.change(1, -3), table.change(2, 1, cost=Decimal("2.5")), table.change(3, 1))
    assert written == Written(count=3)
    assert table.content("id, status, outcome, cost") == [
        (1, -3, None, None),
        (2, 1, "Delivered", 2.5),
        (3, 1, "Delivered", None),
    ]
    assert table.write(table.change(1, -3, minutes=1, cost=Decimal("2.5"))) == Written(count=1)
    assert table.content("cost")[0] == (2.5,)


def test_a_row_that_can_not_be_written_now_waits_and_so_do_its_later_changes(sqlite: sa.Engine) -> None:
    """Even if they could be written by now. Other rows do not wait for it."""
    table, refusals = WrittenTable(sqlite), 2

    def refuse(_conn: Any, _cursor: Any, _statement: str, parameters: Any, _context: Any, many: bool) -> None:
        nonlocal refusals
        if refusals and any(2 in each for each in (parameters if many else [parameters])):
            refusals -= 1
            raise sa.exc.OperationalError("", None, Exception("lock timeout"))

    sa.event.listen(sqlite, "before_cursor_execute", refuse)
    changes = table.change(1, 0), table.change(2, 0), table.change(2, 1, minutes=1), table.change(3, 0)
    written = table.write(*changes)
    assert refusals == 0
    assert written.left == [changes[1], changes[2]]
    assert written.trouble == "lock timeout"
    assert written.count == 2


@pytest.mark.parametrize("after", [0, 1, 2])
def test_without_a_connection_nothing_is_lost(sqlite: sa.Engine, after: int) -> None:
    """After the batch failed because of a row, each row is written by itself until the connection is lost."""
    table = WrittenTable(sqlite, f"{IN}, {OUT}, operator varchar(9), check (length(operator) < 5)")
    changes = [table.change(1, 1), table.change(2, 1, operator="a long name"), table.change(3, 1)]
    updates = 0

    def lose(_conn: Any, _cursor: Any, _statement: str, _parameters: Any, _context: Any, many: bool) -> None:
        nonlocal updates
        updates += not many or after == 0
        if updates > after:
            raise sa.exc.OperationalError(
                "", None, Exception("server closed the connection"), connection_invalidated=True
            )

    sa.event.listen(sqlite, "before_cursor_execute", lose)
    written = table.write(*changes)
    sa.event.remove(sqlite, "before_cursor_execute", lose)
    assert updates == after + 1  # none is tried after that
    assert written.left == changes[after:]
    assert written.trouble == "server closed the connection"
    assert written.count + len(written.failed) == after


def test_rows_are_opened_again_only_from_the_named_outcomes(engine: sa.Engine) -> None:
    table = WrittenTable(engine)
    table.sql("update messages set outcome = 'ConfigError' where id < 3")
    table.sql("update messages set outcome = 'Delivered' where id = 2")
    with engine.begin() as connection:
        table.writer.reopen(connection, [table.rows[1], table.rows[2]], ["ConfigError"])
    assert table.content("outcome") == [(None,), ("Delivered",), (None,)]


def test_an_unknown_final_status_is_named_by_its_number() -> None:
    assert outcome_name(1) == "Delivered"
    assert outcome_name(777) == "777"


class PostgreSQLError(Exception):
    """As psycopg raises it."""

    def __init__(self, sqlstate: str | None) -> None:
        super().__init__("no")
        self.sqlstate = sqlstate


PostgreSQLError.__module__ = "psycopg.errors"


class MySQLError(Exception):
    """As PyMySQL raises it. All of these errors have the same SQLSTATE."""

    sqlstate = "HY000"


MySQLError.__module__ = "pymysql.err"


@pytest.mark.parametrize(
    ("error", "is_about_row"),
    [
        (sa.exc.IntegrityError("", None, Exception("UNIQUE")), True),
        (sa.exc.DataError("", None, Exception("too long")), True),
        (sa.exc.OperationalError("", None, Exception("locked")), False),
        (sa.exc.OperationalError("", None, MySQLError(1644, "a trigger refused")), True),
        (sa.exc.OperationalError("", None, MySQLError(1205, "Lock wait timeout")), False),
        (sa.exc.OperationalError("", None, MySQLError(2013, "Lost connection")), False),
        (sa.exc.OperationalError("", None, MySQLError("text")), False),
        (sa.exc.OperationalError("", None, MySQLError(1142, "UPDATE command denied")), False),
        (sa.exc.ProgrammingError("", None, MySQLError(1146, "no such table")), False),
        (sa.exc.OperationalError("", None, MySQLError(4025, "CONSTRAINT failed")), True),
        (sa.exc.ProgrammingError("", None, PostgreSQLError("P0001")), True),  # a trigger refused it
        (sa.exc.DatabaseError("", None, PostgreSQLError("45000")), True),  # by an error of its own
        (sa.exc.OperationalError("", None, PostgreSQLError("54000")), True),  # too long for an index
        (sa.exc.ProgrammingError("", None, PostgreSQLError("42501")), False),  # no right to write
        (sa.exc.InternalError("", None, PostgreSQLError("25006")), False),  # a read-only server
        (sa.exc.OperationalError("", None, PostgreSQLError("40P01")), False),  # a deadlock
        (sa.exc.OperationalError("", None, PostgreSQLError(None)), False),
        (sa.exc.DataError("", None, Exception("gone"), connection_invalidated=True), False),
        (sa.exc.TimeoutError("the pool is empty"), False),
        (sa.exc.StatementError("a value of a wrong type", "", None, Exception("wrong")), True),
    ],
)
def test_which_errors_are_about_a_row(error: sa.exc.SQLAlchemyError, is_about_row: bool) -> None:
    assert concerns_row(error) == is_about_row


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        (PostgreSQLError("55P03"), True),
        (PostgreSQLError("40P01"), False),
        (MySQLError(1205, "Lock wait timeout"), True),
        (MySQLError(2013, "Lost connection"), False),
        (Exception("database is locked"), False),  # SQLite's whole file
    ],
)
def test_which_errors_say_that_a_row_is_locked(cause: Exception, expected: bool) -> None:
    assert is_locked(sa.exc.OperationalError("", None, cause)) == expected


def test_without_a_connection_nothing_is_tried_one_by_one(sqlite: sa.Engine) -> None:
    """Each try may take seconds."""
    table, tries = WrittenTable(sqlite), 0

    def refuse(*_: Any) -> None:
        nonlocal tries
        tries += 1
        raise sa.exc.OperationalError("", None, Exception("connection timed out"))

    sqlite.dispose()
    sa.event.listen(sqlite, "do_connect", refuse)
    changes = [table.change(id, 1) for id in (1, 2, 3)]
    assert table.write(*changes) == Written(left=changes, trouble="connection timed out")
    assert tries == 1


def test_if_many_rows_can_not_be_written_now_the_others_are_not_tried(
    sqlite: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_writing, "MAX_WAITING", 2)
    table, tries = WrittenTable(sqlite), 0

    def refuse(*_: Any) -> None:
        nonlocal tries
        tries += 1
        raise sa.exc.OperationalError("", None, Exception("database is locked"))

    sa.event.listen(sqlite, "before_cursor_execute", refuse)
    changes = [table.change(id, 1) for id in (1, 2, 3)]
    assert table.write(*changes) == Written(left=changes, trouble="database is locked")
    assert tries == 3


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
def test_a_row_that_somebody_has_locked_waits_and_the_others_are_written(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock may be held for hours."""
    for module in (_writing, _database):
        monkeypatch.setattr(module, "WAIT_FOR_LOCK", 1)
    engine: sa.Engine = request.getfixturevalue(kind)
    table = WrittenTable(engine)
    database = Database(engine.url.render_as_string(hide_password=False))
    changes = [table.change(id, 1) for id in (1, 2, 3)]
    with engine.connect() as other:
        other.execute(sa.text("select * from messages where id = 2 for update"))
        written = table.writer.write(database.engine, changes)
    database.engine.dispose()
    assert (written.count, written.left, written.locked) == (2, [changes[1]], {changes[1].row})
    assert [row[3] for row in table.content()] == ["Delivered", None, "Delivered"]


@pytest.mark.slow
def test_a_trigger_of_postgresql_that_refuses_a_row_costs_that_row(postgresql: sa.Engine) -> None:
    table = WrittenTable(postgresql)
    table.sql(
        "create function refuse() returns trigger as $$ begin if new.id = 2 then raise exception 'no'; end if; "
        "return new; end $$ language plpgsql"
    )
    table.sql("create trigger t before update on messages for each row execute function refuse()")
    written = table.write(table.change(1, 1), table.change(2, 1), table.change(3, 1))
    assert [(change.row, reason) for change, reason in written.failed] == [(table.rows[2], "no")]
    assert written.count == 2
