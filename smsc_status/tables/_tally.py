"""What a `TableSync` has done and is doing, as numbers."""

from __future__ import annotations

import attrs


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
