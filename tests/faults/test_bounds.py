"""The real transport over real sockets, in real time: bounds, bodies that break off, requests that never leave."""

from __future__ import annotations

import gzip
import re
import socket
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.abc import SocketStream

from smsc_status import (
    Format,
    LocalLimiter,
    ProtocolError,
    RequestTimeout,
    SmscError,
    StatusClient,
    StatusRecord,
    TransportError,
)
from smsc_status._runtime.http import REPLY_BYTES, REPLY_BYTES_A_MESSAGE

pytestmark = pytest.mark.slow

PHONE = "79990000000"
CHUNK = bytes(2**16)
BUFFERS = 16 * 2**20
"""What the system may hold between two ends of a socket, and more."""

on_both = pytest.mark.parametrize("backend", ["asyncio", "trio"])


class Server:
    """Answers every request by `answer`, and then closes the connection; counts what it could push out."""

    def __init__(self, answer: Callable[[Server], Awaitable[None]]) -> None:
        self._answer = answer
        self._stream: SocketStream
        self.url = ""
        self.requests: list[bytes] = []
        self.pushed = 0

    async def serve(self, stream: SocketStream) -> None:
        async with stream:
            self._stream = stream
            try:
                self.requests.append(await _request(stream))
                await self._answer(self)
            except (anyio.BrokenResourceError, anyio.EndOfStream):
                pass

    async def push(self, data: bytes) -> None:
        await self._stream.send(data)
        self.pushed += len(data)

    async def reply(self, body: bytes, *headers: str, status: str = "200 OK") -> None:
        lines = [f"HTTP/1.1 {status}", "connection: close", *headers]
        await self.push("\r\n".join([*lines, "", ""]).encode() + body)


async def _request(stream: SocketStream) -> bytes:
    data = b""
    while True:
        data += await stream.receive()
        head, end, body = data.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        if end and length and len(body) == int(length[1]):
            return data


@asynccontextmanager
async def serving(answer: Callable[[Server], Awaitable[None]]) -> AsyncIterator[Server]:
    server = Server(answer)
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as group:
        server.url = f"http://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}"
        group.start_soon(listener.serve, server.serve)
        yield server
        group.cancel_scope.cancel()


async def outcome_of(url: str, **options: Any) -> StatusRecord | SmscError:
    """Of one check that is not tried again."""
    options = dict[str, Any](apikey="k", retries=0, limiter=LocalLimiter()) | options
    async with StatusClient(base_url=url, **options) as client:
        try:
            return await client.check(1, PHONE)
        except SmscError as error:
            return error


async def _push_for_ever(server: Server) -> None:
    while True:
        await server.push(b"%x\r\n%b\r\n" % (len(CHUNK), CHUNK))


@on_both
@pytest.mark.parametrize(("status", "expected"), [("200 OK", ProtocolError), ("503 Busy", TransportError)])
def test_an_endless_reply_is_refused_while_it_is_read(
    backend: str, status: str, expected: type[SmscError], recwarn: pytest.WarningsRecorder
) -> None:
    """The server can't push out much more than the bound; a page that says later says so all the same."""

    async def answer(server: Server) -> None:
        await server.reply(b"", "transfer-encoding: chunked", status=status)
        await _push_for_ever(server)

    async def main() -> None:
        async with serving(answer) as server:
            outcome = await outcome_of(server.url)
            assert isinstance(outcome, expected)
            assert isinstance(outcome, ProtocolError) == (status == "200 OK")
            most = REPLY_BYTES + REPLY_BYTES_A_MESSAGE
            assert most < server.pushed < most + BUFFERS

    anyio.run(main, backend=backend)
    assert not recwarn.list


@on_both
def test_endless_headers_are_refused_while_they_are_read(backend: str) -> None:
    """Before any of the body."""

    async def answer(server: Server) -> None:
        await server.push(b"HTTP/1.1 200 OK\r\n")
        while True:
            await server.push(b"x-more: %b\r\n" % (b"x" * 2**14))

    async def main() -> None:
        async with serving(answer) as server:
            outcome = await outcome_of(server.url)
            assert isinstance(outcome, TransportError)
            assert server.pushed < BUFFERS

    anyio.run(main, backend=backend)


@on_both
@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "identity, gzip"])
def test_a_compressed_body_is_not_unpacked(backend: str, coding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a byte of it, though nothing else was asked for than the body itself."""

    def unpack(*_: object) -> None:
        raise AssertionError("something was unpacked")

    bomb = gzip.compress(bytes(2**20))
    monkeypatch.setattr(zlib, "decompressobj", unpack)

    async def main() -> None:
        async with serving(
            lambda server: server.reply(bomb, f"content-encoding: {coding}", f"content-length: {len(bomb)}")
        ) as server:
            outcome = await outcome_of(server.url)
            assert isinstance(outcome, ProtocolError)
            assert "compressed" in outcome.reason
            assert b"accept-encoding: identity" in server.requests[0].lower()

    anyio.run(main, backend=backend)


@on_both
@pytest.mark.parametrize("framing", ["content-length: 17", "transfer-encoding: chunked"])
def test_a_body_cut_at_any_byte_is_a_lost_reply(backend: str, framing: str) -> None:
    """Where the length or the chunks say how long it should be, a text that looks whole is not taken for it."""
    body = b"20,1795503600,248"

    async def main() -> None:
        lengths = iter(range(len(body)))

        async def answer(server: Server) -> None:
            start = b"%x\r\n" % len(body) if "chunked" in framing else b""
            await server.reply(start + body[: next(lengths)], framing)

        async with serving(answer) as server:
            for _ in body:
                assert type(await outcome_of(server.url, format=Format.CSV)) is TransportError

    anyio.run(main, backend=backend)


@on_both
@pytest.mark.parametrize(("format", "body"), [(Format.CSV, b"20,1795503600,248"), (Format.JSON, b'{"status": 20}')])
def test_a_body_that_ends_with_its_connection_is_taken_as_it_is(backend: str, format: Format, body: bytes) -> None:
    """Nothing says how long it should be: JSON shows that it was cut; a text can't, but its status is whole."""

    async def main() -> None:
        cut = 0

        async def answer(server: Server) -> None:
            await server.reply(body[:cut])

        async with serving(answer) as server:
            for cut in range(1, len(body) + 1):
                outcome = await outcome_of(server.url, format=format)
                if isinstance(outcome, StatusRecord):
                    assert outcome.status == 20
                    assert cut == len(body) or format is Format.CSV
                else:
                    assert isinstance(outcome, ProtocolError)

    anyio.run(main, backend=backend)


@on_both
@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
def test_another_host_is_never_asked(backend: str, status: str) -> None:
    """Nor the same one at another address: the credentials go nowhere else."""

    async def main() -> None:
        async with serving(lambda server: server.reply(b"1,1795503600,0", "content-length: 14")) as other:

            async def answer(server: Server) -> None:
                await server.reply(b"", f"location: {other.url}/sys/status.php", "content-length: 0", status=status)

            async with serving(answer) as server:
                outcome = await outcome_of(server.url)
                assert isinstance(outcome, ProtocolError)
                assert len(server.requests) == 1
        assert not other.requests

    anyio.run(main, backend=backend)


@on_both
@pytest.mark.parametrize("failure", ["refused", "no TLS", "no such host"])
def test_a_request_that_never_left_has_its_token_back_at_once(
    backend: str, failure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection fails before a byte of the request is sent."""

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def main() -> None:
        limiter = LocalLimiter()
        async with (
            await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
            anyio.create_task_group() as group,
        ):
            address = f"127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}"
            group.start_soon(listener.serve, _speak_no_tls)
            if failure == "no TLS":
                outcome = await outcome_of(f"https://{address}", limiter=limiter)
            group.cancel_scope.cancel()
        if failure == "refused":  # nobody listens there any more
            outcome = await outcome_of(f"http://{address}", limiter=limiter)
        elif failure == "no such host":
            monkeypatch.setattr(socket, "getaddrinfo", unknown)
            outcome = await outcome_of("https://smsc.example", limiter=limiter)
        assert type(outcome) is TransportError
        assert limiter.is_idle()

    anyio.run(main, backend=backend)


async def _speak_no_tls(stream: SocketStream) -> None:
    async with stream:
        await stream.receive()
        await stream.send(b"this is no TLS\r\n")


@on_both
def test_a_reply_that_trickles_is_given_up_in_time(backend: str) -> None:
    """The time-out bounds the whole of it, however often something comes."""

    async def answer(server: Server) -> None:
        await server.reply(b"", "content-length: 1000000")
        while True:
            await server.push(b" ")
            await anyio.sleep(0.02)

    async def main() -> None:
        async with serving(answer) as server:
            began_at = anyio.current_time()
            outcome = await outcome_of(server.url, timeout=0.3)
            assert isinstance(outcome, RequestTimeout)
            assert anyio.current_time() - began_at < 5

    anyio.run(main, backend=backend)
