"""Five calls a key in any minute, wait until allowed: this library, a plain dict, and each peer, behind one face.

Each peer has the configuration that serves it best. Where it has no keys, it gets a limiter a key in a dict; where it
does not wait, it is asked when to come again and slept until then. What it can't do at all, its notes say.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Protocol

import aiolimiter
import aiometer
import attrs
import limits
import limits.aio
import pyrate_limiter
import throttled.asyncio as throttled

from benchmarks.clock import LoopTime, PyrateClock
from smsc_status import Limits, LocalLimiter
from smsc_status._core.scheduling.pacing import Pacer, RequestEnd

COUNT = 5
PERIOD = 60.0
MANY = 10**6
"""More keys, or open requests, than there ever are."""


class Peer(Protocol):
    """What is measured. Made inside the event loop, used in no other."""

    async def take(self, key: str) -> Any:
        """Wait until a call may be sent; what is returned is given back after the reply."""

    async def give_back(self, taken: Any) -> None:
        """The reply is there."""

    async def tidy(self) -> None:
        """Let it forget what it can, now."""

    async def aclose(self) -> None:
        """Leave no thread and no task behind."""


class Base:
    """What most have nothing to do for."""

    async def give_back(self, taken: Any) -> None:
        """Nothing: it counts what is sent."""

    async def tidy(self) -> None:
        """Nothing: it never forgets a key."""

    async def aclose(self) -> None:
        """Nothing is left."""


class Wanted:
    """A request for one id."""

    __slots__ = ("keys",)
    bulk = False

    def __init__(self, key: str) -> None:
        self.keys = (key,)

    def select(self, pacer: Pacer, *, now: float) -> Wanted | float:
        """Now, or when its id has a token and there is a place."""
        token_at = pacer.due_at(self.keys[0], now=now)
        place_at = pacer.slot_due_at(now=now)
        at = max(token_at, place_at)
        return self if at <= now else at


class Ours(Base):
    """The limiter of this library: the reply is what a token's way back counts from."""

    def __init__(self) -> None:
        self.limiter = LocalLimiter(Limits(connections=MANY))

    async def take(self, key: str) -> Any:
        """See `Peer`."""
        return await self.limiter.acquire(Wanted(key).select)

    async def give_back(self, taken: Any) -> None:
        """See `Peer`."""
        await self.limiter.release(taken, RequestEnd.REPLIED)

    async def tidy(self) -> None:
        """Look, as everybody who asks for something does."""
        self.limiter.slots()


class PlainLog:
    """The floor: a dict from keys to the instants of the last calls. It forgets no key, and counts what is sent."""

    def __init__(self) -> None:
        self.log: dict[Any, list[float]] = {}

    def take(self, key: Any, now: float) -> float:
        """Log a call, and `now`; or, if it may not be yet, when it may."""
        log = self.log.get(key)
        if log is None:
            self.log[key] = [now]
            return now
        since = now - PERIOD
        while log and log[0] <= since:
            del log[0]
        if len(log) >= COUNT:
            return log[0] + PERIOD
        log.append(now)
        return now


class ForgettingLog(PlainLog):
    """The same, and a key is gone when its last call is a minute old."""

    def __init__(self) -> None:
        super().__init__()
        self._line: deque[tuple[float, Any]] = deque()

    def take(self, key: Any, now: float) -> float:
        """See `PlainLog`."""
        line, log = self._line, self.log
        while line and line[0][0] <= now - PERIOD:
            at, old = line.popleft()
            if old in log and log[old][-1] == at:
                del log[old]
        at = super().take(key, now)
        if at == now:
            line.append((now, key))
        return at


class Floor(Base):
    """The plain dict, and `asyncio.sleep`."""

    def __init__(self) -> None:
        self._log = PlainLog()
        self._time = asyncio.get_running_loop().time

    async def take(self, key: str) -> None:
        """See `Peer`."""
        now = self._time()
        at = self._log.take(key, now)
        if at > now:
            await asyncio.sleep(at - now)
            await self.take(key)


class Aiolimiter(Base):
    """It has no keys: a limiter a key."""

    def __init__(self) -> None:
        self._limiters: dict[str, aiolimiter.AsyncLimiter] = {}

    async def take(self, key: str) -> None:
        """See `Peer`."""
        limiter = self._limiters.get(key)
        if limiter is None:
            limiter = self._limiters[key] = aiolimiter.AsyncLimiter(COUNT, PERIOD)
        await limiter.acquire()


RATE = pyrate_limiter.Rate(COUNT, pyrate_limiter.Duration.MINUTE)


class _Buckets(pyrate_limiter.BucketFactory):
    """A bucket with a log for each name, tidied by the library's own thread."""

    def __init__(self, clock: PyrateClock) -> None:
        self._clock = clock
        self.buckets: dict[str, pyrate_limiter.InMemoryBucket] = {}

    def wrap_item(self, name: str, weight: int = 1) -> pyrate_limiter.RateItem:
        return pyrate_limiter.RateItem(name, self._clock.now(), weight=weight)

    def get(self, item: pyrate_limiter.RateItem) -> pyrate_limiter.AbstractBucket:
        bucket = self.buckets.get(item.name)
        if bucket is None:
            bucket = self.buckets[item.name] = pyrate_limiter.InMemoryBucket([RATE])
            bucket._clock = self._clock
            self.schedule_leak(bucket)
        return bucket


class PyrateLog(Base):
    """Its log, with a bucket a key from one factory, as its documentation has it for many keys."""

    def __init__(self) -> None:
        self._clock = PyrateClock()
        self._buckets = _Buckets(self._clock)
        self._limiter = pyrate_limiter.Limiter(self._buckets)

    async def take(self, key: str) -> None:
        """See `Peer`."""
        await self._limiter.try_acquire_async(key)

    async def tidy(self) -> None:
        """What its thread does every ten seconds."""
        for bucket in self._buckets.buckets.values():
            bucket.leak(self._clock.now())

    async def aclose(self) -> None:
        """End its thread."""
        self._limiter.close()


class PyrateGcra(Base):
    """Its constant state instead of a log, a limiter a key."""

    def __init__(self) -> None:
        self._clock = PyrateClock()
        self._limiters: dict[str, pyrate_limiter.Limiter] = {}

    async def take(self, key: str) -> None:
        """See `Peer`."""
        limiter = self._limiters.get(key)
        if limiter is None:
            bucket = pyrate_limiter.StateBucket([RATE], clock=self._clock)
            factory = pyrate_limiter.limiter.SingleBucketFactory(bucket, schedule_leak=False)
            limiter = self._limiters[key] = pyrate_limiter.Limiter(factory)
        await limiter.try_acquire_async(key)


class _LimitsPeer(Base):
    """It does not wait: it is asked when its window is over."""

    strategy: type[limits.aio.strategies.RateLimiter]

    def __init__(self) -> None:
        self._storage = limits.aio.storage.MemoryStorage()
        self._limiter = self.strategy(self._storage)
        self._item = limits.RateLimitItemPerMinute(COUNT)

    async def take(self, key: str) -> None:
        """See `Peer`."""
        while not await self._limiter.hit(self._item, key):
            stats = await self._limiter.get_window_stats(self._item, key)
            await asyncio.sleep(max(0.01, stats.reset_time - LoopTime().time()))

    async def tidy(self) -> None:
        """The scan that it begins with a hit."""
        while self._storage.timer is not None and not self._storage.timer.done():
            await self._storage.timer
        await self._limiter.hit(self._item, "tidy")
        if self._storage.timer is not None:
            await self._storage.timer

    async def aclose(self) -> None:
        """End its scan."""
        if self._storage.timer is not None:
            self._storage.timer.cancel()
            with suppress(asyncio.CancelledError):
                await self._storage.timer


class LimitsMoving(_LimitsPeer):
    """Its log."""

    strategy = limits.aio.strategies.MovingWindowRateLimiter


class LimitsCounter(_LimitsPeer):
    """Its two counters a key."""

    strategy = limits.aio.strategies.SlidingWindowCounterRateLimiter


class _ThrottledPeer(Base):
    """It forgets the key that was used least recently when it has more than it was told to have: room for all here."""

    using: str

    def __init__(self) -> None:
        quota = throttled.rate_limiter.per_min(COUNT, burst=COUNT)
        store = throttled.MemoryStore(options={"MAX_SIZE": MANY})
        self._limiter = throttled.Throttled(using=self.using, quota=quota, store=store, timeout=1e6)

    async def take(self, key: str) -> None:
        """See `Peer`."""
        await self._limiter.limit(key)


class ThrottledBucket(_ThrottledPeer):
    """Its token bucket, which is its default."""

    using = "token_bucket"


class ThrottledWindow(_ThrottledPeer):
    """Its sliding window."""

    using = "sliding_window"


async def run_by_aiometer(call: Callable[[int], Awaitable[Any]], count: int) -> None:
    """It has neither keys nor an acquire: it runs so many calls, evenly spaced."""
    await aiometer.run_on_each(call, range(count), max_per_second=COUNT / PERIOD)


@attrs.frozen
class Entry:
    """A line of the table."""

    name: str
    make: Callable[[], Peer]
    notes: str = ""


OURS = Entry("smsc-status", Ours)
FLOOR = Entry("plain dict", Floor, "counts what is sent")
PEERS = [
    Entry("aiolimiter", Aiolimiter, "no keys: a limiter a key"),
    Entry("pyrate-limiter, log", PyrateLog, "a bucket a key"),
    Entry("pyrate-limiter, GCRA", PyrateGcra, "a limiter a key"),
    Entry("limits, moving window", LimitsMoving, "does not wait"),
    Entry("limits, sliding counter", LimitsCounter, "does not wait"),
    Entry("throttled-py, token bucket", ThrottledBucket),
    Entry("throttled-py, sliding window", ThrottledWindow),
]
ALL = [OURS, FLOOR, *PEERS]
