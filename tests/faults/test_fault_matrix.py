"""Every fault for a while: what comes out, that no limit is broken and no message lost, and that it is over afterwards.

One table, each fault a row: what a `check` gives that is begun with the fault, and what ends messages of a `stream`
that goes on meanwhile (nothing: all of them get their record). Tracked messages end with their record, whatever the
fault. What else there is to be seen of a fault is the same for all rows and is asserted below.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import attrs
import httpx
import pytest
from anyio.lowlevel import checkpoint
from faulty import (
    Bench,
    Came,
    Fault,
    blocked,
    blocks,
    bomb,
    deflated,
    emulated,
    halfway,
    hangs,
    kind_of,
    lost_back,
    lost_there,
    never_left,
    refused,
    replies,
    spoilt,
    still_clock,
    still_wall_clock,
)
from helpers import LOOPS, answered_by, loop_by_turns

from smsc_status import (
    AddressBlocked,
    AuthError,
    FailedCheck,
    Format,
    MessageRef,
    ProtocolError,
    RequestTimeout,
    SmscError,
    StatusRecord,
    TransportError,
)

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

RECORD = StatusRecord
AFTERWARDS = "a record, once it is over"
"""The answer waits for the fault's end."""

MEGABYTES = 10 * 2**20
BOMB = bomb(MEGABYTES)
ALL = tuple(Format)
DOCTYPE = b'<!DOCTYPE sms [<!ENTITY a "1"><!ENTITY b "&a;&a;&a;&a;">]><sms><status>&b;</status></sms>'
FILE = b'<!DOCTYPE sms [<!ENTITY a SYSTEM "file:///etc/passwd">]><sms><status>1</status><message>&a;</message></sms>'


@attrs.frozen
class Row:
    """A fault, and what comes out while it lasts."""

    name: str
    fault: Fault
    check: Any
    stream: set[type[SmscError]] = attrs.field(factory=set)
    """How messages of a stream fail. As a rule none does: it waits the fault out."""
    formats: tuple[Format, ...] = (Format.JSON,)
    lasts: float = 240.0
    messages: int = 12
    raises: type[SmscError] | None = None
    """What concerns the account is raised out of a stream or a track, and what is not done is put in again."""


def half(body: bytes) -> bytes:
    return body[: len(body) // 2]


Kinds = set[type[SmscError]]
UNREADABLE: Kinds = {ProtocolError}
ELSEWHERE = "https://elsewhere.example/sys/status.php"

ROWS = [
    # before the request leaves
    Row("refused", never_left(httpx.ConnectError, "refused"), TransportError),
    Row("no such host", never_left(httpx.ConnectError, "[Errno -2] Name or service not known"), TransportError),
    Row("TLS failure", never_left(httpx.ConnectError, "[SSL: CERTIFICATE_VERIFY_FAILED]"), TransportError),
    Row("time-out connecting", never_left(httpx.ConnectTimeout, "", after=15.0), TransportError),
    # on its way there
    Row("reset before the request", lost_there(httpx.WriteError, "broken pipe"), TransportError),
    Row("time-out sending", lost_there(httpx.WriteTimeout, "", after=30.0), RequestTimeout),
    # on its way back
    Row("reset after the request", lost_back(httpx.RemoteProtocolError, "disconnected"), TransportError),
    Row("time-out waiting", lost_back(httpx.ReadTimeout, "", after=30.0), RequestTimeout),
    Row("silence", hangs(), RequestTimeout),
    Row("reset in the body", halfway(httpx.ReadError, "reset"), TransportError),
    Row("body shorter than promised", halfway(httpx.RemoteProtocolError, "incomplete"), TransportError),
    Row("time-out reading", halfway(httpx.ReadTimeout), RequestTimeout),
    Row("silence in the body", halfway(None), RequestTimeout),
    # HTTP statuses
    *(
        Row(f"HTTP {status} elsewhere", replies(status, location=ELSEWHERE), ProtocolError)
        for status in (301, 302, 303, 307, 308)
    ),
    *(Row(f"HTTP {status}", replies(status), ProtocolError) for status in (403, 404, 413, 414)),
    *(Row(f"HTTP {status}", replies(status), TransportError) for status in (408, 429, 500, 502, 503, 504)),
    Row("HTTP 429 with Retry-After", replies(429, retry_after="20"), TransportError),
    Row("HTTP 429 for an hour", replies(429, retry_after="3600"), AFTERWARDS, lasts=3600),
    Row("HTTP 503, compressed", replies(503, bomb(1000), content_encoding="gzip"), TransportError),
    Row("HTTP 503, endless", replies(503, bytes(33 * 2**20)), TransportError, lasts=20, messages=5),
    # bodies
    Row("HTML", replies(200), ProtocolError, formats=ALL),
    Row("an empty body", spoilt(lambda _: b""), TransportError, formats=ALL),
    Row("a blank body", spoilt(lambda _: b" \r\n"), TransportError, formats=ALL),
    Row("half a body", spoilt(half), ProtocolError, formats=(Format.XML, Format.JSON)),
    Row("half a line", spoilt(half), RECORD, UNREADABLE, formats=(Format.CSV,)),
    Row("half a text", spoilt(lambda body: body[:-16]), RECORD, UNREADABLE, formats=(Format.PLAIN,)),
    Row("the wrong charset", spoilt(lambda b: b.decode().encode("cp1251", "replace")), RECORD, formats=ALL),
    Row("UTF-16", spoilt(lambda body: body.decode().encode("utf-16")), ProtocolError, formats=ALL),
    Row(
        "ten megabytes",
        spoilt(lambda _: b"x" * MEGABYTES),
        ProtocolError,
        formats=ALL,
        lasts=10,
        messages=5,
    ),
    Row("a flood of records", spoilt(lambda _: b"[%s{}]" % (b'{"status": 1},' * 10_000)), ProtocolError),
    Row("a flood of values", spoilt(lambda _: b"[%s0]" % (b"0," * 10**6)), ProtocolError),
    Row("a bomb", spoilt(lambda _: BOMB, content_encoding="gzip"), ProtocolError, formats=ALL),
    Row("deflate", spoilt(deflated, content_encoding="deflate"), ProtocolError),
    Row("compressed and not said so", spoilt(deflated), ProtocolError, formats=ALL),
    Row("deep nesting", spoilt(lambda _: b"[" * 20_000), ProtocolError, formats=ALL),
    Row("deep objects", spoilt(lambda _: b'{"status":' * 10_000), ProtocolError, formats=ALL),
    Row("deep elements", spoilt(lambda _: b"<list>" * 10_000), ProtocolError, formats=ALL),
    Row("a DOCTYPE", spoilt(lambda _: DOCTYPE), ProtocolError, formats=ALL),
    Row("an external entity", spoilt(lambda _: FILE), ProtocolError, formats=ALL),
    # the vendor's refusals
    Row("error 9 for an hour", emulated(spurious_9=1.0), AFTERWARDS, lasts=3600),
    Row("error 4", blocked, AddressBlocked, raises=AddressBlocked, formats=ALL),
    Row("error 2", refused(2), AuthError, raises=AuthError, formats=ALL),
    # bulk answers
    Row("records missing", emulated(missing_records=1.0), RECORD, formats=ALL),
    Row("records repeated", emulated(repeated_records=1.0), RECORD, formats=ALL),
    Row("foreign records", emulated(foreign_records=1.0), RECORD, formats=ALL),
    Row("records reordered", emulated(reordered_records=1.0), RECORD, formats=ALL),
    Row(
        "all of that",
        emulated(missing_records=0.5, repeated_records=0.5, foreign_records=0.5, reordered_records=0.5),
        RECORD,
        formats=ALL,
    ),
    # clocks
    Row("a date that stands still", still_wall_clock, RECORD),
    Row("a clock that stands still", still_clock, RECORD),
    Row("a loop blocked once before sending", blocks(90, times=1, answered=False), RECORD),
    Row("a loop blocked once before reading", blocks(90, times=1, answered=True), RECORD),
    Row("a loop blocked at each request", blocks(90, times=99, answered=False), RequestTimeout, lasts=1800),
]

in_each_format = pytest.mark.parametrize(
    ("row", "format", "anyio_backend"),
    [  # each row on both loops: in one format on each, or in several by turns
        pytest.param(row, format, loop, id=f"{row.name}-{format.name}-{loop}")
        for row in ROWS
        for n, format in enumerate(row.formats)
        for loop in (LOOPS if len(row.formats) == 1 else [loop_by_turns(n)])
    ],
    indirect=["anyio_backend"],
)


async def during(bench: Bench, row: Row, *work: Callable[[], Any]) -> None:
    """Let the work go on while the fault lasts, and until it is done."""
    async with anyio.create_task_group() as group:
        async with row.fault(bench):
            for each in work:
                group.start_soon(each)
            await anyio.sleep(row.lasts)
        bench.over_at = anyio.current_time()


def assert_lawful(bench: Bench) -> None:
    assert not bench.broken_limits()
    assert bench.transport.hosts == {"localhost"}


@in_each_format
async def test_a_check_during_a_fault_gives_what_the_table_says(row: Row, format: Format) -> None:
    """A check begun with the fault gives what the table says; one begun afterwards its record, at once."""
    bench = Bench(format)
    first, second = bench.delivered(2)
    results: list[Any] = []

    async def check() -> None:
        try:
            results.append(await client.check(first.id, first.phone))
        except SmscError as error:
            results.append(error)
        results.append(anyio.current_time())

    async with bench.client() as client:
        await during(bench, row, check)
        outcome, came_at = results
        assert kind_of(outcome) is (StatusRecord if row.check is AFTERWARDS else row.check)
        assert (came_at >= bench.over_at) is (row.check is AFTERWARDS)
        began_at = anyio.current_time()
        assert (await client.check(second.id, second.phone)).status == 1
        assert anyio.current_time() - began_at < 80
        assert await bench.is_at_rest(client)
    assert_lawful(bench)


async def take_all(open_stream: Callable[..., Any], refs: list[MessageRef], row: Row, came: Came) -> None:
    """What comes out; what an account error gave back is put in again."""
    left = refs
    while left:
        try:
            async for outcome in open_stream(left):
                came.take(outcome)
            left = []
        except (AuthError, AddressBlocked) as error:
            came.raised.append(error)
            left = list(error.pending)
            await anyio.sleep(row.lasts)


@in_each_format
async def test_a_stream_during_a_fault_gives_out_each_message_once(row: Row, format: Format) -> None:
    """Each message comes out of a stream exactly once; what failed, and what an account error gave back, goes again."""
    bench = Bench(format)
    refs = bench.delivered(row.messages)
    came = Came()

    async with bench.client() as client:
        await during(bench, row, partial(take_all, client.stream, refs, row, came))
        assert bench.struck
        assert came.once_each(refs)
        assert came.failures == row.stream
        assert all(bench.is_right(record, record.ref) for record in came.records)
        assert {kind_of(error) for error in came.raised} == ({row.raises} - {None})
        failed = [ref for ref, ends in came.ends.items() if isinstance(ends[0], FailedCheck)]
        again = [outcome async for outcome in client.stream(failed)]
        assert sorted(outcome.ref.id for outcome in again) == sorted(ref.id for ref in failed)
        assert all(isinstance(outcome, StatusRecord) and bench.is_right(outcome, outcome.ref) for outcome in again)
        assert await bench.is_at_rest(client)
    assert_lawful(bench)


@pytest.mark.parametrize(
    ("row", "anyio_backend"),
    [pytest.param(row, loop_by_turns(n), id=row.name) for n, row in enumerate(ROWS)],
    indirect=["anyio_backend"],
)
async def test_a_tracker_during_a_fault_ends_each_message_once(row: Row) -> None:
    """Messages that are followed through a fault end once, as the server holds them."""
    bench = Bench()
    refs = bench.young(4)
    came = Came()

    async with bench.client() as client:
        await during(bench, row, partial(take_all, client.track, refs, row, came))
        assert came.once_each(refs)
        assert not came.failures
        assert all(bench.is_right(record, record.ref) for record in came.records)
        assert {kind_of(error) for error in came.raised} == ({row.raises} - {None})
        assert await bench.is_at_rest(client)
    assert_lawful(bench)


@pytest.mark.measured
async def test_tracking_says_that_it_can_read_no_reply(caplog: pytest.LogCaptureFixture) -> None:
    """Once: a wrong address would go unnoticed otherwise."""
    bench = Bench()
    refs = bench.young(2, every=60.0)
    async with bench.client() as client:
        with anyio.move_on_after(600):
            async with replies(404)(bench), client.track(refs) as outcomes:
                await anext(outcomes)
        assert sorted(ref.id for ref in outcomes.pending()) == [1, 2]
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "no reply can be read" in warnings[0]
    assert "HTTP 404" in warnings[0]


async def test_no_token_comes_back_while_the_clock_stands_still() -> None:
    """Answers come at once, the server's clock and ours show one instant: five checks of an id, and not a sixth."""
    results: list[StatusRecord] = []

    async def check_on() -> None:
        while len(results) < 6:
            results.append(await client.check(1, "79990000000"))

    async with answered_by(b'{"status": 1}') as client, anyio.create_task_group() as group:
        began_at = anyio.current_time()
        group.start_soon(check_on)
        for _ in range(1000):
            await checkpoint()
        assert anyio.current_time() == began_at
        assert len(results) == 5
    assert len(results) == 6
    assert anyio.current_time() - began_at >= 60
