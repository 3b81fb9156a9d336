"""Fixtures for tests of code that asks SMSC for delivery statuses, as a plugin of pytest.

pytest imports this module at the start of each run, in every project that has smsc_status installed. So it imports
nothing but pytest, and stands beside the package: a module inside would load the package first. Each fixture imports
what it needs when a test first uses it. That also lets a coverage measurement of the package begin before its import.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from smsc_status import StatusClient
    from smsc_status.emulator import Emulator, EmulatorServer, Referee

_MARK = "smsc_may_break_limits"
_MOST_IDS = 5


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known, so that `--strict-markers` allows it."""
    config.addinivalue_line("markers", f"{_MARK}: this test passes even if it breaks a limit of smsc_emulator")


@pytest.fixture
def smsc_emulator(request: pytest.FixtureRequest) -> Iterator[Emulator]:
    """The vendor's server in this process, an `Emulator` with an empty world and the vendor's limits.

    The test fails at its teardown if a request broke a limit, unless it is marked `smsc_may_break_limits`.
    """
    from smsc_status.emulator import Emulator  # noqa: PLC0415 (see the module's docstring)

    emulator = Emulator()
    yield emulator
    if not emulator.referee.no_violations and request.node.get_closest_marker(_MARK) is None:
        pytest.fail(f"{_broken(emulator.referee)} A test that may do so is marked {_MARK}.", pytrace=False)


def _broken(referee: Referee) -> str:
    """Which limits were broken, and by which ids."""
    limits = ", ".join(f"{limit.value} ({times} times)" for limit, times in referee.refusals.items())
    told = f"limits of the server were broken: {limits}."
    for id, requests in list(referee.asked_too_often.items())[:_MOST_IDS]:
        told += f" {requests} requests named id {id} within {referee.period:g} s: at most {referee.checks_per_id} may."
    return told


@pytest.fixture
def smsc_client(smsc_emulator: Emulator) -> Iterator[StatusClient]:
    """A `StatusClient` of `smsc_emulator`, without a socket between. It keeps the emulator's limits and date.

    It is not open yet: it belongs to the event loop that first uses it, asyncio or trio. At the end it is closed.
    """
    import httpx  # noqa: PLC0415 (see the module's docstring)

    from smsc_status import StatusClient, _loops  # noqa: PLC0415 (likewise)

    client = StatusClient(
        apikey="demo-key",
        base_url="http://localhost",
        transport=httpx.ASGITransport(app=smsc_emulator),
        limits=smsc_emulator.client_limits(),
        wall_clock=smsc_emulator.wall_clock,
    )
    yield client
    # This fixture can't be async: which plugin would run it depends on the test. So the client is closed in its loop
    # from outside. A loop that has ended has closed it already, and a trio loop that goes on will do so at its end.
    _loops.run_between(client._engine.loop, client.aclose)


@pytest.fixture
def smsc_server(smsc_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmulatorServer]:
    """`smsc_emulator` on a free port of this machine. `StatusClient.from_env()` makes a client of it.

    The environment names the server's URL and API key. For a process that has its environment already, `url` has the
    former; the latter is `demo-key`. Needs the extra `emulator`, which the extra `testing` includes.
    """
    from smsc_status.emulator import EmulatorServer  # noqa: PLC0415 (see the module's docstring)

    with EmulatorServer(smsc_emulator) as server:
        for name in ("SMSC_LOGIN", "SMSC_PASSWORD", "SMSC_SHARE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("SMSC_APIKEY", "demo-key")
        monkeypatch.setenv("SMSC_BASE_URL", server.url)
        yield server
