"""What a process reads of the shared log, and what it appends: a lost log, tickets, old entries, other versions."""

from __future__ import annotations

import anyio
import pytest
from memory_store import MemoryLog
from shared_limiter_support import One, ask, participant_of, process, records_of

from smsc_status import ConfigError, Limits, _loops
from smsc_status._core.scheduling.ledger import Ended, Joined, Quarantine, Took, Waits, decode, encode
from smsc_status._core.scheduling.pacing import Pacer, RequestEnd

pytestmark = pytest.mark.anyio


# A new log.


async def test_a_log_that_is_lost_is_followed_by_a_quarantine(caplog: pytest.LogCaptureFixture) -> None:
    """All processes warn of it once."""
    log = MemoryLog()
    one, other = process(log), process(log)
    for limiter in (one, other):
        await ask(limiter, One())
    permit = await one.acquire(One().select)
    log.forget()
    began_at = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, one, One())
        tasks.start_soon(ask, other, One())
        await anyio.sleep(1)
        assert one.slots().quarantine_in == pytest.approx(100, abs=2)
        assert one.slots().open_requests == 0
        await one.release(permit, RequestEnd.REPLIED)
    assert anyio.current_time() - began_at == pytest.approx(60 + 1 + 10 + 30, abs=1.1)
    assert caplog.text.count("nothing is sent for up to") == 2


async def test_a_new_log_without_a_quarantine_gets_one_from_those_who_know_the_old_one() -> None:
    log = MemoryLog()
    old = process(log)
    for _ in range(5):
        await ask(old, One())
    log.forget()
    newcomer = process(log)
    await ask(newcomer, One((1,)))
    began_at = anyio.current_time()
    await ask(old, One())
    assert anyio.current_time() - began_at > 90
    assert [record.seconds > 0 for record in records_of(log, Quarantine)] == [False, True]


async def test_a_log_that_is_lost_while_a_request_is_written_is_joined_before_the_next_one() -> None:
    log = MemoryLog(latency=0.02)
    limiter = process(log)
    await ask(limiter, One())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, limiter, One((1,)))
        tasks.start_soon(ask, limiter, One((2,)))
        await anyio.sleep(0.01)
        log.forget()
    assert all(record.who for record in records_of(log, Took))
    assert len(records_of(log, Joined)) >= 1


async def test_a_log_that_is_lost_while_a_ticket_is_written() -> None:
    log = MemoryLog(latency=0.02)
    one, other = process(log), process(log)
    permits = [await one.acquire(One((key,)).select) for key in range(4)]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, other, One())
        while not records_of(log, Waits):  # noqa: ASYNC110 (likewise)
            await anyio.sleep(0.001)
        log.forget()
        for permit in permits:
            await one.release(permit, RequestEnd.REPLIED)
    assert not [record for record in records_of(log, Waits) if not record.who]


# Tickets, and what is repeated or forgotten.


async def test_tickets_are_left_renewed_and_taken_back() -> None:
    log = MemoryLog()
    one, other = process(log), process(log)
    await ask(other, One())
    await anyio.sleep(0.1)  # its end is in the log by now
    permits = [await one.acquire(One((key,)).select) for key in range(4)]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, other, One((9,)))
        await anyio.sleep(5)
        tickets = records_of(log, Waits)
        assert 4 <= len(tickets) <= 7
        assert all(ticket.slot for ticket in tickets)
        for permit in permits:
            await one.release(permit, RequestEnd.REPLIED)
    last = records_of(log, Waits)[-1]
    assert (last.slot, last.bulk) == (False, False)


async def test_a_ticket_that_has_expired_is_not_taken_back() -> None:
    log = MemoryLog()
    one, other = process(log), process(log)
    await ask(other, One())
    await anyio.sleep(0.1)  # its end is in the log by now
    permits = [await one.acquire(One((key,)).select) for key in range(4)]
    with anyio.move_on_after(0.5):
        try:
            await other.acquire(One((9,)).select)
        finally:
            log.is_away = True  # so that it can't be taken back at once
    await anyio.sleep(3)
    log.is_away = False
    for permit in permits:
        await one.release(permit, RequestEnd.REPLIED)
    await ask(other, One((9,)))
    assert len(records_of(log, Waits)) == 1


async def test_a_request_that_follows_at_once_tells_the_end_of_the_one_before() -> None:
    log = MemoryLog()
    limiter = process(log)
    for key in range(50):
        await ask(limiter, One((key,)), takes=0.05)
    assert len(records_of(log, Took)) == 50
    assert not records_of(log, Ended)
    assert limiter.slots().open_requests == 0
    await anyio.sleep(0.1)
    assert [record.serial for record in records_of(log, Ended)] == [50]


async def test_an_end_is_told_if_another_process_comes_meanwhile() -> None:
    """The next request then fails to be appended, and must tell it in its second try."""
    log = MemoryLog()
    limiter, other = process(log), process(log)
    await ask(limiter, One((1,)))
    permit = await other.acquire(One((2,)).select)
    await limiter.acquire(One((3,)).select)
    await anyio.sleep(0.1)
    assert limiter.slots().open_requests == 2
    assert [record.after for record in records_of(log, Took)] == [None, None, (1, 0)]
    await other.release(permit, RequestEnd.REPLIED)


async def test_a_selector_is_not_called_in_vain_while_no_slot_is_free() -> None:
    log, calls = MemoryLog(), 0

    def select(pacer: Pacer, *, now: float) -> One | float:
        nonlocal calls
        calls += 1
        return One((9,)).select(pacer, now=now)

    limiter = process(log)
    permits = [await limiter.acquire(One((key,)).select) for key in range(4)]
    with anyio.move_on_after(0.01):
        await limiter.acquire(select)
    assert calls == 1
    for permit in permits:
        await limiter.release(permit, RequestEnd.REPLIED)


@pytest.mark.parametrize("why", ["another process", "one connection", "bulk", "another request", "it was not sent"])
async def test_an_end_for_which_somebody_may_wait_is_told_at_once(why: str) -> None:
    log = MemoryLog()
    limiter = process(log, Limits(connections=1) if why == "one connection" else None)
    if why == "another process":
        await ask(process(log, None), One((1,)))
        await anyio.sleep(1)
    if why == "another request":
        await limiter.acquire(One((1,)).select)
    before = len(records_of(log, Ended))
    how = RequestEnd.NOT_SENT if why == "it was not sent" else RequestEnd.REPLIED
    await ask(limiter, One((2,), bulk=why == "bulk"), how=how)
    assert len(records_of(log, Ended)) == before + 1


async def test_an_end_is_told_at_once_if_a_caller_waits_for_the_token() -> None:
    log = MemoryLog()
    limiter = process(log)
    permit = await limiter.acquire(One().select)
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(ask, limiter, One())
        await anyio.sleep(1)
        before = len(records_of(log, Ended))
        await limiter.release(permit, RequestEnd.REPLIED)
        assert len(records_of(log, Ended)) == before + 1
        tasks.cancel_scope.cancel()


async def test_an_end_is_told_when_the_client_leaves() -> None:
    log = MemoryLog()
    limiter = process(log)
    await ask(limiter, One())
    assert not records_of(log, Ended)
    await limiter.leave()
    assert len(records_of(log, Ended)) == 1


async def test_an_end_that_can_not_be_told_now_is_told_with_the_next_request() -> None:
    log = MemoryLog()
    limiter = process(log)
    await ask(limiter, One((1,)))
    log.is_away = True
    await anyio.sleep(1)
    log.is_away = False
    assert not records_of(log, Ended)
    await ask(limiter, One((2,)))
    assert [record.after for record in records_of(log, Took)] == [None, (1, 0)]


async def test_a_process_at_work_says_so_again_after_half_a_horizon() -> None:
    log = MemoryLog()
    limiter = process(log)
    for _ in range(6):
        await ask(limiter, One())
        await anyio.sleep(30)
    joined = records_of(log, Joined)
    assert len(joined) == 3
    assert [record.who for record in joined] == [0, joined[1].who, joined[1].who]


async def test_old_entries_are_dropped() -> None:
    log = MemoryLog()
    limiter = process(log)
    for _ in range(2):
        for key in range(400):
            await ask(limiter, One((key,)), takes=0.1)
        await anyio.sleep(300)
    assert log.entries[0].number > 300
    # A bound of the memory, which nothing outside tells.
    assert len(participant_of(limiter)._replica.ledger.members) == 1


async def test_a_reader_that_has_missed_dropped_entries_begins_anew() -> None:
    log = MemoryLog()
    one, other = process(log), process(log)
    await ask(one, One())
    for _ in range(4):
        await ask(other, One())
    log.entries = log.entries[-2:]
    await ask(one, One((1,)))
    assert one.slots().open_requests == 0


async def test_other_limits_are_a_mistake() -> None:
    log = MemoryLog()
    await ask(process(log), One())
    other = process(log, Limits(period=30))
    for _ in range(2):
        with pytest.raises(ConfigError, match="period 60 and not 30"):
            await other.acquire(One().select)


async def test_a_record_of_another_version_is_a_mistake_until_it_is_gone() -> None:
    log = MemoryLog()
    limiter = process(log)
    await ask(limiter, One())
    log.append(b"\x93\x63", _loops.now() + 1000)
    for _ in range(2):
        with pytest.raises(ConfigError, match="can't be read"):
            await limiter.acquire(One().select)
    del log.entries[-1]
    await ask(limiter, One())


async def test_a_log_that_is_read_anew_ends_no_request_in_flight() -> None:
    log = MemoryLog()
    limiter = process(log)
    permit = await limiter.acquire(One((1,)).select)
    log.append(b"of another version", 1000.0)
    with pytest.raises(ConfigError):
        await limiter.acquire(One((2,)).select)
    del log.entries[-1]
    await ask(limiter, One((3,)))
    assert limiter.slots().open_requests == 1
    await limiter.release(permit, RequestEnd.REPLIED)
    assert limiter.slots().open_requests == 0


async def test_one_log_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    log = MemoryLog()
    limiter = process(log)
    await ask(limiter, One((1,)))
    for _ in range(2):
        log.append(encode(Quarantine(5.0, "lost")), log.entries[-1].at)
    await ask(limiter, One((2,)))
    assert [record.levelname for record in caplog.records] == ["WARNING"]


async def test_a_process_that_says_again_that_it_is_at_work_tells_when_its_last_bulk_request_was() -> None:
    """By then the entry of that request may have been dropped."""
    log = MemoryLog()
    limiter = process(log)
    await ask(limiter, One((1,), bulk=True))
    (took_at,) = [entry.at for entry in log.entries if isinstance(decode(entry.data), Took)]
    await anyio.sleep(80)
    await ask(limiter, One((2,)))
    assert [record.last_bulk_at for record in records_of(log, Joined)] == [float("-inf"), took_at]
