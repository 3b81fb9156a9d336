"""`Telemetry`, which users make and share among clients."""

from __future__ import annotations

import threading
from collections.abc import Callable
from weakref import WeakKeyDictionary, WeakMethod

from opentelemetry import metrics
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

    Those of one meter provider are measured together.

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
        self._instruments = _instruments_of(meter_provider, __version__)

    def _observe(
        self, stats: WeakMethod[Callable[[], Sample]], server: tuple[str, int], tally: LogTally | None
    ) -> ClientObserver:
        """An observer of a client, whose event loop runs here. See `Sampled` for the arguments."""
        return ClientObserver(self._tracer, self._instruments, Sampled(stats, server, tally))


# Of one provider there is one set of instruments, because OpenTelemetry ignores an instrument that is made again. The
# global provider may be set later, so its set is not found by it.
_of_global: list[Instruments] = []
_of_others: WeakKeyDictionary[MeterProvider, Instruments] = WeakKeyDictionary()
_lock = threading.Lock()


def _instruments_of(provider: MeterProvider | None, version: str) -> Instruments:
    with _lock:
        in_use = metrics.get_meter_provider() if provider is None else provider
        found = _of_others.get(in_use)
        if found is not None:
            return found
        if in_use is metrics.get_meter_provider():
            if not _of_global:
                _of_global.append(Instruments(get_meter(NAME, version, schema_url=SCHEMA_URL)))
            return _of_global[0]
        made = _of_others[in_use] = Instruments(get_meter(NAME, version, in_use, SCHEMA_URL))
        return made


def _reset_after_fork() -> None:
    """Count from zero, as a new process does. The open clients are the parent's."""
    global _lock  # noqa: PLW0603 (another thread of the parent may have held it)
    _lock = threading.Lock()
    for instruments in [*_of_global, *_of_others.values()]:
        instruments.begin_anew()


_loops.at_fork(_reset_after_fork)
