"""Delivery statuses from the SMSC gateway: within its limits by construction, async, typed, streamed.

```python
async with StatusClient(apikey="...") as client:
    record = await client.check(12345, "79990000000")
    async for outcome in client.stream(messages):
        ...
```

To read the code, take it in this order. `models`, `codes` and `errors` are the values that go in and come out. `_core`
makes all decisions and does no I/O: `_core.scheduling` (which request may start now, and for which messages?),
`_core.tracking` (when is a tracked message asked?) and `_core.wire` (what is sent, and what does a reply say?).
`limiter` waits for the limits. `_runtime` sends the requests. `_operations` has check, stream, track and delete, and
`client` is their public face. `telemetry` makes traces and metrics of what a client does. `tables` keeps a database
table current. `emulator` is the vendor's server to develop against, and `cli` is the command line.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from smsc_status.client import Stats, StatusClient
from smsc_status.codes import Channel, MessageType, Status, Title
from smsc_status.errors import (
    AddressBlocked,
    ApiError,
    Archived,
    AuthError,
    ClientClosed,
    ConfigError,
    DatabaseUnavailable,
    DeleteError,
    LimiterUnavailable,
    LimitExceeded,
    ParametersError,
    ProtocolError,
    RateLimited,
    RequestTimeout,
    SmscError,
    TrackingEnded,
    TrackingTimeout,
    TransportError,
)
from smsc_status.models import Detail, FailedCheck, Flags, Format, HlrRecord, Limits, MessageRef, StatusRecord

if TYPE_CHECKING:
    from smsc_status._operations.outcomes import Batches
    from smsc_status._operations.streaming import OutcomeStream
    from smsc_status._operations.tracker import TrackStream
    from smsc_status.limiter import Limiter, LocalLimiter

__version__ = "0.1.0"

__all__ = [
    "AddressBlocked",
    "ApiError",
    "Archived",
    "AuthError",
    "Batches",
    "Channel",
    "ClientClosed",
    "ConfigError",
    "DatabaseUnavailable",
    "DeleteError",
    "Detail",
    "FailedCheck",
    "Flags",
    "Format",
    "HlrRecord",
    "LimitExceeded",
    "Limiter",
    "LimiterUnavailable",
    "Limits",
    "LocalLimiter",
    "MessageRef",
    "MessageType",
    "OutcomeStream",
    "ParametersError",
    "ProtocolError",
    "RateLimited",
    "RequestTimeout",
    "SmscError",
    "Stats",
    "Status",
    "StatusClient",
    "StatusRecord",
    "Title",
    "TrackStream",
    "TrackingEnded",
    "TrackingTimeout",
    "TransportError",
]

_LOADED_WHEN_USED = {
    "Batches": "smsc_status._operations.outcomes",
    "Limiter": "smsc_status.limiter",
    "LocalLimiter": "smsc_status.limiter",
    "OutcomeStream": "smsc_status._operations.streaming",
    "TrackStream": "smsc_status._operations.tracker",
}


def __getattr__(name: str) -> object:
    """Load the names that need an event loop's library when they are first used: see the docstring of `client`."""
    if name not in _LOADED_WHEN_USED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LOADED_WHEN_USED[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
