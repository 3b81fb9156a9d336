"""Unexpected errors (of a reply, a transport, a clock, a limiter) cost one message at most, and show no secret."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import anyio
import pytest
from engine_support import DELIVERED, note
from helpers import PHONE, answered_by, client_of, delivered, engine_of, held_by

from smsc_status import (
    FailedCheck,
    LocalLimiter,
    ProtocolError,
    StatusRecord,
    TransportError,
)
from smsc_status._core.drafts import bind
from smsc_status._core.scheduling.dispatch import Dispatcher
from smsc_status._core.scheduling.pacing import RequestEnd
from smsc_status._core.scheduling.verdicts import Verdicts
from smsc_status._core.wire import protocol
from smsc_status._runtime import engine as engine_module
from smsc_status.emulator import Emulator

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("shown", [OSError("no clock"), datetime(2026, 3, 10), None, "noon"])
async def test_a_wall_clock_that_fails_is_replaced_by_the_system_s(
    shown: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """It is the caller's own: no answer is lost by it, and one line says so."""

    def broken() -> Any:
        if isinstance(shown, Exception):
            raise shown
        return shown

    async with answered_by(DELIVERED, wall_clock=broken) as client:
        for id in (1, 2):
            record = await client.check(id, PHONE)
            assert abs((datetime.now(UTC) - record.checked_at).total_seconds()) < 60
        tracked = [outcome async for outcome in client.track([(3, PHONE)])]
    assert [type(outcome) for outcome in tracked] == [StatusRecord]
    assert caplog.text.count("wall_clock failed") == 1


async def test_a_limiter_that_fails_is_asked_again_for_what_waits(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(LocalLimiter):
        failures = 1

        async def acquire(self, select: Any) -> Any:
            if self.failures:
                self.failures -= 1
                raise OSError("no connection to the other machines")
            return await super().acquire(select)

    async with answered_by(DELIVERED, limiter=Failing()) as client:
        assert (await client.check(1, PHONE)).status == 1
        assert [outcome.ref.id async for outcome in client.stream([(2, PHONE)])] == [2]
        assert [outcome.ref.id async for outcome in client.track([(3, PHONE)])] == [3]
        assert client.stats().waiting == 0
    assert "the limiter failed, and is asked again: OSError: no connection" in caplog.text


async def test_a_request_that_cannot_be_made_costs_its_message_an_error_and_no_token(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The error is not that of a closed client, and the client goes on."""
    ended: list[RequestEnd] = []

    def broken(*_: Any, **__: Any) -> None:
        raise KeyError("no")

    class Noting(LocalLimiter):
        async def release(self, permit: Any, how: RequestEnd) -> None:
            ended.append(how)
            await super().release(permit, how)

    async with answered_by(DELIVERED, limiter=Noting()) as client:
        with monkeypatch.context() as patched:
            patched.setattr(protocol, "fields", broken)
            with pytest.raises(ProtocolError, match="KeyError"):
                await client.check(1, PHONE)
        assert (await client.check(1, PHONE)).status == 1
    assert ended == [RequestEnd.NOT_SENT, RequestEnd.REPLIED]
    assert "a request could not be sent: unexpected error" in caplog.text


async def test_an_error_in_the_middle_of_a_reply_spoils_no_other_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = 0

    def odd(*args: Any) -> StatusRecord:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise ValueError("a bug")
        return bind(*args)

    monkeypatch.setattr("smsc_status._core.scheduling.verdicts.bind", odd)
    emulator = Emulator()
    refs = delivered(emulator, range(1, 11))
    async with client_of(emulator) as client:
        outcomes = [outcome async for outcome in client.stream(refs)]
    assert len(outcomes) == 10
    assert sum(isinstance(outcome, StatusRecord) for outcome in outcomes) == 9


@pytest.mark.parametrize("work", ["check", "stream", "track"])
@pytest.mark.parametrize(
    ("owner", "name"),
    [(engine_module, "read"), (Verdicts, "conclude")],
    ids=["while it is read", "while it is handed out"],
)
async def test_an_unexpected_error_with_a_reply_leaves_no_caller_waiting(
    owner: Any, name: str, work: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each message has an outcome, or is tracked on; the slots are free again, and the client goes on."""
    method, mistakes = getattr(owner, name), 1

    def odd(*args: Any, **options: Any) -> Any:
        nonlocal mistakes
        if mistakes:
            mistakes -= 1
            raise ZeroDivisionError("a mistake of ours")
        return method(*args, **options)

    monkeypatch.setattr(owner, name, odd)
    emulator = Emulator()
    refs = delivered(emulator, range(1, 11))
    limiter = LocalLimiter()
    results: list[Any] = []
    async with client_of(emulator, limiter=limiter) as client:
        with anyio.fail_after(200):
            if work == "check":
                async with anyio.create_task_group() as group:
                    for ref in refs:
                        group.start_soon(note, results, client.check(ref.id, ref.phone))
            else:
                results = [outcome async for outcome in getattr(client, work)(refs)]
        assert len(results) == 10
        failures = [result.error if isinstance(result, FailedCheck) else result for result in results]
        if work == "track":  # which asks again by itself
            assert all(isinstance(result, StatusRecord) for result in results)
        else:
            assert {type(failure) for failure in failures} == {ProtocolError}
            assert all("ZeroDivisionError" in str(failure) for failure in failures)
        assert limiter.slots().open_requests == 0
        assert client.stats().waiting == 0
        assert engine_of(client).pending.is_empty
        assert (await client.check(1, PHONE)).is_delivered
        await anyio.sleep(80)
        assert limiter.is_idle()
    assert caplog.text.count("an answer could not be used") == 1


async def test_an_unexpected_error_after_a_reply_was_handed_out_changes_no_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the reply left out is asked again all the same."""

    def odd(*_: Any) -> None:
        raise ZeroDivisionError("a mistake of ours")

    monkeypatch.setattr(Dispatcher, "bulk_succeeded", odd)
    rows = [{"status": 1, "id": id, "phone": PHONE} for id in range(2, 11)]
    results: list[Any] = []
    async with answered_by(json.dumps(rows).encode(), DELIVERED) as client:
        async with anyio.create_task_group() as group:
            for id in range(1, 11):
                group.start_soon(note, results, client.check(id, PHONE))
        assert client.stats().requests == {"bulk": 1, "single": 1, "delete": 0}
    assert sorted(result.ref.id for result in results) == list(range(1, 11))


async def test_secrets_are_taken_out_of_whatever_a_transport_raises() -> None:
    """Texts, bytes, containers, notes, chains and groups."""
    key = "key-of-ours"
    inner = ValueError({"form": [f"apikey={key}".encode(), 7, None]})
    inner.add_note(f"sent: {key}")
    error = ExceptionGroup("both", [inner, OSError(5, f"apikey={key}")])
    error.__context__ = RuntimeError((f"apikey={key}",))
    async with answered_by(error, apikey=key, retries=0) as client:
        with pytest.raises(TransportError) as caught:
            await client.check(1, PHONE)
    cause = caught.value.__cause__
    assert isinstance(cause, ExceptionGroup)
    assert [type(member) for member in cause.exceptions] == [ValueError, OSError]
    assert cause.exceptions[0].__notes__ == ["sent: ***"]
    assert isinstance(cause.__context__, RuntimeError)
    assert not [text for text in held_by(caught.value) if key in text]
