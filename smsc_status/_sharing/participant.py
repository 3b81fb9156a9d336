"""One event loop's part in the account: which waiting selector is called when, and what other processes are told.

To start a request, the participant reads the log to its end, calls a selector, and appends the request. The store
appends it only if nothing newer has arrived. If something has, the participant takes that in and calls the selector
again.
"""

from __future__ import annotations

from contextlib import suppress
from math import inf
from typing import Any

import anyio
from anyio.lowlevel import cancel_shielded_checkpoint

from smsc_status import _loops
from smsc_status._core.scheduling.ledger import TICKET_SECONDS, Ticket, Waits
from smsc_status._core.scheduling.pacing import BULK, RequestEnd
from smsc_status._sharing.replica import Replica, Step, Steps
from smsc_status._waiters import Waiter, WaitQueue
from smsc_status.limiter import MIN_PAUSE, Permit, Selector, Slots, Wanted, WantedT

TELL_SECONDS = 0.01
"""While no other process uses the account, the log may learn of the end of its only request this much later. So the
next request can tell it, if one follows at once."""


class Participant:
    """One event loop's part in the account: those that wait in this loop, and the requests that it has permitted.

    Args:
        replica: this loop's own.
    """

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._pacer = replica.pacer
        self._queue = WaitQueue()
        self._arrivals = 0
        self._serial = 0
        # The permitted requests that have not been released, by serial.
        self._permits: dict[int, Permit[Any]] = {}
        # Waiters whose selector has named a request that is not permitted yet. It may have set its work aside for that.
        self._chosen: set[Waiter] = set()
        self._is_serving = False
        # The last serial that the watcher has seen.
        self._seen_serial = 0
        # Steps that were begun at once, and the one that had to wait.
        self._unfinished: tuple[Steps[None], Step] | None = None
        self._watcher: _loops.BackgroundTask | None = None
        self._log_watcher: _loops.BackgroundTask | None = None
        self._changed = anyio.Event()
        self._tells_later = False

    # For callers.

    @property
    def is_unused(self) -> bool:
        """Whether nobody waits and no permit is out."""
        return not self._queue.waiting and not self._permits

    async def acquire(self, select: Selector[WantedT]) -> Permit[WantedT]:
        """See `Limiter.acquire`."""
        has_failed = False
        try:
            permit_at_once = self._permit_at_once(select)
            if permit_at_once is not None:
                return permit_at_once
        except Exception:  # `_serve` begins anew, and tells the waiters what is wrong
            has_failed = True
        self._arrivals += 1
        waiter = Waiter(self._arrivals, select)
        self._queue.join(waiter)
        self._queue.mark_due([waiter])
        self._watch()  # it goes on if this caller is cancelled while it serves
        try:
            if has_failed or not self._served_at_once():
                await self._serve()
            while waiter.permit is None and waiter.error is None:
                waiter.woken = anyio.Event()
                await waiter.woken.wait()
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
        """See `Limiter.release`."""
        if self._permits.get(permit.number) is permit and self._may_tell_later(permit, how):
            self._replica.untold = permit.number, how
            self._forget_permit(permit, how)
            permit.released = True
            if not self._tells_later:
                self._tells_later = True
                _loops.later(TELL_SECONDS, self._tell)
            return
        # First let the callers that have their answers go on: they need not wait until the log is written.
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
            await self._replica.take(self._replica.end(permit.number, how))
        except anyio.get_cancelled_exc_class():
            self._replica.orphans[permit.number] = how  # the watcher goes on with it
            self._permits.pop(permit.number, None)
            self._changed.set()
            raise
        self._forget_permit(permit, how)

    def _forget_permit(self, permit: Permit[Any], how: RequestEnd) -> None:
        if self._permits.pop(permit.number, None) is not None:  # otherwise it has been released twice at once
            self._pacer.finished((), permit.wanted.bulk, how, _loops.now())

    def _may_tell_later(self, permit: Permit[Any], how: RequestEnd) -> bool:
        """Whether nobody waits for the log to be told of this request's end, here or in another process."""
        return (
            how is RequestEnd.REPLIED
            and not permit.wanted.bulk
            and len(self._permits) == 1
            and not self._queue.waiting
            and self._replica.may_tell_later
        )

    def _tell(self) -> None:
        self._tells_later = False
        if self._replica.untold is not None and not self._served_at_once():
            self._changed.set()

    def wake(self, select: Selector[Any] | None) -> None:
        """See `Limiter.wake`."""
        self._queue.mark_due(self._queue.waiting if select is None else self._queue.with_selector(select))
        if not self._served_at_once():
            self._changed.set()

    def silence(self) -> float:
        """For how many seconds the store has not answered."""
        return self._replica.silence()

    def slots(self, where: str) -> Slots:
        """See `Limiter.slots`."""
        if not self._replica.is_open:
            return Slots(0, 0.0, shared_by=where)
        now = self._replica.compare_clocks()
        ledger, at = self._replica.ledger, now + self._pacer.offset
        return Slots(
            self._replica.open_requests,
            self._pacer.bulk_due_at(now=now) - now,
            processes=max(1, len(ledger.active(now=at))),
            quarantine_in=max(0.0, ledger.quiet_until - at),
            shared_by=where,
        )

    async def aclose(self) -> None:
        """End the background tasks, and close the connections to the store."""
        for watcher in (self._watcher, self._log_watcher):
            if watcher is not None:
                watcher.cancel()
                await watcher.wait()
        await self._replica.aclose()

    # Which selector to call.

    def _permit_at_once(self, select: Selector[WantedT]) -> Permit[WantedT] | None:
        """A permit, if nobody else waits and the request may start now; otherwise `None`.

        It does what `_steps` does, but makes no waiter, because that takes longer than all the rest.
        """
        now = self._replica.compare_clocks()
        if self._queue.waiting or not self._can_serve_at_once or not self._replica.may_start(now=now):
            return None
        granted_at = _loops.boot_now()
        if not self._has_slot(now, urgent=False):  # otherwise its selector would be called twice in vain
            return None
        wanted = select(self._pacer, now=now)
        if isinstance(wanted, float | int) or not self._replica.start_at_once(self._next_serial(), wanted):
            return None
        permit = self._permit(wanted, select, granted_at, now)
        self._watch()
        if self._needs_watcher():
            self._changed.set()
        return permit

    @property
    def _can_serve_at_once(self) -> bool:
        return self._replica.is_open and not self._is_serving and self._unfinished is None

    def _served_at_once(self) -> bool:
        """Do what `_serve` does, if that is possible without waiting; otherwise the rest is left to `_serve`."""
        if not self._can_serve_at_once:
            return False
        steps = self._steps()
        self._is_serving = True
        try:
            step = self._replica.take_at_once(steps)
        except Exception:  # `_serve` begins anew, and tells the waiters what is wrong
            # Not the same data again: it may have been appended.
            steps.close()
            return False
        finally:
            self._is_serving = False
        if step is not None:
            self._unfinished = steps, step
        elif self._needs_watcher():
            self._changed.set()
        return step is None

    async def _serve(self, *, takes_back: bool = False) -> None:
        """Call all selectors that are due, and give out permits, unless that is going on already.

        With `takes_back`, the ticket is taken back, but only if nothing was permitted since the watcher last looked. A
        caller that gets a permit often asks for the next one at once. If it does not, the watcher looks again.
        """
        if self._is_serving:
            return
        self._is_serving, is_complete = True, False
        unfinished, self._unfinished = self._unfinished, None
        try:
            await self._replica.open()
            if unfinished is not None:
                await self._replica.take(*unfinished)
            await self._replica.take(self._steps(takes_back=takes_back))
            if self._replica.has_many_entries:
                await self._replica.drop_old()
            is_complete = self._next_due() is None
        except Exception as error:
            self._fail_waiters(error)
        finally:
            self._is_serving = False
            if not is_complete or self._needs_watcher():
                self._changed.set()

    def _steps(self, *, takes_back: bool = False) -> Steps[None]:
        yield from self._replica.join()
        while (waiter := self._next_due()) is not None:
            yield from self._call_selector(waiter)
            yield from self._replica.join()  # another log may have taken the place of the one that was joined
        if takes_back:
            takes_back, self._seen_serial = self._serial == self._seen_serial, self._serial
        yield from self._update_ticket(takes_back=takes_back)
        yield from self._replica.tell()
        yield from self._replica.end_orphans(self._permits)

    def _next_due(self) -> Waiter | None:
        if not self._queue.waiting:
            return None
        if self._replica.has_news:
            self._replica.has_news = False
            self._queue.mark_due(self._queue.waiting)
        now = self._replica.compare_clocks()
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
        now = self._replica.compare_clocks()
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
        serial = self._next_serial()
        is_appended = yield from self._replica.start(serial, wanted)
        if not is_appended:
            self._queue.mark_due([waiter])
        elif not self._queue.is_waiting(waiter):  # its caller was cancelled meanwhile
            self._replica.orphans[serial] = RequestEnd.NOT_SENT
        else:
            waiter.permit = self._permit(wanted, waiter.select, granted_at, now)
            self._leave(waiter)

    def _next_serial(self) -> int:
        self._serial += 1
        return self._serial

    def _permit(self, wanted: WantedT, select: Selector[WantedT], granted_at: float, now: float) -> Permit[WantedT]:
        """The permit for the request that was appended last."""
        permit = Permit(wanted, select, _loops.this_loop(), self._serial, granted_at=granted_at)
        self._permits[self._serial] = permit
        self._pacer.started((), wanted.bulk, now)
        return permit

    def _defer(self, waiter: Waiter, ask_at: float) -> Steps[None]:
        if self._wants(waiter) and (yield from self._replica.catch_up()):
            self._queue.mark_due([waiter])  # its answer was about an account that has changed
            return
        now = self._replica.compare_clocks()
        urgent = self._queue.is_urgent(waiter, now=now)
        # Rounding may make an instant of the log's clock come out as the present one.
        ask_at = max(ask_at, now + MIN_PAUSE)
        self._queue.defer(waiter, ask_at, has_slot=self._has_slot(now, urgent=urgent))

    def _leave(self, waiter: Waiter) -> None:
        self._queue.leave(waiter)
        self._chosen.discard(waiter)
        waiter.wake()

    def _fail_waiters(self, error: Exception) -> None:
        """Give this error to the waiters that have something to send. Waiters without work go on waiting."""
        for waiter in list(self._queue.waiting):
            self._queue.unmark(waiter)
            if self._wants(waiter):
                waiter.error = error
                self._leave(waiter)

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
            with suppress(Exception):  # the loop ends, and with it the last chance to tell
                self._replica.take_at_once(self._replica.tell())

    async def _pause(self) -> None:
        """Wait until a selector is due, or something has happened that may make one due."""
        now = self._replica.compare_clocks()
        until = max(now + MIN_PAUSE, min(self._queue.next_alarm_at(), self._ticket_due_at(now)))
        if self._next_due() is not None:
            return
        if self._has_work() and not self._replica.is_alone:
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
                await self._replica.wait()
                await self._replica.take(self._replica.catch_up())
                self._changed.set()
        except Exception as error:
            self._fail_waiters(error)
        finally:
            self._log_watcher = None
            self._changed.set()  # by now it may be needed again

    def _needs_watcher(self) -> bool:
        """Whether somebody waits who may have to be called later, or there is something to take back or to drop."""
        return self._replica.has_valid_ticket or self._has_work() or self._replica.has_many_entries

    def _has_work(self) -> bool:
        return any(map(self._wants, self._queue.waiting))

    def _wants(self, waiter: Waiter) -> bool:
        return waiter in self._chosen or self._queue.has_work(waiter)

    # Tickets.

    def _ticket_due_at(self, now: float) -> float:
        """When to renew the ticket, or to leave one for the bulk slot, which is free soon."""
        if self._replica.is_alone or not self._has_work():
            return inf
        ticket = self._replica.ticket
        expires_at = -inf if ticket is None else ticket.expires_at - self._pacer.offset
        bulk_near_at = self._pacer.due_at(BULK, now=now) - TICKET_SECONDS / 2
        return min(
            expires_at - TICKET_SECONDS / 2 if expires_at > now else inf, bulk_near_at if bulk_near_at > now else inf
        )

    def _update_ticket(self, *, takes_back: bool) -> Steps[None]:
        before = self._replica.ticket
        if before is None and self._replica.is_alone:
            return
        now = self._replica.compare_clocks()
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
        if is_due:
            yield from self._replica.insist(wanted)

    def _ticket(self, now: float) -> Waits:
        """What this process waits for, as the others should know it."""
        waiting = [waiter for waiter in self._queue.waiting if self._wants(waiter)]
        lacking = [waiter for waiter in waiting if waiter.is_due_with_slot]
        bulk_due_at = self._pacer.due_at(BULK, now=now)
        is_bulk_near = now < bulk_due_at <= now + TICKET_SECONDS / 2
        return Waits(
            self._pacer.who,
            bool(lacking),
            any(self._queue.is_urgent(waiter, now=now) for waiter in lacking),
            is_bulk_near and any(self._queue.wants_bulk(waiter, now=now) for waiter in waiting),
        )


def _wants_more(one: Waits | Ticket, other: Waits | Ticket) -> bool:
    """Whether `one` wants something that `other` does not want."""
    return one.slot > other.slot or one.urgent > other.urgent or one.bulk > other.bulk
