"""Who is told by the engine that the account is refused, that the client is closed, or what the date is."""

from __future__ import annotations

from typing import Protocol

from smsc_status._core.scheduling.checks import Feed
from smsc_status.errors import SmscError


class Cancellable(Protocol):
    """A stream, a tracker or a deletion: it ends when the account is refused or the client is closed."""

    def give_up(self, error: SmscError) -> None:
        """Send nothing more, for this reason. A request in flight goes on."""


class Follower(Feed, Cancellable, Protocol):
    """A tracker: a feed of messages that also learns the server's date."""

    def told(self, date: float) -> None:
        """A reply has just given the server's date, in seconds since 1970."""
