"""Every public call as a user of a type checker writes it: `mypy --strict` reads this file, and it runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import assert_type

import httpx
import pytest
from helpers import PHONE, delivered

from smsc_status import (
    Channel,
    Detail,
    FailedCheck,
    Flags,
    Format,
    HlrRecord,
    Limits,
    LocalLimiter,
    MessageRef,
    OutcomeStream,
    SmscError,
    Stats,
    Status,
    StatusClient,
    StatusRecord,
    Title,
)
from smsc_status.emulator import Emulator

pytestmark = pytest.mark.anyio


async def messages() -> AsyncIterator[MessageRef | tuple[int, str] | tuple[str, str, datetime]]:
    yield MessageRef(1, PHONE, sent_at=datetime(2026, 1, 1, tzinfo=UTC))
    yield 2, PHONE
    yield "3", PHONE, datetime(2026, 1, 1, tzinfo=UTC)


async def use(client: StatusClient) -> list[StatusRecord | FailedCheck]:
    assert_type(await client.check(1, PHONE), StatusRecord)
    await client.check("1", PHONE, detail=Detail.FULL, max_wait=5, max_age=1.5, timeout=10)
    stream = client.stream([(1, PHONE), MessageRef("2", PHONE)], detail=Detail.FULL)
    assert_type(stream, OutcomeStream)
    outcomes = [outcome async for outcome in stream]
    assert_type(outcomes, list[StatusRecord | FailedCheck])
    async with client.stream(messages()) as others:
        async for outcome in others:
            outcomes.append(outcome)
            if isinstance(outcome, FailedCheck):
                assert_type(outcome.error, SmscError)
            else:
                read(outcome)
        assert_type(others.pending(), list[MessageRef])
    await client.delete(1, PHONE)
    assert_type(client.stats(), Stats)
    return outcomes


def read(record: StatusRecord) -> None:
    assert_type(record.ref, MessageRef)
    assert_type(record.changed_at, datetime | None)
    assert_type(record.checked_at, datetime)
    assert_type(record.is_final, bool)
    assert_type(record.channel, Channel)
    assert_type(record.flags, Flags | None)
    assert_type(record.status_title, Title | None)
    assert record.status == Status.DELIVERED
    if isinstance(record, HlrRecord):
        assert_type(record.reachable, bool | None)


async def test_every_public_call_is_typed_and_works() -> None:
    """What the type checker was told is what happens."""
    emulator = Emulator()
    delivered(emulator, [1, 2, 3])
    async with StatusClient(
        apikey="demo-key",
        base_url="http://localhost",
        mirrors=["http://127.0.0.1"],
        detail=Detail.BASIC,
        format=Format.JSON,
        limiter=LocalLimiter(Limits(max_bulk=10)),
        transport=httpx.ASGITransport(app=emulator),
        wall_clock=lambda: datetime.now(UTC),
    ) as client:
        outcomes = await use(client)
    assert len(outcomes) == 5
