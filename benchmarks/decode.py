"""The time from the bytes of a bulk reply to records that belong to the caller's messages, beside other libraries.

`python -m benchmarks.decode [RECORDS [ROUNDS]]`

Each way to read a reply is run once in each round, in turn. The figures are medians of CPU time, with the time of the
collector of cyclic garbage. The ways named "alone", and expat without a handler, only parse. The other ways also make
records of the same fields, but only this library matches them to messages and handles what the vendor is known to send
beyond its page.
"""

from __future__ import annotations

import csv
import gc
import json
import random
import sys
import tracemalloc
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from statistics import median
from time import process_time
from typing import Any
from xml.etree import ElementTree as ET
from xml.parsers import expat

import attrs
import cattrs
import msgspec
import orjson
import pydantic
from lxml import etree as lxml_etree  # type: ignore[import-untyped]  # it has no types

from smsc_status import Detail, Format, MessageRef, StatusRecord
from smsc_status._core.drafts import bind
from smsc_status._core.wire import codecs, protocol
from smsc_status._core.wire.protocol import Wire
from smsc_status.emulator._world import World
from smsc_status.models import MOSCOW, Identity

SEED = 1
SENT_AT = datetime(2026, 3, 10, 6, 0, tzinfo=UTC).timestamp()
NAMES = ("Анна Иванова", "Борис Ёлкин", "Gulnara Saidova", "Виктор", "Дарья Щербакова-Ким", "Евгений О.")

OURS = "smsc_status"

Way = Callable[[], object]


@attrs.frozen(slots=True, kw_only=True)
class Record:
    """A record as a program without this library would define it."""

    status: int
    last_date: str | None = None
    last_timestamp: int | None = None
    flag: int | None = None
    err: int | None = None
    send_date: str | None = None
    send_timestamp: int | None = None
    phone: str | None = None
    cost: str | None = None
    sender_id: str | None = None
    status_name: str | None = None
    message: str | None = None
    comment: str | None = None
    mccmnc: str | None = None
    country: str | None = None
    operator: str | None = None
    operator_orig: str | None = None
    region: str | None = None
    type: int | None = None
    sms_cnt: int | None = None
    id: int | str | None = None


INTS = {field.name for field in attrs.fields(Record) if "int" in str(field.type)} - {"id"}
FIELDS: dict[str, Any] = {
    field.name: (field.type, ... if field.default is attrs.NOTHING else None) for field in attrs.fields(Record)
}
Model = pydantic.create_model("Model", **FIELDS)
MODELS: Any = pydantic.TypeAdapter(list[Model])  # type: ignore[valid-type]  # made at run time
RECORDS = msgspec.json.Decoder(list[Record])
CONVERTER = cattrs.Converter()
CONVERTER.register_structure_hook(int | str | None, lambda value, _: value)


@attrs.frozen
class Sample:
    """Messages, and the records that the server has of them."""

    refs: list[MessageRef]
    records: list[StatusRecord]

    def body(self, format: Format, detail: Detail) -> bytes:
        """The bulk reply about all of them."""
        return codecs.encode(self.records, format=format, detail=detail, charset="utf-8", bulk=True)


def sample_of(count: int) -> Sample:
    """Messages that were sent within one hour, in the order of sending, each with all 21 fields."""
    draw, world = random.Random(SEED), World(SEED)
    refs, records = [], []
    for id in range(1, count + 1):
        comment = f"{draw.choice(NAMES)}, {draw.randrange(10_000)}"
        ref = world.add(id, f"79{draw.randrange(10**9):09d}", sent_at=SENT_AT + id * 3600 // count, comment=comment)
        record = world.record(ref.id, ref.phone, at=SENT_AT + 3660)
        refs.append(MessageRef(ref.id, ref.phone))
        records.append(attrs.evolve(record, err=record.err or 0))
    return Sample(refs, records)


def ours(sample: Sample, format: Format, detail: Detail, body: bytes | None = None) -> Way:
    """This library's way: what the engine and the pending checks do with a reply."""
    wire, raw = Wire(format), sample.body(format, detail) if body is None else body
    refs, checked_at = sample.refs, datetime.now(UTC)
    asked: Sequence[Identity] = [ref.identity for ref in refs]

    def run() -> list[StatusRecord]:
        outcomes: Any = protocol.read(wire, 200, {}, raw, asked=asked, bulk=True, detail=detail)
        return [bind(record, ref, checked_at, MOSCOW) for record, ref in zip(outcomes, refs, strict=True)]

    return run


def json_ways(sample: Sample, detail: Detail) -> dict[str, Way]:
    """All ways to read JSON."""
    body = sample.body(Format.JSON, detail)
    return {
        "json.loads alone": lambda: json.loads(body),
        "orjson.loads alone": lambda: orjson.loads(body),
        "msgspec alone": lambda: msgspec.json.decode(body),
        OURS: ours(sample, Format.JSON, detail),
        "msgspec to attrs": lambda: RECORDS.decode(body),
        "json, attrs": lambda: [Record(**item) for item in json.loads(body)],
        "json, cattrs": lambda: CONVERTER.structure(json.loads(body), list[Record]),
        "pydantic": lambda: MODELS.validate_json(body),
    }


def _record(element: Any) -> Record:
    fields: dict[str, Any] = {field.tag: field.text for field in element}
    for name in INTS & fields.keys():
        fields[name] = int(fields[name])
    return Record(**fields)


def _expat_alone(body: bytes) -> None:
    expat.ParserCreate().Parse(body, True)


def xml_ways(sample: Sample, detail: Detail) -> dict[str, Way]:
    """All ways to read XML."""
    body = sample.body(Format.XML, detail)
    return {
        "etree, attrs": lambda: [_record(element) for element in ET.fromstring(body)],  # noqa: S314  # our own bytes
        OURS: ours(sample, Format.XML, detail),
        "lxml, attrs": lambda: [_record(element) for element in lxml_etree.fromstring(body)],
        "expat without a handler": lambda: _expat_alone(body),
    }


def text_ways(sample: Sample, format: Format, detail: Detail) -> dict[str, Way]:
    """The ways to read PLAIN and CSV. No other library reads these, so the other way only splits the text."""
    text = sample.body(format, detail).decode()
    floors: dict[Format, dict[str, Way]] = {
        Format.PLAIN: {"str.split alone": lambda: [line.split(", ") for line in text.split("\n")]},
        Format.CSV: {"csv.reader alone": lambda: list(csv.reader(text.split("\n")))},
    }
    return floors[format] | {OURS: ours(sample, format, detail)}


def odd_ways(sample: Sample) -> dict[str, Way]:
    """The ways to read JSON in which the cost is a number, which is not documented: in one record, or in all."""
    body = sample.body(Format.JSON, Detail.EXTENDED)
    cost = str(sample.records[0].cost).encode()
    each = body
    for other in {str(record.cost).encode() for record in sample.records}:
        each = each.replace(b'"cost": "%s"' % other, b'"cost": %s' % other)
    one = body.replace(b'"cost": "%s"' % cost, b'"cost": %s' % cost, 1)
    return {
        "json.loads alone": lambda: json.loads(body),
        OURS: ours(sample, Format.JSON, Detail.EXTENDED),
        "smsc_status, one odd record": ours(sample, Format.JSON, Detail.EXTENDED, one),
        "smsc_status, all odd": ours(sample, Format.JSON, Detail.EXTENDED, each),
    }


def seconds_of(ways: dict[str, Way], rounds: int) -> dict[str, float]:
    """The median CPU time of each way."""
    took: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            gc.collect()
            began_at = process_time()
            result = way()
            took[name].append(process_time() - began_at)
            del result
    return {name: median(times) for name, times in took.items()}


def bytes_kept(way: Way, count: int) -> float:
    """The memory of one record that is kept. What records share is counted once."""
    way()  # so that what is made only once exists already
    tracemalloc.start()
    try:
        result = way()
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    del result
    return kept / count


def show(title: str, ways: dict[str, Way], *, rounds: int, count: int) -> None:
    """Print a table: the time of each way, and this library's time as a share of it."""
    print(title)
    took = seconds_of(ways, rounds)
    ours_took = took[OURS]
    for name, seconds in took.items():
        kept = f"{bytes_kept(ways[name], count):6.0f} bytes a record" if name.startswith(OURS) else ""
        print(f"  {name:28} {seconds * 1e3:7.1f} ms, ours takes {ours_took / seconds:5.2f} of it  {kept}".rstrip())


def main(count: int = 10_000, rounds: int = 15) -> None:
    """Print all tables."""
    sample = sample_of(count)
    for detail, fields in ((Detail.EXTENDED, 21), (Detail.BASIC, 7)):
        what = f"{count:,} records of {fields} fields"
        show(f"JSON, {what}", json_ways(sample, detail), rounds=rounds, count=count)
        show(f"XML, {what}", xml_ways(sample, detail), rounds=rounds, count=count)
    show("JSON, 21 fields, not as documented", odd_ways(sample), rounds=rounds, count=count)
    for format, fields in ((Format.PLAIN, 17), (Format.CSV, 15)):
        ways = text_ways(sample, format, Detail.EXTENDED)
        show(f"{format.name}, {count:,} records of {fields} fields", ways, rounds=rounds, count=count)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
