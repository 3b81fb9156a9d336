"""The command `fetch`: checks each message of a file once, and writes its outcome as soon as it comes."""

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
from smsc_status.cli._account import open_client, require_answers
from smsc_status.cli._exits import Exit, exit_of, print_on_stderr
from smsc_status.cli._jobs import Input, Job
from smsc_status.cli._journal import Answered, CsvRows, JsonRows, read_back
from smsc_status.cli._meters import meter_of, note_of
from smsc_status.cli._output import OutputFormat, Sink, columns, json_line, write_stdout
from smsc_status.cli._reports import LineReporter
from smsc_status.errors import ConfigError
from smsc_status.models import Detail, FailedCheck, Limits, MessageRef, StatusRecord


class Earlier(Enum):
    """What to do if the file for the outcomes has some already."""

    REFUSE = auto()
    OVERWRITE = auto()
    RESUME = auto()


@attrs.frozen
class Output:
    """Where the outcomes go, and how they are written.

    `out` is `None` for standard output. `guard` is as for `Sink`.
    """

    out: Path | None
    format: OutputFormat = OutputFormat.JSONL
    earlier: Earlier = Earlier.REFUSE
    guard: bool = True


def fetch_file(
    source: Input, output: Output, *, detail: Detail, limits: Limits, share: str | None, as_json: bool
) -> Exit:
    """Check the messages of a file, and write the outcomes. `limits` and `share` are as for `open_client`.

    Raises:
        ConfigError: the file has no messages in the expected form, there are no credentials, or `out` is the input or
            has outcomes already.
        OSError: a file can't be read or written.
    """
    out = output.out
    with ExitStack() as stack:
        meter = meter_of(outcomes_are_seen=out is None and sys.stdout.isatty())
        messages, reporter = source.open(stack, meter.say)
        if out is not None:
            source.require_other_file_than(out)
            _refuse_to_overwrite(out, output.earlier)
        client = open_client(limits, share)
        answered = Answered()
        target = sys.stdout.buffer if out is None else stack.enter_context(_opened(out, output.earlier))
        if out is not None and output.earlier is Earlier.RESUME:
            rows = JsonRows() if output.format is OutputFormat.JSONL else CsvRows(columns(detail))
            earlier_reporter = LineReporter(meter.say, str(out))
            read_back(target, str(out), rows, answered.take, earlier_reporter)
            earlier_reporter.sum_up()
        goes_on = out is not None and target.tell() > 0
        job = Fetching(
            client=client,
            messages=messages,
            reporter=reporter,
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
        print_on_stderr(job.summary_line())
    return status


def _refuse_to_overwrite(out: Path, earlier: Earlier) -> None:
    if earlier is Earlier.REFUSE and out.is_file() and out.stat().st_size:
        ways = "--resume checks only the messages that have no outcome in it, --overwrite replaces it"
        raise ConfigError(f"--out {str(out)!r}: the file exists: {ways}")


def _opened(out: Path, earlier: Earlier) -> BinaryIO:
    if earlier is not Earlier.RESUME:
        return out.open("wb")
    file = out.open("ab+")
    file.seek(0)
    return file


@attrs.define(kw_only=True)
class Fetching(Job):
    """One run of `fetch`, and its counts so far."""

    answered: Answered = attrs.field(factory=Answered)
    file_size: int | None = None
    statuses: Counter[int] = attrs.field(factory=Counter)
    errors: Counter[Exit] = attrs.field(factory=Counter)

    def should_check(self, ref: MessageRef) -> bool:
        """Whether the message has no outcome from an earlier run."""
        return self.answered.should_check(ref)

    def outcomes_of(self, refs: AsyncGenerator[MessageRef, None]) -> OutcomeStream:
        """Check each message once."""
        return self.client.stream(refs, detail=self.detail)

    def take_in(self, outcome: StatusRecord | FailedCheck) -> None:
        """Write an outcome, and count it."""
        self.sink.write(outcome)
        if isinstance(outcome, FailedCheck):
            self.errors[exit_of(outcome.error)] += 1
        else:
            self.statuses[outcome.status] += 1

    def show(self) -> None:
        """Update the meter."""
        stats = self.client.stats()
        self.meter.show(self.answered.skipped + self.done, self._total(), note_of(stats))
        if self.done == self.errors[Exit.NETWORK]:
            require_answers(stats, monotonic() - self.began_at)

    def _total(self) -> int | None:
        """How many messages there are. Until all are read, it is estimated from the bytes read; `None`: unknown."""
        source = self.messages
        if source.has_ended:
            return source.messages
        if not self.file_size or not source.messages:
            return None
        return max(source.messages, source.messages * self.file_size // source.bytes_used)

    @property
    def done(self) -> int:
        """How many outcomes this run has."""
        return self.statuses.total() + self.errors.total()

    def result(self) -> Exit:
        """The exit status. It is `NETWORK` only if the network let no message through."""
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
        """What was done, for people."""
        requests = self.client.stats().requests
        before = f", {self.answered.skipped} were before" if self.answered.skipped else ""
        return (
            f"{self.statuses.total()} checked, {self.errors.total()} failed, {self.messages.bad_lines} bad lines"
            f"{before}; {requests['single']} single and {requests['bulk']} bulk requests in {self.seconds:.1f} s"
        )
