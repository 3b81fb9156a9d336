"""The results of earlier runs: what is whole in them is read back, and a run goes on from there."""

from __future__ import annotations

import json
import os
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO, Protocol

from smsc_status.cli._cells import unguarded
from smsc_status.cli._files import Report
from smsc_status.cli._lines import MAX_LINE_BYTES, MAX_RECORD_LINES, CsvRecords
from smsc_status.cli._output import Row
from smsc_status.errors import ConfigError
from smsc_status.models import Identity, MessageRef


class Rows(Protocol):
    """Lines in, rows out."""

    def feed(self, number: int, line: str) -> list[tuple[int, Row | None]]:
        """The rows that this line ends, each with the number of its first line; `None` for what is none."""

    def unfinished(self) -> int | None:
        """The number of the first line of a row that goes on; `None` if there is none."""


class JsonRows:
    """A JSON object a line."""

    def feed(self, number: int, line: str) -> list[tuple[int, Row | None]]:
        """The line's object."""
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        return [(number, row if isinstance(row, dict) else None)]

    def unfinished(self) -> int | None:
        """No row goes over several lines."""
        return None


class CsvRows:
    """A record of CSV each, below a header of these columns."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = list(columns)
        self._records = CsvRecords(",")
        self._held = 0

    def feed(self, number: int, line: str) -> list[tuple[int, Row | None]]:
        """The records that this line ends; an empty row for the header."""
        found = self._records.feed(number, line)
        self._held = self._records.held_since()
        return [(first, self._row(fields)) for first, fields in found]

    def unfinished(self) -> int | None:
        """Where the record begins whose last quote is open."""
        return self._held or None

    def _row(self, fields: list[str] | None) -> Row | None:
        if fields == self._columns:
            return {}
        if fields is None or len(fields) != len(self._columns):
            return None
        return {name: unguarded(field) for name, field in zip(self._columns, fields, strict=True) if field}


def read_back(file: BinaryIO, name: str, rows: Rows, take: Callable[[Row], object], report: Report) -> None:
    """Give each row of earlier results to `take`, and leave the file ready to be written on.

    A line with NUL bytes (a file system's hole after a power cut), an empty one, or one that is no outcome is reported
    and skipped: its messages are asked for anew. A last line or record that is not whole is cut off.

    Args:
        file: the results, open for reading and appending.
        name: the file's name.
        rows: reads their format.
        take: raises a `ValueError`, `TypeError` or `LookupError` for a row that is no outcome.
        report: told the number of each line that is skipped, and why.

    Raises:
        ConfigError: another run writes there now, or the first line that can be read is none of ours.
    """
    _lock(file, name)
    is_ours = False
    end = number = 0
    beginnings: deque[tuple[int, int]] = deque(maxlen=MAX_RECORD_LINES + 1)
    for number, begin, raw in _whole_lines(file):
        beginnings.append((number, begin))
        end = file.tell()
        line = (raw or b"").strip(b"\0")
        is_damaged = raw is None or line != raw
        for first, row in rows.feed(number, line.decode("utf-8", "replace").removesuffix("\r")):
            is_taken = row is not None and (not row or _is_taken(row, take))
            is_ours = is_ours or is_taken
            if is_damaged or not is_taken:
                if not (is_ours or is_damaged or not line.strip()):
                    raise ConfigError(f"--out {name!r}, line {first}: expected an earlier run's results in this format")
                report(first, f"{_what_it_is(raw)}; what stood there is asked for anew")
    unfinished = rows.unfinished()
    if unfinished is not None:
        end = dict(beginnings)[unfinished]
    if end < file.seek(0, os.SEEK_END):
        report(unfinished or number + 1, "half-written, and cut off")
        file.truncate(end)
        file.seek(0, os.SEEK_END)


def _whole_lines(file: BinaryIO) -> Iterator[tuple[int, int, bytes | None]]:
    """Each line that a newline ends: its number, where it begins, and its bytes; `None` if they are too many."""
    number = begin = 0
    while line := file.readline(MAX_LINE_BYTES):
        number, is_short = number + 1, True
        while not line.endswith(b"\n"):
            line, is_short = file.readline(MAX_LINE_BYTES), False
            if not line:
                return
        yield number, begin, line[:-1] if is_short else None
        begin = file.tell()


def _is_taken(row: Row, take: Callable[[Row], object]) -> bool:
    try:
        take(row)
    except (ValueError, TypeError, LookupError):
        return False
    return True


def _what_it_is(raw: bytes | None) -> str:
    if raw is None:
        return "too long"
    if b"\0" in raw:
        return "a hole of NUL bytes"
    return "no outcome" if raw.strip() else "empty"


def _lock(file: BinaryIO, name: str) -> None:
    """Two runs that write on for the same messages would double each other's lines; the lock ends with the process."""
    try:
        import fcntl  # noqa: PLC0415 (not on Windows)

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigError(f"--out {name!r}: another run writes there now") from None
    except (ImportError, OSError):  # a file system without locks: the user must see to it
        pass


class Answered:
    """The messages that have an outcome from an earlier run, each as often as it has one."""

    def __init__(self) -> None:
        self.skipped = 0
        """How many messages were not asked for again."""
        self._left: Counter[Identity] = Counter()

    def take(self, row: dict[str, Any]) -> None:
        """Note an outcome.

        Raises:
            ValueError, TypeError, LookupError: it is none.
        """
        if row.get("status") is None and row.get("error") is None:
            raise ValueError("no outcome")
        self._left[MessageRef(row["id"], row["phone"]).identity] += 1

    def opens(self, ref: MessageRef) -> bool:
        """Whether a message is still to be asked for."""
        if not self._left[ref.identity]:
            return True
        self._left[ref.identity] -= 1
        self.skipped += 1
        return False
