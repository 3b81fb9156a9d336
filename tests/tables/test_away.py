"""The database is away, or rows become visible in another order than that of their keys. In virtual time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
import sqlalchemy as sa
from database_servers import PostgresServer
from helpers import PHONE
from table_support import OUT, Office, running, told, until

from smsc_status.tables import TableSync
from smsc_status.tables import _following as following_module
from smsc_status.tables import _gaps as gaps_module
from smsc_status.tables import _rows as rows_module

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("inline")]

Away = Callable[[], None]


def has_rows(sync: TableSync, count: int) -> bool:
    return sync.stats().open_rows == count


@contextmanager
def sqlite_away(path: Path) -> Iterator[tuple[sa.Engine, Away, Away]]:
    """Another process has the file locked."""
    engine = sa.create_engine(f"sqlite:///{path}", connect_args={"timeout": 0.0})
    blocker = sa.create_engine(f"sqlite:///{path}").connect()
    raw = blocker.connection.dbapi_connection
    assert raw is not None

    def lock() -> None:
        raw.cursor().execute("begin exclusive")

    yield engine, lock, raw.rollback
    blocker.close()
    engine.dispose()


@contextmanager
def postgres_away(server: PostgresServer) -> Iterator[tuple[sa.Engine, Away, Away]]:
    """The server is stopped and started again."""
    engine = sa.create_engine(server.url)
    yield engine, server.stop, server.start
    server.ensure()
    with engine.begin() as connection:
        connection.execute(sa.text("drop table messages"))
    engine.dispose()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def breakable(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[sa.Engine, Away, Away]]:
    """A database, how it goes away, and how it comes back."""
    if request.param == "sqlite":
        with sqlite_away(tmp_path / "app.db") as found:
            yield found
    else:
        with postgres_away(request.getfixturevalue("postgres_server")) as found:
            yield found


@pytest.mark.slow
async def test_what_is_known_while_the_database_is_away_is_written_when_it_is_back(
    breakable: tuple[sa.Engine, Away, Away],
) -> None:
    """Ten minutes. Messages that end meanwhile are not asked once more."""
    engine, go_away, come_back = breakable
    office = Office(engine)
    for id in range(1, 31):
        office.insert(id, [(1, 0, 0), (30 + 10 * id, 1, 0)])
    with told() as log:
        async with office.client, running(office.sync()) as sync:
            await until(lambda: sync.stats().written >= 30)
            go_away()
            await anyio.sleep(600)
            assert not sync.stats().is_database_reached
            assert office.client.stats().tracked == 0
            assert 20 <= sync.stats().unwritten <= 30
            come_back()
            asked = office.asked()
            await until(lambda: not sync.stats().unwritten)
            assert {outcome for _, _, outcome in office.rows()} == {"Delivered"}
            await until(lambda: sync.stats().is_database_reached)
            assert office.asked() == asked
            office.insert(100)
            await until(lambda: office.outcome(100))
    assert len(log.about("the database does not do its work")) == 1
    assert len(log.about("the database does its work again")) == 1


@pytest.mark.slow
@pytest.mark.measured
async def test_while_too_much_is_unwritten_nothing_more_is_taken(
    breakable: tuple[sa.Engine, Away, Away], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, go_away, come_back = breakable
    monkeypatch.setattr(following_module, "MAX_UNWRITTEN", 7)
    office = Office(engine)
    for id in range(1, 31):
        office.insert(id, [(1, 0, 0), (60, 1, 0)])
    async with office.client, running(office.sync()) as sync:
        await until(lambda: sync.stats().written >= 30)
        go_away()
        await anyio.sleep(120)
        assert sync.stats().unwritten == 7
        come_back()
        await until(lambda: not sync.stats().open_rows)
        assert {outcome for _, _, outcome in office.rows()} == {"Delivered"}


@pytest.mark.slow
async def test_a_row_that_was_committed_late_is_found_within_two_seconds(postgres_server: PostgresServer) -> None:
    """Its transaction began before that of a row that was found long ago."""
    engine = sa.create_engine(postgres_server.url)
    office = Office(engine)
    insert = sa.text("insert into messages (id, phone) values (:id, :phone)")
    for id in range(1, 5):
        office.send(id, [(5000, 1, 0)])
    async with office.client, running(office.sync()) as sync:
        with engine.connect() as early, engine.connect() as late:
            early.execute(insert, {"id": 1, "phone": PHONE})
            late.execute(insert, {"id": 2, "phone": PHONE})
            for id in (3, 4):
                office.sql(str(insert), id=id, phone=PHONE)
            await until(lambda: sync.stats().open_rows == 2)
            await anyio.sleep(30)
            late.commit()
            assert await until(partial(has_rows, sync, 3), step=0.1) <= 2.0
            await anyio.sleep(30)
            early.commit()
            assert await until(partial(has_rows, sync, 4), step=0.1) <= 2.0
    office.sql("drop table messages")
    engine.dispose()


@pytest.fixture(params=["postgresql", "mysql"])
def concurrent(request: pytest.FixtureRequest) -> sa.Engine:
    """An empty database in which several transactions insert rows at once."""
    engine: sa.Engine = request.getfixturevalue(request.param)
    return engine


def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that few rows are many: the sweep alone would need a minute for sixty rows."""
    for read, limit in (("newest", 5), ("between", 3), ("sweep", 1)):
        monkeypatch.setattr(getattr(rows_module.OpenRows, read), "__defaults__", (limit,))


@pytest.mark.slow
async def test_a_row_that_is_committed_behind_many_newer_ones_is_found_within_two_seconds(
    concurrent: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its key is a gap, because its transaction began before theirs."""
    small_pages(monkeypatch)
    office = Office(concurrent)
    insert = sa.text("insert into messages (id, phone) values (:id, :phone)")
    office.insert(1, [(5000, 1, 0)])
    async with office.client, running(office.sync()) as sync:
        await until(lambda: sync.stats().has_all)
        with concurrent.connect() as early, concurrent.connect() as late:
            early.execute(insert, [{"id": id, "phone": PHONE} for id in range(2, 12)])
            late.execute(insert, {"id": 15, "phone": PHONE})
            for id in (*range(12, 15), *range(16, 62)):
                office.sql(str(insert), id=id, phone=PHONE)
            await until(lambda: sync.stats().open_rows == 50)
            await anyio.sleep(10)
            late.commit()
            assert await until(partial(has_rows, sync, 51), step=0.1) <= 2.0
            await anyio.sleep(10)
            early.commit()
            assert await until(partial(has_rows, sync, 61), step=0.1) <= 2.0


async def test_many_rows_that_fill_a_gap_are_found_at_once(sqlite: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    small_pages(monkeypatch)
    office = Office(sqlite)
    office.insert(1, [(5000, 1, 0)])
    async with office.client, running(office.sync()) as sync:
        await until(lambda: sync.stats().has_all)
        for id in range(100, 110):
            office.insert(id, [(5000, 1, 0)])
        await until(lambda: sync.stats().open_rows == 11)
        office.sql(
            "with recursive n(i) as (select 2 union all select i + 1 from n where i < 99) "
            "insert into messages (id, phone) select i, :phone from n",
            phone=PHONE,
        )
        assert await until(partial(has_rows, sync, 109), step=0.1) <= 2.0


@pytest.mark.slow
@pytest.mark.measured
async def test_of_gaps_with_too_many_open_rows_in_between_the_lowest_are_given_up(
    sqlite: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a look costs no more than a page, and the sweep finds their rows."""
    small_pages(monkeypatch)
    monkeypatch.setattr(gaps_module, "MAX_RANGES", 1)
    lows: list[int] = []

    def note(_conn: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        lows.extend([parameters[0]] * ("id > ? AND messages.id < ?" in statement))

    office = Office(sqlite)
    office.insert(1, [(5000, 1, 0)])
    async with office.client, running(office.sync()) as sync:
        await until(lambda: sync.stats().has_all)
        for id in range(3, 40, 2):
            office.insert(id, [(5000, 1, 0)])
        await until(lambda: sync.stats().open_rows == 20)
        await anyio.sleep(3)
        sa.event.listen(sqlite, "before_cursor_execute", note)
        looks = sync.stats().looks
        await anyio.sleep(5)
        assert 3 < len(lows) <= sync.stats().looks - looks + 1  # one page each
        assert min(lows) > 30
        office.insert(38, [(5000, 1, 0)])
        assert await until(partial(has_rows, sync, 21), step=0.1) <= 2.0
        office.insert(10, [(5000, 1, 0)])
        assert await until(partial(has_rows, sync, 22), step=0.1) > 2.0


async def test_keys_that_are_no_numbers_have_no_gaps(sqlite: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite lets a text into a column of numbers."""
    small_pages(monkeypatch)
    office = Office(sqlite, f"key bigint primary key, id int, phone text, {OUT}")
    async with office.client, running(office.sync()) as sync:
        for id, key in enumerate([1, "a", 5, "b", 3], start=1):
            office.send(id, [(5000, 1, 0)])
            office.sql("insert into messages (key, id, phone) values (:key, :id, :phone)", key=key, id=id, phone=PHONE)
            await until(partial(has_rows, sync, id))


@pytest.mark.slow
async def test_rows_that_come_behind_many_newer_ones_are_found_by_the_sweep(
    sqlite: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever they are in the order of the keys."""
    monkeypatch.setattr(rows_module.OpenRows.newest, "__defaults__", (5,))
    monkeypatch.setattr(rows_module.OpenRows.sweep, "__defaults__", (10,))
    office = Office(sqlite)
    for id in range(100, 140):
        office.insert(id, [(5000, 1, 0)])
    async with office.client, running(office.sync()) as sync:
        await until(lambda: sync.stats().open_rows == 40)
        for count, id in enumerate([1, 50, 99, 2, 150], start=41):
            office.insert(id, [(5000, 1, 0)])
            assert await until(partial(has_rows, sync, count)) <= 8.0


@pytest.mark.slow
async def test_many_new_rows_are_found_at_once(sqlite: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look reads on until a page has nothing new."""
    monkeypatch.setattr(rows_module.OpenRows.newest, "__defaults__", (5,))
    monkeypatch.setattr(rows_module.OpenRows.sweep, "__defaults__", (3,))
    office = Office(sqlite)
    async with office.client, running(office.sync()) as sync:
        await until(lambda: sync.stats().looks > 2)
        for id in range(1, 61):
            office.insert(id, [(5000, 1, 0)])
        assert await until(partial(has_rows, sync, 60), step=0.1) <= 2.0


@pytest.mark.slow
@pytest.mark.measured
async def test_if_the_key_is_no_number_the_newest_rows_are_those_sent_last(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows_module.OpenRows.newest, "__defaults__", (5,))
    monkeypatch.setattr(rows_module.OpenRows.sweep, "__defaults__", (3,))
    office = Office(engine, "ref varchar(9) primary key, id bigint, phone text, sent_at timestamp, status int, "
                    "err int, changed_at timestamp, checked_at timestamp, outcome text")  # fmt: skip
    insert = "insert into messages (ref, id, phone, sent_at) values (:ref, :id, :phone, :sent_at)"
    sent_at = "2026-03-10 09:00:00"
    for id in range(40):
        office.send(id, [(5000, 1, 0)])
        office.sql(insert, ref=f"m{id * 7 % 40:02}", id=id, phone=PHONE, sent_at=sent_at)
    async with office.client, running(office.sync()) as sync:
        await until(lambda: sync.stats().open_rows == 40)
        for number, ref in enumerate(["a", "z", "m5x"], start=1):
            office.send(40 + number, [(5000, 1, 0)])
            office.sql(insert, ref=ref, id=40 + number, phone=PHONE, sent_at=f"2026-03-10 09:00:0{number}")
            assert await until(partial(has_rows, sync, 40 + number), step=0.1) <= 2.0
        office.sql("insert into messages (ref, id, phone) values ('b', 50, :phone)", phone=PHONE)  # only the sweep's
        await until(lambda: sync.stats().open_rows == 44)
