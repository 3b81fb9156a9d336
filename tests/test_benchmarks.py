"""The benchmarks run, at a tiny size, and what they show of tracking holds there too."""

from __future__ import annotations

import pytest

from benchmarks import bound, client, day, lanes, million, overload, schedule
from smsc_status import Limits

CapSys = pytest.CaptureFixture[str]


def test_schedule(capsys: CapSys) -> None:
    """Its tables have a row for each round trip, and nobody is faster than the least time or slower than the rivals."""
    schedule.main(1010, 40)
    lines = capsys.readouterr().out.splitlines()
    rows = len(schedule.ROUND_TRIPS)
    assert len(lines) == 2 + 2 * rows + 3 + rows
    for line in lines[2 : 2 + 2 * rows]:
        took, least, _, *rivals = (float(text.replace(",", "")) for text in line.split()[3:])
        assert least <= took <= 1.02 * least
        assert took <= min(rivals)


def test_client(capsys: CapSys, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its tables name all that is compared."""
    monkeypatch.setattr(client, "ROUND_TRIP", 0.01)
    monkeypatch.setattr(client, "IMPORTS", {"httpx": "import json", "smsc_status": "import json"})
    client.main(0.001)
    out = capsys.readouterr().out
    for name in ("bare socket", "aiohttp", "check, bulk slot free", "stream, the vendor's limits", "smsc_status"):
        assert f"\n{name} " in out
    assert "virtual time" in out


def test_a_check_beside_a_busy_stream_takes_two_round_trips_at_most() -> None:
    """It goes as soon as one of the places is free, which the stream's requests keep for one round trip."""
    pause = client.in_virtual_time(streamed=2500, checks=40)
    assert pause.median < 2
    assert pause.p95 <= 2.0001


def test_day(capsys: CapSys) -> None:
    """All plans keep the limits, and lose nothing."""
    day.main(200, 0.03)
    out = capsys.readouterr().out
    assert "BROKEN" not in out
    assert out.count("kept") == 2 + len(day.INTERVALS) + len(day.OTHERS) + 2


@pytest.fixture(scope="module")
def an_hour() -> dict[str, lanes.Outcome]:
    """Some time at the rate of the simulated day, by each plan."""
    policies = {"tracking": day.OURS, "in turn": day.IN_TURN, "every 20 s": day.fixed(20.0)}
    return dict(zip(policies, day.run_all(policies.values(), messages=2500, seconds=1080), strict=True))


def test_tracking_notices_sooner_than_polling_in_turn(an_hour: dict[str, lanes.Outcome]) -> None:
    """And than the best fixed interval; within what was promised of the informed bound."""
    ours = an_hour["tracking"]
    assert ours.is_within_limits
    assert ours.lost == 0
    assert len(ours.delays) == 2500
    assert ours.mean < an_hour["in turn"].mean
    assert ours.mean < an_hour["every 20 s"].mean
    for best in day.bounds(2500, 1080, ours).values():
        assert ours.mean < 1.5 * best.mean
        assert ours.quantile(0.95) < 2 * best.quantile(0.95)


def test_the_bound_needs_fewer_checks_where_it_waits_longer() -> None:
    lives = [float(age) for age in range(2, 21)] * 100
    dear, cheap = (bound.informed(lives, checks=checks, reply=0.0) for checks in (1.5, 3.0))
    assert dear.checks <= 1.5
    assert cheap.checks <= 3.0
    assert cheap.mean < dear.mean
    assert len(cheap.ages) > len(dear.ages)


def test_a_policy_reaches_the_bound_where_all_lives_are_equal() -> None:
    """One check, at the very age."""
    best = bound.informed([10.0] * 1000, checks=1.0, reply=0.1)
    assert best.mean == pytest.approx(0.1)
    assert best.checks == 1.0


def test_overload() -> None:
    """Nobody starves, new messages are noticed soon, and who can be saved from the archive is saved."""
    limits = Limits(max_bulk=50)
    found = overload.waiting(3.0, limits=limits, hours=0.5)
    assert found.outcome.is_within_limits
    assert 61 < found.outcome.stalest < found.bound
    assert found.outcome.quantile(0.5) < 20
    outcome = lanes.Lanes(overload.rush(3000), day.OURS, Limits(max_bulk=20, connections=1)).run()
    assert outcome.is_within_limits
    assert outcome.lost == 0


def test_what_a_waiting_message_costs() -> None:
    """In bytes; times would be of the machine."""
    added, polled = million.bytes_a_message(million.refs_of(20_000))
    assert added < 250
    assert polled < 250


def test_million(capsys: CapSys) -> None:
    """Its figures are printed."""
    million.main(2000)
    assert len(capsys.readouterr().out.splitlines()) == 7
