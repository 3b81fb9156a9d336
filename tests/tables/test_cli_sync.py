"""The command `sync`, and its answers to probes."""

from __future__ import annotations

import json
import logging
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest
import sqlalchemy as sa
from helpers import client_of
from table_support import IN, OUT, Office, until

import smsc_status.tables
from smsc_status import ConfigError
from smsc_status.cli import _health
from smsc_status.cli import _sync as command
from smsc_status.cli._app import run
from smsc_status.cli._exits import Exit
from smsc_status.cli._health import address_of, answering, health_pages
from smsc_status.cli._meters import Quiet
from smsc_status.tables._tally import Doing

pytestmark = pytest.mark.anyio


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMSC_APIKEY", "demo-key")
    monkeypatch.setenv("SMSC_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.delenv("DATABASE_URL", raising=False)


def following(**options: Any) -> command.Following:
    defaults = {"once": False, "detail": None, "eagerness": 0.5, "expire_after": 172_800.0}
    return command.Following(**{"health": None, "metrics": None} | defaults | options)


class Saying(Quiet):
    """Keeps what is shown."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.said: list[str] = []

    def show(self, done: int, total: int | None, note: str) -> None:
        self.shown.append(f"{done} of {total}: {note}")

    def say(self, text: str) -> None:
        self.said.append(text)


def run_of(office: Office, **options: Any) -> command.Run:
    return command.Run(
        client=office.client, metrics=None, sync=office.sync(), options=following(**options), meter=Saying()
    )


async def ran(work: command.Run) -> Exit:
    """How it ends, in the test's event loop. The public `run` would start a loop of its own."""
    return await work._run()


def meter_of(work: command.Run) -> Saying:
    assert isinstance(work.meter, Saying)
    return work.meter


# The command.


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "DATABASE_URL"),
        (["sqlite:///x.db"], "--table"),
        (["sqlite:///x.db", "--table", "t", "--column", "id"], "--column 'id': expected FIELD=COLUMN"),
        (["sqlite:///x.db", "--table", "t", "--column", "nonsense=x"], "field 'nonsense': expected one of"),
        (["sqlite:///x.db", "--table", "t", "--health", "8080"], "--health '8080': expected HOST:PORT"),
        (["sqlite:///x.db", "--table", "t", "--health", "127.0.0.1:99999"], "expected HOST:PORT"),
        (["sqlite:///x.db", "--table", "t", "--where", " "], "where ' ': expected a condition"),
        (["nonsense", "--table", "t"], "the database's URL can't be read"),
    ],
)
def test_wrong_usage_is_told_in_one_line(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["sync", *arguments]) == Exit.USAGE
    line = capsys.readouterr().err
    assert expected in line
    assert line.count("\n") == 1


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize("option", ["--health", "--metrics"])
def test_an_address_that_is_taken_is_told_in_one_line(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path / 'app.db'}"
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text(f"create table messages ({IN}, {OUT})"))
    engine.dispose()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run(["sync", url, "--table", "messages", option, f"127.0.0.1:{port}"]) == Exit.USAGE
    *_, line = capsys.readouterr().err.splitlines()
    assert line.startswith(f"smsc-status: 127.0.0.1, port {port}: can't listen there: ")
    assert line.endswith("; see smsc-status sync --help")


@pytest.mark.usefixtures("account")
def test_a_table_that_cannot_be_used_ends_the_command(sqlite: sa.Engine, capsys: pytest.CaptureFixture[str]) -> None:
    with sqlite.begin() as connection:
        connection.execute(sa.text("create table t (id integer primary key, phone text)"))
    url = sqlite.url.render_as_string()
    assert run(["sync", url, "--table", "t"]) == Exit.USAGE
    assert "ALTER TABLE t ADD COLUMN status" in capsys.readouterr().err
    assert run(["sync", f"{url}/no/x.db", "--table", "t"]) == Exit.NETWORK
    assert "check DATABASE_URL" in capsys.readouterr().err


@pytest.mark.usefixtures("account")
def test_an_empty_table_is_checked_once(sqlite: sa.Engine, capsys: pytest.CaptureFixture[str]) -> None:
    with sqlite.begin() as connection:
        connection.execute(sa.text("create table t (id integer primary key, phone text, cost real)"))
    url = sqlite.url.render_as_string()
    columns = ["--create-columns", "--column", "err="]
    assert run(["sync", url, "--table", "t", "--once", *columns]) == Exit.DONE
    said = capsys.readouterr().err
    assert "writes also cost" in said
    assert "needs an index" in said
    assert "0 rows ended" in said
    assert run(["sync", url, "--table", "t", "--once", "--json", *columns]) == Exit.DONE
    assert json.loads(capsys.readouterr().out)["exit"] == 0


def test_without_sqlalchemy_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("smsc_status.tables")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    with pytest.raises(ConfigError, match=r"pip install 'smsc-status\[sql\]'"):
        __import__("smsc_status.tables")


def test_where_no_signals_can_be_received_ctrl_c_ends_it(sqlite: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(anyio, "run", interrupted)
    made = command.Run(client=None, metrics=None, sync=None, options=following(), meter=Saying())  # type: ignore[arg-type]  # unused
    assert made.carry_out() == Exit.INTERRUPTED


@pytest.mark.slow
@pytest.mark.measured
@pytest.mark.usefixtures("inline")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, Exit.DONE), (signal.SIGINT, Exit.INTERRUPTED)])
async def test_a_signal_ends_it(sqlite: sa.Engine, number: signal.Signals, status: Exit) -> None:
    office = Office(sqlite)
    office.insert(1)
    work = run_of(office, health=("127.0.0.1", 0))

    async def end() -> None:
        await until(lambda: office.outcome(1))
        await until(lambda: any("1 changes written" in shown for shown in meter_of(work).shown))
        signal.raise_signal(number)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(end)
        assert await ran(work) == status
    assert work.summary(status)["outcomes"] == {"Delivered": 1}


@pytest.mark.usefixtures("inline")
async def test_a_signal_that_comes_before_the_work_begins_ends_it(
    sqlite: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    office = Office(sqlite)
    office.insert(1)
    work = run_of(office)
    # To be there before the work begins, when no real signal could be caught.
    receive = work._receive_signals

    async def receive_one(*, task_status: anyio.abc.TaskStatus[None]) -> None:
        work.ended_by = signal.SIGTERM
        await receive(task_status=task_status)

    monkeypatch.setattr(type(work), "_receive_signals", lambda _, **given: receive_one(**given))
    with anyio.fail_after(60):
        assert await ran(work) == Exit.DONE
    assert office.asked() == 0


@pytest.mark.usefixtures("inline")
async def test_a_refused_account_ends_it_with_the_vendors_word(sqlite: sa.Engine) -> None:
    office = Office(sqlite)
    office.client = client_of(office.emulator, apikey="another")
    office.insert(1)
    work = run_of(office)
    assert await ran(work) == Exit.REFUSED
    assert any("SMSC_APIKEY" in said for said in meter_of(work).said)


@pytest.mark.usefixtures("inline")
async def test_once_a_row_without_an_answer_is_a_failure(sqlite: sa.Engine) -> None:
    office = Office(sqlite, http_503=1.0)
    office.insert(1)
    assert await ran(run_of(office, once=True)) == Exit.SOME_FAILED


@pytest.mark.usefixtures("inline")
async def test_once_a_server_that_never_answers_ends_it_with_the_reason(
    sqlite: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smsc_status.cli._account.GIVE_UP_AFTER", 0.0)
    office = Office(sqlite, http_503=1.0)
    for id in range(1, 11):
        office.insert(id)
    work = run_of(office, once=True)
    with anyio.fail_after(120):
        assert await ran(work) == Exit.NETWORK
    assert any("no answer that can be read" in said for said in meter_of(work).said)
    assert work.report()[1]["role"] == "once"


@pytest.mark.usefixtures("inline")
async def test_once_an_end_by_a_signal_is_not_the_end_of_the_work(sqlite: sa.Engine) -> None:
    office = Office(sqlite)
    office.insert(1)
    work = run_of(office, once=True)
    work.ended_by = signal.SIGTERM
    assert await ran(work) == Exit.INTERRUPTED


def test_what_is_told_below_a_warning_is_not_shown() -> None:
    meter = Saying()
    logger = logging.getLogger("smsc_status.test")
    # The handler alone: the command removes it at its end.
    logger.addHandler(command._InMeter(meter))
    logger.setLevel(logging.INFO)
    logger.info("standing by")
    logger.warning("away")
    assert meter.said == ["away"]


async def test_what_is_shown_and_reported(sqlite: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it stands by, while the database is away, and while the vendor does not answer."""
    # States that take minutes to come about are set, and `_tick` shows them as it does each second.
    office = Office(sqlite)
    work = run_of(office)
    work._tick()
    assert "stands by" in meter_of(work).shown[-1]
    is_well, facts = work.report()
    assert is_well
    assert facts["role"] == "standby"
    work.sync._is_leading = True
    work.sync._tally.database_failed(Doing.READ, "away")
    work.sync._tally.failed_writes = 2
    monkeypatch.setattr(type(work.sync), "stats", _with_unwritten(work.sync.stats))
    work._tick()
    assert "3 unwritten · 2 failed · the database is away" in meter_of(work).shown[-1]
    assert not work.report()[0]
    waiting = attrs.evolve(office.client.stats(), due=1)
    monkeypatch.setattr(office.client, "stats", lambda: waiting)
    answered_at = work.answered_at
    work._tick()
    assert work.answered_at == answered_at  # messages are due, and no answer has come
    assert work.report()[1]["vendor"] is True
    monkeypatch.setattr(office.client, "stats", lambda: attrs.evolve(waiting, is_in_outage=True))
    assert work.report()[1]["vendor"] is False
    monkeypatch.setattr(office.client, "stats", lambda: waiting)
    monkeypatch.setattr(command, "UNANSWERED", -1.0)
    assert work.report()[1]["vendor"] is False


def _with_unwritten(stats: Any) -> Any:
    made = smsc_status.tables.SyncStats(
        **{name: getattr(stats(), name) for name in stats().__slots__ if not name.startswith("__")} | {"unwritten": 3}
    )
    return lambda _sync: made


# Probes.


class Probes:
    """What is reported, and the port where it is."""

    def __init__(self) -> None:
        self.is_well = True

    def report(self) -> tuple[bool, dict[str, Any]]:
        return self.is_well, {"alive": True}


async def answer(port: int, request: bytes) -> bytes:
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        if request:
            await stream.send(request)
        else:
            await stream.send_eof()
        reply = b""
        try:
            while True:
                reply += await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return reply


REAL = pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])


@REAL
async def test_probes_are_answered(anyio_backend: str) -> None:
    probes = Probes()
    async with answering({("127.0.0.1", 0): health_pages(probes.report)}) as (port,):
        get = "GET {} HTTP/1.1\r\nHost: x\r\n\r\n".format
        assert (await answer(port, get("/healthz").encode())).startswith(b"HTTP/1.1 200")
        probes.is_well = False
        reply = await answer(port, get("/healthz?verbose").encode())
        assert reply.startswith(b"HTTP/1.1 503")
        assert json.loads(reply.partition(b"\r\n\r\n")[2]) == {"alive": True}
        assert (await answer(port, get("/livez").encode())).startswith(b"HTTP/1.1 200")
        assert (await answer(port, get("/").encode())).startswith(b"HTTP/1.1 404")
        head = await answer(port, b"HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert head.endswith(b"\r\n\r\n")
        assert (await answer(port, b"POST /healthz HTTP/1.1\r\nHost: x\r\n\r\n")).startswith(b"HTTP/1.1 404")


@REAL
@pytest.mark.parametrize("request_", [b"", b"nonsense\r\n\r\n", b"GET /", b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000])
async def test_what_is_no_request_gets_no_answer_and_harms_nobody(
    anyio_backend: str, request_: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_health, "REQUEST_TIMEOUT", 0.3)
    probes = Probes()
    async with answering({("127.0.0.1", 0): health_pages(probes.report)}) as (port,):
        assert await answer(port, request_) == b""
        assert (await answer(port, b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")).startswith(b"HTTP/1.1 200")


@REAL
@pytest.mark.usefixtures("inline")
async def test_an_address_that_is_taken_is_named(anyio_backend: str, sqlite: sa.Engine) -> None:
    """Not by a traceback; and the other address is free again."""
    async with answering({("127.0.0.1", 0): {}}) as (port,):
        with pytest.raises(ConfigError, match=f"^127.0.0.1, port {port}: can't listen there: Address already in use$"):
            async with answering({("127.0.0.1", 0): {}, ("127.0.0.1", port): {}}):
                pytest.fail("it serves")
        work = run_of(Office(sqlite), health=("127.0.0.1", port), once=True)
        with pytest.raises(ConfigError, match="can't listen there"):
            await work._run()


@pytest.mark.parametrize(("text", "address"), [("127.0.0.1:80", ("127.0.0.1", 80)), ("[::1]:0", ("::1", 0))])
def test_an_address_has_a_host_and_a_port(text: str, address: tuple[str, int]) -> None:
    assert address_of(text) == address
