"""A client whose server, account or connection fails: which error a caller gets, and when it is asked again."""

from __future__ import annotations

import json
from typing import Any

import anyio
import httpx
import pytest
from client_support import DELIVERED, gather
from helpers import PHONE, Answering, answered_by, client_of, delivered
from network import Network

from smsc_status import (
    AddressBlocked,
    AuthError,
    LimitExceeded,
    ParametersError,
    ProtocolError,
    RateLimited,
    RequestTimeout,
    SmscError,
    StatusClient,
    StatusRecord,
    TransportError,
)
from smsc_status.emulator import Emulator

pytestmark = pytest.mark.anyio


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
async def test_a_time_out_says_how_the_tries_before_it_failed() -> None:
    busy = httpx.Response(503, headers={"retry-after": "7"})
    async with answered_by(busy) as client:
        with pytest.raises(RequestTimeout) as caught:
            await client.check(1, PHONE, timeout=20)
    assert (caught.value.http_status, caught.value.retry_after) == (503, 7.0)
    assert isinstance(caught.value.__cause__, TransportError)


async def test_each_caller_s_time_out_has_a_cause_of_its_own() -> None:
    """So that no caller sees the traceback of another."""
    causes: list[BaseException | None] = []

    async def wait(client: StatusClient) -> None:
        with pytest.raises(RequestTimeout) as caught:
            await client.check(1, PHONE, timeout=20)
        causes.append(caught.value.__cause__)

    busy = httpx.Response(503, headers={"retry-after": "7"})
    async with answered_by(busy) as client, anyio.create_task_group() as group:
        group.start_soon(wait, client)
        group.start_soon(wait, client)
    assert len({id(cause) for cause in causes}) == 2
    assert {type(cause) for cause in causes} == {TransportError}


async def test_a_time_out_after_a_refusal_does_not_say_when_to_ask_again() -> None:
    """The vendor does not say it."""
    async with answered_by(b'{"error": "duplicate request, wait a minute", "error_code": 9}') as client:
        with pytest.raises(RequestTimeout) as caught:
            await client.check(1, PHONE, timeout=20)
    assert isinstance(caught.value.__cause__, RateLimited)
    assert caught.value.http_status is caught.value.retry_after is None


@pytest.mark.slow
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
