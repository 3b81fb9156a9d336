"""Messages of a file followed to their end; the results are their own journal."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import ExitStack, aclosing
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from time import monotonic
from typing import Any, BinaryIO

import anyio
import attrs
from rich.console import Console
from rich.table import Table

from smsc_status.cli.account import expect_answers, open_client
from smsc_status.cli.exits import Exit, complain, exit_of, explained, printable
from smsc_status.cli.fetch import STDIN
from smsc_status.cli.files import Columns, MessageFile
from smsc_status.cli.meters import Live, Meter, Pace, Plain, note_of, ticking
from smsc_status.cli.output import OutputFormat, Sink, json_line, write_stdout
from smsc_status.client import Stats, StatusClient
from smsc_status.codes import status_title
from smsc_status.errors import ConfigError, SmscError
from smsc_status.models import Detail, FailedCheck, Limits, MessageRef, StatusRecord

Seen = tuple[int, int | None] | str | None
"""What was written of a message last: its status and error; the outcome that it ended with; nothing."""


TOLD_EVERY = 60.0
"""Where standard error is no terminal, a line of progress is written there once in so many seconds."""


class Journal:
    """What was written of each message last, by earlier runs and by this one.

    A last line that is not whole is cut off.

    Args:
        file: the results, open for reading and appending.
        name: the file's name.

    Raises:
        ConfigError: another run writes there now, or a line is none of ours.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        _lock(file, name)
        self._earlier: dict[MessageRef, Seen] = {}
        self._followed: dict[MessageRef, Seen] = {}
        self.resumed: Counter[str] = Counter()
        """The messages that earlier runs have seen to their end, as far as they came up again, by outcome."""
        whole = 0
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                break
            try:
                row = json.loads(line)
                self._earlier[MessageRef(row["id"], row["phone"])] = _seen_in(row)
            except (ValueError, TypeError, LookupError):
                raise ConfigError(f"--out {name!r}, line {number}: expected the results of an earlier run") from None
            whole += len(line)
        file.truncate(whole)
        file.seek(0, os.SEEK_END)

    def opens(self, ref: MessageRef) -> bool:
        """Whether a message is to be followed: it has not come up before, and is not done."""
        if ref in self._followed:
            return False
        seen = self._followed[ref] = self._earlier.pop(ref, None)
        if isinstance(seen, str):
            self.resumed[seen] += 1
        return not isinstance(seen, str)

    def takes(self, outcome: StatusRecord | FailedCheck) -> bool:
        """Note an outcome; whether it says anything new."""
        known = self._followed.get(outcome.ref)
        if isinstance(outcome, FailedCheck):
            self._followed[outcome.ref] = name_of(outcome)
            return True
        seen = _pair(outcome.status, outcome.err)
        self._followed[outcome.ref] = name_of(outcome) if outcome.is_final else seen
        return known != seen


@lru_cache(maxsize=1024)
def _pair(status: int, err: int | None) -> tuple[int, int | None]:
    """A million messages share a few of these."""
    return status, err


def _seen_in(row: dict[str, Any]) -> Seen:
    if "error" in row:
        return sys.intern(str(row["error"]))
    return _status_name(row["status"]) if row["is_final"] else _pair(row["status"], row["err"])


def name_of(outcome: StatusRecord | FailedCheck) -> str:
    """An outcome in a word or two: the status' English title, or the error's class."""
    return type(outcome.error).__name__ if isinstance(outcome, FailedCheck) else _status_name(outcome.status)


def _status_name(status: int) -> str:
    title = status_title(status)
    return title.en if title is not None else str(status)


def _lock(file: BinaryIO, name: str) -> None:
    """Two runs that follow the same messages would double each other's lines; the lock ends with the process."""
    try:
        import fcntl  # noqa: PLC0415 (not on Windows)

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigError(f"--out {name!r}: another run writes there now") from None
    except (ImportError, OSError):  # a file system without locks: the user must see to it
        pass


def track_file(
    file: str,
    out: Path,
    *,
    detail: Detail,
    columns: Columns,
    limits: Limits,
    eagerness: float,
    as_json: bool,
) -> Exit:
    """Follow the messages of a file, and write each change to `out`, where a run that was cut off goes on.

    Raises:
        ConfigError: the file has no messages of that form, there are no credentials, `out` is `file` or no results.
        OSError: a file can't be read or written.
    """
    if file == STDIN:
        raise ConfigError("FILE '-': expected a file, which a later run can read again")
    with ExitStack() as stack:
        source = stack.enter_context(Path(file).open("rb"))
        if out.exists() and out.samefile(file):
            raise ConfigError(f"--out {str(out)!r}: expected another file than the input")
        meter = Live() if sys.stderr.isatty() else Plain(TOLD_EVERY)
        messages = MessageFile(source, columns, lambda number, why: meter.say(printable(f"line {number}: {why}")), file)
        messages.open()
        client, _ = open_client(limits)
        target = stack.enter_context(out.open("ab+"))
        target.seek(0)
        journal, sink = Journal(target, str(out)), Sink(target, OutputFormat.JSONL, detail)
        job = Job(client, messages, journal, sink, meter, detail, eagerness)
        with meter:
            status = anyio.run(job.run)
    if as_json:
        write_stdout(json_line(job.summary()))
    else:
        show(job.summary())
    return status


@attrs.define
class Job:
    """One run, and what has come of it so far."""

    client: StatusClient
    messages: MessageFile
    journal: Journal
    sink: Sink
    meter: Meter
    detail: Detail
    eagerness: float
    ends: Counter[str] = attrs.field(factory=Counter)
    delivered: int = 0
    failed: int = 0
    ended_by: SmscError | None = None
    began_at: float = attrs.field(factory=monotonic)
    delivery: Pace = attrs.field(factory=Pace)
    ending: Pace = attrs.field(factory=Pace)

    async def run(self) -> Exit:
        """Follow and write; the exit status. An error that concerns the whole account is reported here."""
        try:
            async with self.client, aclosing(self._open_ones()) as refs, ticking(self._show):
                stream = self.client.track(refs, detail=self.detail, eagerness=self.eagerness, look_ahead=None)
                async with stream as outcomes:
                    async for outcome in outcomes:
                        self._take_in(outcome)
                self._show()
        except SmscError as error:
            self.ended_by = error
            self.meter.say(explained(error))
        return self.exit

    async def _open_ones(self) -> AsyncGenerator[MessageRef, None]:
        """The messages of the file that are not done, each once."""
        async with aclosing(self.messages.read()) as refs:
            async for ref in refs:
                if self.journal.opens(ref):
                    yield ref

    def _take_in(self, outcome: StatusRecord | FailedCheck) -> None:
        if self.journal.takes(outcome):
            self.sink.write(outcome)
        if isinstance(outcome, FailedCheck):
            self.failed += 1
            self.ends[name_of(outcome)] += 1
        elif outcome.is_final:
            self.delivered += outcome.is_delivered
            self.ends[name_of(outcome)] += 1

    def _show(self) -> None:
        stats = self.client.stats()
        now = monotonic()
        expect_answers(stats, now - self.began_at)
        self.delivery.seen(self.delivered, now=now)
        self.ending.seen(self.ends.total(), now=now)
        done = self.journal.resumed.total() + self.ends.total()
        total = done + stats.tracked if self.messages.has_ended else None
        self.meter.show(done, total, note_of(stats, self._note(stats)))

    def _note(self, stats: Stats) -> str:
        """How many ended with what, how fast, how old the oldest answer is, and when it will be over at this rate."""
        parts = [f"{count} {name}" for name, count in self.ends.most_common(3)]
        rest = self.ends.total() - sum(count for _, count in self.ends.most_common(3))
        parts += [f"{rest} others"] if rest else []
        parts.append(f"{60 * self.delivery.a_second:.0f} delivered a minute")
        parts.append(f"oldest answer {duration(stats.stalest)}")
        if self.messages.has_ended and self.ending.a_second:
            parts.append(f"{duration(stats.tracked / self.ending.a_second)} left at this rate")
        return " · ".join(parts)

    @property
    def exit(self) -> Exit:
        """The exit status."""
        if self.ended_by is not None:
            return exit_of(self.ended_by)
        return Exit.SOME_FAILED if self.failed or self.messages.bad_lines else Exit.DONE

    def summary(self) -> dict[str, Any]:
        """What was done, ready for JSON."""
        return {
            "exit": int(self.exit),
            "done": self.ends.total(),
            "resumed": self.journal.resumed.total(),
            "failed": self.failed,
            "bad_lines": self.messages.bad_lines,
            "outcomes": dict(self.ends.most_common()),
            "outcomes_in_all": dict((self.ends + self.journal.resumed).most_common()),
            "requests": dict(self.client.stats().requests),
            "seconds": round(monotonic() - self.began_at, 3),
        }


def duration(seconds: float) -> str:
    """Hours, minutes and seconds, to be read."""
    return str(timedelta(seconds=round(seconds)))


def show(summary: dict[str, Any]) -> None:
    """The summary, to be read, on standard output."""
    table = Table("outcome", title="Messages by outcome")
    table.add_column("this run", justify="right")
    table.add_column("in all", justify="right")
    for name, count in summary["outcomes_in_all"].items():
        table.add_row(name, str(summary["outcomes"].get(name, 0)), str(count))
    Console(highlight=False).print(table)
    requests = summary["requests"]
    complain(
        f"{summary['done']} messages done in {duration(summary['seconds'])}, {summary['resumed']} were before, "
        f"{summary['bad_lines']} bad lines; {requests['single']} single and {requests['bulk']} bulk requests"
    )
