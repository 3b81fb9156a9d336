"""A signal that wakes everybody who waits for it."""

from __future__ import annotations

import anyio


class Signal:
    """`send` wakes everybody who waits at that moment. It is not remembered for those who wait later."""

    def __init__(self) -> None:
        self._event: anyio.Event | None = None

    def send(self) -> None:
        """Wake everybody who waits now."""
        event, self._event = self._event, None
        if event is not None:
            event.set()

    async def wait(self) -> None:
        """Wait for the next `send`."""
        event = self._event
        if event is None:
            event = self._event = anyio.Event()
        await event.wait()
