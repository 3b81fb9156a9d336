"""An asyncio event loop in virtual time, for tests; the benchmarks use it too."""

from benchmarks.virtual import VirtualLoop

__all__ = ["VirtualLoop"]
