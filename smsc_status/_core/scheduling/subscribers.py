"""Who waits for the outcome of a message, what hands it over, and the form in which each of them gets it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Protocol, TypeVar

import attrs

from smsc_status.errors import (
    LimiterUnavailable,
    LimitExceeded,
    ProtocolError,
    RateLimited,
    SmscError,
    TransportError,
)
from smsc_status.models import MessageRef, StatusRecord

ErrorT = TypeVar("ErrorT", bound=SmscError)


class Subscriber(Protocol):
    """Somebody who waits for a message's outcome."""

    @property
    def ref(self) -> MessageRef:
        """The message, as this subscriber wrote it."""

    @property
    def start_by(self) -> float:
        """The instant by which the message's request must have started; `inf` if it does not matter."""

    @property
    def link(self) -> object:
        """What an observer knows the caller by; `None` if nobody observes. It is not looked at here."""

    @property
    def has_plan(self) -> bool:
        """Whether it decides itself when to ask again after a failed request. Else `Verdicts` decides."""

    def on_result(self, outcome: StatusRecord | SmscError) -> None:
        """Take the outcome. Called once, synchronously; if that raises, called once more with an error."""


class Outbox(Protocol):
    """Hands outcomes to subscribers, and does other long work, in portions."""

    @property
    def is_busy(self) -> bool:
        """Whether anything is left to do."""

    def tell(self, subscriber: Subscriber, outcome: StatusRecord | SmscError, /) -> None:
        """Hand over the outcome, now or later."""

    def forget(self, subscriber: Subscriber, /) -> None:
        """Do not tell this subscriber any more."""

    def go_through(self, steps: Iterator[object], /) -> None:
        """Run the steps: some now, the others later, in order."""

    def clear(self) -> None:
        """Drop everything that is left."""


def for_subscriber(outcome: StatusRecord | SmscError, ref: MessageRef) -> StatusRecord | SmscError:
    """The outcome in this subscriber's own form: with its own ref, or as an error that nobody else raises."""
    if isinstance(outcome, StatusRecord):
        return outcome if outcome.ref is ref else attrs.evolve(outcome, ref=ref)
    return own(outcome)


def own(error: ErrorT) -> ErrorT:
    """A copy of the error, so that one caller alone raises it."""
    mine = copy.copy(error)
    mine.__cause__ = error.__cause__
    return mine


def unavailable(cause: Exception) -> LimiterUnavailable:
    """The error of a check that can't be sent because the limiter has failed with `cause`."""
    why = str(cause) if isinstance(cause, LimiterUnavailable) and str(cause) else type(cause).__name__
    error = LimiterUnavailable(f"the limiter can't be reached: {why}")
    error.__cause__ = cause
    return error


def unexpected(error: Exception) -> SmscError:
    """The error to give out if a mistake in this library has spoilt an answer."""
    return ProtocolError(f"the answer could not be used: {type(error).__name__}")


def too_late(last: SmscError | None, retry_after: float) -> SmscError:
    """The error of a check that can't start in time. `last` is why it was not answered before, if it was asked."""
    if isinstance(last, RateLimited):
        return RateLimited(last.code, last.text, retry_after)
    if isinstance(last, TransportError | ProtocolError):
        mine = own(last)
        mine.retry_after = retry_after
        return mine
    # Nothing has been sent yet, or a bulk request was refused and it is not known which message is to blame.
    return LimitExceeded(f"no slot comes free in time; try again in {retry_after:.1f} s", retry_after)
