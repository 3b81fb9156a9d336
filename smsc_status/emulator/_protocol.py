"""Sets up uvicorn so that connections are counted and can be cut. Only this module needs the extra `emulator`."""

from __future__ import annotations

import asyncio
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from smsc_status.emulator._app import Connections


def make_server(app: Any, connections: Connections, clients: dict[Any, asyncio.Transport]) -> uvicorn.Server:
    """A server that keeps `connections` up to date, and keeps the open transports in `clients`, by client address."""

    class CountingProtocol(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn says so too
            super().connection_made(transport)
            connections.made()
            clients[self.client] = transport

        def connection_lost(self, exc: Exception | None) -> None:
            clients.pop(self.client, None)
            connections.lost()
            super().connection_lost(exc)

    config = uvicorn.Config(
        app,
        interface="asgi3",
        proxy_headers=False,
        http=CountingProtocol,
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,  # the emulator sends the date of its own clock
        timeout_graceful_shutdown=1,
    )
    return uvicorn.Server(config)
