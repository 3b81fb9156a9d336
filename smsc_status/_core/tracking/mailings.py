"""For which ids do single checks leave a token to bulk requests, which answer many of their messages at once?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from smsc_status.models import Key

KEPT = 600.0
"""Seconds. For so long after a bulk request has found many messages of an id, single checks leave it a token."""

MANY = 1000
"""If there are more mailings than this, those of which this was long ago are forgotten."""


class Mailings:
    """The ids that lately had more messages for a bulk request than they have tokens.

    Args:
        checks_per_id: how many tokens an id has.
    """

    def __init__(self, checks_per_id: int) -> None:
        self._checks_per_id = checks_per_id
        self._until: dict[Key, float] = {}

    def __iter__(self) -> Iterator[Key]:
        """The ids that are remembered."""
        return iter(self._until)

    def found(self, keys: Iterable[Key], *, now: float) -> None:
        """A bulk request has found messages of these ids: each id once for each of its messages."""
        for key, messages in Counter(keys).items():
            if messages > self._checks_per_id:
                self._until[key] = now + KEPT
        if len(self._until) > MANY:
            self._until = {key: until_at for key, until_at in self._until.items() if until_at > now}

    def tokens_left(self, key: Key, *, now: float) -> int:
        """How many of the id's tokens single checks leave to bulk requests."""
        return 1 if self._until.get(key, now) > now else 0
