"""May a request that names these ids start now, and if not, when?

The vendor counts arrivals: in any minute at most five requests that name an id and one bulk request, and fewer than
five requests open at once (https://smsc.ru/api/http/status_messages/check_status/). The client does not know when a
request arrives, only that it arrives between its start and its reply. So each limit is a bucket of tokens. A token is
taken when its request starts, stays out while the request is in flight, and comes back `period + margin` after the
reply. So the server cannot see one token twice within a period, whatever the network delays.

Ids whose tokens have all come back are forgotten. A review drops the tokens of an id that have come back. To save time,
an id is reviewed once in `period + margin`, and not whenever one of its tokens comes back. An id that was asked once
and answered is forgotten when its token comes back; any other id is forgotten at most `period + margin` later.

There is one assumption: an abandoned request (timed out, cut off, or given up at closing) arrives within `linger` or
never. Its tokens come back `linger` later than after a reply, and it keeps its slot for `linger`.
"""

from __future__ import annotations

from bisect import bisect, insort
from collections import deque
from collections.abc import Collection, Sequence
from enum import Enum
from math import inf
from typing import Final

from smsc_status.models import Key, Limits

# Keys for the lanes. No id can be equal to one of these.
BULK: Final = "*bulk"
SINGLE: Final = "*single"

REFUSALS_THAT_STOP_SINGLES: Final = 3
"""After refusals of this many different ids within a period, all single requests stop for `period + margin`.

This client cannot have asked so many ids too often. Somebody else must be using the account, or holding its
connections. The text of the reply may tell which of the two it is, but texts change. Fewer requests help in both cases.
"""

MIN_REVIEW_INTERVAL: Final = 1.0
"""Seconds. However short the period, no id is reviewed more often than this."""


class RequestEnd(Enum):
    """How a request ended, as far as the limits are concerned."""

    REPLIED = "replied"
    REFUSED = "refused"  # the reply was "too many requests", so somebody else's requests count too
    ABANDONED = "abandoned"
    NOT_SENT = "not sent"


REPLIED: Final = RequestEnd.REPLIED
"""For code that runs for each request: CPython 3.11 needs 0.1 µs to find a member of an enumeration, and 0.01 µs for a
name."""

# An id with several tokens out has a list. Item 0 is one of these marks: is a review of the id queued? The instants
# follow in ascending order. `finished` compares a new instant with the item before the last, which may be the mark. Any
# instant is above -inf, so nothing more needs to be done. No instant is above inf, so `finished` takes its slower
# branch, which queues a review. A list class with methods in place of the mark took 15 to 30 % longer for an id that is
# asked again and again.
_QUEUED: Final = -inf
_NOT_QUEUED: Final = inf


class Pacer:
    """The tokens of one account. All instants are read from one monotonic clock and never go back."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._refunds = 0
        self._capacity: dict[Key, int] = {BULK: limits.bulk_requests}
        self._caps_singles = limits.singles_per_minute is not None
        if limits.singles_per_minute is not None:
            self._capacity[SINGLE] = limits.singles_per_minute
        self._back_after = limits.period + limits.margin
        self._review_after = max(self._back_after, MIN_REVIEW_INTERVAL)
        # By id, the instants at which its tokens come back or came back: ascending, `inf` for one in flight. A single
        # token is a plain number, because most ids are asked once, and all ids of a bulk request then share one float
        # object. Several tokens are a list that begins with a mark; see `_QUEUED`.
        self._out: dict[Key, float | list[float]] = {}
        # The ids to review, each at most once, and the instant for each entry. One id alone is stored without a tuple,
        # which would add a third to its memory.
        self._review_at: deque[float] = deque()
        self._review_queue: deque[Key | tuple[Key, ...]] = deque()
        self._open = 0
        # The instants until which abandoned requests keep their slots.
        self._lingering: deque[float] = deque()
        # Ids and lanes that the vendor has refused are closed until the given instant, however many tokens they have.
        self._closed: dict[Key, float] = {}
        self._closures: deque[tuple[float, Key]] = deque()
        self._refused: dict[Key, float] = {}
        self._singles_at = -inf
        # Before `_next_at` nothing needs to be done; before `_next_other_at`, nothing but reviews. Most calls come
        # earlier than both, and cost one comparison.
        self._next_at = inf
        self._next_other_at = inf

    # What may start, and when.

    def free_slots(self, *, now: float) -> int:
        """How many more requests may be open."""
        if now >= self._next_at:
            self._advance(now)
        return self.limits.connections - self._open - len(self._lingering)

    def slot_due_at(self, *, now: float) -> float:
        """When the next slot is free: `now`, a known instant, or `inf` if that depends on replies."""
        if self.free_slots(now=now) > 0:
            return now
        return self._lingering[0] if self._lingering else inf

    def tokens(self, key: Key, *, now: float) -> int:
        """How many requests that name this id may start now, as far as its tokens go. `key` may also be a lane."""
        if now >= self._next_at:
            self._advance(now)
        return 0 if key in self._closed else self._available(key, now)

    def due_at(self, key: Key, *, spare: int = 0, now: float) -> float:
        """The earliest instant at which more than `spare` tokens of this id (or lane) can be available; `now` if they
        are.

        A token in flight is taken to come back `period + margin` from now, as if its reply came now. So the instant may
        be too early, but is never too late.
        """
        if now >= self._next_at:
            self._advance(now)
        missing = spare + 1 - self._available(key, now)
        if missing <= 0:
            return self._closed.get(key, now)
        out = self._still_out(key, now)
        due_at = out[missing - 1] if missing <= len(out) else inf
        if not out or out[-1] == inf:
            due_at = min(due_at, now + self._back_after)
        return max(due_at, self._closed.get(key, due_at))

    def bulk_due_at(self, *, now: float) -> float:
        """The earliest instant at which the minute's bulk slot can be free."""
        return self.due_at(BULK, now=now)

    def singles_due_at(self, *, now: float) -> float:
        """The earliest instant at which a single request may start, whatever its id."""
        capped_at = self.due_at(SINGLE, now=now) if SINGLE in self._capacity else now
        return max(now, capped_at, self._singles_at)

    @property
    def open_requests(self) -> int:
        """How many requests are in flight, without the abandoned ones."""
        return self._open

    @property
    def refunds(self) -> int:
        """How often tokens came back at once because a request was not sent. A plan that counted on a later return is
        then outdated.
        """
        return self._refunds

    def is_idle(self, *, now: float) -> bool:
        """Whether every token and slot is back. If so, nothing is remembered any more."""
        if now >= self._next_at:
            self._advance(now)
        if any(self._still_out(key, now) for key in self._out):  # slots and refusals end no later than their tokens
            return False
        for kept in (self._out, self._review_at, self._review_queue):
            kept.clear()
        self._next_at = inf
        return True

    def __len__(self) -> int:
        """How many ids and lanes are remembered: those with a token out, and some whose tokens have all come back."""
        return len(self._out)

    # Reports of what happened.

    def started(self, keys: Collection[Key], bulk: bool, now: float) -> None:
        """A request that names these distinct ids has started. The caller has made sure that it may."""
        if now >= self._next_at:
            self._advance(now)
        out = self._out
        for key in self._with_lane(keys, bulk) if bulk or self._caps_singles else keys:
            known = out.get(key)
            if known is None:
                out[key] = inf
            elif isinstance(known, list):
                known.append(inf)
            else:
                out[key] = [_NOT_QUEUED if known == inf else _QUEUED, known, inf]
        self._open += 1

    def finished(self, keys: Collection[Key], bulk: bool, how: RequestEnd, now: float) -> None:
        """The request that was reported to `started` with the same ids has ended."""
        self._open -= 1
        names = self._with_lane(keys, bulk) if bulk or self._caps_singles else keys
        back_at = now + self._back_after
        if how is not REPLIED:
            if how is RequestEnd.NOT_SENT:
                self._refund(names)
                return
            if how is RequestEnd.ABANDONED:
                back_at += self.limits.linger
                self._linger(now + self.limits.linger)
            else:
                self._refuse(BULK if bulk else next(iter(keys)), now, back_at)
        out = self._out
        not_queued = []
        for key in names:
            known = out[key]
            if not isinstance(known, list):
                out[key] = back_at
                not_queued.append(key)
            elif known[-2] <= back_at:
                known[-1] = back_at
            else:  # no review is queued, or other tokens are in flight or come back later
                known.pop()
                insort(known, back_at, lo=1)
                if known[0] == _NOT_QUEUED:
                    known[0] = _QUEUED
                    not_queued.append(key)
        if not_queued:
            self._schedule_review(not_queued, now + self._review_after)

    # Internals.

    def _available(self, key: Key, now: float) -> int:
        available = self._capacity.get(key, self.limits.checks_per_id)
        known = self._out.get(key)
        if known is None:
            return available
        if not isinstance(known, list):
            return available - (known > now)
        while len(known) > 1 and known[1] <= now:
            del known[1]
        return available + 1 - len(known)

    def _still_out(self, key: Key, now: float) -> Sequence[float]:
        known = self._out.get(key)
        if known is None:
            return ()
        if not isinstance(known, list):
            return (known,) if known > now else ()
        return known[bisect(known, now, lo=1) :]

    @staticmethod
    def _with_lane(keys: Collection[Key], bulk: bool) -> tuple[Key, ...]:
        return (*keys, BULK if bulk else SINGLE)

    def _refund(self, names: Collection[Key]) -> None:
        self._refunds += 1
        out = self._out
        for key in names:
            known = out[key]
            if isinstance(known, list):
                known.pop()
            if not isinstance(known, list) or known == [_NOT_QUEUED]:
                del out[key]

    def _linger(self, until_at: float) -> None:
        self._lingering.append(until_at)
        self._update_next_at()

    def _refuse(self, key: Key, now: float, until_at: float) -> None:
        self._closed[key] = until_at
        self._closures.append((until_at, key))
        self._update_next_at()
        if key != BULK:
            self._count_refusal(key, now, until_at)

    def _count_refusal(self, key: Key, now: float, until_at: float) -> None:
        self._refused = {k: at for k, at in self._refused.items() if at > now - self.limits.period}
        self._refused[key] = now
        if len(self._refused) >= REFUSALS_THAT_STOP_SINGLES:
            self._refused.clear()
            self._singles_at = until_at

    def _schedule_review(self, names: Sequence[Key], at: float) -> None:
        """Queue a review of these ids at the instant `at`, or as soon after it as the order of the queue allows."""
        if self._review_at and self._review_at[-1] > at:
            at = self._review_at[-1]  # a shared log tells of events that are older than the last question
        self._review_at.append(at)
        self._review_queue.append(names[0] if len(names) == 1 else tuple(names))
        if at < self._next_at:
            self._next_at = at

    def _advance(self, now: float) -> None:
        """Carry out all reviews that are due: drop tokens that have come back, and forget ids that have no others."""
        if now >= self._next_other_at:
            self._advance_others(now)
        out, review_at, queue = self._out, self._review_at, self._review_queue
        again: list[Key] = []
        while review_at and review_at[0] <= now:
            review_at.popleft()
            names = queue.popleft()
            for key in names if isinstance(names, tuple) else (names,):
                known = out[key]
                if isinstance(known, list):
                    del known[1 : bisect(known, now, lo=1)]
                    back = len(known) == 1
                else:
                    back = known <= now
                if back:
                    del out[key]
                else:
                    again.append(key)
        if not out:
            out.clear()  # an emptied dict keeps its memory until `clear`
        self._next_at = self._next_other_at
        if review_at and review_at[0] < self._next_at:
            self._next_at = review_at[0]
        if again:
            self._schedule_review(again, now + self._review_after)

    def _advance_others(self, now: float) -> None:
        while self._lingering and self._lingering[0] <= now:
            self._lingering.popleft()
        while self._closures and self._closures[0][0] <= now:
            until_at, key = self._closures.popleft()
            if self._closed.get(key) == until_at:
                del self._closed[key]
        self._update_next_at()

    def _update_next_at(self) -> None:
        lingers_until = self._lingering[0] if self._lingering else inf
        closed_until = self._closures[0][0] if self._closures else inf
        self._next_other_at = min(lingers_until, closed_until)
        self._next_at = min(self._next_at, self._next_other_at)
