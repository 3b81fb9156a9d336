"""The command `report`: one HTML file of the results of `fetch` or `track`, or of a table that `sync` keeps current."""

from __future__ import annotations

import sys
from datetime import tzinfo
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from smsc_status._runtime.account import Secret
from smsc_status.cli._exits import Exit, print_on_stderr
from smsc_status.cli._files import STDIN
from smsc_status.cli._output import json_line, write_stdout
from smsc_status.cli._reports import LineReporter, of_count
from smsc_status.cli._sync import name_of
from smsc_status.errors import ConfigError

if TYPE_CHECKING:
    from smsc_status.report import Summary, Table


class LanguageName(StrEnum):
    """The language of the report."""

    EN = "en"
    RU = "ru"


@attrs.frozen(kw_only=True)
class Results:
    """What the report is of: a file of results; or, with the name of a `table`, a database.

    `given` is the argument of the command: the file, or the database's URL.
    """

    given: Secret | None
    table: str | None
    columns: list[str]
    where: str | None


@attrs.frozen(kw_only=True)
class Page:
    """Where the report goes (`-` is standard output), and how it looks: see `smsc_status.report.write`."""

    out: Path
    language: LanguageName
    title: str
    zone: tzinfo
    full_phones: bool


def write_report(results: Results, page: Page, *, as_json: bool) -> Exit:
    """Write the report, and say how many messages and bad lines there were.

    Raises:
        ConfigError: the results or an argument can't be used, or a package of the extra is not installed.
        DatabaseUnavailable: the database can't be reached.
        OSError: a file can't be read or written.
    """
    from smsc_status import report  # noqa: PLC0415 (Jinja, Babel and the plots are an extra)

    source = _source_of(results, page.zone)
    is_file = isinstance(source, Path)
    reporter = LineReporter(print_on_stderr, results.table or str(source), "line" if is_file else "row")
    is_on_stdout = str(page.out) == STDIN
    summary = report.write(
        source,
        sys.stdout.buffer if is_on_stdout else page.out,
        language=page.language.value,
        timezone=page.zone,
        title=page.title,
        full_phones=page.full_phones,
        report=reporter,
    )
    reporter.sum_up()
    if as_json:
        line = json_line(attrs.asdict(summary))
        sys.stderr.write(line.decode()) if is_on_stdout else write_stdout(line)
    else:
        print_on_stderr(_told(summary, page.out))
    return Exit.SOME_FAILED if summary.bad_lines else Exit.DONE


def _source_of(results: Results, zone: tzinfo) -> Path | Table:
    if results.table is None:
        return _file_of(results)
    if results.given is None:
        raise ConfigError("DATABASE_URL: expected the database's URL, as the argument or in the environment")
    from smsc_status.report import Table  # noqa: PLC0415 (an extra)
    from smsc_status.tables import Columns  # noqa: PLC0415 (SQLAlchemy is an extra)

    names: dict[str, Any] = dict(name_of(given) for given in results.columns)
    columns = Columns.of(names)
    return Table(results.given, table=results.table, columns=columns, where=results.where, timezone=zone)


def _file_of(results: Results) -> Path:
    for option, value in (("--column", results.columns), ("--where", results.where)):
        if value:
            raise ConfigError(f"{option}: expected --table with it")
    if results.given is None:
        raise ConfigError("RESULTS: expected a file of results, or a database with --table")
    given = results.given.reveal()
    if given == STDIN:
        raise ConfigError("RESULTS '-': expected a file, which is read twice")
    if "://" in given:
        raise ConfigError("RESULTS: expected a file; for a database give --table, too")
    return Path(given)


def _told(summary: Summary, out: Path) -> str:
    """What the report says, for people."""
    parts = [
        f"{summary.messages} {of_count('message', summary.messages)}: {summary.delivered} delivered, "
        f"{summary.failed} not delivered, {summary.open} on the way, {summary.unknown} unknown"
    ]
    parts += [f"{summary.look_ups} {of_count('look-up', summary.look_ups)}"] if summary.look_ups else []
    parts += [f"{summary.bad_lines} could not be read"] if summary.bad_lines else []
    return f"{'; '.join(parts)}; written to {'standard output' if str(out) == STDIN else out}"
