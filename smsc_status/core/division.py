"""How large may the next bulk request be?

The vendor does not say which message of a refused bulk request it minds, nor how large a request may be. So after a
refusal its messages are suspects: they are halved from request to request until the culprit is alone, or has been named
by a request of its own; then the size is what it was. If no culprit is found the request was too large, and the size
grows back slowly.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable

GROWTH = 10
"""The size grows back by this part of the largest one with each bulk request that is answered."""


class Division:
    """The size of bulk requests, as the vendor's answers leave it."""

    def __init__(self, max_bulk: int) -> None:
        self.limit = self._max = self._before = max_bulk
        self._suspects: set[Hashable] = set()

    def refused(self, messages: Iterable[Hashable]) -> None:
        """A bulk request of these messages was refused as a whole."""
        if not self._suspects:
            self._before = self.limit
        self._suspects = set(messages)
        self.limit = max(1, len(self._suspects) // 2)

    def answered(self) -> None:
        """A bulk request was answered."""
        if self._suspects:
            self.limit = max(1, len(self._suspects) // 2)
        else:
            self.limit = min(self._max, self.limit + max(1, self._max // GROWTH))

    def done(self, message: Hashable) -> None:
        """This message waits no more: it was answered, or nobody asks for it any longer."""
        self._suspects.discard(message)

    def named(self, message: Hashable) -> None:
        """This message alone was refused; if it was a suspect, it was the culprit."""
        if message in self._suspects:
            self._suspects.clear()
            self.limit = self._before
