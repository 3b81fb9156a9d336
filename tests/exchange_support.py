"""A server on a real socket that ends connections in many ways, and the exchange that asks it."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from math import inf
from typing import Any

import anyio
import attrs
import trustme
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSListener, TLSStream

from smsc_status import TransportError
from smsc_status._runtime.account import Account, Secret
from smsc_status._runtime.http import HttpExchange, NoReply

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
