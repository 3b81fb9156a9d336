"""Writes outcomes, each as a JSON object or a row of CSV, and as a whole line or not at all."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, BinaryIO

from smsc_status._texts import in_json, without_controls
from smsc_status.cli._cells import guarded
from smsc_status.models import Detail, FailedCheck, StatusRecord

Row = dict[str, Any]


class OutputFormat(StrEnum):
    """How outcomes are written."""

    JSONL = "jsonl"
    CSV = "csv"


HEAD = (
    "id", "phone", "status", "status_title", "err", "error_title", "is_final", "is_delivered", "channel",
    "changed_at", "sent_at", "checked_at",
)  # fmt: skip
"""The fields of every record, `null` if they are not known."""

DETAILS: Mapping[Detail, tuple[str, ...]] = {
    Detail.BASIC: ("flag", "imsi", "msc", "mcc", "mnc", "cn", "net", "rcn", "rnet", "reachable"),
    Detail.FULL: ("cost", "sender_id", "status_name", "message", "comment", "type", "sms_cnt"),
    Detail.EXTENDED: ("mccmnc", "country", "operator", "operator_orig", "region"),
}
"""The fields that each level of detail adds to the level before it. A field is present if the server sent it."""

DOUBT = "unclear"
"""The field that lists the names of uncertain fields. It is present if there are any."""

FAILURE = ("error", "text")


def columns(detail: Detail) -> list[str]:
    """The columns of a CSV file at this level of detail."""
    added = [name for level, names in DETAILS.items() if level <= detail for name in names]
    return [*HEAD, *added, DOUBT, *FAILURE]


def row_of(outcome: StatusRecord | FailedCheck) -> Row:
    """An outcome as a dict by field, ready for JSON."""
    row: Row = {"id": outcome.ref.id, "phone": outcome.ref.phone}
    if isinstance(outcome, FailedCheck):
        return row | {"error": type(outcome.error).__name__, "text": str(outcome.error)}
    title, error_title = outcome.status_title, outcome.error_title
    row |= {
        "status": outcome.status,
        "status_title": title and title.en,
        "err": outcome.err,
        "error_title": error_title and error_title.en,
        "is_final": outcome.is_final,
        "is_delivered": outcome.is_delivered,
        "channel": outcome.channel.value,
        "changed_at": _moment(outcome.changed_at),
        "sent_at": _moment(outcome.sent_at),
        "checked_at": _moment(outcome.checked_at),
    }
    for name in (name for names in DETAILS.values() for name in names):
        value = getattr(outcome, name, None)
        if value is not None:
            row[name] = str(value) if isinstance(value, Decimal) else value
    if outcome.unclear:
        row[DOUBT] = list(outcome.unclear)
    return row


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
        row = row_of(outcome)
        if self._columns is None:
            self._put(json_line(row))
        else:
            self._put(csv_line((row.get(name) for name in self._columns), guard=self._guard))

    def _put(self, line: bytes) -> None:
        self._file.write(line)
        self._file.flush()


def _moment(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="seconds")


def _cell(value: object, guard: bool) -> object:
    if isinstance(value, list):
        value = " ".join(value)
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str):
        return value
    text = without_controls(value)
    return guarded(text) if guard else text
