"""`write`: from results to a file."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Collection
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import attrs

from smsc_status.errors import ConfigError
from smsc_status.models import MOSCOW, FailedCheck, StatusRecord
from smsc_status.report._counting.figures import Figures
from smsc_status.report._counting.tallies import Group
from smsc_status.report._page.context import Context
from smsc_status.report._page.language import Language, Writer
from smsc_status.report._page.page import page
from smsc_status.report._reading.files import ResultsFile
from smsc_status.report._reading.sources import Outcomes, Source, count
from smsc_status.report._reading.table import Table

_PathLike: TypeAlias = "str | os.PathLike[str]"

_SQLITE = b"SQLite format 3\0"
"""What a database of SQLite begins with."""


@attrs.frozen(kw_only=True)
class Summary:
    """What a report says, as numbers.

    - `messages`: how many messages there are; look-ups are not among them.
    - `delivered`, `failed`, `open`, `unknown`: how many of them reached their recipient, did not, are on the way, or
      have no known status (not found, or their check failed). Together these are all messages.
    - `look_ups`: how many number look-ups there are.
    - `bad_lines`: how many lines or rows could not be used.
    """

    messages: int
    delivered: int
    failed: int
    open: int
    unknown: int
    look_ups: int
    bad_lines: int


def write(
    results: _PathLike | Collection[StatusRecord[Any] | FailedCheck[Any]] | Table,
    out: _PathLike | BinaryIO,
    *,
    language: Language | str = Language.EN,
    timezone: tzinfo = MOSCOW,
    title: str = "",
    full_phones: bool = False,
    report: Callable[[int, str], None] | None = None,
    now: datetime | None = None,
) -> Summary:
    """Write a report as one HTML file, which needs no network, no script and no other file.

    Of several outcomes of a message (the same id and phone), the last one counts, as in the results of `track`. A file
    of results is read in parts and, where a message has several outcomes, twice. The texts of messages are not shown.

    Args:
        results: a file that `smsc-status fetch` or `track` wrote (JSON lines or CSV), a list of outcomes as the client
            gives them, or a table that `smsc-status sync` keeps current.
        out: the file, which is replaced as a whole; or an open binary file.
        language: `en` or `ru`.
        timezone: the zone of the days and times on the page.
        title: the page's title, instead of "Delivery report".
        full_phones: whether the page shows recipients in full. By default they are shortened.
        report: called with the number (from 1) of each line or row that can't be used, and the reason. These are left
            out, and the page says how many there are.
        now: when the report is made, an aware datetime; by default the present.

    Returns:
        What the report says, as numbers.

    Raises:
        ConfigError: an argument can't be used, the file has no such results, or the table can't be used.
        DatabaseUnavailable: the database can't be reached.
        OSError: a file can't be read or written.
    """
    chosen = _language_of(language)
    if not isinstance(timezone, tzinfo):
        raise ConfigError(f"timezone {timezone!r}: expected a tzinfo")
    if now is not None and now.utcoffset() is None:
        raise ConfigError(f"now {now!r}: expected a datetime with a time zone, or None")
    source = _source_of(results)
    if isinstance(out, str | os.PathLike) and _is_database(Path(out)):
        raise ConfigError(f"out {str(out)!r}: expected a file for the report, not a database of SQLite")
    if _is_one_file(results, out):
        raise ConfigError(f"out {str(out)!r}: expected another file than the results")
    figures = count(source, timezone, report or _ignore)
    context = Context(
        figures=figures,
        write=Writer(chosen, timezone),
        source=source.name,
        is_table=isinstance(source, Table),
        title=title,
        full_phones=full_phones,
    )
    html = page(context, made_at=now or datetime.now(UTC)).encode("utf-8", "backslashreplace")
    if isinstance(out, str | os.PathLike):
        _put(Path(out), html)
    else:
        out.write(html)
    return _summary_of(figures)


def _language_of(language: Language | str) -> Language:
    try:
        return Language(language)
    except ValueError:
        raise ConfigError(f"language {language!r}: expected {' or '.join(Language)}") from None


def _source_of(results: _PathLike | Collection[StatusRecord[Any] | FailedCheck[Any]] | Table) -> Source:
    if isinstance(results, Table):
        return results
    if isinstance(results, str | os.PathLike):
        return ResultsFile(Path(results))
    if isinstance(results, Collection):
        return Outcomes(results)
    raise ConfigError(f"results {str(results)[:60]!r}: expected a file, a list of outcomes, or a Table")


def _is_one_file(first: object, second: object) -> bool:
    if not isinstance(first, str | os.PathLike) or not isinstance(second, str | os.PathLike):
        return False
    paths = Path(first), Path(second)
    return all(path.exists() for path in paths) and os.path.samefile(*paths)


def _is_database(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_SQLITE)) == _SQLITE


def _put(path: Path, content: bytes) -> None:
    """Write the file as a whole, or leave it as it was. A pipe or a device is written to."""
    if path.exists() and not path.is_file():
        path.write_bytes(content)
        return
    path = path.resolve()  # a link stays one
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path.parent))
    beside = path.with_name(f".smsc-status-report.{os.getpid()}.tmp")
    try:
        beside.touch()
        if path.exists():  # whoever may read the old report may read the new one
            beside.chmod(stat.S_IMODE(path.stat().st_mode))
        beside.write_bytes(content)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _summary_of(figures: Figures) -> Summary:
    messages = figures.messages
    return Summary(
        messages=messages.total,
        **{group.value: messages.of(group) for group in Group},
        look_ups=figures.look_ups.total,
        bad_lines=figures.bad_rows,
    )


def _ignore(_number: int, _reason: str) -> None:
    """Nobody wants to know."""
