"""Law 9: whatever is no answer of the vendor's script is the server's state, and the client backs off from it."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio
import attrs
import httpx
import pytest
from faulty import (
    HTML,
    Bench,
    Came,
    Carry,
    Fault,
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

from smsc_status import FailedCheck, MessageRef, ProtocolError, SmscError, StatusClient, StatusRecord
from smsc_status.exchange import REPLY_BYTES

pytestmark = pytest.mark.anyio

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
    "a reply over the bound": spoilt(lambda _: bytes(REPLY_BYTES + 2**15 * 1000 + 1)),
    "connection refused": never_left(httpx.ConnectError, "refused"),
    "connecting takes too long": never_left(httpx.ConnectTimeout, "", after=15.0),
    "connection cut": lost_there(httpx.WriteError, "broken pipe"),
    "connection cut after the request": lost_back(httpx.RemoteProtocolError, "disconnected"),
    "connection cut in the reply": halfway(httpx.ReadError, "reset"),
    "silence": hangs(),
}

of_each_wall = pytest.mark.parametrize("wall", [pytest.param(wall, id=name) for name, wall in WALLS.items()])


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
    """A caller who asks again whenever he is told that it failed."""
    [ref] = refs
    while not got.records:
        try:
            got.take(await client.check(ref.id, ref.phone))
        except SmscError as error:
            got.take(FailedCheck(ref, error))


async def a_stream(client: StatusClient, refs: list[MessageRef], got: Got) -> None:
    async for outcome in client.stream(refs):
        got.take(outcome)


async def a_track(client: StatusClient, refs: list[MessageRef], got: Got) -> None:
    async for outcome in client.track(refs):
        got.take(outcome)


Work = Callable[[StatusClient, list[MessageRef], Got], Awaitable[None]]

WORKS: dict[str, tuple[Work, int]] = {
    "300 checks": (many_checks, 300),
    "one check after the other": (one_check, 1),
    "a stream of 1,000": (a_stream, 1000),
    "a track of 300": (a_track, 300),
}


@of_each_wall
@pytest.mark.parametrize(("work", "messages"), [pytest.param(*work, id=name) for name, work in WORKS.items()])
async def test_an_hour_of_a_wall_costs_few_requests_and_no_message(wall: Fault, work: Work, messages: int) -> None:
    """At most 120; nothing fails but what has used up its tries; it recovers by itself soon after the wall falls."""
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
            while len(got.records) < messages:
                await anyio.sleep(1)
    first_after = min(at for at in got.at if at >= fell_at) - fell_at
    assert first_after <= SOON + 30 * (wall is WALLS["silence"]), f"the first answer came after {first_after:.0f} s"
    assert {record.ref for record in got.records} == set(refs)
    assert len(got.records) == messages
    assert got.at[-1] - fell_at <= 200, f"the last answer came after {got.at[-1] - fell_at:.0f} s"
    assert not bench.broken_limits()
    assert bench.transport.hosts == {"localhost"}
