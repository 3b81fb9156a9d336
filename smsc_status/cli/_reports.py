"""Reports lines that can't be used: the first few one by one, the others as one line for each kind of problem."""

from __future__ import annotations

import re
from collections.abc import Callable

import attrs

ONE_BY_ONE = 10
MOST_KINDS = 20

# What may differ between two reports of one kind: values, quoted or not, and numbers.
_VALUE = re.compile(r"""^(\w+) (?:'.*'|".*"|\S+): """, re.DOTALL)
_NUMBER = re.compile(r"[0-9]+")


def of_count(noun: str, count: int) -> str:
    """The noun as it stands after this number: `message` after 1, `messages` after any other."""
    return noun if count == 1 else f"{noun}s"


@attrs.define
class _Kind:
    number: int
    why: str
    count: int = 0


class LineReporter:
    """Reports what is wrong with the lines of a file.

    Args:
        say: shows a line to the user.
        name: the file's name.
        unit: what the numbers count.
    """

    def __init__(self, say: Callable[[str], None], name: str, unit: str = "line") -> None:
        self._say = say
        self._name = name
        self._unit = unit
        self._said = 0
        self._kinds: dict[str, _Kind] = {}

    def __call__(self, number: int, why: str) -> None:
        """Report that line `number` can't be used, or only in part, and why."""
        if self._said < ONE_BY_ONE:
            self._said += 1
            self._say(f"{self._name}, {self._unit} {number}: {why}")
            return
        kind = _NUMBER.sub("N", _VALUE.sub(r"\1: ", why))
        if kind not in self._kinds and len(self._kinds) >= MOST_KINDS:
            kind, why = "", "other reasons"
        self._kinds.setdefault(kind, _Kind(number, why)).count += 1

    def sum_up(self) -> None:
        """Show the counts of the reports that were not shown one by one, and forget them."""
        kinds, self._kinds = self._kinds, {}
        for kind in kinds.values():
            further = kind.count - 1
            more = f", and {further:,} more {of_count(self._unit, further)} like it" if further else ""
            self._say(f"{self._name}, {self._unit} {kind.number}{more}: {kind.why}")
