"""Messages from a CSV or JSON lines file, read lazily and as far as it is sound."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from io import BufferedIOBase
from pathlib import PurePath
from typing import Any

import anyio
import attrs
from anyio.lowlevel import checkpoint

from smsc_status.cli.lines import CsvRecords, LineSplitter
from smsc_status.errors import ConfigError
from smsc_status.models import MessageRef

CHUNK_BYTES = 64 * 1024
JSON_SUFFIXES = {".jsonl", ".ndjson", ".json"}
CSV_SUFFIXES = {".csv", ".tsv"}
DELIMITERS = ",;\t"

Report = Callable[[int, str], None]


@attrs.frozen
class Columns:
    """By which names the input has a message's parts. `None` is `sent_at`, which then need not be there."""

    id: str = "id"
    phone: str = "phone"
    sent_at: str | None = None

    @property
    def required(self) -> list[str]:
        """Those that an input must have."""
        return [self.id, self.phone, *([] if self.sent_at is None else [self.sent_at])]


class MessageFile:
    """The messages of an open file: CSV with a header line, or a JSON object a line.

    Which of the two, its name or else its first character says; the delimiter of CSV (comma, semicolon or tab) the
    header. UTF-8, with or without a byte order mark. It is read in chunks, and never held as a whole.

    Args:
        source: the open file.
        columns: the columns of interest; their case does not matter.
        report: told the number of each line that can't be used, and why.
        name: the file's name, if it has one.

    Attributes:
        bytes_used: how much of it the lines used so far took.
        messages: how many it has given out.
        bad_lines: how many were reported.
        has_ended: whether all of it was read.
    """

    def __init__(self, source: BufferedIOBase, columns: Columns, report: Report, name: str = "") -> None:
        self.bytes_used = 0
        self.messages = 0
        self.bad_lines = 0
        self.has_ended = False
        self._source = source
        self._columns = columns
        self._report = report
        self._suffix = PurePath(name).suffix.lower()
        self._splitter = LineSplitter()
        self._lines: deque[tuple[int, bytes | None]] = deque()
        self._csv: CsvRecords | None = None
        self._places: dict[str, int] = {}
        self._width = 0
        self._can_wait = True

    def open(self) -> None:
        """Read as far as the first line, and see that it has the columns.

        Raises:
            ConfigError: it has not.
        """
        while not self.has_ended and not any(raw is None or _text(raw).strip() for _, raw in self._lines):
            self._take_in(self._source.read1(CHUNK_BYTES))
        while self._lines and (raw := self._lines[0][1]) is not None and not _text(raw).strip():
            self._lines.popleft()
        if not self._lines:
            return
        first = _text(self._lines[0][1] or b"").strip()
        if self._suffix in JSON_SUFFIXES or (self._suffix not in CSV_SUFFIXES and first.startswith(("{", "["))):
            self._look_at_object(first)
        else:
            self._lines.popleft()
            self._read_header(first)

    async def read(self) -> AsyncGenerator[MessageRef, None]:
        """The messages, from where `open` left off."""
        while True:
            while self._lines:
                number, raw = self._lines.popleft()
                self.bytes_used += 1 + len(raw or b"")
                for ref in self._messages_of(number, raw):
                    yield ref
            if self.has_ended:
                break
            await self._wait()
            self._take_in(self._source.read1(CHUNK_BYTES))
        for number, fields in self._csv.finish() if self._csv is not None else ():
            for ref in self._made(number, partial(self._of_fields, fields)):
                yield ref

    async def _wait(self) -> None:
        """Wait for more to be there, where that can be waited for: at a pipe or a terminal, not at a file on disk."""
        await checkpoint()
        if self._can_wait:
            try:
                await anyio.wait_readable(self._source.fileno())
            except (OSError, NotImplementedError):
                self._can_wait = False

    def _take_in(self, chunk: bytes) -> None:
        self.has_ended = not chunk
        self._lines.extend(self._splitter.feed(chunk) if chunk else self._splitter.finish())

    # What the first line says.

    def _read_header(self, line: str) -> None:
        delimiter = max(DELIMITERS, key=line.count)
        self._csv = CsvRecords(delimiter)
        names = [name.strip().casefold() for name in self._csv.parse([line]) or []]
        self._width = len(names)
        self._require(names)
        for column in (*self._columns.required, self._columns.sent_at or "sent_at"):
            if column.casefold() in names:
                self._places[column] = names.index(column.casefold())

    def _look_at_object(self, line: str) -> None:
        if line.startswith("["):
            raise ConfigError("the input is a JSON array: expected JSON lines, one object a line")
        try:
            values = json.loads(line)
        except (ValueError, RecursionError):
            return
        if isinstance(values, dict):
            self._require([name.casefold() for name in values])

    def _require(self, names: list[str]) -> None:
        options = dict(zip(self._columns.required, ("--id-column", "--phone-column", "--sent-at-column"), strict=False))
        for column, option in options.items():
            if column.casefold() not in names:
                there = ", ".join(repr(name[:40]) for name in names[:20])
                raise ConfigError(f"no column {column!r} in the input, which has {there}: name yours with {option}")

    # What the others say.

    def _messages_of(self, number: int, raw: bytes | None) -> Iterator[MessageRef]:
        if raw is None:
            self._refuse(number, "too long")
            return
        try:
            text = raw.decode("utf-8-sig" if number == 1 else "utf-8").removesuffix("\r")
        except UnicodeDecodeError:
            self._refuse(number, "not UTF-8")
            return
        if self._csv is None:
            if text.strip():
                yield from self._made(number, partial(self._of_object, text))
            return
        for first, fields in self._csv.feed(number, text):
            yield from self._made(first, partial(self._of_fields, fields))

    def _made(self, number: int, make: Callable[[], MessageRef | None]) -> Iterator[MessageRef]:
        try:
            ref = make()
        except ConfigError as error:
            self._refuse(number, str(error))
            return
        if ref is not None:
            self.messages += 1
            yield ref

    def _refuse(self, number: int, why: str) -> None:
        self.bad_lines += 1
        self._report(number, why)

    def _of_fields(self, fields: list[str] | None) -> MessageRef | None:
        if fields is None:
            raise ConfigError("not CSV: a quote is not closed, or a field is too long")
        if not any(field.strip() for field in fields):
            return None
        if any(fields[self._width :]):
            raise ConfigError(f"{len(fields)} columns: expected {self._width}, as in the header")
        values = {name: fields[place].strip() for name, place in self._places.items() if place < len(fields)}
        return self._ref(values)

    def _of_object(self, line: str) -> MessageRef:
        try:
            values = json.loads(line)
        except (ValueError, RecursionError):
            raise ConfigError("not JSON") from None
        if not isinstance(values, dict):
            raise ConfigError("expected a JSON object")
        folded = {name.casefold(): value for name, value in values.items()}
        names = (*self._columns.required, self._columns.sent_at or "sent_at")
        return self._ref({name: folded[name.casefold()] for name in names if name.casefold() in folded})

    def _ref(self, values: dict[str, Any]) -> MessageRef:
        for column in (self._columns.id, self._columns.phone):
            if values.get(column) in (None, ""):
                raise ConfigError(f"no {column!r}")
        phone = values[self._columns.phone]
        if isinstance(phone, int) and not isinstance(phone, bool):
            phone = str(phone)
        return MessageRef(values[self._columns.id], phone, moment(values.get(self._columns.sent_at or "sent_at")))


def moment(value: object) -> datetime | None:
    """When a message was sent: seconds since 1970, or ISO 8601 with a time zone; `None` for nothing.

    Raises:
        ConfigError: it is of another form.
    """
    if value is None or value == "":
        return None
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
        if isinstance(value, str) and value.isascii() and value.isdecimal():
            return datetime.fromtimestamp(int(value), UTC)
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
    except (ValueError, OverflowError, OSError):
        at = None
    if at is None or at.utcoffset() is None:
        raise ConfigError(f"sent_at {value!r}: expected seconds since 1970, or ISO 8601 with a time zone")
    return at


def _text(raw: bytes) -> str:
    return raw.decode("utf-8-sig", "replace")
