"""One pass over a file of messages: each is checked once, and written as its answer comes."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import ExitStack, aclosing
from io import BufferedIOBase
from pathlib import Path
from time import monotonic
from typing import Any, BinaryIO, cast

import anyio
import attrs

from smsc_status.cli.account import expect_answers, open_client
from smsc_status.cli.exits import Exit, complain, exit_of, explained, printable
from smsc_status.cli.files import Columns, MessageFile
from smsc_status.cli.meters import Live, Meter, Quiet, note_of, ticking
from smsc_status.cli.output import OutputFormat, Sink, json_line, write_stdout
from smsc_status.client import StatusClient
from smsc_status.errors import ConfigError, SmscError
from smsc_status.limiter import LocalLimiter
from smsc_status.models import Detail, FailedCheck, Limits, StatusRecord

STDIN = "-"


def fetch_file(
    file: str,
    out: Path | None,
    *,
    format: OutputFormat,
    detail: Detail,
    columns: Columns,
    limits: Limits,
    as_json: bool,
) -> Exit:
    """Check the messages of a file (`-`: standard input), and write the outcomes to `out` or standard output.

    Raises:
        ConfigError: the file has no messages of that form, there are no credentials, or `out` is `file`.
        OSError: a file can't be read or written.
    """
    with ExitStack() as stack:
        source = _stdin() if file == STDIN else stack.enter_context(Path(file).open("rb"))
        # A bar among the outcomes would spoil both.
        is_seen = sys.stderr.isatty() and not (out is None and sys.stdout.isatty())
        meter = Live() if is_seen else Quiet()
        messages = MessageFile(source, columns, lambda number, why: meter.say(printable(f"line {number}: {why}")), file)
        messages.open()
        client, limiter = open_client(limits)
        target = sys.stdout.buffer if out is None else stack.enter_context(_new_file(out, file))
        one_pass = Pass(client, limiter, messages, Sink(target, format, detail), meter, detail, _size(file))
        with meter:
            status = anyio.run(one_pass.run)
    if as_json:
        summary = json_line(one_pass.summary())
        write_stdout(summary) if out is not None else sys.stderr.write(summary.decode())
    elif status != Exit.DONE or sys.stderr.isatty():
        complain(one_pass.summary_line())
    return status


def _stdin() -> BufferedIOBase:
    return cast("BufferedIOBase", sys.stdin.buffer)  # it can `read1`, which BinaryIO does not say


def _new_file(out: Path, file: str) -> BinaryIO:
    if file != STDIN and out.exists() and out.samefile(file):
        raise ConfigError(f"--out {str(out)!r}: expected another file than the input")
    return out.open("wb")


def _size(file: str) -> int | None:
    return None if file == STDIN else Path(file).stat().st_size


@attrs.define
class Pass:
    """One pass, and what has come of it so far."""

    client: StatusClient
    limiter: LocalLimiter
    messages: MessageFile
    sink: Sink
    meter: Meter
    detail: Detail
    file_size: int | None = None
    statuses: Counter[int] = attrs.field(factory=Counter)
    errors: Counter[Exit] = attrs.field(factory=Counter)
    ended_by: SmscError | None = None
    began_at: float = attrs.field(factory=monotonic)
    seconds: float = 0.0

    async def run(self) -> Exit:
        """Check and write; the exit status. An error that concerns the whole account is reported here."""
        try:
            await self._check_all()
        except SmscError as error:
            self.ended_by = error
            self.meter.say(explained(error))
        self.seconds = monotonic() - self.began_at
        return self.exit

    async def _check_all(self) -> None:
        async with self.client, aclosing(self.messages.read()) as refs, ticking(self._show):
            async with self.client.stream(refs, detail=self.detail) as outcomes:
                async for outcome in outcomes:
                    self.sink.write(outcome)
                    self._count(outcome)
            self._show()

    def _count(self, outcome: StatusRecord | FailedCheck) -> None:
        if isinstance(outcome, FailedCheck):
            self.errors[exit_of(outcome.error)] += 1
        else:
            self.statuses[outcome.status] += 1

    def _show(self) -> None:
        stats = self.client.stats()
        note = note_of(stats, f"{len(self.limiter.pacer)} ids remembered")
        self.meter.show(self.done, self._total(), note)
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

    @property
    def exit(self) -> Exit:
        """The exit status: network, only if it let nothing through."""
        if self.ended_by is not None:
            return exit_of(self.ended_by)
        if self.errors.total() and self.errors[Exit.NETWORK] == self.done:
            return Exit.NETWORK
        return Exit.SOME_FAILED if self.errors or self.messages.bad_lines else Exit.DONE

    def summary(self) -> dict[str, Any]:
        """What was done, ready for JSON."""
        stats = self.client.stats()
        return {
            "exit": int(self.exit),
            "checked": self.statuses.total(),
            "failed": self.errors.total(),
            "bad_lines": self.messages.bad_lines,
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "requests": dict(stats.requests),
            "refusals": {str(code): count for code, count in sorted(stats.refusals.items())},
            "seconds": round(self.seconds, 3),
        }

    def summary_line(self) -> str:
        """What was done, to be read."""
        requests = self.client.stats().requests
        return (
            f"{self.statuses.total()} checked, {self.errors.total()} failed, {self.messages.bad_lines} bad lines; "
            f"{requests['single']} single and {requests['bulk']} bulk requests in {self.seconds:.1f} s"
        )
