"""When a queue should drop its stale entries.

A heap or a list cannot cheaply remove an entry from its middle. So an item that leaves early leaves its entry behind,
and the entry is skipped when it reaches the front. A queue is filtered when it holds more stale entries than live ones.
"""

from __future__ import annotations

SLACK = 64
"""Up to this many stale entries are left in a queue, because removing them is not worth the time."""


def has_outgrown(entries: int, live: int) -> bool:
    """Whether a queue with this many entries holds too many stale ones, given its number of live items."""
    return entries > SLACK + 2 * live
