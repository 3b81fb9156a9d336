"""Traces and metrics of a client, by OpenTelemetry's API alone (the extra `telemetry`).

A client observes itself if a provider is set when it is first used in an event loop. `StatusClient(telemetry=…)` says
otherwise.

Reading order: `_table` names every metric and attribute, `_counts` counts what has happened, `_sampling` asks clients
how they are, `_instruments` makes the instruments of these, `_observing` is told by a client what it does, and
`_telemetry` puts them together.
"""

from __future__ import annotations

from smsc_status.errors import ConfigError

try:
    import opentelemetry.metrics as _metrics
    import opentelemetry.trace as _trace
except ImportError as _error:  # with an underscore, as type checkers count it among the names of this module
    raise ConfigError(
        "smsc_status.telemetry needs OpenTelemetry's API: pip install 'smsc-status[telemetry]'"
    ) from _error

from smsc_status.telemetry._telemetry import Telemetry

__all__ = ["Telemetry", "is_provider_set"]


def is_provider_set() -> bool:
    """Whether the program has set a global provider of traces or metrics: one that is not the API's own stand-in."""
    return not (_is_stand_in(_trace.get_tracer_provider()) and _is_stand_in(_metrics.get_meter_provider()))


def _is_stand_in(provider: object) -> bool:
    """Whether it is of a class of the API itself. Those do nothing."""
    return type(provider).__module__.startswith((_trace.__name__, _metrics.__name__))
