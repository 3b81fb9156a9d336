"""How a request has ended, by what its connection did, over real sockets."""

from __future__ import annotations

import socket
from math import inf

import anyio
import httpx
import pytest
from exchange_support import ANSWER, MORE, ROUTES, ended, exchange, on_route, serving
from helpers import PHONE, Answering

from smsc_status import Limits, ProtocolError, StatusClient
from smsc_status._core.scheduling.pacing import RequestEnd
from smsc_status._runtime.http import KEEPALIVE_EXPIRY, NoReply, Reply

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("way", ["close", "reset", "begin"])
@pytest.mark.parametrize("route", ROUTES)
async def test_a_kept_connection_that_ends_without_a_reply_has_ended_its_request(route: str, way: str) -> None:
    """The server closed it while the request was on its way there: nothing arrives later."""
    async with on_route(route, "answer", way, "answer") as (server, opened):
        assert isinstance(await opened.post({"id": "1"}, messages=1, send_by=inf), Reply)
        outcome = await ended(opened)
        assert outcome.how is RequestEnd.REPLIED
        assert isinstance(outcome.error.__cause__, httpx.RemoteProtocolError | httpx.ReadError)
        assert server.connections == 1 + (route == "a tunnel")  # TLS inside counts here as another
        assert isinstance(await opened.post({"id": "1"}, messages=1, send_by=inf), Reply)


@pytest.mark.parametrize("way", ["close", "reset", "begin"])
@pytest.mark.parametrize("route", ROUTES)
async def test_a_new_connection_that_ends_without_a_reply_may_have_carried_its_request(route: str, way: str) -> None:
    """The server had no other reason to close it than this request."""
    async with on_route(route, way) as (_, opened):
        assert (await ended(opened)).how is RequestEnd.ABANDONED


@pytest.mark.slow
@pytest.mark.parametrize("way", ["cut the body", "reset in the body", "talk nonsense", "say nothing"])
async def test_a_kept_connection_that_has_begun_a_reply_may_have_carried_its_request(way: str) -> None:
    """So may one that says nothing until the time is over."""
    async with on_route("http", "answer", way, timeout=0.3) as (_, opened):
        assert isinstance(await opened.post({"id": "1"}, messages=1, send_by=inf), Reply)
        assert (await ended(opened)).how is RequestEnd.ABANDONED


@pytest.mark.parametrize("way", MORE)
@pytest.mark.parametrize("route", ROUTES)
async def test_what_comes_after_a_reply_is_not_the_reply_to_the_next_request(route: str, way: str) -> None:
    """That goes on another connection, even if it waits for one already."""
    async with on_route(route, way, "answer", "answer", connections=1) as (server, opened):
        replies: list[Reply | NoReply] = []

        async def ask() -> None:
            replies.append(await opened.post({"id": "1"}, messages=1, send_by=inf))

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(ask)
        assert [reply.body for reply in replies if isinstance(reply, Reply)] == [ANSWER] * 3
        assert server.connections == 2 * (1 + (route == "a tunnel"))  # TLS inside counts here as another


@pytest.mark.slow
async def test_a_closed_kept_connection_keeps_no_slot_waiting() -> None:
    """With one slot in all, the next try follows at once, and not after the ten seconds of `linger`."""
    async with serving("answer", "close", "answer") as server:
        url, limits = f"http://localhost:{server.port}", Limits(connections=1)
        async with StatusClient(apikey="k", base_url=url, limits=limits) as client:
            with anyio.fail_after(5):
                assert (await client.check(1, PHONE)).is_delivered
                assert (await client.check(2, PHONE)).is_delivered
            assert client.stats().retries == 1


@pytest.mark.parametrize(
    "error",
    [httpx.RemoteProtocolError("ended without sending a response"), OSError(), ProtocolError("odd", status=200)],
)
async def test_a_transport_of_the_user_s_own_tells_nothing_of_its_connections(error: Exception) -> None:
    """So a request on it may arrive later, whatever the error says."""
    async with exchange("http://localhost", transport=Answering(ANSWER, error), verify=True) as opened:
        assert isinstance(await opened.post({"id": "1"}, messages=1, send_by=inf), Reply)
        assert (await ended(opened)).how is RequestEnd.ABANDONED


class Fallback(httpx.AsyncBaseTransport):
    """A user's own, which tries another way where no connection can be made."""

    def __init__(self, other: httpx.AsyncBaseTransport) -> None:
        self.first, self.other = httpx.AsyncHTTPTransport(), other

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            return await self.first.handle_async_request(request)
        except httpx.ConnectError:
            return await self.other.handle_async_request(request)

    async def aclose(self) -> None:
        await self.first.aclose()


async def test_a_transport_of_the_user_s_own_may_send_by_ways_that_are_not_seen() -> None:
    """That its first way never sent the request does not mean that none did."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        transport = Fallback(Answering(httpx.ReadError("cut")))
        async with exchange(url, transport=transport, verify=True) as opened:
            assert (await ended(opened)).how is RequestEnd.ABANDONED


@pytest.mark.slow
@pytest.mark.measured
@pytest.mark.parametrize("way", ["refuse the tunnel", "say nothing"])
async def test_a_request_whose_tunnel_was_not_made_never_left(way: str) -> None:
    """Whether the proxy refuses it, or does not answer in time."""
    async with on_route("a tunnel", way, timeout=0.3) as (server, opened):
        outcome = await ended(opened)
        assert outcome.how is RequestEnd.NOT_SENT
        text = "no whole answer within 0.3 s" if way == "say nothing" else "no connection: ProxyError: 403 Forbidden"
        assert str(outcome.error) == text
        assert [line.split()[0] for line in server.asked] == [b"CONNECT"]


async def test_connections_are_kept_for_less_than_the_servers_keep_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shortest usual time is Apache's, 5 s; requests that follow each other share a connection."""
    assert KEEPALIVE_EXPIRY <= 4
    async with on_route("http", *["answer"] * 3) as (server, opened):
        for _ in range(3):
            await opened.post({"id": "1"}, messages=1, send_by=inf)
        assert server.connections == 1
    monkeypatch.setattr("smsc_status._runtime.http.KEEPALIVE_EXPIRY", 0.0)
    async with on_route("http", *["answer"] * 3) as (server, opened):
        for _ in range(3):
            await opened.post({"id": "1"}, messages=1, send_by=inf)
        assert server.connections == 3
