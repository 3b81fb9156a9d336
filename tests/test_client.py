"""What a user of the client is promised, call by call."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import anyio
import pytest
from client_support import DELIVERED, gather, sent
from helpers import PHONE, Answering, client_of, delivered

from smsc_status import (
    AuthError,
    DeleteError,
    Detail,
    Format,
    HlrRecord,
    LimitExceeded,
    Limits,
    MessageRef,
    RequestTimeout,
    StatusClient,
    StatusRecord,
)
from smsc_status.codes import MessageType
from smsc_status.emulator import Emulator, World

pytestmark = pytest.mark.anyio


# What is sent.


async def test_a_check_is_a_post_of_the_documented_fields() -> None:
    transport = Answering(DELIVERED)
    async with StatusClient(login="us", password="pw", base_url="http://localhost/x/", transport=transport) as client:
        await client.check("AB-7", "+7 (999) 000-00-00", detail=Detail.EXTENDED)
    assert str(transport.requests[0].url) == "http://localhost/x/sys/status.php"
    assert transport.requests[0].method == "POST"
    assert sent(transport) == {
        "login": "us", "psw": "pw", "id": "AB-7", "phone": "+7 (999) 000-00-00", "fmt": "3", "charset": "utf-8",
        "all": "2",
    }  # fmt: skip


async def test_a_deletion_is_a_request_of_its_own() -> None:
    transport = Answering(b'{"result": "OK"}')
    async with StatusClient(apikey="key", base_url="http://localhost", transport=transport) as client:
        await client.delete(7, PHONE)
    assert sent(transport) == {
        "apikey": "key", "id": "7", "phone": PHONE, "fmt": "3", "charset": "utf-8", "del": "1",
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("format", Format)
@pytest.mark.parametrize("charset", ["utf-8", "windows-1251", "koi8-r", "CP1251"])
@pytest.mark.parametrize("detail", Detail)
async def test_every_format_charset_and_level_works_end_to_end(format: Format, charset: str, detail: Detail) -> None:
    """Single and bulk, messages and number look-ups: the client reads what the emulator says."""
    noon = datetime(2026, 3, 10, 9, tzinfo=UTC)
    emulator = Emulator(seed=3, wall_clock=lambda: noon)
    now = emulator.now()
    refs = emulator.world.populate(40, now=now - 8 * 3600, spread=3600)
    refs += [emulator.world.add(900, PHONE, sent_at=now - 60, kind=MessageType.HLR, life=[(0, 1, 0)])]
    async with client_of(emulator, format=format, charset=charset, detail=detail) as client:
        outcomes = [outcome async for outcome in client.stream(refs)]
        single = await client.check(900, PHONE)
    assert len(outcomes) == len(refs)
    records = [outcome for outcome in outcomes if isinstance(outcome, StatusRecord)]
    if (format, detail) == (Format.CSV, Detail.EXTENDED):  # a region with a comma has no sure place in a line
        assert len(records) > 30
    else:
        assert len(records) == len(outcomes)
    for record in records:
        assert record.status == emulator.world.status_at(record.ref, emulator.now())
    assert isinstance(single, HlrRecord)
    assert single.reachable is True


# What comes together.


async def test_calls_made_together_go_in_one_bulk_request_at_the_highest_level() -> None:
    emulator = Emulator()
    delivered(emulator, range(1, 51))
    async with client_of(emulator) as client:
        began_at = anyio.current_time()
        levels = [Detail.FULL if k == 30 else Detail.BASIC for k in range(1, 51)]
        records = await gather(*[client.check(k, PHONE, detail=d) for k, d in enumerate(levels, 1)])
        assert anyio.current_time() - began_at == pytest.approx(0.1)
        assert client.stats().requests == {"single": 0, "bulk": 1, "delete": 0}
    assert all(record.send_date for record in records)


async def test_four_calls_go_singly() -> None:
    emulator = Emulator()
    delivered(emulator, range(1, 5))
    async with client_of(emulator) as client:
        await gather(*[client.check(k, PHONE) for k in range(1, 5)])
        assert client.stats().requests == {"single": 4, "bulk": 0, "delete": 0}


async def test_calls_for_the_same_message_share_a_request_even_on_its_way() -> None:
    emulator = Emulator()
    delivered(emulator, [7])
    async with client_of(emulator, round_trip=1) as client:

        async def later() -> StatusRecord:
            await anyio.sleep(0.5)
            return await client.check("007", "+7 999 000 00 00")

        records = await gather(client.check(7, PHONE), client.check("7", PHONE), later())
        assert client.stats().requests["single"] == 1
    assert [record.ref.id for record in records] == [7, "7", "007"]


async def test_a_call_that_wants_more_detail_than_the_one_on_its_way_asks_anew() -> None:
    emulator = Emulator()
    delivered(emulator, [7])
    async with client_of(emulator, round_trip=1) as client:

        async def later() -> StatusRecord:
            await anyio.sleep(0.5)
            return await client.check(7, PHONE, detail=Detail.FULL)

        basic, full = await gather(client.check(7, PHONE), later())
        assert client.stats().requests["single"] == 2
    assert basic.send_date is None
    assert full.send_date


@pytest.mark.slow
async def test_a_check_goes_ahead_of_a_stream() -> None:
    emulator = Emulator()
    delivered(emulator, range(1, 6000))
    async with client_of(emulator) as client, client.stream((k, PHONE) for k in range(1, 5000)) as stream:
        await anext(stream)
        await anyio.sleep(0.33)
        began_at = anyio.current_time()
        await client.check(5500, PHONE)
        assert anyio.current_time() - began_at <= 0.2  # its own round trip, and at most one to wait for a place


# max_wait, max_age, timeout.


async def test_max_wait_fails_as_soon_as_no_slot_can_come_in_time() -> None:
    emulator = Emulator()
    delivered(emulator, [1])
    async with client_of(emulator) as client:
        for _ in range(5):
            await client.check(1, PHONE)
        began_at = anyio.current_time()
        with pytest.raises(LimitExceeded) as caught:
            await client.check(1, PHONE, max_wait=30)
        assert anyio.current_time() - began_at < 0.001
        assert caught.value.retry_after == pytest.approx(61 - 0.4, abs=0.01)
        assert (await client.check(1, PHONE, max_wait=60.7)).is_delivered
        assert anyio.current_time() - began_at == pytest.approx(60.7, abs=0.01)


async def test_max_wait_zero_goes_at_once_or_not_at_all() -> None:
    emulator = Emulator()
    delivered(emulator, range(1, 20))
    limits = Limits(connections=1)
    async with client_of(emulator, limits=limits, round_trip=2) as client:

        async def second() -> StatusRecord:
            await anyio.sleep(1)
            return await client.check(2, PHONE, max_wait=0)

        first, refused = await gather(client.check(1, PHONE, max_wait=0), second())
    assert first.is_delivered
    assert isinstance(refused, LimitExceeded)
    assert refused.pending == (refused.pending[0],)


async def test_max_age_gives_a_record_again_while_it_is_young() -> None:
    emulator = Emulator()
    delivered(emulator, [1])
    async with client_of(emulator) as client:
        first = await client.check(1, PHONE, max_age=11)
        await anyio.sleep(10)
        assert await client.check("01", PHONE, max_age=11) == first
        assert client.stats().requests["single"] == 1
        await client.check(1, PHONE, max_age=9)
        await client.check(1, PHONE, max_age=60, detail=Detail.FULL)
        await client.check(1, PHONE)
        assert client.stats().requests["single"] == 4


async def test_after_a_deletion_a_known_record_is_not_given_again() -> None:
    emulator = Emulator()
    delivered(emulator, [1])
    async with client_of(emulator) as client:
        await client.check(1, PHONE)
        await client.delete(1, PHONE)
        assert not (await client.check(1, PHONE, max_age=60)).is_found
        with pytest.raises(DeleteError):
            await client.delete(1, PHONE)


async def test_timeout_bounds_the_call_and_not_the_request() -> None:
    emulator = Emulator()
    delivered(emulator, [1])
    async with client_of(emulator, round_trip=5) as client:
        with pytest.raises(RequestTimeout, match="within 2 s") as caught:
            await client.check(1, PHONE, timeout=2)
        assert isinstance(caught.value, TimeoutError)
        await anyio.sleep(4)
        assert client.stats().records == 1


# Streams.


async def test_an_empty_stream_ends_at_once() -> None:
    transport = Answering(DELIVERED)
    async with StatusClient(apikey="k", base_url="http://localhost", transport=transport) as client:
        assert [outcome async for outcome in client.stream([])] == []
    assert transport.requests == []


@pytest.mark.slow
@pytest.mark.parametrize("is_async", [False, True])
async def test_a_stream_reads_its_endless_input_in_bounds(is_async: bool) -> None:
    """A slow consumer slows it down."""
    emulator = Emulator()
    delivered(emulator, range(1, 1000))
    read = 0

    def endless() -> Any:
        nonlocal read
        while True:
            read += 1
            yield read, PHONE

    async def endless_too() -> Any:
        for item in endless():
            yield item

    async with client_of(emulator, limits=Limits(max_bulk=100)) as client:
        stream = client.stream(endless_too() if is_async else endless())
        for _ in range(20):
            await anext(stream)
            await anyio.sleep(100)
        assert read <= 420
        for _ in range(300):
            await anext(stream)
        assert read <= 721
        await stream.aclose()
        assert client.stats().waiting == 0


async def test_a_slow_input_holds_up_no_answer() -> None:
    emulator = Emulator()
    delivered(emulator, range(1, 10))

    async def slow() -> Any:
        for k in range(1, 4):
            yield k, PHONE
            await anyio.sleep(50)

    async with client_of(emulator) as client:
        began_at = anyio.current_time()
        times = [anyio.current_time() - began_at async for _ in client.stream(slow())]
    assert times == pytest.approx([0.1, 50.1, 100.1])


async def test_a_servers_control_characters_reach_no_log_line(caplog: pytest.LogCaptureFixture) -> None:
    """Nor does more of its text than a line's worth."""
    text = "authorise error\x1b[2J\r\nforged line" + "x" * 1_000_000
    transport = Answering(json.dumps({"error": text, "error_code": 2}).encode())
    async with StatusClient(apikey="k", base_url="http://localhost", transport=transport) as client:
        with pytest.raises(AuthError) as caught:
            await client.check(1, PHONE)
    for shown in (*caplog.messages, str(caught.value), caught.value.text):
        assert shown.isprintable()
        assert len(shown) < 500
    assert any("authorise error" in message for message in caplog.messages)


async def test_stats_are_a_snapshot() -> None:
    emulator = Emulator(World(1))
    delivered(emulator, range(1, 11))
    async with client_of(emulator) as client:
        before = client.stats()
        await gather(*[client.check(k, PHONE) for k in range(1, 11)])
        stats = client.stats()
        assert before.records == 0
        assert stats.records == 10
        assert stats.bulk_slot_in == pytest.approx(61)
        assert (stats.open_requests, stats.waiting, stats.retries) == (0, 0, 0)
        assert "localhost" in repr(client)
    assert "closed" in repr(client)


async def test_a_request_has_no_invisible_characters() -> None:
    """And the record has the caller's own object."""
    transport = Answering(DELIVERED)
    ref = MessageRef("\u200e12\u00a0345", "\u202a+7\u00a0999\u2011000\u201300\u201300\u202c")
    async with StatusClient(apikey="k", base_url="http://localhost", transport=transport) as client:
        [record] = [outcome async for outcome in client.stream([ref])]
    assert (sent(transport)["id"], sent(transport)["phone"]) == ("12345", "+79990000000")
    assert record.ref is ref
