"""Long work in portions, so that the event loop can do other things between them.

A function that returns `Portions` yields after each portion but the last, and returns its result. Short work is one
portion.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from itertools import islice
from typing import TypeVar

T = TypeVar("T")

Portions = Generator[None, None, T]

ROWS = 50
"""How many rows are read in a portion. That takes 1 to 3 ms."""


def in_one_go(portions: Portions[T]) -> T:
    """Do all portions now, and return the result."""
    while True:
        try:
            next(portions)
        except StopIteration as end:
            result: T = end.value
            return result


def list_in_portions(rows: Iterable[T]) -> Portions[list[T]]:
    """A list of rows, each of which takes a while to make."""
    made: list[T] = []
    left = iter(rows)
    for row in left:
        if made:
            yield
        made.append(row)
        made.extend(islice(left, ROWS - 1))
    return made
