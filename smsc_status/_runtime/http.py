"""One request, one reply: the only module that imports httpx.

The credentials are put into the body here, in the last moment. Nothing that holds them leaves this module: not in an
exception (see `redaction`), not in a traceback's frames.
"""

from __future__ import annotations

import functools
import logging
import os
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any
from urllib.parse import urlencode

import anyio
import attrs
import httpx

from smsc_status._core.scheduling.pacing import RequestEnd
from smsc_status._core.wire.protocol import PATH, retry_after
from smsc_status._runtime.account import Account, Secret
from smsc_status._runtime.proxies import Proxy, environment_proxy
from smsc_status._runtime.redaction import Redactor, reason, without_traceback
from smsc_status.errors import ConfigError, ProtocolError, RequestTimeout, SmscError, TransportError

REPLY_BYTES = 2**21
REPLY_BYTES_A_MESSAGE = 2**15
"""A reply is refused while it is read if it is longer than the one, and the other for each message that it is about.

At the highest level a message takes half a kilobyte without its text; that of an e-mail may be long, and takes six
times its length if it is escaped letter by letter.
"""

KEEPALIVE_EXPIRY = 3.0
"""A connection that has been idle for longer, in seconds, is not used again.

A server closes an idle connection after a time of its own. A request that is sent on it at that moment is lost, and its
tokens with it. The shortest of the usual times is 5 s (Apache's `KeepAliveTimeout`; nginx waits 60 to 75 s), counted
from the end of the server's reply. So 3 s leave two seconds for the reply's way back and the next request's way there.
A longer time would save few handshakes (two round trips each): requests that follow each other find their connection
open, and bulk requests come a minute apart, when such a server has closed it long ago.
"""

# Raised before a byte of the request is written.
_NEVER_LEFT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)

# A connection has ended with a request on it. httpx has one class for a reply that breaks the rules of HTTP and for no
# reply at all; the text tells them apart. (It is also said where a part of the first line came: the server has the
# request then, all the more so.)
_ENDED = (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)
_NO_REPLY = "without sending a response"

logger = logging.getLogger("smsc_status")

_HEADERS = httpx.Headers(
    {
        "accept": "*/*",
        # What is sent compressed would have to be read with care; half a megabyte a minute needs none.
        "accept-encoding": "identity",
        "connection": "keep-alive",
        "user-agent": "smsc_status",
        "content-type": "application/x-www-form-urlencoded",
    }
)


@attrs.frozen
class Reply:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes = attrs.field(repr=False)
    mirror: int = 0
    """Which of the addresses has sent it."""


@attrs.frozen
class NoReply:
    """No reply: how the request ended, as far as the limits care, and the error that says why."""

    how: RequestEnd
    error: SmscError


class _Journey:
    """How far a request has come, as httpcore tells: nothing at all where a transport does not use httpcore."""

    __slots__ = ("_extensions", "has_connected", "has_left", "is_answered", "is_known")

    def __init__(self) -> None:
        self._extensions: dict[str, Any] = {}
        self.is_known = False
        self.has_connected = False
        self.has_left = False
        self.is_answered = False

    async def note(self, event: str, info: Mapping[str, Any]) -> None:
        """What httpcore calls as its `trace` extension."""
        self.is_known = True
        if not event.startswith("http11."):  # connecting, also to or through a proxy; or HTTP/2
            self.has_connected = True
        elif event == "http11.send_request_headers.started":
            # Before it a proxy may have been asked for a tunnel.
            self.has_left = info["request"].method != b"CONNECT"
            self._extensions = info["request"].extensions
        elif event == "http11.receive_response_headers.complete" and self.has_left:
            self.is_answered = True
            self._extensions.pop("trace", None)  # the rest would cost time, and says nothing more

    def is_closed_by_server(self, error: BaseException) -> bool:
        """Whether the error says that the connection, kept from a request before, has ended without a reply.

        The server, or the proxy that the connection leads to, has then closed it while it was idle, or has dropped the
        request: it will not do anything with it later.
        """
        is_reused = self.has_left and not self.has_connected and not self.is_answered
        is_end = not isinstance(error, httpx.RemoteProtocolError) or _NO_REPLY in str(error)
        return is_reused and isinstance(error, _ENDED) and is_end


class HttpExchange:
    """A client's connections to its server: at most `connections` sockets, idle ones included.

    Args:
        account: whom to ask, and as whom.
        timeout: bounds each request as a whole, in seconds.
        connections: at most so many sockets.
        transport: in place of this one's own connections.
        proxy: the URL of a proxy, in place of the environment's.
        verify: whom to trust; `True` for the system's certificate authorities and those of the package certifi, or only
            what `SSL_CERT_FILE` or `SSL_CERT_DIR` names.

    Raises:
        ConfigError: a proxy, a `verify` or an address that can't be used; a `verify` for a transport of the user's own.
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
        if verify is not True and transport is not None:
            raise ConfigError("verify beside transport: expected only one, as a transport brings its own trust")
        self._account = account
        self._redactor = Redactor(account.hidden)
        self._timeout = timeout
        # A host that takes half of the time to shake hands is down; told so, the request surely never left.
        self._extensions = {"timeout": httpx.Timeout(timeout, connect=timeout / 2).as_dict()}
        self._mirror = 0
        try:
            self._urls = [httpx.URL(url + PATH) for url in account.urls]
        except httpx.InvalidURL as error:
            raise ConfigError(f"URL: {error}: expected one such as 'https://smsc.ru'") from None
        self._has_own_connections = transport is None
        if transport is None:
            self._transports = _transports(account, proxy, connections, _trust() if verify is True else verify)
        else:
            self._transports = [transport] * len(self._urls)
        self._unclosed = list(dict.fromkeys(self._transports))
        self._keeper = _closing_with_the_loop(self._unclosed)

    async def opened(self) -> None:
        """To be called once, in the event loop that is to be used."""
        await self._keeper.__anext__()

    @property
    def mirrors(self) -> int:
        """How many addresses there are to try: the first and its mirrors."""
        return len(self._urls)

    def hide_secrets(self, error: SmscError) -> None:
        """A reply may echo the request: take the credentials out of what an error says and is chained to."""
        self._redactor.redact(error)

    async def post(self, fields: Mapping[str, str], *, messages: int) -> Reply | NoReply:
        """Send the fields, which are about so many messages, to the server, or to the mirror that serves for it now.

        Raises only cancellation.
        """
        mirror = self._mirror
        outcome = await self._post(mirror, fields, REPLY_BYTES + REPLY_BYTES_A_MESSAGE * messages)
        if isinstance(outcome, NoReply):
            self._avoid(mirror)
        return outcome

    def avoid(self, reply: Reply) -> None:
        """The reply can't be used: the next request goes to the next mirror."""
        self._avoid(reply.mirror)

    def _avoid(self, mirror: int) -> None:
        if self._mirror == mirror:  # or else another reply from there has said so already
            self._mirror = (mirror + 1) % len(self._urls)

    async def _post(self, mirror: int, fields: Mapping[str, str], most: int) -> Reply | NoReply:
        journey = _Journey()
        try:
            with anyio.move_on_after(self._timeout):
                return await self._exchange(mirror, fields, most, journey)
            return NoReply(self._how(None, journey), RequestTimeout(f"no whole answer within {self._timeout:g} s"))
        except Exception as caught:  # a transport of the user's own may raise anything
            how, cause = self._how(caught, journey), self._redactor.copy(caught)
            is_timeout = isinstance(caught, httpx.TimeoutException | TimeoutError)
        except BaseException as caught:  # cancellation: whoever prints it shall not see the frames from here on
            raise without_traceback(caught)  # noqa: B904 (it is the same one)
        kind = RequestTimeout if is_timeout and how is not RequestEnd.NOT_SENT else TransportError
        error = kind(f"no {'connection' if how is RequestEnd.NOT_SENT else 'whole answer'}: {reason(cause)}")
        error.__cause__ = cause
        return NoReply(how, error)

    def _how(self, caught: Exception | None, journey: _Journey) -> RequestEnd:
        """How a request without a reply has ended: by this error, or because its time was over."""
        if isinstance(caught, _NEVER_LEFT):
            return RequestEnd.NOT_SENT
        if self._has_own_connections and journey.is_known and not journey.has_left:
            return RequestEnd.NOT_SENT  # a proxy has refused, or connecting took too long
        if caught is not None and journey.is_closed_by_server(caught):
            return RequestEnd.REPLIED
        return RequestEnd.ABANDONED

    async def _exchange(self, mirror: int, fields: Mapping[str, str], most: int, journey: _Journey) -> Reply | NoReply:
        secrets = {name: secret.reveal() for name, secret in self._account.credentials.items()}
        form = urlencode({**secrets, **fields}).encode()
        url, transport = self._urls[mirror], self._transports[mirror]
        extensions = {**self._extensions, "trace": journey.note}
        request = httpx.Request("POST", url, headers=_HEADERS, content=form, extensions=extensions)
        async with aclosing(await transport.handle_async_request(request)) as response:
            logger.debug("POST %s: HTTP %d", url, response.status_code)
            status, headers = response.status_code, response.headers
            is_answer = status == 200  # any other status says all that there is to know
            if headers.get("content-encoding", "identity").lower() != "identity":
                if is_answer:
                    return _refused("a compressed reply, though none was asked for", status, headers)
                return Reply(status, headers, b"", mirror)
            body = bytearray()
            with anyio.CancelScope() as reading:
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > most:
                        # Leaving the loop would leave iterators unfinished, which trio minds: the next read ends them.
                        reading.cancel()
                        del body[most + 1 :]
            if len(body) > most and is_answer:
                return _refused(f"a reply over {most} bytes", status, headers)
            return Reply(status, headers, bytes(body), mirror)

    async def aclose(self) -> None:
        """Close every socket."""
        await _close(self._unclosed)
        await self._keeper.aclose()


async def _close(transports: list[httpx.AsyncBaseTransport]) -> None:
    while transports:
        await transports.pop().aclose()


async def _closing_with_the_loop(transports: list[httpx.AsyncBaseTransport]) -> AsyncGenerator[None, None]:
    """An event loop that ends closes its async generators, and so the sockets of a client that nobody closed."""
    try:
        yield
    finally:
        await _close(transports)


def _refused(what: str, status: int, headers: Mapping[str, str]) -> NoReply:
    return NoReply(RequestEnd.REPLIED, ProtocolError(what, status=status, retry_after=retry_after(headers)))


def _transports(
    account: Account, proxy: Secret | None, connections: int, trust: ssl.SSLContext
) -> list[httpx.AsyncBaseTransport]:
    """A transport for each address, the same one for all that are reached by the same way.

    The transports themselves, without `httpx.AsyncClient` around them: nothing of what that adds is wanted here
    (cookies, redirects, defaults to merge), and it takes a fifth of a request's time.
    """
    limits = httpx.Limits(
        max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=KEEPALIVE_EXPIRY
    )
    if proxy is not None and not isinstance(proxy.reveal(), str):
        raise ConfigError(f"proxy: expected a str, got a {type(proxy.reveal()).__name__}")
    ways = [environment_proxy(url) if proxy is None else Proxy(proxy, "proxy") for url in account.urls]
    found = {way: _transport(way, limits, trust) for way in dict.fromkeys(ways)}
    return [found[way] for way in ways]


def _transport(way: Proxy | None, limits: httpx.Limits, trust: ssl.SSLContext) -> httpx.AsyncBaseTransport:
    if way is None:
        return httpx.AsyncHTTPTransport(verify=trust, limits=limits)
    try:
        proxy = httpx.Proxy(way.url.reveal())
        if proxy.url.scheme == "https":
            proxy.ssl_context = trust
        return httpx.AsyncHTTPTransport(verify=trust, limits=limits, proxy=proxy)
    except ImportError:
        problem = "a SOCKS proxy needs the package socksio: expected it to be installed (pip install 'httpx[socks]')"
    except Exception as error:
        problem = f"{type(error).__name__}: expected the URL of a proxy, such as http://host:port or socks5://host:port"
    # Not raised while the other one is handled, which it would be chained to: its frames hold the URL and its password.
    raise ConfigError(f"{way.named_by}: {problem}")


def _trust() -> ssl.SSLContext:
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    try:
        return _system_trust(file, folder)
    except OSError as error:
        raise ConfigError(f"SSL_CERT_FILE {file!r}, SSL_CERT_DIR {folder!r}: {error}: expected certificates") from error


@functools.lru_cache(maxsize=1)
def _system_trust(file: str | None, folder: str | None) -> ssl.SSLContext:
    """Loading the trusted certificates takes longer than a request: once a process."""
    context = httpx.create_ssl_context()  # what the variables name, or else what certifi has
    if not file and not folder:
        context.load_default_certs()
    return context
