"""Reads back the results of earlier runs, so that a run can continue from them."""

from __future__ import annotations

import json
import os
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO, Protocol

from smsc_status._cells import unguarded
from smsc_status._lines import MAX_LINE_BYTES, MAX_RECORD_LINES, CsvRecords
from smsc_status.cli._files import Report
from smsc_status.cli._output import Row
from smsc_status.errors import ConfigError
from smsc_status.models import Identity, MessageRef


class Rows(Protocol):
    """Turns lines into rows."""

    def feed(self, number: int, line: str) -> list[tuple[int, Row | None]]:
        """The rows that end with this line, each with the number of its first line; `None` in place of a bad row."""

    def unfinished(self) -> int | None:
        """The number of the first line of a row that has not ended yet; `None` if there is none."""


class JsonRows:
    """Reads one JSON object from each line."""

    def feed(self, number: int, line: str) -> list[tuple[int, Row | None]]:
        """The object on this line."""
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        return [(number, row if isinstance(row, dict) else None)]

    def unfinished(self) -> int | None:
        """`None`, since no row takes several lines."""
        return None


class CsvRows:
    """Reads records of CSV, below a header of these columns."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = list(columns)
        self._records = CsvRecords(",")
        self._held = 0

    def feed(self, number: int, line: str) -> list[tuple[int, Row | None]]:
        """The records that end with this line. The header gives an empty row."""
        found = self._records.feed(number, line)
        self._held = self._records.held_since()
        return [(first, self._row(fields)) for first, fields in found]

    def unfinished(self) -> int | None:
        """The number of the line where the record with an open quote begins; `None` if there is none."""
        return self._held or None

    def _row(self, fields: list[str] | None) -> Row | None:
        if fields == self._columns:
            return {}
        if fields is None or len(fields) != len(self._columns):
            return None
        return {name: unguarded(field) for name, field in zip(self._columns, fields, strict=True) if field}


def read_back(file: BinaryIO, name: str, rows: Rows, take: Callable[[Row], object], report: Report) -> None:
    """Give each row of earlier results to `take`, and leave the file ready for appending.

    A line is reported and skipped, so that its messages are asked again, if it has NUL bytes (which a power cut may
    leave in a file), is empty, or is not an outcome. An incomplete last line or record is cut off.

    Args:
        file: the results, open for reading and appending.
        name: the file's name.
        rows: reads their format.
        take: raises a `ValueError`, `TypeError` or `LookupError` for a row that is not an outcome.
        report: called with the number of each line that is skipped, and the reason.

    Raises:
        ConfigError: another run is writing to the file, or the first line that can be read is not such a result.
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
                report(first, f"{_what_it_is(raw)}; the messages of this line are asked again")
    unfinished = rows.unfinished()
    if unfinished is not None:
        end = dict(beginnings)[unfinished]
    if end < file.seek(0, os.SEEK_END):
        report(unfinished or number + 1, "half-written, and cut off")
        file.truncate(end)
        file.seek(0, os.SEEK_END)


def _whole_lines(file: BinaryIO) -> Iterator[tuple[int, int, bytes | None]]:
    """Each line that ends with a newline: its number, its offset, and its bytes (`None` if it is too long)."""
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
    """Lock the file until the process ends: two runs at once would write every line twice."""
    try:
        import fcntl  # noqa: PLC0415 (not on Windows)

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigError(f"--out {name!r}: another run writes there now") from None
    except (ImportError, OSError):  # there are no locks here: the user has to take care
        pass


class Answered:
    """The messages that have outcomes from earlier runs, and how many each has."""

    def __init__(self) -> None:
        self.skipped = 0
        """How many messages were not asked again."""
        self._left: Counter[Identity] = Counter()

    def take(self, row: dict[str, Any]) -> None:
        """Take note of an outcome.

        Raises:
            ValueError, TypeError, LookupError: the row is not an outcome.
        """
        if row.get("status") is None and row.get("error") is None:
            raise ValueError("no outcome")
        self._left[MessageRef(row["id"], row["phone"]).identity] += 1

    def should_check(self, ref: MessageRef) -> bool:
        """Whether a message is still to be asked. If not, one of its earlier outcomes is used up."""
        if not self._left[ref.identity]:
            return True
        self._left[ref.identity] -= 1
        self.skipped += 1
        return False
