"""What a report of a million rows costs: the time and the memory, from a file of `fetch`, of `track`, and from a table.

`python -m benchmarks.report [ROWS]`. It needs `pip install 'smsc-status[dev]'` and two gigabytes in the folder for
temporary files.

Each report is made in a process of its own. The memory is the largest that this process ever had.
"""

from __future__ import annotations

import io
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
import sqlalchemy as sa

from smsc_status import Detail, StatusRecord
from smsc_status._core.drafts import bind
from smsc_status.cli._output import OutputFormat, Sink
from smsc_status.emulator import World
from smsc_status.models import MOSCOW

SENT_BEFORE = datetime(2026, 3, 10, 6, 0, tzinfo=UTC)
DAYS = 14
KINDS = 5_000
"""So many different records are written again and again, with other ids."""


def records() -> Iterator[StatusRecord]:
    """Records of every kind, at the highest level of detail, whose messages were sent over two weeks."""
    world, draw = World(1), random.Random(1)
    for ref in world.populate(KINDS, now=SENT_BEFORE.timestamp(), spread=DAYS * 86_400.0):
        assert ref.sent_at is not None
        at = ref.sent_at + timedelta(seconds=draw.choice((1.0, 3600.0, 80_000.0)))
        yield bind(world.record(ref.id, ref.phone, at=at.timestamp()), ref, at, MOSCOW)


def lines(format: OutputFormat) -> list[bytes]:
    """The records as the command line writes them: the parts of each line before and after its id."""
    out = io.BytesIO()
    sink = Sink(out, format, Detail.EXTENDED)
    for record in records():
        sink.write(record)
    return out.getvalue().splitlines(keepends=True)


def write_json(path: Path, rows: int, each: int) -> None:
    """JSON lines, in which each message has this many records."""
    rests = [line.partition(b", ")[2] for line in lines(OutputFormat.JSONL)]
    with path.open("wb") as file:
        for number in range(rows):
            message = number % (rows // each)
            file.write(b'{"id": %d, %s' % (message, rests[message % KINDS]))


def write_csv(path: Path, rows: int) -> None:
    """CSV, in which each message has one record."""
    header, *rest = lines(OutputFormat.CSV)
    rests = [line.partition(b",")[2] for line in rest]
    with path.open("wb") as file:
        file.write(header)
        for number in range(rows):
            file.write(b"%d,%s" % (number, rests[number % KINDS]))


def write_table(path: Path, rows: int) -> None:
    """A table of SQLite."""
    fields = "id", "phone", "sent_at", "status", "err", "changed_at", "cost", "operator", "sender_id", "type"
    kinds = [json.loads(line) for line in lines(OutputFormat.JSONL)]
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        columns = ", ".join(["id integer primary key", *fields[1:], "outcome", "checked_at"])
        connection.execute(sa.text(f"create table messages ({columns})"))
        values = ({name: kinds[id % KINDS].get(name) for name in fields} | {"id": id} for id in range(rows))
        names = ", ".join(fields)
        statement = sa.text(f"insert into messages ({names}) values ({', '.join(f':{name}' for name in fields)})")  # noqa: S608  # our own names
        while batch := [row for _, row in zip(range(10_000), values, strict=False)]:
            connection.execute(statement, batch)
    engine.dispose()


@attrs.frozen
class Case:
    """A source of rows: what it is, how it is written, and what the process is told."""

    name: str
    write: Callable[[Path, int], None]
    is_table: bool = False


CASES = (
    Case("fetch, JSON lines", lambda path, rows: write_json(path, rows, 1)),
    Case("fetch, CSV", write_csv),
    Case("track, JSON lines, two records of each message", lambda path, rows: write_json(path, rows, 2)),
    Case("a table of SQLite", write_table, is_table=True),
)


@attrs.frozen
class Cost:
    """Seconds, seconds of the processor, bytes of memory, and how many messages and look-ups the report counted."""

    seconds: float
    cpu: float
    memory: int
    counted: int


def report_of(source: Path, out: Path, *, is_table: bool) -> Cost:
    """What the report of this source costs, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.report", "--one", str(source), str(out), str(int(is_table))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 (this very program)
    return Cost(**json.loads(done.stdout))


def one(source: str, out: str, is_table: str) -> None:
    """In that process: make the report, and print what it cost."""
    began_at = time.perf_counter()
    from smsc_status import report  # noqa: PLC0415 (its time counts, too)
    from smsc_status.tables import Columns  # noqa: PLC0415 (likewise)

    columns = Columns.of({"sender_id": "sender_id", "type": "type"})
    table = report.Table(f"sqlite:///{source}", table="messages", columns=columns) if is_table == "1" else None
    summary = report.write(table or source, out)
    seconds = time.perf_counter() - began_at
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    counted = summary.messages + summary.look_ups
    print(json.dumps({"seconds": seconds, "cpu": time.process_time(), "memory": memory, "counted": counted}))


def main(rows: int = 1_000_000) -> None:
    """Print a table: the time and the memory for each source."""
    print(f"{'a report of ' + format(rows, ',') + ' rows':48} {'seconds':>8} {'CPU':>6} {'MB':>6} {'kB of HTML':>11}")
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            source, out = Path(folder) / "results", Path(folder) / "report.html"
            case.write(source, rows)
            cost = report_of(source, out, is_table=case.is_table)
            assert cost.counted == (rows // 2 if "two records" in case.name else rows)
            size = os.path.getsize(out) / 1e3
            print(
                f"{case.name:48} {cost.seconds:8.1f} {cost.cpu:6.1f} {cost.memory / 1e6:6.0f} {size:11.0f}", flush=True
            )
            source.unlink()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one(*sys.argv[2:])
    else:
        main(*map(int, sys.argv[1:]))
