"""The log as a file, for the processes of one machine.

A transaction opens the file, locks it, reads what is new, appends, unlocks and closes. It does not wait inside, and
takes microseconds. So a lock that can't be had is tried again after a pause, and the event loop goes on meanwhile.
"""

from __future__ import annotations

import errno
import functools
import logging
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from math import inf
from typing import Final, NamedTuple, ParamSpec, TypeVar
from uuid import UUID

import anyio
import attrs
from anyio.lowlevel import checkpoint

from smsc_status import _loops
from smsc_status._core.scheduling.ledger import Entry
from smsc_status._sharing.layout import (
    HEADER_BYTES,
    RECORD_BYTES,
    START,
    Damaged,
    Found,
    Header,
    Machine,
    cell,
    read_cell,
    read_records,
    record,
    records,
    require_log,
)
from smsc_status._sharing.locked import Busy, File, locked, put_file, write
from smsc_status._sharing.store import NoLog, Tail
from smsc_status.errors import ConfigError, LimiterUnavailable

logger = logging.getLogger("smsc_status")

FIRST_PAUSE, LONGEST_PAUSE = 0.001, 0.02
"""Seconds between two tries to lock the file."""
QUIET_SECONDS, REPEAT_SECONDS = 2.0, 60.0
"""After `QUIET_SECONDS` of waiting for the lock a warning is logged, but at most one in `REPEAT_SECONDS`."""
LOCK_SECONDS = 5.0
"""After so many seconds of waiting for the lock, the log counts as out of reach. Otherwise a caller with a `max_wait`
would wait for as long as the process that has the lock is stopped."""
LOOK_SECONDS = 0.02
"""Seconds between two looks at a file that has not changed."""
SMALLEST_DROP = 65_536
"""Bytes. A smaller file is not rewritten to drop old entries."""
WORTH_DROPPING = 1 / 5
"""The share of old entries from which on a file is rewritten without them. A process that joins reads all of it, and
after each rewriting the others do so too. At 80 requests a second a file is rewritten every 15 s."""
REMEMBERED = 64
"""Entries. While a call waits for the lock, another call of this process may read on. The first one then gets from
memory what the second one has read, and the file is not read from its beginning."""
CLOCK_SLACK = 1.0
"""Seconds by which instants may differ without being another clock's."""

_BOOT_ID: Final = "/proc/sys/kernel/random/boot_id"
_TIME_NAMESPACE: Final = "/proc/self/ns/time"

P = ParamSpec("P")
T = TypeVar("T")


def clock() -> float:
    """Seconds since this machine's start, those of its sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@functools.cache
def machine() -> Machine:
    """What this process's clock belongs to.

    Raises:
        OSError: the system does not say.
    """
    with open(_BOOT_ID, encoding="ascii") as file:
        boot = UUID(file.read().strip()).bytes
    try:
        namespace = os.stat(_TIME_NAMESPACE).st_ino
    except FileNotFoundError:  # Linux before 5.6
        namespace = 0
    return Machine(boot, namespace)


# A child may be born into another time namespace.
_loops.at_fork(machine.cache_clear)


class _Position(NamedTuple):
    """The end of a record in a file: all that is needed to read on from there, or to append.

    `recent` are the last records up to there, at most `REMEMBERED`.
    """

    raw_header: bytes
    header: Header
    offset: int
    number: int
    at: float
    checksum: int
    recent: tuple[Entry, ...] = ()

    def after(self, new: Sequence[Entry], *, checksum: int, offset: int) -> _Position:
        """The position after these further records."""
        last, recent = new[-1], (self.recent + tuple(new))[-REMEMBERED:]
        return _Position(self.raw_header, self.header, offset, last.number, last.at, checksum, recent)


class FileStore:
    """A log in a file, which all processes share that may read and write it. See `Store` for the methods.

    The directory must exist, and everybody who shares the file must be able to write there, because a new file is put
    in the place of the old one from time to time. A new log's file has the modes 0600. They are 0660 if the directory
    is writable for its group and hands the group on (setgid), so that the users of a group can share it. A file that
    takes another's place gets the other's modes.

    Args:
        path: the file. A symbolic link is refused.
    """

    is_instant = True

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.path.abspath(os.fspath(path))
        self.where: str = self._path
        self._position: _Position | None = None
        self._seen: tuple[int, int] | None = None
        self._has_seen_log = False
        self._warned_at = -inf

    def now(self) -> float:
        """The present instant on the machine's clock, which counts sleep."""
        return clock()

    async def append(self, data: bytes | None, *, log: str, after: int) -> Tail:
        """Append `data` if entry `after` is the last one of this log; otherwise only read."""
        if data is None and self._has_nothing_new(log, after):
            return Tail(log, [])
        return await self._transaction(lambda: self._append(data, log, after))

    def append_at_once(self, data: bytes | None, *, log: str, after: int) -> Tail | None:
        """Append as `append` does, unless another process has locked the file just now."""
        if data is None and self._has_nothing_new(log, after):
            return Tail(log, [])
        try:
            return self._explained(self._append, data, log, after)
        except Busy:
            return None

    async def begin(self, data: Sequence[bytes], *, instead_of: str) -> Tail:
        """Begin a new log with these entries, unless there is a usable log of another name than `instead_of`."""
        return await self._transaction(lambda: self._begin(data, instead_of))

    async def wait(self, *, log: str, after: int) -> None:
        """Wait until the file has changed since the last transaction, or is missing."""
        await checkpoint()
        # There is nobody to set an event: the file has no way to tell of a change.
        while self._has_nothing_new(log, after):  # noqa: ASYNC110 (a file sets no event)
            await anyio.sleep(LOOK_SECONDS)

    async def drop(self, *, log: str, before: int) -> None:
        """Forget the entries before this number, if they are a fifth of all entries at least. The last entry stays.

        If there is no room for the new file or no right to put it there, the old one stays, with a warning.
        """
        position = self._position
        if position is None or position.header.log != log or position.offset <= SMALLEST_DROP:
            return
        first, before = position.header.first, min(before, position.number)
        if before > first and before - first >= (position.number - first) * WORTH_DROPPING:
            await self._transaction(lambda: self._drop(position, before))

    async def forget(self) -> None:
        """Delete the file, if there is one. A file with other content stays.

        Raises:
            LimiterUnavailable: it can't be deleted.
            ConfigError: it is not a log. One of another version is.
        """
        await self._transaction(self._forget)

    async def aclose(self) -> None:
        """Nothing is open between transactions."""

    # A transaction, from outside.

    async def _transaction(self, work: Callable[[], T]) -> T:
        try:
            return self._explained(work)
        except Busy:
            pass
        pause, began_at = FIRST_PAUSE, anyio.current_time()
        while True:
            await anyio.sleep(pause)
            try:
                return self._explained(work)
            except Busy:
                pause = min(2 * pause, LONGEST_PAUSE)
            waited = anyio.current_time() - began_at
            if waited >= LOCK_SECONDS:
                raise LimiterUnavailable(f"{self.where}: another process has locked it for {waited:.0f} s")
            if waited >= QUIET_SECONDS:
                self._warn(f"another process has locked it for {waited:.0f} s; still waiting")

    def _explained(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return work(*args, **kwargs)
        except Damaged as error:
            raise NoLog(f"{self.where}: {error}", clock()) from None
        except ConfigError as error:
            raise ConfigError(f"{self.where}: {error}") from None
        except OSError as error:
            raise LimiterUnavailable(f"{self.where}: {what_happened(error)}") from error

    # What is done under the lock.

    def _append(self, data: bytes | None, log: str, after: int) -> Tail:
        try:
            with locked(self._path) as file:
                found, end = self._read(file, log, after)
                header = end.header
                is_last = log == header.log and after == end.number
                if data is not None and is_last:
                    at = max(clock(), end.at)
                    raw, checksum = record(data, at, end.checksum)
                    write(file.fd, raw, end.offset)
                    write(file.fd, cell(end.offset + len(raw), checksum), HEADER_BYTES)
                    entry = Entry(after + 1, at, data)
                    self._saw(file.stat, end.after([entry], offset=end.offset + len(raw), checksum=checksum))
                    return Tail(log, [entry], is_appended=True)
                self._saw(file.stat, end)
        except FileNotFoundError:
            raise NoLog(f"{self.where}: there is no such file", clock() if self._has_seen_log else None) from None
        is_whole = log != header.log or after < header.first - 1
        return Tail(
            header.log,
            found.entries if is_whole else [entry for entry in found.entries if entry.number > after],
            is_whole=is_whole,
        )

    def _begin(self, data: Sequence[bytes], instead_of: str) -> Tail:
        try:
            with locked(self._path) as file:
                try:
                    found, end = self._read(file, "", 0)
                except (NoLog, Damaged):
                    pass
                else:
                    if end.header.log != instead_of:
                        self._saw(file.stat, end)
                        return Tail(end.header.log, found.entries, is_whole=True)
                return self._write_new(data, file.stat)
        except FileNotFoundError:
            return self._write_new(data, None)

    def _write_new(self, data: Sequence[bytes], over: os.stat_result | None) -> Tail:
        at = clock()
        header = Header(machine(), os.urandom(16).hex(), generation=0, first=1, checksum=0)
        raw, checksum = records([(each, at) for each in data], 0)
        committed = START + len(raw)
        new_stat = put_file(self._path, bytes(header) + cell(committed, checksum) + raw, over=over)
        self._saw(new_stat, _Position(bytes(header), header, committed, len(data), at, checksum))
        entries = [Entry(number, at, each) for number, each in enumerate(data, 1)]
        return Tail(header.log, entries, is_whole=True)

    def _drop(self, position: _Position, before: int) -> None:
        with suppress(NoLog, Damaged, FileNotFoundError), locked(self._path) as file:  # the next `append` tells of it
            if os.pread(file.fd, HEADER_BYTES, 0) != position.raw_header:
                return  # another process has dropped them
            found, end = self._read(file, "", 0)
            header = end.header
            dropped = before - header.first
            offset = START + sum(RECORD_BYTES + len(entry.data) for entry in found.entries[:dropped])
            checksum = found.checksums[dropped - 1]
            header = attrs.evolve(header, generation=header.generation + 1, first=before, checksum=checksum)
            kept = os.pread(file.fd, end.offset - offset, offset)
            committed = START + len(kept)
            try:
                new_stat = put_file(self._path, bytes(header) + cell(committed, end.checksum) + kept, over=file.stat)
            except OSError as error:
                self._warn(f"old entries can't be dropped: {what_happened(error)}")
                return
            self._saw(new_stat, end._replace(raw_header=bytes(header), header=header, offset=committed))

    def _forget(self) -> None:
        with suppress(FileNotFoundError), locked(self._path) as file:
            if file.stat.st_size:
                require_log(os.pread(file.fd, HEADER_BYTES, 0))
            os.unlink(self._path)

    def _read(self, file: File, log: str, after: int) -> tuple[Found, _Position]:
        """At least all entries after this one, and where the last one ends.

        The file is read from the position that was read last if this entry is the last one there, or if all after it
        are in memory. Otherwise it is read from its beginning.
        """
        raw = os.pread(file.fd, START, 0)
        if not raw:
            raise NoLog(f"{self.where}: the file is empty", clock() if self._has_seen_log else None)
        start = self._position
        if (
            start is None
            or raw[:HEADER_BYTES] != start.raw_header
            or log != start.header.log
            or not start.number - len(start.recent) <= after <= start.number
        ):
            header = Header.of(raw[:HEADER_BYTES])
            self._has_seen_log = True
            self._check_machine(header.machine, file.stat.st_mtime)
            start = _Position(raw[:HEADER_BYTES], header, START, header.first - 1, -inf, header.checksum)
        committed, checksum = read_cell(raw[HEADER_BYTES:])
        if committed < start.offset or committed > file.stat.st_size:
            raise Damaged("the file is shorter than it was")
        end, found = start, Found(start.recent, [])
        if committed > start.offset:
            new = os.pread(file.fd, committed - start.offset, start.offset)
            found = read_records(new, number=start.number + 1, checksum=start.checksum)
            end = start.after(found.entries, offset=committed, checksum=found.checksums[-1])
            found = Found([*start.recent, *found.entries], found.checksums)
        if end.checksum != checksum or (log == end.header.log and after > end.number):
            raise Damaged("the file has been put back to an earlier state")
        if end.at > clock() + CLOCK_SLACK:
            raise Damaged("the file is ahead of this machine's clock")
        if file.stat.st_size > committed:  # a killed process has left it; without it each append makes the file longer
            os.ftruncate(file.fd, committed)
        return found, end

    def _check_machine(self, theirs: Machine, written_at: float) -> None:
        here = machine()
        if theirs.boot != here.boot:
            began_at, now = time.time() - clock(), time.time()
            if began_at + CLOCK_SLACK < written_at < now + REPEAT_SECONDS:
                raise Damaged("another machine, or a container with a boot id of its own, uses the file too")
            raise NoLog(f"{self.where}: the log is older than this machine's start", 0.0)
        if theirs.time_namespace != here.time_namespace:
            raise ConfigError(
                f"the log belongs to the time namespace {theirs.time_namespace}: expected {here.time_namespace}, "
                "so all processes need the same clock"
            )

    def _saw(self, found: os.stat_result, end: _Position) -> None:
        self._has_seen_log = True
        self._position = end
        self._seen = found.st_ino, end.offset

    def _has_nothing_new(self, log: str, after: int) -> bool:
        """Whether this entry is the last one of the file, as far as can be told without opening it."""
        position = self._position
        if position is None or (position.header.log, position.number) != (log, after):
            return False
        return self._look() == self._seen

    def _look(self) -> tuple[int, int] | None:
        try:
            return _signature(os.stat(self._path, follow_symlinks=False))
        except OSError:  # the next transaction tells what it is
            return None

    def _warn(self, text: str) -> None:
        if clock() >= self._warned_at + REPEAT_SECONDS:
            self._warned_at = clock()
            logger.warning("%s: %s", self.where, text)


def what_happened(error: OSError) -> str:
    """The system's error in words."""
    if error.errno == errno.ELOOP:
        return "it is a symbolic link: expected the file itself"
    return error.strerror or str(error)


def _signature(found: os.stat_result) -> tuple[int, int]:
    """It differs after each change: an append makes the file longer, and a new file has another number.

    A number may come again after the file was replaced twice. Then a change is noticed at the next append.
    """
    return found.st_ino, found.st_size
