"""What a client is made of: its arguments, the environment, an own limiter, clock and zone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from client_support import DELIVERED, sent
from helpers import PHONE, Answering, answered_by, client_of, delivered

from smsc_status import (
    ConfigError,
    Format,
    LimitExceeded,
    Limits,
    LocalLimiter,
    MessageRef,
    StatusClient,
)
from smsc_status.emulator import Emulator

pytestmark = pytest.mark.anyio


async def _async_clock() -> datetime:
    raise NotImplementedError  # never called


BAD: list[tuple[dict[str, Any], str]] = [
    ({}, "credentials"),
    ({"login": "a"}, "credentials"),
    ({"login": "a", "password": "b", "apikey": "c"}, "credentials"),
    ({"login": "", "password": "b"}, "login"),
    ({"apikey": " "}, "apikey"),
    ({"apikey": 5}, "apikey"),
    ({"apikey": "k", "base_url": "http://smsc.ru"}, "https"),
    ({"apikey": "k", "base_url": "smsc.ru"}, "URL 'smsc.ru'"),
    ({"apikey": "k", "base_url": "ftp://smsc.ru"}, "ftp"),
    ({"apikey": "k", "base_url": "https://smsc.ru:x"}, "URL"),
    ({"apikey": "k", "base_url": None}, "NoneType"),
    ({"apikey": "k", "base_url": "https://smsc.ru?a=b"}, "query"),
    ({"apikey": "k", "mirrors": ["http://www2.smsc.ru"]}, "www2"),
    ({"apikey": "k", "mirrors": "https://www2.smsc.ru"}, "mirrors"),
    ({"apikey": "k", "mirrors": 5}, "mirrors: .* got a int"),
    ({"apikey": "k", "mirrors": b"https://www2.smsc.ru"}, "mirrors: .* got a bytes"),
    ({"apikey": "k", "mirrors": {"https://www2.smsc.ru": 1}}, "mirrors: .* got a dict"),
    ({"apikey": "k", "detail": 7}, "detail 7"),
    ({"apikey": "k", "format": "json"}, "format 'json'"),
    ({"apikey": "k", "charset": "latin-1"}, "charset 'latin-1'"),
    ({"apikey": "k", "charset": "no such"}, "charset 'no such'"),
    ({"apikey": "k", "charset": None}, "charset None"),
    ({"apikey": "k", "timezone": 3}, "timezone 3"),
    ({"apikey": "k", "timeout": 0}, "timeout 0"),
    ({"apikey": "k", "timeout": float("nan")}, "timeout nan"),
    ({"apikey": "k", "retries": -1}, "retries -1"),
    ({"apikey": "k", "retries": True}, "retries True"),
    ({"apikey": "k", "limits": 5}, "limits 5"),
    ({"apikey": "k", "proxy": "no url"}, "proxy"),
    ({"apikey": "k", "proxy": "http://localhost:65536"}, "proxy: InvalidURL"),
    ({"apikey": "k", "wall_clock": datetime.now(UTC)}, "wall_clock datetime"),
    ({"apikey": "k", "wall_clock": _async_clock}, "wall_clock <function .* not async"),
    ({"apikey": "k", "limiter": 5}, "limiter 5: .* lacks acquire, release, wake, slots, limits"),
    ({"apikey": "k", "limiter": 0}, "limiter 0"),
    ({"apikey": "k", "limiter": Limits()}, "lacks acquire"),
    ({"apikey": "k", "limiter": LocalLimiter}, "limiter <class"),
]


@pytest.mark.parametrize(("options", "named"), BAD)
async def test_an_argument_that_can_not_be_used_is_named(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        StatusClient(**options)


async def test_bad_arguments_are_named_before_anything_is_sent() -> None:
    transport = Answering(DELIVERED)
    async with StatusClient(apikey="k", base_url="http://localhost", transport=transport) as client:
        calls: list[tuple[Callable[[], Awaitable[object]], str]] = [
            (lambda: client.check("a" * 41, PHONE), "aaa"),
            (lambda: client.check("1,2", PHONE), "1,2"),
            (lambda: client.check(1, "7,8"), "7,8"),
            (lambda: client.check(1, PHONE, max_wait=-1), "max_wait -1"),
            (lambda: client.check(1, PHONE, max_age=-1), "max_age -1"),
            (lambda: client.check(1, PHONE, timeout="x"), "timeout 'x'"),  # type: ignore[call-overload]  # bad: what is tested
            (lambda: client.check(1, PHONE, detail=9), "detail 9"),  # type: ignore[call-overload]  # bad: what is tested
            (lambda: client.delete(-1, PHONE), "-1"),
        ]
        for call, named in calls:
            with pytest.raises(ConfigError, match=named):
                await call()
    assert transport.requests == []


@pytest.mark.parametrize(
    ("messages", "named"),
    [
        (5, "got a int"),
        (None, "got a NoneType"),
        ("12345", "got a str"),
        (b"12345", "got a bytes"),
        ({"id": 1, "phone": PHONE}, "got a dict"),
        (MessageRef(1, PHONE), "got a MessageRef"),
        ((1, PHONE), r"one alone is \[\(id, phone\)\]"),
        (["1", PHONE], r"one alone is \[\(id, phone\)\]"),
        ((1, PHONE, None), r"one alone is \[\(id, phone\)\]"),
    ],
)
async def test_a_value_that_is_no_iterable_of_messages_is_refused_at_once(messages: Any, named: str) -> None:
    """Otherwise each of its characters, keys or parts would fail as a message of its own."""
    async with StatusClient(apikey="k", base_url="http://localhost", transport=Answering(DELIVERED)) as client:
        for call in (client.stream, client.track):
            with pytest.raises(ConfigError, match=named):
                call(messages)


async def test_two_messages_are_taken_as_an_iterable_of_messages() -> None:
    """As a list or a tuple; so is an empty one."""
    async with StatusClient(apikey="k", base_url="http://localhost", transport=Answering(DELIVERED)) as client:
        for messages in ([(1, PHONE), (2, PHONE)], ((1, PHONE), (2, PHONE)), (), [MessageRef(1, PHONE)] * 2):
            client.stream(messages)


async def test_a_plain_for_says_that_it_wants_async_for() -> None:
    async with StatusClient(apikey="k", base_url="http://localhost", transport=Answering(DELIVERED)) as client:
        for stream in (client.stream([(1, PHONE)]), client.track([(1, PHONE)])):
            with pytest.raises(TypeError, match=f"{type(stream).__name__} is asynchronous: .* `async for`"):
                for _ in stream:  # type: ignore[attr-defined,unused-ignore]  # bad: what is tested
                    pass


async def test_from_env_reads_the_variables_after_its_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables, and overrides that go before them."""
    transport = Answering(DELIVERED)
    monkeypatch.setenv("SMSC_APIKEY", "from env")
    monkeypatch.setenv("SMSC_LOGIN", "")
    monkeypatch.setenv("SMSC_BASE_URL", "http://localhost")
    async with StatusClient.from_env(transport=transport) as client:
        await client.check(1, PHONE)
    assert sent(transport)["apikey"] == "from env"
    assert transport.requests[0].url.host == "localhost"
    async with StatusClient.from_env(transport=transport, login="a", password="b", base_url="https://x") as client:
        await client.check(1, PHONE)
    assert sent(transport)["login"] == "a"
    assert "apikey" not in sent(transport)
    assert transport.requests[1].url.host == "x"


async def test_a_wall_clock_of_one_s_own_dates_the_records() -> None:
    then = datetime(2020, 2, 29, tzinfo=UTC)
    async with answered_by(DELIVERED, wall_clock=lambda: then) as client:
        record = await client.check(1, PHONE)
    assert record.checked_at == then
    assert record.changed_at == datetime(2026, 1, 1, 7, tzinfo=UTC)


async def test_text_dates_are_read_in_the_client_s_zone() -> None:
    zone = timezone(timedelta(hours=6))
    body = b"Status = 1, check_time = 01.01.2026 10:00:00"
    async with answered_by(body, format=Format.PLAIN, timezone=zone) as client:
        assert (await client.check(1, PHONE)).changed_at == datetime(2026, 1, 1, 4, tzinfo=UTC)


async def test_clients_with_an_explicit_limiter_share_it() -> None:
    emulator = Emulator()
    delivered(emulator, [1])
    limiter = LocalLimiter(Limits(checks_per_id=2))
    async with client_of(emulator, limiter=limiter) as one, client_of(emulator, limiter=limiter) as two:
        await one.check(1, PHONE)
        await two.check(1, PHONE)
        with pytest.raises(LimitExceeded):
            await one.check(1, PHONE, max_wait=5)


def test_a_local_limiter_knows_the_longest_time_out_of_its_clients() -> None:
    """A loop that stands still may keep a request open for as long; a limiter of one's own is left alone."""
    shared, own = LocalLimiter(), OwnLimiter()
    for timeout in (60.0, 45.0):
        StatusClient(apikey="k", limiter=shared, timeout=timeout)
    StatusClient(apikey="k", limiter=own, timeout=60.0)
    assert shared.longest_request == 60.0
    assert not hasattr(own, "longest_request")


class OwnLimiter:
    """One that does without."""

    limits = Limits()

    async def acquire(self, select: Any) -> Any:
        raise NotImplementedError

    async def release(self, permit: Any, how: Any) -> None:
        raise NotImplementedError

    def wake(self, select: Any = None) -> None:
        raise NotImplementedError

    def slots(self) -> Any:
        raise NotImplementedError
