"""One pass over a file of messages: each is checked once, and written as its answer comes."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import ExitStack
from enum import Enum, auto
from pathlib import Path
from time import monotonic
from typing import Any, BinaryIO

import attrs

from smsc_status._operations.streaming import OutcomeStream
from smsc_status.cli._account import expect_answers, open_client
from smsc_status.cli._exits import Exit, complain, exit_of
from smsc_status.cli._jobs import Input, Job
from smsc_status.cli._journal import Answered, CsvRows, JsonRows, read_back
from smsc_status.cli._meters import meter_of, note_of
from smsc_status.cli._output import OutputFormat, Sink, columns, json_line, write_stdout
from smsc_status.cli._reports import Complaints
from smsc_status.errors import ConfigError
from smsc_status.limiter import LocalLimiter
from smsc_status.models import Detail, FailedCheck, Limits, MessageRef, StatusRecord


class Earlier(Enum):
    """What is done where the file for the outcomes has some already."""

    REFUSE = auto()
    OVERWRITE = auto()
    RESUME = auto()


@attrs.frozen
class Output:
    """Where the outcomes go, and how they are written.

    `out` is `None` for standard output; `guard` as for `Sink`.
    """

    out: Path | None
    format: OutputFormat = OutputFormat.JSONL
    earlier: Earlier = Earlier.REFUSE
    guard: bool = True


def fetch_file(source: Input, output: Output, *, detail: Detail, limits: Limits, as_json: bool) -> Exit:
    """Check the messages of a file, and write the outcomes.

    Raises:
        ConfigError: the file has no messages of that form, there are no credentials, `out` is the input or has
            outcomes already.
        OSError: a file can't be read or written.
    """
    out = output.out
    with ExitStack() as stack:
        meter = meter_of(outcomes_are_seen=out is None and sys.stdout.isatty())  # a bar among them would spoil both
        messages, complaints = source.open(stack, meter.say)
        if out is not None:
            source.see_that_it_is_not(out)
            _see_that_nothing_is_lost(out, output.earlier)
        client, limiter = open_client(limits)
        answered = Answered()
        target = sys.stdout.buffer if out is None else stack.enter_context(_opened(out, output.earlier))
        if out is not None and output.earlier is Earlier.RESUME:
            rows = JsonRows() if output.format is OutputFormat.JSONL else CsvRows(columns(detail))
            about_earlier = Complaints(meter.say, str(out))
            read_back(target, str(out), rows, answered.take, about_earlier)
            about_earlier.sum_up()
        goes_on = out is not None and target.tell() > 0
        job = Pass(
            client=client,
            limiter=limiter,
            messages=messages,
            complaints=complaints,
            sink=Sink(target, output.format, detail, guard=output.guard, goes_on=goes_on),
            meter=meter,
            detail=detail,
            answered=answered,
            file_size=source.size,
        )
        status = job.carry_out()
    if as_json:
        summary = json_line(job.summary())
        write_stdout(summary) if out is not None else sys.stderr.write(summary.decode())
    elif status != Exit.DONE or sys.stderr.isatty():
        complain(job.summary_line())
    return status


def _see_that_nothing_is_lost(out: Path, earlier: Earlier) -> None:
    if earlier is Earlier.REFUSE and out.is_file() and out.stat().st_size:
        ways = "--resume goes on with what has no outcome there, --overwrite begins anew"
        raise ConfigError(f"--out {str(out)!r}: the file exists: {ways}")


def _opened(out: Path, earlier: Earlier) -> BinaryIO:
    if earlier is not Earlier.RESUME:
        return out.open("wb")
    file = out.open("ab+")
    file.seek(0)
    return file


@attrs.define(kw_only=True)
class Pass(Job):
    """One pass, and what has come of it so far."""

    limiter: LocalLimiter
    answered: Answered = attrs.field(factory=Answered)
    file_size: int | None = None
    statuses: Counter[int] = attrs.field(factory=Counter)
    errors: Counter[Exit] = attrs.field(factory=Counter)

    def opens(self, ref: MessageRef) -> bool:
        """Whether an earlier run has left it out."""
        return self.answered.opens(ref)

    def outcomes_of(self, refs: AsyncGenerator[MessageRef, None]) -> OutcomeStream:
        """Check each once."""
        return self.client.stream(refs, detail=self.detail)

    def take_in(self, outcome: StatusRecord | FailedCheck) -> None:
        """Write an outcome, and count it."""
        self.sink.write(outcome)
        if isinstance(outcome, FailedCheck):
            self.errors[exit_of(outcome.error)] += 1
        else:
            self.statuses[outcome.status] += 1

    def show(self) -> None:
        """Move the meter."""
        stats = self.client.stats()
        note = f"{note_of(stats)} · {len(self.limiter.pacer)} ids remembered"
        self.meter.show(self.answered.skipped + self.done, self._total(), note)
        if self.done == self.errors[Exit.NETWORK]:
            expect_answers(stats, monotonic() - self.began_at)

    def _total(self) -> int | None:
        """How many messages there are; while not all are read, by what those that are took of the file."""
        source = self.messages
        if source.has_ended:
            return source.messages
        if not self.file_size or not source.messages:
            return None
        return max(source.messages, source.messages * self.file_size // source.bytes_used)

    @property
    def done(self) -> int:
        """How many messages have come out."""
        return self.statuses.total() + self.errors.total()

    def result(self) -> Exit:
        """The exit status: network, only if it let nothing through."""
        if self.errors.total() and self.errors[Exit.NETWORK] == self.done:
            return Exit.NETWORK
        return Exit.SOME_FAILED if self.errors or self.messages.bad_lines else Exit.DONE

    def summary(self) -> dict[str, Any]:
        """What was done, ready for JSON."""
        refusals = self.client.stats().refusals
        return {
            **super().summary(),
            "checked": self.statuses.total(),
            "failed": self.errors.total(),
            "resumed": self.answered.skipped,
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "refusals": {str(code): count for code, count in sorted(refusals.items())},
        }

    def summary_line(self) -> str:
        """What was done, to be read."""
        requests = self.client.stats().requests
        before = f", {self.answered.skipped} were before" if self.answered.skipped else ""
        return (
            f"{self.statuses.total()} checked, {self.errors.total()} failed, {self.messages.bad_lines} bad lines"
            f"{before}; {requests['single']} single and {requests['bulk']} bulk requests in {self.seconds:.1f} s"
        )
