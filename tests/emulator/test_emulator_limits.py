"""The referee counts by arrival, in sliding windows, and what it refuses counts too."""

from typing import Any

import pytest

from smsc_status.emulator import Kind, Referee, Refusal
from smsc_status.emulator._limits import Window
from smsc_status.errors import ConfigError


def single(referee: Referee, at: float, id: int | str = 1) -> Refusal | None:
    verdict = referee.arrived([id], Kind.SINGLE, at=at, is_bulk=False)
    referee.left()
    return verdict


def bulk(referee: Referee, at: float, *ids: int) -> Refusal | None:
    verdict = referee.arrived(ids, Kind.BULK, at=at, is_bulk=True)
    referee.left()
    return verdict


def test_five_checks_of_an_id_in_a_period_are_allowed_and_a_sixth_is_not() -> None:
    referee = Referee()
    assert [single(referee, at) for at in (0, 1, 2, 3, 4, 59.999)] == [None] * 5 + [Refusal.CHECKS_PER_ID]
    assert referee.peak_checks_per_id == 6
    assert not referee.no_violations


def test_a_full_period_apart_is_another_window() -> None:
    referee = Referee()
    assert [single(referee, at) for at in (0, 0, 0, 0, 0, 60)] == [None] * 6
    assert referee.peak_checks_per_id == 5
    assert referee.no_violations


def test_a_refused_check_counts() -> None:
    referee = Referee()
    verdicts = [single(referee, at) for at in (0, 0, 0, 0, 0, 30, 60, 61, 62, 63, 64)]
    assert verdicts == [None] * 5 + [Refusal.CHECKS_PER_ID] + [None] * 4 + [Refusal.CHECKS_PER_ID]


def test_ids_that_were_asked_too_often_are_known_with_their_most_checks() -> None:
    """A hundred of them, and not those that a bulk request names beside them."""
    referee = Referee(bulk_requests=10)
    for at in range(8):
        single(referee, at, 7)
    assert referee.asked_too_often == {7: 8}
    single(referee, 67.5, 7)
    assert referee.asked_too_often == {7: 8}
    referee = Referee(checks_per_id=1, bulk_requests=10)
    bulk(referee, 0, *range(200))
    bulk(referee, 1, *range(200), 999)
    bulk(referee, 2, *range(200))
    assert [*referee.asked_too_often.values()] == [3] * 100
    assert 999 not in referee.asked_too_often


def test_other_ids_have_windows_of_their_own() -> None:
    referee = Referee()
    assert [single(referee, 0, id) for id in (1, 1, 1, 1, 1, 2, "a")] == [None] * 7


def test_one_bulk_request_a_period_is_allowed() -> None:
    referee = Referee()
    assert [bulk(referee, at, int(at)) for at in (0, 59.9, 119.9, 179.9)] == [None, Refusal.BULK_REQUESTS, None, None]
    assert referee.peak_bulk == 2


def test_a_bulk_request_counts_once_for_each_distinct_id() -> None:
    referee = Referee(bulk_requests=10)
    assert bulk(referee, 0, 1, 1, 1, 1, 1, 1, 2) is None
    assert referee.peak_checks_per_id == 1
    assert [single(referee, 1) for _ in range(5)] == [None] * 4 + [Refusal.CHECKS_PER_ID]


def test_a_fifth_open_request_is_refused() -> None:
    referee = Referee()
    verdicts = [referee.arrived([n], Kind.SINGLE, at=0, is_bulk=False) for n in range(5)]
    assert verdicts == [None] * 4 + [Refusal.CONNECTIONS]
    assert (referee.open, referee.peak_open) == (5, 5)
    referee.left()
    referee.left()
    assert referee.arrived([9], Kind.SINGLE, at=0, is_bulk=False) is None


def test_a_request_that_is_not_valid_is_open_and_takes_nothing_else() -> None:
    referee = Referee()
    for _ in range(4):
        assert referee.arrived([1], Kind.BULK, at=0, is_bulk=True, is_valid=False) is None
    assert referee.arrived([1], Kind.SINGLE, at=0, is_bulk=False) is Refusal.CONNECTIONS
    assert (referee.peak_open, referee.peak_bulk, referee.peak_checks_per_id) == (5, 0, 1)
    assert referee.requests == {Kind.BULK: 4, Kind.SINGLE: 1}


def test_a_request_that_is_not_valid_may_be_counted_all_the_same() -> None:
    referee = Referee(count_invalid=True)
    verdicts = [referee.arrived([1], Kind.BULK, at=0, is_bulk=True, is_valid=False) for _ in range(2)]
    assert verdicts == [None, Refusal.BULK_REQUESTS]


def test_a_window_is_forgotten_at_the_next_arrival_after_it() -> None:
    window = Window(60)
    for number in range(1000):
        window.add(number, number / 1000)
    assert len(window) == 1000
    window.add("late", 61)
    assert len(window) == 1


def test_the_counts_are_ready_for_json() -> None:
    referee = Referee()
    single(referee, 0)
    bulk(referee, 0, 1, 2)
    bulk(referee, 1)
    assert referee.stats() == {
        "requests": {"single": 1, "bulk": 2, "delete": 0},
        "messages": 0,
        "refusals": {"connections": 0, "bulk_requests": 1, "checks_per_id": 0},
        "open": 0,
        "peak_open": 1,
        "peak_bulk": 2,
        "peak_checks_per_id": 2,
    }


@pytest.mark.parametrize("limits", [{"checks_per_id": 0}, {"bulk_requests": 0}, {"connections": 0}, {"period": 0}])
def test_limits_of_zero_are_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Referee(**limits)
