"""What the commands that work through a file have in common: the input, Ctrl-C, progress and the summary."""

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
from smsc_status.cli._meters import Meter, ticking
from smsc_status.cli._output import Sink
from smsc_status.cli._reports import Complaints
from smsc_status.client import StatusClient
from smsc_status.errors import ConfigError, SmscError
from smsc_status.models import Detail, FailedCheck, MessageRef, StatusRecord


@attrs.frozen
class Input:
    """A file of messages, and how it is read: see `MessageFile`."""

    file: str
    columns: Columns
    encoding: str | None
    zone: tzinfo

    def open(self, stack: ExitStack, say: Callable[[str], None]) -> tuple[MessageFile, Complaints]:
        """The messages, as far as the first line, and what is said of bad lines; closed with the stack.

        Raises:
            ConfigError: the file has no messages of that form.
            OSError: it can't be read.
        """
        # Standard input can `read1`, which BinaryIO does not say.
        source = cast("BufferedIOBase", sys.stdin.buffer if self.file == STDIN else self._open_file(stack))
        complaints = Complaints(say, shown_name(self.file))
        messages = MessageFile(source, self.columns, complaints, self.file, encoding=self.encoding, zone=self.zone)
        messages.open()
        return messages, complaints

    def _open_file(self, stack: ExitStack) -> BinaryIO:
        return stack.enter_context(Path(self.file).open("rb"))

    def see_that_it_is_not(self, out: Path) -> None:
        """The input is never written over.

        Raises:
            ConfigError: `out` is the input.
        """
        if self.file != STDIN and out.exists() and out.samefile(self.file):
            raise ConfigError(f"--out {str(out)!r}: expected another file than the input")

    @property
    def size(self) -> int | None:
        """Its bytes, where it is a file."""
        return None if self.file == STDIN else Path(self.file).stat().st_size


@attrs.define(kw_only=True)
class Job(ABC):
    """One run over a file, and what has come of it so far."""

    client: StatusClient
    messages: MessageFile
    complaints: Complaints
    sink: Sink
    meter: Meter
    detail: Detail
    ended_by: SmscError | None = None
    is_interrupted: bool = False
    began_at: float = attrs.field(factory=monotonic)
    seconds: float = 0.0

    def carry_out(self) -> Exit:
        """Work to the end, or to Ctrl-C; the exit status. An error that concerns the whole account is told here."""
        try:
            with self.meter:
                anyio.run(self._run)
        except KeyboardInterrupt:
            self.is_interrupted = True
        self.complaints.sum_up()
        self.seconds = monotonic() - self.began_at
        return self.exit

    async def _run(self) -> None:
        try:
            async with self.client, aclosing(self._open_ones()) as refs, ticking(self.show):
                async with self.outcomes_of(refs) as outcomes:
                    async for outcome in outcomes:
                        self.take_in(outcome)
                self.show()
        except SmscError as error:
            self.ended_by = error
            self.meter.say(explained(error))

    async def _open_ones(self) -> AsyncGenerator[MessageRef, None]:
        """The messages of the file that are to be asked for."""
        async with aclosing(self.messages.read()) as refs:
            async for ref in refs:
                if self.opens(ref):
                    yield ref
        self.complaints.sum_up()

    @abstractmethod
    def opens(self, ref: MessageRef) -> bool:
        """Whether a message is to be asked for: earlier runs may have seen to it."""

    @abstractmethod
    def outcomes_of(self, refs: AsyncGenerator[MessageRef, None]) -> OutcomeStream | TrackStream:
        """Ask for them."""

    @abstractmethod
    def take_in(self, outcome: StatusRecord | FailedCheck) -> None:
        """Write an outcome, and count it."""

    @abstractmethod
    def show(self) -> None:
        """Move the meter."""

    @property
    def exit(self) -> Exit:
        """The exit status."""
        if self.is_interrupted:
            return Exit.INTERRUPTED
        return self.result() if self.ended_by is None else exit_of(self.ended_by)

    @abstractmethod
    def result(self) -> Exit:
        """The exit status of a run that came to its end."""

    def summary(self) -> dict[str, Any]:
        """What was done, ready for JSON."""
        return {
            "exit": int(self.exit),
            "bad_lines": self.messages.bad_lines,
            "requests": dict(self.client.stats().requests),
            "seconds": round(self.seconds, 3),
        }
