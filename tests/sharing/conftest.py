"""Servers of Redis and Valkey for the tests here, and a fleet of processes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fleets import Fleet
from redis_servers import KINDS, Parrot, Proxy, Server

from smsc_status._sharing.redis import RedisStore


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Which server."""
    name: str = request.param
    return name


@pytest.fixture
def start(kind: str, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts a server of that kind."""
    servers: list[Server] = []

    def started(*options: str, fake_time: bool = False) -> Server:
        folder = tmp_path / str(len(servers))
        folder.mkdir()
        server = Server(kind, folder, *options, fake_time=fake_time)
        servers.append(server)
        return server

    yield started
    for server in servers:
        server.kill()


@pytest.fixture
def server(start: Callable[..., Server]) -> Server:
    """One that has just been started."""
    return start()


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    """One before that server."""
    proxy = Proxy(server.port)
    yield proxy
    proxy.close()


@pytest.fixture
def parrot() -> Iterator[Parrot]:
    """A server that is none."""
    parrot = Parrot(b"")
    yield parrot
    parrot.close()


@pytest.fixture
async def store_at(anyio_backend: Any) -> AsyncIterator[Callable[..., RedisStore]]:
    """Makes stores of the account `acc`, and closes them in the end."""
    stores: list[RedisStore] = []

    def made(url: str, **options: Any) -> RedisStore:
        stores.append(RedisStore(url, "acc", **options))
        return stores[-1]

    yield made
    for store in stores:
        await store.aclose()


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    """A server that counts, and processes that are to be started."""
    fleet = Fleet()
    try:
        yield fleet
    finally:
        fleet.end()
