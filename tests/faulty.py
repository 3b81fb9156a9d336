"""A transport to the emulator that breaks at any stage for a while, and what it is tested with."""

from __future__ import annotations

import gzip
import itertools
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import attrs
import httpx
from anyio.lowlevel import checkpoint
from network import Network
from virtual import block

import smsc_status
from smsc_status import Detail, FailedCheck, Format, LocalLimiter, MessageRef, StatusClient, StatusRecord
from smsc_status._core.wire import codecs
from smsc_status.emulator import Emulator, Referee

START = datetime(2026, 3, 10, 6, 0, tzinfo=UTC)
HTML = b"<html><head><title>Hello</title></head><body><p>We are moving house.</p></body></html>\r\n"

Carry = Callable[[httpx.Request], Awaitable[httpx.Response]]
Way = Callable[[Carry, httpx.Request], Awaitable[httpx.Response]]
"""How a request is answered: by itself, or with the help of the one that carries it to the emulator."""


class Faulty(httpx.AsyncBaseTransport):
    """Carries requests to the emulator, by another `way` while there is one."""

    def __init__(self, emulator: Emulator) -> None:
        # None arrives late: a blocked loop would hold it up beyond all bounds, which no network does.
        self._network = Network(emulator, delay=0.2, late=0.0)
        self.way: Way | None = None
        self.struck = 0
        self.hosts: set[str] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.hosts.add(request.url.host)
        if self.way is None:
            return await self._network.handle_async_request(request)
        self.struck += 1
        return await self.way(self._network.handle_async_request, request)


class Bench:
    """An emulator, a client of it, and the messages that they speak of; all end as delivered."""

    def __init__(self, format: Format = Format.JSON) -> None:
        self.began_at = anyio.current_time()
        self.is_wall_clock_still = False
        self.emulator = Emulator(seed=1, wall_clock=self.date, referee=Referee(count_invalid=True))
        self.transport = Faulty(self.emulator)
        self.format = format
        self.limiter = LocalLimiter()
        self.over_at = 0.0
        self.clock_faults = 0

    def date(self) -> datetime:
        elapsed = 0.0 if self.is_wall_clock_still else anyio.current_time() - self.began_at
        return START + timedelta(seconds=elapsed)

    def client(self, **options: Any) -> StatusClient:
        return StatusClient(
            apikey="demo-key",
            base_url="http://localhost",
            transport=self.transport,
            format=self.format,
            detail=Detail.FULL,
            limiter=self.limiter,
            wall_clock=self.date,
            **options,
        )

    def delivered(self, count: int, *, first: int = 1) -> list[MessageRef]:
        """So many messages that were delivered an hour ago."""
        return [self._add(id, -3600, [(0, 1, 0)]) for id in range(first, first + count)]

    def young(self, count: int, *, first: int = 1, every: float = 80.0) -> list[MessageRef]:
        """So many messages that are sent now, and delivered one after the other."""
        return [self._add(id, 0, [(0, 0), (every * (id - first + 1), 1)]) for id in range(first, first + count)]

    def _add(self, id: int, after: float, life: list[Any]) -> MessageRef:
        sent_at = self.emulator.now() + after
        return self.emulator.world.add(id, f"7999{id:07}", sent_at=sent_at, life=life, text=f"Ваш код {id}")

    def is_right(self, record: StatusRecord, ref: MessageRef) -> bool:
        """Whether the record is this message's, with the status that it has when all is over."""
        return record.ref is ref and record.status == 1 and record.phone in (None, ref.phone)

    @property
    def struck(self) -> int:
        """How often a fault has struck."""
        emulator = self.emulator
        return self.transport.struck + emulator.faults.happened.total() + emulator.errors[4] + self.clock_faults

    def broken_limits(self) -> dict[str, int]:
        """What the server saw that is more than the limits allow."""
        referee = self.emulator.referee
        peaks = {"id": referee.peak_checks_per_id - 5, "bulk": referee.peak_bulk - 1, "open": referee.peak_open - 4}
        return {name: excess for name, excess in peaks.items() if excess > 0} | dict(referee.refusals)

    async def is_at_rest(self, client: StatusClient) -> bool:
        """Whether nothing is left of all that was asked, once the last token is back."""
        await anyio.sleep(80)
        stats = client.stats()
        return self.limiter.is_idle() and not (stats.waiting or stats.open_requests or stats.tracked)


Fault = Callable[[Bench], AbstractAsyncContextManager[None]]
"""Goes on while its context is open; what it began may take a moment longer."""


# On the way.


def on_the_way(way: Way) -> Fault:
    @asynccontextmanager
    async def fault(bench: Bench) -> AsyncIterator[None]:
        bench.transport.way = way
        try:
            yield
        finally:
            bench.transport.way = None

    return fault


def never_left(error: type[httpx.RequestError], text: str, *, after: float = 0.0) -> Fault:
    """The connection fails before a byte of the request is sent."""

    async def way(_carry: Carry, _request: httpx.Request) -> httpx.Response:
        await anyio.sleep(after)
        raise error(text)

    return on_the_way(way)


def lost_there(error: type[httpx.RequestError], text: str, *, after: float = 0.0) -> Fault:
    """The request is sent, perhaps in part, and does not arrive."""
    return never_left(error, text, after=after)


def lost_back(error: type[httpx.RequestError], text: str, *, after: float = 0.0) -> Fault:
    """The request arrives, and no answer comes."""

    async def way(carry: Carry, request: httpx.Request) -> httpx.Response:
        await carry(request)
        await anyio.sleep(after)
        raise error(text)

    return on_the_way(way)


class Halfway(httpx.AsyncByteStream):
    """The first half of a body, and then an error, or nothing more for ever."""

    def __init__(self, body: bytes, error: httpx.RequestError | None) -> None:
        self._body = body
        self._error = error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._body[: len(self._body) // 2]
        await checkpoint()
        if self._error is None:
            await anyio.sleep_forever()
        else:
            raise self._error


def halfway(error: type[httpx.RequestError] | None, text: str = "") -> Fault:
    """The answer breaks off, or goes silent, in the middle of its body."""

    async def way(carry: Carry, request: httpx.Request) -> httpx.Response:
        response = await carry(request)
        stream = Halfway(response.content, None if error is None else error(text))
        return httpx.Response(response.status_code, headers=response.headers, stream=stream)

    return on_the_way(way)


async def _hang(carry: Carry, request: httpx.Request) -> httpx.Response:
    await carry(request)
    await anyio.sleep_forever()
    raise AssertionError


def hangs() -> Fault:
    """The request arrives, and the connection stays open and silent."""
    return on_the_way(_hang)


def blocks(seconds: float, *, times: float, answered: bool) -> Fault:
    """The event loop is blocked before each of so many requests is sent, or when its answer is there."""

    @asynccontextmanager
    async def fault(bench: Bench) -> AsyncIterator[None]:
        count = itertools.count(1)

        async def way(carry: Carry, request: httpx.Request) -> httpx.Response:
            is_blocked = next(count) <= times
            if is_blocked and not answered:
                block(seconds)
            response = await carry(request)
            if is_blocked and answered:
                block(seconds)
            return response

        async with on_the_way(way)(bench):
            yield

    return fault


# In the answer.


def replies(status: int, body: bytes = HTML, **headers: str) -> Fault:
    """The request arrives, and something else answers."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def way(carry: Carry, request: httpx.Request) -> httpx.Response:
        await carry(request)
        return httpx.Response(status, headers={"content-type": "text/html"} | named, stream=httpx.ByteStream(body))

    return on_the_way(way)


def spoilt(change: Callable[[bytes], bytes], **headers: str) -> Fault:
    """The body of each answer is changed on its way; all else about it looks whole."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def way(carry: Carry, request: httpx.Request) -> httpx.Response:
        response = await carry(request)
        return httpx.Response(response.status_code, headers=named, stream=httpx.ByteStream(change(response.content)))

    return on_the_way(way)


def refused(code: int) -> Fault:
    """The vendor answers with this error, in the format that was asked for."""

    @asynccontextmanager
    async def fault(bench: Bench) -> AsyncIterator[None]:
        body = codecs.encode_error(code, "no", format=bench.format, charset="utf-8")
        async with spoilt(lambda _: body)(bench):
            yield

    return fault


def emulated(**probabilities: float) -> Fault:
    """A fault of the emulator's own."""

    @asynccontextmanager
    async def fault(bench: Bench) -> AsyncIterator[None]:
        bench.emulator.faults.change(**probabilities)
        try:
            yield
        finally:
            bench.emulator.faults.change(**dict.fromkeys(probabilities, 0.0))

    return fault


@asynccontextmanager
async def blocked(bench: Bench) -> AsyncIterator[None]:
    """The vendor blocks the address."""
    bench.emulator.blocked = True
    try:
        yield
    finally:
        bench.emulator.blocked = False


def bomb(size: int) -> bytes:
    """A few kilobytes that would become so many bytes."""
    return gzip.compress(bytes(size), compresslevel=9)


def deflated(body: bytes) -> bytes:
    return zlib.compress(body)


# Of the clocks.


@asynccontextmanager
async def still_wall_clock(bench: Bench) -> AsyncIterator[None]:
    """The date does not change; seconds pass."""
    bench.is_wall_clock_still = True
    bench.clock_faults += 1
    try:
        yield
    finally:
        bench.is_wall_clock_still = False


@asynccontextmanager
async def still_clock(bench: Bench) -> AsyncIterator[None]:
    """The event loop's clock stands still for a thousand turns of the loop: no timer goes off."""

    bench.clock_faults += 1

    async def keep_busy() -> None:
        for _ in range(1000):
            await checkpoint()

    async with anyio.create_task_group() as group:
        group.start_soon(keep_busy)
        yield


# What came out.


def kind_of(outcome: object) -> type[Any]:
    """The class of a record, or the class of an error by which users know it."""
    return next(kind for kind in type(outcome).__mro__ if kind.__name__ in smsc_status.__all__)


@attrs.define
class Came:
    """The outcomes of some messages, and when they came."""

    ends: dict[MessageRef, list[StatusRecord | FailedCheck]] = attrs.field(factory=dict)
    raised: list[Exception] = attrs.field(factory=list)

    def take(self, outcome: StatusRecord | FailedCheck) -> None:
        """One more; of a record only if it is an end."""
        if isinstance(outcome, FailedCheck) or outcome.is_final:
            self.ends.setdefault(outcome.ref, []).append(outcome)

    def once_each(self, refs: list[MessageRef]) -> bool:
        """Whether each of these messages has ended once, and no others."""
        return self.ends.keys() == set(refs) and all(len(ends) == 1 for ends in self.ends.values())

    @property
    def failures(self) -> set[type[Exception]]:
        """The kinds of errors that messages ended with."""
        return {kind_of(end.error) for ends in self.ends.values() for end in ends if isinstance(end, FailedCheck)}

    @property
    def records(self) -> list[StatusRecord]:
        return [end for ends in self.ends.values() for end in ends if isinstance(end, StatusRecord)]
