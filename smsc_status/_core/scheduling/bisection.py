"""How large the next bulk request may be, and how many suspects it may hold.

The vendor does not say which message made it refuse a bulk request, nor how large a request may be. So after a refusal
all messages of the request are suspects, and some of them go into the next request. If that is refused too, the culprit
is among those; otherwise it is among the rest. This goes on until one suspect is left, or until a suspect is refused in
a request of its own. If no request larger than half the suspects is known to work, the next one holds half of the
suspects and nothing else. If one is, the size is not to blame: the next one holds a quarter of the suspects and is
filled up with other messages. If no culprit is found, the request was too large, and the size grows back slowly.

A request that is not answered in time may also have been too large for a slow server. The next one is half as large,
but no message is suspected. The size grows back to just below the size that was too slow, and very slowly beyond it,
until a request of that size has been answered after all.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable

from smsc_status.errors import ApiError, ProtocolError, SmscError

GROWTH_DIVISOR = 10
"""Each bulk request that is answered lets the size grow by the largest size divided by this."""

CAREFUL_GROWTH_DIVISOR = 100
"""Near a size that was not answered in time, the size grows by the largest size divided by this, and by no more than
the present size divided by `GROWTH_DIVISOR`. It grows so slowly because each failure costs the minute's bulk request.
"""

SUSPECT_DIVISOR = 4
"""A request that is filled up with other messages holds the suspects divided by this. Each refusal costs a whole
request, and with few suspects refusals are rarer."""


FEW = 16
"""A bulk request of fewer messages than this, where many more were allowed, did not time out because of its size."""

TOO_LARGE = frozenset({413, 414})
"""HTTP statuses that say that a request is too long."""


def may_be_divided(error: SmscError) -> bool:
    """Whether smaller parts of a bulk request that ended with this error may be answered.

    The vendor may object to one of its messages, the request may be too large, or one text may have spoilt the whole
    reply.
    """
    if isinstance(error, ProtocolError):
        return error.status == 200 or error.status in TOO_LARGE
    return isinstance(error, ApiError)


class BatchBisection:
    """The size of the next bulk request and its share of suspects, as learnt from the vendor's answers."""

    def __init__(self, max_bulk: int) -> None:
        self.limit: int = max_bulk
        """How many messages the next bulk request may have."""
        self.portion: int = 0
        """How many of them may be suspects."""
        self._max = self._limit_before = max_bulk
        self._proven = 1
        self._too_slow = max_bulk + 1
        self._suspects: set[Hashable] = set()

    def is_suspect(self, message: Hashable) -> bool:
        """Whether this message was in a refused request and has not been cleared since."""
        return message in self._suspects

    @property
    def lone_suspect(self) -> Hashable | None:
        """The only suspect, if exactly one is left."""
        return next(iter(self._suspects)) if len(self._suspects) == 1 else None

    def batch_refused(self, messages: Collection[Hashable]) -> None:
        """A bulk request of these messages was refused as a whole."""
        if not self._suspects:
            self._limit_before = self.limit
        self._suspects = self._suspects.intersection(messages) or set(messages)
        self._plan()

    def batch_succeeded(self, size: int) -> None:
        """A bulk request of `size` messages was answered."""
        self._proven = max(self._proven, size)
        if size >= self._too_slow:  # so the size was not the reason
            self._too_slow = self._max + 1
        if self._suspects:
            self._plan()
        else:
            growth = self._max // GROWTH_DIVISOR
            if self.limit + growth >= self._too_slow:
                growth = min(self._max // CAREFUL_GROWTH_DIVISOR, self.limit // GROWTH_DIVISOR)
            self.limit = min(self._max, self.limit + max(1, growth))

    def batch_timed_out(self, size: int) -> None:
        """A bulk request of `size` messages got no answer in time. Unless it was small, the next ones are smaller."""
        if size < FEW and 2 * size <= self.limit:
            return
        self._too_slow = size
        self._proven = min(self._proven, max(1, size // 2))
        self.limit = max(1, min(self.limit, size // 2))

    def done(self, message: Hashable) -> None:
        """This message no longer waits: it was answered, or nobody waits for it."""
        self._suspects.discard(message)

    def forget_suspects(self) -> None:
        """Clear all suspects: none of them will be asked again."""
        self._suspects = set()

    def refused_alone(self, message: Hashable) -> None:
        """This message was refused in a request of its own. If it was a suspect, it was the culprit."""
        if message in self._suspects:
            self._suspects.clear()
            self.limit = self._limit_before

    def _plan(self) -> None:
        half = max(1, len(self._suspects) // 2)
        if self._proven > half and len(self._suspects) > 1:
            self.limit, self.portion = self._proven, max(1, len(self._suspects) // SUSPECT_DIVISOR)
        else:
            self.limit = self.portion = half
