"""Sends one request and reads its reply. Only this module uses httpx.

The credentials are put into the body here, at the last moment. Nothing that holds them leaves this module, neither an
exception (see `redaction`) nor a traceback's frames.
"""

from __future__ import annotations

import functools
import os
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from operator import attrgetter
from typing import Any
from urllib.parse import quote_plus, urlencode

import anyio
import attrs
import httpx

from smsc_status import _loops
from smsc_status._core.scheduling.pacing import RequestEnd
from smsc_status._core.wire.protocol import PATH, retry_after
from smsc_status._runtime.account import DEFAULT_PORTS, Account, Secret
from smsc_status._runtime.proxies import Proxy, environment_proxy
from smsc_status._runtime.redaction import Redactor, reason, without_traceback
from smsc_status.errors import ConfigError, ProtocolError, RequestTimeout, SmscError, TransportError

REPLY_BYTES = 2**21
REPLY_BYTES_A_MESSAGE = 2**15
"""The longest reply that is read: `REPLY_BYTES`, and `REPLY_BYTES_A_MESSAGE` for each message that it is about.

A longer one is refused while it is read. At the highest level of detail a message takes half a kilobyte without its
text. The text of an e-mail may be long, and takes six times its length if every letter is escaped.
"""

MAX_PORT = 65_535

KEEPALIVE_EXPIRY = 3.0
"""A connection that has been idle for longer, in seconds, is not used again.

A server closes a connection that has been idle for a time of its own choice. A request that is sent on it at that
moment is lost, with its tokens. The shortest of the usual times is 5 s (Apache's `KeepAliveTimeout`; nginx waits 60 to
75 s), counted from the end of the server's reply. So 3 s leave two seconds for the reply to come back and the next
request to arrive. A longer time would save few handshakes (two round trips each): requests that follow each other
closely find the connection open anyway, and bulk requests are a minute apart, which is too long for such a server.
"""

A_MOMENT = 0.2
"""Seconds. A request that begins at most this long after its permit still has its whole time."""

# Raised before a byte of the request is written.
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)

# Raised when a connection ends with a request on it. httpx raises RemoteProtocolError both for a reply that breaks the
# rules of HTTP and for no reply at all; only the text differs. (The same text comes if a part of the status line has
# arrived. Then the server has surely read the request.)
_ENDED = (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)
_NO_REPLY = "without sending a response"

_HEADERS = {
    "accept": "*/*",
    # A compressed reply may be a decompression bomb, and half a megabyte a minute needs no compression.
    "accept-encoding": "identity",
    "connection": "keep-alive",
    "user-agent": "smsc_status",
    "content-type": "application/x-www-form-urlencoded",
}


@attrs.frozen
class Reply:
    """An HTTP reply."""

    status: int
    headers: Mapping[str, str]
    body: bytes = attrs.field(repr=False)
    mirror: int = 0
    """The index of the address that sent it."""


@attrs.frozen
class Address:
    """Where requests are sent: the URL, which holds no secret, and the host, the port and the path in it."""

    url: str
    host: str
    port: int
    path: str

    @classmethod
    def of(cls, url: httpx.URL) -> Address:
        """The address of this URL."""
        return cls(str(url), url.host, url.port or DEFAULT_PORTS[url.scheme], url.path)


@attrs.frozen
class NoReply:
    """No usable reply: how the request ended, for the limiter, and the error that says why."""

    how: RequestEnd
    error: SmscError


class _TooLate(Exception):
    """The time for a request was over before all of it was sent."""


class _RequestProgress:
    """How far a request has come, as httpcore's trace events tell. A transport without httpcore sends no events.

    It also stops a request that would be sent after `send_by`, for example because the process had been stopped. By
    then others may count the request as ended, and use its tokens.
    """

    __slots__ = ("_extensions", "_send_by", "has_connected", "has_left", "is_answered", "is_known")

    def __init__(self, send_by: float) -> None:
        self._send_by = send_by
        self._extensions: dict[str, Any] = {}
        self.is_known = False
        self.has_connected = False
        self.has_left = False
        self.is_answered = False

    async def on_event(self, event: str, info: Mapping[str, Any]) -> None:
        """Take note of an event: httpcore calls this as the request's `trace` extension.

        If this raises, httpcore closes the connection and writes nothing more.
        """
        self.is_known = True
        if not event.startswith("http11."):  # connecting, perhaps to or through a proxy; or HTTP/2
            self.has_connected = True
        elif event == "http11.send_request_headers.started":
            self.raise_if_late()
            # A CONNECT only asks a proxy for a tunnel: the request itself comes after it.
            self.has_left = info["request"].method != b"CONNECT"
            self._extensions = info["request"].extensions
        elif event == "http11.send_request_body.started":
            self.raise_if_late()
            if self.has_left:
                self._extensions.pop("trace", None)  # further events would cost time and tell nothing new

    def raise_if_late(self) -> None:
        """Raise `_TooLate` if nothing more of the request may be sent."""
        if _loops.boot_now() > self._send_by:
            raise _TooLate

    def is_closed_by_server(self, error: BaseException) -> bool:
        """Whether the error says that a reused connection has ended without a reply.

        Then the server (or the proxy at the other end) has closed the connection while it was idle, or has dropped the
        request. In both cases it does nothing with the request later.
        """
        is_reused = self.has_left and not self.has_connected and not self.is_answered
        is_end = not isinstance(error, httpx.RemoteProtocolError) or _NO_REPLY in str(error)
        return is_reused and isinstance(error, _ENDED) and is_end


class HttpExchange:
    """A client's connections to its server: at most `connections` sockets, idle ones included.

    Args:
        account: the addresses and the credentials.
        timeout: the longest time for each request as a whole, in seconds.
        connections: the largest number of sockets.
        transport: used instead of connections of its own.
        proxy: the URL of a proxy, used instead of the environment's.
        verify: whose certificates to trust. `True`: the system's certificate authorities and those of the package
            certifi, or only what `SSL_CERT_FILE` or `SSL_CERT_DIR` names, if one of them is set.

    Raises:
        ConfigError: a proxy, a `verify`, a `transport` or an address that can't be used; or a `verify` beside a
            `transport`.
    """

    def __init__(
        self,
        account: Account,
        *,
        timeout: float,
        connections: int,
        transport: httpx.AsyncBaseTransport | None,
        proxy: Secret | None,
        verify: ssl.SSLContext | bool,
    ) -> None:
        if verify is not True and not isinstance(verify, ssl.SSLContext):
            raise ConfigError(
                f"verify {verify!r}: expected True, or an ssl.SSLContext such as ssl.create_default_context()"
            )
        if not isinstance(transport, httpx.AsyncBaseTransport | None):
            raise ConfigError(
                f"transport of the type {type(transport).__name__}: expected an httpx.AsyncBaseTransport, such as"
                " httpx.ASGITransport(app=Emulator())"
            )
        if verify is not True and transport is not None:
            raise ConfigError("verify beside transport: expected only one, as a transport brings its own trust")
        self._credentials = Secret(urlencode({name: secret.reveal() for name, secret in account.credentials.items()}))
        self._redactor = Redactor(account.hidden)
        self.timeout: float = timeout
        # A host that takes half of the time to connect is down. httpx then raises ConnectTimeout, which shows that
        # nothing was sent.
        self._extensions = {"timeout": httpx.Timeout(timeout, connect=timeout / 2).as_dict()}
        self._mirror = 0
        try:
            self._urls = [httpx.URL(url + PATH) for url in account.urls]
        except httpx.InvalidURL as error:
            raise ConfigError(f"URL: {error}: expected one such as 'https://smsc.ru'") from None
        self._headers = [httpx.Headers({"host": url.netloc.decode(), **_HEADERS}) for url in self._urls]
        self._addresses = [Address.of(url) for url in self._urls]
        self._has_own_connections = transport is None
        if transport is None:
            self._transports = _transports(account, proxy, connections, _trust() if verify is True else verify)
        else:
            self._transports = [transport] * len(self._urls)
        self._unclosed = list(dict.fromkeys(self._transports))
        self._closer = _closing_with_the_loop(self._unclosed)

    async def opened(self) -> None:
        """Call this once, in the event loop that will send the requests: its end then closes the sockets."""
        await self._closer.__anext__()

    @property
    def address(self) -> Address:
        """Where the next request is sent."""
        return self._addresses[self._mirror]

    @property
    def mirrors(self) -> int:
        """How many addresses there are to try: the base URL and its mirrors."""
        return len(self._urls)

    def hide_secrets(self, error: SmscError) -> None:
        """Take the credentials out of an error and of the errors that it is chained to: a reply may repeat them."""
        self._redactor.redact(error)

    async def post(self, fields: Mapping[str, str], *, messages: int, send_by: float) -> Reply | NoReply:
        """Send the fields, which are about this many messages, to the address in use now. Raises only cancellation.

        Nothing is sent after the instant `send_by` of `_loops.boot_now`.
        """
        mirror = self._mirror
        outcome = await self._post(mirror, fields, REPLY_BYTES + REPLY_BYTES_A_MESSAGE * messages, send_by)
        if isinstance(outcome, NoReply):
            self._leave_mirror(mirror)
        return outcome

    def leave_mirror_of(self, reply: Reply) -> None:
        """Send the next request to the next mirror, because this reply can't be used."""
        self._leave_mirror(reply.mirror)

    def _leave_mirror(self, mirror: int) -> None:
        if self._mirror == mirror:  # otherwise an earlier failure has left it already
            self._mirror = (mirror + 1) % len(self._urls)

    async def _post(self, mirror: int, fields: Mapping[str, str], most: int, send_by: float) -> Reply | NoReply:
        progress = _RequestProgress(send_by)
        try:
            # If the process was stopped between the permit and here, others count the request as over earlier by that
            # time. So it has less time here, too.
            with anyio.move_on_after(min(self.timeout, send_by - _loops.boot_now() + A_MOMENT)):
                return await self._exchange(mirror, fields, most, progress)
            return NoReply(self._end_of(None, progress), RequestTimeout(f"no whole answer within {self.timeout:g} s"))
        except _TooLate as caught:
            how = self._end_of(caught, progress)
            kind = TransportError if how is RequestEnd.NOT_SENT else RequestTimeout
            what = "nothing was sent" if how is RequestEnd.NOT_SENT else "not all was sent"
            return NoReply(how, kind(f"{what} within {self.timeout:g} s of the limiter's permit"))
        except Exception as caught:  # a transport that the user supplied may raise anything
            how, cause = self._end_of(caught, progress), self._redactor.copy(caught)
            is_timeout = isinstance(caught, httpx.TimeoutException | TimeoutError)
        except BaseException as caught:
            # This is a cancellation. Its traceback must not show the frames that hold the credentials.
            raise without_traceback(caught)  # noqa: B904 (it is the same one)
        kind = RequestTimeout if is_timeout and how is not RequestEnd.NOT_SENT else TransportError
        error = kind(f"no {'connection' if how is RequestEnd.NOT_SENT else 'whole answer'}: {reason(cause)}")
        error.__cause__ = cause
        return NoReply(how, error)

    def _end_of(self, caught: Exception | None, progress: _RequestProgress) -> RequestEnd:
        """How a request without a reply has ended: with this error, or (`None`) because its time was over."""
        if isinstance(caught, _NOT_SENT):
            return RequestEnd.NOT_SENT
        if isinstance(caught, _TooLate) and not progress.has_left:
            return RequestEnd.NOT_SENT  # with any transport: it was stopped just before it would have sent
        if self._has_own_connections and progress.is_known and not progress.has_left:
            return RequestEnd.NOT_SENT  # a proxy has refused, or connecting took too long
        if caught is not None and progress.is_closed_by_server(caught):
            return RequestEnd.REPLIED
        return RequestEnd.ABANDONED

    async def _exchange(
        self, mirror: int, fields: Mapping[str, str], most: int, progress: _RequestProgress
    ) -> Reply | NoReply:
        request = self._request(mirror, fields, {**self._extensions, "trace": progress.on_event})
        progress.raise_if_late()  # a transport of the user's own may send no events
        async with aclosing(await self._transports[mirror].handle_async_request(request)) as response:
            progress.is_answered = True
            status, headers = response.status_code, response.headers
            is_answer = status == 200  # any other status tells enough without the body
            if "content-encoding" in headers and headers["content-encoding"].lower() != "identity":
                if is_answer:
                    return _refused("a compressed reply, though none was asked for", status, headers)
                return Reply(status, headers, b"", mirror)
            body, chunks = bytearray(), _chunks(response)
            async for chunk in chunks:
                body += chunk
                if len(body) > most:
                    del body[most + 1 :]
                    await _end(chunks)
                    break
            else:
                _leave_if_more_came(response)
            if len(body) > most and is_answer:
                return _refused(f"a reply over {most} bytes", status, headers)
            return Reply(status, headers, bytes(body), mirror)

    def _request(self, mirror: int, fields: Mapping[str, str], extensions: dict[str, Any]) -> httpx.Request:
        """What `httpx.Request` makes of `data=`, in half of the time: most headers are the same for all requests."""
        form = [f"{name}={_escaped(value)}" for name, value in fields.items()]
        content = "&".join((self._credentials.reveal(), *form)).encode()
        request = httpx.Request(
            "POST",
            self._urls[mirror],
            headers=self._headers[mirror],
            stream=httpx.ByteStream(content),
            extensions=extensions,
        )
        request.headers["content-length"] = str(len(content))
        request.read()  # a transport of the user's own may look at its content
        return request

    async def aclose(self) -> None:
        """Close every socket."""
        await _close(self._unclosed)
        await self._closer.aclose()


def _escaped(value: str) -> str:
    if value.isalnum() and value.isascii():  # as nearly all are
        return value
    return quote_plus(value, safe=",")  # a bulk request has thousands of commas


def _chunks(response: httpx.Response) -> AsyncIterator[bytes]:
    """The body, as it comes. It needs no decompression, so `aiter_bytes` would only take more time."""
    if response.is_stream_consumed:  # a transport of the user's own has read it, for example to log it
        return response.aiter_bytes()
    stream: Any = response.stream  # of an asynchronous transport
    return aiter(stream)


async def _end(chunks: AsyncIterator[bytes]) -> None:
    """End the iteration early: the next time that it waits, it is cancelled.

    A `break` alone would leave async generators unfinished, and trio warns of that.
    """
    with anyio.CancelScope() as reading:
        reading.cancel()
        async for _ in chunks:
            pass


# The parser of the connection that a reply came on. httpcore tells nobody else what has come after the reply.
_parser_of = attrgetter("stream._httpcore_stream._stream._connection._h11_state")


def _leave_if_more_came(response: httpx.Response) -> None:
    """Have the connection closed if more than this reply has come on it, which would be read as the next request's.

    Does nothing for a transport that has no such parser.
    """
    try:
        parser = _parser_of(response)
    except AttributeError:
        return
    if parser.trailing_data[0]:
        parser.send_failed()  # a connection with an error is not kept


async def _close(transports: list[httpx.AsyncBaseTransport]) -> None:
    while transports:
        await transports.pop().aclose()


async def _closing_with_the_loop(transports: list[httpx.AsyncBaseTransport]) -> AsyncGenerator[None, None]:
    """Closes the transports when the event loop ends, for a client that nobody closed.

    An event loop that ends closes its async generators. This one then closes the transports.
    """
    try:
        yield
    finally:
        await _close(transports)


def _refused(what: str, status: int, headers: Mapping[str, str]) -> NoReply:
    return NoReply(RequestEnd.REPLIED, ProtocolError(what, status=status, retry_after=retry_after(headers)))


def _transports(
    account: Account, proxy: Secret | None, connections: int, trust: ssl.SSLContext
) -> list[httpx.AsyncBaseTransport]:
    """A transport for each address. Addresses that share a proxy, or need none, share a transport.

    Transports are used without an `httpx.AsyncClient` around them. What that adds is not wanted here (cookies,
    redirects, defaults to merge), and it takes a fifth of a request's time.
    """
    limits = httpx.Limits(
        max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=KEEPALIVE_EXPIRY
    )
    if proxy is not None and not isinstance(proxy.reveal(), str):
        raise ConfigError(f"proxy: expected a str, got a {type(proxy.reveal()).__name__}")
    routes = [environment_proxy(url) if proxy is None else Proxy(proxy, "proxy") for url in account.urls]
    found = {route: _transport(route, limits, trust) for route in dict.fromkeys(routes)}
    return [found[route] for route in routes]


def _transport(route: Proxy | None, limits: httpx.Limits, trust: ssl.SSLContext) -> httpx.AsyncBaseTransport:
    if route is None:
        return httpx.AsyncHTTPTransport(verify=trust, limits=limits)
    try:
        proxy = httpx.Proxy(route.url.reveal())
        if (proxy.url.port or 0) > MAX_PORT:
            raise httpx.InvalidURL("no such port")
        if proxy.url.scheme == "https":
            proxy.ssl_context = trust
        return httpx.AsyncHTTPTransport(verify=trust, limits=limits, proxy=proxy)
    except ImportError:
        problem = "a SOCKS proxy needs the package socksio: expected it to be installed (pip install 'httpx[socks]')"
    except Exception as error:
        problem = f"{type(error).__name__}: expected the URL of a proxy, such as http://host:port or socks5://host:port"
    # Raised here and not in the `except`, so that it is not chained to an error whose frames hold the proxy's password.
    raise ConfigError(f"{route.named_by}: {problem}")


def _trust() -> ssl.SSLContext:
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    try:
        return _system_trust(file, folder)
    except OSError as error:
        raise ConfigError(f"SSL_CERT_FILE {file!r}, SSL_CERT_DIR {folder!r}: {error}: expected certificates") from error


@functools.lru_cache(maxsize=1)
def _system_trust(file: str | None, folder: str | None) -> ssl.SSLContext:
    """The trusted certificates. They are loaded once a process, because that takes longer than a request."""
    context = httpx.create_ssl_context()  # what the variables name, otherwise certifi's
    if not file and not folder:
        context.load_default_certs()
    return context
