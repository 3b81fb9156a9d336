"""Limiters that share their state by Redis: is the limit kept as the server sees it, and what does an acquire cost?

`python -m benchmarks.shared_peers URL [SECONDS [CALLS]]`: the URL is that of a real Redis or Valkey server, in which
keys are written. Each limiter is to allow five calls for a key in any period, and to make further calls wait, in two
clients with connections of their own. The time is real and scaled: the period is 3 s instead of 60 s, and a call
arrives at the vendor's server after up to 0.1 s instead of 2 s. First ten callers call one key for so many seconds
(default 30, which stand for ten minutes); that is done four times, all times and all limiters at once. Then, one
limiter after the other in turns, so many calls (default 2,000) are for a new key each.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from statistics import median
from time import perf_counter, time, time_ns
from typing import Any

import attrs
import limits
import limits.aio
import pyrate_limiter
import redis.asyncio
import throttled.asyncio as throttled

from benchmarks.limiter import largest_count
from benchmarks.peers import COUNT, MANY, PERIOD, Base, Peer, Wanted
from smsc_status import LimiterUnavailable, Limits
from smsc_status._core.scheduling.pacing import RequestEnd
from smsc_status._sharing.limiter import SharedLimiter
from smsc_status._sharing.redis import RedisStore
from smsc_status._sharing.store import Store

SCALED_PERIOD = 3
"""Seconds. Some peers allow only whole seconds."""
SCALE = PERIOD / SCALED_PERIOD
DELAY = 2.0 / SCALE
CLIENTS, CALLERS, TIMES = 2, 5, 4
TURN = 50
"""Calls of one limiter before it is the next one's turn."""


class Ours(Base):
    """The limiter of this library, as `share=` with a URL makes it. The reply is one more command."""

    def __init__(self, url: str, name: str) -> None:
        self._url = f"{url}?assume_idle=1"
        self._name = name
        kept = Limits(period=SCALED_PERIOD, margin=0.2, linger=1.0, connections=MANY)
        self._limiter = SharedLimiter(kept, self._open, where=url)

    async def _open(self) -> Store:
        self._store = RedisStore(self._url, self._name, tolerance=0.1)
        return self._store

    async def take(self, key: str) -> Any:
        """See `Peer`. A command that takes too long to get there is refused, and tried again, as a client does."""
        while True:
            with suppress(LimiterUnavailable):
                return await self._limiter.acquire(Wanted(key).select)

    async def give_back(self, taken: Any) -> None:
        """See `Peer`."""
        while not taken.released:
            with suppress(LimiterUnavailable):
                await self._limiter.release(taken, RequestEnd.REPLIED)

    async def aclose(self) -> None:
        """Delete the log, and close the connections."""
        await self._store.forget()
        await self._limiter.leave()


async def _close(client: Any) -> None:
    await client.aclose()
    await client.connection_pool.disconnect()


class _Buckets(pyrate_limiter.BucketFactory):
    """A bucket in Redis for each name. Old items are not removed here, which takes a further command now and then."""

    def __init__(self, client: redis.asyncio.Redis, prefix: str) -> None:
        self._client, self._prefix = client, prefix
        self._rates = [pyrate_limiter.Rate(COUNT, SCALED_PERIOD * 1000)]
        self._buckets: dict[str, pyrate_limiter.RedisBucket] = {}
        self._script = ""

    async def load(self) -> None:
        """Load the script that all buckets use, as the first bucket does."""
        if not self._script:
            first: Any = pyrate_limiter.RedisBucket.init(self._rates, self._client, self._prefix)
            self._script = (await first).script_hash

    def wrap_item(self, name: str, weight: int = 1) -> pyrate_limiter.RateItem:
        return pyrate_limiter.RateItem(name, time_ns() // 1_000_000, weight=weight)

    def get(self, item: pyrate_limiter.RateItem) -> pyrate_limiter.AbstractBucket:
        bucket = self._buckets.get(item.name)
        if bucket is None:
            key = f"{self._prefix}:{item.name}"
            bucket = pyrate_limiter.RedisBucket(self._rates, self._client, key, self._script)
            self._buckets[item.name] = bucket
        return bucket


class Pyrate(Base):
    """pyrate-limiter with a log in Redis."""

    def __init__(self, url: str, name: str) -> None:
        self._client = redis.asyncio.Redis.from_url(url)
        self._buckets = _Buckets(self._client, f"{name}:pyrate")
        self._limiter = pyrate_limiter.Limiter(self._buckets)

    async def take(self, key: str) -> None:
        """See `Peer`."""
        await self._buckets.load()
        await self._limiter.try_acquire_async(key)

    async def aclose(self) -> None:
        """Close the connections."""
        self._limiter.close()
        await _close(self._client)


class LimitsMoving(Base):
    """limits with a log in Redis (moving window). It does not wait, so it is asked when its window ends."""

    def __init__(self, url: str, name: str) -> None:
        self._storage = limits.aio.storage.RedisStorage(f"async+{url}", implementation="redispy")
        self._limiter = limits.aio.strategies.MovingWindowRateLimiter(self._storage)
        self._item = limits.RateLimitItemPerSecond(COUNT, SCALED_PERIOD)
        self._name = name

    async def take(self, key: str) -> None:
        """See `Peer`."""
        while not await self._limiter.hit(self._item, self._name, key):
            stats = await self._limiter.get_window_stats(self._item, self._name, key)
            await asyncio.sleep(max(0.01, stats.reset_time - time()))

    async def aclose(self) -> None:
        """Close the connections."""
        client: Any = self._storage.bridge
        await _close(client.get_connection())


class _Throttled(Base):
    using: str

    def __init__(self, url: str, name: str) -> None:
        quota = throttled.rate_limiter.per_duration(timedelta(seconds=SCALED_PERIOD), COUNT, burst=COUNT)
        self._store = throttled.RedisStore(server=url)
        self._limiter = throttled.Throttled(using=self.using, quota=quota, store=self._store, timeout=1e6)
        self._name = name

    async def take(self, key: str) -> None:
        """See `Peer`."""
        await self._limiter.limit(f"{self._name}:{key}")

    async def aclose(self) -> None:
        """Close the connections."""
        await _close(self._store._backend.get_client())


class ThrottledWindow(_Throttled):
    """throttled-py with two counters for each key (sliding window), the most exact that it has."""

    using = "sliding_window"


class ThrottledGcra(_Throttled):
    """throttled-py with its GCRA, which goes by the server's clock."""

    using = "gcra"


class OneCommand(Base):
    """The floor: redis-py sends one small command, and limits nothing."""

    def __init__(self, url: str, name: str) -> None:
        self._client = redis.asyncio.Redis.from_url(url)
        self._name = name

    async def take(self, key: str) -> None:
        """See `Peer`."""
        await self._client.exists(self._name)

    async def aclose(self) -> None:
        """Close the connections."""
        await _close(self._client)


@attrs.frozen
class Entry:
    """A row of the table."""

    name: str
    make: Callable[[str, str], Peer]


OURS = Entry("smsc-status", Ours)
FLOOR = Entry("one command by redis-py", OneCommand)
PEERS = [
    Entry("pyrate-limiter, `RedisBucket`", Pyrate),
    Entry("limits, moving window", LimitsMoving),
    Entry("throttled-py, sliding window", ThrottledWindow),
    Entry("throttled-py, GCRA", ThrottledGcra),
]
LIMITERS = [OURS, *PEERS]


@attrs.define
class Found:
    """The figures of one limiter: the most arrivals in a period, and seconds."""

    most: int = 0
    calls: int = 0
    acquires: list[float] = attrs.field(factory=list)
    replies: list[float] = attrs.field(factory=list)


async def seen_by_server(entry: Entry, url: str, name: str, *, seconds: float, seed: int) -> list[float]:
    """The instants at which calls arrive, in seconds of the unscaled time."""
    arrivals: list[float] = []
    draw = random.Random(seed)
    now = asyncio.get_running_loop().time
    until_at = now() + seconds

    async def hammer(peer: Peer) -> None:
        while now() < until_at:
            taken = await peer.take("hot")
            await asyncio.sleep(draw.uniform(0.0, DELAY))
            arrivals.append(now() * SCALE)
            await peer.give_back(taken)

    clients = [entry.make(url, name) for _ in range(CLIENTS)]
    await asyncio.gather(*(hammer(client) for client in clients for _ in range(CALLERS)))
    for client in clients:
        await client.aclose()
    return arrivals


async def costs(url: str, name: str, found: dict[str, Found], *, calls: int) -> None:
    """Time calls that do not have to wait."""
    clients = {entry.name: entry.make(url, f"{name}:cost") for entry in (*LIMITERS, FLOOR)}
    for each in clients.values():
        await each.give_back(await each.take("the first"))  # so that it is connected
    for first in range(0, calls, TURN):
        for row, client in clients.items():
            for number in range(first, min(calls, first + TURN)):
                began_at = perf_counter()
                taken = await client.take(f"key {number}")
                acquired_at = perf_counter()
                await client.give_back(taken)
                found[row].acquires.append(acquired_at - began_at)
                found[row].replies.append(perf_counter() - acquired_at)
    for each in clients.values():
        await each.aclose()


async def measure(url: str, *, seconds: float, calls: int) -> dict[str, Found]:
    """All figures of all limiters."""
    name = f"benchmark-{random.randrange(10**9)}"
    found = {entry.name: Found() for entry in (*LIMITERS, FLOOR)}
    runs = [(entry, seed) for entry in LIMITERS for seed in range(TIMES)]
    seen = [seen_by_server(entry, url, f"{name}-{seed}", seconds=seconds, seed=seed) for entry, seed in runs]
    for (entry, _), arrivals in zip(runs, await asyncio.gather(*seen), strict=True):
        it = found[entry.name]
        it.most, it.calls = max(it.most, largest_count(arrivals)), it.calls + len(arrivals)
    await costs(url, name, found, calls=calls)
    return found


def main(url: str, seconds: float = 30.0, calls: int = 2000) -> None:
    """Print the table."""
    found = asyncio.run(measure(url, seconds=seconds, calls=calls))
    floor = median(found[FLOOR.name].acquires)
    print("| | most in 60 s | calls | acquire, µs | x one command | and the reply, µs |")
    print("|---|" + "---:|" * 5)
    for name, it in found.items():
        took, reply = median(it.acquires), median(it.replies)
        seen = f"{it.most} | {it.calls}" if it.calls else " | "
        print(f"| {name} | {seen} | {took * 1e6:,.0f} | {took / floor:.1f} | {reply * 1e6:,.0f} |")


_ARGUMENTS: tuple[Callable[[str], Any], ...] = (str, float, int)

if __name__ == "__main__":
    main(*(kind(text) for kind, text in zip(_ARGUMENTS, sys.argv[1:], strict=False)))
