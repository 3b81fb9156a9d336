"""Writes outcomes, each as a JSON object or a row of CSV, and as a whole line or not at all."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterable
from enum import StrEnum
from itertools import chain
from typing import Any, BinaryIO

from smsc_status._cells import guarded
from smsc_status._plain import DETAILS, DOUBT, FAILURE, HEAD
from smsc_status._texts import in_json, without_controls
from smsc_status.models import Detail, FailedCheck, StatusRecord

Row = dict[str, Any]


class OutputFormat(StrEnum):
    """How outcomes are written."""

    JSONL = "jsonl"
    CSV = "csv"


def columns(detail: Detail) -> list[str]:
    """The columns of a CSV file at this level of detail."""
    return [*HEAD, *chain.from_iterable(DETAILS[: detail + 1]), DOUBT, *FAILURE]


def json_line(value: object) -> bytes:
    """A value as a line of JSON in UTF-8. Control characters and lone surrogates are written as JSON escapes."""
    return f"{in_json(json.dumps(value, ensure_ascii=False))}\n".encode()


def csv_line(values: Iterable[object], *, guard: bool = True) -> bytes:
    r"""A row of CSV in UTF-8.

    Control characters in texts, except newlines and tabs, are written as escapes (`\x1b`). With `guard`, a text that a
    spreadsheet would run as a formula gets an apostrophe in front.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(_cell(value, guard) for value in values)
    return text.getvalue().encode()


def write_stdout(line: bytes) -> None:
    """Write bytes on standard output, in UTF-8 whatever the terminal's charset is."""
    sys.stdout.flush()
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


class Sink:
    """Writes outcomes to a file, each at once and by a single write, so that an interruption leaves whole lines.

    Args:
        file: open for writing.
        format: the format of the file.
        detail: the level of detail, which determines the columns of CSV.
        guard: whether cells of CSV are written so that no spreadsheet runs them.
        goes_on: whether the file has outcomes of an earlier run already, and so a header.
    """

    def __init__(
        self, file: BinaryIO, format: OutputFormat, detail: Detail, *, guard: bool = True, goes_on: bool = False
    ) -> None:
        self._file = file
        self._guard = guard
        self._columns = columns(detail) if format is OutputFormat.CSV else None
        if self._columns is not None and not goes_on:
            self._put(csv_line(self._columns))

    def write(self, outcome: StatusRecord | FailedCheck) -> None:
        """Write one outcome."""
        row = outcome.to_dict()
        if self._columns is None:
            self._put(json_line(row))
        else:
            self._put(csv_line((row.get(name) for name in self._columns), guard=self._guard))

    def _put(self, line: bytes) -> None:
        self._file.write(line)
        self._file.flush()


def _cell(value: object, guard: bool) -> object:
    if isinstance(value, list):
        value = " ".join(value)
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str):
        return value
    text = without_controls(value)
    return guarded(text) if guard else text
