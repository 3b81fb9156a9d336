"""A tracked message, and the policy by which such messages are asked."""

from __future__ import annotations

from math import inf

import attrs

from smsc_status._core.tracking.archive import DAY
from smsc_status._core.tracking.bucket import Bucket
from smsc_status._core.tracking.calendar_queue import CalendarQueue
from smsc_status.models import MessageRef


@attrs.frozen(kw_only=True)
class Policy:
    """How tracking spends its checks. Times are in seconds. `benchmarks/day.py` shows the effect of other values.

    `eagerness`, 0 to 1, is the share of the connections that single checks of tracked messages may occupy. By default
    half of the connections stay free for bulk requests and the account's other work.
    """

    eagerness: float = 0.5
    expire_after: float = 2 * DAY
    least_interval: float = 3.6
    """Minimum interval. It spreads an id's five checks a minute over the ages 2 to 20 s, when most messages are
    delivered."""
    least_share: float = 0.005
    """Minimum interval, as a fraction of the message's age: a delay matters less for an old message."""
    longest_interval: float = 3600.0
    """Maximum interval, however many messages there are."""
    longest_turn: float = 2.0
    """Maximum interval, as a multiple of the time that it takes to ask every waiting message once."""
    young: float = 120.0
    """Up to this age a message is young. Single checks take young messages before older ones, and older messages do not
    lengthen their intervals."""
    stopped: float = 600.0
    """Minimum interval of a message that was stopped (status -2)."""
    guard: float = 90.0
    """The last calls before a deadline begin this much earlier than their bulk requests need."""
    ahead: float = 60.0
    """Minimum interval of a message whose time of sending lies in the future; less if that time comes sooner."""


class Tracked:
    """One tracked message. `sent_at` and `added_at` are dates, all other instants are monotonic."""

    __slots__ = (
        "added_at",
        "answered_at",
        "checks_in_cycle",
        "cycle_began_at",
        "deadline_bucket",
        "due_bucket",
        "last",
        "queue",
        "rate",
        "ref",
        "sent_at",
    )  # fmt: skip

    def __init__(self, ref: MessageRef, sent_at: float, *, is_known: bool, answered_at: float) -> None:
        self.ref: MessageRef = ref
        self.sent_at: float = sent_at
        self.added_at: float | None = None if is_known else sent_at
        """The date when it was added, if its time of sending is not known, else `None`."""
        self.answered_at: float = answered_at
        """When its last answer came in; before the first answer, when it was sent, or added if that is not known."""
        self.due_bucket: Bucket[Tracked] | None = None
        """The bucket of the instant at which it is due; `None` while it is being asked."""
        self.deadline_bucket: Bucket[Tracked] | None = None
        self.queue: CalendarQueue[Tracked] | None = None
        self.rate: float = 0.0
        self.last: tuple[int, int | None] | None = None
        """The status and error of its last answer; before the first answer, what its ref says was seen before."""
        self.cycle_began_at: float = -inf
        self.checks_in_cycle: int = 0
        """How many checks began within a cycle from `cycle_began_at` on."""

    @property
    def is_dated(self) -> bool:
        """Whether the time of sending is known."""
        return self.added_at is None

    @property
    def second(self) -> int:
        """The monotonic second of `answered_at`."""
        return int(self.answered_at)
