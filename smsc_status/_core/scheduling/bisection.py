"""How large may the next bulk request be, and of what?

The vendor does not say which message of a refused bulk request it minds, nor how large a request may be. So after a
refusal its messages are suspects, and a part of them goes into the next request: if that is refused too, the culprit is
in that part, otherwise in the rest, until it is alone or has been named by a request of its own. While no request as
large as that has ever been answered, the next one is half as large, all of suspects; once one has, the size is not to
blame, and the request is filled up with other messages. If no culprit is found the request was too large, and the size
grows back slowly.

A request that is not answered in time may have been too large as well, for a server that is slow: the next one is half
as large. Nobody is suspected. The size grows back up to what was too slow, and beyond that very slowly, until a request
of that size has been answered after all.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable

from smsc_status.errors import ApiError, ProtocolError, SmscError

GROWTH = 10
"""The size grows back by this part of the largest one with each bulk request that is answered."""

CAREFUL_GROWTH = 100
"""The same near a size that was not answered in time, and no more than a `GROWTH`th of the present size: each failure
costs the minute's bulk request."""

PARTS = 4
"""A filled-up request has one in so many of the suspects: a refusal, which is rarer then, costs a whole request."""


TOO_LARGE = frozenset({413, 414})
"""HTTP statuses that mind the length of a request."""


def may_be_divided(error: SmscError) -> bool:
    """Whether a bulk request that ended with this error may be answered in smaller parts.

    The vendor may mind one of its messages, the request may be too large, or one text may have spoilt the whole reply.
    """
    if isinstance(error, ProtocolError):
        return error.status == 200 or error.status in TOO_LARGE
    return isinstance(error, ApiError)


class BatchBisection:
    """The size of bulk requests and the share of suspects in them, as the vendor's answers leave it."""

    def __init__(self, max_bulk: int) -> None:
        self.limit: int = max_bulk
        """How many messages the next bulk request may have."""
        self.portion: int = 0
        """How many of them may be suspects."""
        self._max = self._before = max_bulk
        self._proven = 1
        self._too_slow = max_bulk + 1
        self._suspects: set[Hashable] = set()

    def is_suspect(self, message: Hashable) -> bool:
        """Whether this message was in a refused request and has not been cleared since."""
        return message in self._suspects

    @property
    def lone_suspect(self) -> Hashable | None:
        """The last one left, if there is one."""
        return next(iter(self._suspects)) if len(self._suspects) == 1 else None

    def batch_refused(self, messages: Collection[Hashable]) -> None:
        """A bulk request of these messages was refused as a whole."""
        if not self._suspects:
            self._before = self.limit
        self._suspects = self._suspects.intersection(messages) or set(messages)
        self._plan()

    def batch_succeeded(self, size: int) -> None:
        """A bulk request of so many messages was answered."""
        self._proven = max(self._proven, size)
        if size >= self._too_slow:  # it was slow for another reason
            self._too_slow = self._max + 1
        if self._suspects:
            self._plan()
        else:
            growth = self._max // GROWTH
            if self.limit + growth >= self._too_slow:
                growth = min(self._max // CAREFUL_GROWTH, self.limit // GROWTH)
            self.limit = min(self._max, self.limit + max(1, growth))

    def batch_timed_out(self, size: int) -> None:
        """A bulk request of so many messages got no answer in time."""
        self._too_slow = size
        self._proven = min(self._proven, max(1, size // 2))
        self.limit = max(1, min(self.limit, size // 2))

    def done(self, message: Hashable) -> None:
        """This message waits no more: it was answered, or nobody asks for it any longer."""
        self._suspects.discard(message)

    def forget_suspects(self) -> None:
        """None of the messages so far will be asked again."""
        self._suspects = set()

    def named(self, message: Hashable) -> None:
        """This message alone was refused; if it was a suspect, it was the culprit."""
        if message in self._suspects:
            self._suspects.clear()
            self.limit = self._before

    def _plan(self) -> None:
        half = max(1, len(self._suspects) // 2)
        if self._proven > half and len(self._suspects) > 1:
            self.limit, self.portion = self._proven, max(1, len(self._suspects) // PARTS)
        else:
            self.limit = self.portion = half
