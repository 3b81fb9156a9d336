"""Records that came in recently, kept so that a caller can be given one again without a request."""

from __future__ import annotations

from collections import OrderedDict
from math import inf
from operator import attrgetter
from sys import getsizeof

import attrs

from smsc_status.models import Detail, HlrRecord, Identity, StatusRecord

MAX_BYTES = 8_000_000
"""Roughly the most memory, in bytes, that the records may use."""

BYTES_A_RECORD = 1000
"""A record's estimated size without its long texts."""

LONG_CHARS = 64
"""A text with more characters is counted by itself, whichever field it is in: a server may send anything anywhere."""


def _text_getter(kind: type[attrs.AttrsInstance]) -> attrgetter[tuple[str | None, ...]]:
    return attrgetter(*(field.name for field in attrs.fields(kind) if str(field.type) == "str | None"))


_TEXTS: dict[type, attrgetter[tuple[str | None, ...]]] = {
    kind: _text_getter(kind) for kind in (StatusRecord, HlrRecord)
}


class RecentRecords:
    """Records by message, for as long as somebody may want them. None are kept before `want` is called."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._keep_for = 0.0
        self._bytes = 0
        # No record is too old before this instant.
        self._next_old_at = inf
        # Each with its level of detail, the instant when it came in, and its size. The oldest first.
        self._records: OrderedDict[Identity, tuple[StatusRecord, Detail, float, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._records)

    def want(self, max_age: float) -> None:
        """From now on keep records for at least `max_age` seconds, as far as `max_bytes` allows."""
        self._keep_for = max(self._keep_for, max_age)

    def keep(self, identity: Identity, record: StatusRecord, detail: Detail, *, now: float) -> None:
        """Keep this record, which has just come in at this level of detail. Does nothing before `want` is called."""
        if not self._keep_for:
            return
        self.forget(identity)
        size = _size(record)
        self._records[identity] = record, detail, now, size
        self._bytes += size
        self._next_old_at = min(self._next_old_at, now + self._keep_for)
        if self._next_old_at < now or self._bytes > self._max_bytes:
            self._drop_old(now)

    def _drop_old(self, now: float) -> None:
        self._next_old_at = inf
        while self._records:
            oldest, (_, _, came_at, _) = next(iter(self._records.items()))
            if came_at >= now - self._keep_for and self._bytes <= self._max_bytes:
                self._next_old_at = came_at + self._keep_for
                break
            self.forget(oldest)

    def find(self, identity: Identity, detail: Detail, *, since: float) -> StatusRecord | None:
        """A record of this message, at this level of detail or above, that came in at or after the instant `since`."""
        record, level, came_at, _ = self._records.get(identity, (None, detail, since, 0))
        return record if came_at >= since and level >= detail else None

    def forget(self, identity: Identity) -> None:
        """Drop the message's record, if there is one: it is out of date, or not wanted any more."""
        known = self._records.pop(identity, None)
        if known is not None:
            self._bytes -= known[3]


def _size(record: StatusRecord) -> int:
    size = BYTES_A_RECORD
    for text in _TEXTS[type(record)](record):
        if text is not None and len(text) > LONG_CHARS:
            size += getsizeof(text)
    return size
