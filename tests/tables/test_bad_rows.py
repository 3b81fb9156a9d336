"""Rows whose id, phone or time can not be used: they end by themselves, and are asked when they were changed."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
import sqlalchemy as sa
from helpers import PHONE
from table_support import OUT, Office, running, told, until

from smsc_status import ConfigError
from smsc_status.tables import _bad
from smsc_status.tables._database import Database
from smsc_status.tables._rows import OpenRows

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("inline")]


async def test_a_bad_phone_is_the_rows_outcome_and_is_asked_when_it_was_changed(engine: sa.Engine) -> None:
    office = Office(engine)
    office.sql("insert into messages (id, phone) values (1, 'none'), (2, null)")
    with told() as log:
        async with office.client, running(office.sync()) as sync:
            await until(lambda: office.rows() == [(1, None, "ConfigError"), (2, None, "ConfigError")])
            await until(lambda: sync.stats().bad_rows == 2)
            await anyio.sleep(60)
            assert office.asked() == 0
            office.send(1)
            office.sql("update messages set phone = :phone where id = 1", phone=PHONE)
            await until(lambda: office.outcome(1) == "Delivered")
            office.sql("delete from messages where id = 2")
            await until(lambda: sync.stats().bad_rows == 0)
    assert log.about("row of id 1: its phone can't be used")
    assert not log.about("none")


async def test_a_bad_row_that_was_mended_while_nobody_ran_is_found(sqlite: sa.Engine) -> None:
    office = Office(sqlite)
    office.insert(1)
    office.sql("update messages set outcome = 'ConfigError'")
    async with office.client, running(office.sync()):
        await until(lambda: office.outcome(1) == "Delivered")


async def test_bad_rows_are_looked_at_in_turns_and_not_without_end(
    sqlite: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows known longest are forgotten."""
    monkeypatch.setattr(_bad, "LOOKED_AT_ONCE", 1)
    monkeypatch.setattr(_bad, "MAX_BAD", 3)
    office = Office(sqlite)
    for id in (1, 2, 3, 4, 5):
        office.sql("insert into messages (id, phone, outcome) values (:id, 'none', 'ConfigError')", id=id)
    async with office.client, running(office.sync()) as sync:
        await until(lambda: sync.stats().bad_rows == 3)
        for id in (1, 4, 5):
            office.send(id)
            office.sql("update messages set phone = :phone where id = :id", phone=PHONE, id=id)
        await until(lambda: {id for id, _, outcome in office.rows() if outcome == "Delivered"} == {4, 5})
        office.sql("insert into messages (id, phone) values (6, 'none'), (7, 'none'), (8, 'none'), (9, 'none')")
        await until(lambda: sync.stats().bad_rows == 3)
        await anyio.sleep(10)
        assert sync.stats().bad_rows == 3


async def test_bad_rows_that_are_bad_still_are_not_opened_again(sqlite: sa.Engine) -> None:
    office = Office(sqlite)
    opened: list[str] = []

    def note(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        opened.extend([statement] * ("SET outcome=NULL" in statement))

    office.sql("insert into messages (id, phone, outcome) values (1, 'none', 'ConfigError'), (2, null, null)")
    sa.event.listen(sqlite, "before_cursor_execute", note)
    async with office.client, running(office.sync()) as sync:
        await until(lambda: sync.stats().bad_rows == 2)
        await anyio.sleep(20)
    assert opened == []


async def test_the_rows_of_earlier_runs_are_looked_for_again_if_that_fails_and_nothing_waits_for_it(
    sqlite: sa.Engine,
) -> None:
    office, failures = Office(sqlite), [2]
    office.insert(1)
    office.insert(2, [(100, 1, 0)])
    office.sql("update messages set outcome = 'ConfigError' where id = 1")

    def fail(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "outcome IN (" in statement and failures[0]:
            assert "LIMIT" in statement
            failures[0] -= 1
            raise sa.exc.OperationalError("", None, Exception("it takes too long"))

    sa.event.listen(sqlite, "before_cursor_execute", fail)
    async with office.client, running(office.sync()) as sync:
        await until(lambda: sync.stats().has_all)
        assert failures == [1]
        assert sync.stats().is_database_reached
        await until(lambda: office.outcome(1) == "Delivered")
    assert failures == [0]


async def test_looks_and_writes_do_not_wait_for_the_rows_of_earlier_runs(
    sqlite: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a large table they may take minutes to find."""
    office, calls = Office(sqlite), []
    office.insert(1)

    async def take_for_ever(*given: object) -> None:
        calls.append(given)
        await anyio.sleep_forever()

    monkeypatch.setattr(Database, "read_aside", take_for_ever)
    async with office.client, running(office.sync()):
        await until(lambda: office.outcome(1) == "Delivered")
    assert len(calls) == 1


async def test_an_error_of_the_server_about_a_value_is_no_time_that_the_driver_cannot_read(sqlite: sa.Engine) -> None:
    """So the rows are not read once more."""

    class InvalidText(Exception):
        sqlstate = "22P02"

    office, tries = Office(sqlite), []

    def fail(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "ORDER BY" in statement:
            tries.append(statement)
            raise sa.exc.DataError("", None, InvalidText("invalid input syntax"))

    sa.event.listen(sqlite, "before_cursor_execute", fail)
    with pytest.raises(ConfigError, match="invalid input syntax"):
        await office.sync().open()
    assert len(tries) == 1


async def test_an_id_with_invisible_characters_is_followed_once(sqlite: sa.Engine) -> None:
    """Its message is not what the database has, letter by letter, but its row has not changed."""
    office = Office(sqlite, f"ref int primary key, id text, phone text, {OUT}")
    office.send(1, [(0, 0, 0), (30, 1, 0)])
    office.sql("insert into messages (ref, id, phone) values (1, :id, :phone)", id="1\u200e", phone=f"{PHONE}\u00a0")
    async with office.client, running(office.sync()):
        await until(lambda: office.rows("status") == [(0,)])
        await anyio.sleep(10)
        assert office.client.stats().tracked == 1
        await until(lambda: office.rows("outcome") == [("Delivered",)])


@pytest.mark.slow
async def test_a_number_that_is_none_is_a_bad_id_and_is_not_asked_again(postgresql: sa.Engine) -> None:
    """NaN does not equal itself."""
    office = Office(postgresql, f"ref int primary key, id double precision, phone text, {OUT}")
    office.sql("insert into messages (ref, id, phone) values (1, 'NaN', :phone)", phone=PHONE)
    with told() as log:
        async with office.client, running(office.sync()) as sync:
            await until(lambda: sync.stats().bad_rows == 1)
            await anyio.sleep(10)
            assert office.rows("outcome") == [("ConfigError",)]
            assert sync.stats().bad_rows == 1
    assert len(log.about("its id can't be used")) == 1


@pytest.mark.slow
@pytest.mark.measured
async def test_a_time_that_the_driver_cannot_read_is_that_row_s_alone(postgresql: sa.Engine) -> None:
    """PostgreSQL has times that Python has not."""
    office = Office(postgresql)
    for id, sent_at in ((1, "infinity"), (2, "2026-03-10 09:00:00"), (3, "20226-03-10 09:00:00")):
        office.insert(id)
        office.sql("update messages set sent_at = cast(:at as timestamp) where id = :id", at=sent_at, id=id)
    with told() as log:
        async with office.client, running(office.sync()):
            await until(lambda: {row[2] for row in office.rows()} == {"Delivered"})
    assert len(log.about("; its message is followed without")) == 2
    assert not log.about("the database does not do its work")


async def test_what_the_vendor_refuses_is_asked_again_only_when_it_was_changed(sqlite: sa.Engine) -> None:
    office = Office(sqlite)
    office.insert(1)
    office.sql("update messages set outcome = 'ParametersError'")
    async with office.client, running(office.sync()) as sync:
        await until(lambda: sync.stats().bad_rows == 1)
        await anyio.sleep(30)
        assert office.asked() == 0
        office.send(1, phone="79991112233")
        office.sql("update messages set phone = '79991112233'")
        await until(lambda: office.outcome(1) == "Delivered")


TEXT_KEY = f"number text primary key, id bigint, phone varchar(40), {OUT}"


def _insert(office: Office, id: int, number: str | None) -> None:
    office.send(id)
    statement = "insert into messages (number, id, phone) values (:number, :id, :phone)"
    office.sql(statement, number=number, id=id, phone=PHONE)


async def test_a_row_without_a_key_is_left_alone_and_reported(sqlite: sa.Engine) -> None:
    """Nothing could be written into it, so it would be asked for again and again."""
    office = Office(sqlite, TEXT_KEY)
    _insert(office, 1, None)
    _insert(office, 2, "b")
    with told() as log:
        async with office.client, running(office.sync()):
            await until(lambda: office.outcome(2) == "Delivered")
            await anyio.sleep(60)
    assert office.outcome(1) is None
    assert log.about("rows that are left alone, because their primary key is NULL: 1")
    assert not any("id=1&" in str(body) for body in office.network.bodies)


@pytest.mark.slow
@pytest.mark.parametrize("column", ["number", "phone"])
async def test_a_text_that_is_not_utf_8_costs_its_row_alone(
    sqlite: sa.Engine, column: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OpenRows.sweep, "__defaults__", (1,))  # so that a page ends with the row
    office = Office(sqlite, TEXT_KEY)
    _insert(office, 1, "a")
    _insert(office, 2, "b")
    office.sql(f"update messages set {column} = cast(x'38ff' as text) where id = 1")
    with told() as log:
        async with office.client, running(office.sync()):
            await until(lambda: office.outcome(2) == "Delivered")
            await anyio.sleep(600)
    assert office.outcome(1) is None
    assert log.about("row of id 1: ")
    assert office.asked() < 20


async def test_a_bad_row_whose_key_is_not_utf_8_is_not_looked_at_again(sqlite: sa.Engine) -> None:
    office = Office(sqlite, TEXT_KEY)
    office.sql("insert into messages (number, id, outcome) values (cast(x'38ff' as text), 1, 'ConfigError')")
    async with office.client, running(office.sync()) as sync:
        await anyio.sleep(10)
        assert sync.stats().bad_rows == 0
        _insert(office, 2, "b")
        await until(lambda: office.outcome(2) == "Delivered")
