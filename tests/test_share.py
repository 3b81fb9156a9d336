"""`share=`: which limiter a client gets, and what a client does when that limiter fails."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from helpers import client_of, delivered, engine_of

from smsc_status import (
    ConfigError,
    LimiterUnavailable,
    Limits,
    LocalLimiter,
    StatusClient,
    TransportError,
)
from smsc_status._runtime import sharing
from smsc_status._sharing import places
from smsc_status._sharing.file import FileStore
from smsc_status._sharing.limiter import SharedLimiter
from smsc_status._sharing.redis import RedisStore
from smsc_status.emulator import Emulator, Referee
from smsc_status.limiter import Permit, Selector, WantedT

PHONE = "79990000001"


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sharing, "DEFAULT", sharing.MACHINE)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(sharing, "_warnings", set())
    return tmp_path / "smsc_status"


def client(**arguments: Any) -> StatusClient:
    return StatusClient(**({"login": "me", "password": "secret"} | arguments))


def limiter_of(client: StatusClient) -> Any:
    return engine_of(client).limiter


def test_the_processes_of_this_machine_share_an_account_unless_told_otherwise(state: Path) -> None:
    one = client()
    assert one.stats().shared_by == str(state)
    assert limiter_of(client(share="machine")) is limiter_of(one)
    assert limiter_of(client(share="process")) is not limiter_of(one)
    assert state.stat().st_mode & 0o777 == 0o700


def test_a_server_on_the_loopback_is_shared_within_the_process() -> None:
    assert client(base_url="http://127.0.0.1:1").stats().shared_by == "process"
    far = client(base_url="http://127.0.0.1:1", mirrors=["https://smsc.ru"])
    assert far.stats().shared_by != "process"


def test_a_client_with_a_transport_has_a_limiter_of_its_own_unless_it_shares() -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(200))
    one, other = client(transport=transport), client(transport=transport)
    assert limiter_of(one) is not limiter_of(other)
    one, other = (client(transport=transport, share="machine") for _ in range(2))
    assert isinstance(limiter_of(one), SharedLimiter)
    assert limiter_of(one) is limiter_of(other)


@pytest.mark.parametrize("as_path", [str, Path])
def test_a_path_names_the_log_or_the_directory_of_logs(tmp_path: Path, as_path: Callable[[Path], Any]) -> None:
    assert client(share=as_path(tmp_path / "log")).stats().shared_by == str(tmp_path / "log")
    assert client(share=as_path(tmp_path)).stats().shared_by == str(tmp_path)


@pytest.mark.anyio
async def test_a_log_is_named_by_the_account(tmp_path: Path) -> None:
    names = []
    for credentials in ({"apikey": "k", "login": None, "password": None}, {}):
        # The store itself: a limiter opens it only when something is sent.
        store = await limiter_of(client(share=tmp_path, **credentials))._open_store()
        assert isinstance(store, FileStore)
        names.append(Path(store.where).name)
    login_name = places.log_name(server="smsc.ru:", login="me")
    assert names == [f"{places.log_name(server='smsc.ru:', apikey='k')}.log", f"{login_name}.log"]
    store = await limiter_of(client(share=tmp_path / "mine"))._open_store()
    assert store.where == str(tmp_path / "mine")
    store = await limiter_of(client(share="redis://host"))._open_store()
    assert isinstance(store, RedisStore)
    assert login_name in store.where


class BytesPath:
    def __fspath__(self) -> bytes:
        return b"/tmp/account.log"

    def __repr__(self) -> str:
        return "BytesPath()"


@pytest.mark.parametrize(
    ("share", "what"),
    [
        ("machines", "share 'machines': expected 'process', 'machine', a path with a '/', or a URL"),
        ("", "share '': expected"),
        (7, "share 7: expected"),
        (BytesPath(), "share BytesPath(): expected"),
        (f"/tmp/{'n' * 256}", f"/tmp/{'n' * 256}: there can't be such a file"),
        ("/tmp/a\0b", r"/tmp/a\x00b: there can't be such a file"),
        ("http://host/x", "share: "),
        ("redis://host:port", "share: "),
        ("/tmp/no-such-directory/", "/tmp/no-such-directory/: there is no such directory"),
        ("/nowhere/at/all", "/nowhere/at/all: its directory does not exist"),
    ],
)
def test_a_share_that_can_not_be_used_is_refused_before_anything_is_sent(share: Any, what: str) -> None:
    with pytest.raises(ConfigError) as caught:
        client(share=share)
    assert str(caught.value).startswith(what)


@pytest.mark.parametrize(
    "url",
    [
        "redis://user:hunter2@host:99999999",
        "redis:user:hunter2@host",
        "redis:/user:hunter2@host/0",
        "redis//user:hunter2@host",
        "user:hunter2@host:6379/0",
    ],
)
def test_a_password_in_a_url_shows_nowhere(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Even if something is wrong with the URL."""
    with pytest.raises(ConfigError) as caught:
        client(share=url)
    frame = caught.value.__traceback__
    shown = [str(caught.value)]
    while frame is not None:
        if "smsc_status" in frame.tb_frame.f_code.co_filename.split("tests")[-1]:
            shown.append(repr(frame.tb_frame.f_locals))
        frame = frame.tb_next
    assert caught.value.__context__ is None
    assert "hunter2" not in "".join(shown)
    monkeypatch.setenv("SMSC_SHARE", "redis://user:hunter2@host")
    made = StatusClient.from_env(login="me", password="secret")
    assert made.stats().shared_by == "redis://host:6379/0"


def test_the_environment_names_the_share(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SMSC_SHARE", str(tmp_path / "log"))
    made = StatusClient.from_env(login="me", password="secret")
    assert made.stats().shared_by == str(tmp_path / "log")
    assert StatusClient.from_env(login="me", password="secret", share="process").stats().shared_by == "process"
    own = LocalLimiter()
    assert limiter_of(StatusClient.from_env(login="me", password="secret", limiter=own)) is own


def test_share_and_limiter_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match="share beside limiter"):
        client(share="process", limiter=LocalLimiter())


@pytest.mark.asyncio
async def test_stats_name_the_log_itself_once_it_is_open(tmp_path: Path) -> None:
    """Two clients with other credentials share a directory, but no log."""
    seen: list[str] = []
    for credentials in ({"login": "me", "password": "secret"}, {"login": None, "password": None, "apikey": "key"}):
        one = client(**credentials, base_url="http://127.0.0.1:1", share=tmp_path, retries=0)
        with pytest.raises(TransportError):
            await one.check(7, PHONE)
        seen.append(one.stats().shared_by)
        await one.aclose()
    assert sorted(seen) == sorted(str(tmp_path / name) for name in os.listdir(tmp_path))
    assert len(set(seen)) == 2


def test_one_account_has_the_same_limits_in_one_process(tmp_path: Path) -> None:
    kept = client(share=tmp_path / "log")
    with pytest.raises(ConfigError, match="this account is in use in this process with"):
        client(share=tmp_path / "log", limits=Limits(checks_per_id=4))
    assert kept.stats().processes == 1


def test_without_a_place_for_the_log_the_process_shares_alone_and_says_why_once(
    state: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state.mkdir(mode=0o777)
    state.chmod(0o777)
    for _ in range(2):
        assert client().stats().shared_by == "process"
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "does not share the account's limits" in caplog.text
    assert "its mode is 0777: expected 0700" in caplog.text


def test_the_warning_names_the_place_that_can_not_be_used_once(
    state: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether no log can be in the directory, or the directory can't be made."""
    monkeypatch.setattr(places, "why_not_here", lambda _: "it is on a network file system")
    client()
    state.parent.joinpath("file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(state.parent / "file"))
    client()
    texts = [record.getMessage().partition(" of this machine: ")[2] for record in caplog.records]
    assert texts[0] == f"{state}: it is on a network file system"
    assert texts[1].startswith(f"{state.parent}/file/smsc_status: ")


@pytest.mark.slow
@pytest.mark.asyncio
async def test_two_processes_keep_the_limits_of_an_account_by_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator = Emulator(referee=Referee(period=1.0))
    limits = emulator.client_limits(margin=0.1, linger=0.1)
    [ref] = delivered(emulator, [7])
    one = client_of(emulator, share=tmp_path / "log", limits=limits, round_trip=0.01)
    monkeypatch.setattr(sharing, "_shared_limiters", {})  # as in another process
    other = client_of(emulator, share=tmp_path / "log", limits=limits, round_trip=0.01)
    async with one, other:
        for turn in range(12):
            await (one if turn % 2 else other).check(ref.id, ref.phone)
        assert one.stats().processes == 2
    assert emulator.referee.no_violations


# A limiter that fails.


class Failing(LocalLimiter):
    """A limiter that fails as long as it has an error."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error: Exception | None = error

    async def acquire(self, select: Selector[WantedT]) -> Permit[WantedT]:
        if self.error is not None:
            raise copy(self.error)
        return await super().acquire(select)


@pytest.mark.anyio
async def test_a_limiter_that_is_set_up_wrongly_fails_everything_at_once() -> None:
    made = client(limiter=Failing(ConfigError("other limits")))
    async with made:
        with anyio.fail_after(1):
            for _ in range(2):
                with pytest.raises(ConfigError, match="other limits"):
                    await made.check(1, PHONE)
            with pytest.raises(ConfigError, match="other limits"):
                await made.delete(1, PHONE)
            for stream in (made.stream([(1, PHONE)]), made.track([(1, PHONE)])):
                with pytest.raises(ConfigError, match="other limits"):
                    await anext(aiter(stream))


@pytest.mark.anyio
async def test_a_check_that_ends_while_the_limiter_is_away_says_so() -> None:
    limiter = Failing(LimiterUnavailable("the store has no room"))
    made = client(limiter=limiter, transport=httpx.MockTransport(lambda request: httpx.Response(503)), retries=0)
    async with made:
        with pytest.raises(LimiterUnavailable, match="can't be reached: the store has no room"):
            await made.check(1, PHONE, timeout=3.0)
        with pytest.raises(LimiterUnavailable, match="can't be reached: the store has no room"):
            await made.check(1, PHONE, max_wait=3.0)
        limiter.error = None
        with pytest.raises(TransportError):
            await made.check(1, PHONE)
        assert engine_of(made).unavailable() is None


@pytest.mark.anyio
async def test_a_client_wants_the_bulk_slot_if_more_messages_wait_than_it_has_slots() -> None:
    made = client(limiter=Failing(LimiterUnavailable("away")), limits=None)
    async with made, anyio.create_task_group() as tasks:
        engine = engine_of(made)
        for count in range(1, 6):
            tasks.start_soon(made.check, count, PHONE)
            await anyio.wait_all_tasks_blocked()
            assert engine.has_work()
            assert engine.wants_bulk(now=0.0) is (count > engine.limits.connections)
        tasks.cancel_scope.cancel()
