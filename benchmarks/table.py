"""What a table of a million open rows costs: looking for new rows, the start, and the memory.

`python -m benchmarks.table [ROWS]`. It needs `pip install 'smsc-status[dev]'`: it starts a PostgreSQL of its own.

The database's time is what EXPLAIN ANALYZE says of each statement of a look, added up. The vendor's server answers
nothing here, so that no change of the table is in the way.
"""

from __future__ import annotations

import re
import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import anyio
import httpx
import sqlalchemy as sa

from benchmarks.postgres_server import postgres
from smsc_status import StatusClient
from smsc_status.tables import TableSync
from smsc_status.tables import _following as following_module

LOOKS = 20
NEW_ROWS = 10
NEWER = 50_000
"""Rows that are committed before one whose transaction began earlier."""


class Silent(httpx.AsyncBaseTransport):
    """A server that never answers."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Wait for ever."""
        await anyio.sleep_forever()
        raise AssertionError


def fill(engine: sa.Engine, rows: int) -> None:
    """A table as senders have it, with an index as it is wanted."""
    with engine.begin() as connection:
        connection.execute(
            sa.text(
                "CREATE TABLE messages (id bigint PRIMARY KEY, phone text NOT NULL, body text, sent_at timestamptz, "
                "status int, err int, changed_at timestamptz, checked_at timestamptz, outcome text)"
            )
        )
        connection.execute(
            sa.text(
                "INSERT INTO messages (id, phone, body, sent_at) "
                "SELECT n, '7999' || lpad((n % 10000000)::text, 7, '0'),"
                " 'Your code is ' || n, now() - n * interval '0.02 s' FROM generate_series(1, :rows) n"
            ),
            {"rows": rows},
        )
        connection.execute(sa.text("CREATE INDEX messages_open ON messages (id) WHERE outcome IS NULL"))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("VACUUM ANALYZE messages"))


class Costs:
    """Adds up the database's time for each statement, by running it once more under EXPLAIN ANALYZE."""

    def __init__(self, engine: sa.Engine) -> None:
        self.is_counting = False
        self.milliseconds = 0.0
        sa.event.listen(engine, "before_cursor_execute", self._count)

    def _count(self, connection: Any, cursor: Any, statement: str, parameters: Any, *_: object) -> None:
        if self.is_counting and statement.startswith("SELECT"):
            cursor.execute(f"EXPLAIN (ANALYZE) {statement}", parameters)
            text = "\n".join(line[0] for line in cursor.fetchall())
            self.milliseconds += sum(float(ms) for ms in re.findall(r"(?:Planning|Execution) Time: ([\d.]+) ms", text))


async def measure(url: str, rows: int) -> None:
    """Start on the table, and look for new rows again and again."""
    engine = sa.create_engine(url)
    costs = Costs(engine)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    client = StatusClient(apikey="key", base_url="http://localhost", transport=Silent())
    began_at = time.monotonic()
    async with client, TableSync(client, engine, table="messages") as sync, anyio.create_task_group() as tasks:
        tasks.start_soon(sync.run)
        await _until(lambda: sync.stats().has_all and client.stats().tracked == rows)
        seconds = time.monotonic() - began_at
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(f"start: {seconds:.1f} s; peak memory {peak / 1024:.0f} MB, of which {before / 1024:.0f} before")
        print(f"a look: {await cost_of_looks(sync, costs)}")
        found = await time_to_find(engine, client, rows)
        print(f"a new row: found {median(found):.2f} s after its commit, at most {max(found):.2f} s")
        late = await time_to_find_late(engine, client)
        print(f"a row committed behind {NEWER:,} newer ones: found {late:.2f} s after its commit")
        await make_gaps(engine, client)
        print(f"a look with 1,000 gaps in the keys: {await cost_of_looks(sync, costs)}")
        sync.stop()
    engine.dispose()


async def cost_of_looks(sync: TableSync, costs: Costs) -> str:
    """The database's time for a look."""
    looks: list[float] = []
    costs.is_counting = True
    for _ in range(LOOKS):
        count, costs.milliseconds = sync.stats().looks, 0.0
        await _until(partial(_has_looked, sync, count))
        looks.append(costs.milliseconds)
    costs.is_counting = False
    return f"median {median(looks):.1f} ms of the database's time, most {max(looks):.1f} ms"


def _has_looked(sync: TableSync, count: int) -> bool:
    return sync.stats().looks > count


def _tracks(client: StatusClient, count: int) -> bool:
    return client.stats().tracked >= count


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 (there is no event)
        await anyio.sleep(0.02)


async def time_to_find(engine: sa.Engine, client: StatusClient, rows: int) -> list[float]:
    """How long it takes until inserted rows are tracked."""
    insert = sa.text("INSERT INTO messages (id, phone, sent_at) VALUES (:id, '79990000000', now())")
    found = []
    for number in range(1, NEW_ROWS + 1):
        with engine.begin() as connection:
            connection.execute(insert, {"id": rows + number})
        began_at = time.monotonic()
        await _until(partial(_tracks, client, rows + number))
        found.append(time.monotonic() - began_at)
        await anyio.sleep(0.13 * number % following_module.LOOK_EVERY)
    return found


async def time_to_find_late(engine: sa.Engine, client: StatusClient) -> float:
    """How long it takes until a row is tracked whose transaction began before those of many rows that are tracked."""
    insert = "INSERT INTO messages (id, phone, sent_at) SELECT {}, '79990000000', now()"
    count = client.stats().tracked
    with engine.connect() as early:
        key = early.execute(sa.text(f"{insert.format('max(id) + 1')} FROM messages RETURNING id")).scalar()
        with engine.begin() as connection:
            connection.execute(sa.text(f"{insert.format('n')} FROM generate_series({key} + 1, {key} + {NEWER}) n"))
        await _until(partial(_tracks, client, count + NEWER))
        await anyio.sleep(2.5)
        early.commit()
    began_at = time.monotonic()
    await _until(partial(_tracks, client, count + NEWER + 1))
    return time.monotonic() - began_at


async def make_gaps(engine: sa.Engine, client: StatusClient) -> None:
    """Insert a thousand rows, of which each leaves one key out."""
    count = client.stats().tracked
    with engine.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO messages (id, phone, sent_at) SELECT highest.id + 2 * n, '79990000000', now() "
                "FROM (SELECT max(id) AS id FROM messages) highest, generate_series(1, 1000) n"
            )
        )
    await _until(partial(_tracks, client, count + 1000))
    await anyio.sleep(2.5)


def main(rows: int = 1_000_000) -> None:
    """Run it."""
    with postgres() as server:
        began_at = time.monotonic()
        fill(sa.create_engine(server.url, poolclass=sa.NullPool), rows)
        print(f"{rows:,} open rows in PostgreSQL (made in {time.monotonic() - began_at:.0f} s)")
        anyio.run(measure, server.url, rows)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
