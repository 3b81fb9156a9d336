"""The log that processes share: how large does it get, and how long does a newcomer take to read it?

`python -m benchmarks.shared_log [SECONDS [HOURS [URL]]]`: four processes, as four limiters in virtual time, use the
account as fast as its limits and the round trip allow, for so many seconds (default 240): single requests for new ids,
and a bulk request of a thousand ids a minute. Then the entries of so many hours (default 1) at 30 requests a second are
written by one process. With the URL of a Redis or Valkey server, the entries of the four are written there too.
"""

# ruff: noqa: ASYNC240 (small local files)

from __future__ import annotations

import asyncio
import itertools
import sys
import tempfile
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any
from unittest import mock

import attrs

from smsc_status import Limits
from smsc_status._core.scheduling import ledger
from smsc_status._core.scheduling.ledger import Entry, Ledger, Quarantine, Waits
from smsc_status._core.scheduling.pacing import BULK, Pacer, RequestEnd
from smsc_status._sharing import file as file_module
from smsc_status._sharing.file import FileStore
from smsc_status._sharing.limiter import SharedLimiter
from smsc_status._sharing.redis import RedisStore
from smsc_status._sharing.redis_connection import Connection
from smsc_status._sharing.redis_url import parse_url
from smsc_status._sharing.replica import ENTRIES_BETWEEN_CLEANUPS, Replica
from smsc_status._sharing.store import Store, Tail
from smsc_status.emulator.virtual import VirtualLoop
from smsc_status.models import Key

BUDGET = 30.0
PROCESSES = 4
LARGEST_BULK = 1000
ROUND_TRIPS = (0.4, 0.13, 0.1, 0.05)
BEGAN_AT = 1e6
NAME = "benchmark"

_ids = itertools.count(10**9)


class Wanted:
    """A single request or a bulk request for new ids."""

    def __init__(self, count: int) -> None:
        self.keys: Collection[Key] = tuple(itertools.islice(_ids, count))
        self.bulk = count > 1

    def select(self, pacer: Pacer, *, now: float) -> Wanted | float:
        """This request if it may start now, or else the instant when it may."""
        at = max(pacer.slot_due_at(now=now), pacer.due_at(BULK, now=now) if self.bulk else now)
        return self if at <= now else at

    def has_work(self) -> bool:
        """It always has."""
        return True

    def wants_bulk(self, *, now: float) -> bool:
        """Whether it wants the bulk slot."""
        return self.bulk


@attrs.define
class Record:
    """What was written: data that was appended, and numbers before which entries were dropped, in order."""

    written: list[bytes | int] = attrs.field(factory=list)
    sizes: list[int] = attrs.field(factory=list)
    """The size of the file, each second, in bytes."""
    last: Tail = attrs.field(factory=lambda: Tail("", []))
    """The whole log, at its largest size."""
    largest: bytes = b""
    """The file then."""

    @property
    def requests(self) -> int:
        """How many requests were permitted."""
        kinds = [ledger.decode(data) for data in self.written if isinstance(data, bytes)]
        return sum(isinstance(kind, ledger.Took) for kind in kinds)


class Recorded(FileStore):
    """A log in a file that notes what is done to it."""

    def __init__(self, path: Path, record: Record) -> None:
        super().__init__(path)
        self._record = record

    def _append(self, data: bytes | None, log: str, after: int) -> Tail:
        tail = super()._append(data, log, after)
        if data is not None and tail.is_appended:
            self._record.written.append(data)
        return tail

    async def drop(self, *, log: str, before: int) -> None:
        """See `Store.drop`."""
        self._record.written.append(before)
        await super().drop(log=log, before=before)


async def _work(limiter: SharedLimiter, count: int, round_trip: float) -> None:
    while True:
        permit = await limiter.acquire(Wanted(count).select)
        await asyncio.sleep(round_trip)
        await limiter.release(permit, RequestEnd.REPLIED)


async def _together(path: Path, seconds: int, round_trip: float) -> Record:
    record = Record()

    async def open_store() -> Store:
        return Recorded(path, record)

    limiters = [SharedLimiter(Limits(), open_store, where=str(path)) for _ in range(PROCESSES)]
    counts = LARGEST_BULK, *[1] * Limits().connections
    for limiter in limiters:
        limiter.longest_request = BUDGET
    tasks = [asyncio.create_task(_work(each, count, round_trip)) for each in limiters for count in counts]
    for _ in range(seconds):
        await asyncio.sleep(1)
        record.sizes.append(path.stat().st_size)
        if record.sizes[-1] == max(record.sizes):
            record.last, record.largest = await FileStore(path).append(None, log="", after=0), path.read_bytes()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for limiter in limiters:
        await limiter.leave()
    return record


def together(path: Path, *, seconds: int, round_trip: float) -> Record:
    """Let four processes use the account as fast as they may, in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        time = runner.get_loop().time
        with mock.patch.object(file_module, "clock", lambda: BEGAN_AT + time()):  # noqa: PT008 (it changes)
            return runner.run(_together(path, seconds, round_trip))


async def for_hours(path: Path, *, hours: float, rate: float) -> Record:
    """Write the entries of single requests at this rate, with a bulk request a minute, by a clock that is set."""
    now, record, limits, serial = BEGAN_AT, Record(), Limits(), 0
    with mock.patch.object(file_module, "clock", lambda: now):  # noqa: PT008 (it changes)
        store, replica, cleaned_at = FileStore(path), Ledger(limits), 0
        tail = await store.begin([ledger.encode(Quarantine(0.0, "new"))], instead_of="")
        replica.apply(tail.entries[0])
        whos = [0] * PROCESSES
        while now < BEGAN_AT + hours * 3600:
            serial += 1
            n = serial % PROCESSES
            member = replica.members.get(whos[n])
            batch: list[ledger.Record] = []
            if member is None or now > member.joined_at + replica.horizon / 2:
                batch.append(ledger.joined(who=whos[n], name=f"host/{n}", limits=limits, budget=BUDGET))
                whos[n] = whos[n] or replica.number + 1
            is_bulk = serial % int(rate * (limits.period + limits.margin)) == 1
            keys = tuple(itertools.islice(_ids, LARGEST_BULK if is_bulk else 1))
            batch.append(ledger.took(who=whos[n], serial=serial, budget=BUDGET, bulk=is_bulk, keys=keys))
            batch.append(ledger.ended(who=whos[n], serial=serial, how=RequestEnd.REPLIED))
            if serial % 7 == 0:
                batch.append(Waits(whos[n], True, False, False))
            for each in batch:
                written = await store.append(ledger.encode(each), log=tail.log, after=replica.number)
                assert written.is_appended
                replica.apply(written.entries[0])
            now += 1 / rate
            if replica.number - cleaned_at >= ENTRIES_BETWEEN_CLEANUPS:
                cleaned_at = replica.number
                record.sizes.append(path.stat().st_size)
                replica.forget(now=now)
                await store.drop(log=tail.log, before=replica.first_needed(now=now))
    return record


def read(path: Path) -> float:
    """The CPU seconds that a newcomer takes to read a log and to take it in."""

    async def open_store() -> Store:
        return FileStore(path)

    async def main() -> float:
        with mock.patch.object(file_module, "clock", return_value=2 * BEGAN_AT):
            newcomer = Replica(Limits(), open_store, where=str(path), budget=lambda: BUDGET)
            await newcomer.open()
            began_at = process_time()
            await newcomer.take(newcomer.catch_up())
            return process_time() - began_at

    return asyncio.run(main())


def decode(entries: Sequence[Entry]) -> float:
    """The CPU seconds that decoding takes alone, as a measure of the machine."""
    began_at = process_time()
    for entry in entries:
        ledger.decode(entry.data)
    return process_time() - began_at


def newcomer(folder: Path, record: Record, *, rounds: int = 9) -> tuple[float, float, float]:
    """The CPU seconds of `read` for the largest file, the median and the least of interleaved rounds with `decode`.

    The third number is the median of `decode`.
    """
    path = folder / "copy.log"
    path.write_bytes(record.largest)
    took, alone = zip(*[(read(path), decode(record.last.entries)) for _ in range(rounds)], strict=True)
    return median(took), min(took), median(alone)


async def in_redis(url: str, record: Record) -> tuple[int, int]:
    """Do to a server's log what was done to the file. Returns the most entries, and the most bytes, that it has had."""
    store, connection = RedisStore(url, NAME), Connection(parse_url(url))
    key = f"smsc_status:{{{NAME}}}".encode()
    await store.forget()
    number, entries, size = 1, 0, 0
    tail = await store.begin([ledger.encode(Quarantine(0.0, "new"))], instead_of="")
    for written in record.written:
        if isinstance(written, bytes):
            assert (await store.append(written, log=tail.log, after=number)).is_appended
            number += 1
        else:
            entries = max(entries, await connection.call(b"XLEN", key))
            size = max(size, await connection.call(b"MEMORY", b"USAGE", key, b"SAMPLES", b"0"))
            await store.drop(log=tail.log, before=written)
    await store.forget()
    await store.aclose()
    await connection.aclose()
    return entries, size


def _row(cells: Sequence[object]) -> None:
    print("|", " | ".join(map(str, cells)), "|", flush=True)


def main(seconds: int = 240, hours: float = 1.0, url: str = "") -> None:
    """Print the table."""
    head = ["round trip, s", "requests a second", "largest file, kB", "entries in it"]
    head += ["to read it, ms", "fastest", "x decoding"]
    _row([*head, *(["most entries in Redis", "kB"] if url else [])])
    _row(["---:"] * (len(head) + 2 * bool(url)))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for round_trip in ROUND_TRIPS:
            record = together(folder / f"{round_trip}.log", seconds=seconds, round_trip=round_trip)
            took, fastest, alone = newcomer(folder, record)
            cells: list[object] = [round_trip, f"{record.requests / seconds:.0f}", f"{max(record.sizes) / 1000:,.0f}"]
            cells += [f"{len(record.last.entries):,}", f"{took * 1e3:.0f}", f"{fastest * 1e3:.0f}"]
            cells.append(f"{took / alone:.1f}")
            if url:
                entries, size = asyncio.run(in_redis(url, record))
                cells += [f"{entries:,}", f"{size / 1000:,.0f}"]
            _row(cells)
        sizes = asyncio.run(for_hours(folder / "hours.log", hours=hours, rate=30.0)).sizes
        print(f"\nin {hours:g} h at 30 requests a second: {max(sizes) / 1000:,.0f} kB at most")


_ARGUMENTS: tuple[Callable[[str], Any], ...] = (int, float, str)

if __name__ == "__main__":
    main(*(kind(text) for kind, text in zip(_ARGUMENTS, sys.argv[1:], strict=False)))
