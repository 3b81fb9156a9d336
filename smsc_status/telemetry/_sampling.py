"""Asks clients how they are. A client must be asked in its own event loop, but metrics are read in any thread."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Protocol
from weakref import WeakKeyDictionary, WeakMethod

from smsc_status import _loops
from smsc_status._sharing.tally import LogTally
from smsc_status.telemetry._guard import guarded

ANSWER_TIMEOUT = 0.5
"""How long a reader in another thread waits for the client's event loop, in seconds."""

FRESH = 0.5
"""A reader in another thread takes a sample that is at most this old, in seconds. One read asks for several metrics."""


LEFT_ALONE = 5.0
"""Seconds. An event loop that has not answered is not asked again for this long, about any of its clients."""

_silent: WeakKeyDictionary[object, float] = WeakKeyDictionary()
"""When loops were last asked that did not answer, on `time.monotonic`."""


class Sample(Protocol):
    """What is taken of a client's `stats`."""

    @property
    def waiting(self) -> int:
        """See `Stats`, as for the others."""

    @property
    def tracked(self) -> int: ...

    @property
    def overdue(self) -> int: ...

    @property
    def stalest(self) -> float: ...


class Sampled:
    """One open client. It must be made in the client's event loop.

    Args:
        stats: the client's method `stats`.
        server: the server's host and port.
        tally: counts what is done with the shared log, if there is one.
    """

    def __init__(
        self, stats: WeakMethod[Callable[[], Sample]], server: tuple[str, int], tally: LogTally | None
    ) -> None:
        self.server = server
        self.active: Counter[tuple[str, int]] = Counter()
        """By server, how many requests are in flight."""
        self.tally = tally
        self._stats = stats
        self._loop = _loops.this_loop()
        self._sample: Sample | None = None
        self._taken_at = float("-inf")

    @property
    def is_over(self) -> bool:
        """Whether its event loop has ended, perhaps without closing it. Nothing of it is open or waits any more."""
        return _loops.has_ended(self._loop)

    def sample(self) -> Sample | None:
        """How the client is now, or was when its event loop last had time to say. `None` if that is not known."""
        if self.is_over:
            return None
        if _is_here(self._loop):
            self._take()
        elif time.monotonic() > self._taken_at + FRESH and _loops.is_running(self._loop):
            self._ask()
        return self._sample

    def _ask(self) -> None:
        if time.monotonic() < _silent.get(self._loop, float("-inf")) + LEFT_ALONE:
            return
        is_taken = threading.Event()

        def take() -> None:
            self._take()
            is_taken.set()

        _loops.call_in(self._loop, take)
        if not is_taken.wait(ANSWER_TIMEOUT):
            _silent[self._loop] = time.monotonic()
        self._taken_at = time.monotonic()

    @guarded  # a limiter of the user's own may fail, and an error here would end trio's whole run
    def _take(self) -> None:
        stats = self._stats()
        self._sample = None if stats is None else stats()  # nobody may have the client any more


def _is_here(loop: object) -> bool:
    try:
        return _loops.this_loop() is loop
    except RuntimeError:
        return False
