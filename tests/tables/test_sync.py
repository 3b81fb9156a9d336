"""A table kept current, in virtual time."""

from __future__ import annotations

import sqlite3
from contextlib import aclosing, closing
from functools import partial
from typing import Any

import anyio
import pytest
import sqlalchemy as sa
from helpers import PHONE, client_of
from table_support import IN, OUT, Office, running, told, until

from smsc_status import AuthError, ClientClosed, ConfigError, DatabaseUnavailable
from smsc_status.tables import Columns, TableSync, _tally
from smsc_status.tables import _following as following_module
from smsc_status.tables import _rows as rows_module

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("inline")]


def has_rows(sync: TableSync, count: int) -> bool:
    return sync.stats().open_rows == count


async def test_each_change_is_written_until_the_message_is_final(engine: sa.Engine) -> None:
    office = Office(engine)
    office.insert(1, [(5, 0, 0), (60, 1, 0)])
    async with office.client, running(office.sync()) as sync:
        await until(lambda: office.rows() == [(1, 0, None)])
        await until(lambda: office.rows() == [(1, 1, "Delivered")])
        (changed_at, checked_at), *_ = office.rows("changed_at, checked_at")
        assert changed_at < checked_at
        assert sync.stats().done == {"Delivered": 1}
        assert sync.stats().open_rows == 0


async def test_a_new_row_is_asked_within_two_seconds(sqlite: sa.Engine) -> None:
    """It is found by the next look, and a young message is asked singly."""
    office = Office(sqlite)
    async with office.client, running(office.sync()) as sync:
        await until(lambda: sync.stats().looks > 2)
        for id in range(1, 6):
            office.send(id, [(0.1, 0, 0), (500, 1, 0)])
            office.sql("insert into messages (id, phone) values (:id, :phone)", id=id, phone=PHONE)
            assert await until(partial(has_rows, sync, id), step=0.1) <= 2.0
            await anyio.sleep(0.37)


async def test_a_change_is_written_within_half_a_second(sqlite: sa.Engine) -> None:
    office = Office(sqlite)
    office.insert(1)
    async with office.client, running(office.sync()) as sync:
        await until(lambda: sync.stats().unwritten, step=0.02)
        assert await until(lambda: not sync.stats().unwritten, step=0.02) <= 0.5


async def test_an_ended_row_is_not_asked_again(sqlite: sa.Engine) -> None:
    office = Office(sqlite)
    office.insert(1)
    async with office.client, running(office.sync()):
        await until(lambda: office.outcome(1))
        asked = office.asked()
        await anyio.sleep(100)
        assert office.asked() == asked


async def test_a_later_run_goes_on_and_writes_only_what_differs(engine: sa.Engine) -> None:
    office = Office(engine)
    office.insert(1, [(1, 0, 0), (60, 1, 0)])
    async with office.client:
        async with running(office.sync()):
            await until(lambda: office.rows() == [(1, 0, None)])
        before = office.rows("*")
        async with running(office.sync()) as sync:
            asked = office.asked()
            await until(lambda: office.asked() > asked)
            await anyio.sleep(1)
            assert office.rows("*") == before
            assert sync.stats().written == 0
            await until(lambda: office.outcome(1) == "Delivered")


async def test_a_deleted_row_is_let_go(sqlite: sa.Engine) -> None:
    """The sweep notices it, and after one more answer its message is not asked again."""
    office = Office(sqlite)
    office.insert(1, [(1, 0, 0), (5000, 1, 0)])
    office.insert(2, [(1, 0, 0), (5000, 1, 0)])
    async with office.client, running(office.sync()) as sync:
        await until(lambda: sync.stats().written == 2)
        office.sql("delete from messages where id = 1")
        await until(lambda: sync.stats().open_rows == 1)
        await until(lambda: office.client.stats().tracked == 1)


async def test_a_row_that_is_deleted_before_its_change_is_written_is_let_go(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The UPDATE has no effect."""
    monkeypatch.setattr(following_module, "LOOK_EVERY", 10_000.0)
    office = Office(engine)
    office.insert(1, [(60, 0, 0), (5000, 1, 0)])
    async with office.client, running(office.sync()) as sync:
        await until(lambda: sync.stats().open_rows == 1)
        office.sql("delete from messages")
        await until(lambda: sync.stats().open_rows == 0)


async def test_a_row_that_is_another_message_now_gets_that_messages_answer(engine: sa.Engine) -> None:
    """The answer of the former message is not written."""
    office = Office(engine)
    office.insert(1, [(1, 0, 0), (40, 3, 0)])
    office.send(1, [(1, 0, 0), (60, 1, 0)], phone="79991112233")
    async with office.client, running(office.sync()):
        await until(lambda: office.rows() == [(1, 0, None)])
        office.sql("update messages set phone = '79991112233'")
        await until(lambda: office.outcome(1))
        assert office.rows() == [(1, 1, "Delivered")]


async def test_a_row_that_somebody_opens_again_is_asked_again(sqlite: sa.Engine) -> None:
    office = Office(sqlite)
    office.insert(1)
    async with office.client, running(office.sync()):
        await until(lambda: office.outcome(1))
        office.sql("update messages set outcome = null")
        await until(lambda: office.outcome(1))


async def test_the_condition_narrows_the_rows(engine: sa.Engine) -> None:
    office = Office(engine, f"{IN}, {OUT}, channel varchar(9)")
    for id in (1, 2):
        office.insert(id)
    office.sql("update messages set channel = 'sms:%' where id = 1")
    office.sql("insert into messages (id, phone, outcome) values (3, :phone, 'ConfigError')", phone=PHONE)
    async with office.client, running(office.sync(where="channel = 'sms:%'")) as sync:
        await until(lambda: office.outcome(1))
        assert sync.stats().open_rows == 0
        await anyio.sleep(5)
        assert office.rows() == [(1, 1, "Delivered"), (2, None, None), (3, None, "ConfigError")]


async def test_the_fields_that_have_columns_are_written_at_the_level_that_they_need(engine: sa.Engine) -> None:
    office = Office(engine, f"{IN}, {OUT}, cost numeric(9, 4), operator text, sender text")
    office.insert(1)
    sync = office.sync(columns=Columns(fields={"sender_id": "sender"}))
    async with office.client, running(sync):
        await until(lambda: office.outcome(1))
    assert sync.fields == ["cost", "operator", "sender_id"]
    [(cost, operator, sender)] = office.rows("cost, operator, sender")
    assert cost > 0
    assert operator
    assert sender


async def test_missing_columns_are_made_if_asked(engine: sa.Engine) -> None:
    office = Office(engine, IN)
    office.insert(1)
    async with office.client:
        with pytest.raises(
            ConfigError, match=r"missing status, err, changed_at, checked_at, outcome; let them .*by: ALTER"
        ):
            await office.sync().open()
        async with running(office.sync(create_columns=True)):
            await until(lambda: office.outcome(1) == "Delivered")


async def test_the_statements_in_the_error_add_the_columns(engine: sa.Engine) -> None:
    office = Office(engine, IN)
    with pytest.raises(ConfigError) as caught:
        await office.sync().open()
    for statement in str(caught.value).partition("add them by: ")[2].split("; "):
        office.sql(statement)
    await office.sync().open()


async def test_once_checks_each_open_row_once(sqlite: sa.Engine) -> None:
    office = Office(sqlite)
    office.insert(1, [(0.1, 1, 0)])
    office.insert(2, [(0.1, 0, 0), (500, 1, 0)])
    office.sql("insert into messages (id, phone) values (3, 'none')")
    await anyio.sleep(1)
    async with office.client, office.sync() as sync:
        await sync.check_once()
        assert office.rows() == [(1, 1, "Delivered"), (2, 0, None), (3, None, "ConfigError")]
        assert sync.stats().unwritten == 0


async def test_once_a_message_without_an_answer_stays_open(sqlite: sa.Engine) -> None:
    office = Office(sqlite, http_503=1.0)
    office.insert(1)
    with told() as log:
        async with office.client, office.sync() as sync:
            await sync.check_once()
    assert office.rows() == [(1, None, None)]
    assert sync.stats().unanswered == 1
    assert log.about("row of id 1: no answer")


async def test_it_can_be_cancelled_and_what_is_known_is_written(
    sqlite: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following_module, "GATHER", 1000.0)
    office = Office(sqlite)
    office.insert(1)
    async with office.client, office.sync() as sync, anyio.create_task_group() as tasks:
        tasks.start_soon(sync.run)
        await until(lambda: sync.stats().unwritten)
        assert office.rows() == [(1, None, None)]
        tasks.cancel_scope.cancel()
    assert office.rows() != [(1, None, None)]


async def test_stopping_writes_what_is_known(sqlite: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following_module, "GATHER", 1000.0)
    office = Office(sqlite)
    office.insert(1)
    async with office.client:
        async with running(office.sync()) as sync:
            await until(lambda: sync.stats().unwritten)
        assert office.rows() != [(1, None, None)]
    sync.stop()


async def test_a_closed_client_ends_it(sqlite: sa.Engine) -> None:
    office = Office(sqlite)
    office.insert(1, [(5000, 1, 0)])
    async with office.client, office.sync() as sync, anyio.create_task_group() as tasks:

        async def close() -> None:
            await until(lambda: sync.stats().written)
            await office.client.aclose()

        tasks.start_soon(close)
        with pytest.raises(ClientClosed):
            await sync.run()


async def test_a_refused_account_ends_it(sqlite: sa.Engine) -> None:
    office = Office(sqlite)
    office.client = client_of(office.emulator, apikey="another")
    office.insert(1)
    async with office.client, office.sync() as sync:
        with pytest.raises(AuthError), anyio.fail_after(60):
            await sync.run()


async def test_a_message_is_checked_by_the_guarantees_of_its_own_row_only(sqlite: sa.Engine) -> None:
    """Two rows of the same message are both written."""
    office = Office(sqlite, f"number integer primary key, id bigint, phone text, {OUT}")
    office.insert(7)
    office.sql("insert into messages (id, phone) values (7, :phone)", phone=PHONE)
    async with office.client, running(office.sync()):
        await until(lambda: office.rows() == [(7, 1, "Delivered")] * 2)


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("id bigint, phone varchar(40), primary key (id, phone)", ("id, phone", "1, '79990000000'")),
        ("ref varchar(40) primary key, id bigint, phone varchar(40)", ("ref, id, phone", "'a', 1, '79990000000'")),
        ("ref varchar(40) primary key, id varchar(40), phone bigint", ("ref, id, phone", "'a', '1', 79990000000")),
        ("id numeric(20) primary key, phone numeric(20)", ("id, phone", "1, 79990000000")),
        ("ref int primary key, id char(9), phone char(20)", ("ref, id, phone", "1, '1', '79990000000'")),
    ],
    ids=["composite", "textual", "numeric phone", "numeric id", "padded"],
)
async def test_keys_ids_and_phones_may_have_any_type(engine: sa.Engine, key: str, values: tuple[str, str]) -> None:
    office = Office(engine, f"{key}, {OUT}" if "primary key (" not in key else f"{OUT}, {key}")
    office.send(1)
    office.sql(f"insert into messages ({values[0]}) values ({values[1]})")
    async with office.client, running(office.sync()):
        await until(lambda: [row[0] for row in office.rows("outcome")] == ["Delivered"])


@pytest.mark.slow
async def test_columns_may_have_the_type_of_a_domain(postgresql: sa.Engine) -> None:
    """A domain is a type with a condition. The one of the key is a domain of a domain."""
    office = Office(postgresql)
    office.sql("create domain phone as varchar(20) check (value ~ '^[0-9]+$')")
    office.sql("create domain number as bigint check (value > -9)")
    office.sql("create domain key as number")
    office.sql("create domain instant as timestamp")
    office.sql("create domain price as numeric(8, 2)")
    office.sql("create domain result as text")
    office.sql("drop table messages")
    office.sql(
        "create table messages (key key primary key, id number, phone phone, sent_at instant, status number, "
        "err number, changed_at instant, checked_at instant, outcome result, cost price)"
    )
    office.send(1)
    office.sql(
        "insert into messages (key, id, phone, sent_at) values (5, 1, :phone, '2026-03-10 09:00:00')", phone=PHONE
    )
    async with office.client, running(office.sync()):
        await until(lambda: [row[0] for row in office.rows("outcome")] == ["Delivered"])
    [(checked_at,)] = office.rows("checked_at")
    assert checked_at.isoformat()[:13] == "2026-03-10T09"  # Moscow's


async def test_a_time_of_sending_that_cannot_be_read_is_reported_and_ignored(sqlite: sa.Engine) -> None:
    office = Office(sqlite)
    office.insert(1)
    office.sql("update messages set sent_at = 'yesterday'")
    with told() as log:
        async with office.client, running(office.sync()):
            await until(lambda: office.outcome(1) == "Delivered")
    assert log.about("row of id 1: sent_at 'yesterday': expected a date and time")


@pytest.mark.parametrize(
    "options",
    [
        {"table": ""},
        {"table": 7},
        {"where": " "},
        {"where": 7},
        {"timezone": "UTC"},
        {"columns": {"id": "id"}},
    ],
)
async def test_a_bad_argument_is_refused_at_once(sqlite: sa.Engine, options: dict[str, Any]) -> None:
    office = Office(sqlite)
    [name] = options
    with pytest.raises(ConfigError, match=f"{name} .*: expected"):
        office.sync(**options)


async def test_a_condition_that_the_database_refuses_is_refused_at_the_start(engine: sa.Engine) -> None:
    office = Office(engine)
    with pytest.raises(ConfigError, match=r"^where 'nonsense = 1': the database refuses it: .*nonsense") as caught:
        await office.sync(where="nonsense = 1").open()
    assert caught.value.__context__ is None


async def test_a_database_that_fails_at_the_start_is_no_wrong_condition(
    sqlite: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    office, is_lost = Office(sqlite), [True]

    def fail(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "ORDER BY" in statement:
            raise sa.exc.OperationalError("", None, Exception("away"), connection_invalidated=is_lost[0])

    sa.event.listen(sqlite, "before_cursor_execute", fail)
    with pytest.raises(DatabaseUnavailable, match="can't be reached: away"):
        await office.sync(where="id = 1").open()
    is_lost[0] = False
    with pytest.raises(DatabaseUnavailable, match="can't be reached: away"):
        await office.sync().open()


async def test_columns_that_another_process_makes_at_the_same_time_are_used(sqlite: sa.Engine) -> None:
    office, others = Office(sqlite, IN), [sqlite3.connect(str(sqlite.url.database))]
    office.insert(1)

    def make_first(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("ALTER TABLE") and others:
            with closing(others.pop()) as other:
                for column in OUT.split(", "):
                    other.execute(f"alter table messages add column {column}")

    sa.event.listen(sqlite, "before_cursor_execute", make_first)
    async with office.client, running(office.sync(create_columns=True)):
        await until(lambda: office.outcome(1) == "Delivered")
    assert others == []


async def test_columns_that_cannot_be_made_are_told(sqlite: sa.Engine) -> None:
    office = Office(sqlite, IN)

    def refuse(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("ALTER TABLE"):
            raise sa.exc.ProgrammingError("", None, Exception("must be owner of table messages"))

    sa.event.listen(sqlite, "before_cursor_execute", refuse)
    with pytest.raises(ConfigError, match="must be owner of table messages"):
        await office.sync(create_columns=True).open()


async def test_an_option_that_the_driver_does_not_know_is_refused(sqlite: sa.Engine) -> None:
    """The driver's own error is no error of SQLAlchemy."""
    office = Office(sqlite)
    with pytest.raises(ConfigError, match=r"refuses it: .*nonsense") as caught:
        await TableSync(office.client, "mysql://u:hidden@127.0.0.1:1/d?nonsense=1", table="messages").open()
    assert "hidden" not in str(caught.value)
    assert caught.value.__context__ is None


async def test_run_needs_an_opened_table(sqlite: sa.Engine) -> None:
    office = Office(sqlite)
    with pytest.raises(ConfigError, match="not opened"):
        await office.sync().run()
    assert office.sync().fields == []


@pytest.mark.parametrize("type", ["varchar(64)", "text"])
async def test_the_wanted_index_is_named_where_it_is_missing(engine: sa.Engine, type: str) -> None:
    office = Office(engine, f"{IN}, {OUT.replace('varchar(64)', type)}")
    with told() as log:
        await office.sync().open()
        [text] = log.about("needs an index: ")
        office.sql(text.partition("needs an index: ")[2])
        await office.sync().open()
    assert len(log.about("needs an index")) == 1


async def test_rows_are_reported_one_by_one_only_at_first(sqlite: sa.Engine) -> None:
    office = Office(sqlite)
    for id in range(1, 31):
        office.sql("insert into messages (id, phone) values (:id, 'none')", id=id)
    with told() as log:
        async with office.client, running(office.sync()) as sync:
            await until(lambda: sync.stats().bad_rows == 30)
    assert len(log.about("its phone can't be used")) == _tally.REPORTED_AT_ONCE
    assert log.about("further ones are only counted")


async def test_at_the_start_no_more_is_read_than_can_be_tracked(
    sqlite: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading waits for the tracker, which takes a million rows only one by one."""
    monkeypatch.setattr(following_module, "MAX_FOUND", 5)
    monkeypatch.setattr(following_module, "NEWEST_AT_START", 1)
    monkeypatch.setattr(rows_module.OpenRows.sweep, "__defaults__", (10,))
    office = Office(sqlite)
    for id in range(1, 61):
        office.sql("insert into messages (id, phone) values (:id, :phone)", id=id, phone=PHONE)
    newest: list[str] = []

    def note(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        newest.extend([statement] * ("DESC" in statement))

    async with office.client, office.sync() as sync, anyio.create_task_group() as tasks:
        # To take single steps of the work, which `run` takes in its own order.
        following = sync._begin()
        sa.event.listen(sqlite, "before_cursor_execute", note)
        tasks.start_soon(following.find_on)
        await anyio.sleep(10)
        assert sync.stats().open_rows == 11  # the newest, and one page
        async with aclosing(following.messages()) as messages:
            ids = {(await anext(messages)).id for _ in range(60)}
        assert ids == set(range(1, 61))
        await until(lambda: sync.stats().has_all, step=0.01)
        assert len(newest) <= 2  # one a second
        tasks.cancel_scope.cancel()


async def test_times_of_sending_are_shared_and_not_kept_without_end(
    sqlite: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows_module, "MOST_SECONDS", 2)
    office = Office(sqlite)
    for id in range(1, 7):
        office.insert(id)
        office.sql("update messages set sent_at = :at where id = :id", id=id, at=f"2026-03-10 08:59:5{id}")
    async with office.client, running(office.sync()):
        await until(lambda: {row[2] for row in office.rows()} == {"Delivered"})


async def test_rows_with_a_composite_key_are_deleted_and_changed_as_others(engine: sa.Engine) -> None:
    office = Office(engine, f"id bigint, part int, phone varchar(40), {OUT}, primary key (id, part)")
    office.send(1)
    office.sql("insert into messages (id, part, phone) values (1, 1, 'none'), (1, 2, :phone)", phone=PHONE)
    async with office.client, running(office.sync()) as sync:
        await until(lambda: sorted(row[2] for row in office.rows() if row[2]) == ["ConfigError", "Delivered"])
        office.sql("update messages set phone = :phone where part = 1", phone=PHONE)
        await until(lambda: {row[2] for row in office.rows()} == {"Delivered"})
        assert sync.stats().bad_rows == 0


async def test_a_statement_that_the_database_does_not_understand_is_a_wrong_argument(
    sqlite: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    office = Office(sqlite)

    def refuse(*_: Any) -> None:
        raise sa.exc.ProgrammingError("SELECT", None, Exception("syntax error"))

    sa.event.listen(sqlite, "before_cursor_execute", refuse)
    with pytest.raises(ConfigError, match="the database or its driver refuses it: syntax error"):
        await office.sync().open()
