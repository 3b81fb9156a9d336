"""One event loop's replica of the log: what it has read of it, and how it appends to it.

What a replica does is written in steps, which yield what to ask the store. So the same code runs at once where the
store answers at once, and in a task where it does not.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Awaitable, Callable, Container, Generator
from math import inf
from typing import TypeVar

from smsc_status import _loops
from smsc_status._core.scheduling import ledger as records
from smsc_status._core.scheduling.ledger import Entry, Ledger, Quarantine, Record, Ticket, Took, Waits
from smsc_status._core.scheduling.pacing import RequestEnd
from smsc_status._core.scheduling.shared_pacer import SharedPacer
from smsc_status._sharing.store import NoLog, Store, Tail
from smsc_status._sharing.tally import APPENDS, CONFLICTS, QUARANTINES, TICKETS, LogTally
from smsc_status.errors import ConfigError
from smsc_status.limiter import Wanted
from smsc_status.models import Limits

ENTRIES_BETWEEN_CLEANUPS = 256
"""After this many new entries, the old ones of the log are dropped if they are many."""

logger = logging.getLogger("smsc_status")

T = TypeVar("T")
Step = tuple[bytes | None, str, int]
"""What to append (`None`: nothing, only read), to which log, and after which of its entries."""
Steps = Generator[Step, Tail, T]
OpenStore = Callable[[], Awaitable[Store]]


class Replica:
    """What one event loop knows of the account, as of the last entry that it has read.

    Args:
        limits: what to keep. All processes must keep the same.
        open_store: makes the store object.
        where: where the log is, for people.
        budget: the seconds after which a request of this process is surely over. It is asked for each request.
        tally: counts what is done; by default a new one.
    """

    def __init__(
        self,
        limits: Limits,
        open_store: OpenStore,
        *,
        where: str,
        budget: Callable[[], float],
        tally: LogTally | None = None,
    ) -> None:
        self._tally = tally or LogTally()
        self._limits = limits
        self._open_store = open_store
        self._where = where
        self._budget = budget
        self._store: Store | None = None
        self._name = f"{socket.gethostname()}/{os.getpid()}"
        self._log = ""
        self.ledger: Ledger = Ledger(limits)
        self.pacer: SharedPacer = SharedPacer(self.ledger, 0, limits)
        self.has_news: bool = False
        """Since this was last reset, something has happened after which a selector may name another instant."""
        self.orphans: dict[int, RequestEnd] = {}
        """Requests that nobody has a permit for and whose end the log must still be told, with how they ended: the
        store's reply was lost, or the caller was cancelled."""
        self.untold: tuple[int, RequestEnd] | None = None
        """This process's last request and how it has ended, if the log has not been told yet."""
        # The serial of the request that is being appended.
        self._appending = 0
        # Nothing may start before this instant of the log's clock, because another log was used until then.
        self._quiet_until = -inf
        self._cleaned_at_number = 0
        self._warned_of_log = ""
        # When the calls of the store began that are not answered yet.
        self._asked_at: dict[object, float] = {}

    # The store.

    @property
    def is_open(self) -> bool:
        """Whether the store has been opened."""
        return self._store is not None

    async def open(self) -> None:
        """Open the store, if that has not been done."""
        if self._store is None:
            self._store = await self._open_store()

    async def aclose(self) -> None:
        """Close the connections to the store."""
        if self._store is not None:
            await self._store.aclose()

    async def wait(self) -> None:
        """Wait until there may be entries that have not been read."""
        await self._opened().wait(log=self._log, after=self.ledger.number)

    def silence(self) -> float:
        """For how many seconds the store has not answered a call."""
        return max((_loops.now() - at for at in self._asked_at.values()), default=0.0)

    def compare_clocks(self) -> float:
        """Tell the pacer how far the log's clock is ahead. Returns the present instant on this process's clock."""
        now = _loops.now()
        if self._store is not None and (log_now := self._store.now()) > -inf:
            self.pacer.offset = log_now - now
        return now

    # Questions.

    @property
    def is_alone(self) -> bool:
        """Whether no other process has used the account lately."""
        return len(self.ledger.members) < 2

    def _has_joined(self, at: float) -> bool:
        """Whether the log says that this process uses the account, and need not be told so again by this instant."""
        member = self.ledger.members.get(self.pacer.who)
        return bool(self._log) and member is not None and at < member.joined_at + self.ledger.horizon / 2

    def may_start(self, *, now: float) -> bool:
        """Whether the log need not be told anything else before a request."""
        return self._has_joined(now + self.pacer.offset)

    @property
    def open_requests(self) -> int:
        """How many requests of all processes are in flight, as far as this one knows."""
        is_one_over = self.untold is not None and self.ledger.is_open(self.pacer.who, self.untold[0])
        return self.pacer.open_requests - is_one_over

    @property
    def may_tell_later(self) -> bool:
        """Whether the end of a request may be left `untold` for a moment: no other process waits for it, this one has
        other slots, and the store will take it without waiting.
        """
        return self.is_alone and self._limits.connections > 1 and self._opened().is_instant

    @property
    def ticket(self) -> Ticket | None:
        """This process's last ticket, which may have expired."""
        return self.ledger.ticket(self.pacer.who)

    @property
    def has_valid_ticket(self) -> bool:
        """Whether the others know a ticket of this process that has not expired."""
        return self.ticket is not None and self.ticket.expires_at > self.ledger.at

    def _opened(self) -> Store:
        assert self._store is not None  # noqa: S101 (whoever takes steps has opened it)
        return self._store

    # Taking steps.

    def take_at_once(self, steps: Steps[None]) -> Step | None:
        """Take the steps as far as the store answers without waiting.

        Returns the step that could not be taken like that; `None` if all have been taken.
        """
        store = self._opened()
        try:
            step = next(steps)
            while (tail := store.append_at_once(step[0], log=step[1], after=step[2])) is not None:
                step = steps.send(tail)
        except StopIteration:
            return None
        return step

    async def take(self, steps: Steps[None] | Steps[bool], step: Step | None = None) -> None:
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
        call = object()
        self._asked_at[call] = _loops.now()
        try:
            return await self._opened().append(data, log=log, after=after)
        except NoLog as missing:
            return await self._begin_log(missing)
        finally:
            del self._asked_at[call]

    async def _begin_log(self, missing: NoLog) -> Tail:
        store = self._opened()
        seconds = 0.0
        if missing.quiet_from is not None:
            seconds = max(0.0, missing.quiet_from + self._quarantine_seconds() - store.now())
        return await store.begin([records.encode(Quarantine(seconds, missing.reason))], instead_of=self._log)

    # Steps.

    def join(self) -> Steps[None]:
        """Read the log to its end for the first time, and say now and then that this process uses the account.

        Raises:
            ConfigError: another process keeps other limits, or uses another version.
        """
        while True:
            if self._has_joined(self.ledger.at):
                return
            member = self.ledger.members.get(self.pacer.who)
            if not self._log or member is None:
                yield from self.catch_up()
            self.ledger.check_limits(now=self.ledger.at)
            if self.ledger.at < self._quiet_until and self.ledger.quiet_until < self._quiet_until:
                # The process that has begun this log did not know of the one that this process has used.
                seconds = self._quiet_until - self.ledger.at
                yield from self.append(Quarantine(seconds, "another log has taken the place of one in use"))
                continue
            who = self.pacer.who
            record = records.joined(
                who=who,
                name=self._name,
                limits=self._limits,
                budget=self._budget(),
                last_bulk_at=-inf if member is None else member.last_bulk_at,
            )
            if (yield from self.append(record)) and not who:
                self.pacer.who = self.ledger.number
                self._say_who_shares()

    def catch_up(self) -> Steps[bool]:
        """Read the log to its end. Returns whether there was anything new."""
        before = self._log, self.ledger.number
        yield from self.append(None)
        return before != (self._log, self.ledger.number)

    def append(self, record: Record | None) -> Steps[bool]:
        """Append the record if nothing newer is in the log. Takes in whatever is there."""
        complete_to = self._opened().now()
        tail = yield (None if record is None else records.encode(record)), self._log, self.ledger.number
        if record is not None:
            self._count(record, is_appended=tail.is_appended)
        self._take_in(tail, complete_to, record)
        return tail.is_appended

    def _count(self, record: Record, *, is_appended: bool) -> None:
        self._tally.count(APPENDS if is_appended else CONFLICTS)
        if is_appended and isinstance(record, Waits):
            self._tally.count(TICKETS)

    def insist(self, record: Record) -> Steps[None]:
        """Append the record whatever is newer, unless another log takes this one's place."""
        log = self._log
        while self._log == log and not (yield from self.append(record)):
            pass

    def start(self, serial: int, wanted: Wanted) -> Steps[bool]:
        """Append the start of a request, if the account has not changed since its selection.

        The same record tells of the end that is untold.
        """
        who, untold = self.pacer.who, self.untold
        record = records.took(
            who=who, serial=serial, budget=self._budget(), bulk=wanted.bulk, keys=wanted.keys, after=untold
        )
        self._appending = serial
        try:
            is_appended = yield from self.append(record)
        finally:
            self._appending = 0
        if is_appended:
            self.untold = None
        return is_appended

    def start_at_once(self, serial: int, wanted: Wanted) -> bool:
        """Do what `start` does, if the store can do it without waiting; otherwise nothing.

        Returns whether the request has been appended.
        """
        is_appended = False

        def take() -> Steps[None]:
            nonlocal is_appended
            is_appended = yield from self.start(serial, wanted)

        steps = take()
        self.take_at_once(steps)
        steps.close()
        return is_appended

    def end(self, serial: int, how: RequestEnd) -> Steps[None]:
        """Append the end of this process's request, unless the log says already that it has ended."""
        while self.ledger.is_open(self.pacer.who, serial):
            yield from self.append(records.ended(who=self.pacer.who, serial=serial, how=how))

    def tell(self) -> Steps[None]:
        """Append the end that is untold, if there is one."""
        if self.untold is not None:
            yield from self.end(*self.untold)
            self.untold = None

    def end_orphans(self, permitted: Container[int]) -> Steps[None]:
        """Append the ends of all orphans. A request that has got a permit after all is no orphan."""
        for serial, how in list(self.orphans.items()):
            if serial not in permitted:
                yield from self.end(serial, how)
            self.orphans.pop(serial, None)

    # What was read.

    def _take_in(self, tail: Tail, complete_to: float, record: Record | None) -> None:
        if tail.log != self._log or tail.is_whole:
            if tail.log != self._log:
                if self._log:
                    # The margin is not counted: somebody else may have begun the new log, and has then read the clock.
                    seconds = self._quarantine_seconds() - self._limits.margin
                    self._quiet_until = max(self._quiet_until, tail.entries[0].at + seconds)
                self._log, self.pacer.who = tail.log, 0
            self._begin_anew()
        changes = self.ledger.changes
        try:
            for entry in tail.entries:
                if entry.number > self.ledger.number:
                    self._apply(entry, record if tail.is_appended and len(tail.entries) == 1 else None)
        except ConfigError:
            self._begin_anew()  # the next try reads the log from the beginning
            raise
        self.ledger.advance(complete_to)
        self.has_news = self.has_news or tail.is_whole or self.ledger.changes != changes

    def _begin_anew(self) -> None:
        self.ledger = Ledger(self._limits)
        self.pacer.go_by(self.ledger)
        self._cleaned_at_number = 0

    def _apply(self, entry: Entry, record: Record | None) -> None:
        record = self.ledger.apply(entry, record)
        if type(record) is Took and record.who == self.pacer.who and record.serial != self._appending:
            self.orphans.setdefault(record.serial, RequestEnd.NOT_SENT)
        elif type(record) is Quarantine and self.ledger.quiet_until > self._opened().now():
            self._warn_of_quarantine(record.reason)

    def _quarantine_seconds(self) -> float:
        budget = max(self._budget(), self.ledger.longest_budget)
        return self._limits.period + self._limits.margin + self._limits.linger + budget

    def _warn_of_quarantine(self, reason: str) -> None:
        if self._warned_of_log != self._log:
            self._warned_of_log = self._log
            self._tally.count(QUARANTINES)
            logger.warning(
                "the shared log is new (%s): nothing is sent for up to %.0f s, until all requests that it has "
                "forgotten are surely over",
                reason,
                self.ledger.quiet_until - self._opened().now(),
            )

    def _say_who_shares(self) -> None:
        others = len(self.ledger.active(now=self.ledger.at)) - 1
        where = self._opened().where
        logger.info("the account's limits are shared by %s, other processes: %d", where, others)

    # Dropping what is old.

    @property
    def has_many_entries(self) -> bool:
        """Whether `drop_old` is due."""
        return self.ledger.number - self._cleaned_at_number >= ENTRIES_BETWEEN_CLEANUPS

    async def drop_old(self) -> None:
        """Forget what is over, here and in the log."""
        self._cleaned_at_number = self.ledger.number
        self.ledger.forget(now=self.ledger.at)
        await self._opened().drop(log=self._log, before=self.ledger.first_needed(now=self.ledger.at))
