"""`Telemetry`, which users make and share among clients."""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakMethod, WeakSet

from opentelemetry.metrics import MeterProvider, get_meter
from opentelemetry.trace import TracerProvider, get_tracer

from smsc_status import _loops
from smsc_status._sharing.tally import LogTally
from smsc_status.telemetry._instruments import Instruments
from smsc_status.telemetry._observing import ClientObserver
from smsc_status.telemetry._sampling import Sample, Sampled
from smsc_status.telemetry._table import SCHEMA_URL

NAME = "smsc_status"
"""The name of the instrumentation scope."""


class Telemetry:
    """Traces and metrics of clients, for `StatusClient(telemetry=…)`. Several clients may share one.

    Args:
        tracer_provider: makes the spans; by default the global one.
        meter_provider: makes the instruments; by default the global one.

    A global provider that is set later is used from then on.
    """

    def __init__(
        self, *, tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None
    ) -> None:
        from smsc_status import __version__  # noqa: PLC0415 (the package may not be complete yet)

        self._tracer = get_tracer(NAME, __version__, tracer_provider, SCHEMA_URL)
        self._instruments = Instruments(get_meter(NAME, __version__, meter_provider, SCHEMA_URL))
        _all.add(self)

    def _observe(
        self, stats: WeakMethod[Callable[[], Sample]], server: tuple[str, int], tally: LogTally | None
    ) -> ClientObserver:
        """An observer of a client, whose event loop runs here. See `Sampled` for the arguments."""
        return ClientObserver(self._tracer, self._instruments, Sampled(stats, server, tally))

    def _begin_anew(self) -> None:
        """Count from zero, as a new process does. The open clients are the parent's."""
        self._instruments.begin_anew()


_all: WeakSet[Telemetry] = WeakSet()


def _reset_after_fork() -> None:
    for telemetry in list(_all):
        telemetry._begin_anew()


_loops.at_fork(_reset_after_fork)
