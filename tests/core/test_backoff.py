"""How long is waited after failures."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsc_status._core.scheduling.backoff import MAX_DELAY, MAX_RETRY_AFTER, OUTAGE_AFTER, Outage, delay


@pytest.mark.parametrize(
    ("tries", "seconds"), [(1, 0.5), (2, 1.0), (3, 2.0), (7, 32.0), (8, 60.0), (9, 60.0), (10**6, 60.0)]
)
def test_the_delay_doubles_from_half_a_second_to_a_minute(tries: int, seconds: float) -> None:
    """However often it has failed."""
    assert delay(tries, 0.0) == seconds


@pytest.mark.slow
@given(st.integers(1, 10**9), st.floats(0.0, 1.0, exclude_max=True))
def test_jitter_takes_off_up_to_half(tries: int, jitter: float) -> None:
    """And adds nothing."""
    assert delay(tries, 0.0) / 2 <= delay(tries, jitter) <= delay(tries, 0.0) <= MAX_DELAY


def test_a_few_failures_in_a_row_are_an_outage() -> None:
    """Each further one makes the pause longer."""
    outage = Outage()
    for now in range(OUTAGE_AFTER - 1):
        outage.record_failure(jitter=0.0, now=float(now))
        assert not outage.is_on
        assert outage.until_at == 0.0
    ends = []
    for _ in range(3):
        outage.record_failure(jitter=0.0, now=100.0)
        assert outage.is_on
        ends.append(outage.until_at)
    assert ends == [100.5, 101.0, 102.0]


def test_a_late_failure_does_not_shorten_the_pause() -> None:
    """Whatever its jitter."""
    outage = Outage()
    for _ in range(OUTAGE_AFTER + 3):
        outage.record_failure(jitter=0.0, now=100.0)
    before = outage.until_at
    outage.record_failure(jitter=0.99, now=50.0)
    assert outage.until_at == before


def test_an_answer_ends_the_outage() -> None:
    """And the count begins anew."""
    outage = Outage()
    for _ in range(OUTAGE_AFTER):
        outage.record_failure(jitter=0.5, now=100.0)
    assert outage.until_at == 100.375
    outage.record_success()
    assert not outage.is_on
    assert outage.until_at == 0.0
    for _ in range(OUTAGE_AFTER - 1):
        outage.record_failure(jitter=0.0, now=101.0)
        assert not outage.is_on


def test_a_pause_that_the_server_asks_for_is_kept_whatever_others_are_answered() -> None:
    """It concerns the server, from the first failure on."""
    outage = Outage()
    outage.record_failure(jitter=0.0, now=100.0, retry_after=600.0)
    assert not outage.is_on
    assert outage.until_at == 700.0
    outage.record_success()
    assert outage.until_at == 700.0
    outage.record_failure(jitter=0.0, now=200.0)
    assert outage.until_at == 700.0


def test_a_shorter_pause_told_later_does_not_end_a_longer_one() -> None:
    """Two requests were on their way."""
    outage = Outage()
    outage.record_failure(jitter=0.0, now=100.0, retry_after=600.0)
    outage.record_failure(jitter=0.0, now=101.0, retry_after=5.0)
    assert outage.until_at == 700.0
    outage.record_failure(jitter=0.0, now=690.0, retry_after=600.0)
    assert outage.until_at == 1290.0


def test_a_pause_of_a_day_is_kept_for_an_hour() -> None:
    """A mistake of the server's must not stop everything for so long."""
    outage = Outage()
    outage.record_failure(jitter=0.0, now=100.0, retry_after=86_400.0)
    assert outage.until_at == 100.0 + MAX_RETRY_AFTER == 3700.0


def test_the_longer_of_the_two_pauses_counts() -> None:
    """The one that was told, and the one of the outage."""
    outage = Outage()
    for _ in range(OUTAGE_AFTER + 7):
        outage.record_failure(jitter=0.0, now=100.0, retry_after=1.0)
    assert outage.until_at == 160.0
