"""Who is due when, for very many: a queue of turns, each a list of all that are due at one instant."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from math import ceil, inf
from typing import Any, Generic, Protocol, TypeVar

from smsc_status._core.tracking.bucket import Bucket


class Due(Protocol):
    """What an agenda holds. Agendas set its `turn`: `None` while it is in none."""

    turn: Bucket[Any] | None


DueT = TypeVar("DueT", bound=Due)


class CalendarQueue(Generic[DueT]):
    """Items in the order of the instants at which they are due, rounded up to whole grains.

    Adding one and taking one are a matter of a list's end, however many there are. An item leaves by being taken, or by
    being added to another agenda.

    Args:
        grain: seconds.
    """

    def __init__(self, grain: float) -> None:
        self.entries: int = 0
        """How many it holds, and those that have left for another."""
        self._grain = grain
        self._turns: dict[int, Bucket[DueT]] = {}
        self._keys: list[int] = []

    def __iter__(self) -> Iterator[DueT]:
        for turn in self._turns.values():
            yield from dict.fromkeys(item for item in turn if item.turn is turn)

    def add(self, item: DueT, at: float) -> None:
        """It is due at this instant."""
        key = ceil(at / self._grain)
        turn = self._turns.get(key)
        if turn is None:
            turn = self._turns[key] = Bucket(key * self._grain)
            heappush(self._keys, key)
        if item.turn is not None:
            item.turn.live -= 1
        turn.append(item)
        turn.live += 1
        self.entries += 1
        item.turn = turn

    def due_at(self) -> float:
        """When the next is due; `inf` if there is none."""
        while self._keys:
            turn = self._turns[self._keys[0]]
            if turn.live:
                return turn.at
            self.entries -= len(turn)
            del self._turns[heappop(self._keys)]
        return inf

    def take(self, at_most: int = 1) -> list[DueT]:
        """Some of those who are due next, all at the same instant."""
        if self.due_at() == inf:
            return []
        turn: Bucket[DueT] = self._turns[self._keys[0]]
        taken: list[DueT] = []
        before = len(turn)
        while turn and len(taken) < at_most:
            item = turn.pop()
            if item.turn is turn:
                item.turn = None
                taken.append(item)
        turn.live -= len(taken)
        self.entries -= before - len(turn)
        return taken

    def due(self, now: float) -> int:
        """How many are due now."""
        return sum(turn.live for turn in self._turns.values() if turn.at <= now)

    def forget_gone(self) -> None:
        """Let go of the entries of those that have left."""
        for key, turn in list(self._turns.items()):
            turn[:] = dict.fromkeys(item for item in turn if item.turn is turn)
            if not turn:
                del self._turns[key]
        self.entries = sum(map(len, self._turns.values()))
        self._keys = list(self._turns)
        heapify(self._keys)
