"""What waits to be asked, what is sent together, and where further messages come from."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from math import inf
from typing import Any, Protocol

import attrs

from smsc_status._core.scheduling.pacing import Pacer
from smsc_status.errors import SmscError
from smsc_status.models import Detail, Identity, Key


class CheckState(Enum):
    """The state of a pending check."""

    WAITING = "waiting"
    BACKING_OFF = "backing off"
    IN_FLIGHT = "in flight"
    DONE = "done"


@attrs.define(eq=False)
class PendingCheck:
    """One distinct message that somebody waits for. `id` and `phone` are kept as the caller wrote them."""

    id: str
    phone: str
    identity: Identity
    detail: Detail
    rank: float
    """The instant at which it began to wait, less its head start. The smallest rank goes first."""
    head_start: float = 0.0
    """Seconds. It is more than 0 if a caller waits for the message at this moment."""
    order: int = 0
    state: CheckState = CheckState.WAITING
    due_at: float = -inf
    since: float = inf
    """The instant from which its wait counts: not during a pause after a failure. `inf` if it does not wait."""
    tries: int = 0
    misses: int = 0
    last_error: SmscError | None = None
    is_sent: bool = False
    """Whether its request has been sent. In flight but not sent means that the request is still being selected."""
    is_alone: bool = False
    """Whether the last request for it named no other message."""
    subscribers: dict[Any, float] = attrs.field(factory=dict)
    """Who waits for it, each with its head start in seconds. The dispatcher uses neither this nor `epoch`."""
    epoch: int = 0


@attrs.frozen(eq=False)
class Request:
    """The checks that are sent together, and the distinct keys of their ids."""

    checks: tuple[PendingCheck, ...]
    keys: tuple[Key, ...]
    bulk: bool

    @property
    def detail(self) -> Detail:
        """The highest level of detail that any of its messages asks for."""
        return max(check.detail for check in self.checks)

    @property
    def since(self) -> float:
        """The instant from which the wait of its message that has waited longest counts; `inf` if none has waited."""
        return min(check.since for check in self.checks)

    def links(self) -> Iterator[object]:
        """The links of everybody who waits for one of its messages."""
        for check in self.checks:
            for subscriber in check.subscribers:
                yield subscriber.link


class Feed(Protocol):
    """A source of further messages: a tracker. It gives them only while a request is selected."""

    def due_at(self, *, singly: bool = False) -> float:
        """When the next message is due; with `singly`, for a single request. `inf` if none is there or wanted."""

    def has_priority(self, *, now: float) -> bool:
        """Whether messages are due that go before all others except those that a caller waits for."""

    def take(self, pacer: Pacer, *, at_most: int, until: float, now: float) -> list[PendingCheck]:
        """Messages for a bulk request: those due at or before `until`, or with `until=-inf` those that have priority.

        Each of them has a token. There are fewer than `at_most` only if there are no more.
        """

    def take_single(self, pacer: Pacer, *, now: float) -> PendingCheck | None:
        """A message for a single request. `None` if the one that was due cannot go; it is then due later."""
