"""A program whose client stops its own process at one place of its first request. Whoever has started it wakes it.

Its arguments are the server's URL, the event loop, the place ("headers" or "body"), and whether the check at that
place is switched on. It prints, in JSON, when each permit's time began, and how its check has ended.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping
from math import inf
from typing import Any

import anyio
import quick_start  # noqa: F401 (what it does is needed)

from smsc_status import Limits, LocalLimiter, SmscError, StatusClient
from smsc_status._runtime.http import _RequestProgress
from smsc_status.limiter import Permit

LIMITS = Limits(period=3, margin=0.2, linger=1)
TIMEOUT = 1.2

original = _RequestProgress.on_event


class Noting(LocalLimiter):
    """Notes when the time of each of its permits began."""

    def __init__(self) -> None:
        super().__init__(LIMITS)
        self.granted: list[float] = []

    async def acquire(self, select: Any) -> Permit[Any]:
        permit = await super().acquire(select)
        self.granted.append(permit.granted_at)
        return permit


def stop_before(place: str, *, is_checked: bool) -> None:
    """Stop this process when the first request comes to that place, before anything is checked there."""
    is_stopped = False

    async def on_event(progress: _RequestProgress, event: str, info: Mapping[str, Any]) -> None:
        nonlocal is_stopped
        if event != f"http11.send_request_{place}.started":
            await original(progress, event, info)
            return
        if not is_stopped:
            is_stopped = True
            os.kill(os.getpid(), signal.SIGSTOP)
        # If the check is switched off, the request goes out late: that shows what the check prevents.
        send_by = progress._send_by
        if not is_checked:
            progress._send_by = inf
        await original(progress, event, info)
        progress._send_by = send_by

    _RequestProgress.on_event = on_event  # type: ignore[assignment, method-assign]  # to stop at this very step


async def main(url: str) -> None:
    """Check one message, with one more try."""
    limiter = Noting()
    async with StatusClient(apikey="demo-key", base_url=url, limiter=limiter, timeout=TIMEOUT, retries=1) as client:
        try:
            record = await client.check(1, "79990000000")
            end = "delivered" if record.is_delivered else str(record)
        except SmscError as error:
            end = str(error)
    sys.stdout.write(json.dumps({"granted": limiter.granted, "end": end}))


if __name__ == "__main__":
    _, url_, backend, place_, checked = sys.argv
    stop_before(place_, is_checked=checked == "on")
    anyio.run(main, url_, backend=backend)
