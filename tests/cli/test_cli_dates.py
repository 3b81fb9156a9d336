"""Times of sending, as tables write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone, tzinfo

import pytest

from smsc_status.cli._dates import moment, zone_of
from smsc_status.errors import ConfigError
from smsc_status.models import MOSCOW

AT = datetime(2026, 11, 25, 19, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        1795633500,
        1795633500.0,
        "1795633500",
        "1795633500.0",
        "2026-11-25T19:05:00Z",
        "2026-11-25T22:05:00+03:00",
        "2026-11-25T22:05",
        "2026-11-25 22:05:00",
        "25.11.2026 22:05",
        "25.11.2026 22:05:00",
        " 25.11.2026,  22:05 ",
        "25.11.26 22:05",
        "25.11.26 22:05:00",
    ],
)
def test_times_are_read_in_every_known_form(value: object) -> None:
    """Seconds, ISO 8601 and the Russian form; in Moscow's time where there is no zone."""
    at = moment(value)
    assert at == AT
    assert at.utcoffset() is not None


@pytest.mark.parametrize("value", [None, ""])
def test_an_empty_cell_is_no_time(value: object) -> None:
    assert moment(value) is None


@pytest.mark.parametrize(
    "value",
    [
        "yesterday",
        "2026-11-25",
        "25.11.2026",
        "31.02.2026 10:00",
        "46351.92",
        46351.92,
        0,
        "01.01.1900 00:00",
        "1795633500000000000",
        "9" * 400,
        float("nan"),
        True,
        [1],
        "x" * 1000,
    ],
)
def test_other_times_are_refused(value: object) -> None:
    """Nor a day without a time, nor what is no date, such as a spreadsheet's number of days."""
    with pytest.raises(ConfigError, match=r"^sent_at .*: expected a date and time such as") as caught:
        moment(value)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("name", "zone"),
    [
        ("Europe/Moscow", MOSCOW),
        ("moscow", MOSCOW),
        ("UTC", UTC),
        ("+05:00", timezone(timedelta(hours=5))),
        ("UTC-3", timezone(timedelta(hours=-3))),
        ("+0530", timezone(timedelta(hours=5, minutes=30))),
    ],
)
def test_zones_are_read_by_name_and_by_offset(name: str, zone: tzinfo) -> None:
    assert zone_of(name) == zone


def test_zones_of_the_system_s_list_are_read() -> None:
    at = datetime(2026, 7, 1, 12, tzinfo=zone_of("Europe/Berlin"))
    assert at.utcoffset() == timedelta(hours=2)


@pytest.mark.parametrize("name", ["", "Nowhere/Else", "Europe", "../etc", "+25:00", "\0"])
def test_unknown_zones_are_refused_by_name(name: str) -> None:
    """Each is named, with what was expected."""
    with pytest.raises(ConfigError, match=r"^--timezone .*: expected a name such as Europe/Moscow"):
        zone_of(name)
