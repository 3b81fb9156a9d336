"""What a call of `BlockingClient` costs beside the same call in async code.

`python -m benchmarks.blocking [CALLS [ROUNDS]]`

Each check is answered from the records that are kept, so nothing is sent and the difference is the two changes of the
thread. The figures are medians of the calls of each round, and then of the rounds, which take turns.
"""

from __future__ import annotations

import asyncio
import sys
from statistics import median
from time import perf_counter

import httpx

from smsc_status import StatusClient
from smsc_status.blocking import BlockingClient
from smsc_status.emulator import Emulator

PHONE = "79990000000"
KEPT = 3600.0
"""Seconds for which a record may be given again."""


def in_process() -> httpx.ASGITransport:
    """The emulator, with one message."""
    emulator = Emulator()
    emulator.world.add(1, PHONE, sent_at=emulator.now() - 600, life=[(0, 1, 0)])
    return httpx.ASGITransport(app=emulator)


async def by_async(calls: int) -> float:
    """The seconds that a check takes in async code."""
    took = []
    async with StatusClient(apikey="demo-key", base_url="http://localhost", transport=in_process()) as client:
        for _ in range(calls):
            began_at = perf_counter()
            await client.check(1, PHONE, max_age=KEPT)
            took.append(perf_counter() - began_at)
    return median(took)


def by_blocking(calls: int) -> float:
    """The seconds that a check takes in code that is not async."""
    took = []
    with BlockingClient(apikey="demo-key", base_url="http://localhost", transport=in_process()) as client:
        for _ in range(calls):
            began_at = perf_counter()
            client.check(1, PHONE, max_age=KEPT)
            took.append(perf_counter() - began_at)
    return median(took)


def main(calls: int = 3_000, rounds: int = 5) -> None:
    """Print what a call takes in each way."""
    found = [(asyncio.run(by_async(calls)), by_blocking(calls)) for _ in range(rounds)]
    in_async, in_blocking = (1e6 * median(took) for took in zip(*found, strict=True))
    print(f"StatusClient {in_async:.0f} µs, BlockingClient {in_blocking:.0f} µs, more: {in_blocking - in_async:.0f} µs")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
