"""How an account stands, as its log tells, and that to read it changes nothing."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import anyio
import attrs
import pytest
from memory_store import MemoryLog, MemoryStore

from smsc_status import Limits
from smsc_status._core.scheduling.ledger import Joined, Quarantine, decode, encode, joined, limits_of, took
from smsc_status._core.scheduling.pacing import Pacer, RequestEnd
from smsc_status._sharing.file import FileStore
from smsc_status._sharing.limiter import SharedLimiter
from smsc_status._sharing.report import AccountState, ProcessState, read_state
from smsc_status._sharing.store import Store
from smsc_status.cli._limits import lines
from smsc_status.models import Key

pytestmark = pytest.mark.anyio


@attrs.frozen
class One:
    """A request for these ids, at any time."""

    keys: tuple[Key, ...]
    bulk: bool = False

    def select(self, pacer: Pacer, *, now: float) -> One | float:
        at = pacer.slot_due_at(now=now)
        return self if at <= now else at


def process(log: MemoryLog, limits: Limits | None = None) -> SharedLimiter:
    async def open_store() -> Store:
        return MemoryStore(log)

    return SharedLimiter(limits or Limits(), open_store, where="memory")


async def ask(limiter: SharedLimiter, one: One, *, takes: float = 0.0) -> None:
    permit = await limiter.acquire(one.select)
    await anyio.sleep(takes)
    await limiter.release(permit, RequestEnd.REPLIED)


async def state_of(log: MemoryLog) -> AccountState:
    before = list(log.entries)
    state = await read_state(MemoryStore(log))
    assert log.entries == before
    return state


async def test_without_a_log_everything_is_free() -> None:
    state = await state_of(MemoryLog())
    assert state == AccountState(where="memory", no_log="a first start", free_slots=4)


@pytest.mark.parametrize(("is_lost", "free_slots", "seconds"), [(True, 0, 101.0), (False, 4, 0.0)])
async def test_after_a_loss_nothing_is_free_although_nobody_has_noticed_it_yet(
    tmp_path: Path, is_lost: bool, free_slots: int, seconds: float
) -> None:
    """The next process that sends something begins a log with a quarantine, if it keeps the vendor's limits."""
    await FileStore(tmp_path / "log").begin([encode(Quarantine(0.0, "new"))], instead_of="")
    if is_lost:
        os.truncate(tmp_path / "log", os.stat(tmp_path / "log").st_size - 1)
    state = await read_state(FileStore(tmp_path / "log"))
    assert (state.no_log is not None) is is_lost
    assert (state.free_slots, state.open_requests) == (free_slots, 0)
    assert state.quarantine_in == state.bulk_slot_in == pytest.approx(seconds, abs=1.0)
    assert any("begins a new log" in line for line in lines(state)) is is_lost


async def test_each_process_is_shown_with_its_open_requests() -> None:
    log, limits = MemoryLog(), Limits(period=30.0, connections=3)
    one, other = process(log, limits), process(log, limits)
    async with anyio.create_task_group() as tasks:
        for id in (7, 8):
            tasks.start_soon(partial(ask, one, One((id,)), takes=10))
        await anyio.sleep(2)
        await ask(other, One((7, 9), bulk=True))
        await anyio.sleep(3)
        state = await state_of(log)
    (first, second), name = state.processes, state.processes[0].name
    assert "/" in name
    assert first == ProcessState(name=name, open_requests=2, last_request_ago=5.0)
    assert second == ProcessState(name=name, open_requests=0, last_request_ago=3.0)
    assert (state.open_requests, state.free_slots, state.ids_remembered) == (2, 1, 3)
    assert state.bulk_slot_in == pytest.approx(28)
    assert state.limits == limits
    assert (state.quarantine_in, state.no_log) == (0.0, None)


async def test_a_process_without_requests_is_shown_too() -> None:
    log, limits = MemoryLog(), Limits()
    await MemoryStore(log).begin([encode(joined(who=0, name="host/1", limits=limits, budget=30.0))], instead_of="")
    state = await state_of(log)
    assert state.processes == (ProcessState(name="host/1", open_requests=0, last_request_ago=None),)
    assert (state.free_slots, state.bulk_slot_in, state.ids_remembered) == (4, 0.0, 0)


async def test_processes_that_have_gone_are_not_shown() -> None:
    log = MemoryLog()
    await ask(process(log), One((7,)))
    await anyio.sleep(200)
    state = await state_of(log)
    assert state.processes == ()
    assert state.ids_remembered == 0


async def test_nothing_is_free_during_a_quarantine() -> None:
    log = MemoryLog()
    data = encode(Quarantine(80.0, "it was lost")), encode(took(who=9, serial=1, budget=30.0, bulk=False, keys=[7]))
    await MemoryStore(log).begin(data, instead_of="")
    await anyio.sleep(10)
    state = await state_of(log)
    assert (state.quarantine_in, state.bulk_slot_in, state.free_slots) == (70.0, 70.0, 0)
    assert state.limits == Limits()


async def test_more_requests_than_slots_leave_none_free() -> None:
    """As when a process did not keep to the limits."""
    log = MemoryLog()
    data = [encode(took(who=9, serial=serial, budget=30.0, bulk=False, keys=[serial])) for serial in range(6)]
    await MemoryStore(log).begin(data, instead_of="")
    assert (await state_of(log)).free_slots == 0


async def test_a_process_that_has_used_a_deleted_log_sends_nothing_for_a_while() -> None:
    log = MemoryLog()
    limiter = process(log)
    await ask(limiter, One((7,)))
    await MemoryStore(log).forget()
    began_at = anyio.current_time()
    await ask(limiter, One((7,)))
    assert anyio.current_time() - began_at > 61


async def test_limits_are_read_back_from_a_record() -> None:
    limits = Limits(checks_per_id=3, bulk_requests=2, period=1.5, connections=7, margin=0.25, linger=2.0)
    record = decode(encode(joined(who=0, name="host/1", limits=limits, budget=30.0)))
    assert isinstance(record, Joined)
    assert limits_of(record) == limits
    assert isinstance(limits_of(record).connections, int)
