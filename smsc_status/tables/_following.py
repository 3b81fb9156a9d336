"""Follows the rows of a table while this process has the lock: finds them, has them tracked, and writes the changes."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import AsyncGenerator
from functools import partial
from itertools import islice
from typing import Any, TypeGuard

import anyio
import attrs
import sqlalchemy as sa

from smsc_status import _loops
from smsc_status._runtime.signals import Signal
from smsc_status._texts import one_line
from smsc_status.errors import ApiError, ConfigError, DatabaseUnavailable, RateLimited
from smsc_status.models import FailedCheck, StatusRecord
from smsc_status.tables import _bad, _threads
from smsc_status.tables._bad import BadRows
from smsc_status.tables._database import Database, said
from smsc_status.tables._gaps import Gaps
from smsc_status.tables._rows import BadRow, Key, OpenRows, Page, Row, RowRef, Seen, chunks, is_same
from smsc_status.tables._tally import Doing, Tally
from smsc_status.tables._writing import Change, Writer, Written, change_of

LOOK_EVERY = 1.0
"""Seconds between two looks for new rows."""

GATHER = 0.2
"""Seconds for which changes are gathered before they are written."""

BATCH = 1_000
"""Changes that are written at once."""

LOCKED_FOR = 30.0
"""Seconds for which a row is not tried again that somebody else has locked. Each try may hold up the others for 2 s."""

MAX_UNWRITTEN = 100_000
"""While this many changes are not written, no more are taken. In ten minutes the vendor gives about 20,000."""

MAX_FOUND = 10_000
"""At the start, while this many rows were found and are not tracked yet, no more are read."""

NEWEST_AT_START = 500
"""Rows that a look for the newest reads while not all rows are held. What it leaves out, the sweep finds soon."""

RANGES_AT_ONCE = 50
"""Ranges of keys that one statement names. PostgreSQL needs four times as long to plan one of twice as many."""

LONGEST_REFUSAL = 60.0
"""Seconds. Who checks each row once waits no longer for a database that writes nothing."""

LONGEST_PAUSE = 5.0
"""Seconds. The pauses between tries grow up to this while the database is away."""


class Following:
    """The open rows that are held, and the changes that are not written yet.

    A row is held from when it was found until its end was written, and so found only once. A row that was deleted,
    ended or changed by somebody else is no longer held; its message's next answer is then the last one.
    """

    def __init__(self, database: Database, rows: OpenRows, writer: Writer, tally: Tally) -> None:
        self.held: dict[Key, Row] = {}
        self.unwritten: deque[Change] = deque()
        self.has_all = False
        self._database = database
        self._rows = rows
        self._writer = writer
        self._tally = tally
        self._bad = BadRows(database, rows, writer)
        self._found: deque[RowRef] = deque()
        self._sweep_at: object = None
        self._sweep_number = 1
        self._newest_due_at = -math.inf
        self._gaps = Gaps()
        # Until when the changes of a row are not tried, because somebody has locked it.
        self._locked: dict[Row, float] = {}
        self._waits_since = 0.0
        # A row was found; a change has come; changes were written; most of what was found is tracked.
        self._more_found, self._more_to_write, self._room = Signal(), Signal(), Signal()
        self._read_on = Signal()

    # What is tracked.

    async def messages(self) -> AsyncGenerator[RowRef, None]:
        """The messages of the rows, as they are found. It does not end."""
        while True:
            while self._found:
                yield self._found.popleft()
                self._read_on.send()
            await self._more_found.wait()

    async def messages_once(self) -> AsyncGenerator[RowRef, None]:
        """The messages of the rows that are open now."""
        while not self.has_all:
            await self._sweep_on()
            while self._found:
                yield self._found.popleft()

    def is_done(self, record: StatusRecord) -> bool:
        """Whether the message of a row needs no further answer."""
        return record.is_final or not self._is_held(record.ref)

    def _is_held(self, ref: object) -> TypeGuard[RowRef]:
        return isinstance(ref, RowRef) and self.held.get(ref.key) is ref

    async def take(self, outcome: StatusRecord | FailedCheck) -> None:
        """Take in what is known of a message now. It will be written."""
        ref = outcome.ref
        if not self._is_held(ref):
            return
        self._put(change_of(ref, outcome))
        while len(self.unwritten) >= MAX_UNWRITTEN:
            await self._room.wait()

    async def take_checked(self, outcome: StatusRecord | FailedCheck) -> None:
        """The same for a message that is asked only once, so it does not end because it got no answer."""
        if isinstance(outcome, FailedCheck) and not _is_refused(outcome):
            self._tally.unanswered += 1
            self._tally.report("unanswered", f"row of id {outcome.ref.id}: no answer: {outcome.error}")
        else:
            await self.take(outcome)

    def _put(self, change: Change) -> None:
        if not self.unwritten:
            self._waits_since = _loops.now()
        self.unwritten.append(change)
        self._more_to_write.send()

    # Finding rows.

    async def find_on(self) -> None:
        """Look for rows again and again. At the start there is no pause until all open rows are held."""
        pause = LOOK_EVERY
        while True:
            try:
                await self._look()
            except sa.exc.SQLAlchemyError as error:
                self._tally.database_failed(Doing.READ, said(error))
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                self._tally.database_did(Doing.READ)
                self._tally.looks += 1
                pause = LOOK_EVERY if self.has_all else 0.0
            await anyio.sleep(pause)

    async def _look(self) -> None:
        if self.has_all or _loops.now() >= self._newest_due_at:
            self._newest_due_at = _loops.now() + LOOK_EVERY
            await self._look_at_newest()
        if self.has_all:
            await self._look_at_gaps()
        await self._sweep_on()
        while not self.has_all and len(self._found) > MAX_FOUND:
            await self._read_on.wait()
        await self._bad.look()

    async def _look_at_newest(self) -> None:
        read = partial(self._rows.newest, at=None)
        page = await self._read(read if self.has_all else partial(read, limit=NEWEST_AT_START))
        keys = page.keys
        while self.has_all and page.news and page.at is not None:
            page = await self._read(partial(self._rows.newest, at=page.at))
            keys += page.keys
        if self._rows.have_gaps:
            self._gaps.seen(keys[::-1], now=_loops.now())

    async def _look_at_gaps(self) -> None:
        keys: list[int] = []
        for ranges in reversed(chunks(self._gaps.ranges(now=_loops.now()), RANGES_AT_ONCE)):
            page = await self._read(partial(self._rows.between, ranges=ranges, at=None))
            keys += page.keys
            while page.news and page.at is not None:
                page = await self._read(partial(self._rows.between, ranges=ranges, at=page.at))
                keys += page.keys
            if page.at is not None:  # so many open rows between the gaps would cost too much each second
                self._gaps.give_up_below(page.at[0])
                break
        self._gaps.looked(keys[::-1])

    async def _sweep_on(self) -> None:
        page = await self._read(partial(self._rows.sweep, at=self._sweep_at))
        self._sweep_at = page.at
        if page.at is None:
            if self.has_all:  # the first sweep has seen all rows that are held, and a list of them takes memory
                for row in await _threads.in_thread(self._unseen):
                    self._let_go(row)
            self.has_all = True
            self._sweep_number += 1

    @property
    def bad_rows(self) -> int:
        """How many rows ended because of their id or phone, as far as they are known."""
        return len(self._bad)

    async def find_ended(self) -> None:
        """See `BadRows.find_ended`."""
        await self._bad.find_ended()

    def _unseen(self) -> list[Row]:
        """The held rows that this sweep has not seen. They were deleted, or ended by somebody else."""
        return [row for row in list(self.held.values()) if row.seen_in < self._sweep_number]

    async def _read(self, read: partial[Page]) -> _Sorted:
        page = await self._database.run(lambda connection: self._sort(read(connection)))
        for row in page.news:
            self.held[row.key] = row
            self._bad.discard(row.key)
            if isinstance(row, BadRow):
                self._put(Change(row, None, ConfigError.__name__))
                self._tally.report("bad", f"row of id {_shown(row)}: its {row.problem} can't be used")
            else:
                self._found.append(row)
        self._more_found.send()
        return page

    def _sort(self, page: Page) -> _Sorted:
        """Which rows of the page are new, or were changed. Runs in a thread."""
        news, number = [], self._sweep_number
        for seen in page.rows:
            row = self.held.get(seen.key)
            if row is not None and is_same(row, seen):
                row.see(number)
            else:
                news.append(self._rows.row_of(seen, number, partial(self._tally.report, "sent_at")))
        return _Sorted(news, [seen.key for seen in page.rows if isinstance(seen.key, int)], page.at)

    def _let_go(self, row: Row) -> None:
        if self.held.get(row.key) is row:
            del self.held[row.key]

    # Writing.

    async def write_on(self) -> None:
        """Write changes as they come."""
        pause = GATHER
        while True:
            while not self.unwritten:
                await self._more_to_write.wait()
            await anyio.sleep(pause)
            is_written = await self.write_some()
            waits_for_locks = bool(self._locked) and Doing.WRITE not in self._tally.troubles
            pause = GATHER if is_written or waits_for_locks else min(max(2 * pause, 0.5), LONGEST_PAUSE)

    async def write_all(self) -> None:
        """Write what is not written yet; tried again until it is."""
        while self.unwritten:
            if not await self.write_some():
                await anyio.sleep(GATHER)

    async def fail_if_refused(self) -> None:
        """Wait until not one change could be written for `LONGEST_REFUSAL` seconds, though some wait.

        Raises:
            DatabaseUnavailable: then, with what the database said.
        """
        while True:
            await anyio.sleep(LOOK_EVERY)
            if self.unwritten and _loops.now() > self._waits_since + LONGEST_REFUSAL:
                is_refused = Doing.WRITE in self._tally.troubles
                reason = self._tally.trouble if is_refused else "somebody has locked their rows"
                raise DatabaseUnavailable(f"changes can't be written ({len(self.unwritten)}): {reason}")

    async def write_some(self) -> bool:
        """Write the oldest changes. Returns whether none of them has to be written again."""
        batch = self._next_batch()
        if not batch:
            return False
        written = await self._database.use(partial(self._writer.write, changes=batch))
        try:
            there = await self._where_idle(written)
        except sa.exc.SQLAlchemyError as error:
            self._tally.database_failed(Doing.WRITE, said(error))
            return False
        if len(written.left) < len(batch):
            self._waits_since = _loops.now()
        self._take_out(batch)
        self.unwritten.extendleft(reversed(written.left))
        self._locked |= dict.fromkeys(written.locked, _loops.now() + LOCKED_FOR)
        self._apply(batch, written, there)
        self._room.send()
        if len(written.left) == len(batch) and not written.locked:
            self._tally.database_failed(Doing.WRITE, written.trouble)
        else:
            self._tally.database_did(Doing.WRITE)
        return not written.left

    def _next_batch(self) -> list[Change]:
        """The oldest changes, without those of rows that somebody has locked."""
        self._locked = {row: until_at for row, until_at in self._locked.items() if until_at > _loops.now()}
        return list(islice((change for change in self.unwritten if change.row not in self._locked), BATCH))

    def _take_out(self, batch: list[Change]) -> None:
        if not self._locked:  # they are the first ones
            for _ in batch:
                self.unwritten.popleft()
            return
        taken = set(batch)
        left = [change for change in self.unwritten if change not in taken]
        self.unwritten.clear()
        self.unwritten.extend(left)

    async def _where_idle(self, written: Written) -> dict[Key, tuple[Seen, str | None]]:
        """The rows of changes that had no effect, as far as they exist, with their outcomes."""
        keys = list({change.row.key: None for change in written.idle})
        return await self._database.run(partial(self._rows.named, keys=keys)) if keys else {}

    def _apply(self, batch: list[Change], written: Written, there: dict[Key, tuple[Seen, str | None]]) -> None:
        """Do what follows from the writing: rows that have ended, or are not there any more, are no longer held."""
        self._tally.written += written.count
        for change, reason in written.failed:
            self._tally.failed_writes += 1
            # The row stays held, so that its message is not asked again for nothing.
            self._tally.report("failed", f"row of id {_shown(change.row)}: not written, and left alone: {reason}")
        for change in written.idle:
            seen, outcome = there.get(change.row.key, (None, None))
            if seen is None or outcome is not None or not is_same(change.row, seen):
                self._let_go(change.row)
        unsettled = {change for change, _ in written.failed} | set(written.left)
        idle = set(written.idle)
        for change in batch:
            if change.outcome is None or change in unsettled:
                continue
            if change in idle and there.get(change.row.key, (None, None))[1] != change.outcome:
                continue
            self._let_go(change.row)
            self._tally.done[change.outcome] += 1
            if change.outcome in _bad.OUTCOMES:
                self._bad.add(change.row)


@attrs.define
class _Sorted:
    """What a page had that was not known, and the keys that are numbers. `at` is where the next page begins."""

    news: list[Row]
    keys: list[int]
    at: Any


def _is_refused(outcome: FailedCheck) -> bool:
    """Whether a message that was asked once has got its end, and not just no answer this time."""
    error = outcome.error
    return isinstance(error, ConfigError | ApiError) and not isinstance(error, RateLimited)


def _shown(row: Row) -> str:
    return one_line(str(row.stored[0]), max_chars=40)
