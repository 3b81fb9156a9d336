"""One request, one reply: the only module that imports httpx.

The credentials are put into the body here, in the last moment. Nothing that holds them leaves this module: not in an
exception, not in a traceback's frames.
"""

from __future__ import annotations

import functools
import logging
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any
from urllib.parse import urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import anyio
import attrs
import httpx

from smsc_status.account import Account, Secret
from smsc_status.core.pacing import Settlement
from smsc_status.core.protocol import PATH
from smsc_status.errors import ConfigError, ProtocolError, RequestTimeout, SmscError, TransportError

REPLY_BYTES = 2**21
REPLY_BYTES_A_MESSAGE = 2**15
"""A reply is refused while it is read if it is longer than the one, and the other for each message that it is about.

At the highest level a message takes half a kilobyte without its text; that of an e-mail may be long, and takes six
times its length if it is escaped letter by letter.
"""

# Raised before a byte of the request is written.
_NEVER_LEFT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)

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


@attrs.frozen
class Lost:
    """No reply: how the request ended, as far as the limits care, and the error that says why."""

    how: Settlement
    error: SmscError


class Exchange:
    """A client's connections to its server: at most `connections` sockets, idle ones included."""

    def __init__(
        self,
        account: Account,
        *,
        timeout: float,
        connections: int,
        transport: httpx.AsyncBaseTransport | None,
        proxy: Secret | None,
    ) -> None:
        self._account = account
        self._timeout = timeout
        # A host that takes half of the time to shake hands is down; told so, the request surely never left.
        self._extensions = {"timeout": httpx.Timeout(timeout, connect=timeout / 2).as_dict()}
        self._place = 0
        self._urls = [httpx.URL(url + PATH) for url in account.urls]
        try:
            self._transports = [transport] * len(self._urls) if transport else _transports(account, proxy, connections)
        except (ValueError, TypeError, ImportError) as error:
            raise ConfigError(f"proxy: {type(error).__name__}: expected an URL that httpx can use") from None
        self._unclosed = list(dict.fromkeys(self._transports))
        self._keeper = _closing_with_the_loop(self._unclosed)

    async def opened(self) -> None:
        """To be called once, in the event loop that is to be used."""
        await self._keeper.__anext__()

    @property
    def places(self) -> int:
        """How many addresses there are to try: the first and its mirrors."""
        return len(self._urls)

    def hide_secrets(self, error: BaseException) -> None:
        """A reply or a transport may echo the request: take the credentials out of what an error says."""
        for link in _chain(error):
            link.args = self._without_secrets(link.args)
            for name, value in list(vars(link).items()):
                if isinstance(value, str | bytes | tuple | list | dict):
                    setattr(link, name, self._without_secrets(value))

    def _without_secrets(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._account.hidden(value)
        if isinstance(value, bytes):
            return self._account.hidden(value.decode(errors="replace")).encode()
        if isinstance(value, tuple | list):
            inner = [self._without_secrets(item) for item in value]
            return tuple(inner) if isinstance(value, tuple) else inner
        if isinstance(value, dict):
            return {name: self._without_secrets(item) for name, item in value.items()}
        return value

    async def post(self, fields: Mapping[str, str], *, messages: int) -> Reply | Lost:
        """Send the fields, which are about so many messages, to the server, or to the mirror that serves for it now.

        Raises only cancellation.
        """
        place = self._place
        outcome = await self._post(place, fields, REPLY_BYTES + REPLY_BYTES_A_MESSAGE * messages)
        if isinstance(outcome, Lost) or not outcome.body.strip():
            self._place = (place + 1) % len(self._urls)
        return outcome

    async def _post(self, place: int, fields: Mapping[str, str], most: int) -> Reply | Lost:
        cause: BaseException | None = None
        error: SmscError
        try:
            with anyio.move_on_after(self._timeout):
                return await self._exchange(place, fields, most)
            error, how = RequestTimeout(f"no whole answer within {self._timeout:g} s"), Settlement.GIVEN_UP
        except _NEVER_LEFT as caught:
            cause, how = caught, Settlement.NEVER_LEFT
            error = TransportError(f"no connection: {_reason(caught)}")
        except (httpx.TimeoutException, TimeoutError) as caught:
            cause, how = caught, Settlement.GIVEN_UP
            error = RequestTimeout(f"no whole answer: {_reason(caught)}")
        except ProtocolError as caught:
            error, how = ProtocolError(caught.reason, status=caught.status), Settlement.REPLIED
        except Exception as caught:  # a transport of the user's own may raise anything
            cause, how = caught, Settlement.GIVEN_UP
            error = TransportError(f"no whole answer: {_reason(caught)}")
        if cause is not None:
            for link in _chain(cause):
                link.__traceback__ = None  # its frames hold the request's body
            error.__cause__ = cause
        self.hide_secrets(error)
        return Lost(how, error)

    async def _exchange(self, place: int, fields: Mapping[str, str], most: int) -> Reply:
        secrets = {name: secret.reveal() for name, secret in self._account.credentials.items()}
        form = urlencode({**secrets, **fields}).encode()
        url, transport = self._urls[place], self._transports[place]
        request = httpx.Request("POST", url, headers=_HEADERS, content=form, extensions=self._extensions)
        async with aclosing(await transport.handle_async_request(request)) as response:
            logger.debug("POST %s: HTTP %d", url, response.status_code)
            status = response.status_code
            is_answer = status == 200  # any other status says all that there is to know
            if response.headers.get("content-encoding", "identity").lower() != "identity":
                if is_answer:
                    raise ProtocolError("a compressed reply, though none was asked for", status=status)
                return Reply(status, response.headers, b"")
            body = bytearray()
            with anyio.CancelScope() as reading:
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > most:
                        # Leaving the loop would leave iterators unfinished, which trio minds: the next read ends them.
                        reading.cancel()
                        del body[most + 1 :]
            if len(body) > most and is_answer:
                raise ProtocolError(f"a reply over {most} bytes", status=status)
            return Reply(status, response.headers, bytes(body))

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


def _transports(account: Account, proxy: Secret | None, connections: int) -> list[httpx.AsyncBaseTransport]:
    """A transport for each address, the same one for all that are reached by the same way.

    The transports themselves, without `httpx.AsyncClient` around them: nothing of what that adds is wanted here
    (cookies, redirects, defaults to merge), and it takes a fifth of a request's time.
    """
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    found: dict[str | None, httpx.AsyncBaseTransport] = {}
    ways = [environment_proxy(url) if proxy is None else proxy.reveal() for url in account.urls]
    for way in ways:
        if way not in found:
            found[way] = httpx.AsyncHTTPTransport(verify=_tls(), limits=limits, proxy=way)
    return [found[way] for way in ways]


def environment_proxy(url: str) -> str | None:
    """The URL of the proxy that the environment names for this one (`HTTPS_PROXY`, `NO_PROXY` and the like)."""
    parts = urlsplit(url)
    known = getproxies()
    proxy = known.get(parts.scheme) or known.get("all")
    if not proxy or proxy_bypass(parts.netloc):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


@functools.cache
def _tls() -> ssl.SSLContext:
    """Loading the trusted certificates takes longer than a request: once a process."""
    return httpx.create_ssl_context()


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _chain(error: BaseException) -> list[BaseException]:
    """The error, all that it is chained to, and the members of groups."""
    found: dict[int, BaseException] = {}
    left: list[BaseException | None] = [error]
    while left:
        link = left.pop()
        if link is not None and id(link) not in found:
            found[id(link)] = link
            left += [link.__cause__, link.__context__]
            left += getattr(link, "exceptions", ())
    return list(found.values())
