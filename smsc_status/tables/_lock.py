"""Who keeps a table current, if several could: the holder of a lock of the database's own.

The lock ends with the connection that holds it, so a process that was killed holds it no longer. A machine that is
gone closes no connection; then the server does: it is told to end the lock's connection when nothing has come over it
for `SILENCE` seconds.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import threading
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path

import sqlalchemy as sa

from smsc_status.tables._database import MySQLs

SILENCE = 20
"""Seconds. If the holder of a lock is silent for this long, the lock is taken from it."""

SIGN_OF_LIFE_EVERY = 4.0
"""Seconds between two signs of life over the lock's connection."""

logger = logging.getLogger("smsc_status")


class Lock(ABC):
    """A lock. Any thread may call its methods: one that nobody waits for any more may still be at work in another."""

    @abstractmethod
    def acquire(self) -> bool:
        """Take the lock if nobody has it; whether it is held now.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: the database can't be reached.
        """

    @abstractmethod
    def is_held(self) -> bool:
        """Give a sign of life; whether the lock is still held."""

    @abstractmethod
    def release(self) -> None:
        """Give the lock back. Never fails."""


class ServerLock(Lock):
    """A lock that a server keeps for a connection.

    Args:
        engine: makes the connection.
        prepare: statements that let the server end a silent connection. A server that does not know one refuses it.
        take: the statement that takes the lock, with the parameter `name`, and gives 1 or true.
        name: the lock's name.
    """

    def __init__(self, engine: sa.Engine, *, prepare: list[str], take: str, name: int | str) -> None:
        self._engine = engine
        self._prepare = prepare
        self._take = sa.text(take)
        self._name = name
        self._connection: sa.Connection | None = None
        self._turn = threading.Lock()

    def acquire(self) -> bool:
        """See `Lock.acquire`."""
        with self._turn:
            return self._acquire()

    def _acquire(self) -> bool:
        connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        try:
            for statement in self._prepare:
                with suppress(sa.exc.ProgrammingError):
                    connection.execute(sa.text(statement))
            if connection.execute(self._take, {"name": self._name}).scalar():
                self._connection, connection = connection, None  # type: ignore[assignment]  # it is not ended below
        finally:
            if connection is not None:
                _end(connection)
        return self._connection is not None

    def is_held(self) -> bool:
        """See `Lock.is_held`."""
        with self._turn:
            if self._connection is None:
                return False
            try:
                self._connection.execute(sa.text("SELECT 1"))
            except sa.exc.SQLAlchemyError:
                self._release()
                return False
            return True

    def release(self) -> None:
        """See `Lock.release`."""
        with self._turn:
            self._release()

    def _release(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            _end(connection)


def _end(connection: sa.Connection) -> None:
    """End the connection, which has settings of its own and so must not go back into the pool."""
    with suppress(sa.exc.SQLAlchemyError):
        connection.invalidate()
    with suppress(sa.exc.SQLAlchemyError):
        connection.close()


class FileLock(Lock):
    """A lock for a database of SQLite: a file beside its own, which SQLite locks. It works on each system.

    Args:
        engine: says which file the database is. One in memory has none; then nobody else can want the lock.
        name: the lock's name.
    """

    def __init__(self, engine: sa.Engine, name: str) -> None:
        self._engine = engine
        self._name = name
        self._connection: sqlite3.Connection | None = None
        self._turn = threading.Lock()

    def acquire(self) -> bool:
        """See `Lock.acquire`."""
        with self._turn:
            return self._acquire()

    def _acquire(self) -> bool:
        path = _file_of(self._engine)
        try:
            connection = sqlite3.connect(
                f"{path}-{self._name}.smsc-lock" if path else ":memory:",
                timeout=0,
                isolation_level=None,
                check_same_thread=False,
            )
        except sqlite3.OperationalError as error:
            raise sa.exc.OperationalError("the lock's file", None, error) from None
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.DatabaseError as error:
            connection.close()
            if "locked" in str(error):
                return False
            raise sa.exc.OperationalError("the lock's file", None, error) from None
        self._connection = connection
        return True

    def is_held(self) -> bool:
        """See `Lock.is_held`."""
        return self._connection is not None

    def release(self) -> None:
        """See `Lock.release`."""
        with self._turn:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()


def _file_of(engine: sa.Engine) -> str:
    """The database's file, as SQLite tells it: a URL may have a link or a URI. Empty if it has none."""
    with engine.connect() as connection:
        [main] = [path for _, name, path in connection.exec_driver_sql("PRAGMA database_list") if name == "main"]
    return str(Path(main).resolve()) if main else ""


class NoLock(Lock):
    """For a database of which no lock is known."""

    def acquire(self) -> bool:
        """See `Lock.acquire`."""
        return True

    def is_held(self) -> bool:
        """See `Lock.is_held`."""
        return True

    def release(self) -> None:
        """See `Lock.release`."""


def lock_of(engine: sa.Engine, table: sa.Table, where: str | None) -> Lock:
    """The lock for these rows of the table. The engine has been connected, so its dialect knows the default schema."""
    name = engine.dialect.name
    schema = table.schema or engine.dialect.default_schema_name
    full_name = f"{schema}.{table.name}"
    if name != "postgresql":  # elsewhere the database may take names in any case
        full_name = full_name.casefold()
    digest = hashlib.blake2b(f"smsc-status {full_name} {(where or '').strip()}".encode(), digest_size=8)
    if name == "postgresql":
        number = int.from_bytes(digest.digest(), "big", signed=True)
        prepare = [f"SET idle_session_timeout = '{SILENCE}s'", "SET tcp_keepalives_idle = 5"]
        prepare += ["SET tcp_keepalives_interval = 5", "SET tcp_keepalives_count = 3"]
        return ServerLock(engine, prepare=prepare, take="SELECT pg_try_advisory_lock(:name)", name=number)
    if name in MySQLs:
        prepare = [f"SET SESSION wait_timeout = {SILENCE}"]
        lock_name = f"smsc-status {digest.hexdigest()}"
        return ServerLock(engine, prepare=prepare, take="SELECT GET_LOCK(:name, 0)", name=lock_name)
    if name == "sqlite":
        return FileLock(engine, digest.hexdigest()[:8])
    logger.warning("no lock is known for %s: run only one process on this table", name)
    return NoLock()
