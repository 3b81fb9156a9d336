"""How long does a mailing take, and how many messages can be checked in an hour? In virtual time.

`python -m benchmarks.schedule [MESSAGES [MEASURED]]`: times for up to `MESSAGES` messages (default 100,000), and the
rate for an hour, measured over `MEASURED` messages (default 20,000).

Only waiting counts here: each request takes one round trip, whatever is in it. The stream is compared with the least
time that the limits allow, and with what a user would write by hand:

- a loop that asks for one message after the other;
- `asyncio.gather` of single checks, each behind the `aiolimiter` of its id, four at a time;
- bulk requests alone, one a minute.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable

import anyio
import httpx
import trio
from aiolimiter import AsyncLimiter
from trio.testing import MockClock

from benchmarks.answering import reply_to
from smsc_status import Limits, StatusClient
from smsc_status.emulator import Emulator
from smsc_status.emulator.virtual import VirtualLoop

PHONE = "79990000000"
MESSAGES = (1_000, 10_000, 100_000)
ROUND_TRIPS = (0.02, 0.1, 0.5, 2.0)
MAX_BULKS = (100, 500, 1000)


class Answering(httpx.AsyncBaseTransport):
    """Answers as the server of `benchmarks.answering` does, but without a socket, in this process."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer at once."""
        return httpx.Response(200, content=reply_to(await request.aread()))


class Distant(httpx.AsyncBaseTransport):
    """A server that is half a round trip away."""

    def __init__(self, server: httpx.AsyncBaseTransport, round_trip: float) -> None:
        self._server = server
        self._one_way = round_trip / 2

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Wait for the way there, answer, and wait for the way back."""
        await anyio.sleep(self._one_way)
        response = await self._server.handle_async_request(request)
        await anyio.sleep(self._one_way)
        return response


def best_schedule(messages: int, round_trip: float, limits: Limits) -> float:
    """The least time in which `messages` distinct ids can be answered within the limits, the margin included.

    The bulk slot comes back a period and a margin after its reply. So the k-th bulk reply (k from 0) comes at
    `round_trip + k * (round_trip + period + margin)`. Each connection can end one request in every round trip, and a
    bulk request takes one connection for one round trip. So by the time `t` at most these are answered: `max_bulk`
    messages for each bulk reply, and one message for each other request that the connections can have ended. The result
    is the first end of a round trip, or of a bulk request, at which that is enough.
    """
    cycle = round_trip + limits.period + limits.margin

    def answered(t: float) -> int:
        bulks = int((t - round_trip) / cycle + 1e-9) + 1
        return bulks * (limits.max_bulk - 1) + limits.connections * int(t / round_trip + 1e-9)

    rounds = next(k for k in range(1, messages + 1) if answered(k * round_trip) >= messages)
    bulk_replies = (round_trip + k * cycle for k in range(messages // limits.max_bulk + 1))
    return min(rounds * round_trip, next((t for t in bulk_replies if answered(t) >= messages), rounds * round_trip))


def fetch(messages: int, round_trip: float) -> float:
    """The seconds that the client's stream takes."""

    async def main() -> float:
        transport = Distant(Answering(), round_trip)
        async with StatusClient(apikey="k", base_url="http://localhost", transport=transport) as client:
            began_at = anyio.current_time()
            count = 0
            async for _ in client.stream((k, PHONE) for k in range(1, messages + 1)):
                count += 1
            took = anyio.current_time() - began_at
        assert count == messages
        return took

    return trio.run(main, clock=MockClock(autojump_threshold=0))


async def one_by_one(messages: int, round_trip: float) -> None:
    """A loop of single checks."""
    for _ in range(messages):
        await asyncio.sleep(round_trip)


async def gathered(messages: int, round_trip: float) -> None:
    """Single checks all at once, each behind the limiter of its id, four at a time."""
    four = asyncio.Semaphore(4)

    async def check() -> None:
        async with AsyncLimiter(5, 60), four:
            await asyncio.sleep(round_trip)

    await asyncio.gather(*(check() for _ in range(messages)))


async def in_bulk(messages: int, round_trip: float) -> None:
    """Bulk requests of a thousand, with a minute between a reply and the next request."""
    for first in range(0, messages, 1000):
        await asyncio.sleep(60 if first else 0)
        await asyncio.sleep(round_trip)


RIVALS: dict[str, Callable[[int, float], Awaitable[None]]] = {
    "one by one": one_by_one,
    "gather": gathered,
    "bulk only": in_bulk,
}


def rival(work: Callable[[int, float], Awaitable[None]], messages: int, round_trip: float) -> float:
    """The seconds that this way takes."""

    async def main() -> float:
        began_at = asyncio.get_running_loop().time()
        await work(messages, round_trip)
        return asyncio.get_running_loop().time() - began_at

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main())


def per_hour(messages: int, round_trip: float, max_bulk: int) -> float:
    """Messages checked in an hour, measured on the emulator while `messages` distinct ids are checked once."""

    async def main() -> float:
        emulator = Emulator()
        sent_at = emulator.now() - 3600
        refs = [emulator.world.add(k, PHONE, sent_at=sent_at, life=[(0, 1, 0)]) for k in range(1, messages + 1)]
        transport = Distant(httpx.ASGITransport(app=emulator), round_trip)
        limits = Limits(max_bulk=max_bulk)
        async with StatusClient(
            apikey="demo-key", base_url="http://localhost", transport=transport, limits=limits
        ) as client:
            began_at = anyio.current_time()
            answered = [outcome async for outcome in client.stream(refs)]
            took = anyio.current_time() - began_at
        assert len(answered) == messages
        assert emulator.referee.no_violations
        return messages / took * 3600

    return trio.run(main, clock=MockClock(autojump_threshold=0))


def main(most: int = 100_000, measured: int = 20_000) -> None:
    """Print the tables."""
    print("seconds to check this many messages of distinct ids once")
    heads = ("stream", "least", "ratio", *RIVALS)
    print("messages".rjust(10), "round trip".rjust(12), *(head.rjust(12) for head in heads))
    for messages in [*(size for size in MESSAGES if size < most), most]:
        for round_trip in ROUND_TRIPS:
            took, least = fetch(messages, round_trip), best_schedule(messages, round_trip, Limits())
            rivals = [rival(work, messages, round_trip) for work in RIVALS.values()]
            figures = [f"{took:,.2f}", f"{least:,.2f}", f"{took / least:.3f}", *(f"{other:,.2f}" for other in rivals)]
            row = [f"{messages:,}".rjust(10), f"{round_trip:g} s".rjust(12), *(text.rjust(12) for text in figures)]
            print(*row)
    print(f"\nmessages an hour, measured over {measured:,} distinct ids")
    print("round trip".rjust(12), *(f"max_bulk={size}".rjust(15) for size in MAX_BULKS))
    for round_trip in ROUND_TRIPS:
        hourly = [f"{per_hour(measured, round_trip, size):,.0f}".rjust(15) for size in MAX_BULKS]
        print(f"{round_trip:g} s".rjust(12), *hourly)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
