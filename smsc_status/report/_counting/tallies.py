"""Counts by group, and by name: each name of a channel, an operator or a sender has its own counts."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from decimal import Context, Decimal, Inexact
from enum import Enum
from typing import Generic, TypeVar

import attrs

KeyT = TypeVar("KeyT", bound=Hashable)
T = TypeVar("T")

# Sums are exact: 100 digits are enough for any number of costs, and a rounding would be an error.
_EXACT = Context(prec=100, traps=[Inexact])

MOST_NAMES = 10_000
"""At most this many different names are counted apart. All further ones are counted together."""


class Group(Enum):
    """How a message stands. `UNKNOWN`: the server does not know it, or its check failed."""

    DELIVERED = "delivered"
    FAILED = "failed"
    OPEN = "open"
    UNKNOWN = "unknown"


GROUPS = tuple(Group)


@attrs.define(slots=True)
class Costs:
    """Exact sums. `messages` and `delivered` count those of which the cost is known."""

    total: Decimal = Decimal(0)
    of_delivered: Decimal = Decimal(0)
    messages: int = 0
    delivered: int = 0

    def add(self, cost: Decimal, messages: int, *, are_delivered: bool) -> None:
        """Add the cost of some messages."""
        self.total = plus(self.total, cost)
        self.messages += messages
        if are_delivered:
            self.of_delivered = plus(self.of_delivered, cost)
            self.delivered += messages

    def include(self, other: Costs) -> None:
        """Add the sums of others."""
        self.total = plus(self.total, other.total)
        self.of_delivered = plus(self.of_delivered, other.of_delivered)
        self.messages += other.messages
        self.delivered += other.delivered


def plus(first: Decimal, second: Decimal) -> Decimal:
    """The exact sum."""
    return _EXACT.add(first, second)


@attrs.define(slots=True)
class Tally:
    """How many messages are in each group, and their costs."""

    counts: dict[Group, int] = attrs.field(factory=lambda: dict.fromkeys(GROUPS, 0))
    costs: Costs = attrs.field(factory=Costs)

    @property
    def total(self) -> int:
        """How many messages there are."""
        return sum(self.counts.values())

    def of(self, group: Group) -> int:
        """How many messages are in this group."""
        return self.counts[group]

    def take(self, group: Group, sums: Sums) -> None:
        """Count messages that are alike, and in this group."""
        self.counts[group] += sums.count
        if sums.costs:
            self.costs.add(sums.cost, sums.costs, are_delivered=group is Group.DELIVERED)

    def add(self, other: Tally) -> None:
        """Add the counts of others."""
        for group in GROUPS:
            self.counts[group] += other.counts[group]
        self.costs.include(other.costs)


@attrs.define(slots=True)
class Sums:
    """Messages that are alike in everything that is counted: how many, and their costs, of which `costs` are known."""

    count: int = 0
    cost: Decimal = Decimal(0)
    costs: int = 0


class ByName(Generic[KeyT, T]):
    """Something for each name, for at most `MOST_NAMES` names, and one more for all other names together.

    Args:
        make: makes what a name has.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._of: dict[KeyT, T] = {}
        self.others: T | None = None
        """What all further names have together; `None` if there are none."""

    def __len__(self) -> int:
        return len(self._of)

    def __iter__(self) -> Iterator[KeyT]:
        return iter(self._of)

    def items(self) -> list[tuple[KeyT, T]]:
        """The names and what each has, without the others."""
        return list(self._of.items())

    def get(self, name: KeyT) -> T | None:
        """What a name has; `None` if it did not occur, or is among the others."""
        return self._of.get(name)

    def at(self, name: KeyT) -> T:
        """What a name has, or what the others have if there are too many names already."""
        found = self._of.get(name)
        if found is not None:
            return found
        if len(self._of) < MOST_NAMES:
            return self._of.setdefault(name, self._make())
        if self.others is None:
            self.others = self._make()
        return self.others
