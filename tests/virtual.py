"""The asyncio event loop in virtual time, and a way to block it, or trio's."""

from __future__ import annotations

from smsc_status.emulator.virtual import VirtualLoop, jump

__all__ = ["VirtualLoop", "block"]


def block(seconds: float) -> None:
    """Block the event loop that runs, `VirtualLoop` or trio's with a `MockClock`, for so many seconds."""
    assert jump(seconds)
