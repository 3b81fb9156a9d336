"""What one process may start, by the replica of the account's log: the tokens, the quarantine, and whose turn it is."""

from __future__ import annotations

from smsc_status._core.scheduling.ledger import Ledger
from smsc_status._core.scheduling.pacing import BULK, SINGLE, Pacer, RequestEnd
from smsc_status.models import Key, Limits


class SharedPacer(Pacer):
    """The account as one process sees it: it answers a selector's questions.

    Instants are on this process's clock. `offset` is what to add to them to get instants on the log's clock; it changes
    whenever the machine has slept.

    Args:
        ledger: the replica.
        who: the number of this process in the ledger.
        limits: what this process keeps, its own limit on single requests included.
    """

    def __init__(self, ledger: Ledger, who: int, limits: Limits) -> None:
        super().__init__(limits)
        self.go_by(ledger)
        self.who = who
        self.offset: float = 0.0
        self.is_urgent: bool = False
        """Whether the selector that asks has callers who wait."""
        self._own_singles = Pacer(limits) if limits.singles_per_minute is not None else None

    def go_by(self, ledger: Ledger) -> None:
        """From now on answer by this ledger."""
        self.ledger: Ledger = ledger
        # The account's own pacer, on the log's clock. A ledger keeps the one that it has made.
        self._account: Pacer = ledger.pacer

    def free_slots(self, *, now: float) -> int:
        """See `Pacer.free_slots`: slots that are left to other processes do not count."""
        at = now + self.offset
        if at < self.ledger.quiet_until:
            return 0
        free = self._account.free_slots(now=at)
        return free - len(self.ledger.tickets_ahead(self.who, urgent=self.is_urgent, now=at)) if free > 0 else free

    def slot_due_at(self, *, now: float) -> float:
        """See `Pacer.slot_due_at`. A request of a process that has died counts as in flight until its budget ends."""
        if self.free_slots(now=now) > 0:
            return now
        at, ledger = now + self.offset, self.ledger
        due_at = self._account.slot_due_at(now=at)
        if due_at <= at:
            due_at = min(ledger.tickets_ahead(self.who, urgent=self.is_urgent, now=at), default=at)
        due_at = min(due_at, ledger.next_end_at() + ledger.limits.linger)
        return self._here(max(due_at, ledger.quiet_until), now)

    def tokens(self, key: Key, *, now: float) -> int:
        """See `Pacer.tokens`."""
        at = now + self.offset
        return 0 if at < self.ledger.quiet_until else self._account.tokens(key, now=at)

    def due_at(self, key: Key, *, spare: int = 0, now: float) -> float:
        """See `Pacer.due_at`."""
        at, ledger = now + self.offset, self.ledger
        due_at = self._account.due_at(key, spare=spare, now=at)
        if key == BULK and due_at <= at:
            due_at = max([due_at, *ledger.bulk_tickets_ahead(self.who, now=at)])
        return self._here(max(due_at, ledger.quiet_until), now)

    def singles_due_at(self, *, now: float) -> float:
        """See `Pacer.singles_due_at`."""
        at, ledger = now + self.offset, self.ledger
        due_at = self._here(max(self._account.singles_due_at(now=at), ledger.quiet_until), now)
        return due_at if self._own_singles is None else max(due_at, self._own_singles.due_at(SINGLE, now=now))

    @property
    def open_requests(self) -> int:
        """How many requests of all processes are in flight, without the abandoned ones."""
        return self._account.open_requests

    @property
    def refunds(self) -> int:
        """See `Pacer.refunds`."""
        return self._account.refunds

    def started(self, keys: object, bulk: bool, now: float) -> None:
        """Count a request of this process for its own limit on single requests. The ledger learns of it by the log."""
        if self._own_singles is not None and not bulk:
            self._own_singles.started((), False, now)

    def finished(self, keys: object, bulk: bool, how: RequestEnd, now: float) -> None:
        """Count the end of that request."""
        if self._own_singles is not None and not bulk:
            self._own_singles.finished((), False, RequestEnd.REPLIED if how is RequestEnd.REFUSED else how, now)

    def is_idle(self, *, now: float) -> bool:
        """Whether every token and slot of the account is back."""
        at = now + self.offset
        return at >= self.ledger.quiet_until and self._account.is_idle(now=at)

    def __len__(self) -> int:
        """How many ids and lanes are remembered."""
        return len(self._account)

    def _here(self, at: float, now: float) -> float:
        """An instant of the log's clock on this process's clock; exactly `now` if it has passed.

        A difference of two sums may differ from `now` by rounding. A selector would then wait for ever.
        """
        return now if at <= now + self.offset else max(now, at - self.offset)
