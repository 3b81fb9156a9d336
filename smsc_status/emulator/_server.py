"""Serves the emulator on a real port with uvicorn (the extra `emulator`)."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import anyio

from smsc_status.emulator._app import Emulator, Receive, Scope, Send
from smsc_status.emulator._faults import ConnectionCut
from smsc_status.errors import ConfigError

if TYPE_CHECKING:
    import uvicorn


class EmulatorServer:
    """Serves an emulator on a port, in a thread of its own, while its `with` block runs.

    ```python
    with EmulatorServer(Emulator(seed=1)) as server:
        print(server.url)  # http://127.0.0.1:49321
    ```

    While it runs, the emulator's time goes by `time.monotonic`, so `emulator.now()` works in any thread. At the end,
    requests that are still open are cut. A server can run only once.

    Args:
        emulator: the app to serve.
        host: an address of this machine.
        port: the port; 0 takes a free one (see `url`).
        allow_remote: whether an address that other machines can reach is allowed.

    Raises:
        ConfigError: uvicorn is not installed, or other machines could reach `host`.
        OSError: the port can't be taken.
    """

    def __init__(
        self, emulator: Emulator, host: str = "127.0.0.1", port: int = 0, *, allow_remote: bool = False
    ) -> None:
        if not allow_remote and not _is_loopback(host):
            raise ConfigError(f"host {host!r}: expected a loopback address, or allow_remote=True")
        self.emulator = emulator
        self._host = host
        self._clients: dict[Any, asyncio.Transport] = {}
        self._scopes: set[anyio.CancelScope] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = Thread(target=self._run, name="smsc-emulator", daemon=True)
        self._server = self._uvicorn()
        self._socket = _bind(host, port)
        self.port: int = self._socket.getsockname()[1]

    @property
    def url(self) -> str:
        """The base URL, without a final slash."""
        return f"http://[{self._host}]:{self.port}" if ":" in self._host else f"http://{self._host}:{self.port}"

    @property
    def peak_connections(self) -> int:
        """The largest number of TCP connections that were open at one time, idle ones included."""
        return self.emulator.connections.peak

    @property
    def total_connections(self) -> int:
        """How many TCP connections have been made."""
        return self.emulator.connections.total

    def stats(self) -> dict[str, object]:
        """The emulator's counts so far, which are also served at `/emulator/stats`."""
        return self.emulator.stats()

    def __enter__(self) -> Self:
        self.emulator.clock.use(time.monotonic)
        self._thread.start()
        self._await_start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        self._thread.join()
        self._socket.close()

    def run(self, started: Callable[[str], object] | None = None) -> None:
        """Serve in the present thread until it is interrupted. `started` is called with the URL first."""
        self.emulator.clock.use(time.monotonic)
        if started is not None:
            started(self.url)
        try:
            with suppress(KeyboardInterrupt):
                self._run()
        finally:
            self._socket.close()

    def stop(self) -> None:
        """End `run`, and cut the requests that are still open. It may be called from any thread."""
        self._server.should_exit = True
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop may have ended already
                self._loop.call_soon_threadsafe(self._cut_all)

    def _await_start(self) -> None:
        while not self._server.started:
            if not self._thread.is_alive():
                self._socket.close()
                raise RuntimeError("the emulator's server did not start")
            time.sleep(0.002)

    def _run(self) -> None:
        self._server.run(sockets=[self._socket])

    def _uvicorn(self) -> uvicorn.Server:
        try:
            from smsc_status.emulator import _protocol  # noqa: PLC0415 - uvicorn is an extra
        except ImportError as error:
            raise ConfigError("the emulator's server needs uvicorn: pip install 'smsc-status[emulator]'") from error
        return _protocol.make_server(self._app, self.emulator.connections, self._clients)

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The emulator. If it cuts the connection, the socket is closed."""
        self._loop = asyncio.get_running_loop()
        with anyio.CancelScope() as cancel_scope:
            self._scopes.add(cancel_scope)
            try:
                await self.emulator(scope, receive, send)
            except ConnectionCut:
                cancel_scope.cancel()
            finally:
                self._scopes.discard(cancel_scope)
        if cancel_scope.cancel_called:
            await self._cut(scope["client"], receive)

    async def _cut(self, client: object, receive: Receive) -> None:
        transport = self._clients.get(client)
        if transport is not None:
            transport.abort()
        # If the app ends without an answer, uvicorn sends one of its own, unless it knows that the client is gone. So
        # wait until it knows.
        is_gone = False
        while not is_gone:
            is_gone = (await receive())["type"] == "http.disconnect"

    def _cut_all(self) -> None:
        for scope in self._scopes:
            scope.cancel()


def serve(
    emulator: Emulator,
    host: str = "127.0.0.1",
    port: int = 8025,
    *,
    allow_remote: bool = False,
    started: Callable[[str], object] | None = None,
) -> None:
    """Serve an emulator in the present thread until Ctrl-C. `started` is called with the URL once the port is taken.

    Raises:
        ConfigError: uvicorn is not installed, or other machines could reach `host`.
        OSError: the port can't be taken.
    """
    EmulatorServer(emulator, host, port, allow_remote=allow_remote).run(started)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family)
