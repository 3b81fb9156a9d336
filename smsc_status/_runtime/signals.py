"""A signal that wakes all who wait for it."""

from __future__ import annotations

import anyio


class Signal:
    """Whoever waits is woken by the next `send`; a signal that nobody waits for is forgotten."""

    def __init__(self) -> None:
        self._event: anyio.Event | None = None

    def send(self) -> None:
        """Wake all who wait now."""
        event, self._event = self._event, None
        if event is not None:
            event.set()

    async def wait(self) -> None:
        """Wait for the next signal."""
        event = self._event
        if event is None:
            event = self._event = anyio.Event()
        await event.wait()
