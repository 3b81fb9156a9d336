"""The database: one engine, used in threads, and what its errors mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from typing import Any, TypeVar

import anyio
import sqlalchemy as sa

from smsc_status import _loops
from smsc_status._runtime.account import Secret
from smsc_status._texts import one_line
from smsc_status.errors import ConfigError
from smsc_status.tables import _threads

T = TypeVar("T")

_DRIVERS = {"postgres": "psycopg", "postgresql": "psycopg", "mysql": "pymysql", "mariadb": "pymysql"}
"""The drivers that are used where the URL names none."""

_CONNECT: dict[str, dict[str, Any]] = {
    # A server that is gone is noticed in seconds, and not when the system's TCP gives up after a quarter of an hour.
    "psycopg": {
        "connect_timeout": 5,
        "keepalives_idle": 5,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 20_000,
    },
    "pymysql": {"connect_timeout": 5, "read_timeout": 60, "write_timeout": 60},
    "pysqlite": {"timeout": 5.0},
}

_POSTGRESQL_LATER = frozenset(
    {"08", "0A", "25", "26", "28", "3D", "3F", "40", "42", "53", "55", "57", "58", "F0", "HV", "XX"}
)
"""Classes of PostgreSQL's errors that say nothing of a row: connections, locks, rights, limits, shutting down."""

_MYSQL_LATER = frozenset(
    # no room, too much, shutting down
    {1020, 1021, 1037, 1040, 1041, 1053, 1114, 1203, 1226, 1836, 1927}
    # locks, time limits, read-only servers and transactions
    | {1205, 1213, 1290, 1317, 1792, 1969, 3024, 3572}
    # rights, and what is not there
    | {1044, 1045, 1049, 1054, 1142, 1143, 1146}
)
"""Errors of MySQL and MariaDB that say nothing of a row. So do 2000 to 2999."""

_POSTGRESQL_LOCKED, _MYSQL_LOCKED = "55P03", frozenset({1205, 3572})
"""The errors of a statement that has waited too long for a lock."""

SLOW = 15.0
"""Seconds. A database that has not answered for this long seems to be gone."""

WAIT_FOR_LOCK = 2
"""Seconds for which a write waits for a row that somebody else has locked. Then the others are written without it."""

LONGEST_CLOSE = 0.25
"""Seconds. What a database that does not answer leaves open after them is closed when the process ends."""

MySQLs = ("mysql", "mariadb")


class Database:
    """An engine whose calls run in threads, one at a time. So a look never sees half of a write.

    Args:
        given: an engine of the caller's, or a URL, of which an engine is made.

    Raises:
        ConfigError: the URL can't be used, its driver is not installed, or the engine is asynchronous.
    """

    def __init__(self, given: sa.Engine | sa.URL | str | Secret) -> None:
        given = Secret(given) if isinstance(given, str) else given  # first, so that no frame shows the password
        self.is_own = not isinstance(given, sa.Engine)
        self.engine: sa.Engine = given if isinstance(given, sa.Engine) else _engine_of(given)
        if self.engine.dialect.is_async:
            raise ConfigError(f"driver {self.engine.dialect.driver!r}: expected a synchronous driver")
        self._turn = anyio.Lock()
        self._began_at: float | None = None

    async def run(self, work: Callable[[sa.Connection], T]) -> T:
        """Do `work` in a transaction, in a thread. A caller who is cancelled does not wait for the thread.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: the database's error; then nothing of it was done.
        """
        return await self.use(partial(_in_transaction, work))

    async def use(self, work: Callable[[sa.Engine], T]) -> T:
        """Do `work`, which makes its own transactions, in a thread."""
        async with self._turn:
            self._began_at = _loops.now()
            try:
                return await _threads.in_thread(partial(work, self.engine))
            finally:
                self._began_at = None

    async def read_aside(self, work: Callable[[sa.Connection], T]) -> T:
        """Do `work` as `run` does, but beside the other calls, which do not wait for it: it may take minutes."""
        return await _threads.in_thread(partial(_in_transaction, work, self.engine))

    @property
    def is_slow(self) -> bool:
        """Whether a call has been waiting for the database for so long that it seems to be gone."""
        return self._began_at is not None and _loops.now() > self._began_at + SLOW

    @contextmanager
    def connected(self, *, errors: str) -> Iterator[sa.Connection]:
        """A connection, in the caller's own thread. See `any_text` for `errors`."""
        with self.engine.connect() as connection, any_text(connection, errors=errors):
            yield connection

    def close(self) -> None:
        """Close the connections that nobody uses, if the engine is not the caller's. This may wait for the database."""
        if self.is_own:
            self.engine.dispose()

    async def aclose(self) -> None:
        """As `close`, in a thread."""
        if self.is_own:
            with anyio.move_on_after(LONGEST_CLOSE, shield=True):
                await _threads.in_thread(self.close)


def _in_transaction(work: Callable[[sa.Connection], T], engine: sa.Engine) -> T:
    with engine.begin() as connection, any_text(connection, errors="surrogateescape"):
        return work(connection)


@contextmanager
def any_text(connection: sa.Connection, *, errors: str) -> Iterator[None]:
    """Within the block, a text of SQLite that is not UTF-8 can be read. Otherwise one such text fails a whole query.

    Args:
        connection: the connection. Those of other databases stay as they are: they keep no such texts.
        errors: how Python decodes what is not UTF-8. With "surrogateescape" no other text becomes the same, but the
            driver refuses to write it.
    """
    driver: Any = connection.connection.driver_connection
    if getattr(driver, "text_factory", None) is not str:  # the caller's engine may have one of its own
        yield
        return
    driver.text_factory = partial(str, encoding="utf-8", errors=errors)
    try:
        yield
    finally:
        driver.text_factory = str


def _engine_of(given: sa.URL | Secret) -> sa.Engine:
    url = _url_of(given)
    if url is None:
        raise ConfigError("the database's URL can't be read: expected such as postgresql://user@host/database")
    if url.drivername in _DRIVERS and find_spec(_DRIVERS[url.drivername]) is not None:
        backend = "postgresql" if url.drivername == "postgres" else url.drivername
        url = url.set(drivername=f"{backend}+{_DRIVERS[url.drivername]}")
    problem = ""
    try:
        driver = url.get_dialect().driver
        options = {name: value for name, value in _CONNECT.get(driver, {}).items() if name not in url.query}
        engine = sa.create_engine(url, connect_args=options, hide_parameters=True)
    except (ImportError, sa.exc.SQLAlchemyError) as error:
        problem = one_line(str(error).partition("\n")[0])
    if problem:  # raised here, so that the error's context holds no frame with the URL
        usual = _DRIVERS.get(url.get_backend_name())
        expected = f"an installed driver, such as {usual}" if usual else "an installed driver"
        raise ConfigError(f"database {url.drivername!r}: {problem}; expected {expected} (see the documentation)")
    if engine.dialect.name in MySQLs:
        sa.event.listen(engine, "connect", _prepare_mysql)
    return engine


def _url_of(given: sa.URL | Secret) -> sa.URL | None:
    try:
        return sa.make_url(given.reveal() if isinstance(given, Secret) else given)
    except sa.exc.ArgumentError:
        return None


def _prepare_mysql(connection: Any, _record: object) -> None:
    """A TIMESTAMP of MySQL is given in the zone of the session, and by default a write waits 50 s for a row."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET time_zone = '+00:00', innodb_lock_wait_timeout = {WAIT_FOR_LOCK}")


def said(error: Exception) -> str:
    """What the database said, in one line. Further lines may quote a row."""
    cause = getattr(error, "orig", None) or error
    args: tuple[Any, ...] = getattr(cause, "args", ())
    text = args[1] if len(args) == 2 and isinstance(args[0], int) else cause
    return one_line(str(text).partition("\n")[0]) or type(cause).__name__


def is_disconnect(error: Exception) -> bool:
    """Whether the connection is gone, or there was none."""
    return getattr(error, "connection_invalidated", False) or isinstance(error, sa.exc.TimeoutError)


def concerns_row(error: Exception) -> bool:
    """Whether the error is about the row that was written. All others may pass, so the row is written again."""
    if is_disconnect(error):
        return False
    if isinstance(error, sa.exc.IntegrityError | sa.exc.DataError):
        return True
    cause = getattr(error, "orig", None)
    driver = type(cause).__module__.partition(".")[0]
    args: tuple[Any, ...] = getattr(cause, "args", ())
    sqlstate = getattr(cause, "sqlstate", None)
    if driver == "psycopg" and isinstance(sqlstate, str):
        return sqlstate[:2] not in _POSTGRESQL_LATER
    if driver == "pymysql" and args and isinstance(args[0], int):
        return not (2000 <= args[0] < 3000 or args[0] in _MYSQL_LATER)
    return not isinstance(error, sa.exc.DBAPIError)


def is_locked(error: Exception) -> bool:
    """Whether the row was not written because somebody else had it locked for too long."""
    cause = getattr(error, "orig", None)
    driver = type(cause).__module__.partition(".")[0]
    args: tuple[Any, ...] = getattr(cause, "args", ())
    if driver == "pymysql":
        return bool(args) and args[0] in _MYSQL_LOCKED
    return driver == "psycopg" and getattr(cause, "sqlstate", None) == _POSTGRESQL_LOCKED
