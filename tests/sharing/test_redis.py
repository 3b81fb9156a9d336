"""The log in a real Redis and a real Valkey, on both event loops."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from math import inf
from typing import Any

import anyio
import pytest
from redis_servers import Proxy, Server, until

from smsc_status._sharing import redis, redis_scripts
from smsc_status._sharing.redis import RedisStore
from smsc_status._sharing.store import NoLog, Store, Tail
from smsc_status.errors import ConfigError, LimiterUnavailable

pytestmark = pytest.mark.anyio

KEY = "smsc_status:{acc}"
BINARY = bytes(range(256))


StoreAt = Callable[..., RedisStore]


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Real servers need real time."""
    return request.param


def data(tail: Tail) -> list[bytes]:
    return [entry.data for entry in tail.entries]


def numbers(tail: Tail) -> list[int]:
    return [entry.number for entry in tail.entries]


async def test_a_log_is_begun_appended_to_and_read(server: Server, store_at: StoreAt) -> None:
    """An entry is appended only by one who has read all before it."""
    one, other = store_at(server.url), store_at(server.url)
    assert one.now() == -inf
    with pytest.raises(NoLog) as caught:
        await one.append(None, log="", after=0)
    assert caught.value.quiet_from == pytest.approx(time.time(), abs=5)
    begun = await one.begin([b"1", BINARY], instead_of="")
    assert (data(begun), numbers(begun), begun.is_whole) == ([b"1", BINARY], [1, 2], True)
    log = begun.log

    read = await other.append(None, log="", after=0)
    assert (read.log, read.entries, read.is_whole) == (log, begun.entries, True)
    third = await other.append(b"3", log=log, after=2)
    assert (numbers(third), data(third), third.is_appended, third.is_whole) == ([3], [b"3"], True, False)

    stale = await one.append(b"3 too", log=log, after=2)
    assert (stale.entries, stale.is_appended, stale.is_whole) == (third.entries, False, False)
    fourth = await one.append(BINARY, log=log, after=3)
    assert fourth.is_appended
    assert data(await other.append(None, log=log, after=3)) == [BINARY]
    assert (await other.append(None, log=log, after=4)).entries == []

    stamps = [entry.at for entry in (await one.append(None, log="", after=0)).entries]
    assert stamps == sorted(stamps)
    assert one.now() >= stamps[-1]


async def test_those_who_append_at_once_lose_nothing(server: Server, store_at: StoreAt) -> None:
    """Each entry is in the log once, and everybody sees the same order."""
    stores = [store_at(server.url) for _ in range(4)]
    log = (await begun(stores[0])).log
    seen: list[list[bytes]] = [[] for _ in stores]

    async def work(who: int) -> None:
        after = 1
        for number in range(25):
            data, is_appended = b"%d %d" % (who, number), False
            while not is_appended:
                tail = await stores[who].append(data, log=log, after=after)
                assert numbers(tail) == list(range(after + 1, after + 1 + len(tail.entries)))
                seen[who] += [entry.data for entry in tail.entries]
                after, is_appended = after + len(tail.entries), tail.is_appended

    async with anyio.create_task_group() as tasks:
        for who in range(4):
            tasks.start_soon(work, who)
    whole = data(await stores[0].append(None, log=log, after=1))
    assert sorted(whole) == sorted(b"%d %d" % (who, number) for who in range(4) for number in range(25))
    assert all(one == whole[: len(one)] for one in seen)


async def test_now_is_never_ahead_of_the_stamps_to_come(server: Server, store_at: StoreAt) -> None:
    """And it is behind them by a round trip at most."""
    store = store_at(server.url)
    log, after = (await begun(store)).log, 1
    for _ in range(50):
        before = store.now()
        at = (await store.append(b"x", log=log, after=after)).entries[0].at
        after += 1
        assert before <= at
        assert at - 1 < store.now()


async def begun(store: Store) -> Tail:
    with pytest.raises(NoLog):
        await store.append(None, log="", after=0)
    return await store.begin([b"first"], instead_of="")


async def test_only_one_of_two_logs_is_begun(server: Server, store_at: StoreAt) -> None:
    """The other process gets the winner's log. One of the given name is replaced."""
    one, other = store_at(server.url), store_at(server.url)
    first = await one.begin([b"one"], instead_of="")
    second = await other.begin([b"other"], instead_of="")
    assert (second.log, data(second), second.is_whole) == (first.log, [b"one"], True)
    again = await one.begin([b"mine"], instead_of="some/1")
    assert again.log == first.log
    replaced = await other.begin([b"new"], instead_of=first.log)
    assert replaced.log != first.log
    assert (await one.begin([b"late"], instead_of=first.log)).log == replaced.log
    tail = await one.append(b"x", log=first.log, after=1)
    assert (tail.log, data(tail), tail.is_whole, tail.is_appended) == (replaced.log, [b"new"], True, False)


async def test_a_long_log_is_read_page_by_page(
    server: Server, store_at: StoreAt, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if entries are dropped, or the log is replaced, between two pages."""
    small = redis_scripts.append.text.decode().replace(f"PAGE = {redis_scripts.PAGE}", "PAGE = 10")
    monkeypatch.setattr(redis_scripts, "append", redis_scripts.Script.of(small))
    one, other = store_at(server.url), store_at(server.url)
    log = (await begun(one)).log
    for number in range(1, 35):
        await one.append(b"%d" % number, log=log, after=number)
    tail = await other.append(None, log=log, after=3)
    assert (numbers(tail), tail.is_whole) == (list(range(4, 36)), False)
    assert numbers(await other.append(b"x", log=log, after=3)) == list(range(4, 36))

    # To come between two pages of one reading.
    read, calls = other._read, 0

    async def disturbed(start: bytes) -> redis_scripts.Answer:
        nonlocal calls
        calls += 1
        if calls == 2:
            server.call("XTRIM", KEY, "MAXLEN", 5)
        return await read(start)

    monkeypatch.setattr(other, "_read", disturbed)
    tail = await other.append(None, log=log, after=0)
    assert (numbers(tail), tail.is_whole) == (list(range(31, 36)), True)

    for number in range(35, 50):
        await one.append(b"%d" % number, log=log, after=number)
    calls, new = 0, {}

    async def replaced(start: bytes) -> redis_scripts.Answer:
        nonlocal calls
        calls += 1
        if calls == 2:
            new["log"] = (await one.begin([b"new"], instead_of=log)).log
        return await read(start)

    monkeypatch.setattr(other, "_read", replaced)
    tail = await other.append(None, log=log, after=0)
    assert (tail.log, data(tail), tail.is_whole) == (new["log"], [b"new"], True)


async def test_an_entry_wakes_who_waits(server: Server, store_at: StoreAt) -> None:
    """At once. Where there is an entry already, nobody waits."""
    one, other = store_at(server.url), store_at(server.url)
    log = (await begun(one)).log
    with anyio.fail_after(5):
        await other.wait(log=log, after=0)
    woken_at = inf

    async def wait() -> None:
        nonlocal woken_at
        await other.wait(log=log, after=1)
        woken_at = time.perf_counter()

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await until(lambda: blocked(server))
            appended_at = time.perf_counter()
            await one.append(b"x", log=log, after=1)
    assert woken_at - appended_at < 1

    with anyio.fail_after(10):  # a new log does so too
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: other.wait(log=log, after=2))
            await until(lambda: blocked(server))
            await one.begin([b"new"], instead_of=log)


def blocked(server: Server) -> int:
    info = dict(line.split(b":", 1) for line in server.call("INFO", "clients").splitlines() if b":" in line)
    return int(info[b"blocked_clients"])


def connections(server: Server) -> int:
    return len(server.call("CLIENT", "LIST").splitlines()) - 1


async def test_waiting_ends_by_itself(server: Server, store_at: StoreAt, monkeypatch: pytest.MonkeyPatch) -> None:
    """So a connection that is dead is noticed."""
    monkeypatch.setattr(redis, "BLOCK_SECONDS", 0.05)
    store = store_at(server.url)
    log = (await begun(store)).log
    await store.wait(log=log, after=1)


async def test_what_is_cancelled_leaves_no_connection(server: Server, store_at: StoreAt) -> None:
    store = store_at(server.url)
    log = (await begun(store)).log
    for _ in range(5):
        with anyio.move_on_after(0.02) as scope:
            await store.wait(log=log, after=1)
        assert scope.cancelled_caught
    with anyio.CancelScope() as scope:
        scope.cancel()
        await store.append(b"x", log=log, after=1)
    await store.append(None, log=log, after=0)
    await until(lambda: connections(server) <= 1)


async def test_closing_from_another_task_ends_what_is_under_way(server: Server, store_at: StoreAt) -> None:
    store = store_at(server.url)
    log = (await begun(store)).log

    async def wait() -> None:
        with pytest.raises(LimiterUnavailable, match=r"closed|cut"):
            await store.wait(log=log, after=1)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await until(lambda: blocked(server))
            await store.aclose()
    with pytest.raises(LimiterUnavailable, match="closed here"):
        await store.append(None, log=log, after=0)
    await until(lambda: not connections(server))


@pytest.mark.slow
@pytest.mark.measured
async def test_old_entries_are_dropped_when_it_is_worth_it(server: Server, store_at: StoreAt) -> None:
    """Who lags behind gets the whole of what is left. The log's name stays the same."""
    one, other = store_at(server.url), store_at(server.url)
    log, last = (await begun(one)).log, 1
    for _ in range(700):
        await one.append(b"x" * 50, log=log, after=last)
        last += 1
    await one.drop(log=log, before=200)
    await one.drop(log="other/1", before=600)
    assert server.call("XLEN", KEY) == last
    await one.drop(log=log, before=10**6)  # the last one stays
    left = server.call("XLEN", KEY)
    assert 1 <= left <= 110
    await one.drop(log=log, before=last)  # just done
    tail = await other.append(None, log=log, after=100)
    assert (tail.log, tail.is_whole, len(tail.entries)) == (log, True, left)
    assert (await other.append(b"y", log=log, after=last)).is_appended


async def test_a_lost_reply_leaves_the_entry_in_the_log(server: Server, proxy: Proxy, store_at: StoreAt) -> None:
    """The call fails. The caller reads, and finds its own entry. It must not append it again."""
    store = store_at(f"redis://127.0.0.1:{proxy.port}")
    log = (await begun(store)).log
    proxy.loses_replies = True
    with pytest.raises(LimiterUnavailable, match="cut"):
        await store.append(b"mine", log=log, after=1)
    proxy.loses_replies = False
    tail = await store.append(None, log=log, after=1)
    assert (data(tail), tail.is_appended) == ([b"mine"], False)


async def test_a_cut_connection_is_opened_again(server: Server, proxy: Proxy, store_at: StoreAt) -> None:
    """A read is done again by itself, because it may be. An append is not."""
    store = store_at(f"redis://127.0.0.1:{proxy.port}")
    log = (await begun(store)).log
    proxy.cut()
    assert data(await store.append(None, log=log, after=0)) == [b"first"]
    proxy.cut()
    with pytest.raises(LimiterUnavailable, match="cut"):
        await store.append(b"x", log=log, after=1)
    assert (await store.append(b"x", log=log, after=1)).is_appended


async def test_a_server_that_forgot_its_scripts_gets_them_again(server: Server, store_at: StoreAt) -> None:
    store = store_at(server.url)
    log = (await begun(store)).log
    server.call("SCRIPT", "FLUSH")
    assert (await store.append(b"x", log=log, after=1)).is_appended


async def test_over_a_unix_socket_and_in_another_database(server: Server, store_at: StoreAt) -> None:
    store = store_at(f"unix://{server.socket}?db=3")
    await begun(store)
    assert server.calls(("SELECT", 3), ("EXISTS", KEY))[-1] == 1
    assert server.call("EXISTS", KEY) == 0
    missing = store_at("unix:///no/such/socket")
    with pytest.raises(LimiterUnavailable, match="/no/such/socket: can't connect: No such file"):
        await missing.append(None, log="", after=0)
    with pytest.raises(LimiterUnavailable, match=r"refuses: ERR.*out of range"):
        await store_at(f"{server.url}/99").append(None, log="", after=0)


async def test_assume_idle_skips_the_quarantine_of_a_first_start(server: Server, store_at: StoreAt) -> None:
    """Only if there is no key, and this process has not seen a log."""
    store = store_at(f"{server.url}?assume_idle=1")
    with pytest.raises(NoLog) as caught:
        await store.append(None, log="", after=0)
    assert caught.value.quiet_from is None
    log = (await store.begin([b"1"], instead_of="")).log
    server.call("FLUSHALL")
    for seen in (log, ""):
        with pytest.raises(NoLog) as caught:
            await store.append(None, log=seen, after=0)
        assert caught.value.quiet_from is not None
    server.call("XADD", KEY, "*", "f", "v")
    server.call("XTRIM", KEY, "MAXLEN", 0)
    with pytest.raises(NoLog) as caught:  # somebody has emptied it
        await store_at(f"{server.url}?assume_idle=1").append(None, log="", after=0)
    assert caught.value.quiet_from is not None


@pytest.mark.parametrize(
    "command", [("SET", KEY, "x"), ("XADD", KEY, "*", "f", "v"), ("XADD", KEY, "1-1", "r", "x", "t", "t", "c", "c")]
)
async def test_a_key_that_holds_something_else_is_an_error(
    server: Server, store_at: StoreAt, command: tuple[str, ...]
) -> None:
    """And it is left as it is."""
    server.call(*command)
    with pytest.raises(ConfigError, match="something else"):
        await store_at(server.url).append(None, log="", after=0)


async def test_a_log_that_lacks_entries_is_not_gone_on_with(server: Server, store_at: StoreAt) -> None:
    """Somebody has deleted some by hand."""
    store = store_at(server.url)
    tail = await store.begin([b"1", b"2", b"3", b"4"], instead_of="")
    incarnation = tail.log.partition("/")[2]
    server.call("XDEL", KEY, f"{incarnation}-2")
    with pytest.raises(NoLog, match="lacks entries"):
        await store.append(None, log=tail.log, after=0)
    server.call("XDEL", KEY, f"{incarnation}-4")
    with pytest.raises(NoLog, match="lacks its last entries"):
        await store.append(None, log=tail.log, after=3)
    new = store_at(server.url)
    with pytest.raises(NoLog, match="lacks entries"):
        await new.append(b"4", log=tail.log, after=3)
    assert (await new.begin([b"n"], instead_of=tail.log)).log != tail.log


async def test_without_hiredis_the_error_says_what_to_install(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "smsc_status._sharing.redis_connection", raising=False)
    monkeypatch.setitem(sys.modules, "hiredis", None)
    with pytest.raises(ConfigError, match=r"pip install 'smsc-status\[redis\]'"):
        RedisStore("redis://host", "acc")
    monkeypatch.setitem(sys.modules, "hiredis.hiredis", None)
    monkeypatch.delitem(sys.modules, "hiredis")
    with pytest.raises(ModuleNotFoundError):  # a broken installation shows its own error
        RedisStore("redis://host", "acc")


async def test_a_log_is_deleted(server: Server, store_at: StoreAt) -> None:
    """Whoever has read it learns that requests were forgotten. A key that holds something else stays."""
    one, other = store_at(server.url), store_at(server.url)
    log = (await begun(one)).log
    await other.forget()
    with pytest.raises(NoLog) as caught:
        await one.append(None, log=log, after=1)
    assert caught.value.quiet_from is not None
    await other.forget()
    server.call("SET", KEY, "a letter")
    with pytest.raises(ConfigError):
        await other.forget()
    assert server.call("GET", KEY) == b"a letter"


def test_a_server_does_nothing_at_once() -> None:
    assert RedisStore("redis://host", "name").append_at_once(b"one", log="", after=0) is None
