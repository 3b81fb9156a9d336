"""A store of the shared log in memory, on the event loop's own clock: for virtual time."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import attrs

from smsc_status import _loops
from smsc_status._core.scheduling.ledger import Entry
from smsc_status._sharing.store import NoLog, Tail
from smsc_status.errors import LimiterUnavailable

CLOCK_AHEAD = 1000.0
"""The log's clock is ahead of the loop's by this many seconds."""


@attrs.define(eq=False)
class MemoryLog:
    """What several stores share."""

    name: str = ""
    entries: list[Entry] = attrs.field(factory=list)
    logs: int = 0
    is_away: bool = False
    lost_replies: int = 0
    """How many of the next replies are lost after their data was appended."""
    latency: float = 0.0
    changed: anyio.Event = attrs.field(factory=anyio.Event)

    def forget(self) -> None:
        self.name, self.entries = "", []

    def begin(self, data: Sequence[bytes], now: float) -> None:
        self.logs += 1
        self.name = f"log {self.logs}"
        self.entries = [Entry(number, now, each) for number, each in enumerate(data, 1)]
        self._tell()

    def append(self, data: bytes, now: float) -> None:
        self.entries.append(Entry(self.entries[-1].number + 1, now, data))
        self._tell()

    def _tell(self) -> None:
        self.changed.set()
        self.changed = anyio.Event()


class MemoryStore:
    """One participant's access to the log."""

    where = "memory"

    def __init__(self, log: MemoryLog, *, has_seen_log: bool = False) -> None:
        self._log = log
        self._has_seen_log = has_seen_log
        self.reads = 0

    @property
    def is_instant(self) -> bool:
        return not self._log.latency

    def now(self) -> float:
        return _loops.now() + CLOCK_AHEAD

    async def append(self, data: bytes | None, *, log: str, after: int) -> Tail:
        await self._reach()
        return self._append(data, log, after)

    def append_at_once(self, data: bytes | None, *, log: str, after: int) -> Tail | None:
        return None if self._log.latency or self._log.is_away else self._append(data, log, after)

    def _append(self, data: bytes | None, log: str, after: int) -> Tail:
        self.reads += 1
        shared = self._log
        if not shared.name:
            raise NoLog("it was deleted", self.now()) if self._has_seen_log else NoLog("a first start", None)
        self._has_seen_log = True
        is_whole = log != shared.name or after < shared.entries[0].number - 1
        last = shared.entries[-1].number
        is_appended = data is not None and not is_whole and after == last
        if data is not None and is_appended:
            shared.append(data, self.now())
            if shared.lost_replies:
                shared.lost_replies -= 1
                raise LimiterUnavailable("the reply was lost")
        new = shared.entries if is_whole else shared.entries[after + 1 - shared.entries[0].number :]
        return Tail(shared.name, list(new), is_whole=is_whole, is_appended=is_appended)

    async def begin(self, data: Sequence[bytes], *, instead_of: str) -> Tail:
        await self._reach()
        if not self._log.name:
            self._log.begin(data, self.now())
        self._has_seen_log = True
        return Tail(self._log.name, list(self._log.entries), is_whole=True)

    async def wait(self, *, log: str, after: int) -> None:
        while self._log.name == log and self._log.entries[-1].number <= after:
            await self._log.changed.wait()

    async def drop(self, *, log: str, before: int) -> None:
        if log == self._log.name:
            self._log.entries = [entry for entry in self._log.entries if entry.number >= before]

    async def forget(self) -> None:
        await self._reach()
        self._log.forget()

    async def aclose(self) -> None:
        pass

    async def _reach(self) -> None:
        if self._log.latency:
            await anyio.sleep(self._log.latency)
        if self._log.is_away:
            raise LimiterUnavailable("the store can't be reached")
