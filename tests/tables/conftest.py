"""The databases of the tests: SQLite always, and one PostgreSQL and one MariaDB server for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
import sqlalchemy as sa
from anyio.lowlevel import checkpoint
from database_servers import MariaDBServer, PostgresServer, mariadb, postgres
from helpers import loop_by_turns
from trio.testing import MockClock
from virtual import VirtualLoop

from smsc_status.tables import _threads


@pytest.fixture
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Each case has one of the loops, because what tables do does not depend on the loop (see `loop_by_turns`)."""
    if loop_by_turns(crc32(request.node.name.encode())) == "asyncio":
        return "asyncio", {"loop_factory": VirtualLoop}
    return "trio", {"clock": MockClock(autojump_threshold=0)}


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    with postgres() as server:
        yield server


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MariaDBServer]:
    with mariadb() as server:
        yield server


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls to the database block the loop, because virtual time would go on while a thread works."""

    async def in_thread(work: Callable[[], Any]) -> Any:
        await checkpoint()
        return work()

    monkeypatch.setattr(_threads, "in_thread", in_thread)


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[sa.Engine]:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'app.db'}")
    yield engine
    engine.dispose()


@pytest.fixture
def postgresql(postgres_server: PostgresServer) -> Iterator[sa.Engine]:
    """An empty database."""
    engine = sa.create_engine(postgres_server.url)
    yield engine
    with engine.begin() as connection:
        connection.execute(sa.text("drop schema public cascade"))
        connection.execute(sa.text("create schema public"))
    engine.dispose()


@pytest.fixture
def mysql(mariadb_server: MariaDBServer) -> Iterator[sa.Engine]:
    """An empty database of MariaDB, which is used as one of MySQL is."""
    engine = sa.create_engine(mariadb_server.url)
    yield engine
    with engine.begin() as connection:
        for name in sa.inspect(connection).get_table_names():
            connection.execute(sa.text(f"drop table {name}"))
    engine.dispose()


@pytest.fixture(
    params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow), pytest.param("mysql", marks=pytest.mark.slow)]
)
def engine(request: pytest.FixtureRequest) -> sa.Engine:
    """An empty database, of each kind."""
    engine: sa.Engine = request.getfixturevalue(request.param)
    return engine
