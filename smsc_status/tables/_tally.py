"""What a `TableSync` has done and is doing, as numbers and in the log."""

from __future__ import annotations

import logging
from collections import Counter

import attrs

from smsc_status import _loops

REPORTED_AT_ONCE = 20
"""Rows that are reported one by one. Further ones are only counted."""

logger = logging.getLogger("smsc_status")


@attrs.frozen(kw_only=True)
class SyncStats:
    """What a `TableSync` has done, and what it is doing.

    - `is_leading`: whether it keeps the table current; otherwise it stands by, because another one does.
    - `open_rows`: the rows that are followed.
    - `unwritten`: the changes that are known and not yet written.
    - `written`: the changes that were written.
    - `failed_writes`: the changes that the database refused because of their row.
    - `unanswered`: the rows that `check_once` asked for and got no answer.
    - `bad_rows`: the rows whose id or phone can't be used, as far as they are known.
    - `looks`: how often it has looked for new rows.
    - `has_all`: whether it has seen all open rows since it began to lead.
    - `is_database_reached`: whether the database answered last time.
    - `done`: the rows that ended, by outcome.
    """

    is_leading: bool
    open_rows: int
    unwritten: int
    written: int
    failed_writes: int
    unanswered: int
    bad_rows: int
    looks: int
    has_all: bool
    is_database_reached: bool
    done: dict[str, int]


@attrs.define
class Tally:
    """Counts that go on when another process leads for a time."""

    written: int = 0
    failed_writes: int = 0
    unanswered: int = 0
    looks: int = 0
    done: Counter[str] = attrs.field(factory=Counter)
    reported: Counter[str] = attrs.field(factory=Counter)
    trouble_since: float | None = None
    """Since when the database has not answered."""

    def report(self, kind: str, text: str) -> None:
        """Warn of something about one row, the first times."""
        self.reported[kind] += 1
        if self.reported[kind] <= REPORTED_AT_ONCE:
            rest = "; further ones are only counted" if self.reported[kind] == REPORTED_AT_ONCE else ""
            logger.warning("%s%s", text, rest)

    def database_answered(self) -> None:
        """The database answers."""
        if self.trouble_since is not None:
            logger.warning("the database answers again after %.0f s", _loops.now() - self.trouble_since)
            self.trouble_since = None

    def database_failed(self, text: str) -> None:
        """The database does not answer, or refuses everything."""
        if self.trouble_since is None:
            self.trouble_since = _loops.now()
            logger.warning("the database does not do its work, and is tried again: %s", text)
