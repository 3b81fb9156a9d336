"""Reads messages from a file of CSV or JSON lines.

It reads lazily, in chunks. Lines that can't be used are reported and skipped.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import AsyncGenerator, Callable, Collection, Iterator
from datetime import tzinfo
from functools import partial
from io import BufferedIOBase
from pathlib import PurePath
from typing import Any

import anyio
import attrs
from anyio.lowlevel import checkpoint

from smsc_status._cells import value_of
from smsc_status._lines import CsvRecords, LineSplitter
from smsc_status.cli._dates import moment
from smsc_status.cli._encodings import HEAD_BYTES, Decoder, what_it_is
from smsc_status.errors import ConfigError
from smsc_status.models import MOSCOW, MessageRef

CHUNK_BYTES = 64 * 1024
JSON_SUFFIXES = {".jsonl", ".ndjson", ".json"}
CSV_SUFFIXES = {".csv", ".tsv"}
DELIMITERS = ",;\t"
STDIN = "-"

_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?;*,*', re.IGNORECASE)  # Excel's own first line

Report = Callable[[int, str], None]

OTHER_NAMES = {
    "id": ("ид", "id сообщения", "идентификатор", "идентификатор сообщения"),
    "phone": ("телефон", "номер телефона", "тел.", "тел"),
    "sent_at": ("дата отправки", "время отправки", "дата и время отправки", "дата/время отправки"),
}
"""Russian names of the columns. They are tried beside the default names."""


@attrs.frozen
class Columns:
    """The names of the input's columns.

    `sent_at` is `None` for a column `sent_at` that may be missing. It is empty if no such column is to be read.
    """

    id: str = "id"
    phone: str = "phone"
    sent_at: str | None = None

    def names(self) -> Iterator[tuple[str, str, str]]:
        """For each part of a message: the part, the name of its column, and the option that sets that name."""
        yield "id", self.id, "--id-column"
        yield "phone", self.phone, "--phone-column"
        if self.sent_at != "":
            yield "sent_at", self.sent_at or "sent_at", "--sent-at-column"

    def find(self, there: Collection[str]) -> dict[str, str]:
        """For each part of a message, which of these column names (in lower case) has it."""
        found = {}
        for part, column, _ in self.names():
            wanted = (column.casefold(), *OTHER_NAMES.get(column.casefold(), ()))
            name = next((name for name in wanted if name in there), None)
            if name is not None:
                found[part] = name
        return found

    def require(self, there: Collection[str]) -> None:
        """Check that every required column is there.

        Raises:
            ConfigError: a required column is missing.
        """
        found = self.find(there)
        for part, column, option in self.names():
            if part not in found and (part != "sent_at" or self.sent_at is not None):
                shown = ", ".join(repr(name[:40]) for name in list(there)[:20])
                raise ConfigError(f"no column {column!r} in the input, which has {shown}: name yours with {option}")


def shown_name(file: str) -> str:
    """The name of a file in messages to the user."""
    return "standard input" if file == STDIN else file


class MessageFile:
    """The messages of an open file: CSV with a header line, or one JSON object on each line.

    The file's name tells which of the two it is, or else its first character. The delimiter of CSV (comma, semicolon or
    tab) is found in the header, or in Excel's `sep=` line above it. The file is read in chunks, never held as a whole.

    Args:
        source: the open file.
        columns: the names of the columns; their case does not matter.
        report: called with the number of a line and a reason, for each line that can't be used and for each time of
            sending that can't be read.
        name: the file's name, if it has one.
        encoding: the charset; `None` means that `Decoder` finds it.
        zone: the time zone of times without one.

    Attributes:
        bytes_used: how many bytes of the file the lines used so far took.
        messages: how many messages were given out.
        bad_lines: how many lines can't be used.
        has_ended: whether the whole file was read.
    """

    def __init__(
        self,
        source: BufferedIOBase,
        columns: Columns,
        report: Report,
        name: str = "",
        *,
        encoding: str | None = None,
        zone: tzinfo = MOSCOW,
    ) -> None:
        self.messages = 0
        self.bad_lines = 0
        self.has_ended = False
        self._source = source
        self._columns = columns
        self._report = report
        self._name = name
        self._suffix = PurePath(name).suffix.lower()
        self._zone = zone
        self._decoder = Decoder(encoding)
        self._guess_is_told = False
        self._head = b""
        self._bytes_read = 0
        self._bytes_split = 0
        self._bytes_taken = 0
        self._splitter = LineSplitter()
        self._lines: deque[tuple[int, bytes | None]] = deque()
        self._csv: CsvRecords | None = None
        self._column_indexes: dict[str, int] = {}
        self._width = 0
        self._can_wait = True

    @property
    def bytes_used(self) -> int:
        """How many bytes of the file the lines used so far took."""
        return self._bytes_taken * self._bytes_read // max(1, self._bytes_split)

    def open(self) -> None:
        """Read as far as the first line, and check that it has the columns.

        Raises:
            ConfigError: a column is missing, or the file is not text. The error names the file.
        """
        try:
            self._open()
        except ConfigError as error:
            raise ConfigError(f"{shown_name(self._name)}: {error}" if self._name else str(error)) from None

    async def read(self) -> AsyncGenerator[MessageRef, None]:
        """The messages. Call `open` first."""
        while True:
            while self._lines:
                number, raw = self._lines.popleft()
                self._bytes_taken += 1 + len(raw or b"")
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
        """Wait until there is more to read. Only a pipe or a terminal can be waited for, not a file on disk."""
        await checkpoint()
        if self._can_wait:
            try:
                await anyio.wait_readable(self._source.fileno())
            except (OSError, NotImplementedError):
                self._can_wait = False

    def _take_in(self, chunk: bytes) -> None:
        self.has_ended = not chunk
        self._bytes_read += len(chunk)
        text = self._decoder.lines_of(chunk, final=self.has_ended)
        self._bytes_split += len(text)
        if len(self._head) < HEAD_BYTES:
            self._head = (self._head + text)[:HEAD_BYTES]
        self._lines.extend(self._splitter.feed(text))
        if self.has_ended:
            self._lines.extend(self._splitter.finish())

    # The first line.

    def _open(self) -> None:
        self._read_to_text()
        kind = what_it_is(self._head)
        if kind is not None:
            raise ConfigError(kind)
        if not self._lines:
            return
        first = self._first()
        if self._suffix in JSON_SUFFIXES or (self._suffix not in CSV_SUFFIXES and first.startswith(("{", "["))):
            self._look_at_object(first)
            return
        self._lines.popleft()
        separator = _SEPARATOR_LINE.fullmatch(first)
        if separator is None:
            self._read_header(first)
            return
        self._read_to_text()
        if self._lines:
            first = self._first()
            self._lines.popleft()
            self._read_header(first, separator[1])

    def _read_to_text(self) -> None:
        """Read on to the next line that is not empty, and drop the empty ones before it."""
        while not self.has_ended and all(raw is not None and not raw.strip() for _, raw in self._lines):
            self._take_in(self._source.read1(CHUNK_BYTES))
        while self._lines and (raw := self._lines[0][1]) is not None and not raw.strip():
            self._lines.popleft()

    def _first(self) -> str:
        number, raw = self._lines[0]
        try:
            return self._text(number, raw or b"").strip()
        except UnicodeDecodeError:
            raise ConfigError(f"the first line is not {self._decoder.encoding}: name yours with --encoding") from None

    def _read_header(self, line: str, delimiter: str | None = None) -> None:
        delimiter = delimiter or max(DELIMITERS, key=line.count)
        self._csv = CsvRecords(delimiter)
        names = [name.strip().casefold() for name in self._csv.parse([line]) or []]
        self._width = len(names)
        self._columns.require(names)
        self._column_indexes = {part: names.index(name) for part, name in self._columns.find(names).items()}

    def _look_at_object(self, line: str) -> None:
        if line.startswith("["):
            raise ConfigError("the input is a JSON array: expected JSON lines, one object a line")
        try:
            values = json.loads(line)
        except (ValueError, RecursionError):
            return
        if isinstance(values, dict):
            self._columns.require([name.casefold() for name in values])

    # The other lines.

    def _messages_of(self, number: int, raw: bytes | None) -> Iterator[MessageRef]:
        if raw is None:
            self._refuse(number, "too long")
            return
        try:
            text = self._text(number, raw)
        except UnicodeDecodeError:
            self._refuse(number, f"not {self._decoder.encoding}")
            return
        if self._csv is None:
            if text.strip():
                yield from self._made(number, partial(self._of_object, text))
            return
        for first, fields in self._csv.feed(number, text):
            yield from self._made(first, partial(self._of_fields, fields))

    def _text(self, number: int, raw: bytes) -> str:
        text = self._decoder.text(raw.removesuffix(b"\r"))
        if self._decoder.is_guess and not self._guess_is_told:
            self._guess_is_told = True
            self._report(number, "not UTF-8: from here on it is read as windows-1251 (--encoding names another)")
        return text

    def _made(self, number: int, make: Callable[[], dict[str, Any] | None]) -> Iterator[MessageRef]:
        try:
            values = make()
            ref = None if values is None else self._ref(number, values)
        except ConfigError as error:
            self._refuse(number, str(error))
            return
        if ref is not None:
            self.messages += 1
            yield ref

    def _refuse(self, number: int, why: str) -> None:
        self.bad_lines += 1
        self._report(number, why)

    def _of_fields(self, fields: list[str] | None) -> dict[str, Any] | None:
        if fields is None:
            raise ConfigError("not CSV: a quote is not closed, or a field is too long")
        if not any(field.strip() for field in fields):
            return None
        if any(fields[self._width :]):
            raise ConfigError(f"{len(fields)} columns: expected {self._width}, as in the header")
        return {part: value_of(fields[index]) for part, index in self._column_indexes.items() if index < len(fields)}

    def _of_object(self, line: str) -> dict[str, Any]:
        try:
            values = json.loads(line)
        except (ValueError, RecursionError):
            raise ConfigError("not JSON") from None
        if not isinstance(values, dict):
            raise ConfigError("expected a JSON object")
        folded = {name.casefold(): value for name, value in values.items()}
        return {part: folded[name] for part, name in self._columns.find(folded).items()}

    def _ref(self, number: int, values: dict[str, Any]) -> MessageRef:
        for part, column, _ in self._columns.names():
            if part != "sent_at" and values.get(part) in (None, ""):
                raise ConfigError(f"no {column!r}")
        phone = values["phone"]
        if isinstance(phone, int) and not isinstance(phone, bool):
            phone = str(phone)
        try:
            sent_at, note = moment(values.get("sent_at"), self._zone), ""
        except ConfigError as error:
            sent_at, note = None, f"{error}; the message is asked for without its time of sending"
        ref = MessageRef(values["id"], phone, sent_at)
        if note:
            self._report(number, note)
        return ref
