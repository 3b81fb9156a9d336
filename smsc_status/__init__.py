"""Delivery statuses from the SMSC gateway: within its limits by construction, async, typed, streamed.

```python
async with StatusClient(apikey="...") as client:
    record = await client.check(12345, "79990000000")
    async for outcome in client.stream(messages):
        ...
```

To read the code, take it in this order. `models`, `codes` and `errors` are the values. `core` decides and touches
nothing: `core.pacing` (may a request start now?), `core.dispatch` (which messages go in it?), `core.protocol` and
`core.codecs` (what is sent, what came back?). The shell waits and sends: `limiter` (and `line`, who waits there),
`exchange` (with `proxies`; `redaction` takes secrets out of its errors), `desk` (who waits for what) and `engine`, and
on top `client`, `checking`, `streaming` and `deletion`; `tracker` follows messages as `core.polling` plans it, `source`
reads what it or a stream is given. `notation` and `texts` say what an id, a phone and a foreign text may look like.
`emulator` is the vendor's server to develop against, `cli` the command line.
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
    from smsc_status._operations.streaming import OutcomeStream
    from smsc_status._operations.tracker import TrackStream
    from smsc_status.limiter import Limiter, LocalLimiter

__version__ = "0.1.0"

__all__ = [
    "AddressBlocked",
    "ApiError",
    "Archived",
    "AuthError",
    "Channel",
    "ClientClosed",
    "ConfigError",
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
    "Limiter": "smsc_status.limiter",
    "LocalLimiter": "smsc_status.limiter",
    "OutcomeStream": "smsc_status._operations.streaming",
    "TrackStream": "smsc_status._operations.tracker",
}


def __getattr__(name: str) -> object:
    """What an event loop's library is loaded for: see the docstring of `client`."""
    if name not in _LOADED_WHEN_USED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LOADED_WHEN_USED[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
