"""What telemetry says of failures, what it never says, and what its own failures cost."""

from __future__ import annotations

import logging
from typing import Any

import anyio
import httpx
import pytest
from helpers import PHONE, Answering, answered_by, client_of, delivered
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import StatusCode
from watching import Watch, attributes_of, ids_of, linked_to

from smsc_status import (
    ClientClosed,
    ConfigError,
    Detail,
    LimitExceeded,
    ProtocolError,
    RequestTimeout,
    SmscError,
    StatusClient,
)
from smsc_status._core.wire import protocol
from smsc_status._runtime import engine
from smsc_status.emulator import Emulator
from smsc_status.telemetry import _guard

pytestmark = pytest.mark.anyio

KEY = "s3cr3t&key"
OK = {"http.response.status_code": 200}


class Compressed(Answering):
    """Answers with a compressed reply, for which nobody has asked."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(b""))


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.mark.parametrize(
    ("transport", "outcome", "error_type", "more"),
    [
        (Answering(httpx.Response(500)), "unusable", "500", {"http.response.status_code": 500}),
        (Answering(httpx.Response(403)), "unusable", "403", {"http.response.status_code": 403}),
        (Answering(b"<html>"), "unusable", "ProtocolError", OK),
        (Compressed(b""), "unusable", "ProtocolError", OK),
        (Answering(b'{"error": "x", "error_code": 2}'), "refused", "AuthError", OK | {"smsc.error.code": 2}),
        (Answering(httpx.ConnectError("no")), "not_sent", "ConnectError", {}),
        (Answering(httpx.ReadTimeout("no")), "abandoned", "ReadTimeout", {}),
        (Answering(b"", after=99), "abandoned", "RequestTimeout", {}),
    ],
    ids=["500", "403", "HTML", "compressed", "refused", "no connection", "read time-out", "time-out"],
)
async def test_a_request_that_fails_says_how(
    transport: httpx.AsyncBaseTransport, outcome: str, error_type: str, more: dict[str, Any], watch: Watch
) -> None:
    """Its span and the check's are errors. Neither has the text of an error, which may quote a reply or a phone."""
    options: dict[str, Any] = {"transport": transport, "retries": 0, "telemetry": watch.telemetry}
    async with StatusClient(apikey="k", base_url="http://localhost", **options) as client:
        with pytest.raises(SmscError) as caught:
            await client.check(1, PHONE)
    (request,), (check,) = watch.requests, watch.named("smsc.check")
    attributes = attributes_of(request)
    assert {"smsc.request.outcome": outcome, "error.type": error_type, **more}.items() <= attributes.items()
    assert ("http.response.status_code" in attributes) == ("http.response.status_code" in more)
    assert attributes_of(check) == {"error.type": type(caught.value).__name__}
    for span in (request, check):
        assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, None)
        assert not span.events


async def test_a_check_without_a_slot_says_so(watch: Watch) -> None:
    """It has no request."""
    emulator = Emulator()
    delivered(emulator, [7])
    async with client_of(emulator, telemetry=watch.telemetry) as client:
        for _ in range(5):
            await client.check(7, PHONE)
        with pytest.raises(LimitExceeded):
            await client.check(7, PHONE, max_wait=1)
    assert attributes_of(watch.named("smsc.check")[-1]) == {"error.type": "LimitExceeded"}
    assert len(watch.requests) == 5


async def test_a_bad_argument_makes_no_span(watch: Watch) -> None:
    async with answered_by(b"", telemetry=watch.telemetry) as client:
        with pytest.raises(ConfigError):
            await client.check(7, "no phone")
    assert watch.spans == []


async def test_a_cancelled_check_is_no_error(watch: Watch) -> None:
    """Its request goes on, and remains linked to it."""
    emulator = Emulator()
    delivered(emulator, [1])
    async with client_of(emulator, telemetry=watch.telemetry) as client:
        with anyio.move_on_after(0.05):
            await client.check(1, PHONE)
        (check,) = watch.named("smsc.check")
        assert (check.status.status_code, attributes_of(check)) == (StatusCode.UNSET, {})
        await anyio.sleep(1)
    (request,) = watch.requests
    assert attributes_of(request)["smsc.request.outcome"] == "answered"
    assert linked_to(request) == ids_of([check])
    assert watch.series("smsc.outcomes") == {}


async def test_a_cancelled_deletion_is_no_error(watch: Watch) -> None:
    async with answered_by(b"", after=10, telemetry=watch.telemetry) as client:
        with anyio.move_on_after(0.05):
            await client.delete(1, PHONE)
    (span,) = watch.named("smsc.delete")
    assert (span.status.status_code, attributes_of(span)) == (StatusCode.UNSET, {})


@pytest.mark.parametrize("operation", ["check", "delete"])
async def test_a_request_that_is_open_when_the_client_closes_is_abandoned(operation: str, watch: Watch) -> None:
    """It is no longer active, and its span has ended."""
    errors: list[SmscError] = []

    async def call() -> None:
        try:
            await getattr(client, operation)(1, PHONE)
        except ClientClosed as error:
            errors.append(error)

    async with anyio.create_task_group() as tasks, answered_by(b"", after=10, telemetry=watch.telemetry) as client:
        tasks.start_soon(call)
        await anyio.sleep(1)
        assert list(watch.series("http.client.active_requests").values()) == [1]
    (request,) = watch.requests
    assert attributes_of(request)["smsc.request.outcome"] == "abandoned"
    assert len(errors) == 1
    assert ("smsc.request.outcome", "abandoned") in next(iter(watch.series("smsc.requests")))


async def test_a_request_whose_reply_is_being_read_when_the_client_closes_is_abandoned(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "read", _never)

    async def check() -> None:
        with pytest.raises(ClientClosed):
            await client.check(1, PHONE)

    async with anyio.create_task_group() as tasks, answered_by(b"", telemetry=watch.telemetry) as client:
        tasks.start_soon(check)
        await anyio.sleep(1)
    (request,) = watch.requests
    assert attributes_of(request)["smsc.request.outcome"] == "abandoned"
    assert attributes_of(request)["http.response.status_code"] == 200


async def _never(*_: object, **__: object) -> None:
    await anyio.sleep_forever()


async def test_a_mistake_of_the_library_s_own_ends_the_request_too(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No request stays active for ever."""

    def wrong(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(engine, "read", wrong)
    monkeypatch.setattr(protocol, "read_deletion", wrong)
    async with answered_by(b"", telemetry=watch.telemetry) as client:
        with pytest.raises(ProtocolError):
            await client.check(1, PHONE)
        with pytest.raises(ClientClosed):
            await client.delete(2, PHONE)
        assert list(watch.series("http.client.active_requests").values()) == [0]
    assert [attributes_of(request)["smsc.request.outcome"] for request in watch.requests] == ["unusable", "abandoned"]
    assert "ZeroDivisionError" in caplog.text


# What is never said.


@pytest.mark.parametrize(
    "transport",
    [
        Answering(f'{{"error": "wrong key {KEY} {PHONE}", "error_code": 1}}'.encode()),
        Answering(f"<p>{KEY} {PHONE} Your code is 1234".encode()),
        Answering(httpx.ConnectError(f"{KEY} {PHONE} Your code is 1234")),
        Answering(httpx.Response(500, content=f"{KEY} {PHONE} Your code is 1234".encode())),
        Answering(b'{"status": 1, "last_timestamp": 1767250800, "phone": "79990000000", "message": "Your code: 1234"}'),
    ],
    ids=["refused", "HTML", "no connection", "500", "answered"],
)
async def test_no_secret_phone_or_text_is_told(transport: Answering, watch: Watch) -> None:
    """Whatever the reply repeats."""
    options: dict[str, Any] = {"transport": transport, "retries": 1, "telemetry": watch.telemetry}
    async with StatusClient(apikey=KEY, base_url="http://localhost", detail=Detail.EXTENDED, **options) as client:
        for call in (client.check, client.delete):
            try:
                await call(1, PHONE)
            except SmscError:
                continue
        assert [outcome async for outcome in client.stream([(2, PHONE), (3, "no phone")])]
        told = watch.everything()
    assert "smsc.request.outcome" in told
    for secret in (KEY, "s3cr3t", PHONE, "Your code", "no phone"):
        assert secret not in told


# When telemetry itself fails.


class Failing(SpanProcessor):
    """Fails at the start or the end of every span."""

    def __init__(self, at: str) -> None:
        self._at = at

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        if self._at == "start":
            raise OSError("disk full: /var/secret")

    def on_end(self, span: ReadableSpan) -> None:
        if self._at == "end":
            raise OSError("disk full: /var/secret")


@pytest.mark.parametrize("at", ["start", "end"])
async def test_a_failing_processor_costs_nobody_an_answer(
    at: str, watch: Watch, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is warned of once a place, without the error's text."""
    monkeypatch.setattr(_guard, "_warned_of", set())
    watch.tracers.add_span_processor(Failing(at))
    emulator = Emulator()
    delivered(emulator, range(1, 9))
    async with client_of(emulator, telemetry=watch.telemetry) as client:
        for id in range(1, 5):
            assert (await client.check(id, PHONE)).is_delivered
        await client.delete(5, PHONE)
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert warnings == ["telemetry failed, and what it would have told is lost: OSError"] * 2
    assert list(watch.series("smsc.requests").values()) == [4, 1]


async def test_a_request_that_times_out_for_its_caller_goes_on(watch: Watch) -> None:
    async with answered_by(b"", after=10, telemetry=watch.telemetry, retries=0) as client:
        with pytest.raises(RequestTimeout):
            await client.check(1, PHONE, timeout=1)
        assert watch.requests == []
        await anyio.sleep(10)
        assert len(watch.requests) == 1
