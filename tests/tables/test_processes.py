"""Real processes that keep a table current, are killed, and take over from each other. Real sockets, real time."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from database_servers import Proxy
from helpers import PHONE
from redis_servers import free_port
from table_support import IN, OUT

from smsc_status.emulator import Emulator, EmulatorServer, Referee
from smsc_status.models import MOSCOW

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="processes are forked and killed"),
]

ROOT = Path(__file__).parents[2]
LONGEST = 60.0
AGE = 60.0

SQLITE_HISTORY = (
    "create trigger history after update on messages begin "
    "insert into history (id, status, outcome) values (new.id, new.status, new.outcome); end"
)
POSTGRES_HISTORY = (
    "create function keep() returns trigger as $$ begin "
    "insert into history (id, status, outcome) values (new.id, new.status, new.outcome); return new; end $$ "
    "language plpgsql",
    "create trigger history after update on messages for each row execute function keep()",
)


def wait_until(condition: Callable[[], object], at_most: float = LONGEST) -> float:
    """Wait until something is so. Returns how many seconds that took."""
    began_at = time.monotonic()
    while not condition():
        assert time.monotonic() < began_at + at_most
        time.sleep(0.02)
    return time.monotonic() - began_at


class Shop:
    """A table with a history of its changes, a server to which the messages were sent, and processes."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self.url = engine.url.render_as_string(hide_password=False)
        is_sqlite = engine.dialect.name == "sqlite"
        number = "integer primary key" if is_sqlite else "serial primary key"
        self.sql(f"create table messages ({IN}, {OUT})")
        self.sql(f"create table history (number {number}, id bigint, status int, outcome varchar(64))")
        for statement in (SQLITE_HISTORY,) if is_sqlite else POSTGRES_HISTORY:
            self.sql(statement)
        self.emulator = Emulator(referee=Referee(period=0.01))
        self.server = EmulatorServer(self.emulator)
        self.environment = os.environ | {
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
            "SMSC_APIKEY": "demo-key",
            "SMSC_BASE_URL": self.server.url,
        }
        self._nursery = subprocess.Popen(
            [sys.executable, str(ROOT / "tests" / "table_nursery.py"), self.url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=self.environment,
        )
        self._children: list[int] = []

    def sql(self, statement: str, **values: Any) -> None:
        with self.engine.begin() as connection:
            connection.execute(sa.text(statement), values)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self.engine.begin() as connection:
            return [tuple(row) for row in connection.execute(sa.text(query))]

    def differs(self, query: str, before: list[tuple[Any, ...]]) -> bool:
        return self.rows(query) != before

    def insert(self, id: int, life: list[tuple[float, int, int]]) -> None:
        """A message that was sent a minute ago, so it is asked at once."""
        ref = self.emulator.world.add(id, PHONE, sent_at=self.emulator.now() - AGE, life=life)
        assert ref.sent_at is not None
        sent_at = ref.sent_at.astimezone(MOSCOW).strftime("%Y-%m-%d %H:%M:%S")
        insert = "insert into messages (id, phone, sent_at) values (:id, :phone, :sent_at)"
        self.sql(insert, id=id, phone=PHONE, sent_at=sent_at)

    def start(self, url: str = "") -> int:
        """Start a process, and return its number. `url` is another one of the same database."""
        assert self._nursery.stdin is not None
        assert self._nursery.stdout is not None
        self._nursery.stdin.write(f"{self.server.url} {url or self.url}\n")
        self._nursery.stdin.flush()
        self._children.append(int(self._nursery.stdout.readline()))
        return self._children[-1]

    def end(self) -> None:
        for child in self._children:
            kill(child)
        self._nursery.kill()
        self._nursery.communicate()


def kill(child: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Send a signal to a process, if it is still there."""
    with suppress(ProcessLookupError):
        os.kill(child, number)


def is_gone(child: int) -> bool:
    try:
        os.kill(child, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest) -> sa.Engine:
    """An empty database, of each of these kinds."""
    engine: sa.Engine = request.getfixturevalue(request.param)
    return engine


@pytest.fixture
def shop(engine: sa.Engine) -> Iterator[Shop]:
    shop = Shop(engine)
    try:
        with shop.server:
            yield shop
    finally:
        shop.end()


ORDER = [-1, 0, 1]


def test_killed_twenty_times_every_row_has_its_final_status_and_no_row_goes_back(shop: Shop) -> None:
    draw = random.Random(1)
    for number in range(20):
        before = shop.rows("select count(*) from history")
        child = shop.start()
        if number % 2:  # it is killed while it starts or writes
            time.sleep(0.2 + draw.random() / 2)
        else:  # it is killed while it writes
            for id in range(3 * number + 1, 3 * number + 7):
                shop.insert(id, [(0.2, 0, 0), (AGE + id % 6, 1, 0)])
            wait_until(partial(shop.differs, "select count(*) from history", before))
            time.sleep(0.05 * draw.random())
        kill(child)
    shop.start()
    wait_until(lambda: shop.rows("select count(*) from messages where outcome is null") == [(0,)])
    assert set(shop.rows("select status, outcome from messages")) == {(1, "Delivered")}
    for id in range(1, 61):
        changes = shop.rows(f"select status, outcome from history where id = {id} order by number")
        assert all(ORDER.index(before[0]) < ORDER.index(after[0]) for before, after in pairwise(changes)), changes


def test_the_second_stands_by_and_takes_over_when_the_first_is_killed(shop: Shop) -> None:
    first = shop.start()
    shop.insert(1, [(0.1, 1, 0)])
    wait_until(lambda: shop.rows("select outcome from messages where id = 1") == [("Delivered",)])
    second = shop.start()
    time.sleep(0.5)
    kill(first, signal.SIGSTOP)
    shop.insert(2, [(0.1, 1, 0)])
    time.sleep(2.5)
    assert shop.rows("select outcome from messages where id = 2") == [(None,)]  # the second one does nothing
    kill(first)
    assert wait_until(lambda: shop.rows("select outcome from messages where id = 2") == [("Delivered",)]) < 30
    assert not is_gone(second)


def command(shop: Shop, *options: str, url: str = "") -> subprocess.Popen[str]:
    """The command, on the shop's table."""
    arguments = [
        "sync",
        url or shop.url,
        "--table",
        "messages",
        "--period",
        "0.3",
        "--margin",
        "0.1",
        "--json",
        *options,
    ]
    return subprocess.Popen(
        [sys.executable, "-m", "smsc_status", *arguments],
        env=shop.environment | {"SMSC_SHARE": "process"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def get(url: str) -> tuple[int, dict[str, Any]] | None:
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)
    except OSError:
        return None


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_sigterm_ends_it_within_five_seconds_with_everything_written(shop: Shop) -> None:
    """And meanwhile it answers probes."""
    for id in range(1, 21):
        shop.insert(id, [(0.1, 0, 0), (AGE + 0.3 * id, 1, 0)])
    port = free_port()
    program = command(shop, "--health", f"127.0.0.1:{port}")
    try:
        wait_until(lambda: shop.rows("select count(*) from messages where outcome is not null")[0][0] > 5)
        status, facts = get(f"http://127.0.0.1:{port}/healthz") or (0, {})
        assert status == 200
        assert facts.keys() == {"alive", "role", "database", "vendor", "stalest", "open", "unwritten"}
        assert (facts["role"], facts["database"], facts["vendor"]) == ("leader", True, True)
        began_at = time.monotonic()
        program.send_signal(signal.SIGTERM)
        output, _ = program.communicate(timeout=LONGEST)
        assert time.monotonic() - began_at < 5.0
    finally:
        program.kill()
    summary = json.loads(output)
    assert program.returncode == summary["exit"] == 0
    assert summary["unwritten"] == 0
    assert [(summary["done"],)] == shop.rows("select count(*) from messages where outcome is not null")


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_it_ends_within_five_seconds_though_the_database_answers_nothing(shop: Shop) -> None:
    """It accepts connections, but each call waits for ever. So do threads, which must not hold the exit."""
    for id in range(1, 41):
        shop.insert(id, [(0.1, 0, 0), (AGE + 0.2 * id, 1, 0)])
    proxy = Proxy(shop.engine.url.port or 0)
    child = shop.start(shop.engine.url.set(port=proxy.port).render_as_string(hide_password=False))
    try:
        wait_until(lambda: shop.rows("select count(*) from messages where outcome is not null") != [(0,)])
        proxy.stop_answering()
        time.sleep(1.5)  # a look and a change wait by now
        kill(child, signal.SIGTERM)
        assert wait_until(lambda: is_gone(child)) < 5.0
    finally:
        proxy.close()


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_the_command_checks_a_table_once(shop: Shop) -> None:
    for id in range(1, 6):
        shop.insert(id, [(0.0, 1, 0)])
    shop.sql("insert into messages (id, phone) values (6, 'none')")
    program = command(shop, "--once")
    output, errors = program.communicate(timeout=LONGEST)
    assert program.returncode == 0, errors
    assert json.loads(output)["outcomes"] == {"Delivered": 5, "ConfigError": 1}
    assert "row of id 6: its phone can't be used" in errors
