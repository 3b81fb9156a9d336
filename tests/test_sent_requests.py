"""What is logged and counted of each request."""

from __future__ import annotations

import logging
import re
from typing import Any

import anyio
import httpx
import pytest
from helpers import PHONE, Answering, answered_by, client_of, delivered

from smsc_status import ClientClosed, SmscError, StatusClient
from smsc_status.emulator import Emulator

pytestmark = pytest.mark.anyio

URL = "http://localhost/sys/status.php"


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What is logged of requests, without "POST" and the URL."""
    messages = [record.getMessage() for record in caplog.records if record.levelno == logging.DEBUG]
    return [message.removeprefix(f"POST {URL}: ") for message in messages if message.startswith("POST")]


async def test_each_request_has_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Its HTTP status, its kind, how many messages it is about, how long it took, and how long it had waited."""
    caplog.set_level(logging.DEBUG, "smsc_status")
    emulator = Emulator()
    delivered(emulator, range(1, 11))
    async with client_of(emulator, round_trip=0.25) as client:
        for _ in range(5):
            await client.check(1, PHONE)
        await client.delete(1, PHONE)
        assert [outcome async for outcome in client.stream([(id, PHONE) for id in range(2, 11)])]
    found = lines(caplog)
    assert found[0] == "HTTP 200; single request, 1 messages, took 0.250 s, had waited 0.000 s"
    assert found[5] == "HTTP 200; delete request, 1 messages, took 0.250 s, had waited 60.000 s"
    assert re.fullmatch(r"HTTP 200; bulk request, 9 messages, took 0\.250 s, had waited 0\.\d{3} s", found[6])
    assert len(found) == 7


@pytest.mark.parametrize(
    ("transport", "what"),
    [
        (Answering(httpx.Response(500)), "HTTP 500"),
        (Answering(httpx.ConnectError("no")), "no usable reply"),
        (Answering(b"<html>"), "HTTP 200"),
    ],
    ids=["500", "no connection", "HTML"],
)
async def test_a_request_that_fails_has_one_line_too(
    transport: Answering, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "smsc_status")
    async with StatusClient(apikey="k", base_url="http://localhost", transport=transport, retries=0) as client:
        with pytest.raises(SmscError):
            await client.check(1, PHONE)
    assert [line.partition(";")[0] for line in lines(caplog)] == [what]


async def test_a_request_that_is_open_when_the_client_closes_has_one_line_too(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "smsc_status")
    errors: list[SmscError] = []

    async def check() -> None:
        try:
            await client.check(1, PHONE)
        except ClientClosed as error:
            errors.append(error)

    async with anyio.create_task_group() as tasks, answered_by(b"", after=10) as client:
        tasks.start_soon(check)
        await anyio.sleep(2)
    assert len(errors) == 1
    assert lines(caplog) == ["abandoned; single request, 1 messages, took 2.000 s, had waited 0.000 s"]


async def test_stats_add_up_how_long_requests_took_and_waited() -> None:
    """By kind; a kind without requests has none."""
    emulator = Emulator()
    delivered(emulator, [1])
    async with client_of(emulator, round_trip=0.5) as client:
        before: Any = client.stats()
        for _ in range(6):
            await client.check(1, PHONE)
        stats: Any = client.stats()
    assert before.request_seconds == before.wait_seconds == {"single": 0, "bulk": 0, "delete": 0}
    assert stats.request_seconds == {"single": pytest.approx(3.0), "bulk": 0, "delete": 0}
    assert stats.wait_seconds == {"single": pytest.approx(61.5 - 2.5, abs=0.01), "bulk": 0, "delete": 0}
    with pytest.raises(KeyError):
        stats.wait_seconds["other"]
