"""A server refuses, is slow or out of reach, or sends to another one. No text shows a password."""

from __future__ import annotations

import contextlib
import logging
import signal
import ssl
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
import trustme
from redis_logs import log_of, refuses
from redis_servers import Parrot, Proxy, Server, free_port, until

from smsc_status._sharing import redis_connection
from smsc_status._sharing.redis import RedisStore
from smsc_status._sharing.redis_connection import RIGHTS
from smsc_status._sharing.store import NoLog
from smsc_status.errors import ConfigError, LimiterUnavailable

pytestmark = pytest.mark.anyio

KEY = "smsc_status:{acc}"
StoreAt = Callable[..., RedisStore]
Start = Callable[..., Server]


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Real servers need real time."""
    return request.param


@pytest.mark.slow
@pytest.mark.measured
async def test_a_command_that_arrives_too_late_appends_nothing(server: Server, proxy: Proxy, store_at: StoreAt) -> None:
    """The server can't know whether its clock was set or the command is late. Nothing is stamped wrongly."""
    store = store_at(f"redis://127.0.0.1:{proxy.port}", tolerance=0.1)
    log = await log_of(store)
    proxy.delay = 0.3
    with pytest.raises(LimiterUnavailable, match=r"longer than 0\.1 s"):
        await store.append(b"x", log=log, after=1)
    assert len((await store.append(None, log=log, after=0)).entries) == 1  # reading works
    proxy.delay = 0.0
    assert (await store.append(b"x", log=log, after=1)).is_appended


async def test_a_server_that_does_not_answer_is_out_of_reach(
    server: Server, store_at: StoreAt, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_at(server.url)
    log = await log_of(store)
    monkeypatch.setattr(redis_connection, "TIMEOUT", 0.1)
    server.send_signal(signal.SIGSTOP)
    with pytest.raises(LimiterUnavailable, match=r"no answer within 0\.1 s"):
        await store.append(None, log=log, after=1)
    server.send_signal(signal.SIGCONT)


async def test_a_server_without_memory_is_out_of_reach_until_it_has_some(server: Server, store_at: StoreAt) -> None:
    store = store_at(server.url)
    log = await log_of(store)
    server.call("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(LimiterUnavailable, match="out of memory"):
        await store.append(b"x", log=log, after=1)
    server.call("CONFIG", "SET", "maxmemory", "0")
    assert (await store.append(b"x", log=log, after=1)).is_appended


async def test_a_server_that_may_evict_the_log_is_warned_of(
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


async def test_the_least_rights_are_enough_and_each_is_needed(server: Server, store_at: StoreAt) -> None:
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


@pytest.mark.slow
@pytest.mark.measured
async def test_the_certificate_of_a_server_over_tls_is_verified(
    server: Server, store_at: StoreAt, tmp_path: Path
) -> None:
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
        (b"$-1\r\n", "runs no scripts"),
        (b":5\r\n", "runs no scripts"),
        (b"*1\r\n$4\r\nread\r\n", "runs no scripts"),
        (b"*8\r\n$4\r\nread\r\n" + b"$-1\r\n" * 7, "runs no scripts"),
        (b"*8\r\n" + b"$4\r\nread\r\n" * 8, "runs no scripts"),
    ],
)
async def test_a_refusal_is_an_error_that_names_the_server(
    kind: str, parrot: Parrot, store_at: StoreAt, reply: bytes, text: str
) -> None:
    """It also says what happened."""
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


@pytest.mark.parametrize("kind", ["valkey"], indirect=False)
@pytest.mark.parametrize("reply", [b"*-1\r\n", b"*0\r\n", b"*2\r\n:1\r\n:2\r\n", b"*2\r\n$1\r\nh\r\n$1\r\nx\r\n"])
async def test_what_is_no_sentinel_is_named(kind: str, parrot: Parrot, store_at: StoreAt, reply: bytes) -> None:
    parrot.reply = reply
    with pytest.raises(LimiterUnavailable, match=f":{parrot.port}: it is no Sentinel that knows main"):
        await store_at(f"redis://127.0.0.1:{parrot.port}?sentinel=main").append(None, log="", after=0)


async def test_a_host_without_a_server_is_out_of_reach(kind: str, store_at: StoreAt) -> None:
    store = store_at(f"redis://localhost:{free_port()}")
    with pytest.raises(LimiterUnavailable, match=r"localhost:.*can't connect"):
        await store.append(None, log="", after=0)
    with pytest.raises(ConfigError):
        store_at("redis://")
