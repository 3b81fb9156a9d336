"""What tests of reports need: rows, outcomes, files of results, and pages without the time that plots take."""

from __future__ import annotations

import io
import random
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import vl_convert

from smsc_status import Detail, FailedCheck, MessageRef, StatusRecord
from smsc_status._core.drafts import bind
from smsc_status.cli._output import OutputFormat, Sink
from smsc_status.emulator import World
from smsc_status.models import MOSCOW
from smsc_status.report import Table, write
from smsc_status.report._counting.figures import Figures
from smsc_status.report._counting.marks import marks_alone
from smsc_status.report._rows import Row

NOW = datetime(2026, 3, 12, 12, 0, tzinfo=UTC)
SENT = datetime(2026, 3, 10, 6, 0, tzinfo=UTC)
DAY = 86_400


def leave_out_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make plots empty, because drawing one takes as long as many tests. `test_report_plots.py` draws them."""
    monkeypatch.setattr(vl_convert, "vegalite_to_svg", lambda *_, **__: "<svg ></svg>")


Outcome = StatusRecord[Any] | FailedCheck[Any]


def row(status: int | None = 1, took: float = 10, **fields: Any) -> Row:
    """A row of a message that was sent at `SENT`, and whose status changed after so many seconds."""
    defaults: dict[str, Any] = {"id": 7, "phone": "79990000000", "sent_at": SENT}
    fields = defaults | fields
    fields.setdefault("changed_at", fields["sent_at"] and fields["sent_at"] + timedelta(seconds=took))
    return Row(status=status, **fields)


def figures_of(*rows: Row) -> Figures:
    """The figures of rows of different messages."""
    figures = Figures(zone=MOSCOW)
    for one in rows:
        figures.take(one, marks_alone(one))
    figures.finish()
    return figures


def record(id: int, status: int = 1, *, took: float = 10, phone: str = "79990000000", **fields: Any) -> StatusRecord:
    """An outcome as the client gives it, at the highest level of detail."""
    sent_at = int(fields.pop("sent_at", SENT).timestamp())
    values: dict[str, Any] = {
        "status": status,
        "err": 0,
        "flag": 0,
        "type": 0,
        "send_timestamp": sent_at,
        "last_timestamp": int(sent_at + took),
        "cost": Decimal("2.50"),
        "sender_id": "SHOP",
        "operator": "МТС",
    }
    made = StatusRecord(**values | fields)
    return bind(made, MessageRef(id, phone), NOW, MOSCOW)


def outcomes_of_a_world(count: int, *, days: int = 3, seed: int = 1) -> list[Outcome]:
    """Every kind of message, sent evenly over some days, as the emulator answers for them at two times each."""
    world, draw = World(seed), random.Random(seed)
    refs = world.populate(count, now=NOW.timestamp(), spread=days * DAY)
    outcomes: list[Outcome] = []
    for ref in refs:
        assert ref.sent_at is not None
        for after in (draw.uniform(0, 60), draw.uniform(600, 80_000)):
            at = ref.sent_at.timestamp() + after
            outcomes.append(bind(world.record(ref.id, ref.phone, at=at), ref, datetime.fromtimestamp(at, UTC), MOSCOW))
    return outcomes


def written(
    path: Path, outcomes: Iterable[Outcome], format: OutputFormat = OutputFormat.JSONL, detail: Detail = Detail.EXTENDED
) -> Path:
    """A file of these outcomes, as `fetch` and `track` write it."""
    with path.open("wb") as file:
        sink = Sink(file, format, detail)
        for outcome in outcomes:
            sink.write(outcome)
    return path


def html_of(results: Path | Sequence[Outcome] | Table, **options: Any) -> str:
    """The page of these results."""
    out = io.BytesIO()
    write(results, out, **{"now": NOW} | options)
    return out.getvalue().decode()


def not_expected(number: int, why: str) -> None:
    """Called for a line that can't be used."""
    raise AssertionError(f"line {number}: {why}")
