"""Of several processes on one table, one has the lock."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import anyio
import pytest
import sqlalchemy as sa
from database_servers import MariaDBServer
from table_support import Office, told, until

from smsc_status import ConfigError, DatabaseUnavailable
from smsc_status.tables import TableSync
from smsc_status.tables import _database as database_module
from smsc_status.tables import _lock as lock_module
from smsc_status.tables._database import Database
from smsc_status.tables._lock import FileLock, Lock, NoLock, ServerLock, lock_of

TABLE = sa.Table("messages", sa.MetaData())


def test_one_of_two_has_the_lock(engine: sa.Engine) -> None:
    first, second = (lock_of(engine, TABLE, None) for _ in range(2))
    assert first.acquire()
    assert first.is_held()
    assert not second.acquire()
    assert not second.is_held()
    first.release()
    first.release()
    assert second.acquire()
    assert not first.is_held()
    second.release()


def test_other_rows_have_another_lock(engine: sa.Engine) -> None:
    locks = [lock_of(engine, TABLE, where) for where in (None, "channel = 1")]
    assert [lock.acquire() for lock in locks] == [True, True]
    for lock in locks:
        lock.release()


def test_a_table_has_one_lock_however_it_is_named(engine: sa.Engine) -> None:
    with engine.connect():
        schema = engine.dialect.default_schema_name
    names = [("messages", None), ("messages", schema)]
    if engine.dialect.name != "postgresql":
        names.append(("Messages", None))
    first, *others = (lock_of(engine, sa.Table(name, sa.MetaData(), schema=schema), None) for name, schema in names)
    assert first.acquire()
    assert not any(other.acquire() for other in others)
    spaced = lock_of(engine, TABLE, " ")
    assert not spaced.acquire()
    first.release()


def test_a_database_file_has_one_lock_however_it_is_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "app.db").touch()
    (tmp_path / "link.db").symlink_to("app.db")
    monkeypatch.chdir(tmp_path)
    urls = ("app.db", tmp_path / "link.db", "file:app.db?uri=true", f"file:{tmp_path}/link.db?mode=rw&uri=true")
    locks = [lock_of(sa.create_engine(f"sqlite:///{path}"), TABLE, None) for path in urls]
    assert [lock.acquire() for lock in locks] == [True, False, False, False]
    locks[0].release()
    assert locks[2].acquire()
    locks[2].release()


@pytest.mark.parametrize("kind", ["server", "file"])
def test_a_lock_that_is_given_back_while_it_is_taken_is_not_held(kind: str, tmp_path: Path) -> None:
    """Who took it did not wait for it, because it was to stop."""
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool, connect_args={"check_same_thread": False})
    lock: Lock = FileLock(sa.create_engine(f"sqlite:///{tmp_path / 'app.db'}"), "name")
    if kind == "server":
        lock = ServerLock(engine, prepare=[], take="SELECT :name", name=1)
    begun, may_go_on = threading.Event(), threading.Event()
    take = lock._acquire  # type: ignore[attr-defined]  # both have it

    def slow() -> bool:
        begun.set()
        may_go_on.wait(10)
        taken: bool = take()
        return taken

    lock._acquire = slow  # type: ignore[attr-defined]  # likewise
    threads = [threading.Thread(target=lock.acquire), threading.Thread(target=lock.release)]
    threads[0].start()
    assert begun.wait(10)
    threads[1].start()
    threads[1].join(0.05)
    may_go_on.set()
    for thread in threads:
        thread.join(10)
    assert not lock.is_held()


@pytest.fixture(params=["postgresql", "mysql"])
def server(request: pytest.FixtureRequest) -> sa.Engine:
    """A database of a server."""
    engine: sa.Engine = request.getfixturevalue(request.param)
    return engine


def end_other_connections(engine: sa.Engine) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if engine.dialect.name == "postgresql":
            others = "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()"
            connection.execute(sa.text(others))
            return
        others = "select id from information_schema.processlist where id <> connection_id() and user = 'root'"
        for (number,) in connection.execute(sa.text(others)).all():
            connection.execute(sa.text(f"kill {number}"))


@pytest.mark.slow
def test_a_lock_whose_connection_was_ended_is_not_held(server: sa.Engine) -> None:
    lock = lock_of(server, TABLE, None)
    assert lock.acquire()
    end_other_connections(server)
    assert not lock.is_held()
    assert lock.acquire()
    lock.release()


@pytest.mark.slow
def test_the_server_takes_the_lock_from_a_silent_holder(server: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its machine may be gone."""
    monkeypatch.setattr(lock_module, "SILENCE", 1)
    silent, other = (lock_of(server, TABLE, None) for _ in range(2))
    assert silent.acquire()
    assert not other.acquire()
    tries = 0
    while not other.acquire():
        tries += 1
        assert tries < 100
        time.sleep(0.1)
    assert not silent.is_held()
    other.release()


def test_a_statement_that_the_server_does_not_know_does_not_matter() -> None:
    refused = sa.create_engine("sqlite://", poolclass=sa.StaticPool)

    def refuse(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("SET"):
            raise sa.exc.ProgrammingError(statement, None, Exception("unknown"))

    sa.event.listen(refused, "before_cursor_execute", refuse)
    lock = ServerLock(refused, prepare=["SET idle = 1"], take="SELECT :name", name=1)
    assert lock.acquire()
    lock.release()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite:///file:a?mode=memory&uri=true"])
def test_a_database_in_memory_has_no_lock_file(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lock = lock_of(sa.create_engine(url, poolclass=sa.StaticPool), TABLE, None)
    assert lock.acquire()
    assert lock.is_held()
    assert list(tmp_path.iterdir()) == []
    lock.release()


def test_mysql_is_asked_for_a_lock_of_its_own() -> None:
    assert isinstance(lock_of(sa.create_engine("mysql+pymysql://u@h/d"), TABLE, None), ServerLock)


def test_where_no_lock_is_known_a_warning_says_so() -> None:
    engine = sa.create_mock_engine("postgresql+psycopg://", print)
    engine.dialect.name = "oracle"
    with told() as log:
        lock = lock_of(engine, TABLE, None)  # type: ignore[arg-type]  # only its dialect is looked at
    assert isinstance(lock, NoLock)
    assert lock.acquire()
    assert lock.is_held()
    lock.release()
    assert log.about("no lock is known for oracle")


def test_a_lock_file_that_cannot_be_made_is_the_databases_error(tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'app.db'}")
    with pytest.raises(sa.exc.OperationalError):
        FileLock(engine, "no/lock").acquire()
    (tmp_path / "app.db-text.smsc-lock").write_text("no database " * 100)
    with pytest.raises(sa.exc.DatabaseError):
        FileLock(engine, "text").acquire()


@pytest.mark.anyio
@pytest.mark.usefixtures("inline")
async def test_the_second_stands_by_and_takes_over(engine: sa.Engine) -> None:
    office = Office(engine)
    with told() as log:
        async with office.client, office.sync() as first, office.sync() as second, anyio.create_task_group() as tasks:
            tasks.start_soon(first.run)
            await until(lambda: first.stats().is_leading)
            tasks.start_soon(second.run)
            await anyio.sleep(10)
            assert not second.stats().is_leading
            assert not second.stats().open_rows
            first.stop()
            assert await until(lambda: second.stats().is_leading) <= 3.0
            second.stop()
    assert len(log.about("stands by")) == 1


@pytest.mark.anyio
@pytest.mark.usefixtures("inline")
async def test_who_has_lost_the_lock_to_another_stands_by(sqlite: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    office, held, taken = Office(sqlite), [True], [False]
    monkeypatch.setattr(NoLock, "is_held", lambda lock: held[0])
    monkeypatch.setattr(NoLock, "acquire", lambda lock: not taken[0])
    monkeypatch.setattr("smsc_status.tables._sync.lock_of", lambda *_: NoLock())
    with told() as log:
        async with office.client, office.sync() as sync, anyio.create_task_group() as tasks:
            tasks.start_soon(sync.run)
            await until(lambda: sync.stats().is_leading)
            held[0] = False  # the connection was lost, and the lock can be had again
            await anyio.sleep(10)
            assert sync.stats().is_leading
            office.insert(1, [(5000, 1, 0)])
            await until(lambda: sync.stats().open_rows == 1)
            taken[0] = True
            await until(lambda: not sync.stats().is_leading)
            await until(lambda: not sync.stats().open_rows)  # they are the other's now
            taken[0] = False
            await until(lambda: sync.stats().is_leading)
            sync.stop()
    assert log.about("another process has taken over")


@pytest.mark.anyio
@pytest.mark.usefixtures("inline")
async def test_a_database_that_is_away_gives_no_lock_and_is_asked_again(
    sqlite: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    office, is_away = Office(sqlite), [True]

    def acquire(_lock: NoLock) -> bool:
        if is_away[0]:
            raise sa.exc.OperationalError("", None, Exception("away"))
        return True

    monkeypatch.setattr(NoLock, "acquire", acquire)
    monkeypatch.setattr("smsc_status.tables._sync.lock_of", lambda *_: NoLock())
    async with office.client, office.sync() as sync, anyio.create_task_group() as tasks:
        tasks.start_soon(sync.run)
        await anyio.sleep(10)
        assert not sync.stats().is_leading
        assert not sync.stats().is_database_reached
        is_away[0] = False
        await until(lambda: sync.stats().is_leading)
        monkeypatch.setattr(NoLock, "is_held", lambda lock: False)
        is_away[0] = True
        await anyio.sleep(10)
        assert sync.stats().is_leading
        sync.stop()


# The database's URL.


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("postgres://u:hidden@h/d", "postgresql+psycopg"),
        ("postgresql://u:hidden@h/d", "postgresql+psycopg"),
        ("mysql://u:hidden@h/d", "mysql+pymysql"),
        ("mariadb://u:hidden@h/d", "mariadb+pymysql"),
        ("sqlite:///x.db", "sqlite"),
    ],
)
def test_a_url_needs_no_driver_where_a_usual_one_is_installed(url: str, driver: str) -> None:
    database = Database(url)
    assert database.engine.url.drivername == driver
    assert "hidden" not in repr(database.engine)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("hidden", "the database's URL can't be read"),
        ("nodb://u:hidden@h/d", r"expected an installed driver \("),
        ("postgresql+pg8000://u:hidden@h/d", "expected an installed driver, such as psycopg"),
        ("mysql+mysqldb://u:hidden@h/d", "expected an installed driver, such as pymysql"),
        ("sqlite+aiosqlite:///x.db", "expected a"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_its_password(url: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected) as caught:
        Database(url)
    assert "hidden" not in str(caught.value)
    assert caught.value.__context__ is None
    frame = caught.value.__traceback__.tb_next  # type: ignore[union-attr]  # it was raised
    while frame is not None:
        assert "hidden" not in repr(frame.tb_frame.f_locals)
        frame = frame.tb_next


@pytest.mark.anyio
async def test_a_database_that_cannot_be_reached_is_told_at_the_start(sqlite: sa.Engine, tmp_path: Path) -> None:
    office = Office(sqlite)
    with pytest.raises(DatabaseUnavailable, match="can't be reached: unable to open") as caught:
        async with TableSync(office.client, f"sqlite:///{tmp_path}/no/app.db", table="messages"):
            pass
    assert caught.value.__context__ is None


@pytest.mark.anyio
async def test_a_call_that_takes_very_long_shows_that_the_database_is_away(
    sqlite: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(sqlite)
    monkeypatch.setattr(database_module, "SLOW", -1.0)
    seen: list[bool] = []
    assert not database.is_slow
    await database.run(lambda connection: seen.append(database.is_slow))
    assert seen == [True]


@pytest.mark.anyio
async def test_a_look_and_a_write_do_not_run_at_once(sqlite: sa.Engine) -> None:
    """Otherwise a row that ends in between would look like a new one."""
    database, running, most = Database(sqlite), 0, 0

    def work(_connection: sa.Connection) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        time.sleep(0.02)
        running -= 1

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(database.run, work)
    assert most == 1


def test_an_asynchronous_engine_is_refused() -> None:
    engine = sa.create_engine("sqlite://")
    engine.dialect.is_async = True
    with pytest.raises(ConfigError, match="expected a synchronous driver"):
        Database(engine)


@pytest.mark.slow
def test_mysql_gives_its_timestamps_in_utc(mariadb_server: MariaDBServer) -> None:
    database = Database(mariadb_server.url)
    with database.engine.connect() as connection:
        assert connection.execute(sa.text("select @@session.time_zone")).scalar() == "+00:00"
    database.engine.dispose()


def test_each_connection_to_mysql_is_prepared() -> None:
    """As the test above says, but it also runs where there is no server."""
    said: list[str] = []

    class Cursor:
        def __enter__(self) -> Cursor:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def execute(self, statement: str) -> None:
            said.append(statement)

    class Connection:
        cursor = Cursor

    # What each new connection to such a database calls.
    assert sa.event.contains(Database("mysql://u@h/d").engine, "connect", database_module._prepare_mysql)
    database_module._prepare_mysql(Connection(), None)
    assert said == ["SET time_zone = '+00:00', innodb_lock_wait_timeout = 2"]


def test_of_an_error_s_number_and_text_the_text_is_told() -> None:
    error = sa.exc.OperationalError("", None, Exception(1205, "Lock wait timeout"))
    assert database_module.said(error) == "Lock wait timeout"


def test_a_server_s_lock_follows_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in PostgreSQL and MySQL; here the server is one connection of SQLite."""
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    lock = ServerLock(engine, prepare=[], take="SELECT :name", name=1)
    assert not lock.is_held()
    assert lock.acquire()
    assert lock.is_held()
    lock.release()
    lock.release()
    assert not ServerLock(engine, prepare=[], take="SELECT :name", name=0).acquire()
    assert lock.acquire()

    def lost(*_: object) -> None:
        raise sa.exc.OperationalError("", None, Exception("lost"))

    sa.event.listen(engine, "before_cursor_execute", lost)
    assert not lock.is_held()
    with pytest.raises(sa.exc.OperationalError):
        lock.acquire()


def test_postgresql_is_asked_for_a_lock_of_its_own() -> None:
    assert isinstance(lock_of(sa.create_engine("postgresql+psycopg://u@h/d"), TABLE, None), ServerLock)
