"""Who observes a client: telemetry, if the program uses OpenTelemetry."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakMethod

from smsc_status._runtime.http import Address
from smsc_status._runtime.observer import Observer
from smsc_status._sharing.tally import LogTally
from smsc_status.errors import ConfigError
from smsc_status.limiter import Limiter

if TYPE_CHECKING:
    from smsc_status.telemetry import Telemetry

API = "opentelemetry.trace", "opentelemetry.metrics"
"""A program that has set a provider has imported one of these. Otherwise nothing of OpenTelemetry is imported here."""

logger = logging.getLogger("smsc_status")


def check_telemetry(telemetry: object) -> Telemetry | Literal[False] | None:
    """The argument `telemetry` of a client. `True` stands for the telemetry of the global providers.

    Raises:
        ConfigError: it is of another type; or it is `True`, and OpenTelemetry's API is not installed.
    """
    if telemetry is None or telemetry is False:
        return telemetry
    from smsc_status.telemetry import Telemetry  # noqa: PLC0415 (OpenTelemetry is an extra)

    if telemetry is True:
        return Telemetry()
    if not isinstance(telemetry, Telemetry):
        raise ConfigError(f"telemetry of the type {type(telemetry).__name__}: expected a Telemetry, a bool or None")
    return telemetry


def find_observer(
    telemetry: Telemetry | Literal[False] | None,
    stats: WeakMethod[Callable[[], Any]],
    limiter: Limiter,
    address: Address,
) -> Observer | None:
    """Who observes this client from now on. Called in the event loop that the client is bound to.

    Args:
        telemetry: as `check_telemetry` has returned it. `None` means: if a global provider is set now.
        stats: the client's method.
        limiter: its limiter.
        address: its server.
    """
    if telemetry is False or (telemetry is None and not any(name in sys.modules for name in API)):
        return None
    try:
        from smsc_status.telemetry import Telemetry, is_provider_set  # noqa: PLC0415 (an extra)

        if telemetry is None:
            if not is_provider_set():
                return None
            telemetry = Telemetry()
        tally = getattr(limiter, "tally", None)  # a limiter of the user's own may have something else of this name
        server = address.host, address.port
        return telemetry._observe(stats, server, tally if isinstance(tally, LogTally) else None)
    except Exception as error:
        logger.warning("telemetry can't be used, and the client works without it: %s: %s", type(error).__name__, error)
        return None
