"""One request, one reply: how a request has ended, over real sockets, and whom its connection trusts."""

from __future__ import annotations

import socket
import ssl
import struct
import sys
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from math import inf
from pathlib import Path
from typing import Any

import anyio
import attrs
import httpx
import pytest
import trustme
from anyio.abc import ByteStream, SocketAttribute
from anyio.lowlevel import checkpoint
from anyio.streams.tls import TLSListener, TLSStream
from helpers import PHONE, Answering

from smsc_status import ConfigError, Limits, ProtocolError, RequestTimeout, StatusClient, TransportError, _loops
from smsc_status._core.scheduling.pacing import RequestEnd
from smsc_status._runtime import http as module
from smsc_status._runtime.account import Account, Secret
from smsc_status._runtime.http import KEEPALIVE_EXPIRY, HttpExchange, NoReply, Reply
from smsc_status.emulator import Emulator

pytestmark = pytest.mark.anyio

ANSWER = b'{"status": 1}'
REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER)
MORE = {
    "answer twice": REPLY.replace(ANSWER, b'{"status":20}'),
    "answer, and end the line": b"\r\n",
    "answer, and go on": b"</html>",
}
"""What comes in the same segment after a reply."""
CERTIFICATES = trustme.CA()
SERVER_TRUST = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
CERTIFICATES.issue_cert("localhost").configure_cert(SERVER_TRUST)
TRUST = ssl.create_default_context()
CERTIFICATES.configure_trust(TRUST)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Both event loops, in real time: what is tested here is sockets."""
    backend: str = request.param
    return backend


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@attrs.define(eq=False)
class Server:
    """Does one thing after the other, a request each; as an origin, or as a proxy before itself."""

    ways: list[str]
    port: int = 0
    connections: int = 0
    begun: list[bytes] = attrs.field(factory=list)
    asked: list[bytes] = attrs.field(factory=list)

    async def serve(self, stream: ByteStream) -> None:
        self.connections += 1
        try:
            while await self._answer(stream):
                pass
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, ssl.SSLError):
            pass  # the client has left
        finally:
            with suppress(ssl.SSLError):  # an older anyio shakes hands even then
                await anyio.aclose_forcefully(stream)

    async def _answer(self, stream: ByteStream) -> bool:
        request = await stream.receive()
        if request[0] == 5:  # SOCKS, version 5
            await stream.send(b"\5\0")
            await stream.receive()
            await stream.send(b"\5\0\0\1\0\0\0\0\0\0")
            return True
        self.begun.append(request.partition(b" ")[0])
        while b"apikey=" not in request and not request.startswith(b"CONNECT"):
            request += await stream.receive()
        if request.startswith(b"CONNECT") and self.ways[0] not in ("refuse the tunnel", "say nothing"):
            await stream.send(b"HTTP/1.1 200 OK\r\n\r\n")
            await self.serve(await TLSStream.wrap(stream, server_side=True, ssl_context=SERVER_TRUST))
            return False
        self.asked.append(request.partition(b"\r\n")[0])
        way = self.ways.pop(0)
        if way == "answer":
            await stream.send(REPLY)
            return True
        if way in MORE:
            await stream.send(REPLY + MORE[way])
            return True
        if way == "say nothing":
            await anyio.sleep_forever()
        if way == "reset":
            self._reset(stream)
        replies = {
            "refuse the tunnel": b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
            "begin": b"HTTP/1.1 20",
            "cut the body": b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n[",
            "talk nonsense": b"nonsense\r\n\r\n",
        }
        await stream.send(replies.get(way, b""))
        if way == "reset in the body":
            await stream.send(REPLY[:-1])
            await anyio.sleep(0.05)
            self._reset(stream)
        return False

    @staticmethod
    def _reset(stream: ByteStream) -> None:
        """Have the connection reset when it is closed."""
        linger = struct.pack("ii", 1, 0)
        stream.extra(SocketAttribute.raw_socket).setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


@asynccontextmanager
async def serving(*ways: str, tls: bool = False) -> AsyncIterator[Server]:
    server = Server(list(ways))
    async with await anyio.create_tcp_listener(local_host="localhost") as tcp, anyio.create_task_group() as group:
        server.port = tcp.extra(SocketAttribute.local_port)
        listener = TLSListener(tcp, SERVER_TRUST) if tls else tcp
        group.start_soon(listener.serve, server.serve)
        yield server
        group.cancel_scope.cancel()


def account_at(url: str, key: str = "k") -> Account:
    return Account.of(login=None, password=None, apikey=Secret(key), base_url=url, mirrors=(), allow_http=True)


@asynccontextmanager
async def exchange(url: str, *, proxy: str | None = None, **options: Any) -> AsyncIterator[HttpExchange]:
    options = {"timeout": 5.0, "connections": 4, "transport": None, "verify": TRUST} | options
    opened = HttpExchange(account_at(url), proxy=None if proxy is None else Secret(proxy), **options)
    await opened.opened()
    try:
        yield opened
    finally:
        await opened.aclose()


# The URL, and the proxy, of a server on that port.
ROUTES: dict[str, tuple[str, str | None]] = {
    "http": ("http://localhost:{}", None),
    "https": ("https://localhost:{}", None),
    "a proxy": ("http://smsc.example", "http://localhost:{}"),
    "a proxy over TLS": ("http://smsc.example", "https://localhost:{}"),
    "a tunnel": ("https://localhost", "http://localhost:{}"),
    "a SOCKS proxy": ("http://smsc.example", "socks5://localhost:{}"),
}


@asynccontextmanager
async def on_route(route: str, *ways: str, **options: Any) -> AsyncIterator[tuple[Server, HttpExchange]]:
    url, proxy = ROUTES[route]
    async with serving(*ways, tls=route in ("https", "a proxy over TLS")) as server:
        url, proxy = url.format(server.port), proxy and proxy.format(server.port)
        async with exchange(url, proxy=proxy, **options) as opened:
            yield server, opened


async def ended(opened: HttpExchange) -> NoReply:
    outcome = await opened.post({"id": "1"}, messages=1, send_by=inf)
    assert isinstance(outcome, NoReply)
    assert isinstance(outcome.error, TransportError)
    return outcome


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


async def test_verify_says_whom_to_trust() -> None:
    """A certificate authority of one's own; without it, nothing is sent."""
    async with serving("answer", tls=True) as server:
        url = f"https://localhost:{server.port}"
        async with StatusClient(apikey="k", base_url=url, retries=0) as client:
            with pytest.raises(TransportError, match="no connection: ConnectError"):
                await client.check(1, PHONE)
        assert server.asked == []
        async with StatusClient(apikey="k", base_url=url, verify=TRUST) as client:
            assert (await client.check(1, PHONE)).is_delivered
    assert server.asked == [b"POST /sys/status.php HTTP/1.1"]


async def test_ssl_cert_file_says_whom_to_trust(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By default, and beside `verify=True`."""
    CERTIFICATES.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    async with on_route("https", "answer", verify=True) as (_, opened):
        assert isinstance(await opened.post({"id": "1"}, messages=1, send_by=inf), Reply)


async def test_the_system_s_authorities_are_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside those of certifi: a company's own is usually installed there."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)

    def load(context: ssl.SSLContext) -> None:
        CERTIFICATES.configure_trust(context)

    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", load)
    # The trust store is made once a process, by a private function with a cache.
    module._system_trust.cache_clear()
    try:
        async with on_route("https", "answer", verify=True) as (_, opened):
            assert isinstance(await opened.post({"id": "1"}, messages=1, send_by=inf), Reply)
    finally:
        module._system_trust.cache_clear()


@pytest.mark.parametrize("verify", [False, None, "/etc/ssl/ca.pem", 1, ssl.SSLContext])
def test_another_kind_of_verify_is_refused(verify: Any) -> None:
    with pytest.raises(ConfigError, match=r"verify .*: expected True, or an ssl\.SSLContext"):
        StatusClient(apikey="k", verify=verify)


def test_verify_is_refused_beside_a_transport() -> None:
    """It would be ignored silently."""
    with pytest.raises(ConfigError, match="verify beside transport"):
        StatusClient(apikey="k", verify=TRUST, transport=Answering(b""))


@pytest.mark.parametrize("value", [Emulator(), httpx.AsyncBaseTransport, httpx.HTTPTransport(), "https://proxy"])
def test_what_is_no_transport_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"transport .*: expected an httpx\.AsyncBaseTransport"):
        StatusClient(apikey="k", transport=value)


def test_certificates_that_are_not_there_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which names the variable."""
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    with pytest.raises(ConfigError, match=r"^SSL_CERT_FILE '/nowhere/ca\.pem'"):
        StatusClient(apikey="k")


@pytest.mark.parametrize("url", ["socks5://localhost:1080", "socks5h://me:hidden@localhost:1080"])
def test_a_socks_proxy_without_its_package_is_an_error_that_names_it(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the package, and the argument or the variable."""
    monkeypatch.setitem(sys.modules, "socksio", None)
    with pytest.raises(ConfigError, match=r"^proxy: .*socksio.*httpx\[socks\]") as caught:
        StatusClient(apikey="k", proxy=url)
    assert "hidden" not in str(caught.value)
    monkeypatch.setenv("ALL_PROXY", url)
    with pytest.raises(ConfigError, match=r"^ALL_PROXY: .*socksio.*httpx\[socks\]") as caught:
        StatusClient(apikey="k")
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("url", ["ftp://me:hidden@proxy", "http://me:hidden@x:port", "socks://me:hidden@x", 5])
def test_a_proxy_that_can_not_be_used_is_an_error_without_its_password(
    url: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its password is not shown: the error is chained to nothing, and names the argument or the variable."""
    with pytest.raises(ConfigError, match=r"^proxy: ") as caught:
        StatusClient(apikey="k", proxy=url)
    assert caught.value.__context__ is caught.value.__cause__ is None
    monkeypatch.setenv("https_proxy", str(url) if isinstance(url, str) else "5://")
    with pytest.raises(ConfigError, match=r"^HTTPS_PROXY: ") as caught:
        StatusClient(apikey="k")
    assert caught.value.__context__ is caught.value.__cause__ is None
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("url", ["https://\u2603.net", "https://smsc.ru/\x00"])
def test_an_address_that_httpx_does_not_take_is_an_error(url: str) -> None:
    with pytest.raises(ConfigError, match=r"^URL: "):
        StatusClient(apikey="k", base_url=url)


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (httpx.Response(200, headers={"content-encoding": "gzip", "retry-after": "7"}, content=b""), "compressed"),
        (httpx.Response(200, headers={"retry-after": "7"}, content=b" " * 3_000_000), "a reply over"),
    ],
)
async def test_a_reply_that_is_refused_unread_has_been_a_reply(reply: httpx.Response, text: str) -> None:
    """Its error has its status, and when to come back."""
    async with exchange("http://localhost", transport=Answering(reply), verify=True) as opened:
        outcome = await opened.post({"id": "1"}, messages=1, send_by=inf)
    assert isinstance(outcome, NoReply)
    assert outcome.how is RequestEnd.REPLIED
    assert isinstance(outcome.error, ProtocolError)
    assert text in str(outcome.error)
    assert (outcome.error.http_status, outcome.error.retry_after) == (200, 7.0)
    assert outcome.error.__traceback__ is None


async def test_of_an_http_error_no_more_than_the_bound_is_kept() -> None:
    """Its status is told all the same."""
    reply = httpx.Response(500, content=bytes(3_000_000))
    async with exchange("http://localhost", transport=Answering(reply), verify=True) as opened:
        outcome = await opened.post({"id": "1"}, messages=1, send_by=inf)
    assert isinstance(outcome, Reply)
    assert outcome.status == 500
    assert len(outcome.body) == module.REPLY_BYTES + module.REPLY_BYTES_A_MESSAGE + 1


class Chunks(httpx.AsyncByteStream):
    """A body that comes in chunks, and can be read once."""

    def __init__(self) -> None:
        self.chunks = [ANSWER[:5], ANSWER[5:]]

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self.chunks:
            yield self.chunks.pop(0)


class Endless(httpx.AsyncByteStream):
    """A body without end. Only every other time it waits for the next chunk."""

    def __init__(self) -> None:
        self.given = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self.given < 1000:
            self.given += 1
            if self.given % 2 == 0:
                await checkpoint()
            yield bytes(module.REPLY_BYTES)


class EndlessIterator(Endless):
    """One that is no generator: it goes on after it was cancelled."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self.given == 1000:
            raise StopAsyncIteration
        self.given += 1
        await checkpoint()
        return bytes(module.REPLY_BYTES)


@pytest.mark.parametrize("body", [Endless(), EndlessIterator()], ids=["a generator", "an iterator"])
async def test_a_body_without_end_is_left_when_it_waits(body: Endless) -> None:
    body.given = 0

    class Transport(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            return httpx.Response(200, stream=body)

    async with exchange("http://localhost", transport=Transport(), verify=True) as opened:
        outcome = await opened.post({"id": "1"}, messages=1, send_by=inf)
    assert isinstance(outcome, NoReply)
    assert outcome.how is RequestEnd.REPLIED
    assert body.given < 10


class ReadingAhead(httpx.AsyncBaseTransport):
    """A user's own, which reads each reply, to log it."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = httpx.Response(200, stream=Chunks())
        assert await response.aread() == ANSWER
        return response


async def test_a_reply_that_the_transport_has_read_is_read() -> None:
    async with exchange("http://localhost", transport=ReadingAhead(), verify=True) as opened:
        reply = await opened.post({"id": "1"}, messages=1, send_by=inf)
    assert isinstance(reply, Reply)
    assert reply.body == ANSWER


async def test_a_reply_of_a_transport_that_is_not_async_can_not_be_used() -> None:
    response = httpx.Response(200, content=iter([ANSWER]))
    async with exchange("http://localhost", transport=Answering(response), verify=True) as opened:
        assert (await ended(opened)).how is RequestEnd.ABANDONED


class Stop(BaseException):
    """As `KeyboardInterrupt`."""


class Stopping(httpx.AsyncBaseTransport):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        raise Stop


async def test_an_exception_that_passes_through_has_no_frame_that_holds_the_body() -> None:
    """A cancellation, or Ctrl-C: whoever prints it with its frames' locals shows no secret."""
    account = account_at("http://localhost", "key-of-ours")
    opened = HttpExchange(account, timeout=5, connections=4, transport=Stopping(), proxy=None, verify=True)
    with pytest.raises(Stop) as caught:
        await opened.post({"id": "1"}, messages=1, send_by=inf)
    error = caught.value
    assert error.__traceback__ is not None
    shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert "apikey=" not in shown
    assert "in _exchange" not in shown


async def test_the_compressed_body_of_an_http_error_is_not_read() -> None:
    """Its status says enough."""
    reply = httpx.Response(403, headers={"content-encoding": "gzip"}, content=b"")
    async with exchange("http://localhost", transport=Answering(reply), verify=True) as opened:
        outcome = await opened.post({"id": "1"}, messages=1, send_by=inf)
    assert isinstance(outcome, Reply)
    assert (outcome.status, outcome.body) == (403, b"")


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


@pytest.mark.parametrize("is_kept", [False, True])
@pytest.mark.parametrize("route", ROUTES)
async def test_a_request_that_was_stopped_before_its_headers_is_not_sent(
    route: str, is_kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connection is closed, be it a new or a kept one, and the next request is sent."""
    process = Stopped(monkeypatch, HEADERS)
    async with on_route(route, "answer", "answer") as (server, opened):
        if is_kept:
            assert isinstance(await process.post(opened, is_stopped=False), Reply)
        outcome = await process.post(opened, is_stopped=True)
        assert isinstance(outcome, NoReply)
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
        if is_kept:
            assert isinstance(await process.post(opened, is_stopped=False), Reply)
        outcome = await process.post(opened, is_stopped=True)
        assert isinstance(outcome, NoReply)
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
