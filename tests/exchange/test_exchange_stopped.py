"""A request whose process is stopped before it is sent: nothing leaves after its time."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from exchange_support import ANSWER, ROUTES, exchange, on_route
from helpers import Answering

from smsc_status import RequestTimeout, TransportError, _loops
from smsc_status._core.scheduling.pacing import RequestEnd
from smsc_status._runtime import http as module
from smsc_status._runtime.http import HttpExchange, NoReply, Reply

pytestmark = pytest.mark.anyio


HEADERS, BODY = "http11.send_request_headers.started", "http11.send_request_body.started"
TIMEOUT = 5.0


class Stopped:
    """A process that is stopped right before one of httpcore's events, for so long by a clock that is not real."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, event: str, method: bytes = b"POST", after: float = 6.0
    ) -> None:
        self.now = 1000.0
        self.is_on = False
        monkeypatch.setattr(_loops, "boot_now", lambda: self.now)
        # To come between two of httpcore's events.
        original = module._RequestProgress.on_event

        async def on_event(progress: Any, name: str, info: Any) -> None:
            if name == event and self.is_on and info["request"].method == method:
                self.is_on = False
                self.now += after
            await original(progress, name, info)

        monkeypatch.setattr(module._RequestProgress, "on_event", on_event)

    async def post(self, opened: HttpExchange, *, is_stopped: bool) -> Reply | NoReply:
        """Send a request whose time begins now."""
        self.is_on = is_stopped
        outcome = await opened.post({"id": "1"}, messages=1, send_by=self.now + TIMEOUT)
        assert not self.is_on
        return outcome

    async def post_stopped(self, opened: HttpExchange, *, is_kept: bool) -> NoReply:
        """Send a request during which the process is stopped, on a connection that has carried one before or not."""
        if is_kept:
            assert isinstance(await self.post(opened, is_stopped=False), Reply)
        outcome = await self.post(opened, is_stopped=True)
        assert isinstance(outcome, NoReply)
        return outcome


@pytest.mark.parametrize("is_kept", [False, True])
@pytest.mark.parametrize("route", ROUTES)
async def test_a_request_that_was_stopped_before_its_headers_is_not_sent(
    route: str, is_kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connection is closed, be it a new or a kept one, and the next request is sent."""
    process = Stopped(monkeypatch, HEADERS)
    async with on_route(route, "answer", "answer") as (server, opened):
        outcome = await process.post_stopped(opened, is_kept=is_kept)
        assert outcome.how is RequestEnd.NOT_SENT
        assert type(outcome.error) is TransportError
        assert str(outcome.error) == "nothing was sent within 5 s of the limiter's permit"
        assert isinstance(await process.post(opened, is_stopped=False), Reply)
        assert server.begun.count(b"POST") == 1 + is_kept
        assert server.connections == 2 * (1 + (route == "a tunnel"))  # TLS inside counts here as another


@pytest.mark.parametrize("is_kept", [False, True])
@pytest.mark.parametrize("route", ROUTES)
async def test_a_request_that_was_stopped_before_its_body_is_not_sent_whole(
    route: str, is_kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its headers may have left, so it counts as abandoned."""
    process = Stopped(monkeypatch, BODY)
    async with on_route(route, "answer", "answer") as (server, opened):
        outcome = await process.post_stopped(opened, is_kept=is_kept)
        assert outcome.how is RequestEnd.ABANDONED
        assert type(outcome.error) is RequestTimeout
        assert str(outcome.error) == "not all was sent within 5 s of the limiter's permit"
        assert isinstance(await process.post(opened, is_stopped=False), Reply)
        assert len(server.asked) == 1 + is_kept
        assert server.connections == 2 * (1 + (route == "a tunnel"))


@pytest.mark.parametrize("event", [HEADERS, BODY])
async def test_a_request_that_was_stopped_before_it_asked_for_its_tunnel_is_not_sent(
    event: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether or not the proxy has been asked."""
    process = Stopped(monkeypatch, event, b"CONNECT")
    async with on_route("a tunnel", "answer") as (server, opened):
        outcome = await process.post(opened, is_stopped=True)
        assert isinstance(outcome, NoReply)
        assert outcome.how is RequestEnd.NOT_SENT
        assert isinstance(await process.post(opened, is_stopped=False), Reply)
        assert server.begun.count(b"POST") == 1
        if event == HEADERS:
            assert server.begun.count(b"CONNECT") == 1


@pytest.mark.parametrize("event", [HEADERS, BODY])
async def test_a_request_that_was_stopped_for_less_than_its_time_is_sent(
    event: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = Stopped(monkeypatch, event, after=TIMEOUT)
    async with on_route("http", "answer") as (_, opened):
        assert isinstance(await process.post(opened, is_stopped=True), Reply)


@pytest.mark.parametrize(("event", "how"), [(HEADERS, RequestEnd.NOT_SENT), (BODY, RequestEnd.ABANDONED)])
async def test_a_transport_of_the_user_s_own_is_stopped_too_if_it_tells_httpcore_s_events(
    event: str, how: RequestEnd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one of httpx's does."""
    process = Stopped(monkeypatch, event)
    async with on_route("http", "answer", transport=httpx.AsyncHTTPTransport(), verify=True) as (server, opened):
        outcome = await process.post(opened, is_stopped=True)
        assert isinstance(outcome, NoReply)
        assert outcome.how is how
        assert isinstance(await process.post(opened, is_stopped=False), Reply)
        assert len(server.asked) == 1


async def test_a_transport_that_tells_no_events_is_not_called_when_the_time_is_over() -> None:
    """That is the last instant that is known before it sends."""
    transport = Answering(ANSWER)
    async with exchange("http://localhost", transport=transport, verify=True) as opened:
        outcome = await opened.post({"id": "1"}, messages=1, send_by=_loops.boot_now() - 0.001)
        assert isinstance(outcome, NoReply)
        assert outcome.how is RequestEnd.NOT_SENT
        assert transport.requests == []
        assert isinstance(await opened.post({"id": "1"}, messages=1, send_by=_loops.boot_now() + 9), Reply)
