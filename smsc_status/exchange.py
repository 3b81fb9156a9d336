"""One request, one reply: the only module that imports httpx.

The credentials are put into the body here, in the last moment. Nothing that holds them leaves this module: not in an
exception, not in a traceback's frames.
"""

from __future__ import annotations

import functools
import ssl
from collections.abc import AsyncGenerator, Mapping
from typing import Any
from urllib.parse import urlencode

import anyio
import attrs
import httpx

from smsc_status.account import Account, Secret
from smsc_status.core.pacing import Settlement
from smsc_status.core.protocol import PATH
from smsc_status.errors import ConfigError, ProtocolError, RequestTimeout, SmscError, TransportError

MAX_REPLY_BYTES = 32 * 2**20
"""A longer reply is refused while it is read: a thousand messages at the highest level take about half a megabyte."""

# Raised before a byte of the request is written.
_NEVER_LEFT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


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
        self._place = 0
        self._urls = [httpx.URL(url + PATH) for url in account.urls]
        try:
            self._http = httpx.AsyncClient(
                transport=transport,
                proxy=None if proxy is None else proxy.reveal(),
                verify=True if transport is not None else _tls(),
                # A host that takes half of the time to shake hands is down; told so, the request surely never left.
                timeout=httpx.Timeout(timeout, connect=timeout / 2),
                limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
                # What is sent compressed would have to be read with care; half a megabyte a minute needs none.
                headers={"accept-encoding": "identity", "user-agent": "smsc_status"},
                follow_redirects=False,
            )
        except (ValueError, TypeError, ImportError) as error:
            raise ConfigError(f"proxy: {type(error).__name__}: expected an URL that httpx can use") from None
        self._keeper = _closing_with_the_loop(self._http)

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

    async def post(self, fields: Mapping[str, str]) -> Reply | Lost:
        """Send the fields to the server, or to the mirror that serves for it now; raises only cancellation."""
        place = self._place
        outcome = await self._post(self._urls[place], fields)
        if isinstance(outcome, Lost) or not outcome.body.strip():
            self._place = (place + 1) % len(self._urls)
        return outcome

    async def _post(self, url: httpx.URL, fields: Mapping[str, str]) -> Reply | Lost:
        cause: BaseException | None = None
        error: SmscError
        try:
            with anyio.move_on_after(self._timeout):
                return await self._exchange(url, fields)
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

    async def _exchange(self, url: httpx.URL, fields: Mapping[str, str]) -> Reply:
        secrets = {name: secret.reveal() for name, secret in self._account.credentials.items()}
        form = urlencode({**secrets, **fields}).encode()
        headers = {"content-type": "application/x-www-form-urlencoded"}
        async with self._http.stream("POST", url, content=form, headers=headers) as response:
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
                    if len(body) > MAX_REPLY_BYTES:
                        # Leaving the loop would leave iterators unfinished, which trio minds: the next read ends them.
                        reading.cancel()
                        del body[MAX_REPLY_BYTES + 1 :]
            if len(body) > MAX_REPLY_BYTES and is_answer:
                raise ProtocolError(f"a reply over {MAX_REPLY_BYTES} bytes", status=status)
            return Reply(status, response.headers, bytes(body))

    async def aclose(self) -> None:
        """Close every socket."""
        await self._http.aclose()
        await self._keeper.aclose()


@functools.cache
def _tls() -> ssl.SSLContext:
    """Loading the trusted certificates takes longer than a request: once a process."""
    return httpx.create_ssl_context()


async def _closing_with_the_loop(http: httpx.AsyncClient) -> AsyncGenerator[None, None]:
    """An event loop that ends closes its async generators, and so the sockets of a client that nobody closed."""
    try:
        yield
    finally:
        if not http.is_closed:
            await http.aclose()


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
