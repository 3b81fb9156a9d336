"""Which rows count: of several rows of one message, the last one does.

The results are read twice. The first time, this module takes note of where each message's last row is. So nothing of a
row is kept but its number, and a million messages fit into little memory.
"""

from __future__ import annotations

from enum import IntFlag

from smsc_status.codes import DELIVERED, Status
from smsc_status.report._rows import Row


class Mark(IntFlag):
    """What is counted of a row.

    - `MESSAGE`: its message is counted by this row.
    - `FAILURE`: the error that ended the checks of its message is in this row.
    - `FAILED`: an error ended the checks of its message, after this row.
    - `DELIVERY`: this row says when its message was delivered.
    """

    NONE = 0
    MESSAGE = 1
    FAILURE = 2
    FAILED = 4
    DELIVERY = 8


NONE, MESSAGE, FAILURE, FAILED, DELIVERY = (int(mark) for mark in (0, *Mark))
"""The same as plain numbers: with them, a million rows are counted seconds faster."""

# What pass one has to remember of a row, until the marks are made.
_IS_DELIVERED, _IS_DELIVERED_LATER = 64, 128

_BITS = 40
_MASK = (1 << _BITS) - 1
_FAILURES = _MASK << _BITS


def marks_alone(row: Row) -> int:
    """The marks of a row that is the only one of its message."""
    ended = FAILED | FAILURE if row.error is not None else NONE
    return MESSAGE | ended | (DELIVERY if row.status == Status.DELIVERED and not ended else NONE)


class Marks:
    """The marks of all rows. First `see` each row, in order; then call `finish`, and the marks are there."""

    def __init__(self) -> None:
        self.has_repeats = False
        """Whether a message had several rows."""
        self._marks = bytearray()
        # For each message: the numbers (from 1) of its last record, of the failure after it, and of its last row that
        # says "delivered" before another record did; 0 for none. As one number they take a third of a tuple's memory.
        self._last: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._marks)

    def __getitem__(self, index: int) -> int:
        return self._marks[index]

    def see(self, row: Row) -> None:
        """Take note of the next row."""
        identity = row.identity
        if identity is None:
            self._marks.append(marks_alone(row))
            return
        known = self._last.get(identity, 0)
        if known:
            self.has_repeats = True
        number = len(self._marks) + 1
        if row.error is not None:
            self._marks.append(NONE)
            self._last[identity] = known & ~_FAILURES | number << _BITS
            return
        self._marks.append(_note_of(row))
        last, delivery = known & _MASK, known >> 2 * _BITS
        if last and self._marks[last - 1] & _IS_DELIVERED:
            delivery = last
        self._last[identity] = number | delivery << 2 * _BITS

    def finish(self) -> None:
        """All rows were seen: make the marks."""
        marks = self._marks
        for known in self._last.values():
            last, failure, delivery = known & _MASK, known >> _BITS & _MASK, known >> 2 * _BITS
            if failure:
                marks[failure - 1] |= FAILURE if last else FAILURE | MESSAGE | FAILED
            if last:
                self._mark(last - 1, delivery - 1, has_failed=failure > 0)
        self._last.clear()

    def _mark(self, last: int, delivery: int, *, has_failed: bool) -> None:
        marks, note = self._marks, self._marks[last]
        marks[last] |= MESSAGE
        if has_failed:
            marks[last] |= FAILED
        elif note & _IS_DELIVERED:
            marks[last] |= DELIVERY
        elif note & _IS_DELIVERED_LATER and delivery >= 0:
            marks[delivery] |= DELIVERY


def _note_of(row: Row) -> int:
    if row.status == Status.DELIVERED:
        return _IS_DELIVERED
    return _IS_DELIVERED_LATER if row.status in DELIVERED else NONE
