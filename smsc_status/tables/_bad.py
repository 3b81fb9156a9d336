"""Rows that ended because their id or phone is bad: they are looked at until it was changed, and then opened again."""

from __future__ import annotations

from functools import partial
from itertools import islice

import anyio
import sqlalchemy as sa

from smsc_status.errors import ConfigError, ParametersError
from smsc_status.tables._database import Database
from smsc_status.tables._rows import BadRow, Key, OpenRows, Row, RowRef, is_same
from smsc_status.tables._writing import Writer

OUTCOMES = (ConfigError.__name__, ParametersError.__name__)
"""Outcomes that say that the id or the phone is bad: by its form, or because the vendor refuses it."""

MAX_BAD = 10_000
"""Rows that are looked at again. Of more than these, the ones known longest are forgotten."""

LOOKED_AT_ONCE = 1_000

FIRST_PAUSE = 5.0
"""Seconds. After each failure the pause doubles."""


class BadRows:
    """The rows whose id or phone is bad, as far as they are known."""

    def __init__(self, database: Database, rows: OpenRows, writer: Writer) -> None:
        self._database = database
        self._rows = rows
        self._writer = writer
        self._known: dict[Key, Row] = {}

    def __len__(self) -> int:
        return len(self._known)

    def add(self, row: Row) -> None:
        """The row has ended because of its id or phone."""
        self._known[row.key] = row
        if len(self._known) > MAX_BAD:
            del self._known[next(iter(self._known))]

    def discard(self, key: Key) -> None:
        """The row is open again."""
        self._known.pop(key, None)

    async def find_ended(self) -> None:
        """Find the rows that ended in earlier runs. One that can be used by now is opened again.

        The outcome may have no index, so this may take minutes in a large table. Nothing waits for it.
        """
        pause = FIRST_PAUSE
        while True:
            try:
                ended = await self._database.read_aside(partial(self._rows.ended, outcomes=OUTCOMES, limit=MAX_BAD))
            except sa.exc.SQLAlchemyError:  # the looks for new rows tell of a database that is away
                await anyio.sleep(pause)
                pause *= 2
            else:
                break
        for seen, outcome in reversed(ended):
            row = self._rows.row_of(seen, 0, lambda text: None)
            if outcome == ConfigError.__name__ and isinstance(row, RowRef):
                row = BadRow(seen.key, (None, None))  # so it counts as changed
            self.add(row)

    async def look(self) -> None:
        """Open those of the next rows again whose id or phone was changed."""
        keys = list(islice(self._known, LOOKED_AT_ONCE))
        there = await self._database.run(partial(self._rows.named, keys=keys)) if keys else {}
        changed = []
        for key in keys:
            row = self._known.pop(key, None)
            seen, outcome = there.get(key, (None, None))
            if row is None or seen is None or outcome not in OUTCOMES:  # deleted, or opened by somebody else
                continue
            self._known[key] = row  # behind the others, so that each has its turn
            if not is_same(row, seen):
                changed.append(row)
        if changed:
            await self._database.run(partial(self._writer.reopen, rows=changed, outcomes=OUTCOMES))
            for row in changed:
                self.discard(row.key)
