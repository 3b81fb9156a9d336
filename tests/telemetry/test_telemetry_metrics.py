"""What is measured, and that it is true: in virtual time all durations are exact."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import httpx
import pytest
from helpers import PHONE, Answering, answered_by, client_of, delivered
from memory_store import MemoryLog, MemoryStore
from opentelemetry.sdk.metrics.export import Gauge, Histogram, Sum
from watching import Watch

from smsc_status import ConfigError, Limits, SmscError, StatusClient, StatusRecord, __version__
from smsc_status._sharing.limiter import SharedLimiter
from smsc_status._sharing.store import Store
from smsc_status.emulator import Emulator
from smsc_status.telemetry import _counts, _table
from smsc_status.telemetry._counts import Values
from smsc_status.telemetry._table import Kind

pytestmark = pytest.mark.anyio

SERVER = ("server.address", "localhost"), ("server.port", 80)
START = datetime(2026, 3, 10, 6, 0, tzinfo=UTC)


@pytest.fixture
def watch() -> Watch:
    return Watch()


def shared_limiter(log: MemoryLog, *, knows: bool = False, limits: Limits | None = None) -> SharedLimiter:
    async def open_store() -> Store:
        return MemoryStore(log, has_seen_log=knows)

    return SharedLimiter(limits or Limits(), open_store, where="memory")


class Clock:
    """A date that begins at `START`, in virtual time."""

    def __init__(self) -> None:
        self._began_at = anyio.current_time()

    def __call__(self) -> datetime:
        return START + timedelta(seconds=anyio.current_time() - self._began_at)


# The table.


async def test_every_metric_of_the_table_is_measured_as_it_says(watch: Watch) -> None:
    """Its name, unit, kind, attributes and buckets; and there are no others."""
    clock = Clock()
    emulator = Emulator(wall_clock=clock)
    delivered(emulator, range(1, 5))
    emulator.world.add(9, PHONE, sent_at=emulator.now(), life=[(0, 0), (5, 1, 0)])
    options: dict[str, Any] = {
        "limiter": shared_limiter(MemoryLog()), "wall_clock": clock, "telemetry": watch.telemetry
    }  # fmt: skip
    async with client_of(emulator, **options) as client:
        await client.check(1, PHONE)
        with pytest.raises(SmscError):
            await client.delete(4444, PHONE)
        assert [outcome async for outcome in client.track([(9, PHONE)])]
        found = watch.metrics()
    assert found.keys() == {instrument.name for instrument in _table.ALL}
    for instrument in _table.ALL:
        metric = found[instrument.name]
        assert (metric.unit, metric.description) == (instrument.unit, instrument.description)
        assert kind_of(metric.data) is instrument.kind, instrument.name
        for point in metric.data.data_points:
            assert set(point.attributes or {}) <= set(instrument.attributes)
        if isinstance(metric.data, Histogram):
            assert tuple(metric.data.data_points[0].explicit_bounds) == instrument.buckets


async def test_metrics_are_of_this_library_s_scope(watch: Watch) -> None:
    """With its version and the conventions' schema."""
    async with answered_by(b'{"status": 1}', telemetry=watch.telemetry) as client:
        await client.check(1, PHONE)
    data = watch.reader.get_metrics_data()
    assert data is not None
    (scope,) = [metrics.scope for resource in data.resource_metrics for metrics in resource.scope_metrics]
    assert (scope.name, scope.version, scope.schema_url) == ("smsc_status", __version__, _table.SCHEMA_URL)


def kind_of(data: object) -> Kind:
    if isinstance(data, Sum):
        return Kind.COUNTER if data.is_monotonic else Kind.UP_DOWN_COUNTER
    assert isinstance(data, Histogram | Gauge)
    return Kind.HISTOGRAM if isinstance(data, Histogram) else Kind.GAUGE


def test_names_and_buckets_are_as_the_conventions_ask() -> None:
    """Lower case with dots; units of UCUM; HTTP's buckets as HTTP's conventions advise them."""
    for instrument in _table.ALL:
        assert instrument.name.startswith(("smsc.", "http.client."))
        assert instrument.name == instrument.name.lower()
        assert instrument.unit == "s" or (instrument.unit.startswith("{") and instrument.unit.endswith("}"))
        assert list(instrument.buckets) == sorted(set(instrument.buckets))
        assert bool(instrument.buckets) == (instrument.kind is Kind.HISTOGRAM)
    names = {instrument.name for instrument in _table.ALL}
    for name in names:  # no name is also a namespace
        assert not any(other.startswith(f"{name}.") for other in names - {"smsc.request.wait"})
    assert _table.REQUEST_DURATION.buckets == (
        0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
    )  # fmt: skip


# Requests.


async def test_requests_are_counted_by_kind_and_outcome(watch: Watch) -> None:
    emulator = Emulator()
    delivered(emulator, range(1, 21))
    async with client_of(emulator, telemetry=watch.telemetry) as client:
        await client.check(1, PHONE)
        await client.delete(1, PHONE)
        with pytest.raises(SmscError):
            await client.delete(1, PHONE)
        assert [outcome async for outcome in client.stream([(id, PHONE) for id in range(2, 21)])]
    assert watch.series("smsc.requests") == {
        (("smsc.request.kind", "single"), ("smsc.request.outcome", "answered")): 1,
        (("smsc.request.kind", "bulk"), ("smsc.request.outcome", "answered")): 1,
        (("smsc.request.kind", "delete"), ("smsc.request.outcome", "answered")): 1,
        (("error.type", "DeleteError"), ("smsc.request.kind", "delete"), ("smsc.request.outcome", "refused")): 1,
    }
    assert watch.series("smsc.refusals") == {(("smsc.error.code", "5"),): 1}


async def test_a_request_lasts_until_its_reply_has_come(watch: Watch) -> None:
    """And one without a reply until that is known."""
    emulator = Emulator()
    delivered(emulator, [1])
    async with client_of(emulator, round_trip=0.25, telemetry=watch.telemetry) as client:
        await client.check(1, PHONE)
        stats = client.stats()
    assert stats.request_seconds == {"single": pytest.approx(0.25), "bulk": 0, "delete": 0}
    ((attributes, (count, seconds)),) = watch.series("http.client.request.duration").items()
    assert (count, seconds) == (1, pytest.approx(0.25))
    assert attributes == (("http.request.method", "POST"), ("http.response.status_code", 200), *SERVER)
    async with answered_by(b"", after=99, timeout=5, retries=0, telemetry=watch.telemetry) as client:
        with pytest.raises(SmscError):
            await client.check(1, PHONE)
    timed_out = ("error.type", "RequestTimeout"), ("http.request.method", "POST"), *SERVER
    assert watch.series("http.client.request.duration")[timed_out] == (1, pytest.approx(5))


async def test_a_request_waits_as_long_as_its_oldest_message(watch: Watch) -> None:
    """From the call on, or from when a tracked message is due; a pause after a failure is no wait."""
    emulator = Emulator()
    delivered(emulator, [1])
    async with client_of(emulator, round_trip=0.1, telemetry=watch.telemetry) as client:
        for _ in range(6):
            await client.check(1, PHONE)
        stats = client.stats()
    # The first token comes back a period and a margin after its reply.
    waited = 61.0 + 0.1 - 5 * 0.1
    assert stats.wait_seconds == {"single": pytest.approx(waited, abs=1e-3), "bulk": 0, "delete": 0}
    assert watch.series("smsc.request.wait") == {
        (("smsc.request.kind", "single"),): (6, pytest.approx(waited, abs=1e-3))
    }


async def test_a_deletion_waits_for_the_limits_too(watch: Watch) -> None:
    emulator = Emulator()
    delivered(emulator, [1])
    async with client_of(emulator, round_trip=0.1, telemetry=watch.telemetry) as client:
        for _ in range(5):
            await client.check(1, PHONE)
        await client.delete(1, PHONE)
    ((count, seconds),) = [
        value for key, value in watch.series("smsc.request.wait").items() if key == (("smsc.request.kind", "delete"),)
    ]
    assert (count, seconds) == (1, pytest.approx(61.0 + 0.1 - 5 * 0.1, abs=1e-3))


async def test_a_pause_after_a_failure_is_no_wait(watch: Watch) -> None:
    """For a check, and for a deletion."""
    ok = b'{"status": 1, "last_timestamp": 1767250800}'
    transport = Answering(httpx.ConnectError("no"), httpx.ConnectError("no"), ok)
    options: dict[str, Any] = {"apikey": "k", "base_url": "http://localhost", "telemetry": watch.telemetry}
    async with StatusClient(transport=transport, **options) as client:
        began_at = anyio.current_time()
        await client.check(1, PHONE)
        assert anyio.current_time() - began_at > 0.1
    transport = Answering(httpx.ConnectError("no"), httpx.ConnectError("no"), b'{"result": "OK"}')
    async with StatusClient(transport=transport, **options) as client:
        began_at = anyio.current_time()
        await client.delete(1, PHONE)
        assert anyio.current_time() - began_at > 0.1
    for count, seconds in watch.series("smsc.request.wait").values():
        assert (count, seconds) == (3, pytest.approx(0, abs=0.01))


async def test_a_tracked_message_waits_from_when_it_is_due(watch: Watch) -> None:
    """With bulk requests alone, it is due before the next of these may go."""
    clock = Clock()
    emulator = Emulator(wall_clock=clock)
    emulator.world.add(1, PHONE, sent_at=emulator.now(), life=[(0, 0), (100, 1, 0)])
    async with client_of(emulator, wall_clock=clock, telemetry=watch.telemetry) as client:
        assert [record async for record in client.track([(1, PHONE, START)], eagerness=0)]
    ((kind, (count, seconds)),) = watch.series("smsc.request.wait").items()
    assert kind == (("smsc.request.kind", "bulk"),)
    assert count > 1
    assert 1 < seconds < 61 * count


@pytest.mark.slow
async def test_a_last_call_does_not_wait(watch: Watch) -> None:
    """It goes before all others, and has no instant at which it is due."""
    clock = Clock()
    emulator = Emulator(wall_clock=clock)
    sent_at = START - timedelta(hours=23, minutes=10)
    emulator.world.add(1, PHONE, sent_at=sent_at.timestamp(), life=[(0, 0)])
    async with client_of(emulator, wall_clock=clock, telemetry=watch.telemetry) as client:
        assert [record async for record in client.track([(1, PHONE, sent_at)])]
    assert sum(seconds for _, seconds in watch.series("smsc.request.wait").values()) < 3600


async def test_requests_in_flight_are_active(watch: Watch) -> None:
    """Of all clients of a server together."""
    emulator = Emulator()
    delivered(emulator, range(1, 4))
    key = ("http.request.method", "POST"), *SERVER
    async with (
        client_of(emulator, telemetry=watch.telemetry) as one,
        client_of(emulator, telemetry=watch.telemetry) as other,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(one.check, 1, PHONE)
        tasks.start_soon(other.check, 2, PHONE)
        await anyio.sleep(0.05)
        assert watch.series("http.client.active_requests") == {key: 2}
        await anyio.sleep(0.1)
        assert watch.series("http.client.active_requests") == {key: 0}


async def test_a_server_cannot_make_ever_more_time_series(watch: Watch) -> None:
    """Codes that are unknown count together."""
    odd = b'{"status": 1234567, "last_timestamp": 1767250800}'
    refused = b'{"error": "x", "error_code": 1234567}'
    async with answered_by(odd, refused, telemetry=watch.telemetry) as client:
        assert (await client.check(1, PHONE)).status == 1234567
        with pytest.raises(SmscError):
            await client.check(1, PHONE)
    assert watch.series("smsc.refusals") == {(("smsc.error.code", "_OTHER"),): 1}
    outcomes = [dict(key).get("smsc.status") for key in watch.series("smsc.outcomes")]
    assert outcomes == ["_OTHER", None]


async def test_many_values_are_handed_over_before_anybody_reads(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the memory that they take is bounded; none is lost and none comes twice."""
    monkeypatch.setattr(_counts, "KEPT", 3)
    emulator = Emulator()
    delivered(emulator, range(1, 9))
    async with client_of(emulator, telemetry=watch.telemetry) as client:
        for id in range(1, 9):
            await client.check(id, PHONE)
        kept = watch.instruments.request_duration
        assert len(kept) == 2
        assert next(iter(watch.series("http.client.request.duration").values()))[0] == 8
        assert len(kept) == 0


def test_two_threads_may_hand_over_at_once() -> None:
    """Each value is handed over by one of them."""

    # Two threads at the same step can't be arranged, so this takes the values as a second one would.
    class Taking:
        def record(self, *_: object) -> None:
            values.clear()  # as another thread does it

    values = Values(Taking())  # type: ignore[arg-type] # only `record` is called
    for _ in range(3):
        values.add(1.0, {})
    values.hand_over()
    assert len(values) == 0


# Outcomes.


async def test_outcomes_are_counted_by_operation_status_and_channel(watch: Watch) -> None:
    emulator = Emulator()
    delivered(emulator, range(1, 4))
    async with client_of(emulator, telemetry=watch.telemetry) as client:
        await client.check(1, PHONE)
        await client.delete(3, PHONE)
        assert [outcome async for outcome in client.stream([(1, PHONE), (2, PHONE), (3, "no phone")])]
        assert [outcome async for outcome in client.track([(2, PHONE)])]
    delivered_sms = ("smsc.channel", "sms"), ("smsc.status", "Delivered")

    def key(operation: str) -> tuple[tuple[str, str], ...]:
        return tuple(sorted([*delivered_sms, ("smsc.operation", operation)]))

    assert watch.series("smsc.outcomes") == {
        key("check"): 1,
        (("smsc.operation", "delete"),): 1,
        key("stream"): 2,
        (("error.type", ConfigError.__name__), ("smsc.operation", "stream")): 1,
        key("track"): 1,
    }


async def test_a_changes_delay_counts_from_the_change_until_it_is_known(watch: Watch) -> None:
    """For each change that a tracker notices, and for no answer without one."""
    clock = Clock()
    emulator = Emulator(wall_clock=clock)
    emulator.world.add(1, PHONE, sent_at=emulator.now(), life=[(0, 0), (200, 1, 0)])
    async with client_of(emulator, wall_clock=clock, telemetry=watch.telemetry) as client:
        records = [record async for record in client.track([(1, PHONE, START)])]
        asked = client.stats().requests
    assert sum(asked.values()) > len(records) == 2
    delays = [
        (record.checked_at - record.changed_at).total_seconds()
        for record in records
        if isinstance(record, StatusRecord) and record.changed_at is not None
    ]
    assert watch.series("smsc.detection.delay") == {(("smsc.channel", "sms"),): (2, pytest.approx(sum(delays)))}
    assert delays[1] > 0


async def test_a_change_without_a_date_has_no_delay(watch: Watch) -> None:
    """And a clock that is behind makes none of less than nothing."""
    clock = Clock()
    later = int((START + timedelta(seconds=30)).timestamp())
    for reply, expected in ((b'{"status": 1}', []), (b'{"status": 1, "last_timestamp": %d}' % later, [(1, 0.0)])):
        async with answered_by(reply, wall_clock=clock, telemetry=watch.telemetry) as client:
            assert [record async for record in client.track([(1, PHONE, START)])]
        assert list(watch.series("smsc.detection.delay").values()) == expected


# The shared limiter.


async def test_what_is_done_with_the_shared_log_is_counted(watch: Watch) -> None:
    """The counts of a limiter that is gone remain."""
    emulator = Emulator()
    delivered(emulator, range(1, 9))
    log = MemoryLog(latency=0.05)
    limits = Limits(connections=1)
    one, other = (shared_limiter(log, limits=limits) for _ in range(2))
    options: dict[str, Any] = {"telemetry": watch.telemetry}
    async with (
        client_of(emulator, limiter=one, **options) as first,
        client_of(emulator, limiter=other, **options) as second,
    ):
        async with anyio.create_task_group() as tasks:
            for id in range(1, 5):
                tasks.start_soon(first.check, id, PHONE)
                tasks.start_soon(second.check, id + 4, PHONE)
        now = {name: dict(one.tally.counts())[name] + dict(other.tally.counts())[name] for name in one.tally.counts()}
        measured = {name: watch.series(f"smsc.limiter.{name}")[()] for name in now}
        assert measured == now
    assert now["appends"] > 4
    assert now["conflicts"] > 0
    assert now["tickets"] > 0
    assert {name: watch.series(f"smsc.limiter.{name}")[()] >= now[name] for name in now} == dict.fromkeys(now, True)
    del first, second, one, other
    assert watch.series("smsc.limiter.appends")[()] >= now["appends"]


async def test_what_was_done_before_the_first_read_counts_too(watch: Watch) -> None:
    """Even if the client is closed by then."""
    emulator = Emulator()
    delivered(emulator, [1])
    limiter = shared_limiter(MemoryLog())
    async with client_of(emulator, limiter=limiter, telemetry=watch.telemetry) as client:
        await client.check(1, PHONE)
    assert watch.series("smsc.limiter.appends") == {(): limiter.tally.counts()["appends"]}
    assert limiter.tally.counts()["appends"] > 0


async def test_a_quarantine_is_counted(watch: Watch) -> None:
    emulator = Emulator()
    delivered(emulator, [1])
    limiter = shared_limiter(MemoryLog(), knows=True)
    async with client_of(emulator, limiter=limiter, telemetry=watch.telemetry) as client:
        await client.check(1, PHONE)
        assert watch.series("smsc.limiter.quarantines") == {(): 1}
