"""Rows, and what can't be one."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from report_support import row

from smsc_status import ConfigError, HlrRecord
from smsc_status.codes import Channel
from smsc_status.report._rows import Row, row_of

FIELDS: dict[str, Any] = {"id": 7, "phone": "79990000000", "status": 1}


@pytest.mark.parametrize(
    ("values", "field", "expected"),
    [
        ({"status": "20"}, "status", 20),
        ({"cost": "2.450"}, "cost", Decimal("2.450")),
        ({"sent_at": "2026-03-10T09:00:00+03:00"}, "sent_at", datetime(2026, 3, 10, 6, tzinfo=UTC)),
        ({"reachable": "true"}, "reachable", True),
        ({"channel": "email"}, "channel", Channel.EMAIL),
        ({"region": "unknown names are ignored"}, "operator", None),
    ],
)
def test_texts_are_read_as_what_they_mean(values: dict[str, Any], field: str, expected: object) -> None:
    assert getattr(row_of(FIELDS | values), field) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"status": "delivered"}, "status 'delivered': expected "),
        ({"sent_at": "yesterday"}, "sent_at 'yesterday': "),
        ({"sent_at": "2026-03-10T09:00:00"}, "sent_at '2026-03-10T09:00:00': "),
        ({"changed_at": "1970-01-01T00:00:00+00:00"}, "date '1970-01-01T00:00:00+00:00': expected one of the years"),
        ({"sent_at": "9999-12-31T23:59:59+00:00"}, "expected one of the years 2000 to 2199"),
        ({"channel": "pigeon"}, "channel 'pigeon': "),
        ({"cost": "much"}, "cost 'much': "),
        ({"cost": "2,50"}, "cost '2,50': expected a number with a decimal point, such as 2.50"),
        ({"sent_at": "today"}, "sent_at 'today': expected a date and time in ISO 8601"),
        ({"cost": "NaN"}, "cost 'NaN': expected a number of at most 20 digits"),
        ({"cost": "Infinity"}, "cost 'Infinity': "),
        ({"cost": "1E+40"}, "cost '1E+40': "),
        ({"cost": "1E-40"}, "cost '1E-40': "),
        ({"cost": "1.234567890123456789012"}, "cost '1.234567890123456789012': "),
        ({"status": "x" * 200}, f"status '{'x' * 60}': "),
    ],
)
def test_a_value_that_can_not_be_is_named(values: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        row_of(FIELDS | values)
    assert expected in str(caught.value)


@pytest.mark.parametrize("type", [4, 5])
@pytest.mark.parametrize("err", [None, 0, 6])
@pytest.mark.parametrize("status", [-3, -1, 0, 1, 2, 3, 20, 25])
def test_a_look_up_is_reachable_as_its_record_says(status: int, err: int | None, type: int) -> None:
    """Also where the results have no column for it, as a table."""
    record = HlrRecord(status=status, err=err, type=type)
    assert row(status, err=err, type=type).is_reachable == record.reachable
    assert row_of(record.to_dict() | FIELDS | {"status": status}).is_reachable == record.reachable


@pytest.mark.parametrize(
    ("fields", "is_look_up"),
    [
        ({"channel": Channel.HLR}, True),
        ({"type": 4}, True),
        ({"type": 5, "channel": Channel.SMS}, True),
        ({"flag": 4}, True),
        ({"reachable": False}, True),
        ({"type": 0, "flag": 0, "channel": Channel.SMS}, False),
        ({}, False),
    ],
)
def test_a_look_up_is_told_from_a_message(fields: dict[str, Any], is_look_up: bool) -> None:
    assert row(**fields).is_look_up == is_look_up


def test_a_failure_has_no_reachability() -> None:
    assert Row(error="Archived").is_reachable is None


def test_lone_surrogates_have_an_identity() -> None:
    """They can't be written as UTF-8."""
    assert row(phone="a\ud800@b").identity != row(phone="a\ud801@b").identity
