"""Law 9: whatever is no answer of the vendor's script is the server's state, and the client backs off from it."""

from __future__ import annotations

import gzip
import itertools
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any
from urllib.parse import parse_qs

import anyio
import attrs
import httpx
import pytest
from faulty import (
    HTML,
    Bench,
    Carry,
    Fault,
    Way,
    bomb,
    halfway,
    hangs,
    lost_back,
    lost_there,
    never_left,
    on_the_way,
    replies,
    spoilt,
)
from helpers import engine_of, loop_by_turns

from smsc_status import (
    FailedCheck,
    LimitExceeded,
    MessageRef,
    ProtocolError,
    SmscError,
    StatusClient,
    StatusRecord,
    TransportError,
)
from smsc_status._runtime import http

# Many hours of virtual time. The lines that they run are covered by tests of single modules.
pytestmark = [pytest.mark.anyio, pytest.mark.slow]

HOUR = 3600.0
MOST = 120
"""So many requests at most in an hour of any wall."""

SOON = 80.0
"""Within so many seconds of a wall's fall the first answer is there: a minute's pause, and the request."""

WALLS: dict[str, Fault] = {
    **{f"HTTP {status}": replies(status) for status in (403, 404, 418, 429, 500, 503)},
    "HTTP 204": replies(204, b""),
    "HTTP 301": replies(301, location="https://elsewhere.example/sys/status.php"),
    "HTTP 403, compressed": replies(403, bomb(1000), content_encoding="gzip"),
    "an empty body": spoilt(lambda _: b""),
    "a page of HTML": replies(200),
    "cut JSON": spoilt(lambda body: body[: len(body) // 2]),
    "rubbish": spoilt(lambda _: bytes(range(256))),
    "an unasked gzip": spoilt(gzip.compress, content_encoding="gzip"),
    "a reply over the bound": spoilt(lambda _: bytes(2_000_000)),
    "connection refused": never_left(httpx.ConnectError, "refused"),
    "connecting takes too long": never_left(httpx.ConnectTimeout, "", after=15.0),
    "connection cut": lost_there(httpx.WriteError, "broken pipe"),
    "connection cut after the request": lost_back(httpx.RemoteProtocolError, "disconnected"),
    "connection cut in the reply": halfway(httpx.ReadError, "reset"),
    "silence": hangs(),
}


@attrs.define
class Got:
    """What came out, and when."""

    at: list[float] = attrs.field(factory=list)
    records: list[StatusRecord] = attrs.field(factory=list)
    failed: list[FailedCheck] = attrs.field(factory=list)

    def take(self, outcome: StatusRecord | FailedCheck) -> None:
        self.at.append(anyio.current_time())
        if isinstance(outcome, StatusRecord):
            self.records.append(outcome)
        else:
            self.failed.append(outcome)


async def many_checks(client: StatusClient, refs: list[MessageRef], got: Got) -> None:
    """One caller a message."""

    async def one(ref: MessageRef) -> None:
        try:
            got.take(await client.check(ref.id, ref.phone))
        except SmscError as error:
            got.take(FailedCheck(ref, error))

    async with anyio.create_task_group() as group:
        for ref in refs:
            group.start_soon(one, ref)


async def one_check(client: StatusClient, refs: list[MessageRef], got: Got) -> None:
    """A caller that asks again after each failure."""
    [ref] = refs
    while not got.records:
        try:
            got.take(await client.check(ref.id, ref.phone))
        except SmscError as error:
            got.take(FailedCheck(ref, error))


async def a_stream(client: StatusClient, refs: list[MessageRef], got: Got) -> None:
    async for outcome in client.stream(refs):
        got.take(outcome)


async def a_track(client: StatusClient, refs: list[MessageRef], got: Got, *, eagerness: float = 0.5) -> None:
    async for outcome in client.track(refs, eagerness=eagerness):
        got.take(outcome)


Work = Callable[[StatusClient, list[MessageRef], Got], Coroutine[Any, Any, None]]

WORKS: dict[str, tuple[Work, int]] = {
    "300 checks": (many_checks, 300),
    "one check after the other": (one_check, 1),
    "a stream of 1,000": (a_stream, 1000),
    "a track of 300": (a_track, 300),
}


@pytest.mark.parametrize(
    ("wall", "work", "messages", "anyio_backend"),
    [  # each wall with each work; each wall and each work on each loop
        pytest.param(wall, *work, loop_by_turns(n, k), id=f"{name}-{doing}")
        for n, (name, wall) in enumerate(WALLS.items())
        for k, (doing, work) in enumerate(WORKS.items())
    ],
    indirect=["anyio_backend"],
)
async def test_an_hour_of_a_wall_costs_few_requests_and_no_message(
    wall: Fault, work: Work, messages: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most 120; nothing fails but what has used up its tries; it recovers by itself soon after the wall falls."""
    monkeypatch.setattr(http, "REPLY_BYTES", 2**14)
    monkeypatch.setattr(http, "REPLY_BYTES_A_MESSAGE", 2**10)
    bench = Bench()
    refs = bench.delivered(messages)
    got = Got()
    async with bench.client() as client, anyio.create_task_group() as group:
        async with wall(bench):
            group.start_soon(work, client, refs, got)
            await anyio.sleep(HOUR)
            asked = bench.transport.struck
            assert asked <= MOST, f"{asked} requests in an hour"
            assert asked >= 50, f"only {asked} requests in an hour: it would be found late that the wall has fallen"
            assert not got.records
            if work is one_check:
                assert len(got.failed) <= asked / (1 + 4)
            else:
                assert not got.failed, f"{len(got.failed)} failed, the first as {got.failed[0].error!r}"
        fell_at = anyio.current_time()
        with anyio.fail_after(400):
            while len(got.records) < messages:  # noqa: ASYNC110 (they need not say when they have all)
                await anyio.sleep(1)
    first_after = min(at for at in got.at if at >= fell_at) - fell_at
    assert first_after <= SOON + 30 * (wall is WALLS["silence"]), f"the first answer came after {first_after:.0f} s"
    assert {record.ref for record in got.records} == set(refs)
    assert len(got.records) == messages
    assert got.at[-1] - fell_at <= 200, f"the last answer came after {got.at[-1] - fell_at:.0f} s"
    assert not bench.broken_limits()
    assert bench.transport.hosts == {"localhost"}


@pytest.mark.parametrize(
    ("name", "work", "anyio_backend"),
    [
        (name, work, loop_by_turns(n, k))
        for n, name in enumerate(["HTTP 403", "a page of HTML", "HTTP 503", "connection refused", "silence"])
        for k, work in enumerate([a_stream, a_track, many_checks])
    ],
    indirect=["anyio_backend"],
)
async def test_each_mirror_is_tried_in_turn(name: str, work: Work) -> None:
    """A wall before some of the addresses holds up nothing for long: what comes through is used."""
    bench = Bench()
    refs = bench.delivered(300)
    got = Got()
    walled: Counter[str] = Counter()

    async def way(carry: Carry, request: httpx.Request) -> httpx.Response:
        if request.url.host == "third":
            return await carry(request)
        walled[request.url.host] += 1
        return await through(carry, request)

    mirrors = ["https://second", "https://third"]
    async with WALLS[name](bench):
        assert bench.transport.way is not None
        through = bench.transport.way
        bench.transport.way = way
        async with bench.client(mirrors=mirrors) as client:
            with anyio.fail_after(400):
                await work(client, refs, got)
    assert bench.transport.hosts == {"localhost", "second", "third"}
    assert len(got.records) == 300
    assert not got.failed
    assert walled.total() <= 10


def until(count: int, otherwise: Way) -> Way:
    """So many requests are answered by another way."""
    asked = itertools.count(1)

    async def way(carry: Carry, request: httpx.Request) -> httpx.Response:
        return await (otherwise(carry, request) if next(asked) <= count else carry(request))

    return way


async def said(status: int, body: bytes = HTML, *, retry_after: int | None = None) -> httpx.Response:
    headers = {} if retry_after is None else {"retry-after": str(retry_after)}
    return httpx.Response(status, headers=headers, content=body)


@pytest.mark.parametrize(
    ("status", "anyio_backend"),  # what a status means, one module says, and it knows no loop
    [(status, loop_by_turns(n)) for n, status in enumerate([200, 204, 301, 403, 404, 418, 429, 503])],
    indirect=["anyio_backend"],
)
async def test_one_odd_reply_to_a_large_bulk_request_costs_no_message(status: int) -> None:
    """It says something of the server, and is asked again."""
    bench = Bench()
    refs = bench.delivered(1000)
    got = Got()
    async with bench.client() as client, on_the_way(until(1, lambda *_: said(status)))(bench):
        await a_stream(client, refs, got)
    assert not got.failed
    assert {record.ref for record in got.records} == set(refs)
    assert not bench.broken_limits()


async def test_faults_of_every_kind_now_and_then_cost_no_message() -> None:
    """One request in twenty meets a fault; each message has five tries."""
    bench = Bench()
    refs = bench.delivered(5000)
    got = Got()
    draw = random.Random(7)
    ways: list[Way] = []
    for name, wall in WALLS.items():
        if name not in ("silence", "a reply over the bound"):
            async with wall(bench):
                assert bench.transport.way is not None
                ways.append(bench.transport.way)
    happened = 0

    async def way(carry: Carry, request: httpx.Request) -> httpx.Response:
        nonlocal happened
        if draw.random() >= 0.05:
            return await carry(request)
        happened += 1
        return await draw.choice(ways)(carry, request)

    async with bench.client() as client, on_the_way(way)(bench):
        await a_stream(client, refs, got)
    assert happened > 20
    assert not got.failed
    assert {record.ref for record in got.records} == set(refs)
    assert len(got.records) == 5000
    assert not bench.broken_limits()


def spoiling(spoiler: MessageRef) -> Way:
    """A reply with this message's text in it can't be read."""

    async def way(carry: Carry, request: httpx.Request) -> httpx.Response:
        response = await carry(request)
        phones = parse_qs(request.content.decode())["phone"][0].split(",")
        return await said(200, response.content[:-40]) if spoiler.phone in phones else response

    return way


@pytest.mark.parametrize(
    ("work", "messages", "longest"),
    [
        pytest.param(many_checks, 20, 120, id="20 checks"),
        pytest.param(a_stream, 1000, 180, id="a stream of 1,000"),
        pytest.param(a_track, 300, 400, id="a track of 300"),
        pytest.param(partial(a_track, eagerness=0), 300, 3600, id="a track of 300, by bulk requests"),
    ],
)
async def test_a_message_that_spoils_its_own_reply_fails_alone(work: Work, messages: int, longest: float) -> None:
    """With a `ProtocolError`, after its tries and soon; the others come out."""
    bench = Bench()
    refs = bench.delivered(messages)
    spoiler = refs[messages // 3]
    got = Got()
    async with bench.client() as client, on_the_way(spoiling(spoiler))(bench):
        with anyio.fail_after(7200):
            await work(client, refs, got)
        took = anyio.current_time() - bench.began_at
    assert [failed.ref for failed in got.failed] == [spoiler]
    assert isinstance(got.failed[0].error, ProtocolError)
    assert {record.ref for record in got.records} == set(refs) - {spoiler}
    assert len(got.records) == messages - 1
    assert took <= longest, f"it took {took:.0f} s"
    assert not bench.broken_limits()


async def test_a_bulk_reply_that_cannot_be_read_is_held_against_no_tracked_message() -> None:
    """However often it comes, and though the replies to other requests can be read meanwhile."""
    bench = Bench()
    refs = bench.delivered(400)
    tracked, others = refs[:200], refs[200:]
    got = Got()
    walls = 0

    async def way(carry: Carry, request: httpx.Request) -> httpx.Response:
        nonlocal walls
        if "," in parse_qs(request.content.decode())["id"][0] and walls < 12:
            walls += 1
            return await said(403)
        return await carry(request)

    async def check_others() -> None:
        for ref in others:
            await client.check(ref.id, ref.phone)
            await anyio.sleep(10)

    async with bench.client() as client, on_the_way(way)(bench), anyio.create_task_group() as group:
        group.start_soon(check_others)
        await a_track(client, tracked, got, eagerness=0)
        group.cancel_scope.cancel()
    assert walls == 12
    assert not got.failed
    assert {record.ref for record in got.records} == set(tracked)


@pytest.mark.parametrize("work", [a_stream, a_track, many_checks])
async def test_a_pause_that_half_of_the_replies_ask_for_is_kept(work: Work) -> None:
    """`Retry-After` concerns the server, whatever the others are answered."""
    bench = Bench()
    refs = bench.delivered(300)
    got = Got()
    count = 0

    async def way(carry: Carry, request: httpx.Request) -> httpx.Response:
        nonlocal count
        count += 1
        return await carry(request) if count % 2 else await said(503, retry_after=600)

    async with bench.client() as client, on_the_way(way)(bench), anyio.create_task_group() as group:
        group.start_soon(work, client, refs, got)
        await anyio.sleep(600)
        assert count <= 6, f"{count} requests in 600 s"
        bench.transport.way = None
    assert not got.failed
    assert len(got.records) == 300


async def test_a_pause_of_a_day_is_kept_for_an_hour() -> None:
    """And then it is asked again."""
    bench = Bench()
    refs = bench.delivered(50)
    got = Got()
    way = until(1, lambda *_: said(429, retry_after=86_400))
    async with bench.client() as client, on_the_way(way)(bench):
        await a_stream(client, refs, got)
    assert not got.failed
    assert 3600 <= min(got.at) - bench.began_at <= 3700


async def test_a_caller_that_can_not_wait_for_a_pause_is_told_how_long_it_is() -> None:
    """At once."""
    bench = Bench()
    [ref] = bench.delivered(1)
    async with bench.client() as client, replies(503, retry_after="600")(bench):
        with pytest.raises(TransportError) as caught:
            await client.check(ref.id, ref.phone, max_wait=5)
        assert caught.value.http_status == 503
        assert caught.value.retry_after == pytest.approx(600, abs=2)
        with pytest.raises(LimitExceeded) as told:
            await client.check(ref.id, ref.phone, max_wait=5)
        assert told.value.retry_after == pytest.approx(600, abs=2)
        assert anyio.current_time() - bench.began_at < 5
    assert bench.transport.struck == 1


def slow(each: float) -> Way:
    """The server takes so many seconds a message."""

    async def way(carry: Carry, request: httpx.Request) -> httpx.Response:
        count = request.content.count(b",") // 2 + 1
        response = await carry(request)
        await anyio.sleep(count * each)
        return response

    return way


@pytest.mark.parametrize(
    ("each", "anyio_backend"),  # how many are asked at once is found by a module that knows no loop
    [(0.04, "asyncio"), (0.5, "trio")],
    indirect=["anyio_backend"],
)
async def test_a_server_that_is_slow_with_many_is_asked_for_fewer(each: float) -> None:
    """A mailing of 3,000, which only bulk requests can ask: none is lost."""
    bench = Bench()
    sent_at = bench.emulator.now() - 3600
    refs = [
        bench.emulator.world.add(7, f"7999{k:07}", sent_at=sent_at, life=[(0, 1, 0)])
        for k in range(3000 if each < 0.1 else 300)
    ]
    got = Got()
    async with bench.client(timeout=30.0) as client, on_the_way(slow(each))(bench):
        await a_stream(client, refs, got)
        timed_out = bench.limiter.pacer.limits.max_bulk  # what the size was at first
        assert engine_of(client).pending.batch_limit < timed_out
        bench.transport.way = None
        more = [MessageRef(8, f"7999{k:07}") for k in range(20_000)]
        for ref in more:
            bench.emulator.world.add(ref.id, ref.phone, sent_at=sent_at, life=[(0, 1, 0)])
        again = Got()
        await a_stream(client, more, again)
        assert engine_of(client).pending.batch_limit == 1000
    assert not got.failed
    assert {record.ref for record in got.records} == set(refs)
    assert len(again.records) == 20_000


async def test_a_message_whose_replies_can_not_be_read_is_not_followed_for_ever() -> None:
    """Where it is alone, nothing tells it from a wall; so it is tried for as long as any other is followed."""
    bench = Bench()
    spoiler, other = bench.delivered(2)
    got = Got()
    async with bench.client() as client, on_the_way(spoiling(spoiler))(bench):
        async for outcome in client.track([spoiler, other], expire_after=7200.0):
            got.take(outcome)
    assert [failed.ref for failed in got.failed] == [spoiler]
    assert isinstance(got.failed[0].error, ProtocolError)
    assert 7200 <= anyio.current_time() - bench.began_at <= 7400
    assert [record.ref for record in got.records] == [other]
