"""Splits bytes into lines, and puts lines together into CSV records, piece by piece."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterator, Sequence

MAX_LINE_BYTES = 1 << 20
MAX_RECORD_LINES = 50
"""A quoted field may take several lines. If it takes this many, its opening quote is taken for a stray one."""

# From inside a quoted field to its end.
_CLOSING = re.compile(r'(?:[^"]++|"")*+"')


class LineSplitter:
    """Splits chunks into lines, numbered from 1, without their newlines; `None` stands for a line that is too long."""

    def __init__(self, max_bytes: int = MAX_LINE_BYTES) -> None:
        self._max_bytes = max_bytes
        self._number = 0
        self._rest = b""
        self._too_long = False

    def feed(self, chunk: bytes) -> Iterator[tuple[int, bytes | None]]:
        """The lines that end in this chunk."""
        *whole, rest = (self._rest + chunk).split(b"\n")
        self._rest = b""
        for line in whole:
            yield self._numbered(line)
        self._rest = rest
        if len(rest) > self._max_bytes:
            self._too_long, self._rest = True, b""

    def finish(self) -> Iterator[tuple[int, bytes | None]]:
        """The last line, if it has no newline."""
        if self._rest or self._too_long:
            yield self._numbered(self._rest)

    def _numbered(self, line: bytes) -> tuple[int, bytes | None]:
        self._number += 1
        is_whole = not self._too_long and len(line) <= self._max_bytes
        self._too_long = False
        return self._number, line if is_whole else None


Record = tuple[int, list[str] | None]
"""The number of a record's first line, and its fields; `None` if these can't be told."""


class CsvRecords:
    """Puts lines together into CSV records. A quote that is never closed spoils only its own line."""

    def __init__(self, delimiter: str) -> None:
        self._delimiter = delimiter
        self._opening = re.compile(rf'(?:^|{re.escape(delimiter)}) *"')
        self._held: deque[tuple[int, str]] = deque()

    def feed(self, number: int, line: str) -> list[Record]:
        """The records that end with this line."""
        self._held.append((number, line))
        return self._records(at_end=False)

    def finish(self) -> list[Record]:
        """The records in the lines that are left."""
        return self._records(at_end=True)

    def held_since(self) -> int:
        """The number of the first line of a record that has not ended yet; 0 if there is none."""
        return self._held[0][0] if self._held else 0

    def parse(self, lines: Sequence[str]) -> list[str] | None:
        """The fields of one record."""
        try:
            rows = csv.reader([f"{line}\n" for line in lines], delimiter=self._delimiter, skipinitialspace=True)
            return next(rows, [])
        except csv.Error:
            return None

    def _records(self, *, at_end: bool) -> list[Record]:
        records: list[Record] = []
        while self._held:
            size = self._size_of_first()
            if size:
                taken = [self._held.popleft() for _ in range(size)]
                records.append((taken[0][0], self.parse([line for _, line in taken])))
            elif at_end or len(self._held) >= MAX_RECORD_LINES:
                records.append((self._held.popleft()[0], None))
            else:
                break
        return records

    def _size_of_first(self) -> int:
        """How many of the held lines make up the first record; 0 while it has not ended."""
        is_open = False
        for size, (_, line) in enumerate(self._held, 1):
            is_open = self._is_open_after(line, is_open)
            if not is_open:
                return size
        return 0

    def _is_open_after(self, line: str, is_open: bool) -> bool:
        """Whether a quoted field is open at the end of this line."""
        if not is_open and '"' not in line:
            return False
        at = 0
        while True:
            if is_open:
                closing = _CLOSING.match(line, at)
                if closing is None:
                    return True
                at = closing.end()
            opening = self._opening.search(line, at)
            if opening is None:
                return False
            at, is_open = opening.end(), True
