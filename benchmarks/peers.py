"""This library, a plain dict and each peer, behind one interface: at most five calls for each key in any minute.

Each peer has the configuration that suits it best. A peer without keys gets a dict with a limiter for each key. A peer
that does not wait is asked when to try again, and the benchmark sleeps until then. The notes say what a peer can't do.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from threading import Event
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
"""More than the keys, or the open requests, that ever exist here."""


class Peer(Protocol):
    """A limiter to be measured. It is made inside an event loop and used only there."""

    async def take(self, key: str) -> Any:
        """Wait until a call may be sent. What is returned is passed to `give_back` after the reply."""

    async def give_back(self, taken: Any) -> None:
        """The reply has come."""

    async def tidy(self) -> None:
        """Make it forget what it can forget now."""

    async def aclose(self) -> None:
        """End all its threads and tasks."""


class Base:
    """Methods that do nothing, as most peers need them."""

    async def give_back(self, taken: Any) -> None:
        """Do nothing: this limiter counts what is sent, not replies."""

    async def tidy(self) -> None:
        """Do nothing: this limiter never forgets a key."""

    async def aclose(self) -> None:
        """Do nothing: this limiter has no threads or tasks."""


class Wanted:
    """A request for one id."""

    __slots__ = ("keys",)
    bulk = False

    def __init__(self, key: str) -> None:
        self.keys = (key,)

    def select(self, pacer: Pacer, *, now: float) -> Wanted | float:
        """This request if it may start now, or else the instant when its id has a token and a slot is free."""
        token_at = pacer.due_at(self.keys[0], now=now)
        slot_at = pacer.slot_due_at(now=now)
        at = max(token_at, slot_at)
        return self if at <= now else at


class Ours(Base):
    """The limiter of this library. A token comes back a period after the reply."""

    def __init__(self) -> None:
        self.limiter = LocalLimiter(Limits(connections=MANY))

    async def take(self, key: str) -> Any:
        """See `Peer`."""
        return await self.limiter.acquire(Wanted(key).select)

    async def give_back(self, taken: Any) -> None:
        """See `Peer`."""
        await self.limiter.release(taken, RequestEnd.REPLIED)

    async def tidy(self) -> None:
        """Ask for anything: each call to the limiter forgets what is over."""
        self.limiter.slots()


class PlainLog:
    """The floor: a dict from keys to the instants of their last calls. It forgets no key, and counts what is sent."""

    def __init__(self) -> None:
        self.log: dict[Any, list[float]] = {}

    def take(self, key: Any, now: float) -> float:
        """Log a call and return `now`. If it is not allowed yet, return when it will be."""
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
    """The same, but a key is forgotten when its last call is a minute old."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: deque[tuple[float, Any]] = deque()

    def take(self, key: Any, now: float) -> float:
        """See `PlainLog`."""
        calls, log = self._calls, self.log
        while calls and calls[0][0] <= now - PERIOD:
            at, old = calls.popleft()
            if old in log and log[old][-1] == at:
                del log[old]
        at = super().take(key, now)
        if at == now:
            calls.append((now, key))
        return at


class Floor(Base):
    """The plain dict, which waits by `asyncio.sleep`."""

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
    """aiolimiter. It has no keys, so there is a limiter for each key."""

    def __init__(self) -> None:
        self._limiters: dict[str, aiolimiter.AsyncLimiter] = {}

    async def take(self, key: str) -> None:
        """See `Peer`."""
        limiter = self._limiters.get(key)
        if limiter is None:
            limiter = self._limiters[key] = aiolimiter.AsyncLimiter(COUNT, PERIOD)
        await limiter.acquire()


RATE = pyrate_limiter.Rate(COUNT, pyrate_limiter.Duration.MINUTE)


class _Bucket(pyrate_limiter.InMemoryBucket):
    """A bucket that tells when pyrate-limiter's thread has begun to tidy: only that thread calls `leak` by itself."""

    def __init__(self, tidied: Event) -> None:
        super().__init__([RATE])
        self._tidied = tidied

    def leak(self, current_timestamp: int | None = None) -> int:
        """Remove the items that no longer count."""
        self._tidied.set()
        return super().leak(current_timestamp)


class _Buckets(pyrate_limiter.BucketFactory):
    """A bucket with a log for each name. pyrate-limiter's own thread tidies them."""

    def __init__(self, clock: PyrateClock) -> None:
        self._clock = clock
        self.buckets: dict[str, _Bucket] = {}
        self.tidied = Event()

    def wrap_item(self, name: str, weight: int = 1) -> pyrate_limiter.RateItem:
        return pyrate_limiter.RateItem(name, self._clock.now(), weight=weight)

    def get(self, item: pyrate_limiter.RateItem) -> pyrate_limiter.AbstractBucket:
        bucket = self.buckets.get(item.name)
        if bucket is None:
            bucket = self.buckets[item.name] = _Bucket(self.tidied)
            bucket._clock = self._clock
            self.schedule_leak(bucket)
        return bucket


class PyrateLog(Base):
    """pyrate-limiter with a log: a bucket for each key from one factory, as its documentation says for many keys."""

    def __init__(self) -> None:
        self._clock = PyrateClock()
        self._buckets = _Buckets(self._clock)
        self._limiter = pyrate_limiter.Limiter(self._buckets)

    async def take(self, key: str) -> None:
        """See `Peer`."""
        await self._limiter.try_acquire_async(key)

    async def tidy(self) -> None:
        """Do what its thread does every ten seconds."""
        for bucket in self._buckets.buckets.values():
            bucket.leak(self._clock.now())

    async def aclose(self) -> None:
        """End pyrate-limiter's thread. It fails if its buckets are taken away before it has begun, so wait for that."""
        if self._buckets.buckets:
            self._buckets.tidied.wait(10)
        self._limiter.close()


class PyrateGcra(Base):
    """pyrate-limiter with a state of constant size instead of a log, and a limiter for each key."""

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
    """limits. It does not wait, so it is asked when its window ends."""

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
        """Wait for the scan that each hit begins."""
        while self._storage.timer is not None and not self._storage.timer.done():
            await self._storage.timer
        await self._limiter.hit(self._item, "tidy")
        if self._storage.timer is not None:
            await self._storage.timer

    async def aclose(self) -> None:
        """Cancel the scan, if one runs."""
        if self._storage.timer is not None:
            self._storage.timer.cancel()
            with suppress(asyncio.CancelledError):
                await self._storage.timer


class LimitsMoving(_LimitsPeer):
    """limits with a log (moving window)."""

    strategy = limits.aio.strategies.MovingWindowRateLimiter


class LimitsCounter(_LimitsPeer):
    """limits with two counters for each key (sliding window)."""

    strategy = limits.aio.strategies.SlidingWindowCounterRateLimiter


class _ThrottledPeer(Base):
    """throttled-py. Beyond a maximum it forgets the least recently used key. The maximum here is never reached."""

    using: str

    def __init__(self) -> None:
        quota = throttled.rate_limiter.per_min(COUNT, burst=COUNT)
        store = throttled.MemoryStore(options={"MAX_SIZE": MANY})
        self._limiter = throttled.Throttled(using=self.using, quota=quota, store=store, timeout=1e6)

    async def take(self, key: str) -> None:
        """See `Peer`."""
        await self._limiter.limit(key)


class ThrottledBucket(_ThrottledPeer):
    """throttled-py with its token bucket, the default."""

    using = "token_bucket"


class ThrottledWindow(_ThrottledPeer):
    """throttled-py with its sliding window."""

    using = "sliding_window"


async def run_by_aiometer(call: Callable[[int], Awaitable[Any]], count: int) -> None:
    """Run `count` calls with aiometer, evenly spaced: it has neither keys nor a method to acquire."""
    await aiometer.run_on_each(call, range(count), max_per_second=COUNT / PERIOD)


@attrs.frozen
class Entry:
    """A row of the table."""

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
