"""What a user of the client is promised, call by call."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qs

import anyio
import httpx
import pytest
from helpers import PHONE, Answering, answered_by, client_of, delivered
from network import Network

from smsc_status import (
    AddressBlocked,
    AuthError,
    ConfigError,
    DeleteError,
    Detail,
    Format,
    HlrRecord,
    LimitExceeded,
    Limits,
    LocalLimiter,
    MessageRef,
    ParametersError,
    ProtocolError,
    RateLimited,
    RequestTimeout,
    SmscError,
    StatusClient,
    StatusRecord,
    TransportError,
)
from smsc_status.codes import MessageType
from smsc_status.emulator import Emulator, World

pytestmark = pytest.mark.anyio

DELIVERED = b'{"status": 1, "last_date": "01.01.2026 10:00:00", "last_timestamp": 1767250800, "flag": 0}'


def sent(transport: Answering, number: int = -1) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(transport.requests[number].content.decode()).items()}


async def gather(*calls: Any) -> list[Any]:
    results: list[Any] = [None] * len(calls)

    async def run(n: int, call: Any) -> None:
        try:
            results[n] = await call
        except SmscError as error:
            results[n] = error

    async with anyio.create_task_group() as group:
        for n, call in enumerate(calls):
            group.start_soon(run, n, call)
    return results


# What is sent.


async def test_a_check_is_a_post_of_the_documented_fields() -> None:
    transport = Answering(DELIVERED)
    async with StatusClient(login="us", password="pw", base_url="http://localhost/x/", transport=transport) as client:
        await client.check("AB-7", "+7 (999) 000-00-00", detail=Detail.EXTENDED)
    assert str(transport.requests[0].url) == "http://localhost/x/sys/status.php"
    assert transport.requests[0].method == "POST"
    assert sent(transport) == {
        "login": "us", "psw": "pw", "id": "AB-7", "phone": "+7 (999) 000-00-00", "fmt": "3", "charset": "utf-8",
        "all": "2",
    }  # fmt: skip


async def test_a_deletion_is_a_request_of_its_own() -> None:
    transport = Answering(b'{"result": "OK"}')
    async with StatusClient(apikey="key", base_url="http://localhost", transport=transport) as client:
        await client.delete(7, PHONE)
    assert sent(transport) == {
        "apikey": "key", "id": "7", "phone": PHONE, "fmt": "3", "charset": "utf-8", "del": "1",
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.no_cover  # quicker tests cover its lines; coverage would double its time
@pytest.mark.parametrize("format", Format)
@pytest.mark.parametrize("charset", ["utf-8", "windows-1251", "koi8-r", "CP1251"])
@pytest.mark.parametrize("detail", Detail)
async def test_every_format_charset_and_level_works_end_to_end(format: Format, charset: str, detail: Detail) -> None:
    """Single and bulk, messages and number look-ups: the client reads what the emulator says."""
    noon = datetime(2026, 3, 10, 9, tzinfo=UTC)
    emulator = Emulator(seed=3, wall_clock=lambda: noon)
    now = emulator.now()
    refs = emulator.world.populate(40, now=now - 8 * 3600, spread=3600)
    refs += [emulator.world.add(900, PHONE, sent_at=now - 60, kind=MessageType.HLR, life=[(0, 1, 0)])]
    async with client_of(emulator, format=format, charset=charset, detail=detail) as client:
        outcomes = [outcome async for outcome in client.stream(refs)]
        single = await client.check(900, PHONE)
    assert len(outcomes) == len(refs)
    records = [outcome for outcome in outcomes if isinstance(outcome, StatusRecord)]
    if (format, detail) == (Format.CSV, Detail.EXTENDED):  # a region with a comma has no sure place in a line
        assert len(records) > 30
    else:
        assert len(records) == len(outcomes)
    for record in records:
        assert record.status == emulator.world.status_at(record.ref, emulator.now())
    assert isinstance(single, HlrRecord)
    assert single.reachable is True


# What comes together.


async def test_calls_made_together_go_in_one_bulk_request_at_the_highest_level() -> None:
    emulator = Emulator()
    delivered(emulator, range(1, 51))
    async with client_of(emulator) as client:
        began_at = anyio.current_time()
        levels = [Detail.FULL if k == 30 else Detail.BASIC for k in range(1, 51)]
        records = await gather(*[client.check(k, PHONE, detail=d) for k, d in enumerate(levels, 1)])
        assert anyio.current_time() - began_at == pytest.approx(0.1)
        assert client.stats().requests == {"single": 0, "bulk": 1, "delete": 0}
    assert all(record.send_date for record in records)


async def test_four_calls_go_singly() -> None:
    emulator = Emulator()
    delivered(emulator, range(1, 5))
    async with client_of(emulator) as client:
        await gather(*[client.check(k, PHONE) for k in range(1, 5)])
        assert client.stats().requests == {"single": 4, "bulk": 0, "delete": 0}


async def test_calls_for_the_same_message_share_a_request_even_on_its_way() -> None:
    emulator = Emulator()
    delivered(emulator, [7])
    async with client_of(emulator, round_trip=1) as client:

        async def later() -> StatusRecord:
            await anyio.sleep(0.5)
            return await client.check("007", "+7 999 000 00 00")

        records = await gather(client.check(7, PHONE), client.check("7", PHONE), later())
        assert client.stats().requests["single"] == 1
    assert [record.ref.id for record in records] == [7, "7", "007"]


async def test_a_call_that_wants_more_detail_than_the_one_on_its_way_asks_anew() -> None:
    emulator = Emulator()
    delivered(emulator, [7])
    async with client_of(emulator, round_trip=1) as client:

        async def later() -> StatusRecord:
            await anyio.sleep(0.5)
            return await client.check(7, PHONE, detail=Detail.FULL)

        basic, full = await gather(client.check(7, PHONE), later())
        assert client.stats().requests["single"] == 2
    assert basic.send_date is None
    assert full.send_date


@pytest.mark.slow
async def test_a_check_goes_ahead_of_a_stream() -> None:
    emulator = Emulator()
    delivered(emulator, range(1, 6000))
    async with client_of(emulator) as client, client.stream((k, PHONE) for k in range(1, 5000)) as stream:
        await anext(stream)
        await anyio.sleep(0.33)
        began_at = anyio.current_time()
        await client.check(5500, PHONE)
        assert anyio.current_time() - began_at <= 0.2  # its own round trip, and at most one to wait for a place


# max_wait, max_age, timeout.


async def test_max_wait_fails_as_soon_as_no_slot_can_come_in_time() -> None:
    emulator = Emulator()
    delivered(emulator, [1])
    async with client_of(emulator) as client:
        for _ in range(5):
            await client.check(1, PHONE)
        began_at = anyio.current_time()
        with pytest.raises(LimitExceeded) as caught:
            await client.check(1, PHONE, max_wait=30)
        assert anyio.current_time() - began_at < 0.001
        assert caught.value.retry_after == pytest.approx(61 - 0.4, abs=0.01)
        assert (await client.check(1, PHONE, max_wait=60.7)).is_delivered
        assert anyio.current_time() - began_at == pytest.approx(60.7, abs=0.01)


async def test_max_wait_zero_goes_at_once_or_not_at_all() -> None:
    emulator = Emulator()
    delivered(emulator, range(1, 20))
    limits = Limits(connections=1)
    async with client_of(emulator, limits=limits, round_trip=2) as client:

        async def second() -> StatusRecord:
            await anyio.sleep(1)
            return await client.check(2, PHONE, max_wait=0)

        first, refused = await gather(client.check(1, PHONE, max_wait=0), second())
    assert first.is_delivered
    assert isinstance(refused, LimitExceeded)
    assert refused.pending == (refused.pending[0],)


async def test_max_age_gives_a_record_again_while_it_is_young() -> None:
    emulator = Emulator()
    delivered(emulator, [1])
    async with client_of(emulator) as client:
        first = await client.check(1, PHONE, max_age=11)
        await anyio.sleep(10)
        assert await client.check("01", PHONE, max_age=11) == first
        assert client.stats().requests["single"] == 1
        await client.check(1, PHONE, max_age=9)
        await client.check(1, PHONE, max_age=60, detail=Detail.FULL)
        await client.check(1, PHONE)
        assert client.stats().requests["single"] == 4


async def test_after_a_deletion_a_known_record_is_not_given_again() -> None:
    emulator = Emulator()
    delivered(emulator, [1])
    async with client_of(emulator) as client:
        await client.check(1, PHONE)
        await client.delete(1, PHONE)
        assert not (await client.check(1, PHONE, max_age=60)).is_found
        with pytest.raises(DeleteError):
            await client.delete(1, PHONE)


async def test_timeout_bounds_the_call_and_not_the_request() -> None:
    emulator = Emulator()
    delivered(emulator, [1])
    async with client_of(emulator, round_trip=5) as client:
        with pytest.raises(RequestTimeout, match="within 2 s") as caught:
            await client.check(1, PHONE, timeout=2)
        assert isinstance(caught.value, TimeoutError)
        await anyio.sleep(4)
        assert client.stats().records == 1


# What goes wrong.


async def test_transient_failures_are_tried_again_with_pauses() -> None:
    transport = Answering(httpx.ReadError("cut"), httpx.Response(503), b"", DELIVERED)
    async with StatusClient(apikey="k", base_url="http://localhost", transport=transport, retries=3) as client:
        record = await client.check(1, PHONE)
        assert record.is_delivered
        assert client.stats().retries == 3
    assert len(transport.requests) == 4


async def test_a_server_is_asked_again_when_it_said() -> None:
    transport = Answering(httpx.Response(429, headers={"retry-after": "20"}), DELIVERED)
    async with StatusClient(apikey="k", base_url="http://localhost", transport=transport) as client:
        began_at = anyio.current_time()
        await client.check(1, PHONE)
        assert 20 - 1e-6 <= anyio.current_time() - began_at < 21


@pytest.mark.parametrize(("status", "kind"), [(429, TransportError), (503, TransportError)])
async def test_an_error_says_when_the_server_wants_to_be_asked_again(status: int, kind: type[TransportError]) -> None:
    """With its HTTP status, by whichever error that `check` ends with."""
    later = httpx.Response(status, headers={"retry-after": "40"})
    async with answered_by(later, retries=0) as client:
        with pytest.raises(kind) as caught:
            await client.check(1, PHONE)
        assert type(caught.value) is kind
        assert (caught.value.http_status, caught.value.retry_after) == (status, 40.0)
    async with answered_by(later, retries=5) as client:
        with pytest.raises(kind) as caught:
            await client.check(1, PHONE, max_wait=5)
        assert caught.value.http_status == status
        assert caught.value.retry_after == pytest.approx(40, abs=1)


async def test_a_deletion_that_comes_too_often_says_when_it_may_come_again() -> None:
    """The id has no slot for a period and its margin."""
    async with answered_by(b'{"error": "duplicate request", "error_code": 9}') as client:
        with pytest.raises(LimitExceeded) as caught:
            await client.delete(1, PHONE)
    assert caught.value.retry_after == 61.0


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (httpx.ConnectError("refused"), TransportError),
        (httpx.ConnectTimeout("slow"), TransportError),
        (httpx.ReadTimeout("slow"), RequestTimeout),
        (httpx.RemoteProtocolError("odd"), TransportError),
        (ValueError("a bug"), TransportError),
        (httpx.Response(500), TransportError),
        (httpx.Response(200), TransportError),
        (b" \r\n", TransportError),
        (b"<html>hello</html>", ProtocolError),
        (httpx.Response(302, headers={"location": "https://example.com"}), ProtocolError),
        (httpx.Response(403, content=b"no"), ProtocolError),
        (httpx.Response(200, headers={"content-encoding": "gzip"}, content=b""), ProtocolError),
        (b'{"error": "parameters error", "error_code": 1}', ParametersError),
        (b'{"error": "authorise error", "error_code": 2}', AuthError),
        (b'{"error": "blocked", "error_code": 4}', AddressBlocked),
    ],
)
async def test_each_failure_is_an_error_of_ours(answer: Any, expected: type[SmscError]) -> None:
    """And httpx's own is the cause, for a check, a deletion, and a stream alike."""
    async with answered_by(answer, retries=1) as client:
        with pytest.raises(expected) as caught:
            await client.check(1, PHONE)
        assert type(caught.value).__module__.startswith("smsc_status")
        assert [ref.id for ref in caught.value.pending] == [1]
        if isinstance(answer, Exception):
            assert repr(caught.value.__cause__) == repr(answer)  # a copy, which holds no request
        with pytest.raises(expected):
            await client.delete(2, PHONE)
        stream = client.stream([(k, PHONE) for k in range(1, 4)])
        if expected in (AuthError, AddressBlocked):
            with pytest.raises(expected) as raised:
                await anext(stream)
            assert [ref.id for ref in raised.value.pending] == [1, 2, 3]
            assert [ref.id for ref in stream.pending()] == [1, 2, 3]
            assert [outcome async for outcome in stream] == []
        else:
            assert {type(outcome.error) for outcome in [o async for o in stream]} == {caught.type}  # type: ignore[union-attr]  # all fail


async def test_a_reply_over_the_bound_is_refused_while_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """It grows with the number of messages that were asked about."""
    monkeypatch.setattr("smsc_status._runtime.http.REPLY_BYTES", 900)
    monkeypatch.setattr("smsc_status._runtime.http.REPLY_BYTES_A_MESSAGE", 100)
    async with answered_by(b" " * 1001) as client:
        with pytest.raises(ProtocolError, match="over 1000 bytes"):
            await client.check(1, PHONE)
    async with answered_by(b" " * 1001, retries=0) as client:  # five go together
        outcomes = [outcome async for outcome in client.stream([(k, PHONE) for k in range(5)])]
        assert [str(getattr(outcome, "error", "")) for outcome in outcomes] == ["the server's answer was empty"] * 5


async def test_a_reply_with_long_texts_is_within_the_bound() -> None:
    """Fifty e-mails of five thousand letters, each escaped as six characters, are one reply."""
    rows = [{"status": 1, "id": id, "phone": PHONE, "message": "я" * 5000} for id in range(1, 51)]
    async with answered_by(json.dumps(rows).encode(), retries=0) as client:
        outcomes = [outcome async for outcome in client.stream([(id, PHONE) for id in range(1, 51)])]
        assert {type(outcome) for outcome in outcomes} == {StatusRecord}
        assert client.stats().requests == {"single": 0, "bulk": 1, "delete": 0}


async def test_a_silent_server_is_given_up_after_the_time_out() -> None:
    async with answered_by(DELIVERED, after=1000, timeout=3, retries=0) as client:
        began_at = anyio.current_time()
        with pytest.raises(RequestTimeout):
            await client.check(1, PHONE)
        assert anyio.current_time() - began_at == pytest.approx(3)


async def test_mirrors_are_tried_in_turn_at_once() -> None:
    """When a connection fails or a reply is empty; never on an error code."""

    class Hosts(httpx.AsyncBaseTransport):
        seen: list[str] = []  # noqa: RUF012 (one transport in this test)

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            self.seen.append(request.url.host)
            if request.url.host == "one":
                raise httpx.ConnectError("down")
            return httpx.Response(200, content=b"" if request.url.host == "two" else DELIVERED)

    transport = Hosts()
    hosts = ("https://one", "https://two", "https://three")
    async with StatusClient(apikey="k", base_url=hosts[0], mirrors=hosts[1:], transport=transport) as client:
        began_at = anyio.current_time()
        await client.check(1, PHONE)
        assert anyio.current_time() == began_at
        await client.check(1, PHONE)
    assert transport.seen == ["one", "two", "three", "three"]


async def test_a_failure_that_is_late_does_not_lead_back_to_a_mirror_that_has_failed() -> None:
    """A request that was sent to the first mirror before says nothing of the present one."""

    class Hosts(httpx.AsyncBaseTransport):
        seen: list[str] = []  # noqa: RUF012 (one transport in this test)

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            self.seen.append(request.url.host)
            if request.url.host == "three":
                return httpx.Response(200, content=DELIVERED)
            await anyio.sleep(5.0 if len(self.seen) == 1 else 0.1)
            raise httpx.ConnectError("down")

    transport = Hosts()
    hosts = ("https://one", "https://two", "https://three")
    async with StatusClient(apikey="k", base_url=hosts[0], mirrors=hosts[1:], transport=transport) as client:
        records = await gather(*[client.check(id, PHONE) for id in (1, 2)])
    assert all(isinstance(record, StatusRecord) for record in records)
    assert transport.seen == ["one", "one", "two", "three", "three"]


@pytest.mark.slow
@pytest.mark.no_cover  # quicker tests cover its lines; coverage would double its time
async def test_an_outage_does_not_use_up_everybody_s_retries() -> None:
    """All sending pauses, longer and longer; when the server is back, nearly everything is still there."""

    class Down(Network):
        until = 600.0

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if anyio.current_time() - began_at < self.until:
                raise httpx.ConnectError("refused")
            return await super().handle_async_request(request)

    emulator = Emulator()
    refs = delivered(emulator, range(1, 2001))
    async with client_of(emulator, transport=Down(emulator, round_trip=0.1), retries=5) as client:
        began_at = anyio.current_time()
        outcomes = [outcome async for outcome in client.stream(refs)]
    failed = [outcome for outcome in outcomes if not isinstance(outcome, StatusRecord)]
    assert len(outcomes) == 2000
    assert len(failed) < 100


async def test_error_9_is_waited_out() -> None:
    """For a single request its id is out for a period; nothing else is."""
    nine = b'{"error": "duplicate request, wait a minute", "error_code": 9}'
    transport = Answering(nine, DELIVERED)
    async with StatusClient(apikey="k", base_url="http://localhost", transport=transport) as client:
        began_at = anyio.current_time()
        assert (await client.check(1, PHONE)).is_delivered
        assert anyio.current_time() - began_at == pytest.approx(61)
        assert client.stats().refusals == {9: 1}


async def test_error_9_is_raised_when_max_wait_is_over() -> None:
    nine = b'{"error": "duplicate request, wait a minute", "error_code": 9}'
    async with answered_by(nine) as client:
        with pytest.raises(RateLimited) as caught:
            await client.check(1, PHONE, max_wait=30)
    assert caught.value.retry_after == pytest.approx(61)


async def test_a_refused_bulk_request_takes_the_bulk_slot_out_and_nothing_else() -> None:
    emulator = Emulator(faults={"spurious_9": 1.0})
    delivered(emulator, range(1, 11))
    async with client_of(emulator) as client:

        async def heal() -> None:
            await anyio.sleep(0.15)
            emulator.faults.change(spurious_9=0.0)

        began_at = anyio.current_time()
        *records, _ = await gather(*[client.check(k, PHONE) for k in range(1, 11)], heal())
        assert all(isinstance(record, StatusRecord) for record in records)
        assert anyio.current_time() - began_at < 65


async def test_refusals_for_too_many_requests_are_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """The first is a warning. The others are for whoever looks for them, so that a busy log stays readable."""
    nine = b'{"error": "duplicate request, wait a minute", "error_code": 9}'
    with caplog.at_level("DEBUG", logger="smsc_status"):
        async with answered_by(nine, nine, b'{"status": 1}', nine, b'{"status": 1}') as client:
            for id in (1, 2):
                assert (await client.check(id, PHONE)).status == 1
    levels = [record.levelname for record in caplog.records if "somebody else" in record.message]
    assert levels == ["WARNING", "DEBUG", "DEBUG"]


async def test_an_account_error_stops_everything_at_once_and_a_later_call_tries_again() -> None:
    emulator = Emulator()
    delivered(emulator, range(1, 3001))
    async with client_of(emulator) as client:
        emulator.blocked = True
        waiting = [client.check(k, PHONE) for k in range(2000, 2020)]
        stream = client.stream((k, PHONE) for k in range(1, 1501))

        async def consume() -> int:
            try:
                return len([outcome async for outcome in stream])
            except AddressBlocked as error:
                return -len(error.pending)

        *failed, left = await gather(*waiting, consume())
        assert all(isinstance(error, AddressBlocked) for error in failed)
        assert left == -1500
        sent_before = client.stats().requests
        await anyio.sleep(200)
        assert client.stats().requests == sent_before
        emulator.blocked = False
        assert (await client.check(1, PHONE)).is_delivered


async def test_callers_that_can_not_wait_are_not_blamed_for_a_refused_bulk_request() -> None:
    """The vendor refused another message. Callers with enough time are asked singly, the others get `LimitExceeded`."""
    emulator = Emulator()
    delivered(emulator, range(1, 20))
    async with client_of(emulator, round_trip=1.0) as client:
        bad = client.check(2147483648, PHONE)
        results = await gather(bad, *[client.check(k, PHONE, max_wait=1.5) for k in range(1, 20)])
    assert isinstance(results[0], ParametersError)
    late = [result for result in results[1:] if not isinstance(result, StatusRecord)]
    assert {type(error) for error in late} == {LimitExceeded}
    assert len(late) < 19


@pytest.mark.slow
async def test_too_large_a_bulk_request_is_divided_and_the_size_is_learnt() -> None:
    emulator = Emulator(max_bulk=300)
    refs = delivered(emulator, [5], PHONE) + [
        emulator.world.add(5, f"7998{k:07}", sent_at=emulator.now() - 60, life=[(0, 1, 0)]) for k in range(2999)
    ]
    async with client_of(emulator) as client:
        outcomes = [outcome async for outcome in client.stream(refs)]
        stats = client.stats()
    assert len(outcomes) == 3000
    assert all(isinstance(outcome, StatusRecord) for outcome in outcomes)
    assert stats.refusals[1] < stats.requests["bulk"] / 3


# Streams.


async def test_an_empty_stream_ends_at_once() -> None:
    transport = Answering(DELIVERED)
    async with StatusClient(apikey="k", base_url="http://localhost", transport=transport) as client:
        assert [outcome async for outcome in client.stream([])] == []
    assert transport.requests == []


@pytest.mark.slow
@pytest.mark.no_cover  # quicker tests cover its lines; coverage would double its time
@pytest.mark.parametrize("is_async", [False, True])
async def test_a_stream_reads_its_endless_input_in_bounds(is_async: bool) -> None:
    """A slow consumer slows it down."""
    emulator = Emulator()
    delivered(emulator, range(1, 40_000))
    read = 0

    def endless() -> Any:
        nonlocal read
        while True:
            read += 1
            yield read, PHONE

    async def endless_too() -> Any:
        for item in endless():
            yield item

    async with client_of(emulator) as client:
        stream = client.stream(endless_too() if is_async else endless())
        for _ in range(20):
            await anext(stream)
            await anyio.sleep(100)
        assert read <= 4020
        for _ in range(3000):
            await anext(stream)
        assert read <= 7021
        await stream.aclose()
        assert client.stats().waiting == 0


async def test_a_slow_input_holds_up_no_answer() -> None:
    emulator = Emulator()
    delivered(emulator, range(1, 10))

    async def slow() -> Any:
        for k in range(1, 4):
            yield k, PHONE
            await anyio.sleep(50)

    async with client_of(emulator) as client:
        began_at = anyio.current_time()
        times = [anyio.current_time() - began_at async for _ in client.stream(slow())]
    assert times == pytest.approx([0.1, 50.1, 100.1])


# Construction.

BAD: list[tuple[dict[str, Any], str]] = [
    ({}, "credentials"),
    ({"login": "a"}, "credentials"),
    ({"login": "a", "password": "b", "apikey": "c"}, "credentials"),
    ({"login": "", "password": "b"}, "login"),
    ({"apikey": " "}, "apikey"),
    ({"apikey": 5}, "apikey"),
    ({"apikey": "k", "base_url": "http://smsc.ru"}, "https"),
    ({"apikey": "k", "base_url": "smsc.ru"}, "URL 'smsc.ru'"),
    ({"apikey": "k", "base_url": "ftp://smsc.ru"}, "ftp"),
    ({"apikey": "k", "base_url": "https://smsc.ru:x"}, "URL"),
    ({"apikey": "k", "base_url": None}, "NoneType"),
    ({"apikey": "k", "base_url": "https://smsc.ru?a=b"}, "query"),
    ({"apikey": "k", "mirrors": ["http://www2.smsc.ru"]}, "www2"),
    ({"apikey": "k", "mirrors": "https://www2.smsc.ru"}, "mirrors"),
    ({"apikey": "k", "detail": 7}, "detail 7"),
    ({"apikey": "k", "format": "json"}, "format 'json'"),
    ({"apikey": "k", "charset": "latin-1"}, "charset 'latin-1'"),
    ({"apikey": "k", "charset": "no such"}, "charset 'no such'"),
    ({"apikey": "k", "charset": None}, "charset None"),
    ({"apikey": "k", "timezone": 3}, "timezone 3"),
    ({"apikey": "k", "timeout": 0}, "timeout 0"),
    ({"apikey": "k", "timeout": float("nan")}, "timeout nan"),
    ({"apikey": "k", "retries": -1}, "retries -1"),
    ({"apikey": "k", "retries": True}, "retries True"),
    ({"apikey": "k", "limits": 5}, "limits 5"),
    ({"apikey": "k", "proxy": "no url"}, "proxy"),
    ({"apikey": "k", "limiter": 5}, "limiter 5: .* lacks acquire, release, wake, slots, limits"),
    ({"apikey": "k", "limiter": 0}, "limiter 0"),
    ({"apikey": "k", "limiter": Limits()}, "lacks acquire"),
    ({"apikey": "k", "limiter": LocalLimiter}, "limiter <class"),
]


@pytest.mark.parametrize(("options", "named"), BAD)
async def test_an_argument_that_can_not_be_used_is_named(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        StatusClient(**options)


async def test_bad_arguments_are_named_before_anything_is_sent() -> None:
    transport = Answering(DELIVERED)
    async with StatusClient(apikey="k", base_url="http://localhost", transport=transport) as client:
        calls: list[tuple[Callable[[], Awaitable[object]], str]] = [
            (lambda: client.check("a" * 41, PHONE), "aaa"),
            (lambda: client.check("1,2", PHONE), "1,2"),
            (lambda: client.check(1, "7,8"), "7,8"),
            (lambda: client.check(1, PHONE, max_wait=-1), "max_wait -1"),
            (lambda: client.check(1, PHONE, max_age=-1), "max_age -1"),
            (lambda: client.check(1, PHONE, timeout="x"), "timeout 'x'"),  # type: ignore[call-overload]  # bad: what is tested
            (lambda: client.check(1, PHONE, detail=9), "detail 9"),  # type: ignore[call-overload]  # bad: what is tested
            (lambda: client.delete(-1, PHONE), "-1"),
        ]
        for call, named in calls:
            with pytest.raises(ConfigError, match=named):
                await call()
    assert transport.requests == []


@pytest.mark.parametrize(
    ("messages", "named"),
    [
        (5, "got a int"),
        (None, "got a NoneType"),
        ("12345", "got a str"),
        (b"12345", "got a bytes"),
        ({"id": 1, "phone": PHONE}, "got a dict"),
        (MessageRef(1, PHONE), "got a MessageRef"),
        ((1, PHONE), r"one alone is \[\(id, phone\)\]"),
        (["1", PHONE], r"one alone is \[\(id, phone\)\]"),
        ((1, PHONE, None), r"one alone is \[\(id, phone\)\]"),
    ],
)
async def test_a_value_that_is_no_iterable_of_messages_is_refused_at_once(messages: Any, named: str) -> None:
    """Otherwise each of its characters, keys or parts would fail as a message of its own."""
    async with StatusClient(apikey="k", base_url="http://localhost", transport=Answering(DELIVERED)) as client:
        for call in (client.stream, client.track):
            with pytest.raises(ConfigError, match=named):
                call(messages)


async def test_two_messages_are_taken_as_an_iterable_of_messages() -> None:
    """As a list or a tuple; so is an empty one."""
    async with StatusClient(apikey="k", base_url="http://localhost", transport=Answering(DELIVERED)) as client:
        for messages in ([(1, PHONE), (2, PHONE)], ((1, PHONE), (2, PHONE)), (), [MessageRef(1, PHONE)] * 2):
            client.stream(messages)


async def test_a_plain_for_says_that_it_wants_async_for() -> None:
    async with StatusClient(apikey="k", base_url="http://localhost", transport=Answering(DELIVERED)) as client:
        for stream in (client.stream([(1, PHONE)]), client.track([(1, PHONE)])):
            with pytest.raises(TypeError, match=f"{type(stream).__name__} is asynchronous: .* `async for`"):
                for _ in stream:  # type: ignore[attr-defined,unused-ignore]  # bad: what is tested
                    pass


async def test_a_servers_control_characters_reach_no_log_line(caplog: pytest.LogCaptureFixture) -> None:
    """Nor does more of its text than a line's worth."""
    text = "authorise error\x1b[2J\r\nforged line" + "x" * 1_000_000
    transport = Answering(json.dumps({"error": text, "error_code": 2}).encode())
    async with StatusClient(apikey="k", base_url="http://localhost", transport=transport) as client:
        with pytest.raises(AuthError) as caught:
            await client.check(1, PHONE)
    for shown in (*caplog.messages, str(caught.value), caught.value.text):
        assert shown.isprintable()
        assert len(shown) < 500
    assert any("authorise error" in message for message in caplog.messages)


async def test_from_env_reads_the_variables_after_its_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables, and overrides that go before them."""
    transport = Answering(DELIVERED)
    monkeypatch.setenv("SMSC_APIKEY", "from env")
    monkeypatch.setenv("SMSC_LOGIN", "")
    monkeypatch.setenv("SMSC_BASE_URL", "http://localhost")
    async with StatusClient.from_env(transport=transport) as client:
        await client.check(1, PHONE)
    assert sent(transport)["apikey"] == "from env"
    assert transport.requests[0].url.host == "localhost"
    async with StatusClient.from_env(transport=transport, login="a", password="b", base_url="https://x") as client:
        await client.check(1, PHONE)
    assert sent(transport)["login"] == "a"
    assert "apikey" not in sent(transport)
    assert transport.requests[1].url.host == "x"


async def test_a_wall_clock_of_one_s_own_dates_the_records() -> None:
    then = datetime(2020, 2, 29, tzinfo=UTC)
    async with answered_by(DELIVERED, wall_clock=lambda: then) as client:
        record = await client.check(1, PHONE)
    assert record.checked_at == then
    assert record.changed_at == datetime(2026, 1, 1, 7, tzinfo=UTC)


async def test_text_dates_are_read_in_the_client_s_zone() -> None:
    zone = timezone(timedelta(hours=6))
    body = b"Status = 1, check_time = 01.01.2026 10:00:00"
    async with answered_by(body, format=Format.PLAIN, timezone=zone) as client:
        assert (await client.check(1, PHONE)).changed_at == datetime(2026, 1, 1, 4, tzinfo=UTC)


async def test_stats_are_a_snapshot() -> None:
    emulator = Emulator(World(1))
    delivered(emulator, range(1, 11))
    async with client_of(emulator) as client:
        before = client.stats()
        await gather(*[client.check(k, PHONE) for k in range(1, 11)])
        stats = client.stats()
        assert before.records == 0
        assert stats.records == 10
        assert stats.bulk_slot_in == pytest.approx(61)
        assert (stats.open_requests, stats.waiting, stats.retries) == (0, 0, 0)
        assert "localhost" in repr(client)
    assert "closed" in repr(client)


async def test_clients_with_an_explicit_limiter_share_it() -> None:
    emulator = Emulator()
    delivered(emulator, [1])
    limiter = LocalLimiter(Limits(checks_per_id=2))
    async with client_of(emulator, limiter=limiter) as one, client_of(emulator, limiter=limiter) as two:
        await one.check(1, PHONE)
        await two.check(1, PHONE)
        with pytest.raises(LimitExceeded):
            await one.check(1, PHONE, max_wait=5)


async def test_a_request_has_no_invisible_characters() -> None:
    """And the record has the caller's own object."""
    transport = Answering(DELIVERED)
    ref = MessageRef("\u200e12\u00a0345", "\u202a+7\u00a0999\u2011000\u201300\u201300\u202c")
    async with StatusClient(apikey="k", base_url="http://localhost", transport=transport) as client:
        [record] = [outcome async for outcome in client.stream([ref])]
    assert (sent(transport)["id"], sent(transport)["phone"]) == ("12345", "+79990000000")
    assert record.ref is ref


def test_a_local_limiter_knows_the_longest_time_out_of_its_clients() -> None:
    """A loop that stands still may keep a request open for as long; a limiter of one's own is left alone."""
    shared, own = LocalLimiter(), OwnLimiter()
    for timeout in (60.0, 45.0):
        StatusClient(apikey="k", limiter=shared, timeout=timeout)
    StatusClient(apikey="k", limiter=own, timeout=60.0)
    assert shared.longest_request == 60.0
    assert not hasattr(own, "longest_request")


class OwnLimiter:
    """One that does without."""

    limits = Limits()

    async def acquire(self, select: Any) -> Any:
        raise NotImplementedError

    async def release(self, permit: Any, how: Any) -> None:
        raise NotImplementedError

    def wake(self, select: Any = None) -> None:
        raise NotImplementedError

    def slots(self) -> Any:
        raise NotImplementedError
