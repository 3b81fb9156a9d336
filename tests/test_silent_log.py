"""A log that does not answer, and an account that is refused: what callers and the log lines say."""

from __future__ import annotations

import logging
from typing import Any

import anyio
import pytest
from helpers import PHONE, Answering
from memory_store import MemoryLog, MemoryStore

from smsc_status import AuthError, LimiterUnavailable, Limits, StatusClient
from smsc_status._sharing.limiter import SharedLimiter
from smsc_status._sharing.store import Store

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("arguments", "seconds"),
    [({"max_wait": 1.0}, 1.1), ({"timeout": 2.0}, 2.0), ({"max_wait": 1.0, "timeout": 2.0}, 1.1)],
)
async def test_a_caller_whose_time_is_over_is_told_that_the_log_does_not_answer(
    arguments: dict[str, Any], seconds: float
) -> None:
    """The store itself gives up only after five seconds."""

    async def open_store() -> Store:
        return MemoryStore(log)

    log = MemoryLog()
    limiter, transport = SharedLimiter(Limits(), open_store, where="memory"), Answering(b'{"status": 1}')
    async with StatusClient(apikey="k", base_url="http://localhost", transport=transport, limiter=limiter) as client:
        await client.check(1, PHONE)
        await anyio.sleep(1)
        log.latency = 5.0
        began_at = anyio.current_time()
        with pytest.raises(LimiterUnavailable, match="has not answered for"):
            await client.check(2, PHONE, **arguments)
        assert anyio.current_time() - began_at == pytest.approx(seconds)
        log.latency = 0.0
        assert (await client.check(3, PHONE, max_wait=30)).status == 1


async def test_a_refused_account_is_warned_of_once_however_many_requests_are_open(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Once more if it was accepted meanwhile."""
    transport = Answering(
        *[b'{"error": "wrong", "error_code": 2}'] * 3,
        b'{"status": 1}',
        b'{"error": "wrong", "error_code": 2}',
        after=1.0,
    )

    def warnings() -> list[Any]:
        return [each for each in caplog.records if each.levelno == logging.WARNING]

    async def refused(id: int) -> None:
        with pytest.raises(AuthError):
            await client.check(id, PHONE)

    async with StatusClient(apikey="k", base_url="http://localhost", transport=transport) as client:
        async with anyio.create_task_group() as group:
            for id in (1, 2, 3):
                group.start_soon(refused, id)
                await anyio.sleep(0.1)
        assert len(warnings()) == 1
        await client.check(4, PHONE)
        await refused(5)
        assert len(warnings()) == 2
