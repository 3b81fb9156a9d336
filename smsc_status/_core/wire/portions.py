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

CHARS = 1 << 20
"""How many characters of a text are looked at in a portion, at least. That takes about 1 ms."""


def in_one_go(portions: Portions[T]) -> T:
    """Do all portions now, and return the result."""
    while True:
        try:
            next(portions)
        except StopIteration as end:
            result: T = end.value
            return result


def split_in_portions(text: str, separator: str) -> Portions[list[str]]:
    """What `text.split(separator)` gives."""
    parts: list[str] = []
    began_at = 0
    while (ended_at := text.find(separator, began_at + CHARS)) >= 0:
        parts += text[began_at:ended_at].split(separator)
        began_at = ended_at + len(separator)
        yield
    parts += text[began_at:].split(separator)
    return parts


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
