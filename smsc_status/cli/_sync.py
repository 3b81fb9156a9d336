"""The command `sync`: keeps the statuses of a database table current."""

from __future__ import annotations

import logging
import signal
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import tzinfo
from time import monotonic
from typing import TYPE_CHECKING, Any

import anyio
import attrs

from smsc_status._runtime.account import Secret
from smsc_status.cli._account import open_client, require_answers
from smsc_status.cli._exits import Exit, exit_of, explained, print_on_stderr
from smsc_status.cli._health import Page, answering, health_pages
from smsc_status.cli._meters import Meter, meter_of, note_of, ticking
from smsc_status.cli._metrics import Metrics
from smsc_status.cli._output import json_line, write_stdout
from smsc_status.client import Stats, StatusClient
from smsc_status.errors import ConfigError, SmscError
from smsc_status.models import Detail, Limits

if TYPE_CHECKING:
    from smsc_status.tables import SyncStats, TableSync

UNANSWERED = 180.0
"""Seconds. If messages are due and no answer came for this long, the vendor counts as not reached."""


@attrs.frozen(kw_only=True)
class Table:
    """The table, and how it is read: see `TableSync`."""

    database: Secret
    name: str
    columns: list[str]
    where: str | None
    zone: tzinfo
    create_columns: bool


@attrs.frozen(kw_only=True)
class Following:
    """How the rows are followed: see `TableSync`. `health` is the address for probes, `metrics` that for Prometheus."""

    once: bool
    detail: Detail | None
    eagerness: float
    expire_after: float
    health: tuple[str, int] | None
    metrics: tuple[str, int] | None


def sync_table(table: Table, following: Following, *, limits: Limits, share: str | None, as_json: bool) -> Exit:
    """Keep the table current until SIGTERM or Ctrl-C, or check each open row once.

    Raises:
        ConfigError: the table or an argument can't be used, or a package that is needed is not installed.
        DatabaseUnavailable: the database can't be reached.
        OSError: the address for probes or for Prometheus can't be taken.
    """
    from smsc_status.tables import Columns, TableSync  # noqa: PLC0415 (SQLAlchemy is an extra)

    names = dict(name_of(given) for given in table.columns)
    metrics = None if following.metrics is None else Metrics()
    client = open_client(limits, share, telemetry=None if metrics is None else metrics.telemetry)
    run = Run(
        client=client,
        metrics=metrics,
        sync=TableSync(
            client,
            table.database,
            table=table.name,
            columns=Columns.of(names),
            where=table.where,
            timezone=table.zone,
            create_columns=table.create_columns,
            detail=following.detail,
            eagerness=following.eagerness,
            expire_after=following.expire_after,
        ),
        options=following,
        meter=meter_of(),
    )
    return run.told(run.carry_out(), as_json=as_json)


def name_of(given: str) -> tuple[str, str | None]:
    """The field and the column's name of `FIELD=COLUMN`; an empty name means no column.

    Raises:
        ConfigError: it has another form.
    """
    field, equals, name = given.partition("=")
    if not field or not equals:
        raise ConfigError(f"--column {given!r}: expected FIELD=COLUMN, such as id=sms_id")
    return field, name or None


@attrs.define(kw_only=True)
class Run:
    """One run of the command."""

    client: StatusClient
    metrics: Metrics | None
    sync: TableSync
    options: Following
    meter: Meter
    ended_by: signal.Signals | None = None
    began_at: float = attrs.field(factory=monotonic)
    answers: int = 0
    answered_at: float = attrs.field(factory=monotonic)

    def carry_out(self) -> Exit:
        """Work until it ends or is ended, and return the exit status."""
        handler = _InMeter(self.meter)
        logger = logging.getLogger("smsc_status")
        logger.addHandler(handler)
        try:
            with self.meter:
                return anyio.run(self._run)
        except KeyboardInterrupt:  # where signals can't be received
            return Exit.INTERRUPTED
        finally:
            logger.removeHandler(handler)
            if self.metrics is not None:
                self.metrics.close()

    async def _run(self) -> Exit:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.client)
            await stack.enter_async_context(self.sync)
            if self.sync.fields:
                self.meter.say(f"writes also {', '.join(self.sync.fields)}")
            await stack.enter_async_context(answering(self._pages()))
            await stack.enter_async_context(self._ended_by_signals())
            try:
                async with ticking(self._tick):
                    if self.ended_by is None:  # a signal may have come before there was anything to stop
                        await (self.sync.check_once() if self.options.once else self.sync.run())
            except SmscError as error:
                self.meter.say(explained(error))
                return exit_of(error)
        return self._exit()

    def _pages(self) -> dict[tuple[str, int], dict[str, Page]]:
        """What is served, by address. Probes and Prometheus may have the same one."""
        pages: dict[tuple[str, int], dict[str, Page]] = {}
        if self.options.health is not None:
            pages[self.options.health] = health_pages(self.report)
        if self.options.metrics is not None and self.metrics is not None:
            pages.setdefault(self.options.metrics, {})["/metrics"] = self.metrics.page
        return pages

    def _exit(self) -> Exit:
        if self.ended_by is signal.SIGINT or (self.ended_by is not None and self.options.once):
            return Exit.INTERRUPTED
        stats = self.sync.stats()
        failed = stats.unwritten or stats.failed_writes or (self.options.once and stats.unanswered)
        return Exit.SOME_FAILED if failed else Exit.DONE

    @asynccontextmanager
    async def _ended_by_signals(self) -> AsyncGenerator[None, None]:
        async with anyio.create_task_group() as tasks:
            await tasks.start(self._receive_signals)
            yield
            tasks.cancel_scope.cancel()

    async def _receive_signals(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            task_status.started()
            async for number in signals:
                self.ended_by = number
                self.sync.stop()

    # What is shown.

    def _tick(self) -> None:
        stats = self.client.stats()
        answers = stats.records + sum(stats.refusals.values())
        if answers != self.answers or not stats.due:
            self.answers, self.answered_at = answers, monotonic()
        if self.options.once:
            require_answers(stats, monotonic() - self.began_at)
        rows = self.sync.stats()
        done = sum(rows.done.values())
        total = done + rows.open_rows if rows.is_leading or self.options.once else None
        self.meter.show(done, total, f"{self._note(rows, stats)} · {note_of(stats)}")

    def _note(self, rows: SyncStats, stats: Stats) -> str:
        if not rows.is_leading and not self.options.once:
            return "stands by"
        parts = [f"{rows.open_rows} open", f"{rows.written} changes written"]
        parts += [f"{rows.unwritten} unwritten"] if rows.unwritten else []
        parts += [f"{rows.failed_writes} failed"] if rows.failed_writes else []
        parts += [] if rows.is_database_reached else ["the database is away"]
        return " · ".join([*parts, f"oldest answer {stats.stalest:.0f} s"])

    def report(self) -> tuple[bool, dict[str, Any]]:
        """What `/healthz` says."""
        rows, stats = self.sync.stats(), self.client.stats()
        is_vendor_reached = not stats.is_in_outage and monotonic() < self.answered_at + UNANSWERED
        role = "once" if self.options.once else "leader" if rows.is_leading else "standby"
        facts = {
            "alive": True,
            "role": role,
            "database": rows.is_database_reached,
            "vendor": is_vendor_reached,
            "stalest": round(stats.stalest, 1),
            "open": rows.open_rows,
            "unwritten": rows.unwritten,
        }
        return rows.is_database_reached and is_vendor_reached, facts

    def told(self, status: Exit, *, as_json: bool) -> Exit:
        """Show what was done, and return the exit status."""
        if as_json:
            write_stdout(json_line(self.summary(status)))
        else:
            print_on_stderr(self.summary_line())
        return status

    def summary(self, status: Exit) -> dict[str, Any]:
        """What was done, ready for JSON."""
        rows = self.sync.stats()
        return {
            "exit": int(status),
            "done": sum(rows.done.values()),
            "outcomes": rows.done,
            "open": rows.open_rows,
            "written": rows.written,
            "unwritten": rows.unwritten,
            "failed_writes": rows.failed_writes,
            "unanswered": rows.unanswered,
            "requests": dict(self.client.stats().requests),
            "seconds": round(monotonic() - self.began_at, 3),
        }

    def summary_line(self) -> str:
        """What was done, for people."""
        rows, requests = self.sync.stats(), self.client.stats().requests
        return (
            f"{sum(rows.done.values())} rows ended, {rows.written} changes written, {rows.failed_writes} failed, "
            f"{rows.unwritten} unwritten; {requests['single']} single and {requests['bulk']} bulk requests"
        )


class _InMeter(logging.Handler):
    """Shows what the library warns of."""

    def __init__(self, meter: Meter) -> None:
        super().__init__(logging.INFO)
        self._meter = meter

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            self._meter.say(record.getMessage())
