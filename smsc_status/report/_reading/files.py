"""Reads the results of `fetch` and `track`: JSON lines, or CSV, also as a spreadsheet saves it."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO, Protocol

import attrs
import msgspec

from smsc_status._cells import unguarded
from smsc_status._lines import CsvRecords, LineSplitter
from smsc_status.errors import ConfigError
from smsc_status.report._reading.maker import OWN, RowMaker, instant
from smsc_status.report._reading.sources import Report
from smsc_status.report._rows import Row, checked, why

CHUNK_BYTES = 256 * 1024
DELIMITERS = ",;\t"

Read = tuple[int, Row | str]
"""The number of a line, and its row or what is wrong with it."""

_NEEDED = ("id", "phone")
_OUTCOMES = ("status", "error")
_FIELDS = [field.name for field in attrs.fields(Row)]
_TEXTS = ("sender_id", "operator", "error")
_EXPECTED = "expected results of fetch or track, as JSON lines or CSV"


class _Form(Protocol):
    """A format of the results."""

    def feed(self, number: int, line: bytes) -> list[Read]:
        """What ends with this line."""

    def finish(self) -> list[Read]:
        """What is left at the end of the file."""


class _JsonLines:
    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(Row, strict=False)

    def feed(self, number: int, line: bytes) -> list[Read]:
        if not line.strip():
            return []
        try:
            return [(number, self._row(line))]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return [(number, f"not JSON: {_shown(line)}")]

    def _row(self, line: bytes) -> Row | str:
        try:
            return _outcome(checked(self._decoder.decode(line)))
        except msgspec.ValidationError as error:
            return why(error, msgspec.json.decode(line))
        except ConfigError as error:
            return str(error)

    def finish(self) -> list[Read]:
        return []


class _CsvLines:
    def __init__(self, header: str) -> None:
        self._delimiter = max(DELIMITERS, key=header.count)
        self._records = CsvRecords(self._delimiter)
        names = [name.strip() for name in self._records.parse([header]) or []]
        missing = [name for name in _NEEDED if name not in names]
        if missing or not set(_OUTCOMES) & set(names):
            wanted = missing[0] if missing else "status"
            raise ConfigError(f"line 1: no column {wanted!r} in {header[:80]!r}: {_EXPECTED}")
        self._width = len(names)
        further = [name for name in _FIELDS if name in names and name not in OWN]
        self._maker = RowMaker(further, _prepared)
        # An empty cell stands after the last one, for columns that are missing.
        self._own = itemgetter(*(names.index(name) if name in names else -1 for name in OWN))
        self._further = itemgetter(*(names.index(name) for name in further), -1)

    def feed(self, number: int, line: bytes) -> list[Read]:
        try:
            text = line.decode()
        except UnicodeDecodeError:
            return [(number, f"not UTF-8: {_shown(line)}")]
        # Two shorter ways for records of one line, which nearly all are: they take a third of the time.
        if not self._records.held_since():
            if '"' not in text:
                return [(number, self._row(text.split(self._delimiter)))] if text.strip() else []
            if text.count('"') % 2 == 0:
                return [(number, self._row(self._records.parse([text])))]
        return self._read(self._records.feed(number, text))

    def finish(self) -> list[Read]:
        return self._read(self._records.finish())

    def _read(self, records: Sequence[tuple[int, list[str] | None]]) -> list[Read]:
        return [(number, self._row(fields)) for number, fields in records]

    def _row(self, fields: list[str] | None) -> Row | str:
        if fields is None:
            return "not CSV: a quote is not closed, or a field is too long"
        if len(fields) != self._width:
            return f"{len(fields)} columns: expected {self._width}, as in the header"
        fields.append("")
        id, phone, sent_at, changed_at = self._own(fields)
        try:
            return _outcome(
                self._maker.make(
                    unguarded(id) or None,
                    unguarded(phone) or None,
                    instant(sent_at, "sent_at"),
                    instant(changed_at, "changed_at"),
                    self._further(fields)[:-1],
                )
            )
        except ConfigError as error:
            return str(error)


def _prepared(values: Mapping[str, str]) -> dict[str, str]:
    return {name: unguarded(value) if name in _TEXTS else value for name, value in values.items()}


class ResultsFile:
    """A file of results.

    It is read in chunks, and only as far as it went when it was opened, because `track` may still write to it. What its
    last line lacks then counts as a line that can't be used.

    Args:
        path: the file.

    Raises:
        ConfigError: it is no regular file, and so can't be read twice.
        OSError: it can't be read.
    """

    has_history = True

    def __init__(self, path: Path) -> None:
        self._path = path
        if path.exists() and not path.is_file():
            raise ConfigError(f"results {str(path)!r}: expected a file, which is read twice")
        self._size = os.stat(path).st_size

    @property
    def name(self) -> str:
        """The file's name, without its folders."""
        return self._path.name

    def rows(self, report: Report) -> Iterator[Row]:
        """See `Source`.

        Raises:
            ConfigError: the first line that is not empty is no result, or no line can be read.
            OSError: the file can't be read.
        """
        has_any, bad_lines = False, 0

        def report_and_count(number: int, reason: str) -> None:
            nonlocal bad_lines
            bad_lines += 1
            report(number, reason)

        with self._path.open("rb") as file:
            for number, found in self._reads(file, report_and_count):
                if isinstance(found, Row):
                    has_any = True
                    yield found
                elif has_any:
                    report(number, found)
                else:
                    raise ConfigError(f"{self._path}, line {number}: {found}; {_EXPECTED}")
        if bad_lines and not has_any:
            raise ConfigError(f"{self._path}: not one of its lines can be read; {_EXPECTED}")

    def _reads(self, file: BinaryIO, report: Report) -> Iterator[Read]:
        form: _Form | None = None
        for number, raw in self._lines(file):
            if raw is None:
                report(number, "too long")
                continue
            line = raw.removesuffix(b"\r")
            if number == 1:
                line = line.removeprefix(codecs.BOM_UTF8)
            # A power cut may leave NUL bytes in a file.
            if b"\0" in line:
                report(number, "a hole of NUL bytes")
            elif form is not None:
                yield from form.feed(number, line)
            elif line.strip():
                form, is_header = self._form_of(line)
                yield from () if is_header else form.feed(number, line)
        if form is not None:
            yield from form.finish()

    def _form_of(self, line: bytes) -> tuple[_Form, bool]:
        """The format of a file that begins with this line, and whether this is a header."""
        if line.lstrip().startswith(b"{"):
            return _JsonLines(), False
        try:
            return _CsvLines(line.decode()), True
        except (UnicodeDecodeError, ConfigError) as error:
            what = error if isinstance(error, ConfigError) else f"line 1: {_shown(line)}: {_EXPECTED}"
            raise ConfigError(f"{self._path}, {what}") from None

    def _lines(self, file: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
        splitter, left = LineSplitter(), self._size
        while left and (chunk := file.read(min(CHUNK_BYTES, left))):
            left -= len(chunk)
            yield from splitter.feed(chunk)
        yield from splitter.finish()


def _outcome(row: Row) -> Row | str:
    return row if row.status is not None or row.error is not None else "no outcome: it has no status and no error"


def _shown(line: bytes) -> str:
    return repr(line[:60].decode("utf-8", "replace"))
