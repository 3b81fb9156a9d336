"""What tests of tables need: a table, an emulator and a client, in virtual time."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import sqlalchemy as sa
from anyio.lowlevel import checkpoint
from helpers import PHONE
from network import Network

from smsc_status import StatusClient
from smsc_status.emulator import Emulator
from smsc_status.tables import TableSync

START = datetime(2026, 3, 10, 6, 0, tzinfo=UTC)
IN = "id bigint primary key, phone varchar(40), sent_at timestamp"
OUT = "status int, err int, changed_at timestamp, checked_at timestamp, outcome varchar(64)"

Life = list[tuple[float, int, int]]
DELIVERED: Life = [(5, 1, 0)]


class Office:
    """A table of messages, the emulator to which they were sent, and a client, all with one date in virtual time."""

    def __init__(self, engine: sa.Engine, columns: str = f"{IN}, {OUT}", **faults: float) -> None:
        self.engine = engine
        self.began_at = anyio.current_time()
        self.emulator = Emulator(seed=1, wall_clock=self.now, faults=faults)
        self.network = Network(self.emulator, round_trip=0.1)
        self.client = StatusClient(
            apikey="demo-key", base_url="http://localhost", wall_clock=self.now, transport=self.network
        )
        self.sql("drop table if exists messages")
        self.sql(f"create table messages ({columns})")

    def now(self) -> datetime:
        return START + timedelta(seconds=anyio.current_time() - self.began_at)

    def sql(self, statement: str, **values: Any) -> None:
        with self.engine.begin() as connection:
            connection.execute(sa.text(statement), values)

    def rows(self, what: str = "id, status, outcome") -> list[tuple[Any, ...]]:
        with self.engine.begin() as connection:
            return [tuple(row) for row in connection.execute(sa.text(f"select {what} from messages order by id"))]

    def outcome(self, id: int) -> str | None:
        outcomes: dict[int, str | None] = {row[0]: row[1] for row in self.rows("id, outcome")}
        return outcomes[id]

    def send(self, id: int, life: Life | None = None, phone: str = PHONE) -> None:
        """Send a message; the table does not have it yet."""
        self.emulator.world.add(id, phone, sent_at=self.emulator.now(), life=life or DELIVERED)

    def insert(self, id: int, life: Life | None = None, phone: str = PHONE) -> None:
        """Send a message, and insert its row."""
        self.send(id, life, phone)
        self.sql("insert into messages (id, phone) values (:id, :phone)", id=id, phone=phone)

    def sync(self, **options: Any) -> TableSync:
        return TableSync(self.client, self.engine, **{"table": "messages"} | options)

    def asked(self) -> int:
        """How many requests were sent."""
        return len(self.network.bodies)


@asynccontextmanager
async def running(sync: TableSync, *, is_opened: bool = False) -> AsyncGenerator[TableSync, None]:
    """Run it while the block runs, and then stop it."""
    if not is_opened:
        async with sync, running(sync, is_opened=True):
            yield sync
        return
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sync.run)
        await checkpoint()
        yield sync
        sync.stop()


async def until(condition: Callable[[], object], at_most: float = 200.0, step: float = 0.5) -> float:
    """Wait until something is so. Returns how many seconds that took."""
    began_at = anyio.current_time()
    with anyio.fail_after(at_most):
        while not condition():  # noqa: ASYNC110 (a database tells nobody)
            await anyio.sleep(step)
    return anyio.current_time() - began_at


class Told(logging.Handler):
    """What the library logs, from INFO on."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())

    def about(self, part: str) -> list[str]:
        return [text for text in self.texts if part in text]


@contextmanager
def told() -> Iterator[Told]:
    logger, handler = logging.getLogger("smsc_status"), Told()
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
