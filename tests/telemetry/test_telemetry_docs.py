"""The documented names are those of the code."""

from __future__ import annotations

import re

from documents import ROOT, names, text_of

from smsc_status.telemetry import _table
from smsc_status.telemetry._observing import MAX_LINKS
from smsc_status.telemetry._table import Instrument, Kind

PAGE = ROOT / "docs/reference/telemetry.md"
CODE = re.compile(r"`([^`]+)`")


def rows(columns: int) -> list[list[str]]:
    """The rows of the page's tables that have so many columns and begin with a name in backticks."""
    lines = [line for line in text_of(PAGE).splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [row for row in cells if len(row) == columns]


def in_prometheus(instrument: Instrument) -> str:
    """The name there. A histogram's is followed by `_bucket`, `_count` and `_sum`."""
    name = instrument.name.replace(".", "_") + ("_seconds" if instrument.unit == "s" else "")
    return f"{name}_total" if instrument.kind is Kind.COUNTER else name


def test_the_table_of_metrics_is_that_of_the_code() -> None:
    """Names, kinds, units, attributes, names in Prometheus and descriptions, in the same order."""
    assert rows(6) == [
        [
            f"`{instrument.name}`",
            instrument.kind.value,
            f"`{instrument.unit}`",
            ", ".join(f"`{attribute}`" for attribute in instrument.attributes) or "none",
            f"`{in_prometheus(instrument)}`",
            instrument.description,
        ]
        for instrument in _table.ALL
    ]


def test_the_documented_buckets_are_those_of_the_code() -> None:
    found = {CODE.findall(name)[0]: tuple(map(float, buckets.split(", "))) for name, buckets in rows(2)}
    assert found == {instrument.name: instrument.buckets for instrument in _table.ALL if instrument.buckets}


def test_every_attribute_is_documented() -> None:
    """Those of metrics and those of spans."""
    constants = {value for name, value in vars(_table).items() if name.isupper() and isinstance(value, str)}
    documented = {name for row in rows(3) for name in CODE.findall(row[0])}
    assert constants - documented == {_table.SCHEMA_URL, _table.OTHER}
    assert {attribute for instrument in _table.ALL for attribute in instrument.attributes} <= documented


def test_the_numbers_in_the_text_are_those_of_the_code() -> None:
    text = text_of(PAGE)
    assert f"{MAX_LINKS} links at most" in text
    assert {_table.SCHEMA_URL, _table.OTHER} <= set(names(PAGE))
