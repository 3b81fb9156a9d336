"""What the client costs, compared with the HTTP client that it uses, and with what a user would write without it.

`python -m benchmarks.client [SCALE]`: all sizes are multiplied by the scale, which is 1 by default.

Each request goes over a loopback socket to a process that answers at once (see `benchmarks.answering`), so that the
times are nearly all the client's own. What is compared runs in turns in one process. The figures are medians of the
turns. Their ratios say more than the figures themselves, which depend on the machine.

- A lone `check`, beside the same POST by bare httpx and by aiohttp. The floor is the same bytes on a bare socket.
- A thousand `check`s at once. With the bulk slot free they are one request, without it a thousand, four at a time.
- A lone `check` while a stream keeps both lanes busy, in round trips: over the loopback to a server that takes its
  time, and in virtual time, where nothing but waiting counts.
- A stream's time per message: with bulk requests alone (no pause between them), and as the vendor's limits allow.
- The CPU time of imports, each in a new process. httpx imports a command line of its own if it finds click and rich,
  so imports are measured with and without these.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from statistics import median, quantiles
from time import perf_counter, process_time
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit

import aiohttp
import anyio
import httpx
import trio
from trio.testing import MockClock

from benchmarks.answering import RECORD, running
from benchmarks.schedule import Answering, Distant
from smsc_status import Limits, LocalLimiter, StatusClient

PHONE = "79990000000"
NO_PAUSE = Limits(period=1e-9, margin=0.0)
ROUND_TRIP = 0.1
"""The seconds that an answer takes where the server is not to answer at once."""

IMPORTS = {
    "httpx": "import httpx",
    "asyncio, anyio, httpx": "import asyncio, anyio, httpx",
    "smsc_status": "from smsc_status import StatusClient, MessageRef, StatusRecord",
    "... an AsyncClient made": "import asyncio, anyio, httpx; httpx.AsyncClient()",
    "... a StatusClient made": "from smsc_status import StatusClient; StatusClient(apikey='k')",
}
PLAIN = "import sys; sys.modules['click'] = None; "
"""Makes imports behave as if click were not installed."""

_ids = itertools.count(10**6)


class Took(NamedTuple):
    """The seconds that each call or message took."""

    wall: float
    cpu: float


class RoundTrips(NamedTuple):
    """The time that lone checks took, in round trips."""

    median: float
    p95: float


def form() -> dict[str, str]:
    """The form that asks about one message: another message at each call."""
    return {"apikey": "k", "id": str(next(_ids)), "phone": PHONE, "fmt": "3", "charset": "utf-8", "all": "0"}


async def in_turns(
    works: Mapping[str, Callable[[], Awaitable[object]]], *, calls: int, rounds: int, scale: int = 1
) -> dict[str, Took]:
    """Run `rounds` rounds of `calls` calls of each work, in turn. Returns what a call took, divided by `scale`."""
    found: dict[str, list[Took]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            gc.collect()
            cpu, began_at = process_time(), perf_counter()
            for _ in range(calls):
                await work()
            of = calls * scale
            found[name].append(Took((perf_counter() - began_at) / of, (process_time() - cpu) / of))
    return {name: Took(*(median(values) for values in zip(*took, strict=True))) for name, took in found.items()}


async def lone(url: str, *, calls: int, rounds: int) -> dict[str, Took]:
    """One status at a time, in each way."""
    address, path = urlsplit(url), f"{url}/sys/status.php"
    reader, writer = await asyncio.open_connection(address.hostname, address.port)

    async def by_socket() -> None:
        body = urlencode(form()).encode()
        writer.write(b"POST /sys/status.php HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split()[0])
        json.loads(await reader.readexactly(length))

    async with httpx.AsyncClient() as http, aiohttp.ClientSession() as session, _client(url) as client:

        async def by_aiohttp() -> None:
            async with session.post(path, data=form()) as response:
                json.loads(await response.read())

        async def by_httpx() -> None:
            json.loads((await http.post(path, data=form())).content)

        async def by_check() -> None:
            await client.check(next(_ids), PHONE)

        works = {"bare socket": by_socket, "aiohttp": by_aiohttp, "httpx": by_httpx, "check": by_check}
        found = await in_turns(works, calls=calls, rounds=rounds)
    writer.close()
    await writer.wait_closed()
    return found


async def at_once(url: str, *, calls: int, rounds: int) -> dict[str, Took]:
    """`calls` statuses at once, over at most four connections, in each way."""
    path, four = f"{url}/sys/status.php", httpx.Limits(max_connections=4)
    async with (
        httpx.AsyncClient(limits=four, timeout=60) as http,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=4)) as session,
        _client(url) as without_slot,
    ):

        async def post() -> None:
            async with session.post(path, data=form()) as response:
                json.loads(await response.read())

        async def by_aiohttp() -> None:
            await asyncio.gather(*(post() for _ in range(calls)))

        async def by_httpx() -> None:
            await asyncio.gather(*(http.post(path, data=form()) for _ in range(calls)))

        async def by_check() -> None:
            await asyncio.gather(*(without_slot.check(next(_ids), PHONE) for _ in range(calls)))

        async def by_check_in_bulk() -> None:
            async with _client(url) as client:
                await asyncio.gather(*(client.check(next(_ids), PHONE) for _ in range(calls)))

        await by_check()  # uses up the bulk slot
        works = {
            "aiohttp": by_aiohttp,
            "httpx": by_httpx,
            "check, no bulk slot": by_check,
            "check, bulk slot free": by_check_in_bulk,
        }
        return await in_turns(works, calls=1, rounds=rounds, scale=calls)


async def beside_a_stream(client: StatusClient, *, streamed: int, checks: int) -> RoundTrips:
    """The time of lone checks, made one after the other at irregular moments while a stream runs."""
    took = []

    async def keep_busy() -> None:
        async for _ in client.stream((k, PHONE) for k in range(1, streamed + 1)):
            pass

    async with anyio.create_task_group() as group:
        group.start_soon(keep_busy)
        await anyio.sleep(10.7 * ROUND_TRIP)
        for number in range(checks):
            await anyio.sleep(ROUND_TRIP * (1 + number % 7 / 7))
            began_at = anyio.current_time()
            await client.check(next(_ids), PHONE)
            took.append((anyio.current_time() - began_at) / ROUND_TRIP)
        assert client.stats().waiting > 0, "the stream has ended before the checks"
        group.cancel_scope.cancel()
    return RoundTrips(median(took), quantiles(took, n=20)[-1])


def in_virtual_time(*, streamed: int, checks: int) -> RoundTrips:
    """`beside_a_stream` in virtual time, where only the round trips take time."""

    async def main() -> RoundTrips:
        transport = Distant(Answering(), ROUND_TRIP)
        async with StatusClient(apikey="k", base_url="http://localhost", transport=transport) as client:
            return await beside_a_stream(client, streamed=streamed, checks=checks)

    return trio.run(main, clock=MockClock(autojump_threshold=0))


async def streams(url: str, *, messages: int, singles: int, rounds: int) -> dict[str, Took]:
    """The time for each message of a stream, in each way."""
    path = f"{url}/sys/status.php"
    async with httpx.AsyncClient() as http:

        async def by_httpx_in_bulk() -> None:
            for _ in range(messages // 1000):
                ids = ",".join(str(next(_ids)) for _ in range(1000))
                reply = await http.post(path, data=form() | {"id": ids, "phone": ",".join([PHONE] * 1000)})
                assert len(json.loads(reply.content)) == 1000

        async def by_stream_in_bulk() -> None:
            await _drain(url, messages, NO_PAUSE)

        in_bulk = {"httpx, bulk requests by hand": by_httpx_in_bulk, "stream, bulk requests": by_stream_in_bulk}
        found = await in_turns(in_bulk, calls=1, rounds=rounds, scale=messages)

        async def by_httpx() -> None:
            async def work() -> None:
                for _ in range(singles // 4):
                    json.loads((await http.post(path, data=form())).content)

            await asyncio.gather(*(work() for _ in range(4)))

        async def by_stream() -> None:
            await _drain(url, singles, Limits())

        singly = {"httpx, one by one, four at a time": by_httpx, "stream, the vendor's limits": by_stream}
        return found | await in_turns(singly, calls=1, rounds=rounds, scale=singles)


async def _drain(url: str, messages: int, limits: Limits) -> None:
    first = next(_ids)
    async with _client(url, limits) as client:
        outcomes = [outcome async for outcome in client.stream((first + k, PHONE) for k in range(messages))]
    for _ in range(messages):
        next(_ids)
    assert len(outcomes) == messages


def imports(*, rounds: int) -> dict[str, tuple[float, float]]:
    """The CPU seconds of each import, without the interpreter's start: with all that is installed, and `PLAIN`."""
    found: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in IMPORTS}
    for _ in range(rounds):
        for name, code in IMPORTS.items():
            for took, before in zip(found[name], ("", PLAIN), strict=True):
                script = f"from time import process_time as t; t0 = t(); {before}{code}; print(t() - t0)"
                done = subprocess.run(  # noqa: S603 (the lines above)
                    [sys.executable, "-c", script], capture_output=True, text=True, check=True
                )
                took.append(float(done.stdout))
    return {name: (median(installed), median(plain)) for name, (installed, plain) in found.items()}


def _client(url: str, limits: Limits | None = None) -> StatusClient:
    """A client with a limiter of its own."""
    return StatusClient(apikey="k", base_url=url, limiter=LocalLimiter(limits))


def _show(title: str, found: dict[str, Took], peer: str) -> None:
    print(f"\n{title}")
    print(" " * 36, "µs".rjust(8), f"x {peer}".rjust(16), "CPU µs".rjust(8), f"x {peer}".rjust(16))
    for name, took in found.items():
        ratios = (took.wall / found[peer].wall, took.cpu / found[peer].cpu)
        print(
            name.ljust(36),
            f"{took.wall * 1e6:8.1f}",
            f"{ratios[0]:16.2f}",
            f"{took.cpu * 1e6:8.1f}",
            f"{ratios[1]:16.2f}",
        )


def _show_pauses(pauses: Sequence[tuple[str, RoundTrips]]) -> None:
    print("\na lone check beside a stream of 100,000, in round trips")
    print(" " * 36, "median".rjust(8), "95 %".rjust(8))
    for name, pause in pauses:
        print(name.ljust(36), f"{pause.median:8.2f}", f"{pause.p95:8.2f}")


def main(scale: float = 1.0) -> None:
    """Print the tables."""

    def scaled(size: int, least: int = 1) -> int:
        return max(least, int(size * scale))

    assert json.loads(RECORD + b"}")["status"] == 1
    with running() as url:
        _show("a lone check", asyncio.run(lone(url, calls=scaled(50), rounds=scaled(30))), "httpx")
        found = asyncio.run(at_once(url, calls=scaled(1000, 20), rounds=scaled(3)))
        _show("a thousand checks at once, for each", found, "httpx")
        found = asyncio.run(streams(url, messages=scaled(100_000, 1000), singles=scaled(10_000, 200), rounds=scaled(3)))
        _show("a stream of 100,000, or of 10,000 one by one, for each message", found, "stream, bulk requests")
    with running(ROUND_TRIP) as url:

        async def on_the_loopback() -> RoundTrips:
            async with _client(url) as client:
                return await beside_a_stream(client, streamed=100_000, checks=scaled(200, 2))

        pauses = [
            (f"loopback, {ROUND_TRIP:g} s", asyncio.run(on_the_loopback())),
            (f"virtual time, {ROUND_TRIP:g} s", in_virtual_time(streamed=100_000, checks=scaled(1000, 2))),
        ]
    _show_pauses(pauses)
    print("\nimport in a new process, as installed and without click")
    took = imports(rounds=scaled(15))
    for name, seconds in took.items():
        ratios = (
            f"{own * 1e3:8.1f} ms {own / peer:6.2f} x httpx" for own, peer in zip(seconds, took["httpx"], strict=True)
        )
        print(name.ljust(36), *ratios)


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
