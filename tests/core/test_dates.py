"""The date: which of two clocks is believed, and when."""

from __future__ import annotations

import pytest

from smsc_status._core.tracking.dates import CONFIRMED_AFTER, TOLERANCE, Dates

NOON = 1_773_144_000.0
HOUR = 3600.0
LOOK = 30.0


def looked_at(dates: Dates, *, since: float, until: float, ahead: float) -> None:
    """The local clock is looked at every half minute, and is so many seconds ahead of noon plus the instant."""
    now = since
    while now <= until:
        dates.read_local(NOON + now + ahead, now=now)
        now += LOOK


def test_the_first_reading_is_believed() -> None:
    """There is nothing else."""
    dates = Dates()
    dates.read_local(NOON + 100, now=100)
    assert dates.offset == NOON
    assert not dates.is_overruled


def test_a_clock_that_drifts_is_followed() -> None:
    """A second a minute, for two hours: it is never odd."""
    dates = Dates()
    for minute in range(120):
        dates.read_local(NOON + minute * 61, now=minute * 60)
    assert dates.offset == NOON + 119


@pytest.mark.parametrize("ahead", [HOUR, -HOUR, 3 * 86_400.0])
def test_a_jump_for_a_minute_is_not_believed(ahead: float) -> None:
    """Nor a second one like it, later."""
    dates = Dates()
    looked_at(dates, since=0, until=300, ahead=0)
    for begins_at in (330.0, 600.0):
        looked_at(dates, since=begins_at, until=begins_at + 60, ahead=ahead)
        assert dates.offset == NOON
        looked_at(dates, since=begins_at + 90, until=begins_at + 240, ahead=0)
        assert dates.offset == NOON


@pytest.mark.parametrize("ahead", [HOUR, -HOUR, 3 * 86_400.0])
def test_a_jump_that_stays_is_believed_after_a_while(ahead: float) -> None:
    """As when somebody has set the clock right, or the machine slept, and no server has told a date."""
    dates = Dates()
    looked_at(dates, since=0, until=300, ahead=0)
    looked_at(dates, since=330, until=330 + CONFIRMED_AFTER - LOOK, ahead=ahead)
    assert dates.offset == NOON
    looked_at(dates, since=330 + CONFIRMED_AFTER, until=330 + CONFIRMED_AFTER, ahead=ahead)
    assert dates.offset == NOON + ahead


def test_a_clock_that_jumps_about_is_not_believed() -> None:
    """Each other reading begins the wait anew."""
    dates = Dates()
    dates.read_local(NOON, now=0)
    for look in range(1, 20):
        dates.read_local(NOON + look * (LOOK + HOUR), now=look * LOOK)
    assert dates.offset == NOON


def test_the_server_s_date_counts_where_the_clock_differs() -> None:
    """From the second reply on, for as long as the server tells it."""
    dates = Dates()
    looked_at(dates, since=0, until=60, ahead=HOUR)
    dates.read_server(NOON + 65, now=65)
    assert dates.offset == NOON + HOUR
    assert not dates.is_sure(now=65)
    for now in range(70, 1000, LOOK.__ceil__()):
        dates.read_server(NOON + now, now=now)
        assert dates.offset == NOON
        assert dates.is_overruled
        dates.read_local(NOON + HOUR + now, now=now)
        assert dates.offset == NOON


def test_the_local_clock_counts_where_they_agree() -> None:
    """It tells fractions of a second, and the reply was some time on its way."""
    dates = Dates()
    dates.read_local(NOON, now=0)
    dates.read_server(NOON - TOLERANCE, now=0)
    assert dates.offset == NOON
    assert not dates.is_overruled


def test_a_server_heard_before_the_clock_was_read_counts_until_then() -> None:
    """Once the clock was read, it counts if they differ."""
    dates = Dates()
    dates.read_server(NOON, now=0)
    assert dates.offset == NOON
    dates.read_local(NOON + HOUR, now=0)
    assert dates.offset == NOON
    agreeing = Dates()
    agreeing.read_server(NOON, now=0)
    agreeing.read_local(NOON + 0.5, now=0)
    assert agreeing.offset == NOON + 0.5


def test_a_clock_that_is_set_right_again_is_no_longer_overruled() -> None:
    """The next reply says so."""
    dates = Dates()
    dates.read_local(NOON + HOUR, now=0)
    dates.read_server(NOON, now=0)
    dates.read_server(NOON, now=0)
    assert dates.is_overruled
    assert dates.is_sure(now=0)
    dates.read_local(NOON + 60.5, now=60)
    assert dates.offset == NOON + 0.5
    dates.read_server(NOON + 61, now=61)
    assert not dates.is_overruled
    assert dates.offset == NOON + 0.5


def test_one_wrong_date_in_a_reply_is_not_believed() -> None:
    """It makes the date doubtful for a while; another one that is wrong otherwise does not confirm it."""
    dates = Dates()
    dates.read_local(NOON, now=0)
    assert dates.is_sure(now=0)
    for now, wrong_by in ((10, 3 * 24 * HOUR), (20, 9 * 24 * HOUR)):
        dates.read_server(NOON + wrong_by + now, now=now)
        assert dates.offset == NOON
        assert not dates.is_overruled
        assert not dates.is_sure(now=now)
    assert dates.is_sure(now=20 + CONFIRMED_AFTER + 1)
    dates.read_server(NOON + 200, now=200)
    assert dates.is_sure(now=200)


def test_a_machine_that_slept_is_put_right_by_the_first_reply() -> None:
    """Sleeping stops the monotonic clock: both dates run ahead of it."""
    dates = Dates()
    dates.read_local(NOON, now=0)
    dates.read_server(NOON, now=0)
    dates.read_local(NOON + 8 * HOUR, now=30)
    assert dates.offset == NOON
    dates.read_server(NOON + 8 * HOUR + 1, now=31)
    assert dates.offset == NOON + 8 * HOUR - 30
    assert not dates.is_overruled


def test_a_machine_that_slept_and_hears_nothing_more_is_put_right_by_its_clock() -> None:
    """What the server told before it slept says nothing any more."""
    dates = Dates()
    dates.read_local(NOON, now=0)
    dates.read_server(NOON, now=0)
    looked_at(dates, since=30, until=30 + CONFIRMED_AFTER, ahead=8 * HOUR)
    assert dates.offset == NOON + 8 * HOUR
