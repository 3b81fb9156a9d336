"""Trackers, streams, checks and clients of one limiter beside each other: everybody gets a turn in time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import anyio
import attrs
import pytest
import trio
from network import Network
from trio.testing import MockClock
from virtual import VirtualLoop

from smsc_status import (
    Archived,
    FailedCheck,
    LimitExceeded,
    Limits,
    LocalLimiter,
    MessageRef,
    StatusClient,
    StatusRecord,
)
from smsc_status.emulator import Emulator, EmulatorServer

# Many hours of virtual time. The lines that they run are covered by tests of single modules.
pytestmark = pytest.mark.slow

START = datetime(2026, 3, 10, 9, 0, tzinfo=UTC)
SWEEP = datetime(2026, 3, 11, 0, 0, tzinfo=UTC)
LIMITS = Limits(max_bulk=10)
CYCLE = LIMITS.period + LIMITS.margin


class ShuffledLoop(VirtualLoop):
    """A virtual loop that calls timers of the same instant in any order."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._draw = random.Random(seed)

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:  # type: ignore[override]  # less exact
        return super().call_at(when + self._draw.random() * 1e-6, callback, *args, context=context)


def run(work: Callable[[], Awaitable[None]], loop: str) -> None:
    """In virtual time: on an asyncio loop that is plain or of a seed, or on trio, which shuffles by itself."""
    if loop == "trio":
        trio.run(work, clock=MockClock(autojump_threshold=0))
    else:
        with asyncio.Runner(
            loop_factory=lambda: VirtualLoop() if loop == "plain" else ShuffledLoop(int(loop))
        ) as runner:
            runner.run(work())  # type: ignore[arg-type]  # a coroutine


LOOPS = pytest.mark.parametrize("loop", ["plain", "1", "trio"])


class World:
    """An emulator with a date of its own, and what came of the messages that were tracked."""

    def __init__(self, start: datetime = START) -> None:
        self.start, self.began_at = start, anyio.current_time()
        self.emulator = Emulator(seed=1, wall_clock=self.now)
        self.limiter = LocalLimiter(LIMITS)
        self.first: dict[int | str, float] = {}
        self.ends: dict[int | str, StatusRecord | FailedCheck] = {}
        self.stalest = 0.0
        self.all_heard_of = anyio.Event()

    def now(self) -> datetime:
        return self.start + timedelta(seconds=anyio.current_time() - self.began_at)

    @property
    def passed(self) -> float:
        return anyio.current_time() - self.began_at

    def client(self, **options: Any) -> StatusClient:
        options = {"transport": Network(self.emulator, delay=0.15)} | options
        return StatusClient(
            apikey="demo-key", base_url="http://localhost", wall_clock=self.now, limiter=self.limiter, **options
        )

    def add(self, ids: range, life: Any, *, ago: float = 3600.0) -> list[MessageRef]:
        sent_at = self.emulator.now() - ago
        return [self.emulator.world.add(id, f"7999{id:07}", sent_at=sent_at, life=life) for id in ids]

    async def track(self, client: StatusClient, refs: list[MessageRef], **options: Any) -> None:
        """Follow these, and note when each was heard of first, and how it ended."""
        async for outcome in client.track(refs, **options):
            self.first.setdefault(outcome.ref.id, self.passed)
            if len(self.first) == len(refs):
                self.all_heard_of.set()
            if isinstance(outcome, FailedCheck) or outcome.is_final:
                self.ends[outcome.ref.id] = outcome

    async def watch(self, client: StatusClient) -> None:
        """Note how old the oldest answer gets, once each message has one."""
        while True:
            await anyio.sleep(10)
            if len(self.first) == client.stats().tracked:
                self.stalest = max(self.stalest, client.stats().stalest)

    async def mailing(self, client: StatusClient, id: int) -> None:
        """Stream a mailing of one id without end."""
        async for _ in client.stream(self._mailing(id)):
            pass

    def _mailing(self, id: int) -> Iterator[MessageRef]:
        k = 0
        while True:
            k += 1
            yield MessageRef(id, f"7800{k:07}")

    async def ask(self, client: StatusClient, a_second: float) -> None:
        """Check other messages at random, so many a second, for callers who do not wait long."""
        async with anyio.create_task_group() as group:
            for id in range(500_000, 10**9):
                group.start_soon(self._check, client, id)
                await anyio.sleep(1 / a_second)

    async def _check(self, client: StatusClient, id: int) -> None:
        with anyio.move_on_after(30):
            with suppress(LimitExceeded):
                await client.check(id, "78005553535", max_wait=5)


def bound(tracked: int, *, streams: int, clients: int) -> float:
    """How old a tracked answer may get, in seconds: as the tracker's docstring says."""
    return clients * (3 * tracked / LIMITS.max_bulk + 4 * streams + 2) * CYCLE


@attrs.frozen
class Mix:
    """Who else is there beside the tracker."""

    streams: int = 0
    other_clients: int = 0
    checks: float = 0.0
    eagerness: float = 0.5


MIXES = [
    Mix(streams=1),
    Mix(streams=1, eagerness=0.0),
    Mix(checks=9.0, eagerness=0.0),
    Mix(other_clients=1),
    Mix(streams=2, other_clients=1, checks=2.0, eagerness=1.0),
]


@LOOPS
@pytest.mark.parametrize("mix", MIXES, ids=str)
def test_no_tracked_answer_gets_older_than_the_bound(mix: Mix, loop: str) -> None:
    """Whatever else waits for the limits, and in whatever order timers of one instant go off."""
    tracked = 20

    async def main() -> None:
        world = World()
        refs = world.add(range(1, tracked + 1), [(0, 0)])
        most = bound(tracked, streams=mix.streams, clients=1 + mix.other_clients)
        async with world.client() as client, anyio.create_task_group() as group:
            for number in range(mix.streams):
                group.start_soon(world.mailing, client, 100_000 + number)
            for number in range(mix.other_clients):
                group.start_soon(world.mailing, world.client(), 200_000 + number)
            if mix.checks:
                group.start_soon(world.ask, client, mix.checks)
            await anyio.sleep(10)
            began_at = world.passed
            group.start_soon(lambda: world.track(client, refs, eagerness=mix.eagerness))
            group.start_soon(world.watch, client)
            with anyio.move_on_after(most):
                await world.all_heard_of.wait()
            assert len(world.first) == tracked
            await anyio.sleep(130)
            assert max(world.first.values()) - began_at <= most
            assert 0 < world.stalest <= most
            assert world.emulator.referee.no_violations
            group.cancel_scope.cancel()

    run(main, loop)


@LOOPS
@pytest.mark.parametrize("clients", [1, 2])
def test_a_mailing_costs_no_message_its_last_call(clients: int, loop: str) -> None:
    """All end twenty minutes before the archive takes them; the stream beside them wants every bulk request."""
    tracked = 20

    async def main() -> None:
        world = World(SWEEP - timedelta(minutes=75))
        refs = world.add(range(1, tracked + 1), [(0, 0), (8 * 3600 + 55 * 60, 1)], ago=8 * 3600)
        async with world.client() as client, world.client() as other, anyio.create_task_group() as group:
            group.start_soon(world.mailing, client if clients == 1 else other, 100_000)
            await anyio.sleep(10)
            await world.track(client, refs, eagerness=0.0)
            group.cancel_scope.cancel()
        archived = [o for o in world.ends.values() if isinstance(o, FailedCheck) and isinstance(o.error, Archived)]
        assert not archived
        assert len(world.ends) == tracked
        assert world.passed < 75 * 60 + 60

    run(main, loop)


@LOOPS
@pytest.mark.parametrize(("tracked", "others"), [(100, 3), (300, 1)])
def test_last_calls_have_the_bulk_requests_whatever_other_clients_mail(tracked: int, others: int, loop: str) -> None:
    """All of them have one id. Their single checks leave it a token for each bulk request."""

    async def main() -> None:
        world = World(SWEEP - timedelta(minutes=15))
        sent_at = world.emulator.now() - 9 * 3600
        refs = [world.emulator.world.add(1, f"7999{k:07}", sent_at=sent_at, life=[(0, 0)]) for k in range(tracked)]
        mailing = [world.client() for _ in range(others)]
        async with world.client() as client, anyio.create_task_group() as group:
            for number, other in enumerate(mailing):
                group.start_soon(world.mailing, other, 100_000 + number)
            await anyio.sleep(10)
            group.start_soon(world.track, client, refs)
            await anyio.sleep(10 * CYCLE)
            assert client.stats().requests["bulk"] >= 8
            assert sum(other.stats().requests["bulk"] for other in mailing) <= 3
            assert world.emulator.referee.no_violations
            group.cancel_scope.cancel()

    run(main, loop)


@LOOPS
@pytest.mark.parametrize("clients", [1, 2])
def test_two_trackers_share_the_bulk_requests(clients: int, loop: str) -> None:
    """Of one client or of two: the first answers of both come within the bound, and so do all that follow."""
    each = 30

    async def main() -> None:
        world = World()
        most = bound(2 * each if clients == 1 else each, streams=0, clients=clients)
        stalest = 0.0
        async with world.client() as client, world.client() as other, anyio.create_task_group() as group:
            of_each = [client, client if clients == 1 else other]
            for number, one in enumerate(of_each):
                refs = world.add(range(100 * number + 1, 100 * number + 1 + each), [(0, 0)])
                group.start_soon(partial(world.track, one, refs, eagerness=0.0))
            await anyio.sleep(most)
            assert len(world.first) == 2 * each
            for _ in range(int(most / 10)):
                await anyio.sleep(10)
                stalest = max(stalest, *(one.stats().stalest for one in of_each))
            assert 0 < stalest <= most
            assert world.emulator.referee.no_violations
            group.cancel_scope.cancel()

    run(main, loop)


@LOOPS
def test_a_check_of_another_client_goes_before_last_calls(loop: str) -> None:
    """Hundreds of them want every place and every bulk request; their deadline is minutes away."""
    tracked = 600

    async def main() -> None:
        world = World(SWEEP - timedelta(minutes=10))
        refs = world.add(range(1, tracked + 1), [(0, 0)], ago=9 * 3600)
        delivered = world.add(range(100_001, 100_011), [(0, 1)])
        waits: list[float] = []
        slow = {"transport": Network(world.emulator, round_trip=2.0)}
        async with world.client(**slow) as client, world.client() as other, anyio.create_task_group() as group:
            group.start_soon(world.track, client, refs)
            await anyio.sleep(60)
            for ref in delivered:
                began_at = world.passed
                await other.check(ref.id, ref.phone)
                waits.append(world.passed - began_at)
                await anyio.sleep(5)
            heard_of = len(world.first)
            group.cancel_scope.cancel()
        assert heard_of < tracked
        assert max(waits) < 3

    run(main, loop)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_mailing_does_not_starve_a_tracker_on_real_sockets(backend: str) -> None:
    """A minute takes a second. The tracker leaves all to the bulk requests, every one of which the stream wants."""
    emulator = Emulator(seed=1, speed=60)
    tracked = [emulator.world.add(id, "79990000000", sent_at=emulator.now(), life=[(0, 0)]) for id in range(1, 16)]
    limits = emulator.client_limits(max_bulk=5)

    async def stream(client: StatusClient) -> None:
        async for _ in client.stream(MessageRef(100_000, f"7800{k:07}") for k in range(10**6)):
            pass

    async def main() -> None:
        heard_of = set()
        client = StatusClient(apikey="demo-key", base_url=server.url, limits=limits, wall_clock=emulator.wall_clock)
        async with client, anyio.create_task_group() as group:
            group.start_soon(stream, client)
            with anyio.fail_after((3 * 3 + 4 + 2) * (limits.period + limits.margin)):
                async for outcome in client.track(tracked, speed=60, eagerness=0.0):
                    heard_of.add(outcome.ref)
                    if len(heard_of) == len(tracked):
                        break
            group.cancel_scope.cancel()

    with EmulatorServer(emulator) as server:
        anyio.run(main, backend=backend)
    assert emulator.referee.no_violations
