"""What rows come from, and how they are counted: a file twice, because a later row may replace an earlier one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from datetime import tzinfo
from typing import Any, Protocol

from smsc_status.errors import ConfigError
from smsc_status.models import FailedCheck, StatusRecord
from smsc_status.report._counting.figures import Figures
from smsc_status.report._counting.marks import Marks, marks_alone
from smsc_status.report._rows import Row, row_of

Report = Callable[[int, str], None]
"""Called with the number of a row or line that can't be used, and the reason."""


class Source(Protocol):
    """Where rows come from."""

    has_history: bool
    """Whether a message may have several rows, of which the last one counts. If so, the rows can be read twice."""

    @property
    def name(self) -> str:
        """What the report calls it."""

    def rows(self, report: Report) -> Iterator[Row]:
        """The rows, in order. Those that can't be used are reported and left out."""


class Outcomes:
    """Outcomes in memory."""

    has_history = True
    name = ""

    def __init__(self, outcomes: Collection[StatusRecord[Any] | FailedCheck[Any]]) -> None:
        self._outcomes = outcomes

    def rows(self, report: Report) -> Iterator[Row]:
        """See `Source`."""
        for number, outcome in enumerate(self._outcomes, 1):
            if not isinstance(outcome, StatusRecord | FailedCheck):
                raise ConfigError(f"outcome {str(outcome)[:60]!r}: expected a StatusRecord or a FailedCheck")
            try:
                yield row_of(outcome.to_dict())
            except ConfigError as error:
                report(number, str(error))


def count(source: Source, zone: tzinfo, report: Report) -> Figures:
    """The figures of all rows.

    Rows are counted while they are read. As soon as a second row of a message comes, that count is given up. The rest
    is only read, and then all rows are read once more and counted.

    Args:
        source: what the rows come from.
        zone: the zone of the days.
        report: called for each row that can't be used.
    """
    bad_rows = 0

    def report_once(number: int, reason: str) -> None:
        nonlocal bad_rows
        bad_rows += 1
        report(number, reason)

    figures = Figures(zone=zone)
    marks = Marks() if source.has_history else None
    for row in source.rows(report_once):
        if marks is not None:
            marks.see(row)
        if marks is None or not marks.has_repeats:
            figures.take(row, marks_alone(row))
    if marks is not None and marks.has_repeats:
        figures = _counted_again(source, zone, marks)
    figures.bad_rows = bad_rows
    figures.finish()
    return figures


def _counted_again(source: Source, zone: tzinfo, marks: Marks) -> Figures:
    figures = Figures(zone=zone)
    marks.finish()
    index = -1
    for index, row in enumerate(source.rows(_ignore)):
        if index < len(marks):
            figures.take(row, marks[index])
    if index + 1 != len(marks):
        raise ConfigError(f"{source.name}: it changed while it was read: try again")
    return figures


def _ignore(_number: int, _reason: str) -> None:
    """The first reading reported it."""
