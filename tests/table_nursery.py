"""Starts processes that keep a table current, for the tests of what may happen to them.

Its argument is the database's URL. A line on its standard input with the URLs of the server and the database starts a
process, and prints its number. The processes are forked, because a new Python would take a second to load what they
need.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import ssl
import sys

import anyio
import sqlalchemy as sa

from smsc_status import Limits, StatusClient
from smsc_status.tables import TableSync, _following

TRUSTED = ssl.create_default_context()
_following.GATHER = 0.05  # so that each of twenty lives takes half a second
LIMITS = Limits(period=0.3, margin=0.1, linger=0.2)


async def keep_current(server: str, database: str) -> None:
    """Keep the table current until SIGTERM."""
    client = StatusClient(
        apikey="demo-key", base_url=server, limits=LIMITS, timeout=1.0, share="process", verify=TRUSTED
    )
    async with client, TableSync(client, database, table="messages") as sync, anyio.create_task_group() as tasks:

        async def stop_on_sigterm() -> None:
            with anyio.open_signal_receiver(signal.SIGTERM) as signals:
                async for _ in signals:
                    sync.stop()

        tasks.start_soon(stop_on_sigterm)
        await sync.run()
        tasks.cancel_scope.cancel()


def main() -> None:
    """Fork a process for each line."""
    database = sys.argv[1]
    with sa.create_engine(database, poolclass=sa.NullPool).connect() as connection:
        sa.inspect(connection).get_indexes("messages")
    StatusClient(apikey="demo-key", verify=TRUSTED, share="process").track([])
    gc.disable()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            logging.disable()
            anyio.run(keep_current, *line.split())
            sys.exit()  # as a program does, which waits for its threads
        print(child, flush=True)  # noqa: T201 (it is a program)


if __name__ == "__main__":
    main()
