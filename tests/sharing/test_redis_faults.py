"""What may happen to a server: it forgets, lags, refuses, is slow or out of reach, and its clock is set."""

from __future__ import annotations

import contextlib
import logging
import signal
import ssl
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
import trustme
from redis_servers import Parrot, Proxy, Server, free_port, until

from smsc_status._sharing import redis_connection, redis_scripts
from smsc_status._sharing.redis import RedisStore
from smsc_status._sharing.redis_connection import RIGHTS
from smsc_status._sharing.store import NoLog, Tail
from smsc_status.errors import ConfigError, LimiterUnavailable

pytestmark = pytest.mark.anyio

KEY = "smsc_status:{acc}"
StoreAt = Callable[..., RedisStore]
Start = Callable[..., Server]


async def log_of(store: RedisStore, entries: int = 1) -> str:
    """Begin a log with so many entries."""
    with pytest.raises(NoLog):
        await store.append(None, log="", after=0)
    return (await store.begin([b"%d" % number for number in range(1, entries + 1)], instead_of="")).log


async def refuses(store: RedisStore, log: str, after: int, reason: str) -> None:
    """Neither reading nor appending goes on with that log, and it stays as it is."""
    for data in (b"x", None):
        with pytest.raises(NoLog, match=reason) as caught:
            await store.append(data, log=log, after=after)
        assert caught.value.quiet_from is not None
        assert caught.value.quiet_from == pytest.approx(time.time(), abs=40)


async def goes_on(store: RedisStore, log: str) -> Tail:
    """Begin another log, and append to it."""
    tail = await store.begin([b"new"], instead_of=log)
    assert tail.log != log
    assert (await store.append(b"x", log=tail.log, after=1)).is_appended
    return tail


async def test_a_flushed_log(server: Server, store_at: StoreAt) -> None:
    one, other = store_at(server.url), store_at(server.url)
    log = await log_of(one, 3)
    server.call("FLUSHALL")
    await refuses(one, log, 3, "there is no log")
    assert server.call("EXISTS", KEY) == 0
    new = await goes_on(one, log)
    assert (await other.begin([b"late"], instead_of=log)).log == new.log


async def test_a_server_that_restarts_empty(server: Server, store_at: StoreAt) -> None:
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


async def test_a_server_that_restarts_from_an_old_snapshot(server: Server, store_at: StoreAt) -> None:
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
async def test_a_replica_that_lags_takes_over(start: Start, store_at: StoreAt) -> None:
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
async def test_the_clock_is_set(start: Start, store_at: StoreAt, step: int, caplog: pytest.LogCaptureFixture) -> None:
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


async def test_commands_that_arrive_too_late(server: Server, proxy: Proxy, store_at: StoreAt) -> None:
    """The server can't know whether its clock was set or the command is late. Nothing is stamped wrongly."""
    store = store_at(f"redis://127.0.0.1:{proxy.port}", tolerance=0.1)
    log = await log_of(store)
    proxy.delay = 0.3
    with pytest.raises(LimiterUnavailable, match=r"longer than 0\.1 s"):
        await store.append(b"x", log=log, after=1)
    assert len((await store.append(None, log=log, after=0)).entries) == 1  # reading works
    proxy.delay = 0.0
    assert (await store.append(b"x", log=log, after=1)).is_appended


async def test_a_server_that_does_not_answer(
    server: Server, store_at: StoreAt, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_at(server.url)
    log = await log_of(store)
    monkeypatch.setattr(redis_connection, "TIMEOUT", 0.1)
    server.send_signal(signal.SIGSTOP)
    with pytest.raises(LimiterUnavailable, match=r"no answer within 0\.1 s"):
        await store.append(None, log=log, after=1)
    server.send_signal(signal.SIGCONT)


async def test_a_server_without_memory(server: Server, store_at: StoreAt) -> None:
    store = store_at(server.url)
    log = await log_of(store)
    server.call("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(LimiterUnavailable, match="out of memory"):
        await store.append(b"x", log=log, after=1)
    server.call("CONFIG", "SET", "maxmemory", "0")
    assert (await store.append(b"x", log=log, after=1)).is_appended


async def test_a_server_that_may_evict_the_log(
    start: Start, store_at: StoreAt, caplog: pytest.LogCaptureFixture
) -> None:
    """It is named once. If it happens, the whole log is gone, and that is noticed."""
    server = start("--maxmemory-policy", "allkeys-lru")
    store = store_at(server.url)
    with caplog.at_level(logging.WARNING, logger="smsc_status"):
        log = await log_of(store)
        await store.append(b"x", log=log, after=1)
    assert [record.message for record in caplog.records if "allkeys-lru" in record.message] == [
        f"the server at 127.0.0.1:{server.port} may evict the shared log (maxmemory-policy allkeys-lru); each time "
        "that happens, nothing is sent for more than a minute: use a volatile-* policy or noeviction"
    ]
    server.call("CONFIG", "SET", "maxmemory", "1")
    await until(lambda: not server.call("EXISTS", KEY))
    server.call("CONFIG", "SET", "maxmemory", "0")
    await refuses(store, log, 2, "there is no log")


async def test_the_least_rights(server: Server, store_at: StoreAt) -> None:
    """They are enough, and each is needed."""
    rights = RIGHTS.replace("(", "").replace(")", "").split()
    user = "ACL", "SETUSER", "app", "on", ">secret-word", "resetkeys", "~smsc_status:*", "-@all"
    server.call(*user, *rights)
    url = f"redis://app:secret-word@127.0.0.1:{server.port}/1"
    store = store_at(url)
    log = await log_of(store)
    server.calls(("SELECT", 1), ("SCRIPT", "FLUSH"))
    assert (await store.append(b"x", log=log, after=1)).is_appended
    await store.wait(log=log, after=1)
    for right in rights:
        server.call("ACL", "SETUSER", "app", f"-{right[1:]}")
        server.calls(("SELECT", 1), ("FLUSHDB",), ("SCRIPT", "FLUSH"))
        with pytest.raises(LimiterUnavailable, match=r"the least rights are \+evalsha"):
            await everything(store_at(url))
        server.call("ACL", "SETUSER", "app", right)
    await everything(store_at(url))
    server.call("ACL", "SETUSER", "app", "resetkeys", "~other")
    with pytest.raises(LimiterUnavailable, match="the least rights are"):
        await store_at(url).append(None, log="", after=0)


async def everything(store: RedisStore) -> None:
    """Use all commands."""
    with contextlib.suppress(NoLog):
        await store.append(None, log="", after=0)
    tail = await store.begin([b"1"], instead_of="")
    tail = await store.begin([b"%d" % number for number in range(500)], instead_of=tail.log)
    await store.append(b"x", log=tail.log, after=500)
    await store.append(None, log=tail.log, after=499)
    await store.wait(log=tail.log, after=1)
    await store.drop(log=tail.log, before=450)


def locals_of_library(error: BaseException | None) -> str:
    """The locals of all frames of the library that lead to this error or to one that it is chained to."""
    shown = []
    while error is not None:
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        shown += [repr(frame.f_locals) for frame in frames if "/tests/" not in frame.f_code.co_filename]
        error = error.__cause__ or error.__context__
    return "\n".join(shown)


async def test_no_text_shows_the_password(start: Start, store_at: StoreAt, caplog: pytest.LogCaptureFixture) -> None:
    server = start("--requirepass", "secret-word")
    right = f"redis://:secret-word@127.0.0.1:{server.port}"
    wrong = f"redis://someone:secret-word-too@127.0.0.1:{server.port}"
    with caplog.at_level(logging.DEBUG):
        store = store_at(right)
        log = await log_of(store)
        assert (await store.append(b"x", log=log, after=1)).is_appended
        for url in (wrong, server.url):
            with pytest.raises(LimiterUnavailable, match="does not accept the login") as caught:
                await store_at(url).append(None, log="", after=0)
            assert "secret-word" not in locals_of_library(caught.value)
        server.kill()
        with pytest.raises(LimiterUnavailable) as caught:
            await store.append(None, log="", after=0)
    assert "secret-word" not in locals_of_library(caught.value)
    assert "secret-word" not in caplog.text + repr(store) + store.where + str(caught.value)
    assert store.where == f"redis://127.0.0.1:{server.port}/0 (key {KEY})"


async def test_over_tls(server: Server, store_at: StoreAt, tmp_path: Path) -> None:
    """The certificate is verified."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    proxy = Proxy(server.port, context)
    try:
        url = f"rediss://127.0.0.1:{proxy.port}"
        store = store_at(f"{url}?ssl_ca_certs={tmp_path}/ca.pem")
        log = await log_of(store)
        with anyio.move_on_after(0.1):
            await store.wait(log=log, after=1)
        assert (await store.append(b"x" * 100_000, log=log, after=1)).is_appended
        with pytest.raises(LimiterUnavailable, match=r"can't connect: .*certificate"):
            await store_at(url).append(None, log="", after=0)
    finally:
        proxy.close()


# What a server may answer that these servers can't be made to answer quickly.


@pytest.mark.parametrize("kind", ["valkey"], indirect=False)
@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (b"-LOADING Redis is loading the dataset in memory\r\n", "still loads"),
        (b"-MASTERDOWN Link with MASTER is down\r\n", "master is down"),
        (b"-MISCONF Redis is configured to save RDB snapshots\r\n", "can't save"),
        (b"-NOREPLICAS Not enough good replicas to write.\r\n", "no replica follows"),
        (b"-CLUSTERDOWN Hash slot not served\r\n", "cluster is down"),
        (b"-ASK 3999 127.0.0.1:6381\r\n", "moves the log"),
        (b"-BUSY Redis is busy running a script.\r\n", "blocks it"),
        (b"-ERR unknown command `EVALSHA`\r\n", "older than Redis 6.2"),
        (b"-ERR max number of clients reached\r\n", "refuses: ERR max number of clients reached"),
        (b"-NOSCRIPT No matching script\r\n", "refuses: NOSCRIPT"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "not such a server"),
    ],
)
async def test_refusals(kind: str, parrot: Parrot, store_at: StoreAt, reply: bytes, text: str) -> None:
    """Each is an error that names the server and says what happened."""
    parrot.reply = reply
    store = store_at(f"redis://127.0.0.1:{parrot.port}")
    with pytest.raises(LimiterUnavailable, match=rf"the shared log at 127\.0\.0\.1:{parrot.port}: .*{text}"):
        await store.append(None, log="", after=0)


async def test_a_cluster_names_the_server_that_has_the_log(server: Server, parrot: Parrot, store_at: StoreAt) -> None:
    """If that server is lost, the one in the URL is asked again."""
    parrot.reply = b"-MOVED 3999 127.0.0.1:%d\r\n" % server.port
    store = store_at(f"redis://127.0.0.1:{parrot.port}")
    log = await log_of(store)
    assert (await store.append(b"x", log=log, after=1)).is_appended
    await store.wait(log=log, after=1)
    server.kill()
    for text in ("cut", "refused"):
        with pytest.raises(LimiterUnavailable, match=text):
            await store.append(b"x", log=log, after=2)
    parrot.reply = b"-MOVED 3999 :%d\r\n" % parrot.port
    with pytest.raises(LimiterUnavailable, match="name each other"):
        await store.append(b"x", log=log, after=2)


async def test_a_sentinel_names_the_master(server: Server, start: Start, parrot: Parrot, store_at: StoreAt) -> None:
    """It is asked again for each connection, so a fail-over is followed."""
    parrot.reply = b"*2\r\n$9\r\n127.0.0.1\r\n$%d\r\n%d\r\n" % (len(str(server.port)), server.port)
    store = store_at(f"redis://127.0.0.1:{parrot.port}?sentinel=main")
    log = await log_of(store)
    await store.wait(log=log, after=0)
    other = start()
    parrot.reply = b"*2\r\n$9\r\n127.0.0.1\r\n$%d\r\n%d\r\n" % (len(str(other.port)), other.port)
    server.call("REPLICAOF", "127.0.0.1", other.port)
    with pytest.raises(LimiterUnavailable, match=f":{server.port}: it is a replica"):
        await store.begin([b"x"], instead_of=log)
    await refuses(store, log, 1, "there is no log")
    assert other.call("EXISTS", KEY) == 0
    parrot.reply = b"*-1\r\n"
    with pytest.raises(LimiterUnavailable, match=f":{parrot.port}: it is no Sentinel that knows main"):
        await store_at(f"redis://127.0.0.1:{parrot.port}?sentinel=main").append(None, log="", after=0)


async def test_a_host_that_does_not_exist(kind: str, store_at: StoreAt) -> None:
    store = store_at(f"redis://localhost:{free_port()}")
    with pytest.raises(LimiterUnavailable, match=r"localhost:.*can't connect"):
        await store.append(None, log="", after=0)
    with pytest.raises(ConfigError):
        store_at("redis://")
