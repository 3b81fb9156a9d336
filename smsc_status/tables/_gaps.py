"""Gaps between the keys of open rows: the rows of these keys may be committed later.

A database gives out keys in ascending order, but transactions end in any order. So when a row is found while a lower
key is not there, that key's transaction may still be running. Such keys are gaps, and each look reads what is in
them now. Therefore a row is found by the first look after its commit, however many rows with higher keys came before.

Some gaps are never filled: the transaction was rolled back, the condition of the user leaves the row out, or the keys
are no consecutive numbers at all. So a gap is kept for a limited time, and the lowest ones are given up if there are
too many.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

KEPT_FOR = 3_600.0
"""Seconds for which a gap is looked at."""

MAX_GAPS = 1_000

MAX_RANGES = 100
"""Gaps are joined into at most this many ranges, which takes the database a few milliseconds."""

Range = tuple[int, int]
"""The keys between two keys, without these."""


class _Gap(NamedTuple):
    """A range without open rows. `until` is the instant when it is given up."""

    low: int
    high: int
    until: float


class Gaps:
    """The gaps below the highest key that was seen, in ascending order."""

    def __init__(self) -> None:
        self._highest: int | None = None
        self._gaps: list[_Gap] = []

    def __iter__(self) -> Iterator[Range]:
        """All gaps. `ranges` joins some of them."""
        return ((gap.low, gap.high) for gap in self._gaps)

    def seen(self, keys: Sequence[int], *, now: float) -> None:
        """Take in the keys of the newest rows, in ascending order. The first ones only say where the gaps begin."""
        if self._highest is None:
            self._highest = keys[-1] if keys else None
            return
        keys = [self._highest, *keys[bisect_right(keys, self._highest) :]]
        self._gaps += _gaps_between(keys, now + KEPT_FOR)
        self._highest = keys[-1]

    def ranges(self, *, now: float) -> list[Range]:
        """Where to look now, in ascending order: at most `MAX_RANGES`, which have all gaps."""
        self._gaps = [gap for gap in self._gaps if gap.until > now][-MAX_GAPS:]
        joined = _narrowest(
            [(one.high, other.low) for one, other in pairwise(self._gaps)], len(self._gaps) - MAX_RANGES
        )
        ranges: list[Range] = []
        for number, gap in enumerate(self._gaps):
            if number in joined:
                ranges[-1] = (ranges[-1][0], gap.high)
            else:
                ranges.append((gap.low, gap.high))
        return ranges

    def looked(self, keys: Sequence[int]) -> None:
        """Take in the keys of all open rows in the ranges, in ascending order. A row splits its gap."""
        self._gaps = [part for gap in self._gaps for part in _without(gap, keys)]

    def give_up_below(self, key: int) -> None:
        """Look no more at the gaps below this key."""
        self._gaps = [gap for gap in self._gaps if gap.low >= key]


def _gaps_between(keys: Sequence[int], until: float) -> list[_Gap]:
    return [_Gap(low, high, until) for low, high in pairwise(keys) if high - low > 1]


def _without(gap: _Gap, keys: Sequence[int]) -> list[_Gap]:
    inside = keys[bisect_right(keys, gap.low) : bisect_left(keys, gap.high)]
    return _gaps_between([gap.low, *inside, gap.high], gap.until) if inside else [gap]


def _narrowest(between: Sequence[Range], count: int) -> set[int]:
    """The numbers of the gaps that are joined to the gap before them: those with the fewest keys in between."""
    numbers = sorted(range(len(between)), key=lambda number: between[number][1] - between[number][0])
    return {number + 1 for number in numbers[: max(0, count)]}
