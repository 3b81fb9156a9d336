"""Applies the verdict on a request: each of its messages gets its outcome, or waits again.

The *verdict* is what a reply says: an outcome for each message of the request, or one error for all of them. Where no
reply came, it is the error that says why.

Nothing here waits, and nothing is sent. What concerns the whole account is returned, and the runtime acts on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, tzinfo
from math import inf

import attrs

from smsc_status._core.drafts import bind
from smsc_status._core.scheduling import backoff
from smsc_status._core.scheduling.bisection import may_be_divided
from smsc_status._core.scheduling.checks import PendingCheck, Request
from smsc_status._core.scheduling.dispatch import Dispatcher
from smsc_status._core.scheduling.pending import PendingChecks
from smsc_status._core.scheduling.recent import RecentRecords
from smsc_status._core.scheduling.subscribers import unexpected
from smsc_status._core.scheduling.tally import Tally
from smsc_status.errors import (
    AddressBlocked,
    ApiError,
    AuthError,
    ClientClosed,
    ConfigError,
    ProtocolError,
    RateLimited,
    RequestTimeout,
    SmscError,
    TransportError,
)
from smsc_status.models import MessageRef, StatusRecord

MAX_MISSES = 3
"""After this many replies that leave a message out, its outcome is an error."""

CONCERNS_ACCOUNT = (AuthError, AddressBlocked, ClientClosed, ConfigError)
"""Outcomes that end everything that waits. A `ConfigError` comes from a limiter that is set up wrongly."""


@attrs.frozen
class Conclusion:
    """What a verdict means for more than the messages of its request."""

    account_error: SmscError | None = None
    """The whole account is refused. Nothing more may be sent for the checks that wait."""
    rate_limited: RateLimited | None = None
    mistakes: tuple[Exception, ...] = ()
    """Unexpected errors in this library; each made the outcome of one message an error."""


class Verdicts:
    """Applies the verdicts on one client's requests.

    Args:
        pending: the checks that were sent. They are answered, or put back to wait again.
        dispatcher: learns how large a bulk request may be, and which messages are to blame.
        outage: counts the failures of the server.
        recent: keeps the records.
        tally: counts records, retries and refusals.
        retries: how often a message is asked again after its request failed.
        mirrors: how many addresses there are to try without a pause.
        zone: the time zone of the records' text dates.
    """

    def __init__(
        self,
        pending: PendingChecks,
        dispatcher: Dispatcher,
        outage: backoff.Outage,
        recent: RecentRecords,
        tally: Tally,
        *,
        retries: int,
        mirrors: int,
        zone: tzinfo,
    ) -> None:
        self._pending = pending
        self._dispatcher = dispatcher
        self._outage = outage
        self._recent = recent
        self._tally = tally
        self._retries = retries
        self._mirrors = mirrors
        self._zone = zone

    def conclude(
        self,
        request: Request,
        verdict: list[StatusRecord | SmscError | None] | SmscError,
        *,
        checked_at: datetime,
        jitter: Callable[[], float],
        now: float,
    ) -> Conclusion:
        """Apply the verdict on a request: each of its messages gets its outcome, or waits again.

        Args:
            request: what was sent.
            verdict: an outcome for each of its messages, `None` where the reply leaves one out; or one error for all.
            checked_at: the date of the reply.
            jitter: gives random numbers, at least 0 and below 1.
            now: the instant of the reply.
        """
        if isinstance(verdict, TransportError | ProtocolError):
            self._request_failed(request, verdict, jitter, now)
            return Conclusion()
        self._outage.record_success()
        if isinstance(verdict, list):
            self._tally.replies_read += 1
            return Conclusion(mistakes=tuple(self._distribute(request, verdict, checked_at, now)))
        concerns_account = self.refused(verdict)
        if isinstance(verdict, RateLimited):
            for check in request.checks:
                self._ask_again(check, verdict)
            return Conclusion(rate_limited=verdict)
        if len(request.checks) > 1 and may_be_divided(verdict) and not concerns_account:
            self._divide(request, verdict)
            return Conclusion()
        if not concerns_account:
            self._dispatcher.single_refused(request.checks[0])
        self._pending.answer_all(request, verdict)
        return Conclusion(account_error=verdict if concerns_account else None)

    def refused(self, error: SmscError) -> bool:
        """Count a refusal by the vendor. Returns whether it concerns the whole account."""
        if isinstance(error, ApiError):
            self._tally.refusals[error.code] += 1
        return isinstance(error, CONCERNS_ACCOUNT)

    # A reply that could be read.

    def _distribute(
        self, request: Request, outcomes: list[StatusRecord | SmscError | None], checked_at: datetime, now: float
    ) -> Iterator[Exception]:
        """Give each message its own outcome. Yields the unexpected errors."""
        for check, outcome in zip(request.checks, outcomes, strict=True):
            try:
                if isinstance(outcome, StatusRecord):
                    self._answer_with(check, outcome, checked_at, now)
                elif outcome is not None:
                    self._pending.answer(check, outcome)
                else:
                    self._missed(check)
            except Exception as error:  # the others get their own outcomes
                self._pending.answer(check, unexpected(error))
                yield error
        if request.bulk:
            self._dispatcher.bulk_succeeded(len(request.checks))

    def _answer_with(self, check: PendingCheck, record: StatusRecord, checked_at: datetime, now: float) -> None:
        self._tally.records += 1
        subscriber = next(iter(check.subscribers), None)
        ref = subscriber.ref if subscriber is not None else MessageRef(check.id, check.phone)
        bind(record, ref, checked_at, self._zone)
        self._recent.keep(check.identity, record, check.detail, now=now)
        self._pending.answer(check, record)

    def _missed(self, check: PendingCheck) -> None:
        """The reply left this message out."""
        check.misses += 1
        missed = ProtocolError("the reply left this message out")
        if check.misses >= MAX_MISSES:
            self._pending.answer(check, missed)
        else:
            self._ask_again(check, missed)

    # A request without a usable reply, or one that was refused.

    def _request_failed(
        self, request: Request, error: TransportError | ProtocolError, jitter: Callable[[], float], now: float
    ) -> None:
        """There was no usable reply. Such failures of the server are counted until any request is answered."""
        self._outage.record_failure(jitter=jitter(), now=now, retry_after=error.retry_after)
        if len(request.checks) > 1 and may_be_divided(error):
            self._divide(request, error)
            return
        if len(request.checks) > 1 and isinstance(error, RequestTimeout):
            self._dispatcher.bulk_timed_out(len(request.checks))
        for check in request.checks:
            check.tries += 1
            if self._outage.is_on:  # go behind the others, so that the next probe asks about another message
                check.rank = now - check.head_start
            if check.tries > self._retries and not _has_plan(check):
                if isinstance(error, ProtocolError) and len(request.checks) == 1:
                    self._dispatcher.single_refused(check)
                self._pending.answer(check, error)
                continue
            pause = 0.0 if check.tries < self._mirrors else backoff.delay(check.tries, jitter())
            self._ask_again(check, error, due_at=now + pause)

    def _divide(self, request: Request, error: SmscError) -> None:
        """Ask the messages again in smaller requests, because one of them, or their number, may be to blame."""
        self._dispatcher.bulk_refused(request.checks)
        for check in request.checks:
            self._put_back(check, error)

    def _ask_again(self, check: PendingCheck, error: SmscError, *, due_at: float = -inf) -> None:
        """Let the check wait again; but if all its subscribers have plans of their own, tell them the error instead."""
        if _has_plan(check):
            self._tally.retries += 1
            self._pending.answer(check, error)
        else:
            self._put_back(check, error, due_at=due_at)

    def _put_back(self, check: PendingCheck, error: SmscError, *, due_at: float = -inf) -> None:
        if self._pending.put_back(check, error, due_at=due_at):
            self._tally.retries += 1


def _has_plan(check: PendingCheck) -> bool:
    """Whether the check has subscribers, and all of them decide themselves when to ask again."""
    return bool(check.subscribers) and all(subscriber.has_plan for subscriber in check.subscribers)
