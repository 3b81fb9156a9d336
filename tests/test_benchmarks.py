"""The benchmarks run, at a tiny size, and what they show of tracking holds there too."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis_servers import Server

from benchmarks import (
    beside,
    blocking,
    bound,
    client,
    day,
    decode,
    fleet,
    lanes,
    limiter,
    million,
    overload,
    peers,
    report,
    schedule,
    shared_log,
    shared_peers,
    stalls,
    table,
    telemetry,
)
from smsc_status import Detail, Format, Limits
from smsc_status._core.tracking.tracked import Policy

pytestmark = pytest.mark.slow

CapSys = pytest.CaptureFixture[str]


def test_the_schedule_s_tables_have_a_row_for_each_round_trip(capsys: CapSys) -> None:
    """Its tables have a row for each round trip, and nobody is faster than the least time or slower than the rivals."""
    schedule.main(1010, 40)
    lines = capsys.readouterr().out.splitlines()
    rows = len(schedule.ROUND_TRIPS)
    assert len(lines) == 2 + 2 * rows + 3 + rows
    for line in lines[2 : 2 + 2 * rows]:
        took, least, _, *rivals = (float(text.replace(",", "")) for text in line.split()[3:])
        assert least <= took <= 1.02 * least
        assert took <= min(rivals)


def test_the_client_s_tables_name_all_that_is_compared(capsys: CapSys, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its tables name all that is compared."""
    monkeypatch.setattr(client, "ROUND_TRIP", 0.01)
    monkeypatch.setattr(client, "IMPORTS", {"httpx": "import json", "smsc_status": "import json"})
    client.main(0.001)
    out = capsys.readouterr().out
    for name in ("bare socket", "aiohttp", "check, bulk slot free", "stream, the vendor's limits", "smsc_status"):
        assert f"\n{name} " in out
    assert "virtual time" in out


def test_what_a_blocking_call_costs_more_is_printed(capsys: CapSys) -> None:
    """It is more than nothing and, even on a busy machine, less than twenty times its goal."""
    blocking.main(200, 3)
    more = int(capsys.readouterr().out.split()[-2])
    assert 0 < more < 3_000


def test_a_fleet_that_shares_a_log_is_not_refused(capsys: CapSys, monkeypatch: pytest.MonkeyPatch) -> None:
    """And all its figures are printed."""
    monkeypatch.setattr(fleet, "RATES", (10,))
    fleet.main(1.0, 0.001)
    lines = capsys.readouterr().out.splitlines()
    rows = lines[1:5]
    assert [row.split()[0] for row in rows] == ["a", "a", "process", "process"]
    for row in rows[:2]:
        assert row.split()[-2] == "0"
        assert int(row.split()[-1]) <= 4
    assert len([line for line in lines if line]) == 1 + 4 + 1 + 3 + 1 + 2


def test_a_job_and_checks_beside_each_other_are_both_answered(capsys: CapSys) -> None:
    beside.main(1_040, 0.2)
    job, *checks = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"the job: [\d.]+ s alone, [\d.]+ s beside checks \([\d.]+\)", job)
    assert [re.sub(r"[\d.]+", "N", line) for line in checks] == [
        f"N checks {name}: median N ms, N in a hundred N ms" for name in ("alone", "beside the job")
    ]


def test_looking_for_new_rows_of_a_table_costs_the_database_little(
    capsys: CapSys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a new row is found within two seconds, also one that is committed behind more rows than one look reads."""
    monkeypatch.setattr(table, "LOOKS", 3)
    monkeypatch.setattr(table, "NEW_ROWS", 2)
    monkeypatch.setattr(table, "NEWER", 6000)
    table.main(2000)
    _, _, look, new, late, gaps = capsys.readouterr().out.splitlines()
    assert float(look.split()[3]) < 50
    assert float(new.split()[-2]) < 2
    assert float(re.findall(r"found ([\d.]+) s", late)[0]) < 2
    assert float(re.findall(r"median ([\d.]+) ms", gaps)[0]) < 50


def test_a_check_beside_a_busy_stream_takes_two_round_trips_at_most() -> None:
    """It goes as soon as one of the places is free, which the stream's requests keep for one round trip."""
    pause = client.in_virtual_time(streamed=2500, checks=40)
    assert pause.median < 2
    assert pause.p95 <= 2.0001


def test_all_plans_of_a_day_keep_the_limits_and_lose_nothing(capsys: CapSys) -> None:
    """All plans keep the limits, and lose nothing."""
    day.main(60, 0.01)
    out = capsys.readouterr().out
    assert "BROKEN" not in out
    assert out.count("kept") == 2 + len(day.INTERVALS) + len(day.OTHERS) + 2


def test_tracking_notices_sooner_than_polling_in_turn() -> None:
    """And than the best fixed interval; within what was promised of the informed bound."""
    policies = {"tracking": day.OURS, "in turn": day.IN_TURN, "every 20 s": day.fixed(20.0)}
    an_hour = dict(zip(policies, day.run_all(policies.values(), messages=2500, seconds=1080), strict=True))
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


def test_an_overload_starves_no_message() -> None:
    """Nobody starves, new messages are noticed soon, and who can be saved from the archive is saved."""
    limits = Limits(max_bulk=50)
    found = overload.waiting(3.0, limits=limits, hours=0.3)
    assert found.outcome.is_within_limits
    assert 61 < found.outcome.stalest < found.bound
    assert found.outcome.quantile(0.5) < 20
    in_bulk = Policy(eagerness=0.0)
    outcome = lanes.Lanes(overload.rush(2000, new_a_second=0.02), in_bulk, Limits(max_bulk=20)).run(until=22 * 3600)
    assert outcome.is_within_limits
    assert outcome.lost == 0


def test_an_end_after_the_last_call_is_read_in_time() -> None:
    """Up to minutes before the sweep, among rivals that would take the checks: it goes before them once it is due."""
    draw, hour = random.Random(1), 3600.0
    day_of = [
        lanes.Sent(at, draw.uniform(hour, 18 * hour - 600 - at))
        for at in (draw.uniform(8, 9) * hour for _ in range(1200))
    ]
    day_of += [lanes.Sent(draw.uniform(9, 10) * hour, 11 * hour) for _ in range(6000)]
    outcome = lanes.Lanes(sorted(day_of), Policy(eagerness=0.0), Limits(max_bulk=20)).run(until=22 * hour)
    assert outcome.is_within_limits
    assert outcome.lost == 0


def test_a_waiting_message_costs_a_bounded_amount_of_memory() -> None:
    """In bytes; times would be of the machine."""
    added, polled = million.bytes_a_message(million.refs_of(20_000))
    assert added < 250
    assert polled < 250


def test_the_figures_of_a_million_messages_are_printed(capsys: CapSys) -> None:
    """Its figures are printed."""
    million.main(2000)
    assert len(capsys.readouterr().out.splitlines()) == 7


def test_the_limiter_is_exact_and_costs_nothing_afterwards() -> None:
    """As its table says, whatever the machine: no peer is all of this."""
    ours = peers.OURS
    keys = limiter.names(2000)
    for seed in range(5):
        assert limiter.seen_by_server(ours, seed=seed) == 5
        assert limiter.seen_by_server(peers.FLOOR, seed=seed) > 5  # sends are not arrivals
    assert limiter.fresh_key_waits(ours) == 0
    assert limiter.wait_after(ours, cancelled=10) == limiter.wait_after(ours, cancelled=0) == pytest.approx(60)
    live, left = limiter.bytes_a_key(ours, keys)
    assert live < 150
    assert left * len(keys) < 20_000  # for blocks that a deque keeps for later, however many keys there were


def test_the_limiter_s_tables_have_a_row_for_each_limiter(capsys: CapSys) -> None:
    """Its tables have a row for each limiter, and for each core, and one for those who wait."""
    limiter.main(400, 1)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == (2 + len(peers.ALL) + 1) + 1 + (2 + len(limiter.CORES)) + 1 + 3


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server("redis", tmp_path)
    yield server
    server.kill()


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> shared_log.Record:
    """The log of four processes that use the account for 140 seconds as fast as they may."""
    return shared_log.together(tmp_path_factory.mktemp("log") / "account.log", seconds=140, round_trip=0.13)


def test_a_report_is_made_from_each_kind_of_results(capsys: CapSys) -> None:
    """And each counts all messages, and has its row."""
    report.main(2_000)
    _, *rows = capsys.readouterr().out.splitlines()
    assert len(rows) == len(report.CASES)


def test_the_shared_log_stays_small_at_full_speed(log: shared_log.Record) -> None:
    """Old entries are dropped. Otherwise the file would be larger by then than it ever gets."""
    bytes_in_all = sum(len(written) + 16 for written in log.written if isinstance(written, bytes))
    assert log.requests > 29 * 140
    assert max(log.sizes) < 250_000 < bytes_in_all
    assert max(log.sizes[100:]) < 1.2 * max(log.sizes[60:100])


def test_a_newcomer_reads_the_largest_log_in_a_few_times_the_time_of_decoding_it(
    log: shared_log.Record, tmp_path: Path
) -> None:
    assert 4000 < len(log.last.entries) < 8000
    took, _, alone = shared_log.newcomer(tmp_path, log)
    assert took < 20 * alone


def test_the_shared_log_stays_small_in_redis(log: shared_log.Record, server: Server) -> None:
    entries, size = asyncio.run(shared_log.in_redis(server.url, log))
    assert entries < 5500
    assert size < 600_000


def test_the_table_of_shared_logs_has_a_row_for_each_round_trip(
    capsys: CapSys, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    """And one line for the hours."""
    monkeypatch.setattr(shared_log, "ROUND_TRIPS", (0.4, 0.2))
    shared_log.main(3, 0.02, server.url)
    head, _, *rows, _, hours = capsys.readouterr().out.splitlines()
    assert len(rows) == 2
    assert all(row.count("|") == head.count("|") for row in rows)
    assert "0.02 h" in hours


def test_of_the_limiters_that_share_by_redis_ours_is_exact(capsys: CapSys, server: Server) -> None:
    """And its table has a row for each."""
    shared_peers.main(server.url, 4.0, 20)
    rows = capsys.readouterr().out.splitlines()[2:]
    assert len(rows) == len(shared_peers.LIMITERS) + 1
    most = [int(row.split("|")[2]) for row in rows[:-1]]
    assert most[0] == 5 < max(most[1:])


def test_the_table_of_stalls_has_a_row_for_each_cause(capsys: CapSys, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its table has a row for each thing that may hold the loop."""
    monkeypatch.setattr(stalls, "LONG_TEXT", 100)
    stalls.main(40, 1)
    head, _, *rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 2 * 2 + 2 + 4 + 1 + 5
    assert all(row.count("|") == head.count("|") for row in rows)


def test_a_heartbeat_measures_the_longest_turn_of_the_loop() -> None:
    """A heartbeat tells the processor's time of the longest turn."""

    def hold(seconds: float) -> None:
        until = time.process_time() + seconds
        while time.process_time() < until:
            pass

    async def case(heart: stalls.Heartbeat) -> None:
        async with heart.watching():
            for _ in range(3):
                hold(0.02)
                await asyncio.sleep(0)
            with heart.paused():
                hold(0.1)

    assert 0.02 <= stalls.seconds_held(case, 1) < 0.06


def test_the_table_of_decoding_has_a_row_for_each_way_to_read(capsys: CapSys) -> None:
    """It has a row for each way to read a reply."""
    decode.main(20, 1)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 7 + 2 * (8 + 4) + 4 + 2 * 2


@pytest.mark.parametrize("format", [Format.JSON, Format.XML])
def test_a_kept_record_costs_a_bounded_amount_of_memory(format: Format) -> None:
    """In bytes, at the highest level of detail; times would be of the machine."""
    assert decode.bytes_kept(decode.ours(decode.sample_of(1000), format, Detail.EXTENDED), 1000) < 900


def test_the_cost_of_telemetry_has_a_row_for_each_way(capsys: CapSys) -> None:
    """It makes spans and values in the ways in which it says so."""
    telemetry.main(2, 2)
    rows = [line.rsplit(maxsplit=4)[0] for line in capsys.readouterr().out.splitlines()[1:]]
    ways = "off", "no provider", "metrics", "two spans by hand", "traces", "traces, one in ten", "both"
    assert rows == list(ways)
