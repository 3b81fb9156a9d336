"""The plugin of pytest: its fixtures work under each plugin for async tests, and fail a test that breaks a limit."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import subprocess
import sys
from datetime import timedelta

import anyio
import httpx
import pytest
from helpers import PHONE, delivered

import pytest_smsc_status
from smsc_status import StatusClient
from smsc_status.emulator import Emulator, EmulatorServer

PLUGIN = "-p", "pytest_smsc_status", "-p", "no:randomly", "-p", "no:cacheprovider"
NOT_ASYNC = *PLUGIN, "-p", "no:asyncio"

BREAKS_A_LIMIT = """
import pytest
from smsc_status.emulator import Kind

def break_a_limit(emulator):
    for at in range(3):
        emulator.referee.arrived([at], Kind.BULK, at=at, is_bulk=True)
        emulator.referee.left()

def test_that_breaks_a_limit(smsc_emulator):
    break_a_limit(smsc_emulator)

def test_that_asks_too_often(smsc_emulator):
    for at in range(7):
        smsc_emulator.referee.arrived([7, "ab"] if at else [7], Kind.SINGLE, at=at, is_bulk=False)
        smsc_emulator.referee.left()

@pytest.mark.smsc_may_break_limits
def test_that_may_break_a_limit(smsc_emulator):
    break_a_limit(smsc_emulator)

def test_that_breaks_none(smsc_emulator):
    assert not len(smsc_emulator.world)
"""

USES_THE_CLIENT = """
import gc
import pytest
from smsc_status import ConfigError

async def use(smsc_emulator, smsc_client):
    refs = smsc_emulator.world.populate(20, now=smsc_emulator.now())
    async for outcome in smsc_client.stream(refs):
        break
    assert (await smsc_client.check(refs[0].id, refs[0].phone)).is_found
    gc.collect()
"""

UNDER_PYTEST_ASYNCIO = """
import asyncio

@MARK
async def test_it(smsc_emulator, smsc_client):
    await use(smsc_emulator, smsc_client)

@MARK
async def test_with_the_client_closed(smsc_emulator, smsc_client):
    async with smsc_client:
        await use(smsc_emulator, smsc_client)

earlier = []

@pytest.mark.asyncio(loop_scope="module")
async def test_in_a_loop_that_goes_on(smsc_emulator, smsc_client):
    await use(smsc_emulator, smsc_client)
    earlier.append(smsc_client)

@pytest.mark.asyncio(loop_scope="module")
async def test_that_the_earlier_client_is_closed(smsc_client):
    assert len(asyncio.all_tasks()) == 1
    with pytest.raises(ConfigError, match="closed"):
        await earlier[0].check(1, "79990000000")
"""

UNDER_ANYIO = """
@pytest.fixture(scope="module")
async def lease(anyio_backend):
    yield

@pytest.mark.anyio
async def test_it(smsc_emulator, smsc_client):
    await use(smsc_emulator, smsc_client)

@pytest.mark.anyio
async def test_in_a_loop_that_goes_on(lease, smsc_emulator, smsc_client):
    await use(smsc_emulator, smsc_client)
"""

WITHOUT_A_PLUGIN = """
import asyncio, trio

def test_in_several_loops(smsc_emulator, smsc_client):
    asyncio.run(use(smsc_emulator, smsc_client))
    trio.run(use, smsc_emulator, smsc_client)

def test_unused(smsc_client):
    pass
"""


@pytest.mark.slow
def test_the_module_loads_nothing_but_itself_beside_pytest() -> None:
    """pytest imports it at the start of each run, in projects that do not use it too."""
    code = "import sys, pytest; before = set(sys.modules); import pytest_smsc_status; print(set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "{'pytest_smsc_status'}\n"


def test_the_module_runs_once_more_under_measurement() -> None:
    """pytest has imported it before the coverage measurement began, so this is where its lines are measured."""
    name, file = pytest_smsc_status.__name__, pytest_smsc_status.__file__
    spec = importlib.util.spec_from_file_location(name, file)  # its own name: by that it is known what is measured
    assert spec is not None
    assert spec.loader is not None
    measured = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(measured)
    fixtures = {name for name in vars(measured) if name.startswith("smsc_")}
    assert fixtures == {"smsc_client", "smsc_emulator", "smsc_server"}


@pytest.mark.anyio
async def test_time_moves_for_the_world_and_for_the_client(smsc_emulator: Emulator, smsc_client: StatusClient) -> None:
    """Six checks of an id within a minute are one too many, but not when a minute has passed."""
    life = [(0, -1), (3600, 1, 0)]
    smsc_emulator.world.add(7, PHONE, sent_at=smsc_emulator.now(), life=life)
    for _ in range(5):
        assert (await smsc_client.check(7, PHONE)).status == -1
    smsc_emulator.advance(3600)
    began_at = anyio.current_time()
    assert (await smsc_client.check(7, PHONE)).is_delivered
    assert anyio.current_time() - began_at < 1


@pytest.mark.anyio
async def test_a_record_s_date_is_the_emulator_s(smsc_emulator: Emulator, smsc_client: StatusClient) -> None:
    """After a jump as before it; and it is the date at which the record came."""
    (ref,) = delivered(smsc_emulator, [1])
    first = await smsc_client.check(ref.id, ref.phone)
    assert abs(first.checked_at - smsc_emulator.wall_clock()) < timedelta(seconds=1)
    smsc_emulator.advance(86_400)
    second = await smsc_client.check(ref.id, ref.phone)
    assert abs(second.checked_at - smsc_emulator.wall_clock()) < timedelta(seconds=1)
    assert second.checked_at - first.checked_at >= timedelta(days=1)


@pytest.mark.asyncio
async def test_in_real_time_the_world_moves_too(smsc_emulator: Emulator, smsc_client: StatusClient) -> None:
    """A test that does not know of virtual time need not wait."""
    smsc_emulator.world.add(7, PHONE, sent_at=smsc_emulator.now(), life=[(0, -1), (3600, 1, 0)])
    assert not (await smsc_client.check(7, PHONE)).is_final
    smsc_emulator.advance(3600)
    record = await smsc_client.check(7, PHONE)
    assert record.is_delivered
    assert abs(record.checked_at - smsc_emulator.wall_clock()) < timedelta(minutes=30)


def test_the_client_keeps_the_limits_and_the_speed_of_an_emulator_of_one_s_own(pytester: pytest.Pytester) -> None:
    """A project may have its own fixture of that name, faster or with other limits."""
    pytester.makeconftest(
        "import pytest; from smsc_status.emulator import Emulator, Referee\n"
        "@pytest.fixture\ndef smsc_emulator(): return Emulator(speed=60, referee=Referee(checks_per_id=2))"
    )
    pytester.makepyfile(
        "def test_it(smsc_client):\n    limits = smsc_client._engine.limits\n"
        "    assert (limits.period, limits.checks_per_id) == (1, 2)"
    )
    pytester.runpytest_inprocess(*NOT_ASYNC).assert_outcomes(passed=1)


def test_the_server_is_the_one_that_the_environment_names(
    smsc_server: EmulatorServer, smsc_emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It serves the world of `smsc_emulator`."""
    assert smsc_server.emulator is smsc_emulator
    delivered(smsc_emulator, [1])
    assert os.environ["SMSC_BASE_URL"] == smsc_server.url

    async def main() -> bool:
        async with StatusClient.from_env() as client:
            return (await client.check(1, PHONE)).is_delivered

    assert asyncio.run(main())
    assert httpx.get(f"{smsc_server.url}/emulator/stats", trust_env=False).json()["requests"]["single"] == 1


@pytest.fixture
def account_of_one_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMSC_LOGIN", "mine")
    monkeypatch.setenv("SMSC_PASSWORD", "mine")
    monkeypatch.setenv("SMSC_SHARE", "redis://production")


@pytest.mark.usefixtures("account_of_one_s_own", "smsc_server")
def test_the_server_hides_the_account_that_the_environment_names() -> None:
    """Two kinds of credentials would be an error, and the real account's limits are nobody's business here."""
    assert not {"SMSC_LOGIN", "SMSC_PASSWORD", "SMSC_SHARE"} & set(os.environ)
    StatusClient.from_env()


def test_a_test_that_breaks_a_limit_fails_at_its_teardown_unless_it_is_marked(pytester: pytest.Pytester) -> None:
    """It says which limit, and which id. The mark is a known one."""
    pytester.makepyfile(BREAKS_A_LIMIT)
    result = pytester.runpytest_inprocess(*NOT_ASYNC, "--strict-markers")
    result.assert_outcomes(passed=4, errors=2)
    result.stdout.fnmatch_lines(
        [
            "*ERROR at teardown of test_that_breaks_a_limit*",
            "*limits of the server were broken: bulk_requests (2 times)*",
            "*ERROR at teardown of test_that_asks_too_often*",
            "*limits of the server were broken: checks_per_id (2 times).*"
            " 7 requests named id 7 within 60 s: at most 5 may.*",
        ]
    )


def test_the_fixtures_and_the_mark_explain_themselves(pytester: pytest.Pytester) -> None:
    """Where pytest lists them."""
    pytester.runpytest_inprocess(*NOT_ASYNC, "--markers").stdout.fnmatch_lines(
        ["@pytest.mark.smsc_may_break_limits: *"]
    )
    listed = pytester.runpytest_inprocess(*NOT_ASYNC, "--fixtures")
    listed.stdout.fnmatch_lines_random([f"smsc_{name} -- *" for name in ("client", "emulator", "server")])


def test_a_project_s_own_fixture_of_the_same_name_is_used(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("import pytest\n@pytest.fixture\ndef smsc_client(): return 'mine'")
    pytester.makepyfile("def test_it(smsc_client): assert smsc_client == 'mine'")
    pytester.runpytest_inprocess(*NOT_ASYNC).assert_outcomes(passed=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "code", "passed"),
    [
        ("strict", UNDER_PYTEST_ASYNCIO.replace("MARK", "pytest.mark.asyncio"), 4),
        ("auto", UNDER_PYTEST_ASYNCIO.replace("@MARK", "") + WITHOUT_A_PLUGIN, 6),
        ("strict", UNDER_ANYIO, 4),
    ],
    ids=["asyncio-strict", "asyncio-auto-and-none", "anyio"],
)
def test_the_client_works_under_each_plugin_without_a_warning(
    pytester: pytest.Pytester, mode: str, code: str, passed: int
) -> None:
    """No task, socket or async generator is left behind."""
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function")
    pytester.makepyfile(USES_THE_CLIENT + code)
    result = pytester.runpytest_subprocess(*PLUGIN, f"--asyncio-mode={mode}", "-W", "error", timeout=60)
    result.assert_outcomes(passed=passed)
    assert "never awaited" not in result.stderr.str()
    assert "pending" not in result.stderr.str()
