"""`TableSync`, which users hold: it checks the table, waits for its turn, and follows the rows until it is stopped."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import tzinfo
from functools import partial
from typing import Any, Self

import anyio
import sqlalchemy as sa

from smsc_status._runtime.account import Secret
from smsc_status.client import StatusClient
from smsc_status.errors import ConfigError, DatabaseUnavailable
from smsc_status.models import MOSCOW, Detail
from smsc_status.tables import _threads
from smsc_status.tables._checking import check_table
from smsc_status.tables._columns import Columns, Mapped, check_arguments
from smsc_status.tables._database import Database, said
from smsc_status.tables._following import Following
from smsc_status.tables._lock import SIGN_OF_LIFE_EVERY, Lock, lock_of
from smsc_status.tables._rows import OpenRows
from smsc_status.tables._tally import Doing, SyncStats, Tally
from smsc_status.tables._writing import Writer

STAND_BY_EVERY = 2.0
"""Seconds between two tries to get the lock."""

LAST_WRITE = 3.0
"""Seconds. When it ends, for whatever reason, the changes that are known are written within this time."""

LAST_RELEASE = 0.25
"""Seconds. A lock that can't be given back within this time ends with the process, or when its thread returns."""

logger = logging.getLogger("smsc_status")


class _Replaced(Exception):
    """Another process has the lock."""


class TableSync:
    """Keeps the statuses of a table's rows current.

    A row is open while its outcome is NULL. Open rows are found as they are committed, followed by
    `StatusClient.track`, and each change is written back. The table is the only state, so a process that was killed
    goes on when it is started again. Of several on one table, one leads and the others stand by.

    Use it with `async with`, and call `run` in the block. It runs on asyncio and trio.

    The database is used in threads, so any synchronous driver of SQLAlchemy works on both event loops.

    Args:
        client: asks for the statuses. It must stay open while `run` runs.
        database: an engine that allows at least three connections, or the database's URL. An engine is not closed. In
            MySQL, a `TIMESTAMP` column is read in UTC by a URL, and in `timezone` by an engine.
        table: the table's name, or `schema.table`.
        columns: the names of its columns, where they are not the usual ones.
        where: a condition in SQL that narrows the rows. It is part of the statements as it stands.
        timezone: the zone of dates in columns without a zone, both read and written.
        detail: how much to ask; more where the written fields need more. `None` means the client's own level.
        create_columns: whether missing columns are made.
        eagerness, expire_after, speed: as for `StatusClient.track`.

    Raises:
        ConfigError: a value can't be used, or the URL's driver is not installed.
    """

    def __init__(
        self,
        client: StatusClient,
        database: sa.Engine | sa.URL | str | Secret,
        *,
        table: str,
        columns: Columns | None = None,
        where: str | None = None,
        timezone: tzinfo = MOSCOW,
        detail: Detail | None = None,
        create_columns: bool = False,
        eagerness: float = 0.5,
        expire_after: float = 172_800.0,
        speed: float = 1.0,
    ) -> None:
        database = Secret(database) if isinstance(database, str) else database  # no frame shows its password
        check_arguments(table, columns, where, timezone)
        self._client = client
        self._database = Database(database)
        self._name = table
        self._columns = columns or Columns()
        self._where = where
        self._zone = timezone
        self._detail = detail
        self._create_columns = create_columns
        self._tracking: dict[str, Any] = {"eagerness": eagerness, "expire_after": expire_after, "speed": speed}
        self._mapped: Mapped | None = None
        self._tally = Tally()
        self._following: Following | None = None
        self._is_leading = False
        self._stop: anyio.Event | None = None

    async def open(self) -> None:
        """Check the table, and make missing columns if that was asked for. `async with` does it.

        Raises:
            ConfigError: the table or a column can't be used. If columns are missing, the text has the statements that
                add them.
            DatabaseUnavailable: the database can't be reached.
        """
        try:
            self._mapped = await self._checked()
        except ConfigError:
            raise
        except sa.exc.OperationalError as error:
            problem: Exception = DatabaseUnavailable(f"the database can't be reached: {said(error)}")
        except Exception as error:  # a driver raises errors of its own for options that it can't use
            problem = ConfigError(f"table {self._name!r}: the database or its driver refuses it: {said(error)}")
        else:
            return
        raise problem  # here, so that its context holds none of the database's errors, which quote rows

    async def _checked(self) -> Mapped:
        check = partial(
            check_table,
            name=self._name,
            columns=self._columns,
            where=self._where,
            zone=self._zone,
            create_columns=self._create_columns,
        )
        try:
            return await self._database.run(check)
        except sa.exc.DBAPIError:
            if not self._create_columns:
                raise
        return await self._database.run(check)  # another process may have made the columns in the meantime

    async def aclose(self) -> None:
        """Close the connections that were made for this. `async with` does it."""
        with anyio.CancelScope(shield=True):
            await self._database.aclose()

    async def __aenter__(self) -> Self:
        try:
            await self.open()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    @property
    def fields(self) -> list[str]:
        """The record's further fields that are written. Empty before `open`."""
        return [] if self._mapped is None else self._mapped.fields

    def stats(self) -> SyncStats:
        """What it has done and is doing, at this moment."""
        tally, following = self._tally, self._following
        return SyncStats(
            is_leading=self._is_leading,
            open_rows=0 if following is None else len(following.held),
            unwritten=0 if following is None else len(following.unwritten),
            written=tally.written,
            failed_writes=tally.failed_writes,
            unanswered=tally.unanswered,
            bad_rows=0 if following is None else following.bad_rows,
            looks=tally.looks,
            has_all=following is not None and following.has_all,
            is_database_reached=not tally.troubles and not self._database.is_slow,
            done=dict(tally.done),
        )

    def stop(self) -> None:
        """Let `run` write what is known, and return. Does nothing while `run` does not run."""
        if self._stop is not None:
            self._stop.set()

    async def run(self) -> None:
        """Keep the table current until `stop` is called.

        However it ends, the changes that are known are written, for at most 3 seconds.

        Raises:
            AuthError, AddressBlocked: the account is refused.
            ClientClosed: the client was closed.
            ConfigError: it was not opened, or a value can't be used.
        """
        lock = lock_of(self._database.engine, self._opened.table, self._where)
        self._stop = stop = anyio.Event()
        try:
            while not stop.is_set():
                await self._until_stopped(partial(self._take_turn, lock), stop)
        finally:
            self._stop = None
            with anyio.move_on_after(LAST_RELEASE, shield=True):
                await _threads.in_thread(lock.release)

    async def check_once(self) -> None:
        """Check each open row once, write what is new, and return. Another one may lead meanwhile.

        Raises:
            DatabaseUnavailable: the rows can't be read, or nothing could be written for a minute.
            AuthError, AddressBlocked, ClientClosed, ConfigError: as from `run`.
        """
        following = self._begin()
        self._stop = stop = anyio.Event()
        problem = ""
        try:
            await self._until_stopped(partial(self._check_all, following), stop)
        except sa.exc.SQLAlchemyError as error:
            problem = said(error)
        finally:
            self._stop = None
            await self._write_last(following)
        if problem:  # here, so that its context holds none of the database's errors, which quote rows
            raise DatabaseUnavailable(f"the rows can't be read: {problem}")

    async def _check_all(self, following: Following) -> None:
        async with _group() as tasks:
            tasks.start_soon(following.fail_if_refused)
            await self._check_each(following)
            await following.write_all()
            tasks.cancel_scope.cancel()

    async def _check_each(self, following: Following) -> None:
        async with _group() as tasks:
            tasks.start_soon(following.write_on)
            async with self._client.stream(following.messages_once(), detail=self._level) as outcomes:
                async for outcome in outcomes:
                    await following.take_checked(outcome)
            tasks.cancel_scope.cancel()

    async def _until_stopped(self, work: Callable[[], Awaitable[object]], stop: anyio.Event) -> None:
        async def cancel_when_stopped() -> None:
            await stop.wait()
            tasks.cancel_scope.cancel()

        async with _group() as tasks:
            tasks.start_soon(cancel_when_stopped)
            await work()
            tasks.cancel_scope.cancel()

    @property
    def _opened(self) -> Mapped:
        if self._mapped is None:
            raise ConfigError("the table was not opened: use `async with`, or call `open` first")
        return self._mapped

    @property
    def _level(self) -> Detail:
        return self._opened.detail(self._client.detail if self._detail is None else self._detail)

    def _begin(self) -> Following:
        mapped = self._opened
        rows = OpenRows(mapped, self._where, self._zone)
        self._following = Following(self._database, rows, Writer(mapped), self._tally)
        return self._following

    # Leading and standing by.

    async def _take_turn(self, lock: Lock) -> None:
        """Wait for the lock, and lead until another one has it."""
        await self._stand_by(lock)
        self._is_leading, following = True, self._begin()
        logger.info("table %s: this process keeps it current", self._name)
        try:
            await self._lead(following, lock)
        except _Replaced:
            logger.warning("table %s: another process has taken over; this one stands by", self._name)
        finally:
            self._is_leading = False
            await self._write_last(following)
        # It was replaced, so the rows are the other's now, and the troubles with them.
        self._following = None
        for doing in (Doing.READ, Doing.WRITE):
            self._tally.database_did(doing)

    async def _stand_by(self, lock: Lock) -> None:
        has_told = False
        while True:
            try:
                if await _threads.in_thread(lock.acquire):
                    self._tally.database_did(Doing.LOCK)
                    return
                self._tally.database_did(Doing.LOCK)
                if not has_told:
                    has_told = True
                    logger.info("table %s: another process keeps it current; this one stands by", self._name)
            except sa.exc.SQLAlchemyError as error:
                self._tally.database_failed(Doing.LOCK, said(error))
            await anyio.sleep(STAND_BY_EVERY)

    async def _lead(self, following: Following, lock: Lock) -> None:
        async with _group() as tasks:
            tasks.start_soon(self._keep, lock)
            tasks.start_soon(following.find_on)
            tasks.start_soon(following.find_ended)
            tasks.start_soon(following.write_on)
            tracked = self._client.track(
                following.messages(), until=following.is_done, detail=self._level, look_ahead=None, **self._tracking
            )
            async with tracked as outcomes:
                async for outcome in outcomes:
                    await following.take(outcome)

    async def _keep(self, lock: Lock) -> None:
        """Keep the lock, and get it again after the database was away.

        Meanwhile tracking goes on: a change can be written without the lock, because an UPDATE has conditions.
        """
        while True:
            await anyio.sleep(SIGN_OF_LIFE_EVERY)
            try:
                if not await _threads.in_thread(lock.is_held) and not await _threads.in_thread(lock.acquire):
                    raise _Replaced
                self._tally.database_did(Doing.LOCK)
            except sa.exc.SQLAlchemyError as error:
                self._tally.database_failed(Doing.LOCK, said(error))

    async def _write_last(self, following: Following) -> None:
        with anyio.move_on_after(LAST_WRITE, shield=True):
            await following.write_all()
        if following.unwritten:
            logger.warning("%d changes could not be written; they are asked for again later", len(following.unwritten))


@asynccontextmanager
async def _group() -> AsyncGenerator[anyio.abc.TaskGroup, None]:
    """A task group that raises an error as itself, not in an exception group."""
    try:
        async with anyio.create_task_group() as tasks:
            yield tasks
    except BaseExceptionGroup as errors:
        raise _first(errors) from None


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = errors.subgroup(Exception) or errors  # rather an error than a cancellation
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
