"""The limiter that processes share: one account's log, replayed by each of them.

To start a request, a process reads the log to its end, calls a selector, and appends the request. The store appends it
only if nothing newer has arrived. If something has, the process takes that in and calls the selector again.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Awaitable, Callable, Generator
from contextlib import suppress
from math import inf
from typing import Any, TypeVar
from weakref import WeakKeyDictionary, WeakSet

import anyio
from anyio.lowlevel import cancel_shielded_checkpoint

from smsc_status import _loops
from smsc_status._core.scheduling import ledger as records
from smsc_status._core.scheduling.ledger import TICKET_SECONDS, Entry, Ledger, Quarantine, Record, Ticket, Took, Waits
from smsc_status._core.scheduling.pacing import BULK, RequestEnd
from smsc_status._core.scheduling.shared_pacer import SharedPacer
from smsc_status._sharing.store import NoLog, Store, Tail
from smsc_status._waiters import Waiter, WaitQueue
from smsc_status.errors import ConfigError
from smsc_status.limiter import LONGEST_REQUEST, MIN_PAUSE, Permit, Selector, Slots, Wanted, WantedT
from smsc_status.models import Limits

ENTRIES_BETWEEN_CLEANUPS = 256
"""After so many entries, the log's old ones are dropped if they are many."""

logger = logging.getLogger("smsc_status")

T = TypeVar("T")
Step = tuple[bytes | None, str, int]
"""What to append (`None`: nothing, only read), to which log, and after which of its entries."""
Steps = Generator[Step, Tail, T]
OpenStore = Callable[[], Awaitable[Store]]


class SharedLimiter:
    """Keeps the limits of one account, together with all processes that use the same log. See `Limiter`.

    Each event loop takes part by itself, as a process of its own would.

    Args:
        limits: what to keep. All processes must keep the same.
        open_store: makes the store object for an event loop.
        where: where the log is, for people: without secrets.
    """

    def __init__(self, limits: Limits, open_store: OpenStore, *, where: str) -> None:
        self.limits: Limits = limits
        self.where = where
        self.longest_request: float = 0.0
        """How long a request of this process's clients may take, in seconds. 0 if no client has said so yet."""
        self._open_store = open_store
        self._participants: WeakKeyDictionary[Any, _Participant] = WeakKeyDictionary()
        _all.add(self)

    async def acquire(self, select: Selector[WantedT]) -> Permit[WantedT]:
        """See `Limiter.acquire`.

        Raises:
            LimiterUnavailable: the log can't be reached.
            ConfigError: another process keeps other limits, or uses another version.
        """
        return await self._participant().acquire(select)

    async def release(self, permit: Permit[Any], how: RequestEnd) -> None:
        """See `Limiter.release`.

        Raises:
            LimiterUnavailable: the log can't be reached. Then the permit is not released yet.
        """
        if not permit.released and permit.loop is _loops.this_loop():
            await self._participant().release(permit, how)

    def wake(self, select: Selector[Any] | None = None) -> None:
        """See `Limiter.wake`."""
        self._participant().wake(select)

    def slots(self) -> Slots:
        """See `Limiter.slots`: what this process has read of the log. In other threads than a loop's: nothing."""
        try:
            participant = self._participants.get(_loops.this_loop())
        except RuntimeError:
            participant = None
        return Slots(0, 0.0, shared_by=self.where) if participant is None else participant.slots(self.where)

    async def leave(self) -> None:
        """Close the running loop's connections to the store, if no client uses them any more."""
        participant = self._participants.get(_loops.this_loop())
        if participant is not None and participant.is_unused:
            del self._participants[_loops.this_loop()]
            await participant.aclose()

    def reset_after_fork(self) -> None:
        """Leave everything to the parent, whose requests and event loops these are. A new loop takes part anew."""
        _loops.keep(dict(self._participants))
        self._participants = WeakKeyDictionary()

    @property
    def budget(self) -> float:
        """The seconds after which a request of this process is surely over."""
        return self.longest_request or LONGEST_REQUEST

    def _participant(self) -> _Participant:
        loop = _loops.this_loop()
        participant = self._participants.get(loop)
        if participant is None:
            for ended in [known for known in self._participants if _loops.has_ended(known)]:
                del self._participants[ended]
            participant = self._participants[loop] = _Participant(self, self._open_store)
        return participant


class _Participant:
    """One event loop's part in the account: its replica of the log, and those that wait in this loop.

    What it does is written in steps, which yield what to ask the store. So the same code runs at once where the store
    answers at once, and in a task where it does not.
    """

    def __init__(self, limiter: SharedLimiter, open_store: OpenStore) -> None:
        self._limiter = limiter
        self._limits = limiter.limits
        self._open_store = open_store
        self._store: Store | None = None
        self._name = f"{socket.gethostname()}/{os.getpid()}"
        self._queue = WaitQueue()
        self._arrivals = 0
        self._serial = 0
        # The permitted requests that have not been released, by serial.
        self._permits: dict[int, Permit[Any]] = {}
        # Waiters whose selector has named a request that is not permitted yet. It may have set its work aside for that.
        self._chosen: set[Waiter] = set()
        # The serial of the request that is being appended.
        self._appending = 0
        # Requests that nobody has a permit for and whose end the log must still be told, with how they ended: the
        # store's reply was lost, or the caller was cancelled.
        self._orphans: dict[int, RequestEnd] = {}
        self._log = ""
        # Nothing may start before this instant of the log's clock, because another log was used until then.
        self._quiet_until = -inf
        self._who = 0
        self._ledger = Ledger(self._limits)
        self._pacer = SharedPacer(self._ledger, self._who, self._limits)
        self._cleaned_at_number = 0
        self._warned_of_log = ""
        self._is_serving = False
        self._has_just_permitted = False
        # Steps that were begun by `wake`, and the one that could not be taken at once.
        self._unfinished: tuple[Steps[None], Step] | None = None
        self._watcher: _loops.BackgroundTask | None = None
        self._log_watcher: _loops.BackgroundTask | None = None
        self._changed = anyio.Event()

    # For callers.

    @property
    def is_unused(self) -> bool:
        return not self._queue.waiting and not self._permits

    async def acquire(self, select: Selector[WantedT]) -> Permit[WantedT]:
        self._arrivals += 1
        waiter = Waiter(self._arrivals, select, anyio.Event())
        self._queue.join(waiter)
        self._queue.mark_due([waiter])
        self._watch()  # it goes on if this caller is cancelled while it serves
        try:
            if not self._served_at_once():
                await self._serve()
            while waiter.permit is None and waiter.error is None:
                await waiter.woken.wait()
                waiter.woken = anyio.Event()
            if waiter.error is not None:
                raise waiter.error
            permit: Permit[WantedT] = waiter.permit
            return permit
        except BaseException:
            self._changed.set()  # the watcher takes back the ticket
            if waiter.permit is not None:
                # If the log can't be reached, the request counts as in flight until its budget is over.
                with anyio.CancelScope(shield=True), suppress(Exception):
                    await self.release(waiter.permit, RequestEnd.NOT_SENT)
            raise
        finally:
            self._leave(waiter)

    async def release(self, permit: Permit[Any], how: RequestEnd) -> None:
        # First let those go on who have got their answers: they need not wait until the log is written.
        await cancel_shielded_checkpoint()
        if self._permits.get(permit.number) is permit:
            await self._report(permit, how)
        permit.released = True
        if self._queue.waiting:
            self._queue.mark_due(self._queue.with_selector(permit.select))
            if not self._served_at_once():
                await self._serve()

    async def _report(self, permit: Permit[Any], how: RequestEnd) -> None:
        try:
            await self._carry_out(self._report_end(permit.number, how))
        except anyio.get_cancelled_exc_class():
            self._orphans[permit.number] = how  # the watcher goes on with it
            self._permits.pop(permit.number, None)
            self._changed.set()
            raise
        if self._permits.pop(permit.number, None) is not None:  # otherwise it has been released twice at once
            self._pacer.finished((), permit.wanted.bulk, how, _loops.now())

    def wake(self, select: Selector[Any] | None) -> None:
        self._queue.mark_due(self._queue.waiting if select is None else self._queue.with_selector(select))
        if not self._served_at_once():
            self._changed.set()

    def slots(self, where: str) -> Slots:
        if self._store is None:
            return Slots(0, 0.0, shared_by=where)
        now = self._set_offset()
        ledger, at = self._ledger, now + self._pacer.offset
        return Slots(
            self._pacer.open_requests,
            self._pacer.bulk_due_at(now=now) - now,
            processes=max(1, len(ledger.active(now=at))),
            quarantine_in=max(0.0, ledger.quiet_until - at),
            shared_by=where,
        )

    async def aclose(self) -> None:
        for watcher in (self._watcher, self._log_watcher):
            if watcher is not None:
                watcher.cancel()
                await watcher.wait()
        if self._store is not None:
            await self._store.aclose()

    # Which selector to call.

    def _served_at_once(self) -> bool:
        """Do what `_serve` does, if that is possible without waiting; otherwise the rest is left to `_serve`."""
        if self._store is None or self._is_serving or self._unfinished is not None:
            return False
        steps = self._steps()
        self._is_serving = True
        try:
            step = next(steps)
            while (tail := self._store.append_at_once(step[0], log=step[1], after=step[2])) is not None:
                step = steps.send(tail)
            self._unfinished = steps, step
            return False
        except StopIteration:
            if self._needs_watcher():
                self._changed.set()
            return True
        except Exception:  # `_serve` begins anew, and tells the waiters what is wrong
            # Not the same data again: it may have been appended.
            steps.close()
            return False
        finally:
            self._is_serving = False

    async def _serve(self, *, takes_back: bool = False) -> None:
        """Call all selectors that are due, and give out permits, unless that is going on already.

        The watcher takes back the ticket, and only if nothing has been permitted just now. Whoever gets a permit often
        asks for the next one at once.
        """
        if self._is_serving:
            return
        self._is_serving, is_complete = True, False
        unfinished, self._unfinished = self._unfinished, None
        try:
            if self._store is None:
                self._store = await self._open_store()
            if unfinished is not None:
                await self._carry_out(*unfinished)
            await self._carry_out(self._steps(takes_back=takes_back))
            if self._has_many_entries():
                await self._drop_old()
            is_complete = self._next_due() is None
        except Exception as error:
            self._fail_waiters(error)
        finally:
            self._is_serving = False
            if not is_complete or self._needs_watcher():
                self._changed.set()

    def _steps(self, *, takes_back: bool = False) -> Steps[None]:
        serial, self._has_just_permitted = self._serial, False
        yield from self._join()
        while (waiter := self._next_due()) is not None:
            yield from self._call_selector(waiter)
            yield from self._join()  # another log may have taken the place of the one that was joined
        self._has_just_permitted = self._serial != serial
        yield from self._update_ticket(takes_back=takes_back and not self._has_just_permitted)
        yield from self._settle_orphans()

    def _next_due(self) -> Waiter | None:
        if not self._queue.waiting:
            return None
        now = self._set_offset()
        self._queue.mark_due_by(now)
        if not self._queue.may_be_due:
            return None
        has_slot = self._has_slot(now, urgent=False)
        has_urgent_slot = has_slot or self._has_slot(now, urgent=True)
        return self._queue.next_due(has_slot=has_slot, has_urgent_slot=has_urgent_slot, now=now)

    def _has_slot(self, now: float, *, urgent: bool) -> bool:
        self._pacer.is_urgent = urgent
        return self._pacer.free_slots(now=now) > 0

    def _call_selector(self, waiter: Waiter) -> Steps[None]:
        granted_at = _loops.boot_now()
        now = self._set_offset()
        self._queue.unmark(waiter)
        self._chosen.discard(waiter)
        self._pacer.is_urgent = self._queue.is_urgent(waiter, now=now)
        try:
            wanted = waiter.select(self._pacer, now=now)
        except Exception as error:  # it belongs to its own caller
            waiter.error = error
            self._leave(waiter)
            return
        try:
            if isinstance(wanted, float | int):
                yield from self._defer(waiter, wanted)
            else:
                self._chosen.add(waiter)
                yield from self._take(waiter, wanted, granted_at, now)
        except BaseException:
            self._queue.mark_due([waiter])
            raise

    def _take(self, waiter: Waiter, wanted: Wanted, granted_at: float, now: float) -> Steps[None]:
        """Append the request, if the account has not changed since its selection, and give its permit."""
        self._serial = self._appending = serial = self._serial + 1
        budget = self._limiter.budget
        try:
            is_appended = yield from self._append(
                records.took(who=self._who, serial=serial, budget=budget, bulk=wanted.bulk, keys=wanted.keys)
            )
        finally:
            self._appending = 0
        if not is_appended:
            self._queue.mark_due([waiter])
        elif not self._queue.is_waiting(waiter):  # its caller was cancelled meanwhile
            self._orphans[serial] = RequestEnd.NOT_SENT
        else:
            permit = Permit(wanted, waiter.select, _loops.this_loop(), serial, granted_at=granted_at)
            waiter.permit = self._permits[serial] = permit
            self._pacer.started((), wanted.bulk, now)
            self._leave(waiter)

    def _defer(self, waiter: Waiter, ask_at: float) -> Steps[None]:
        if self._wants(waiter) and (yield from self._catch_up()):
            self._queue.mark_due([waiter])  # its answer was about an account that has changed
            return
        now = self._set_offset()
        urgent = self._queue.is_urgent(waiter, now=now)
        # Rounding may make an instant of the log's clock come out as the present one.
        ask_at = max(ask_at, now + MIN_PAUSE)
        self._queue.defer(waiter, ask_at, has_slot=self._has_slot(now, urgent=urgent))

    def _leave(self, waiter: Waiter) -> None:
        self._queue.leave(waiter)
        self._chosen.discard(waiter)
        waiter.woken.set()

    def _fail_waiters(self, error: Exception) -> None:
        """Nobody who has something to send can go on; those who wait without work stay."""
        for waiter in list(self._queue.waiting):
            self._queue.unmark(waiter)
            if self._wants(waiter):
                waiter.error = error
                self._leave(waiter)

    def _set_offset(self) -> float:
        """Compare the two clocks. Returns the present instant on this process's clock."""
        now = _loops.now()
        if self._store is not None and (log_now := self._store.now()) > -inf:
            self._pacer.offset = log_now - now
        return now

    # Waiting for the log to change.

    def _watch(self) -> None:
        if self._watcher is None:
            self._watcher = _loops.spawn(self._keep_serving)

    async def _keep_serving(self) -> None:
        """Serve whenever there is a reason, for as long as this event loop uses the account."""
        try:
            while True:
                if not self._is_serving:
                    await self._serve(takes_back=True)
                    self._changed = anyio.Event()
                    await self._pause()
                else:  # some caller does it just now
                    self._changed = anyio.Event()
                    await self._changed.wait()
        finally:
            self._watcher = None

    async def _pause(self) -> None:
        """Wait until a selector is due, or something has happened that may make one due."""
        now = self._set_offset()
        until = max(now + MIN_PAUSE, min(self._queue.next_alarm_at(), self._ticket_due_at(now)))
        if self._next_due() is not None:
            return
        if self._has_work() and len(self._ledger.members) > 1:
            if self._log_watcher is None:
                self._log_watcher = _loops.spawn(self._watch_log)
        elif self._log_watcher is not None:
            self._log_watcher.cancel()
        with anyio.move_on_after(until - now):
            await self._changed.wait()

    async def _watch_log(self) -> None:
        """Take in what other processes append while this one waits for them."""
        try:
            while True:
                await self._opened().wait(log=self._log, after=self._ledger.number)
                await self._carry_out(self._catch_up())
                self._changed.set()
        except Exception as error:
            self._fail_waiters(error)
        finally:
            self._log_watcher = None
            self._changed.set()  # by now it may be needed again

    def _needs_watcher(self) -> bool:
        """Whether somebody waits who may have to be called later, or there is something to take back or to drop."""
        ticket = self._ledger.ticket(self._who)
        has_ticket = ticket is not None and ticket.expires_at > self._ledger.at
        return has_ticket or self._has_work() or self._has_many_entries()

    def _has_work(self) -> bool:
        return any(map(self._wants, self._queue.waiting))

    def _wants(self, waiter: Waiter) -> bool:
        return waiter in self._chosen or self._queue.has_work(waiter)

    # Tickets.

    def _ticket_due_at(self, now: float) -> float:
        """When to renew or take back the ticket, or to leave one for the bulk slot, which is free soon."""
        if len(self._ledger.members) < 2:
            return inf
        ticket = self._ledger.ticket(self._who)
        expires_at = -inf if ticket is None else ticket.expires_at - self._pacer.offset
        if not self._has_work():
            return now if self._has_just_permitted and expires_at > now else inf
        bulk_near_at = self._pacer.due_at(BULK, now=now) - TICKET_SECONDS / 2
        return min(
            expires_at - TICKET_SECONDS / 2 if expires_at > now else inf, bulk_near_at if bulk_near_at > now else inf
        )

    def _update_ticket(self, *, takes_back: bool) -> Steps[None]:
        before = self._ledger.ticket(self._who)
        if before is None and len(self._ledger.members) < 2:
            return
        now = self._set_offset()
        wanted, at = self._ticket(now), now + self._pacer.offset
        wants_anything = wanted.slot or wanted.bulk
        if before is None or before.expires_at <= at:
            is_due = wants_anything
        else:
            is_old = before.expires_at <= at + TICKET_SECONDS / 2
            is_due = (
                _wants_more(wanted, before)
                or (is_old and wants_anything)
                or (takes_back and _wants_more(before, wanted))
            )
        log = self._log
        while is_due and self._log == log:
            is_due = not (yield from self._append(wanted))

    def _ticket(self, now: float) -> Waits:
        """What this process waits for, as the others should know it."""
        waiting = [waiter for waiter in self._queue.waiting if self._wants(waiter)]
        lacking = [waiter for waiter in waiting if waiter.is_due_with_slot]
        bulk_due_at = self._pacer.due_at(BULK, now=now)
        is_bulk_near = now < bulk_due_at <= now + TICKET_SECONDS / 2
        return Waits(
            self._who,
            bool(lacking),
            any(self._queue.is_urgent(waiter, now=now) for waiter in lacking),
            is_bulk_near and any(self._queue.wants_bulk(waiter, now=now) for waiter in waiting),
        )

    # The log.

    def _opened(self) -> Store:
        assert self._store is not None  # noqa: S101 (`_serve` has opened it)
        return self._store

    def _join(self) -> Steps[None]:
        """Read the log to its end for the first time, and say now and then that this process uses the account."""
        while True:
            member = self._ledger.members.get(self._who)
            if self._log and member is not None and self._ledger.at < member.joined_at + self._ledger.horizon / 2:
                return
            if not self._log or member is None:
                yield from self._catch_up()
            self._ledger.check_limits(now=self._ledger.at)
            if self._ledger.at < self._quiet_until and self._ledger.quiet_until < self._quiet_until:
                # Whoever has begun this log did not know of the one that this process has used.
                seconds = self._quiet_until - self._ledger.at
                yield from self._append(Quarantine(seconds, "another log has taken the place of one in use"))
                continue
            record = records.joined(
                who=self._who,
                name=self._name,
                limits=self._limits,
                budget=self._limiter.budget,
                last_bulk_at=-inf if member is None else member.last_bulk_at,
            )
            if (yield from self._append(record)) and not self._who:
                self._who = self._pacer.who = self._ledger.number
                self._say_who_shares()

    def _say_who_shares(self) -> None:
        others = len(self._ledger.active(now=self._ledger.at)) - 1
        logger.info("the account's limits are shared by %s, now with %d other processes", self._limiter.where, others)

    def _catch_up(self) -> Steps[bool]:
        """Read the log to its end. Returns whether there was anything new."""
        before = self._log, self._ledger.number
        yield from self._append(None)
        return before != (self._log, self._ledger.number)

    def _append(self, record: Record | None) -> Steps[bool]:
        """Append the record if nothing newer is in the log. Takes in whatever is there."""
        complete_to = self._opened().now()
        tail = yield (None if record is None else records.encode(record)), self._log, self._ledger.number
        self._take_in(tail, complete_to)
        return tail.is_appended

    def _report_end(self, serial: int, how: RequestEnd) -> Steps[None]:
        while self._ledger.is_open(self._who, serial):
            yield from self._append(records.ended(who=self._who, serial=serial, how=how))

    def _settle_orphans(self) -> Steps[None]:
        for serial, how in list(self._orphans.items()):
            if serial not in self._permits:
                yield from self._report_end(serial, how)
            self._orphans.pop(serial, None)

    async def _carry_out(self, steps: Steps[None] | Steps[bool], step: Step | None = None) -> None:
        """Take the steps; if they have been begun already, from `step` on."""
        try:
            step = next(steps) if step is None else step
            while True:
                try:
                    tail = await self._take_step(*step)
                except BaseException as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(tail)
        except StopIteration:
            pass

    async def _take_step(self, data: bytes | None, log: str, after: int) -> Tail:
        try:
            return await self._opened().append(data, log=log, after=after)
        except NoLog as missing:
            return await self._begin_log(missing)

    async def _begin_log(self, missing: NoLog) -> Tail:
        store = self._opened()
        seconds = 0.0
        if missing.quiet_from is not None:
            seconds = max(0.0, missing.quiet_from + self._quarantine_seconds() - store.now())
        return await store.begin([records.encode(Quarantine(seconds, missing.reason))], instead_of=self._log)

    def _quarantine_seconds(self) -> float:
        budget = max(self._limiter.budget, self._ledger.longest_budget)
        return self._limits.period + self._limits.margin + self._limits.linger + budget

    def _take_in(self, tail: Tail, complete_to: float) -> None:
        if tail.log != self._log or tail.is_whole:
            if tail.log != self._log:
                if self._log:
                    # The margin is not counted: somebody else may have begun the new log, and has then read the clock.
                    seconds = self._quarantine_seconds() - self._limits.margin
                    self._quiet_until = max(self._quiet_until, tail.entries[0].at + seconds)
                self._log, self._who = tail.log, 0
            self._cleaned_at_number = 0
            self._ledger = Ledger(self._limits)
            self._pacer.ledger, self._pacer.who = self._ledger, self._who
        changes = self._ledger.changes
        try:
            for entry in tail.entries:
                if entry.number > self._ledger.number:
                    self._apply(entry)
        except ConfigError:
            self._ledger = self._pacer.ledger = Ledger(self._limits)  # the next try reads the log from the beginning
            raise
        self._ledger.advance(complete_to)
        if tail.is_whole or self._ledger.changes != changes:
            self._queue.mark_due(self._queue.waiting)

    def _apply(self, entry: Entry) -> None:
        record = self._ledger.apply(entry)
        if isinstance(record, Took) and record.who == self._who and record.serial != self._appending:
            self._orphans.setdefault(record.serial, RequestEnd.NOT_SENT)
        elif isinstance(record, Quarantine) and self._ledger.quiet_until > self._opened().now():
            self._warn_of_quarantine(record.reason)

    def _warn_of_quarantine(self, reason: str) -> None:
        if self._warned_of_log != self._log:
            self._warned_of_log = self._log
            logger.warning(
                "the shared log is new (%s): nothing is sent for up to %.0f s, until all requests that it has "
                "forgotten are surely over",
                reason,
                self._ledger.quiet_until - self._opened().now(),
            )

    def _has_many_entries(self) -> bool:
        return self._ledger.number - self._cleaned_at_number >= ENTRIES_BETWEEN_CLEANUPS

    async def _drop_old(self) -> None:
        """Forget what is over, here and in the log."""
        self._cleaned_at_number = self._ledger.number
        self._ledger.forget(now=self._ledger.at)
        await self._opened().drop(log=self._log, before=self._ledger.first_needed(now=self._ledger.at))


def _wants_more(one: Waits | Ticket, other: Waits | Ticket) -> bool:
    """Whether the one wants something that the other does not want."""
    return one.slot > other.slot or one.urgent > other.urgent or one.bulk > other.bulk


_all: WeakSet[SharedLimiter] = WeakSet()


def _reset_after_fork() -> None:
    for limiter in list(_all):
        limiter.reset_after_fork()


_loops.at_fork(_reset_after_fork)
