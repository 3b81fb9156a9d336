"""What a store of the shared log does: it orders and stamps entries, and appends one if its writer has read the others.

What the entries mean is in `smsc_status._core.scheduling.ledger`. A store does not look into them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from smsc_status._core.scheduling.ledger import Entry


class Tail(NamedTuple):
    """What a store answers: how its log goes on after the position that was asked for."""

    log: str
    """The log's name. If it is not the one that was asked for, another log has taken its place."""
    entries: Sequence[Entry]
    """All entries after the given position, the appended one included, in order without a gap."""
    is_whole: bool = False
    """Whether `entries` is all that the log holds. That is so if the log is not the one that was asked for, or if some
    entries after the given position have been dropped already. The reader then begins anew."""
    is_appended: bool = False
    """Whether the given data was appended. If so, it is the last of `entries`, and the only one."""


class NoLog(Exception):
    """There is no log that can be continued. `Store.begin` begins one.

    `quiet_from` is the instant on the store's clock from which nothing must be started for a while, because requests
    before it have been forgotten; `None` if there is nothing to be forgotten.
    """

    def __init__(self, reason: str, quiet_from: float | None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.quiet_from = quiet_from


class Store(Protocol):
    """One account's log. Each event loop has a store object of its own.

    Every method but `now` and `where` raises `LimiterUnavailable` if the log can't be reached or used, and
    `ConfigError` if it is not such a log, or one of another version. None blocks the event loop.
    """

    where: str
    """Where the log is, for people: without secrets."""

    @property
    def is_instant(self) -> bool:
        """Whether `append_at_once` appends at once, as a rule."""

    def now(self) -> float:
        """The present instant on the log's clock, which counts sleep.

        It may be ahead of the stamps to come by half of the margin at most. Before the first call of another method it
        may be unknown; it is then -inf.
        """

    async def append(self, data: bytes | None, *, log: str, after: int) -> Tail:
        """Append `data` if entry `after` is the last one of this log. If it is not, or if `data` is `None`, only read.

        A call that is cancelled or that fails may have appended the data all the same. So the caller must look for it
        among the entries before it appends anything else.

        Raises:
            NoLog: there is no log to read.
        """

    def append_at_once(self, data: bytes | None, *, log: str, after: int) -> Tail | None:
        """What `append` does, if the store can do it without waiting for anything; otherwise `None`."""

    async def begin(self, data: Sequence[bytes], *, instead_of: str) -> Tail:
        """Begin a new log with these entries, unless there is a usable log of another name than `instead_of`.

        Returns the whole of the new log, or of the one that somebody else has begun.
        """

    async def wait(self, *, log: str, after: int) -> None:
        """Wait until there may be entries after this one. It may return early.

        A caller that need not wait any longer cancels it.
        """

    async def drop(self, *, log: str, before: int) -> None:
        """Forget the entries before this number. Does nothing if that is not worth the effort yet."""

    async def forget(self) -> None:
        """Delete the log, if there is one. A process at work then finds none, and begins a new one."""

    async def aclose(self) -> None:
        """Close connections. The log stays."""
