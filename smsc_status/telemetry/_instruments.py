"""The instruments. Those that are asked for their values ask the counts and the clients that are open then.

OpenTelemetry can't take an instrument away. So there is one set of instruments for all clients, and a client that is
closed is no longer asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from weakref import WeakSet

from opentelemetry.metrics import CallbackOptions, Histogram, Meter, Observation

from smsc_status.telemetry import _table as table
from smsc_status.telemetry._counts import Counts
from smsc_status.telemetry._sampling import Sample, Sampled
from smsc_status.telemetry._table import Instrument, Kind

Callback = Callable[[CallbackOptions], Iterable[Observation]]


class Instruments:
    """All instruments of one `Telemetry`."""

    def __init__(self, meter: Meter) -> None:
        self.counts: Counts = Counts()
        self.clients: WeakSet[Sampled] = WeakSet()
        """The clients that are open."""
        self.request_duration: Histogram = _histogram(meter, table.REQUEST_DURATION)
        self.request_wait: Histogram = _histogram(meter, table.REQUEST_WAIT)
        self.detection_delay: Histogram = _histogram(meter, table.DETECTION_DELAY)
        for counted in (table.ACTIVE_REQUESTS, table.REQUESTS, table.REFUSALS, table.OUTCOMES):
            _observe(meter, counted, partial(self._counted, counted.name))
        for sampled, value in _SAMPLED.items():
            _observe(meter, sampled, partial(self._sum, value))
        _observe(meter, table.STALEST_ANSWER, self._stalest)
        for name, instrument in table.LOG_COUNTS.items():
            _observe(meter, instrument, partial(self._of_logs, name))

    def begin_anew(self) -> None:
        """Count from zero, and forget all clients."""
        self.counts = Counts()
        self.clients = WeakSet()

    def leave(self, client: Sampled) -> None:
        """The client is closed: ask it no more. What it has counted remains."""
        self.clients.discard(client)
        if client.tally is not None:
            self.counts.take_in(client.tally)

    def _counted(self, name: str, _: CallbackOptions) -> Iterator[Observation]:
        for key, number in self.counts.of(name):
            yield Observation(number, dict(key))

    def _sum(self, value: Callable[[Sample], int], _: CallbackOptions) -> Iterator[Observation]:
        sums: Counter[tuple[str, int]] = Counter()
        for server, sample in self._samples():
            sums[server] += value(sample)
        for server, number in sums.items():
            yield Observation(number, _of_server(server))

    def _stalest(self, _: CallbackOptions) -> Iterator[Observation]:
        oldest: dict[tuple[str, int], float] = {}
        for server, sample in self._samples():
            oldest[server] = max(sample.stalest, oldest.get(server, 0.0))
        for server, seconds in oldest.items():
            yield Observation(seconds, _of_server(server))

    def _samples(self) -> Iterator[tuple[tuple[str, int], Sample]]:
        for client in list(self.clients):
            sample = client.sample()
            if sample is not None:
                yield client.server, sample

    def _of_logs(self, name: str, _: CallbackOptions) -> Iterator[Observation]:
        for client in list(self.clients):
            if client.tally is not None:
                self.counts.take_in(client.tally)
        yield Observation(self.counts.of_logs(name))


_SAMPLED: dict[Instrument, Callable[[Sample], int]] = {
    table.WAITING: lambda sample: sample.waiting,
    table.TRACKED: lambda sample: sample.tracked,
    table.OVERDUE: lambda sample: sample.overdue,
}


def _of_server(server: tuple[str, int]) -> dict[str, str | int]:
    host, port = server
    return {table.SERVER_ADDRESS: host, table.SERVER_PORT: port}


def _histogram(meter: Meter, named: Instrument) -> Histogram:
    return meter.create_histogram(
        named.name, named.unit, named.description, explicit_bucket_boundaries_advisory=named.buckets
    )


def _observe(meter: Meter, named: Instrument, callback: Callback) -> None:
    make: Callable[..., object] = {
        Kind.COUNTER: meter.create_observable_counter,
        Kind.UP_DOWN_COUNTER: meter.create_observable_up_down_counter,
        Kind.GAUGE: meter.create_observable_gauge,
    }[named.kind]
    make(named.name, [callback], named.unit, named.description)
