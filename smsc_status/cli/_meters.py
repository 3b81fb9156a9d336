"""Shows on standard error how far a command is: a live bar on a terminal, plain lines, or nothing."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from time import monotonic
from typing import Protocol, Self

import anyio
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Column

from smsc_status._texts import one_line
from smsc_status.cli._exits import PROGRAM, print_on_stderr
from smsc_status.client import Stats

TICK = 0.1
PLAIN_EVERY = 0.7
TOLD_EVERY = 60.0
"""The seconds between two lines of progress if standard error is not a terminal."""


class Meter(AbstractContextManager["Meter"], Protocol):
    """Shows how far a command is, while its `with` block runs."""

    def show(self, done: int, total: int | None, note: str) -> None:
        """Show how many are done, of how many (`None` if not known), and a note."""

    def say(self, text: str) -> None:
        """Show a line to the user, apart from the progress."""


class Quiet:
    """Shows no progress."""

    def show(self, done: int, total: int | None, note: str) -> None:
        """Show nothing."""

    def say(self, text: str) -> None:
        """Write a line on standard error."""
        print_on_stderr(text)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass


class Plain(Quiet):
    """Writes a line of progress now and then.

    Args:
        every: seconds between two lines, and from the start to the first line.
    """

    def __init__(self, every: float = PLAIN_EVERY) -> None:
        self._every = every
        self._next_at = monotonic() + every

    def show(self, done: int, total: int | None, note: str) -> None:
        """Write a line, unless the last one was written less than `every` seconds ago."""
        if monotonic() >= self._next_at:
            self._next_at = monotonic() + self._every
            self.say(f"{done} of {'?' if total is None else total} · {note}")


class Live(Quiet):
    """Shows a progress bar."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._progress = Progress(
            SpinnerColumn(),
            BarColumn(24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            # On a narrow terminal the note is cut, not the count and the time.
            TextColumn("{task.description}", markup=False, table_column=Column(ratio=1, no_wrap=True)),
            console=self._console,
            expand=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._progress.add_task("", total=None)

    def show(self, done: int, total: int | None, note: str) -> None:
        """Update the bar."""
        self._progress.update(self._task, completed=done, total=total, description=one_line(note, None))

    def say(self, text: str) -> None:
        """Show a line above the bar."""
        self._console.print(f"{PROGRAM}: {one_line(text, None)}", markup=False, highlight=False, soft_wrap=True)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._progress.stop()


def meter_of(*, outcomes_are_seen: bool = False) -> Meter:
    """The meter for a command that may take long.

    There is no bar if outcomes are written on the same terminal (`outcomes_are_seen`): it would garble both.
    """
    if not sys.stderr.isatty():
        return Plain(TOLD_EVERY)
    return Quiet() if outcomes_are_seen else Live()


def note_of(stats: Stats) -> str:
    """A note on the limits, on what waits for them, and on how many processes share them."""
    bulk = "bulk slot free" if not stats.bulk_slot_in else f"bulk slot in {stats.bulk_slot_in:.1f} s"
    processes = f" · {stats.processes} processes" if stats.processes > 1 else ""
    return f"{bulk} · {stats.open_requests} open · {stats.waiting} waiting{processes}"


def quarantine_note(quarantine_in: float) -> str:
    """Why nothing is sent for so many seconds."""
    return (
        f"nothing is sent for {quarantine_in:.0f} s: the log that the account's processes share is new, and may "
        "lack the last requests"
    )


class Pace:
    """How fast a count has grown lately.

    Args:
        window: how many seconds back "lately" reaches.
    """

    def __init__(self, window: float = 300.0) -> None:
        self._window = window
        self._counts: deque[tuple[float, int]] = deque()

    def seen(self, count: int, *, now: float) -> None:
        """Take note of the present count. At most one count a second is kept."""
        counts = self._counts
        if not counts or now >= counts[-1][0] + 1.0:
            counts.append((now, count))
        while counts[0][0] < now - self._window:
            counts.popleft()

    @property
    def a_second(self) -> float:
        """By how much the count has grown in a second, on average; 0.0 while there are too few counts to tell."""
        (began_at, before), (now, count) = self._counts[0], self._counts[-1]
        return (count - before) / (now - began_at) if now > began_at else 0.0


@asynccontextmanager
async def ticking(tick: Callable[[], None]) -> AsyncGenerator[None, None]:
    """Call `tick` ten times a second while the block runs. An error is raised as itself, not in an exception group."""
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(_tick_on, tick)
            yield
            group.cancel_scope.cancel()
    except BaseExceptionGroup as errors:
        raise _first(errors) from None


async def _tick_on(tick: Callable[[], None]) -> None:
    while True:
        tick()
        await anyio.sleep(TICK)


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
