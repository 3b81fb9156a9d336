"""The command `track`: follows the messages of a file to their end.

A later run reads the results back and continues from them.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import attrs
from rich.console import Console
from rich.table import Table
from rich.text import Text

from smsc_status._operations.tracker import TrackStream
from smsc_status._texts import one_line
from smsc_status.cli._account import open_client, require_answers
from smsc_status.cli._exits import Exit, print_on_stderr
from smsc_status.cli._files import STDIN
from smsc_status.cli._jobs import Input, Job
from smsc_status.cli._journal import JsonRows, read_back
from smsc_status.cli._meters import Pace, meter_of, note_of
from smsc_status.cli._output import OutputFormat, Row, Sink, json_line, write_stdout
from smsc_status.cli._reports import LineReporter
from smsc_status.client import Stats
from smsc_status.codes import status_title
from smsc_status.errors import ConfigError
from smsc_status.models import Detail, FailedCheck, Limits, MessageRef, StatusRecord

Seen = tuple[int, int | None] | str | None
"""What was last written about a message: its status and error, or the name of its final outcome."""


class Journal:
    """Knows what earlier runs wrote about each message, and which messages this run follows."""

    def __init__(self) -> None:
        self._earlier: dict[MessageRef, Seen] = {}
        self._followed: set[MessageRef] = set()
        self.resumed: Counter[str] = Counter()
        """How many messages of this run's input ended in earlier runs, by outcome."""

    def take(self, row: Row) -> None:
        """Take note of a line of an earlier run.

        Raises:
            ValueError, TypeError, LookupError: the line is not an outcome.
        """
        end = _end_in(row)
        ref = MessageRef(row["id"], row["phone"], seen=None if end else (row["status"], row["err"]))
        self._earlier[ref] = end or ref.seen

    def should_check(self, ref: MessageRef) -> bool:
        """Whether a message is to be followed: it is new in this run's input, and did not end in an earlier run."""
        if ref in self._followed:
            return False
        self._followed.add(ref)
        seen = self._earlier.get(ref)
        if isinstance(seen, str):
            self.resumed[seen] += 1
        return not isinstance(seen, str)

    def with_seen(self, ref: MessageRef) -> MessageRef:
        """The message to be followed, with what was written about it, so that `track` does not give that again."""
        seen = self._earlier.pop(ref, None)
        return attrs.evolve(ref, seen=seen) if isinstance(seen, tuple) else ref


def _end_in(row: Row) -> str:
    """The name of the outcome with which the message ended; empty if it goes on."""
    if "error" in row:
        return sys.intern(one_line(str(row["error"])))
    return _status_name(row["status"]) if row["is_final"] else ""


def name_of(outcome: StatusRecord | FailedCheck) -> str:
    """The name of an outcome: the status' English title, or the error's class."""
    return type(outcome.error).__name__ if isinstance(outcome, FailedCheck) else _status_name(outcome.status)


def _status_name(status: int) -> str:
    title = status_title(status)
    return title.en if title is not None else str(status)


def track_file(
    source: Input,
    out: Path,
    *,
    detail: Detail,
    limits: Limits,
    share: str | None,
    eagerness: float,
    as_json: bool,
) -> Exit:
    """Follow the messages of a file, and write each change to `out`. An interrupted run is continued.

    `limits` and `share` are as for `open_client`.

    Raises:
        ConfigError: the file has no messages in the expected form, there are no credentials, or `out` is the input or
            has no results of `track`.
        OSError: a file can't be read or written.
    """
    if source.file == STDIN:
        raise ConfigError("FILE '-': expected a file, which a later run can read again")
    if str(out) == STDIN:
        raise ConfigError("--out '-': expected a file, from which a later run can continue")
    with ExitStack() as stack:
        meter = meter_of()
        messages, reporter = source.open(stack, meter.say)
        source.require_other_file_than(out)
        client = open_client(limits, share)
        target = stack.enter_context(out.open("ab+"))
        target.seek(0)
        journal, earlier_reporter = Journal(), LineReporter(meter.say, str(out))
        read_back(target, str(out), JsonRows(), journal.take, earlier_reporter)
        earlier_reporter.sum_up()
        job = Tracking(
            client=client,
            messages=messages,
            reporter=reporter,
            sink=Sink(target, OutputFormat.JSONL, detail),
            meter=meter,
            detail=detail,
            journal=journal,
            eagerness=eagerness,
        )
        status = job.carry_out()
    if as_json:
        write_stdout(json_line(job.summary()))
    else:
        show(job.summary())
    return status


@attrs.define(kw_only=True)
class Tracking(Job):
    """One run of `track`, and its counts so far."""

    journal: Journal
    eagerness: float
    ends: Counter[str] = attrs.field(factory=Counter)
    delivered: int = 0
    failed: int = 0
    delivery: Pace = attrs.field(factory=Pace)
    ending: Pace = attrs.field(factory=Pace)

    def should_check(self, ref: MessageRef) -> bool:
        """Whether the message is new in this run's input, and did not end in an earlier run."""
        return self.journal.should_check(ref)

    def outcomes_of(self, refs: AsyncGenerator[MessageRef, None]) -> TrackStream:
        """Follow each message to its end. What earlier runs wrote does not come out again."""
        seen = (self.journal.with_seen(ref) async for ref in refs)
        return self.client.track(seen, detail=self.detail, eagerness=self.eagerness, look_ahead=None)

    def take_in(self, outcome: StatusRecord | FailedCheck) -> None:
        """Write an outcome, and count the message if it has ended."""
        self.sink.write(outcome)
        if isinstance(outcome, FailedCheck):
            self.failed += 1
            self.ends[name_of(outcome)] += 1
        elif outcome.is_final:
            self.delivered += outcome.is_delivered
            self.ends[name_of(outcome)] += 1

    def show(self) -> None:
        """Update the meter."""
        stats = self.client.stats()
        now = monotonic()
        require_answers(stats, now - self.began_at)
        self.delivery.seen(self.delivered, now=now)
        self.ending.seen(self.ends.total(), now=now)
        done = self.journal.resumed.total() + self.ends.total()
        total = done + stats.tracked if self.messages.has_ended else None
        self.meter.show(done, total, f"{self._note(stats)} · {note_of(stats)}")

    def _note(self, stats: Stats) -> str:
        """The time left at this rate, counts by outcome, messages delivered a minute, and the oldest answer's age."""
        parts = []
        if self.messages.has_ended and self.ending.a_second:
            parts.append(f"{duration(stats.tracked / self.ending.a_second)} left at this rate")
        parts += [f"{count} {name}" for name, count in self.ends.most_common(3)]
        rest = self.ends.total() - sum(count for _, count in self.ends.most_common(3))
        parts += [f"{rest} others"] if rest else []
        parts.append(f"{60 * self.delivery.a_second:.0f} delivered a minute")
        parts.append(f"oldest answer {duration(stats.stalest)}")
        return " · ".join(parts)

    def result(self) -> Exit:
        """The exit status of a run that was not cut short."""
        return Exit.SOME_FAILED if self.failed or self.messages.bad_lines else Exit.DONE

    def summary(self) -> dict[str, Any]:
        """What was done, ready for JSON."""
        return {
            **super().summary(),
            "done": self.ends.total(),
            "resumed": self.journal.resumed.total(),
            "failed": self.failed,
            "outcomes": dict(self.ends.most_common()),
            "outcomes_in_all": dict((self.ends + self.journal.resumed).most_common()),
        }


def duration(seconds: float) -> str:
    """A duration as hours, minutes and seconds, for people."""
    return str(timedelta(seconds=round(seconds)))


def show(summary: dict[str, Any]) -> None:
    """Print the summary for people: the table on standard output, one line on standard error."""
    table = Table("outcome", title="Messages by outcome")
    table.add_column("this run", justify="right")
    table.add_column("in all", justify="right")
    for name, count in summary["outcomes_in_all"].items():
        table.add_row(Text(name), str(summary["outcomes"].get(name, 0)), str(count))
    Console(highlight=False).print(table)
    requests = summary["requests"]
    print_on_stderr(
        f"{summary['done']} messages done in {duration(summary['seconds'])}, {summary['resumed']} were before, "
        f"{summary['bad_lines']} bad lines; {requests['single']} single and {requests['bulk']} bulk requests"
    )
