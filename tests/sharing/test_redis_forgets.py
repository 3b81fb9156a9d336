"""A server forgets, or lags behind what it has promised, or its clock is set. Each guard against that is needed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import pytest
from redis_logs import goes_on, log_of, refuses
from redis_servers import Proxy, Server, until

from smsc_status._sharing import redis_scripts
from smsc_status._sharing.redis import RedisStore
from smsc_status.errors import ConfigError, LimiterUnavailable

pytestmark = pytest.mark.anyio

KEY = "smsc_status:{acc}"
StoreAt = Callable[..., RedisStore]
Start = Callable[..., Server]


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Real servers need real time."""
    return request.param


async def test_a_flushed_log_counts_as_lost(server: Server, store_at: StoreAt) -> None:
    one, other = store_at(server.url), store_at(server.url)
    log = await log_of(one, 3)
    server.call("FLUSHALL")
    await refuses(one, log, 3, "there is no log")
    assert server.call("EXISTS", KEY) == 0
    new = await goes_on(one, log)
    assert (await other.begin([b"late"], instead_of=log)).log == new.log


async def test_after_a_restart_without_data_the_log_counts_as_lost(server: Server, store_at: StoreAt) -> None:
    store = store_at(server.url)
    log = await log_of(store, 3)
    server.kill()
    with pytest.raises(LimiterUnavailable, match=rf"127\.0\.0\.1:{server.port}: "):
        await store.append(b"x", log=log, after=3)
    with pytest.raises(LimiterUnavailable, match=rf"127\.0\.0\.1:{server.port}: can't connect: .*refused"):
        await store.append(None, log=log, after=3)
    server.start()
    await refuses(store, log, 3, "there is no log")
    await goes_on(store, log)


async def test_after_a_restart_from_an_old_snapshot_the_log_counts_as_lost(server: Server, store_at: StoreAt) -> None:
    """It was killed after entries that it had not saved."""
    one, other = store_at(server.url), store_at(server.url)
    log = await log_of(one, 3)
    server.call("SAVE")
    await one.append(b"4", log=log, after=3)
    server.kill()
    server.start()
    with pytest.raises(LimiterUnavailable):
        await one.append(b"5", log=log, after=4)
    await refuses(one, log, 4, "the server was restarted")
    await refuses(other, log, 3, "the server was restarted")
    await goes_on(one, log)


def is_linked(replica: Server) -> bool:
    return b"master_link_status:up" in replica.call("INFO", "replication")


@pytest.mark.slow
async def test_if_a_replica_that_lags_takes_over_the_log_counts_as_lost(start: Start, store_at: StoreAt) -> None:
    """It lacks an entry, and it has another run_id. When the first server comes back, it lacks that entry too."""
    first, second = start(), start()
    link, entrance = Proxy(first.port), Proxy(first.port)
    try:
        one, other = (store_at(f"redis://127.0.0.1:{entrance.port}") for _ in range(2))
        log = await log_of(one, 3)
        second.call("REPLICAOF", "127.0.0.1", link.port)
        await until(lambda: is_linked(second) and second.call("XLEN", KEY) == 3)
        link.close()
        await one.append(b"4", log=log, after=3)

        entrance.target = second.port
        entrance.cut()
        await refuses(other, log, 3, "another one has taken over")
        with pytest.raises(LimiterUnavailable, match="it is a replica"):
            await other.begin([b"x"], instead_of=log)
        second.call("REPLICAOF", "NO", "ONE")
        await refuses(other, log, 3, "another one has taken over")

        # Nobody has begun a new log there before the first server takes over again, with the data of the second.
        first.call("REPLICAOF", "127.0.0.1", second.port)
        await until(lambda: is_linked(first))
        first.call("REPLICAOF", "NO", "ONE")
        entrance.target = first.port
        entrance.cut()
        with pytest.raises(LimiterUnavailable, match="cut"):
            await one.append(b"5", log=log, after=4)
        await refuses(one, log, 4, "lacks its last entries")
        assert first.call("XLEN", KEY) == 3
        await goes_on(one, log)
    finally:
        link.close()
        entrance.close()


# Each guard alone: with it, the entry is not appended; without it, it is.


def without(monkeypatch: pytest.MonkeyPatch, *guards: str) -> None:
    text = redis_scripts.append.text.decode()
    for guard in guards:
        assert guard in text
        text = text.replace(guard, "")
    monkeypatch.setattr(redis_scripts, "append", redis_scripts.Script.of(text))


RUN_GUARDS = "if of.r ~= run then return answer('read') end", " and run == ARGV[3]"
TOP_GUARD = "id == ARGV[2] and "


@pytest.mark.parametrize("is_guarded", [True, False])
async def test_the_run_id_is_needed(
    server: Server, store_at: StoreAt, monkeypatch: pytest.MonkeyPatch, is_guarded: bool
) -> None:
    """The server was restarted from a snapshot that has all entries. Requests may have been forgotten all the same."""
    if not is_guarded:
        without(monkeypatch, *RUN_GUARDS)
    store = store_at(server.url)
    log = await log_of(store, 3)
    server.call("SAVE")
    server.kill()
    server.start()
    with pytest.raises(LimiterUnavailable):
        await store.append(b"4", log=log, after=3)
    if is_guarded:
        await refuses(store, log, 3, "the server was restarted")
    else:
        assert (await store.append(b"4", log=log, after=3)).is_appended


@pytest.mark.parametrize("is_guarded", [True, False])
async def test_the_exact_last_id_is_needed(
    server: Server, store_at: StoreAt, monkeypatch: pytest.MonkeyPatch, is_guarded: bool
) -> None:
    """The log was set back to an older state by a server of the same run_id."""
    if not is_guarded:
        without(monkeypatch, TOP_GUARD)
    store = store_at(server.url)
    log = await log_of(store, 3)
    saved = server.call("DUMP", KEY)
    await store.append(b"4", log=log, after=3)
    server.call("RESTORE", KEY, 0, saved, "REPLACE")
    if is_guarded:
        await refuses(store, log, 4, "lacks its last entries")
    else:
        assert (await store.append(b"5", log=log, after=4)).is_appended
        assert server.call("XLEN", KEY) == 4


@pytest.mark.parametrize("is_guarded", [True, False])
async def test_nomkstream_is_a_second_guard(
    server: Server, store_at: StoreAt, monkeypatch: pytest.MonkeyPatch, is_guarded: bool
) -> None:
    """If the others failed, it would still make no log of a single entry."""
    without(monkeypatch, TOP_GUARD, *RUN_GUARDS, *([] if is_guarded else ["'NOMKSTREAM', "]))
    text = redis_scripts.append.text.decode().replace("tonumber(of.t)", "(tonumber(of.t) or 0)")
    monkeypatch.setattr(redis_scripts, "append", redis_scripts.Script.of(text))
    store = store_at(server.url)
    log = await log_of(store, 3)
    server.call("FLUSHALL")
    if is_guarded:
        await refuses(store, log, 3, "there is no log")
    else:
        with pytest.raises(ConfigError):
            await store.append(b"4", log=log, after=3)
    assert server.call("EXISTS", KEY) == (not is_guarded)


@pytest.mark.parametrize("is_guarded", [True, False])
async def test_the_bounds_of_the_time_are_needed(
    start: Start, store_at: StoreAt, monkeypatch: pytest.MonkeyPatch, is_guarded: bool
) -> None:
    """The clock was set between a read and the append."""
    if not is_guarded:
        without(monkeypatch, "if is_beyond(ARGV[4], ARGV[5]) then return answer('beyond') end")
    server = start(fake_time=True)
    store = store_at(server.url)
    log = await log_of(store)
    server.set_clock(30)
    before = store.now()
    at = (await store.append(b"x", log=log, after=1)).entries[0].at
    assert at - before == pytest.approx(0 if is_guarded else 30, abs=2)


@pytest.mark.parametrize("step", [30, -30])
async def test_the_stamps_do_not_jump_when_the_clock_is_set(
    start: Start, store_at: StoreAt, step: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The log's time goes on evenly, for those who were there and for those who come. It is logged once."""
    server = start(fake_time=True)
    one, other = store_at(server.url), store_at(server.url)
    log = await log_of(one)
    await other.append(None, log=log, after=1)
    began, log_began = time.monotonic(), one.now()

    def elapsed(at: float) -> float:
        return at - log_began - (time.monotonic() - began)

    server.set_clock(step)
    with caplog.at_level(logging.WARNING, logger="smsc_status"):
        tail = await one.append(b"x", log=log, after=1)
        assert tail.is_appended
        assert elapsed(tail.entries[0].at) == pytest.approx(0, abs=1)
        assert (await other.append(None, log=log, after=1)).entries == tail.entries
        assert (await other.append(b"y", log=log, after=2)).is_appended
    new = store_at(server.url)
    read = await new.append(None, log="", after=0)
    stamps = [entry.at for entry in read.entries]
    assert stamps == sorted(stamps)
    for store in (one, other, new):
        assert elapsed(store.now()) == pytest.approx(0, abs=1)
    warned = [record for record in caplog.records if "was set by" in record.message]
    assert len(warned) == 1
    assert ("set by +" in warned[0].message) == (step > 0)

    server.set_clock(0)
    renewed = await one.begin([b"z"], instead_of=log)  # a new log goes on with the same time
    assert elapsed(renewed.entries[0].at) == pytest.approx(0, abs=1)
