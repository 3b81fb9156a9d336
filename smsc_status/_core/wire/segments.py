"""Finds the ways to divide a bulk reply among the messages that were asked, in their order.

A way is a chain of cuts: at each cut the part of another message begins. Which cut may come next depends only on the
cut before it. So one sweep finds the longest chain up to each cut, and a second sweep, backwards, the longest from
each cut, in about `n log n` steps.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple

import attrs

from smsc_status.models import Identity, Key

END = 1 << 60


@attrs.frozen(slots=True)
class RecordStart:
    """A line that may begin the record of one of these phones; `whole` if it is all of it and names the id too."""

    phones: frozenset[str]
    id: Key | None = None
    whole: bool = False


class RecordEnd(NamedTuple):
    """A line that may end the record of this id, and of this phone if it names one."""

    id: Key
    phone: str | None


@attrs.frozen(slots=True)
class Segment:
    """The lines from one that looks like the beginning of a record up to the next such line."""

    text: str
    start: RecordStart
    ends: Sequence[RecordEnd]


class Cut(NamedTuple):
    """A message's part begins with this segment. Both numbers are positions."""

    segment: int
    message: int


class _LongestBefore:
    """The lengths of the longest chains, by the end that their last part has (`cls`) and by their last message.

    Of each `cls` only chains that are longer than all those with a lower message are kept.
    """

    def __init__(self) -> None:
        self._steps: dict[Hashable, tuple[list[int], list[int]]] = {}

    def add(self, cls: Hashable, message: int, length: int) -> None:
        """Record a chain of this length that ends with this message."""
        messages, lengths = self._steps.setdefault(cls, ([], []))
        position = bisect_left(messages, message)
        if position and lengths[position - 1] >= length:
            return
        end = position
        while end < len(messages) and lengths[end] <= length:
            end += 1
        messages[position:end] = [message]
        lengths[position:end] = [length]

    def before(self, cls: Hashable, message: int) -> int | None:
        """The length of the longest chain that ends with a lower message."""
        messages, lengths = self._steps.get(cls, ((), ()))
        position = bisect_left(messages, message)
        return lengths[position - 1] if position else None


class LongestChains:
    """The longest chains of cuts through a block in which every segment belongs to a message."""

    def __init__(
        self, segments: Sequence[Segment], asked: Sequence[Identity], cuts: Sequence[list[Cut]], first: int
    ) -> None:
        self._segments = segments
        self._asked = asked
        self._cuts = cuts
        self._first = first

    def levels(self) -> list[list[Cut]]:
        """The cuts of all the longest chains, by their position in the chain; empty if there is no chain."""
        to, longest = self._lengths_to()
        if longest is None:
            return []
        after = self._lengths_from()
        levels: list[list[Cut]] = [[] for _ in range(longest)]
        for cut, length in to.items():
            if length + after.get(cut, -END) - 1 == longest:
                levels[length - 1].append(cut)
        return levels

    def _lengths_to(self) -> tuple[dict[Cut, int], int | None]:
        best = _LongestBefore()
        lengths: dict[Cut, int] = {}
        for position, cuts in enumerate([*self._cuts, [Cut(END, END)]]):
            for cut in cuts:
                length = (
                    0 if not position else _most(best.before(cls, cut.message) for cls in self._ends_at(position - 1))
                )
                if length is not None:
                    lengths[cut] = length + 1
            for cut in cuts:
                if cut in lengths and cut.message != END:
                    for cls in self._ends_after(cut):
                        best.add(cls, cut.message, lengths[cut])
        whole = lengths.pop(Cut(END, END), None)
        return lengths, whole and whole - 1

    def _lengths_from(self) -> dict[Cut, int]:
        best = _LongestBefore()
        lengths = {Cut(END, END): 0}
        following = [Cut(END, END)]
        for position in range(len(self._cuts) - 1, -1, -1):
            for cut in following:
                if cut in lengths:
                    for cls in self._ends_at(position):
                        best.add(cls, -cut.message, lengths[cut])
            following = self._cuts[position]
            for cut in following:
                length = _most(best.before(cls, -cut.message) for cls in self._ends_after(cut))
                if length is not None:
                    lengths[cut] = length + 1
        return lengths

    def _ends_after(self, cut: Cut) -> tuple[Hashable, ...]:
        """The ends that a part which begins with this cut may have."""
        position = cut.segment - self._first
        if self._segments[position].start.whole:
            return (("whole", position),)
        id, phone = self._asked[cut.message]
        return (id, None), (id, phone)

    def _ends_at(self, position: int) -> Sequence[Hashable]:
        """The ends that a part whose last segment is this one has."""
        segment = self._segments[position]
        return (("whole", position),) if segment.start.whole else [(end.id, end.phone) for end in segment.ends]


def _most(lengths: Iterable[int | None]) -> int | None:
    return max((length for length in lengths if length is not None), default=None)
