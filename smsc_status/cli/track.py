"""Messages of a file followed to their end; the results are their own journal."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import ExitStack, aclosing
from pathlib import Path
from time import monotonic
from typing import Any, BinaryIO

import anyio
import attrs

from smsc_status.cli.account import open_client
from smsc_status.cli.exits import Exit, complain, exit_of, explained, printable
from smsc_status.cli.fetch import STDIN
from smsc_status.cli.files import Columns, MessageFile
from smsc_status.cli.meters import Live, Meter, Quiet, note_of, ticking
from smsc_status.cli.output import OutputFormat, Sink, json_line, write_stdout
from smsc_status.client import StatusClient
from smsc_status.errors import ConfigError, SmscError
from smsc_status.models import Detail, FailedCheck, Identity, Limits, MessageRef, StatusRecord

Seen = tuple[int, int | None]

ENDED: Seen = (-1, -1)
"""What the journal remembers of a message that is done; the same object for all of them."""


class Journal:
    """What earlier runs have written: for each message its last status and error, or that it is done.

    A last line that is not whole is cut off.

    Raises:
        ConfigError: a line is none of ours.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.last: dict[Identity, Seen] = {}
        whole = 0
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                break
            try:
                row = json.loads(line)
                identity = MessageRef(row["id"], row["phone"]).identity
                is_done = "error" in row or bool(row["is_final"])
                self.last[identity] = ENDED if is_done else (row["status"], row["err"])
            except (ValueError, TypeError, LookupError):
                raise ConfigError(f"--out {name!r}, line {number}: expected the results of an earlier run") from None
            whole += len(line)
        file.truncate(whole)
        file.seek(0, os.SEEK_END)

    def is_done(self, ref: MessageRef) -> bool:
        """Whether nothing more will come of it."""
        return self.last.get(ref.identity) is ENDED

    def takes(self, outcome: StatusRecord | FailedCheck) -> bool:
        """Note an outcome; whether it says anything new."""
        identity = outcome.ref.identity
        if isinstance(outcome, FailedCheck):
            self.last[identity] = ENDED
            return True
        seen = outcome.status, outcome.err
        is_new = self.last.get(identity) != seen
        self.last[identity] = ENDED if outcome.is_final else seen
        return is_new


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
        meter = Live() if sys.stderr.isatty() else Quiet()
        messages = MessageFile(source, columns, lambda number, why: meter.say(printable(f"line {number}: {why}")), file)
        messages.open()
        client, _ = open_client(limits)
        target = stack.enter_context(out.open("ab+"))
        target.seek(0)
        job = Job(client, messages, Journal(target, str(out)), Sink(target, OutputFormat.JSONL, detail), meter, detail)
        job.eagerness = eagerness
        with meter:
            status = anyio.run(job.run)
    if as_json:
        write_stdout(json_line(job.summary()))
    else:
        complain(job.summary_line())
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
    eagerness: float = 0.5
    resumed: int = 0
    delivered: int = 0
    ends: Counter[str] = attrs.field(factory=Counter)
    failed: int = 0
    ended_by: SmscError | None = None
    began_at: float = attrs.field(factory=monotonic)

    async def run(self) -> Exit:
        """Follow and write; the exit status. An error that concerns the whole account is reported here."""
        try:
            async with self.client, aclosing(self._open_ones()) as refs, ticking(self._show):
                async with self.client.track(refs, detail=self.detail, eagerness=self.eagerness) as outcomes:
                    async for outcome in outcomes:
                        self._take_in(outcome)
                self._show()
        except SmscError as error:
            self.ended_by = error
            self.meter.say(explained(error))
        return self.exit

    async def _open_ones(self) -> AsyncGenerator[MessageRef, None]:
        """The messages of the file that are not done, each once."""
        put_in: set[Identity] = set()
        async with aclosing(self.messages.read()) as refs:
            async for ref in refs:
                if ref.identity in put_in:
                    continue
                put_in.add(ref.identity)
                if self.journal.is_done(ref):
                    self.resumed += 1
                else:
                    yield ref

    def _take_in(self, outcome: StatusRecord | FailedCheck) -> None:
        if self.journal.takes(outcome):
            self.sink.write(outcome)
        if isinstance(outcome, FailedCheck):
            self.failed += 1
            self.ends[type(outcome.error).__name__] += 1
        elif outcome.is_final:
            self.delivered += outcome.is_delivered
            self.ends[outcome.status_title.en if outcome.status_title else str(outcome.status)] += 1

    def _show(self) -> None:
        stats = self.client.stats()
        minutes = (monotonic() - self.began_at) / 60
        done = self.ends.total()
        note = (
            f"{self.delivered} delivered, {self.delivered / minutes:.0f} a minute · {done - self.delivered} others · "
            f"stalest answer {stats.stalest:.0f} s"
        )
        total = self.messages.messages if self.messages.has_ended else None
        self.meter.show(self.resumed + done, total, note_of(stats, note))

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
            "resumed": self.resumed,
            "failed": self.failed,
            "bad_lines": self.messages.bad_lines,
            "outcomes": dict(self.ends.most_common()),
            "seconds": round(monotonic() - self.began_at, 3),
        }

    def summary_line(self) -> str:
        """What was done, to be read."""
        outcomes = ", ".join(f"{count} {name}" for name, count in self.ends.most_common()) or "nothing new"
        return f"{outcomes}; {self.resumed} were done before, {self.messages.bad_lines} bad lines"
