"""When a queue is to drop its stale entries.

A heap or a list can't cheaply give up an entry in its middle. So an item that leaves early leaves its entry behind, and
the entry is skipped when its turn comes. A queue that holds more stale entries than live ones is filtered.
"""

from __future__ import annotations

SLACK = 64
"""Fewer stale entries than this are not worth the work."""


def has_outgrown(entries: int, live: int) -> bool:
    """Whether so many entries are too many for so many live items."""
    return entries > SLACK + 2 * live
