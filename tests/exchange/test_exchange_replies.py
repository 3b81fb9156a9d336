"""How the body of a reply is read, and what may not be left of it and of the request."""

from __future__ import annotations

import traceback
from collections.abc import AsyncIterator
from math import inf

import httpx
import pytest
from anyio.lowlevel import checkpoint
from exchange_support import ANSWER, account_at, ended, exchange
from helpers import Answering

from smsc_status import ProtocolError
from smsc_status._core.scheduling.pacing import RequestEnd
from smsc_status._runtime import http as module
from smsc_status._runtime.http import HttpExchange, NoReply, Reply

pytestmark = pytest.mark.anyio


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
