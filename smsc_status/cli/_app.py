"""Defines the commands and their arguments."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from functools import cache, wraps
from inspect import cleandoc
from pathlib import Path
from typing import Annotated, Any, ParamSpec, cast

import anyio
import typer
from typer.main import get_command

import smsc_status
from smsc_status._runtime.account import Secret
from smsc_status._runtime.sharing import NotShared
from smsc_status._texts import one_line
from smsc_status.cli import _demo as demonstration
from smsc_status.cli import _explain as explaining
from smsc_status.cli import _limits as sharing
from smsc_status.cli import _serve, _single
from smsc_status.cli._account import find_log, open_client
from smsc_status.cli._dates import zone_of
from smsc_status.cli._exits import (
    PROGRAM,
    STATUSES_HELP,
    Exit,
    discard_stdout,
    exit_of,
    explained,
    help_of,
    print_on_stderr,
)
from smsc_status.cli._fetch import Earlier, Output, fetch_file
from smsc_status.cli._files import STDIN, Columns
from smsc_status.cli._health import address_of
from smsc_status.cli._jobs import Input
from smsc_status.cli._options import (
    CREDENTIALS_HELP,
    FILE_HELP,
    LIMITS_HELP,
    REPORT_HELP,
    TABLE_HELP,
    AsJson,
    DetailName,
    DetailOption,
    Encoding,
    Id,
    IdColumn,
    InputFile,
    Lang,
    Margin,
    MaxBulk,
    MaxWait,
    Messages,
    Period,
    Phone,
    PhoneColumn,
    Seed,
    SentAtColumn,
    Share,
    Speed,
    Timezone,
)
from smsc_status.cli._output import OutputFormat, json_line, write_stdout
from smsc_status.cli._report import LanguageName, Page, Results, write_report
from smsc_status.cli._sync import Following, Table, sync_table
from smsc_status.cli._track import track_file
from smsc_status.errors import ConfigError, SmscError
from smsc_status.models import Limits, StatusRecord

P = ParamSpec("P")

# The base class of what Typer raises for wrong usage. Typer exports only its subclasses.
_UsageError = cast("type[Exception]", typer.BadParameter.__base__)

app = typer.Typer(
    name="smsc-status",
    help=f"Delivery statuses from the SMSC gateway, within its limits.\n\n{CREDENTIALS_HELP}",
    epilog=STATUSES_HELP,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def run(arguments: Sequence[str]) -> int:
    """Run a command, and return its exit status.

    An error is shown as one line on standard error. If the usage was wrong, that line names the command's help.
    """
    logging.getLogger("smsc_status").addHandler(logging.NullHandler())
    try:
        return int(_parser()(list(arguments), prog_name="smsc-status", standalone_mode=False) or 0)
    except typer.Abort:
        return Exit.INTERRUPTED
    except _UsageError as error:
        what = getattr(error, "format_message", error.__str__)()
        context = getattr(error, "ctx", None)
        print_on_stderr(f"{what.rstrip('.')}; {help_of(PROGRAM if context is None else context.command_path)}")
        return Exit.USAGE


@cache
def _parser() -> Callable[..., Any]:
    """What parses arguments and calls the commands. `app` itself would read all signatures again at each call."""
    return get_command(app)


def _command(*more_help: str, negative: bool = False) -> Callable[[Callable[P, int]], Callable[P, int]]:
    """Register a command. Its docstring becomes its help, and its errors become exit statuses.

    `negative`: its arguments may be negative numbers.
    """

    def decorate(function: Callable[P, int]) -> Callable[P, int]:
        @wraps(function)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> int:
            try:
                status = function(*args, **kwargs)
                sys.stdout.flush()
            except BrokenPipeError:
                discard_stdout()
                return Exit.PIPE_CLOSED
            except SmscError as error:
                print_on_stderr(explained(error, function.__name__))
                return exit_of(error)
            except OSError as error:
                advice = f"; {help_of(f'{PROGRAM} {function.__name__}')}" if error.filename else ""
                print_on_stderr(f"{error.filename or 'input or output'}: {error.strerror or error}{advice}")
                return Exit.USAGE
            return status

        settings = {"ignore_unknown_options": True} if negative else {}
        help = "\n\n".join((cleandoc(function.__doc__ or ""), *more_help))
        app.command(help=help, epilog=STATUSES_HELP, context_settings=settings)(guarded)
        return guarded

    return decorate


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(smsc_status.__version__)
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="The version.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(Exit.USAGE)


@_command()
def demo(
    *,
    messages: Messages = 300,
    speed: Speed = 60.0,
    seed: Seed = 1,
    report: Annotated[
        Path | None, typer.Option(help="Write a report of the messages to this file, as HTML (extra report).")
    ] = None,
    lang: Lang = LanguageName.EN,
    as_json: AsJson = False,
) -> int:
    """Show the library at work on an emulated server.

    The server's time runs faster than real time. The real client checks a few hundred messages of every kind over a
    real socket. It checks some of them over and over, so that you see the limits at work. This needs no account and no
    network.
    """
    write = None if report is None else demonstration.writer_of(report, lang.value)
    found = demonstration.demonstrate(messages, speed, seed, write)
    if as_json:
        write_stdout(json_line(found))
    else:
        demonstration.show(found)
    return int(found["exit"])


@_command(CREDENTIALS_HELP, LIMITS_HELP)
def check(
    id: Id,
    phone: Phone,
    *,
    detail: DetailOption = DetailName.BASIC,
    max_wait: MaxWait = None,
    period: Period = 60.0,
    margin: Margin = 1.0,
    max_bulk: MaxBulk = 1000,
    share: Share = None,
    as_json: AsJson = False,
) -> int:
    """Check one message. If the limits do not allow it yet, a line on standard error says when they do."""
    client = open_client(Limits(period=period, margin=margin, max_bulk=max_bulk), share)

    async def ask() -> StatusRecord:
        async with client:
            return await _single.check(client, id, phone, detail=detail.level, max_wait=max_wait)

    row = anyio.run(ask).to_dict()
    if as_json:
        write_stdout(json_line(row))
    else:
        for name, value in row.items():
            if value is not None:
                typer.echo(f"{name:<13} {one_line(str(value), None)}")
    return Exit.DONE


@_command(FILE_HELP, CREDENTIALS_HELP, LIMITS_HELP)
def fetch(
    file: InputFile,
    *,
    out: Annotated[
        Path | None, typer.Option(help="The file for the outcomes; by default, and for -, standard output.")
    ] = None,
    format: Annotated[OutputFormat, typer.Option(help="The format of the outcomes.")] = OutputFormat.JSONL,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file of --out if it exists.")] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Append to the file of --out. Messages with an outcome there are not asked again."
        ),
    ] = False,
    guard: Annotated[
        bool,
        typer.Option(
            "--guard-cells/--no-guard-cells",
            help="In CSV, put an apostrophe before texts that begin with =, +, - or @, so that no spreadsheet runs "
            "them as formulas. Numbers stay as they are, even -3 and +79990000000.",
        ),
    ] = True,
    detail: DetailOption = DetailName.BASIC,
    id_column: IdColumn = "id",
    phone_column: PhoneColumn = "phone",
    sent_at_column: SentAtColumn = None,
    encoding: Encoding = None,
    timezone: Timezone = "Europe/Moscow",
    period: Period = 60.0,
    margin: Margin = 1.0,
    max_bulk: MaxBulk = 1000,
    share: Share = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print the summary as JSON: on standard output with --out, else on standard error."
        ),
    ] = False,
) -> int:
    """Check every message of a file once.

    If the file of --out has outcomes already, give --overwrite to replace it or --resume to append to it; otherwise the
    command fails. Ctrl-C ends the run and prints the summary.
    """
    if overwrite and resume:
        raise ConfigError("--overwrite and --resume: expected one of the two")
    target = None if out is None or str(out) == STDIN else out
    if resume and target is None:
        raise ConfigError("--resume: expected --out FILE with it, the results of an earlier run")
    earlier = Earlier.OVERWRITE if overwrite else Earlier.RESUME if resume else Earlier.REFUSE
    return fetch_file(
        Input(file, Columns(id_column, phone_column, sent_at_column), encoding, zone_of(timezone)),
        Output(target, format, earlier, guard),
        detail=detail.level,
        limits=Limits(period=period, margin=margin, max_bulk=max_bulk),
        share=share,
        as_json=as_json,
    )


@_command(FILE_HELP, CREDENTIALS_HELP, LIMITS_HELP)
def track(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The messages.")],
    *,
    out: Annotated[Path, typer.Option(help="The file for the changes, as JSON lines. A later run continues from it.")],
    eagerness: Annotated[
        float, typer.Option(min=0, max=1, help="The share of the connections for single requests about young messages.")
    ] = 0.5,
    detail: DetailOption = DetailName.BASIC,
    id_column: IdColumn = "id",
    phone_column: PhoneColumn = "phone",
    sent_at_column: SentAtColumn = None,
    encoding: Encoding = None,
    timezone: Timezone = "Europe/Moscow",
    period: Period = 60.0,
    margin: Margin = 1.0,
    max_bulk: MaxBulk = 1000,
    share: Share = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON, on standard output.")] = False,
) -> int:
    """Follow every message of a file to its end.

    Each change is written at once to the file of --out. If the run is interrupted, give the same command again: it
    reads that file back and continues. Damaged lines in it are reported and skipped. Ctrl-C ends the run and prints
    the summary.
    """
    return track_file(
        Input(file, Columns(id_column, phone_column, sent_at_column), encoding, zone_of(timezone)),
        out,
        detail=detail.level,
        limits=Limits(period=period, margin=margin, max_bulk=max_bulk),
        share=share,
        eagerness=eagerness,
        as_json=as_json,
    )


@_command(TABLE_HELP, CREDENTIALS_HELP, LIMITS_HELP)
def sync(
    database: Annotated[
        str,
        typer.Argument(
            metavar="DATABASE_URL",
            envvar="DATABASE_URL",
            show_default=False,
            help="The database, such as postgresql://app@db/app, mysql://app@db/app or sqlite:///app.db. Other users "
            "of the machine can see arguments, so give a URL with a password in the environment.",
        ),
    ],
    *,
    table: Annotated[str, typer.Option(help="The table, or SCHEMA.TABLE.")],
    column: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD=COLUMN", help="The column of a field; with an empty name there is none."),
    ] = None,
    where: Annotated[str | None, typer.Option(help="A condition in SQL that narrows the rows.")] = None,
    create_columns: Annotated[bool, typer.Option("--create-columns", help="Add the columns that are missing.")] = False,
    once: Annotated[bool, typer.Option("--once", help="Check each open row once, and end.")] = False,
    health: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Answer probes at /healthz and /livez, such as at 127.0.0.1:8080."),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Give metrics to Prometheus at /metrics, such as at 127.0.0.1:9464."),
    ] = None,
    eagerness: Annotated[
        float, typer.Option(min=0, max=1, help="The share of the connections for single requests about young messages.")
    ] = 0.5,
    expire_after: Annotated[
        float, typer.Option(min=1, help="A message is given up this many seconds after it was sent.")
    ] = 172_800.0,
    detail: DetailOption = DetailName.BASIC,
    timezone: Timezone = "Europe/Moscow",
    period: Period = 60.0,
    margin: Margin = 1.0,
    max_bulk: MaxBulk = 1000,
    share: Share = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON, on standard output.")] = False,
) -> int:
    """Keep the statuses of a database table current, for weeks.

    Rows without an outcome are followed until their messages are done. New rows are found within two seconds. If it is
    killed, start it again: it goes on. Of several on one table, one works and the others stand by. SIGTERM or Ctrl-C
    ends it, after what is known was written.
    """
    database = Secret(database)  # type: ignore[assignment]  # so that no frame shows its password
    return sync_table(
        Table(
            database=cast("Secret", database),
            name=table,
            columns=column or [],
            where=where,
            zone=zone_of(timezone),
            create_columns=create_columns,
        ),
        Following(
            once=once,
            detail=detail.level,
            eagerness=eagerness,
            expire_after=expire_after,
            health=None if health is None else address_of(health),
            metrics=None if metrics is None else address_of(metrics, "--metrics"),
        ),
        limits=Limits(period=period, margin=margin, max_bulk=max_bulk),
        share=share,
        as_json=as_json,
    )


@_command(REPORT_HELP)
def report(
    results: Annotated[
        str | None,
        typer.Argument(
            metavar="RESULTS",
            show_default=False,
            help="The results of fetch or track, as JSON lines or CSV. With --table it is the database's URL, by "
            "default the one in DATABASE_URL.",
        ),
    ] = None,
    *,
    out: Annotated[Path, typer.Option(help="The file for the report, which is replaced; - is standard output.")],
    lang: Lang = LanguageName.EN,
    title: Annotated[str, typer.Option(help='The title of the report, instead of "Delivery report".')] = "",
    full_phones: Annotated[
        bool, typer.Option("--full-phones", help="Show recipients in full. By default they are shortened.")
    ] = False,
    table: Annotated[
        str | None, typer.Option(help="Report on this table (or SCHEMA.TABLE) of the database, as sync keeps it.")
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD=COLUMN", help="The column of a field, as for sync; with --table."),
    ] = None,
    where: Annotated[str | None, typer.Option(help="A condition in SQL that narrows the rows; with --table.")] = None,
    timezone: Annotated[
        str, typer.Option(help="The zone of the days in the report, and of dates in a table that have none.")
    ] = "Europe/Moscow",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the summary as JSON: on standard output, or on standard error with -.")
    ] = False,
) -> int:
    """Write a report to look at: one HTML file, which needs no network.

    It says how many messages were delivered, by day, channel, operator and sender; how long delivery took; why messages
    were not delivered; and what they cost. Damaged lines are reported and left out.
    """
    if results is None and table is not None:
        results = os.environ.get("DATABASE_URL")
    given = None if results is None else Secret(results)
    results = None  # so that no frame shows its password
    return write_report(
        Results(given=given, table=table, columns=column or [], where=where),
        Page(out=out, language=lang, title=title, zone=zone_of(timezone), full_phones=full_phones),
        as_json=as_json,
    )


@_command(CREDENTIALS_HELP, LIMITS_HELP)
def delete(id: Id, phone: Phone, *, period: Period = 60.0, margin: Margin = 1.0, share: Share = None) -> int:
    """Delete one message that was sent. If the limits do not allow it yet, a line on standard error says so."""
    client = open_client(Limits(period=period, margin=margin), share)

    async def ask() -> None:
        async with client:
            await _single.delete(client, id, phone)

    anyio.run(ask)
    return Exit.DONE


@_command(CREDENTIALS_HELP)
def limits(
    *,
    forget: Annotated[
        bool,
        typer.Option(
            "--forget",
            help="Delete the log, after asking. The requests of the last minute are then forgotten, and processes at "
            "work send nothing for about two minutes.",
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before --forget.")] = False,
    share: Share = None,
    as_json: AsJson = False,
) -> int:
    """Show how the account stands: who shares it, what is free, and where the log is.

    This only reads the log. It sends nothing and takes no part in the account.
    """
    if yes and not forget:
        raise ConfigError("--yes: expected --forget with it")
    if forget and as_json:
        raise ConfigError("--json and --forget: expected one of the two")
    log = find_log(share)
    if forget and not isinstance(log, NotShared):
        sharing.forget(log, is_sure=yes)
        return Exit.DONE
    state = log if isinstance(log, NotShared) else sharing.state_of(log)
    if as_json:
        write_stdout(json_line(sharing.as_row(state)))
    else:
        for line in sharing.lines(state):
            typer.echo(one_line(line, None))
    return Exit.DONE


@_command(negative=True)
def explain(
    code: Annotated[int, typer.Argument(metavar="CODE", help="A number that the vendor sent, such as 20 or -3.")],
    as_json: AsJson = False,
) -> int:
    """Explain what a number from the vendor means. This works offline.

    The number may be a status, an err (of an SMS, a look-up or an e-mail), or the error_code that refuses a request.
    """
    found = explaining.explain(code)
    lines = explaining.lines(found)
    if not lines:
        raise ConfigError(f"code {code}: the vendor's page has no status and no error of this number")
    write_stdout(json_line(found) if as_json else "".join(f"{line}\n" for line in lines).encode())
    return Exit.DONE


@_command(_serve.FAULTS_HELP)
def emulator(
    *,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")] = 8025,
    host: Annotated[str, typer.Option(help="An address of this machine.")] = "127.0.0.1",
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Allow an address that other machines can reach.")
    ] = False,
    speed: Speed = 1.0,
    seed: Seed = 1,
    messages: Messages = 300,
    out: Annotated[Path | None, typer.Option(help="Write the messages to this file, as CSV for fetch.")] = None,
    faults: Annotated[
        str,
        typer.Option(metavar="NAME=SHARE,...", help="What goes wrong, and in which share of the requests (0 to 1)."),
    ] = "",
    header_charset: Annotated[
        str, typer.Option(help='The charset that Content-Type claims; "requested" is the one that was asked for.')
    ] = _serve.HEADER_CHARSET,
) -> int:
    """Serve an emulator of the vendor's server, until Ctrl-C."""
    _serve.serve_emulator(
        host,
        port,
        allow_remote=allow_remote,
        speed=speed,
        seed=seed,
        messages=messages,
        out=out,
        faults=faults,
        header_charset=header_charset,
    )
    return Exit.DONE
