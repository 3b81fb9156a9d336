"""One connection to a Redis or Valkey server, on asyncio and on trio.

hiredis handles the bytes, and anyio the sockets. A connection is opened by the first call. A call that fails or
is cancelled closes it, because its reply may still come; the next call opens another one. No task is kept running.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Callable
from typing import Any, Final, cast

import anyio
import hiredis
from anyio.abc import ByteStream

from smsc_status._sharing.redis_scripts import Script
from smsc_status._sharing.redis_url import Address
from smsc_status.errors import ConfigError, LimiterUnavailable, SmscError

TIMEOUT: Final = 5.0
"""Seconds within which a connection must be ready, or a command answered."""

RIGHTS: Final = "+evalsha +eval +info +time +exists +xadd +xrange +xrevrange +xread +xtrim +del (+select)"
"""The least rights that a user of the server needs, on the keys `smsc_status:*`."""

_CUT: Final = anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream
# A time-out and a failure of TLS are an OSError too.
_CONNECTION_ERRORS: Final = *_CUT, OSError, hiredis.ProtocolError

# What the server's refusals mean. Some versions wrap those of a command inside a script in a longer text.
_REFUSALS: Final = (
    (r"NOPERM|ACL failure|executing the script can't", f"the user may not do that: the least rights are {RIGHTS}"),
    (r"WRONGPASS|NOAUTH|invalid password|AUTH", "it does not accept the login"),
    (r"OOM", "it is out of memory (maxmemory)"),
    (r"READONLY", "it is a replica"),
    (r"LOADING", "it still loads its data"),
    (r"MASTERDOWN", "it is a replica whose master is down"),
    (r"MISCONF", "it can't save its data, so it takes no new data"),
    (r"NOREPLICAS", "no replica follows it, so it takes no new data"),
    (r"CLUSTERDOWN", "its cluster is down"),
    (r"TRYAGAIN|ASK \d", "its cluster moves the log to another server"),
    (r"BUSY", "a script of somebody else blocks it"),
    (r"unknown command|Unknown Redis command|syntax error|wrong number", "it is older than Redis 6.2"),
)
_MOVED: Final = re.compile(r"^MOVED \d+ (.*):(\d+)$")
_MAX_MOVES: Final = 5


class _Failure(Exception):
    """The connection failed, or did not answer in time. The text is for people."""


class _Cut(_Failure):
    """The other side has closed the connection."""


class Connection:
    """Calls commands one at a time. Any task of the event loop may call, and may close it."""

    def __init__(self, address: Address) -> None:
        self._home = self._address = address
        self._lock = anyio.Lock(fast_acquire=True)
        self._stream: ByteStream | None = None
        self._is_closed = False

    async def call(self, *command: bytes, block: float = 0.0, again: bool = False) -> Any:
        """The reply to a command, which may block the connection for `block` seconds.

        Use `again` for a command that may be executed twice. It is then sent again if the connection turns out to have
        been closed meanwhile, as servers do with idle ones.

        Raises:
            LimiterUnavailable: the server can't be reached, or refuses. The command may have been executed.
            ConfigError: the key holds something else.
        """
        return await self._locked(lambda: command, block, again)

    async def run(self, script: Script, key: bytes, arguments: Callable[[], list[bytes]], *, again: bool) -> Any:
        """The script's answer. The `arguments` are made immediately before the command is sent. Raises as `call`."""

        def by_hash() -> tuple[bytes, ...]:
            return b"EVALSHA", script.hash, b"1", key, *arguments()

        def by_text() -> tuple[bytes, ...]:
            return b"EVAL", script.text, b"1", key, *arguments()

        return await self._locked(by_hash, 0.0, again, by_text)

    async def aclose(self) -> None:
        """Close it for good."""
        self._is_closed = True
        await self._disconnect()

    async def _locked(
        self,
        command: Callable[[], tuple[bytes, ...]],
        block: float,
        again: bool,
        instead: Callable[[], tuple[bytes, ...]] | None = None,
    ) -> Any:
        async with self._lock:
            for _ in range(_MAX_MOVES):
                reply = await self._exchange(command, block, again)
                if not isinstance(reply, hiredis.ReplyError):
                    return reply
                refusal = str(reply)
                moved = _MOVED.match(refusal)
                if moved is not None:
                    # In a cluster only one server has the key. An empty host means: the same one.
                    await self._disconnect()
                    self._address = self._home.at(moved[1].strip("[]") or self._address.host, int(moved[2]))
                elif refusal.startswith("NOSCRIPT") and instead is not None:
                    command = instead
                else:
                    error = self._refused(refusal)
                    if "READONLY" in refusal:
                        # By now another server may be the master. It is found when the next connection is opened.
                        await self._disconnect()
                        self._address = self._home
                    raise error
            raise self._unavailable("the servers of its cluster name each other as the one that has the log")

    async def _exchange(self, command: Callable[[], tuple[bytes, ...]], block: float, again: bool) -> Any:
        may_repeat = again and self._stream is not None
        while True:
            try:
                stream = await self._connected()
                return await self._send(stream, command(), TIMEOUT + block)
            except _Failure as error:
                failure, is_cut = str(error), isinstance(error, _Cut)
            if not (may_repeat and is_cut):
                unavailable = self._unavailable(failure)
                self._address = self._home
                raise unavailable
            may_repeat = False

    async def _connected(self) -> ByteStream:
        if self._is_closed:
            raise self._unavailable("the connection has been closed here")
        if self._stream is not None:
            return self._stream
        if self._home.sentinel:
            stream = await self._opened(self._home)
            name = self._home.sentinel.encode()
            reply = await self._send(stream, (b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", name), TIMEOUT)
            await self._disconnect()
            match reply:
                case [bytes(host), bytes(port)] if port.isdigit():
                    self._address = self._home.at(host.decode(errors="replace"), int(port))
                case _:
                    raise _Failure(f"it is no Sentinel that knows {self._home.sentinel} and asks for no login")
        stream = await self._opened(self._address)
        if not await self._log_in(stream):
            await self._disconnect()
            raise self._unavailable("it does not accept the login")
        if self._address.db:
            reply = await self._send(stream, (b"SELECT", b"%d" % self._address.db), TIMEOUT)
            if isinstance(reply, hiredis.ReplyError):
                await self._disconnect()
                raise self._refused(str(reply))
        return stream

    async def _opened(self, address: Address) -> ByteStream:
        self._reader = hiredis.Reader(notEnoughData=_MORE)
        self._address = address
        try:
            with anyio.fail_after(TIMEOUT):
                self._stream = await _open(address)
        except _CONNECTION_ERRORS as error:
            failure = f"can't connect: {_why(error)}"
        else:
            return self._stream
        raise _Failure(failure)

    async def _log_in(self, stream: ByteStream) -> bool:
        # What this raises is replaced in `_exchange`, so no traceback leads to the password among the locals. The text
        # of the reply is not shown: a server that does not know the command quotes the arguments.
        address = self._address
        if not address.password:
            return True
        user = (address.username.encode(),) if address.username else ()
        reply = await self._send(stream, (b"AUTH", *user, address.password.encode()), TIMEOUT)
        return not isinstance(reply, hiredis.ReplyError)

    async def _send(self, stream: ByteStream, command: tuple[bytes, ...], timeout: float) -> Any:
        failure: _Failure | None = None
        is_answered = False
        try:
            with anyio.fail_after(timeout):
                await stream.send(hiredis.pack_command(cast("Any", command)))
                while (reply := self._reader.gets()) is _MORE:
                    self._reader.feed(await stream.receive())
            is_answered = True
        except _CONNECTION_ERRORS as error:
            failure = (_Cut if isinstance(error, _CUT) else _Failure)(_why(error))
        finally:
            if not is_answered:
                await self._disconnect()
        if failure is not None:
            raise failure
        return reply

    async def _disconnect(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            await anyio.aclose_forcefully(stream)

    def _refused(self, refusal: str) -> SmscError:
        if "WRONGTYPE" in refusal:
            return ConfigError(f"share: the key in {self._home.where} holds something else: expected a log")
        for pattern, meaning in _REFUSALS:
            if re.search(pattern, refusal):
                return self._unavailable(meaning)
        return self._unavailable(f"it refuses: {refusal}")

    def _unavailable(self, what: str) -> LimiterUnavailable:
        return LimiterUnavailable(f"the shared log at {self._address.name}: {what}")


_MORE: Final = object()


async def _open(address: Address) -> ByteStream:
    if address.path:
        return await anyio.connect_unix(address.path)
    if address.tls is None:
        return await anyio.connect_tcp(address.host, address.port)
    return await anyio.connect_tcp(address.host, address.port, ssl_context=address.tls, tls_standard_compatible=False)


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {TIMEOUT:g} s"
    if isinstance(error, _CUT):
        return "the connection was cut"
    if isinstance(error, hiredis.ProtocolError):
        return "what answers there is not such a server"
    # anyio puts what happened into the cause. asyncio's own text names the address once more.
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    if isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError) and (cause.errno or 0) > 0:
        return os.strerror(cause.errno or 0)
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
