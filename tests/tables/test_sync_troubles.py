"""A database that refuses, locks, reads only or fails while a table is kept current."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest
import sqlalchemy as sa
from helpers import PHONE
from table_support import IN, OUT, Office, running, told, until

from smsc_status import Archived, DatabaseUnavailable, FailedCheck, StatusRecord
from smsc_status.tables import _following as following_module
from smsc_status.tables import _writing
from smsc_status.tables._rows import RowRef
from smsc_status.tables._writing import change_of

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("inline")]


def refuse_updates(engine: sa.Engine, text: str) -> Callable[..., None]:
    """The database refuses each update with this text, until the listener that is returned is removed."""

    def refuse(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("UPDATE"):
            raise sa.exc.OperationalError("", None, Exception(text))

    sa.event.listen(engine, "before_cursor_execute", refuse)
    return refuse


async def test_a_row_that_fails_is_left_alone_until_it_changes(engine: sa.Engine) -> None:
    """Its message is not asked again for nothing."""
    office = Office(engine, f"{IN}, {OUT}, operator varchar(40), check (length(operator) < 1)")
    office.insert(1)
    with told() as log:
        async with office.client, running(office.sync()) as sync:
            await until(lambda: sync.stats().failed_writes and not office.client.stats().tracked)
            asked = office.asked()
            await anyio.sleep(60)
            assert office.asked() == asked
            assert sync.stats().open_rows == 1
            office.send(1, phone="79991112233")
            office.sql("update messages set phone = '79991112233'")
            await until(lambda: office.asked() > asked)
    assert log.about("row of id 1: not written, and left alone")


async def test_an_end_that_a_trigger_ignores_is_not_asked_for_again(sqlite: sa.Engine) -> None:
    office = Office(sqlite)
    office.insert(1)
    office.sql("create trigger t before update on messages begin select raise(ignore); end")
    async with office.client, running(office.sync()) as sync:
        await until(lambda: office.asked() and not sync.stats().unwritten and not office.client.stats().tracked)
        asked = office.asked()
        await anyio.sleep(60)
        assert office.asked() == asked
        assert sync.stats().done == {}


async def test_what_cannot_be_written_at_the_end_is_told(sqlite: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    office = Office(sqlite)
    office.insert(1)
    refuse_updates(sqlite, "lock timeout")
    with told() as log:
        async with office.client, running(office.sync()) as sync:
            await until(lambda: sync.stats().unwritten)
            stopped_at = anyio.current_time()
        assert anyio.current_time() - stopped_at < 5.0
    assert log.about("1 changes could not be written")
    assert len(log.about("lock timeout")) == 1


async def test_a_database_that_only_reads_is_in_trouble_until_it_writes(sqlite: sa.Engine) -> None:
    """Looks that succeed do not hide it."""
    office = Office(sqlite)
    office.insert(1)
    refuse = refuse_updates(sqlite, "permission denied")
    with told() as log:
        async with office.client, running(office.sync()) as sync:
            await until(lambda: not sync.stats().is_database_reached)
            looks = sync.stats().looks
            await until(lambda: sync.stats().looks > looks + 10)
            assert not sync.stats().is_database_reached
            sa.event.remove(sqlite, "before_cursor_execute", refuse)
            await until(lambda: office.outcome(1) and sync.stats().is_database_reached)
    assert len(log.about("the database does not do its work")) == 1
    assert len(log.about("the database does its work again")) == 1


async def test_a_row_that_waits_is_trouble_only_if_nothing_else_can_be_written(sqlite: sa.Engine) -> None:
    office = Office(sqlite)
    for id in range(1, 4):
        office.insert(id)

    def refuse(_conn: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        if statement.startswith("UPDATE") and any(2 in each for each in (parameters if many else [parameters])):
            raise sa.exc.OperationalError("", None, Exception("lock timeout"))

    async with office.client, office.sync() as sync:
        # To take single steps of the work, which `run` takes in its own order.
        following = sync._begin()
        await following._sweep_on()
        for row in following.held.values():
            following._put(change_of(row, StatusRecord(status=1, err=0)))
        sa.event.listen(sqlite, "before_cursor_execute", refuse)
        assert not await following.write_some()
        assert [row[2] for row in office.rows()] == ["Delivered", None, "Delivered"]
        assert sync.stats().is_database_reached
        assert not await following.write_some()
        assert not sync.stats().is_database_reached


async def test_rows_that_somebody_has_locked_hold_up_no_others(
    sqlite: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are left alone for half a minute. That is no trouble of the database's."""
    office, locked = Office(sqlite), set(range(101, 108))
    for id in range(101, 110):
        office.insert(id)
    monkeypatch.setattr(_writing, "is_locked", lambda error: "lock" in str(error))

    def refuse(_conn: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        rows = parameters if many else [parameters]
        if statement.startswith("UPDATE") and any(locked.intersection(row) for row in rows):
            raise sa.exc.OperationalError("", None, Exception("lock timeout"))

    async with office.client, office.sync() as sync:
        # To take single steps of the work, which `run` takes in its own order.
        following = sync._begin()
        await following._sweep_on()
        for row in following.held.values():
            following._put(change_of(row, StatusRecord(status=0, err=0)))
            following._put(change_of(row, StatusRecord(status=1, err=0)))
        sa.event.listen(sqlite, "before_cursor_execute", refuse)
        for _ in range(2):  # of each batch, five locked rows are tried
            assert not await following.write_some()
        assert [row[2] for row in office.rows()] == [None] * 7 + ["Delivered"] * 2
        assert sync.stats().is_database_reached
        assert not await following.write_some()  # there is nothing that may be tried
        locked.clear()
        await anyio.sleep(31)
        assert await following.write_some()
        assert [row[2] for row in office.rows()] == ["Delivered"] * 9
        assert not following.unwritten


async def test_which_rows_are_there_is_asked_again_if_the_question_fails(
    sqlite: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following_module, "LOOK_EVERY", 10_000.0)
    office, failures = Office(sqlite), [3]
    office.insert(1, [(60, 1, 0)])

    def fail(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "outcome \nFROM" in statement and "id IN" in statement and failures[0]:
            failures[0] -= 1
            raise sa.exc.OperationalError("", None, Exception("lock timeout"))

    sa.event.listen(sqlite, "before_cursor_execute", fail)
    async with office.client, running(office.sync()) as sync:
        await until(lambda: sync.stats().open_rows)
        office.sql("delete from messages")
        await until(lambda: not sync.stats().open_rows)
        assert failures == [0]


async def test_a_look_that_fails_is_tried_again(sqlite: sa.Engine) -> None:
    office, failures = Office(sqlite), [3]

    def fail(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "ORDER BY" in statement and failures[0] in (1, 2, 3):
            failures[0] -= 1
            raise sa.exc.OperationalError("", None, Exception("lock timeout"))

    office.insert(1)
    async with office.client, office.sync() as sync:
        sa.event.listen(sqlite, "before_cursor_execute", fail)
        async with running(sync, is_opened=True):
            await until(lambda: office.outcome(1) == "Delivered")
    assert failures == [0]


async def test_a_row_that_was_replaced_is_neither_written_nor_let_go_by_its_former_message(sqlite: sa.Engine) -> None:
    office = Office(sqlite)
    async with office.client, running(office.sync()) as sync:
        await until(lambda: sync.stats().is_leading)
        # To let go of a row at this very moment, which the work decides by itself.
        following = sync._following
        assert following is not None
        former, present = RowRef(1, PHONE, None, 1), RowRef(2, PHONE, None, 1)
        following.held[1] = present
        await following.take(FailedCheck(former, Archived("gone")))
        assert not following.unwritten
        following._let_go(former)
        assert following.held[1] is present


async def test_once_needs_a_database_that_answers(sqlite: sa.Engine) -> None:
    office = Office(sqlite)
    async with office.client, office.sync() as sync:
        office.sql("drop table messages")
        with pytest.raises(DatabaseUnavailable, match="the rows can't be read: no such table"):
            await sync.check_once()


async def test_once_does_not_wait_for_ever_for_a_database_that_writes_nothing(sqlite: sa.Engine) -> None:
    office = Office(sqlite)
    office.insert(1)
    refuse = refuse_updates(sqlite, "permission denied")
    async with office.client, office.sync() as sync:
        with pytest.raises(DatabaseUnavailable, match=r"changes can't be written \(1\): permission denied"):
            await sync.check_once()
        assert 60.0 < anyio.current_time() - office.began_at < 80.0
        sa.event.remove(sqlite, "before_cursor_execute", refuse)
        await sync.check_once()
    assert office.outcome(1) == "Delivered"


async def test_once_does_not_wait_for_ever_for_a_row_that_somebody_has_locked(
    sqlite: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    office = Office(sqlite)
    for id in (101, 102):
        office.insert(id, [(0, 1, 0)])
    monkeypatch.setattr(_writing, "is_locked", lambda error: True)

    def refuse(_conn: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        rows = parameters if many else [parameters]
        if statement.startswith("UPDATE") and any(101 in row for row in rows):
            raise sa.exc.OperationalError("", None, Exception("lock timeout"))

    sa.event.listen(sqlite, "before_cursor_execute", refuse)
    async with office.client, office.sync() as sync:
        with pytest.raises(DatabaseUnavailable, match="somebody has locked their rows"):
            await sync.check_once()
    assert [office.outcome(id) for id in (101, 102)] == [None, "Delivered"]
