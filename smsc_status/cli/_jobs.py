"""What `fetch` and `track` have in common: the input, Ctrl-C, progress and the summary."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable
from contextlib import ExitStack, aclosing
from datetime import tzinfo
from io import BufferedIOBase
from pathlib import Path
from time import monotonic
from typing import Any, BinaryIO, cast

import anyio
import attrs

from smsc_status._operations.streaming import OutcomeStream
from smsc_status._operations.tracker import TrackStream
from smsc_status.cli._exits import Exit, exit_of, explained
from smsc_status.cli._files import STDIN, Columns, MessageFile, shown_name
from smsc_status.cli._meters import Meter, quarantine_note, ticking
from smsc_status.cli._output import Sink
from smsc_status.cli._reports import LineReporter
from smsc_status.client import StatusClient
from smsc_status.errors import ConfigError, SmscError
from smsc_status.models import Detail, FailedCheck, MessageRef, StatusRecord


@attrs.frozen
class Input:
    """A file of messages, and how to read it: see `MessageFile`."""

    file: str
    columns: Columns
    encoding: str | None
    zone: tzinfo

    def open(self, stack: ExitStack, say: Callable[[str], None]) -> tuple[MessageFile, LineReporter]:
        """Open the file and read its first line. The stack closes it.

        Returns the messages, and what reports bad lines to the user.

        Raises:
            ConfigError: the file has no messages in the expected form.
            OSError: the file can't be read.
        """
        # Standard input has `read1`, but its type BinaryIO does not.
        source = cast("BufferedIOBase", sys.stdin.buffer if self.file == STDIN else self._open_file(stack))
        reporter = LineReporter(say, shown_name(self.file))
        messages = MessageFile(source, self.columns, reporter, self.file, encoding=self.encoding, zone=self.zone)
        messages.open()
        return messages, reporter

    def _open_file(self, stack: ExitStack) -> BinaryIO:
        return stack.enter_context(Path(self.file).open("rb"))

    def require_other_file_than(self, out: Path) -> None:
        """Make sure that the input is not overwritten.

        Raises:
            ConfigError: `out` is the input.
        """
        if self.file != STDIN and out.exists() and out.samefile(self.file):
            raise ConfigError(f"--out {str(out)!r}: expected another file than the input")

    @property
    def size(self) -> int | None:
        """The size of the file in bytes; `None` for standard input."""
        return None if self.file == STDIN else Path(self.file).stat().st_size


@attrs.define(kw_only=True)
class Job(ABC):
    """One run over a file, and its counts so far."""

    client: StatusClient
    messages: MessageFile
    reporter: LineReporter
    sink: Sink
    meter: Meter
    detail: Detail
    ended_by: SmscError | None = None
    is_interrupted: bool = False
    began_at: float = attrs.field(factory=monotonic)
    seconds: float = 0.0
    _has_told_quarantine: bool = attrs.field(default=False, init=False)

    def carry_out(self) -> Exit:
        """Work to the end, or until Ctrl-C, and return the exit status. An error that ends the run is shown here."""
        try:
            with self.meter:
                anyio.run(self._run)
        except KeyboardInterrupt:
            self.is_interrupted = True
        self.reporter.sum_up()
        self.seconds = monotonic() - self.began_at
        return self.exit

    async def _run(self) -> None:
        try:
            async with self.client, aclosing(self._refs_to_check()) as refs, ticking(self._tick):
                async with self.outcomes_of(refs) as outcomes:
                    async for outcome in outcomes:
                        self.take_in(outcome)
                self.show()
        except SmscError as error:
            self.ended_by = error
            self.meter.say(explained(error))

    def _tick(self) -> None:
        quarantine_in = self.client.stats().quarantine_in
        if quarantine_in and not self._has_told_quarantine:
            self._has_told_quarantine = True
            self.meter.say(quarantine_note(quarantine_in))
        self.show()

    async def _refs_to_check(self) -> AsyncGenerator[MessageRef, None]:
        """The messages of the file that are to be checked."""
        async with aclosing(self.messages.read()) as refs:
            async for ref in refs:
                if self.should_check(ref):
                    yield ref
        self.reporter.sum_up()

    @abstractmethod
    def should_check(self, ref: MessageRef) -> bool:
        """Whether a message is to be checked. It is not if earlier runs have dealt with it."""

    @abstractmethod
    def outcomes_of(self, refs: AsyncGenerator[MessageRef, None]) -> OutcomeStream | TrackStream:
        """Check the messages."""

    @abstractmethod
    def take_in(self, outcome: StatusRecord | FailedCheck) -> None:
        """Write an outcome, and count it."""

    @abstractmethod
    def show(self) -> None:
        """Update the meter."""

    @property
    def exit(self) -> Exit:
        """The exit status."""
        if self.is_interrupted:
            return Exit.INTERRUPTED
        return self.result() if self.ended_by is None else exit_of(self.ended_by)

    @abstractmethod
    def result(self) -> Exit:
        """The exit status of a run that was not cut short."""

    def summary(self) -> dict[str, Any]:
        """What was done, ready for JSON."""
        return {
            "exit": int(self.exit),
            "bad_lines": self.messages.bad_lines,
            "requests": dict(self.client.stats().requests),
            "seconds": round(self.seconds, 3),
        }
