"""The demo: the real client against an emulator at a raised speed, over a real socket."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from time import monotonic
from typing import Any

import anyio
import attrs
from rich.console import Console
from rich.table import Table

from smsc_status._loops import now
from smsc_status.cli._demo_messages import CHECKS_OF_WATCHED, DemoMessages, RecordingWorld, add_demo_messages
from smsc_status.cli._exits import Exit, print_on_stderr
from smsc_status.cli._meters import Live, Meter, Plain, note_of, ticking
from smsc_status.client import StatusClient
from smsc_status.codes import is_final, status_title
from smsc_status.emulator import Emulator, EmulatorServer, Referee
from smsc_status.errors import SmscError
from smsc_status.limiter import LocalLimiter
from smsc_status.models import Detail, FailedCheck, Limits, MessageRef, StatusRecord, id_key

APIKEY = "demo-key"
MINUTE = 60.0
LONGEST_LATENCY = 0.1
EMULATED_LATENCY = 6.0
LEAST_MARGIN = 0.05
LEAST_BULK = 30
BULKS = 10
"""Bulk requests are so small that it takes this many for all messages: then the bulk slot is seen to come and go."""


def scaled_limits(speed: float, count: int) -> Limits:
    """The vendor's limits where a minute passes `speed` times as fast."""
    margin = max(LEAST_MARGIN, 1.0 / speed)
    return Limits(period=MINUTE / speed, margin=margin, max_bulk=max(LEAST_BULK, count // BULKS))


@attrs.define
class Demo:
    """One run: makes the checks and counts their outcomes."""

    world: RecordingWorld
    demo_messages: DemoMessages
    client: StatusClient
    limiter: LocalLimiter
    meter: Meter
    statuses: Counter[int] = attrs.field(factory=Counter)
    channels: Counter[str] = attrs.field(factory=Counter)
    checks: int = 0
    failed: int = 0
    wrong: int = 0
    most_held_back: int = 0
    seconds: float = 0.0
    outcomes: list[StatusRecord | FailedCheck] = attrs.field(factory=list)

    async def run(self) -> None:
        """Check every message once, and meanwhile some of them over and over."""
        began_at = monotonic()
        async with self.client, ticking(self._show):
            async with anyio.create_task_group() as group:
                for ref in self.demo_messages.watched:
                    group.start_soon(self._watch, ref)
                async with self.client.stream(self.demo_messages.messages, detail=Detail.EXTENDED) as outcomes:
                    async for outcome in outcomes:
                        self._take_in(outcome)
            self._show()
        self.seconds = monotonic() - began_at

    async def _watch(self, ref: MessageRef) -> None:
        """Check one message far more often than the limits of its id allow, so that the checks have to wait."""
        for _ in range(CHECKS_OF_WATCHED):
            try:
                self._look_at(await self.client.check(ref.id, ref.phone))
            except SmscError:
                self.failed += 1
            self.checks += 1

    def _take_in(self, outcome: StatusRecord | FailedCheck) -> None:
        self.checks += 1
        self.outcomes.append(outcome)
        if isinstance(outcome, FailedCheck):
            self.failed += 1
            return
        self.statuses[outcome.status] += 1
        self.channels[outcome.channel.value] += 1
        self._look_at(outcome)

    def _look_at(self, record: StatusRecord) -> None:
        if not self.world.has_given(record):
            self.wrong += 1

    def _show(self) -> None:
        pacer, instant = self.limiter.pacer, now()
        held = sum(not pacer.tokens(id_key(ref.id), now=instant) for ref in self.demo_messages.watched)
        self.most_held_back = max(self.most_held_back, held)
        note = f"{note_of(self.client.stats())} · {held} ids held back, {len(pacer)} remembered"
        self.meter.show(self.checks, self.demo_messages.checks, note)


Write = Callable[[Collection[StatusRecord | FailedCheck]], object]


def writer_of(path: Path, language: str) -> Write:
    """What writes a report of the demo's outcomes to this file. It is made first: a missing package is said at once.

    Raises:
        ConfigError: a package of the extra `report` is not installed.
    """
    from smsc_status import report  # noqa: PLC0415 (Jinja, Babel and the plots are an extra)

    def write(outcomes: Collection[StatusRecord | FailedCheck]) -> None:
        report.write(outcomes, path, language=language)
        print_on_stderr(f"a report of the messages was written to {path}")

    return write


def demonstrate(messages: int, speed: float, seed: int, write: Write | None = None) -> dict[str, Any]:
    """Run the demo, and return what it did, ready for JSON. `write` is given its outcomes.

    Raises:
        ConfigError: the speed is not above 0.
    """
    world = RecordingWorld(seed)
    emulator = Emulator(world, seed=seed, speed=speed, apikey=APIKEY)
    emulator.latency = min(LONGEST_LATENCY, EMULATED_LATENCY / speed)
    limits = scaled_limits(speed, messages)
    limiter = LocalLimiter(limits)
    demo_messages = add_demo_messages(emulator, messages)
    with EmulatorServer(emulator) as server, Live() if sys.stderr.isatty() else Plain() as meter:
        client = StatusClient(apikey=APIKEY, base_url=server.url, limiter=limiter)
        demo = Demo(world, demo_messages, client, limiter, meter)
        anyio.run(demo.run)
    if write is not None:
        write(demo.outcomes)
    return _report(demo, emulator.referee)


def _report(demo: Demo, referee: Referee) -> dict[str, Any]:
    is_good = referee.no_violations and not demo.failed and not demo.wrong
    return {
        "exit": int(Exit.DONE if is_good else Exit.SOME_FAILED),
        "messages": demo.statuses.total(),
        "checks": demo.checks,
        "failed": demo.failed,
        "wrong": demo.wrong,
        "statuses": {str(status): count for status, count in sorted(demo.statuses.items())},
        "channels": dict(demo.channels.most_common()),
        "requests": {kind.value: count for kind, count in referee.requests.items()},
        "refused": referee.refusals.total(),
        "limits_kept": referee.no_violations,
        "peaks": {
            "checks_per_id": [referee.peak_checks_per_id, referee.checks_per_id],
            "bulk_requests": [referee.peak_bulk, referee.bulk_requests],
            "connections": [referee.peak_open, referee.connections],
        },
        "most_ids_held_back": demo.most_held_back,
        "seconds": round(demo.seconds, 3),
    }


def show(report: dict[str, Any]) -> None:
    """Print the report on standard output, for people."""
    table = Table("status", "", "", "messages", title="Outcomes by status")
    for code, count in report["statuses"].items():
        title = status_title(int(code))
        texts = (title.en, title.ru) if title is not None else ("unknown", "")
        table.add_row(code, *texts, str(count), style=None if is_final(int(code)) else "dim")
    channels = ", ".join(f"{count} {name}" for name, count in report["channels"].items())
    console = Console(highlight=False)
    console.print(table)
    console.print(f"Channels: {channels}.", soft_wrap=True)
    console.print(verdict(report), soft_wrap=True)


def verdict(report: dict[str, Any]) -> str:
    """One line: what was sent, whether a limit was broken, and whether the answers are true."""
    requests, peaks = report["requests"], report["peaks"]
    sent = f"{requests.get('single', 0)} single and {requests.get('bulk', 0)} bulk requests"
    kept = "no limit was broken" if report["limits_kept"] else "A LIMIT WAS BROKEN"
    most = (
        "{checks_per_id[0]} of {checks_per_id[1]} for an id, {bulk_requests[0]} of {bulk_requests[1]} bulk".format_map(
            peaks
        )
    )
    open_ = "{connections[0]} of {connections[1]} open".format_map(peaks)
    true = report["checks"] - report["failed"] - report["wrong"]
    return (
        f"Sent {sent} for {report['checks']} checks in {report['seconds']:.1f} s, {report['refused']} refused; "
        f"{kept} (at most {most}, {open_}); "
        f"{true} of {report['checks']} statuses are what the emulator held."
    )
