"""Counts arriving requests against the vendor's limits, independently of the client's own counts.

The limits are from the vendor's page, https://smsc.ru/api/http/status_messages/check_status/: within a minute at most
five requests for the status of one message and one bulk request, and fewer than five requests at once.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Hashable, Iterable
from enum import StrEnum

from smsc_status.errors import ConfigError
from smsc_status.models import Key

_BULK = object()

MOST_NAMED = 100
"""So many ids are remembered that were asked too often."""


class Refusal(StrEnum):
    """The limit that a request broke."""

    CONNECTIONS = "connections"
    BULK_REQUESTS = "bulk_requests"
    CHECKS_PER_ID = "checks_per_id"


class Kind(StrEnum):
    """The kind of a request."""

    SINGLE = "single"
    BULK = "bulk"
    DELETE = "delete"


class Window:
    """Counts how often each key was seen within `period` seconds. Instants exactly `period` apart count separately."""

    def __init__(self, period: float) -> None:
        self._period = period
        self._seen: deque[tuple[float, Hashable]] = deque()
        self._counts: Counter[Hashable] = Counter()

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, key: Hashable, at: float) -> int:
        """Count the key once more. Returns its count in the window that ends now."""
        self._forget(at)
        self._seen.append((at, key))
        self._counts[key] += 1
        return self._counts[key]

    def _forget(self, at: float) -> None:
        while self._seen and at - self._seen[0][0] >= self._period:
            _, key = self._seen.popleft()
            self._counts[key] -= 1
            if not self._counts[key]:
                del self._counts[key]


class Referee:
    """Counts arriving requests, says which break a limit, and keeps the peaks.

    The limits are: in any window of `period` seconds at most `checks_per_id` requests that name an id and at most
    `bulk_requests` bulk requests, and at any instant at most `connections` open requests. A request that breaks a limit
    has arrived all the same, so it counts.

    Args:
        checks_per_id: how many requests may name an id within a period.
        bulk_requests: how many bulk requests may arrive within a period.
        period: the period, in seconds of the clock by which arrivals are reported.
        connections: how many requests may be open at once.
        count_invalid: whether invalid requests (a wrong login, a parameter that can't be used, a blocked address) count
            towards the first two limits too. The emulated server does not know whose account they are for. Another
            server may know: count them to see whether a client would keep its limits.
    """

    def __init__(
        self,
        checks_per_id: int = 5,
        bulk_requests: int = 1,
        period: float = 60.0,
        connections: int = 4,
        *,
        count_invalid: bool = False,
    ) -> None:
        if min(checks_per_id, bulk_requests, connections) < 1 or not period > 0:
            raise ConfigError("the referee's limits: expected whole numbers from 1 on, and a period above 0")
        self.checks_per_id = checks_per_id
        self.bulk_requests = bulk_requests
        self.period = period
        self.connections = connections
        self.count_invalid = count_invalid
        self.open: int = 0
        self.peak_checks_per_id: int = 0
        self.peak_bulk: int = 0
        self.peak_open: int = 0
        self.requests: Counter[Kind] = Counter()
        self.refusals: Counter[Refusal] = Counter()
        self.messages = 0
        self.asked_too_often: dict[Key, int] = {}
        """The ids that broke `checks_per_id`, and the most requests that named them within a period; a hundred ids at
        most."""
        self._window = Window(period)

    def arrived(
        self, ids: Iterable[Key], kind: Kind, *, at: float, is_bulk: bool, is_valid: bool = True
    ) -> Refusal | None:
        """Count a request that names these ids and arrives at `at` seconds of any clock. It is open until `left`.

        An id counts once for each request, however often it is named. An invalid request counts as open like any other,
        but not towards the other limits, unless `count_invalid` is set. Returns the limit that is broken, or `None`.
        """
        self.open += 1
        self.peak_open = max(self.peak_open, self.open)
        self.requests[kind] += 1
        counts = is_valid or self.count_invalid
        checks_of = {key: self._window.add(key, at) for key in set(ids)} if counts else {}
        checks = max(checks_of.values(), default=0)
        self.peak_checks_per_id = max(self.peak_checks_per_id, checks)
        bulk = self._window.add(_BULK, at) if is_bulk and counts else 0
        self.peak_bulk = max(self.peak_bulk, bulk)
        refusal = self._refusal(checks, bulk)
        if refusal is not None:
            self.refusals[refusal] += 1
        if refusal is Refusal.CHECKS_PER_ID:
            self._remember(checks_of)
        return refusal

    def _remember(self, checks_of: dict[Key, int]) -> None:
        for key, checks in checks_of.items():
            is_known = key in self.asked_too_often
            if checks > self.checks_per_id and (is_known or len(self.asked_too_often) < MOST_NAMED):
                self.asked_too_often[key] = max(checks, self.asked_too_often.get(key, 0))

    def _refusal(self, checks: int, bulk: int) -> Refusal | None:
        if self.open > self.connections:
            return Refusal.CONNECTIONS
        if bulk > self.bulk_requests:
            return Refusal.BULK_REQUESTS
        return Refusal.CHECKS_PER_ID if checks > self.checks_per_id else None

    def left(self) -> None:
        """One of the open requests has got its whole answer, or was abandoned."""
        self.open -= 1

    @property
    def no_violations(self) -> bool:
        """Whether no limit has been broken so far."""
        return not self.refusals

    def stats(self) -> dict[str, object]:
        """The counts so far, ready for JSON."""
        return {
            "requests": {kind.value: self.requests[kind] for kind in Kind},
            "messages": self.messages,
            "refusals": {refusal.value: self.refusals[refusal] for refusal in Refusal},
            "open": self.open,
            "peak_open": self.peak_open,
            "peak_bulk": self.peak_bulk,
            "peak_checks_per_id": self.peak_checks_per_id,
        }
