"""One request from its start to its end: how long it takes, its line in the log, and what an observer is told."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Final

from smsc_status import _loops
from smsc_status._core.scheduling.pacing import RequestEnd
from smsc_status._runtime.http import Address, NoReply, Reply
from smsc_status._runtime.observer import Observer
from smsc_status.errors import ApiError, SmscError

ANSWERED: Final = "answered"
REFUSED: Final = "refused"
UNUSABLE: Final = "unusable"
ABANDONED: Final = "abandoned"
NOT_SENT: Final = "not_sent"

_ENDS = {RequestEnd.ABANDONED: ABANDONED, RequestEnd.NOT_SENT: NOT_SENT}
_NOTHING: AbstractContextManager[object] = nullcontext()

logger = logging.getLogger("smsc_status")


class SentRequest:
    """A request that is being sent, from the instant `now` on. See `StartedRequest` for the other arguments.

    It ends in one of these ways:

    - `answered`: the vendor answered it.
    - `refused`: the vendor refused it as a whole.
    - `unusable`: there is a reply that can't be used.
    - `abandoned`: it was given up without a reply.
    - `not_sent`: it was surely not sent.
    """

    __slots__ = (
        "_end_without_reply",
        "_has_ended",
        "_observed",
        "address",
        "began_at",
        "came_at",
        "kind",
        "links",
        "messages",
        "waited",
    )

    def __init__(
        self,
        kind: str,
        observer: Observer | None,
        *,
        messages: int,
        waited: float,
        address: Address,
        links: Callable[[], Iterable[object]],
        now: float,
    ) -> None:
        self.kind: str = kind
        self.messages: int = messages
        self.waited: float = waited
        self.address: Address = address
        self.links: Callable[[], Iterable[object]] = links
        self.began_at: float = now
        self.came_at: float | None = None
        """When its reply came, or when it became known that there is none."""
        self._has_ended = False
        self._end_without_reply: str | None = None
        self._observed = None if observer is None else observer.request_started(self)

    def current(self) -> AbstractContextManager[object]:
        """The request is sent inside this block."""
        return _NOTHING if self._observed is None else self._observed.current()

    def replied(self, reply: Reply | NoReply) -> None:
        """There is a reply, or it is known that there is none."""
        self.came_at = _loops.now()
        if isinstance(reply, Reply):
            status: int | None = reply.status
            error = None
        else:
            status, error = getattr(reply.error, "http_status", None), reply.error
            self._end_without_reply = _ENDS.get(reply.how)
        if logger.isEnabledFor(logging.DEBUG):
            self._log("no usable reply" if status is None else f"HTTP {status}")
        if self._observed is not None:
            self._observed.replied(status, error, seconds=self.seconds)

    @property
    def seconds(self) -> float:
        """How long it took until its end was known; 0 before that."""
        return 0.0 if self.came_at is None else self.came_at - self.began_at

    def ended(self, error: SmscError | None) -> None:
        """It has ended: with this error, or with answers. Later calls do nothing."""
        if error is None:
            self._end(ANSWERED, None)
        else:
            self._end(self._end_without_reply or (REFUSED if isinstance(error, ApiError) else UNUSABLE), error)

    def abandoned(self) -> None:
        """It is given up. Does nothing if it has ended."""
        if self._has_ended:
            return
        if self.came_at is None:
            self.came_at = _loops.now()
            self._log(ABANDONED)
        self._end(ABANDONED, None)

    def _end(self, outcome: str, error: SmscError | None) -> None:
        if not self._has_ended:
            self._has_ended = True
            if self._observed is not None:
                self._observed.ended(outcome, error)

    def _log(self, what: str) -> None:
        logger.debug(
            "POST %s: %s; %s request, %d messages, took %.3f s, had waited %.3f s",
            *(self.address.url, what, self.kind, self.messages, self.seconds, self.waited),
        )
