"""A day with every fault: is anything lost, does anything come twice, is a limit broken, is anything left behind?

`python -m benchmarks.soak [MESSAGES [SEEDS [EAGERNESS]]]` simulates a day in virtual time, with five seeds by default.
50,000 messages are sent and followed to their end, and each is checked once more by a stream when it is an hour old.
One request in twenty meets a fault in transit or in its answer. Twice the vendor blocks the account's address for ten
minutes. At the end everything is checked: each message has ended once, with the status that the emulator holds; no
limit was broken; no task, request, token or waiting message is left.
"""

from __future__ import annotations

import gc
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Self

import anyio
import attrs
import httpx
import trio
from trio.testing import MockClock

from benchmarks import lanes
from smsc_status import (
    AddressBlocked,
    FailedCheck,
    Limits,
    LocalLimiter,
    MessageRef,
    StatusClient,
    StatusRecord,
    _loops,
)
from smsc_status.codes import FINAL
from smsc_status.emulator import FAULTS, Emulator, Referee

DAY = 86_400.0
FAULTY = 0.05
"""The share of requests that meet a fault. Bulk requests meet a few more, because some faults concern only them."""

EAGERNESS = 0.0
"""The eagerness of tracking. With 0 it uses only the bulk lane, and leaves single requests to the stream. With more,
most of the time goes into single requests that are all alike: a day has room for a million of them."""

ON_THE_WAY = {
    "refused": "no connection",
    "swallowed": "the request does not arrive, and no reply comes",
    "silent": "the request arrives, but no reply comes",
    "overtaken": "the request arrives after the client has given up",
}
BLOCKED_FOR = 600.0
STREAMED_AFTER = 3600.0
LATE_BY = 9.0

Outcome = StatusRecord | FailedCheck


class LossyTransport(httpx.AsyncBaseTransport):
    """An emulator at some distance, over a network that loses requests and replies."""

    def __init__(self, emulator: Emulator, *, seed: int, share: float) -> None:
        self._server = httpx.ASGITransport(app=emulator)
        self._random = random.Random(seed)
        self._share = share
        self.happened: Counter[str] = Counter()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer after a round trip, or lose the request or its reply."""
        fault = self._draw()
        if fault is not None:
            await self._lose(fault, request)
        there, back = (self._random.uniform(*lanes.ROUND_TRIPS) / 2 for _ in range(2))
        await anyio.sleep(there)
        response = await self._server.handle_async_request(request)
        await anyio.sleep(back)
        return response

    def _draw(self) -> str | None:
        if self._random.random() >= self._share:
            return None
        fault = self._random.choice(list(ON_THE_WAY))
        self.happened[fault] += 1
        return fault

    async def _lose(self, fault: str, request: httpx.Request) -> None:
        if fault == "refused":
            raise httpx.ConnectError("refused")
        if fault == "silent":
            await self._server.handle_async_request(request)
        try:
            await anyio.sleep_forever()
        finally:
            if fault == "overtaken":
                _loops.spawn(lambda: self._arrive_late(request))

    async def _arrive_late(self, request: httpx.Request) -> None:
        await anyio.sleep(self._random.uniform(0, LATE_BY))
        with suppress(ConnectionError):  # nobody waits for the answer that is cut
            await self._server.handle_async_request(request)


class Feed:
    """The messages of the day, as they are sent. Messages can be put back, for another tracker or stream."""

    def __init__(self, soak: Soak, *, after: float = 0.0) -> None:
        self._soak = soak
        self._after = after
        self._again: list[MessageRef] = []
        self._next = 0

    def put_back(self, refs: tuple[MessageRef, ...]) -> None:
        """Give these messages again, before the others."""
        self._again.extend(refs)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> MessageRef:
        if self._again:
            return self._again.pop()
        if self._next == len(self._soak.day):
            raise StopAsyncIteration
        await anyio.sleep(max(0.0, self._soak.day[self._next].at + self._after - self._soak.elapsed()))
        self._next += 1
        return self._soak.sent(self._next)


@attrs.define
class Result:
    """The result of a soak."""

    messages: int
    requests: Counter[str] = attrs.field(factory=Counter)
    faults: Counter[str] = attrs.field(factory=Counter)
    records: int = 0
    blocked: int = 0
    ended: Counter[MessageRef] = attrs.field(factory=Counter)
    streamed: Counter[MessageRef] = attrs.field(factory=Counter)
    failed: Counter[str] = attrs.field(factory=Counter)
    """Failed checks by error. For a tracked message that is a loss; for a streamed message it is to be expected."""
    wrong: list[object] = attrs.field(factory=list)
    broken_limits: dict[str, int] = attrs.field(factory=dict)
    left: dict[str, object] = attrs.field(factory=dict)
    seconds: float = 0.0

    @property
    def share_of_faults(self) -> float:
        """The share of all requests that met a fault."""
        return self.faults.total() / max(1, self.requests.total())

    @property
    def objections(self) -> dict[str, object]:
        """Everything that went wrong; empty if nothing did."""
        once = Counter(dict.fromkeys(self.ended, 1))
        found = {
            "lost": self.messages - len(self.ended),
            "twice": (self.ended - once).total(),
            "not streamed": self.messages - len(self.streamed),
            "streamed twice": (self.streamed - Counter(dict.fromkeys(self.streamed, 1))).total(),
            "wrong": len(self.wrong),
            "limits broken": sum(self.broken_limits.values()),
            "tracked and failed": sum(count for name, count in self.failed.items() if name.startswith("tracked")),
        }
        return {name: count for name, count in found.items() if count} | self.left


class Soak:
    """One simulated day."""

    def __init__(self, messages: int, seconds: float, *, seed: int, eagerness: float) -> None:
        self.day = lanes.a_day(messages, seconds, seed=seed)
        self._seconds = seconds
        self._began_at = anyio.current_time()
        faults = set(FAULTS) - {"ip_blocked"}  # the address is blocked on purpose, at known times
        kinds = [name for name in [*faults, *ON_THE_WAY] if not name.endswith("_records")]
        share = FAULTY / len(kinds)
        self._eagerness = eagerness
        self.emulator = Emulator(
            seed=seed,
            wall_clock=self.now,
            faults=dict.fromkeys(faults, share),
            referee=Referee(count_invalid=True),
        )
        self._transport = LossyTransport(self.emulator, seed=seed, share=share * len(ON_THE_WAY))
        self._limiter = LocalLimiter()
        self.result = Result(messages)

    def elapsed(self) -> float:
        """Seconds since the day began."""
        return anyio.current_time() - self._began_at

    def now(self) -> datetime:
        """The simulated date."""
        return datetime.fromtimestamp(lanes.START, UTC) + timedelta(seconds=self.elapsed())

    def sent(self, number: int) -> MessageRef:
        """The message with this number. It is added to the emulator's world if it is not there yet."""
        phone = lanes.phone_of(number)
        ref = MessageRef(number, phone, datetime.fromtimestamp(lanes.START + self.day[number - 1].at, UTC))
        if len(self.emulator.world) < number:
            self.emulator.world.add(number, phone, sent_at=lanes.START + self.day[number - 1].at)
        return ref

    async def run(self) -> Result:
        """Simulate the day."""
        tasks = trio.lowlevel.current_statistics().tasks_living
        client = StatusClient(
            apikey="demo-key",
            base_url="http://localhost",
            wall_clock=self.now,
            transport=self._transport,
            limiter=self._limiter,
        )
        async with client:
            async with anyio.create_task_group() as group:
                group.start_soon(self._track, client)
                group.start_soon(self._stream, client)
                group.start_soon(self._block)
            limits = Limits()
            await anyio.sleep(limits.period + limits.margin + limits.linger)
            stats = client.stats()
        gc.collect()
        result, referee = self.result, self.emulator.referee
        result.requests += Counter(stats.requests)
        result.records = stats.records
        result.faults += self.emulator.faults.happened + self._transport.happened
        result.broken_limits = {str(limit): count for limit, count in referee.refusals.items()}
        left = {
            "waiting": stats.waiting,
            "open": stats.open_requests + referee.open,
            "tracked": stats.tracked,
            "tokens": not self._limiter.is_idle(),
            "tasks": trio.lowlevel.current_statistics().tasks_living - tasks,
        }
        result.left = {f"{name} left": count for name, count in left.items() if count}
        return result

    async def _track(self, client: StatusClient) -> None:
        track = partial(client.track, eagerness=self._eagerness)
        await self._follow(track, Feed(self), self._take_tracked)

    async def _stream(self, client: StatusClient) -> None:
        await self._follow(client.stream, Feed(self, after=STREAMED_AFTER), self._take_streamed)

    async def _follow(
        self, begin: Callable[[Feed], AsyncIterator[Outcome]], feed: Feed, take: Callable[[Outcome], None]
    ) -> None:
        """Follow the feed to its end. Messages given back by a blocked address are put in again after a while."""
        while True:
            try:
                async for told in begin(feed):
                    take(told)
            except AddressBlocked as error:
                self.result.blocked += 1
                feed.put_back(error.pending)
                await anyio.sleep(BLOCKED_FOR / 4)
            else:
                return

    def _take_tracked(self, told: Outcome) -> None:
        if isinstance(told, FailedCheck):
            self.result.failed[f"tracked: {type(told.error).__name__}"] += 1
        elif told.status in FINAL:
            self._compare(told)
            self.result.ended[told.ref] += 1

    def _take_streamed(self, told: Outcome) -> None:
        self.result.streamed[told.ref] += 1
        if isinstance(told, FailedCheck):
            self.result.failed[f"streamed: {type(told.error).__name__}"] += 1
        else:
            self._compare(told)

    def _compare(self, told: StatusRecord) -> None:
        """Compare a status with those that the world held lately: the latest may have changed during the round trip."""
        assert told.checked_at is not None
        at = told.checked_at.timestamp()
        held = {self.emulator.world.status_at(told.ref, at - ago) for ago in (0.0, 0.2, 0.5, 1.0, 2.0, 3.0, 5.0)}
        if told.status not in held:
            self.result.wrong.append(told)

    async def _block(self) -> None:
        for _ in range(2):
            await anyio.sleep(self._seconds / 3)
            self.emulator.blocked = True
            await anyio.sleep(BLOCKED_FOR)
            self.emulator.blocked = False


async def _run(messages: int, seconds: float, seed: int, eagerness: float) -> Result:
    return await Soak(messages, seconds, seed=seed, eagerness=eagerness).run()


def run(messages: int, seconds: float = DAY, *, seed: int, eagerness: float = EAGERNESS) -> Result:
    """Simulate `seconds`, by default a day, and go on until everything has ended."""
    began_at = time.perf_counter()
    result = trio.run(_run, messages, seconds, seed, eagerness, clock=MockClock(autojump_threshold=0))
    result.seconds = time.perf_counter() - began_at
    return result


def describe(result: Result) -> str:
    """The result for one seed, in a few lines."""
    requests = ", ".join(f"{count:,} {kind}" for kind, count in result.requests.items())
    faults = ", ".join(f"{name} {count}" for name, count in sorted(result.faults.items()))
    fine = "nothing lost, nothing twice, no limit broken, nothing left"
    return (
        f"{result.messages:,} messages, {requests}, {result.records:,} records, refused {result.blocked} times\n"
        f"  faults in {result.share_of_faults:.1%} of the requests: {faults}\n"
        f"  failures told: {dict(result.failed) or 'none'}\n"
        f"  {'OBJECTIONS: ' + str(result.objections) if result.objections else fine}, {result.seconds:.0f} s"
    )


def main(messages: float = 50_000, seeds: float = 5, eagerness: float = EAGERNESS) -> None:
    """Print the result for each seed."""
    for seed in range(1, int(seeds) + 1):
        print(f"seed {seed}:", describe(run(int(messages), seed=seed, eagerness=eagerness)), flush=True)


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
