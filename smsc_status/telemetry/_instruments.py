"""The instruments. Those that are asked for their values ask the counts and the clients that are open then.

OpenTelemetry can't take an instrument away. So there is one set of instruments for all clients, and a client that is
closed is no longer asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from threading import Lock
from weakref import WeakSet

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from smsc_status.telemetry import _table as table
from smsc_status.telemetry._counts import Counts, Values
from smsc_status.telemetry._sampling import Sample, Sampled
from smsc_status.telemetry._table import Instrument, Kind

Callback = Callable[[CallbackOptions], Iterable[Observation]]


class Instruments:
    """All instruments of one `Telemetry`."""

    def __init__(self, meter: Meter) -> None:
        self.counts: Counts = Counts()
        self._clients: WeakSet[Sampled] = WeakSet()
        self._turn = Lock()  # clients come and go in their loops' threads, and a reader has a thread of its own
        # The first instrument is the first that is asked. It hands over what the histograms have not been given yet.
        _observe(meter, table.ACTIVE_REQUESTS, self._active)
        self.request_duration: Values = _values(meter, table.REQUEST_DURATION)
        self.request_wait: Values = _values(meter, table.REQUEST_WAIT)
        self.detection_delay: Values = _values(meter, table.DETECTION_DELAY)
        for counted in (table.REQUESTS, table.REFUSALS, table.OUTCOMES):
            _observe(meter, counted, partial(self._counted, counted))
        for sampled, value in _SAMPLED.items():
            _observe(meter, sampled, partial(self._sum, value))
        _observe(meter, table.STALEST_ANSWER, self._stalest)
        for name, instrument in table.LOG_COUNTS.items():
            _observe(meter, instrument, partial(self._of_logs, name))

    def begin_anew(self) -> None:
        """Count from zero, and forget all clients."""
        self.counts = Counts()
        self._clients = WeakSet()
        self._turn = Lock()
        for values in self._all_values():
            values.clear()

    @property
    def clients(self) -> list[Sampled]:
        """The clients that are open."""
        with self._turn:
            return list(self._clients)

    def enter(self, client: Sampled) -> None:
        """The client is open."""
        with self._turn:
            self._clients.add(client)

    def leave(self, client: Sampled) -> None:
        """The client is closed: ask it no more. What it has counted remains."""
        with self._turn:
            self._clients.discard(client)
        if client.tally is not None:
            self.counts.take_in(client.tally)
        self._hand_over()

    def _hand_over(self) -> None:
        for values in self._all_values():
            values.hand_over()

    def _all_values(self) -> tuple[Values, ...]:
        return self.request_duration, self.request_wait, self.detection_delay

    # What the instruments call.

    def _active(self, _: CallbackOptions) -> Iterator[Observation]:
        self._hand_over()
        sums: Counter[tuple[str, int]] = Counter()
        for client in self.clients:
            for server, number in list(client.active.items()):
                sums[server] += 0 if client.is_over else number
        for server, number in sums.items():
            yield Observation(number, {table.HTTP_METHOD: "POST", **_of_server(server)})

    def _counted(self, counted: Instrument, _: CallbackOptions) -> Iterator[Observation]:
        for key, number in self.counts.of(counted.name):
            attributes = zip(counted.attributes, key, strict=True)
            yield Observation(number, {name: value for name, value in attributes if value})

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
        for client in self.clients:
            sample = client.sample()
            if sample is not None:
                yield client.server, sample

    def _of_logs(self, name: str, _: CallbackOptions) -> Iterator[Observation]:
        for client in self.clients:
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


def _values(meter: Meter, named: Instrument) -> Values:
    return Values(
        meter.create_histogram(
            named.name, named.unit, named.description, explicit_bucket_boundaries_advisory=named.buckets
        )
    )


def _observe(meter: Meter, named: Instrument, callback: Callback) -> None:
    make: Callable[..., object] = {
        Kind.COUNTER: meter.create_observable_counter,
        Kind.UP_DOWN_COUNTER: meter.create_observable_up_down_counter,
        Kind.GAUGE: meter.create_observable_gauge,
    }[named.kind]
    make(named.name, [callback], named.unit, named.description)
