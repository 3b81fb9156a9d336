"""What a `TableSync` has done and is doing, as numbers and in the log."""

from __future__ import annotations

import logging
from collections import Counter
from enum import Enum, auto

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
    - `is_database_reached`: whether the database did what it was asked for last: to give the lock, to read, to write.
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


class Doing(Enum):
    """What the database is asked for, again and again."""

    LOCK = auto()
    READ = auto()
    WRITE = auto()


@attrs.define
class Tally:
    """Counts that go on when another process leads for a time."""

    written: int = 0
    failed_writes: int = 0
    unanswered: int = 0
    looks: int = 0
    done: Counter[str] = attrs.field(factory=Counter)
    reported: Counter[str] = attrs.field(factory=Counter)
    troubles: set[Doing] = attrs.field(factory=set)
    """What the database failed to do when it was last asked for it."""
    trouble: str = ""
    """What the database said when it last failed."""
    trouble_since: float = 0.0

    def report(self, kind: str, text: str) -> None:
        """Warn of something about one row, the first times."""
        self.reported[kind] += 1
        if self.reported[kind] <= REPORTED_AT_ONCE:
            rest = "; further ones are only counted" if self.reported[kind] == REPORTED_AT_ONCE else ""
            logger.warning("%s%s", text, rest)

    def database_did(self, doing: Doing) -> None:
        """The database does this."""
        if doing in self.troubles:
            self.troubles.remove(doing)
            if not self.troubles:
                logger.warning("the database does its work again after %.0f s", _loops.now() - self.trouble_since)

    def database_failed(self, doing: Doing, text: str) -> None:
        """The database does not answer, or refuses to do this."""
        self.trouble = text
        if not self.troubles:
            self.trouble_since = _loops.now()
            logger.warning("the database does not do its work, and is tried again: %s", text)
        self.troubles.add(doing)
