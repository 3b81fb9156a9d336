"""Rows made of separate values."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from smsc_status import ConfigError
from smsc_status.codes import Channel
from smsc_status.report._reading import maker as maker_module
from smsc_status.report._reading.maker import RowMaker, instant, with_channel_of_phone
from smsc_status.report._rows import Row

AT = datetime(2026, 3, 10, tzinfo=UTC)


def maker() -> RowMaker:
    return RowMaker(["status", "operator"], dict)


def test_rows_with_the_same_further_values_have_their_own_ids_and_dates() -> None:
    make = maker().make
    first, second = make(1, "7999", AT, None, ("1", "МТС")), make("a", None, None, AT, ("1", "МТС"))
    assert first == Row(id=1, phone="7999", sent_at=AT, status=1, operator="МТС")
    assert second == Row(id="a", changed_at=AT, status=1, operator="МТС")
    assert make(1, "7999", AT, None, (20, None)) == Row(id=1, phone="7999", sent_at=AT, status=20)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((b"7", "7999", AT, AT, (1, "")), "id \"b'7'\": expected a number or a text"),
        ((7, b"7999", AT, AT, (1, "")), "phone \"b'7999'\": expected a text"),
        ((7, "7999", AT.replace(tzinfo=None), AT, (1, "")), "date '2026-03-10T00:00:00': expected one with a zone"),
        ((7, "7999", AT, AT.replace(year=1999), (1, "")), "of the years 2000 to 2199"),
        ((7, "7999", AT, AT, ("x", "")), "status 'x': expected int"),
    ],
)
def test_a_value_that_can_not_be_is_named(values: Any, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        maker().make(*values)
    assert expected in str(caught.value)


def test_what_is_remembered_of_many_different_values_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maker_module, "MOST_KNOWN", 3)
    made = maker()
    for status in range(20):
        assert made.make(7, "7999", AT, AT, (status, "МТС")).status == status
        # A bound of the memory, which nothing outside tells.
        assert len(made._known) <= 3


def test_a_date_that_is_none_is_named() -> None:
    assert instant("", "sent_at") is None
    assert instant("2026-03-10T00:00:00+00:00", "sent_at") == AT
    with pytest.raises(ConfigError, match="sent_at 'once': expected a date and time"):
        instant("once", "sent_at")


@pytest.mark.parametrize(
    ("row", "channel"),
    [
        (Row(phone="a@b.c"), Channel.EMAIL),
        (Row(phone="7999"), Channel.UNKNOWN),
        (Row(phone="a@b.c", channel=Channel.SMS), Channel.SMS),
        (Row(phone="a@b.c", type=99), Channel.UNKNOWN),
    ],
)
def test_an_address_tells_the_channel_where_nothing_else_does(row: Row, channel: Channel) -> None:
    assert with_channel_of_phone(row).channel is channel
