"""The names, units and buckets of all metrics, and the names of all attributes.

HTTP's names are those of https://opentelemetry.io/docs/specs/semconv/http/. The library's own begin with `smsc.`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import attrs

SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.37.0"

HTTP_METHOD: Final = "http.request.method"
HTTP_STATUS: Final = "http.response.status_code"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
URL_FULL: Final = "url.full"
ERROR_TYPE: Final = "error.type"

KIND: Final = "smsc.request.kind"
MESSAGES: Final = "smsc.request.messages"
WAIT: Final = "smsc.request.wait"
OUTCOME: Final = "smsc.request.outcome"
ERROR_CODE: Final = "smsc.error.code"
OPERATION: Final = "smsc.operation"
STATUS: Final = "smsc.status"
CHANNEL: Final = "smsc.channel"

OTHER: Final = "_OTHER"
"""Stands for every value that is not among the known ones, so that a server can't make ever more time series."""


class Kind(StrEnum):
    """What an instrument measures, as the conventions call it."""

    COUNTER = "counter"
    UP_DOWN_COUNTER = "up-down counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@attrs.frozen
class Instrument:
    """One metric."""

    name: str
    kind: Kind
    unit: str
    description: str
    attributes: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    """The upper bounds of a histogram's buckets, inclusive."""


_SERVER = SERVER_ADDRESS, SERVER_PORT

REQUEST_DURATION = Instrument(
    "http.client.request.duration",
    Kind.HISTOGRAM,
    "s",
    "Duration of HTTP client requests.",
    (HTTP_METHOD, *_SERVER, HTTP_STATUS, ERROR_TYPE),
    (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
)
ACTIVE_REQUESTS = Instrument(
    "http.client.active_requests",
    Kind.UP_DOWN_COUNTER,
    "{request}",
    "Number of active HTTP requests.",
    (HTTP_METHOD, *_SERVER),
)
REQUESTS = Instrument(
    "smsc.requests", Kind.COUNTER, "{request}", "Requests that have ended.", (KIND, OUTCOME, ERROR_TYPE)
)
REQUEST_WAIT = Instrument(
    "smsc.request.wait",
    Kind.HISTOGRAM,
    "s",
    "How long a request waited for the limits: its message that waited longest.",
    (KIND,),
    (0.01, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0),
)
REFUSALS = Instrument("smsc.refusals", Kind.COUNTER, "{refusal}", "Requests that the vendor refused.", (ERROR_CODE,))
OUTCOMES = Instrument(
    "smsc.outcomes",
    Kind.COUNTER,
    "{outcome}",
    "Records and failures that came out for messages.",
    (OPERATION, STATUS, CHANNEL, ERROR_TYPE),
)
DETECTION_DELAY = Instrument(
    "smsc.detection.delay",
    Kind.HISTOGRAM,
    "s",
    "The time from a tracked message's change until it was known.",
    (CHANNEL,),
    (1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 21600.0, 86400.0),
)
WAITING = Instrument(
    "smsc.messages.waiting", Kind.UP_DOWN_COUNTER, "{message}", "Messages that wait for a request.", _SERVER
)
TRACKED = Instrument("smsc.messages.tracked", Kind.UP_DOWN_COUNTER, "{message}", "Messages that are followed.", _SERVER)
OVERDUE = Instrument(
    "smsc.messages.overdue",
    Kind.UP_DOWN_COUNTER,
    "{message}",
    "Tracked messages that are due for longer than the time between two bulk requests.",
    _SERVER,
)
STALEST_ANSWER = Instrument(
    "smsc.messages.stalest_answer", Kind.GAUGE, "s", "The age of the oldest answer about a tracked message.", _SERVER
)
LOG_COUNTS = {
    "appends": Instrument("smsc.limiter.appends", Kind.COUNTER, "{entry}", "Entries appended to the shared log."),
    "conflicts": Instrument(
        "smsc.limiter.conflicts", Kind.COUNTER, "{entry}", "Entries not appended, because something newer had come."
    ),
    "tickets": Instrument(
        "smsc.limiter.tickets", Kind.COUNTER, "{ticket}", "Tickets left for the account's other processes."
    ),
    "quarantines": Instrument(
        "smsc.limiter.quarantines", Kind.COUNTER, "{quarantine}", "Quarantines met, because the log was new."
    ),
}

ALL: tuple[Instrument, ...] = (
    REQUEST_DURATION,
    ACTIVE_REQUESTS,
    REQUESTS,
    REQUEST_WAIT,
    REFUSALS,
    OUTCOMES,
    DETECTION_DELAY,
    WAITING,
    TRACKED,
    OVERDUE,
    STALEST_ANSWER,
    *LOG_COUNTS.values(),
)
