"""How many messages an hour can be checked, by round trip and `max_bulk`? In virtual time, on the emulator.

`python -m benchmarks.schedule [MESSAGES]`
"""

from __future__ import annotations

import sys

import anyio
import httpx
import trio
from trio.testing import MockClock

from smsc_status import Limits, StatusClient
from smsc_status.emulator import Emulator

ROUND_TRIPS = (0.02, 0.1, 0.5, 2.0)
MAX_BULKS = (100, 500, 1000)


class Distant(httpx.AsyncBaseTransport):
    """An emulator that is half a round trip away."""

    def __init__(self, emulator: Emulator, round_trip: float) -> None:
        self._server = httpx.ASGITransport(app=emulator)
        self._one_way = round_trip / 2

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """There, and back."""
        await anyio.sleep(self._one_way)
        response = await self._server.handle_async_request(request)
        await anyio.sleep(self._one_way)
        return response


def per_hour(messages: int, round_trip: float, max_bulk: int) -> float:
    """Messages an hour, as measured while so many distinct ids are checked once."""

    async def main() -> float:
        emulator = Emulator()
        sent_at = emulator.now() - 3600
        refs = [emulator.world.add(k, "79990000000", sent_at=sent_at, life=[(0, 1, 0)]) for k in range(1, messages + 1)]
        transport = Distant(emulator, round_trip)
        limits = Limits(max_bulk=max_bulk)
        async with StatusClient(
            apikey="demo-key", base_url="http://localhost", transport=transport, limits=limits
        ) as client:
            began_at = anyio.current_time()
            answered = [outcome async for outcome in client.stream(refs)]
            took = anyio.current_time() - began_at
        assert len(answered) == messages
        assert emulator.referee.is_content
        return messages / took * 3600

    return trio.run(main, clock=MockClock(autojump_threshold=0))


def main(messages: int = 20_000) -> None:
    """Print the table."""
    print(f"messages an hour, measured over {messages:,} distinct ids")
    print("round trip".rjust(12), *(f"max_bulk={size}".rjust(15) for size in MAX_BULKS))
    for round_trip in ROUND_TRIPS:
        row = [f"{per_hour(messages, round_trip, size):,.0f}".rjust(15) for size in MAX_BULKS]
        print(f"{round_trip:g} s".rjust(12), *row)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
