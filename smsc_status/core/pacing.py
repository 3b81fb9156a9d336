"""May a request that names these ids start now, and if not, when?

The vendor counts arrivals: in any minute at most five requests that name an id and one bulk request, and fewer than
five open at once (https://smsc.ru/api/http/status_messages/check_status/). When a request arrives is not known here;
it is only known to lie between its start and its reply. So each limit is a bucket of tokens, and a token is taken when
its request starts, stays out while the request is in flight, and comes back `period + margin` after the reply. No token
can then be seen twice by the server inside one period, whatever the network delays.

The one assumption: a request that was given up (timed out, cut, abandoned at closing) arrives within `linger` or never.
Its tokens count from that moment on, and it keeps its place among the open ones as long.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from enum import Enum
from math import inf
from typing import Final

from smsc_status.models import Key, Limits

# No id can look like these: they stand for the lanes among the ids.
BULK: Final = "*bulk"
SINGLE: Final = "*single"

REFUSALS_THAT_STOP_SINGLES: Final = 3


class Settlement(Enum):
    """How a request ended, as far as the limits care."""

    REPLIED = "replied"
    REFUSED = "refused"  # replied with "too many requests": somebody else's requests count too
    GIVEN_UP = "given up"
    NEVER_LEFT = "never left"


class Pacer:
    """The tokens of one account. All instants come from one monotonic line and never go back."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.refunds = 0
        """How often tokens came back before their time was up; whoever planned by that time may look again."""
        self._capacity: dict[Key, int] = {BULK: limits.bulk_requests}
        if limits.singles_per_minute is not None:
            self._capacity[SINGLE] = limits.singles_per_minute
        # Per id, the instants at which the tokens that are out come back, ascending; `inf` while in flight.
        self._out: dict[Key, tuple[float, ...]] = {}
        # The same instants in the order in which they come: after a reply, and after giving up.
        self._after_reply: deque[tuple[float, Collection[Key]]] = deque()
        self._after_linger: deque[tuple[float, Collection[Key]]] = deque()
        self._open = 0
        self._lingering: deque[float] = deque()
        # What the vendor has refused is closed until the instant given, however many tokens it has.
        self._closed: dict[Key, float] = {}
        self._closures: deque[tuple[float, Key]] = deque()
        self._refused: dict[Key, float] = {}
        self._singles_at = -inf

    # Questions.

    def free_places(self, *, now: float) -> int:
        """How many more requests may be open."""
        self._advance(now)
        return self.limits.connections - self._open - len(self._lingering)

    def place_due_at(self, *, now: float) -> float:
        """When the next place is free: `now`, a known instant, or `inf` while that depends on replies."""
        if self.free_places(now=now) > 0:
            return now
        return self._lingering[0] if self._lingering else inf

    def tokens(self, key: Key, *, now: float) -> int:
        """How many requests that name this id (or of this lane) may start now."""
        self._advance(now)
        return 0 if key in self._closed else self._room(key)

    def due_at(self, key: Key, *, spare: int = 0, now: float) -> float:
        """The earliest instant at which more than `spare` tokens of this id (or lane) can be there.

        `now` if they are. Where a token is still in flight, the instant at which it would come back if its reply came
        now: never too late, perhaps too early.
        """
        self._advance(now)
        missing = spare + 1 - self._room(key)
        due_at = now
        if missing > 0:
            out = self._out.get(key, ())
            due_at = out[missing - 1] if missing <= len(out) else inf
            if not out or out[-1] == inf:
                due_at = min(due_at, now + self.limits.period + self.limits.margin)
        return max(due_at, self._closed.get(key, due_at))

    def bulk_due_at(self, *, now: float) -> float:
        """The earliest instant at which a bulk request may start, as far as its slot is concerned."""
        return self.due_at(BULK, now=now)

    def singles_due_at(self, *, now: float) -> float:
        """The earliest instant at which a request for one message may start, whatever its id."""
        capped_at = self.due_at(SINGLE, now=now) if SINGLE in self._capacity else now
        return max(now, capped_at, self._singles_at)

    @property
    def open_requests(self) -> int:
        """How many requests are in flight; those given up not counted."""
        return self._open

    def is_idle(self, *, now: float) -> bool:
        """Whether every token and place is back: nothing is remembered any more."""
        self._advance(now)
        return not (self._out or self._open or self._lingering or self._closed)

    def __len__(self) -> int:
        """How many ids and lanes are remembered."""
        return len(self._out)

    # What happened.

    def started(self, keys: Iterable[Key], *, bulk: bool, now: float) -> None:
        """A request that names these distinct ids has started. The caller has asked first."""
        self._advance(now)
        out = self._out
        for key in self._names(keys, bulk=bulk):
            out[key] = (*out.get(key, ()), inf)
        self._open += 1

    def finished(self, keys: Iterable[Key], *, bulk: bool, how: Settlement, now: float) -> None:
        """The request that had `started` with the same ids has ended."""
        self._advance(now)
        self._open -= 1
        names = self._names(keys, bulk=bulk)
        if how is Settlement.NEVER_LEFT:
            self.refunds += 1
            self._put_back(names)
            return
        back_at = now + self.limits.period + self.limits.margin
        if how is Settlement.GIVEN_UP:
            back_at += self.limits.linger
            self._lingering.append(now + self.limits.linger)
            self._after_linger.append((back_at, names))
        else:
            self._after_reply.append((back_at, names))
        self._settle(names, back_at)
        if how is Settlement.REFUSED:
            key = BULK if bulk else names[0]
            self._close(key, back_at)
            if not bulk:
                self._count_refusal(key, now, back_at)

    # Inside.

    def _room(self, key: Key) -> int:
        return self._capacity.get(key, self.limits.checks_per_id) - len(self._out.get(key, ()))

    def _names(self, keys: Iterable[Key], *, bulk: bool) -> tuple[Key, ...]:
        if bulk:
            return (*keys, BULK)
        return (*keys, SINGLE) if SINGLE in self._capacity else tuple(keys)

    def _settle(self, names: Iterable[Key], back_at: float) -> None:
        out = self._out
        alone = (back_at,)  # shared by all ids that were asked once
        for key in names:
            known = out[key]
            out[key] = alone if len(known) == 1 else tuple(sorted((*known[:-1], back_at)))

    def _put_back(self, names: Iterable[Key]) -> None:
        out = self._out
        for key in names:
            known = out[key]
            if len(known) == 1:
                del out[key]
            else:
                out[key] = known[:-1]

    def _close(self, key: Key, until_at: float) -> None:
        self._closed[key] = until_at
        self._closures.append((until_at, key))

    def _count_refusal(self, key: Key, now: float, until_at: float) -> None:
        self._refused = {k: at for k, at in self._refused.items() if at > now - self.limits.period}
        self._refused[key] = now
        if len(self._refused) >= REFUSALS_THAT_STOP_SINGLES:
            self._refused.clear()
            self._singles_at = until_at

    def _advance(self, now: float) -> None:
        for queue in (self._after_reply, self._after_linger):
            while queue and queue[0][0] <= now:
                self._expire(queue.popleft()[1])
        while self._closures and self._closures[0][0] <= now:
            until_at, key = self._closures.popleft()
            if self._closed.get(key) == until_at:
                del self._closed[key]
        while self._lingering and self._lingering[0] <= now:
            self._lingering.popleft()

    def _expire(self, names: Iterable[Key]) -> None:
        out = self._out
        for key in names:
            known = out[key]
            if len(known) == 1:
                del out[key]
            else:
                out[key] = known[1:]
