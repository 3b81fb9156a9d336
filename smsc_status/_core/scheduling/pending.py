"""Which messages wait for an answer, who waits for each, and what a reply means for them.

A *pending check* is one distinct message that is to be asked. Its *subscribers* are those that wait for it. Calls for
the same message share one pending check.

This module does no more than note all this: nothing here waits, and nothing is sent. What concerns the whole account is
returned, and the runtime acts on it. Outcomes go into an outbox, which the runtime empties in portions.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, tzinfo
from itertools import chain
from math import inf
from typing import Any

import attrs

from smsc_status._core.drafts import bind
from smsc_status._core.scheduling import backoff
from smsc_status._core.scheduling.bisection import may_be_divided
from smsc_status._core.scheduling.checks import CheckState, Feed, PendingCheck, Request
from smsc_status._core.scheduling.dispatch import Dispatcher
from smsc_status._core.scheduling.pacing import Pacer
from smsc_status._core.scheduling.recent import RecentRecords
from smsc_status._core.scheduling.start_deadlines import StartDeadlines
from smsc_status._core.scheduling.subscribers import Outbox, Subscriber, too_late, unavailable, unexpected
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
from smsc_status.models import Detail, Identity, MessageRef, StatusRecord

MAX_MISSES = 3
"""After this many replies that leave a message out, its outcome is an error."""

CALLER_HEAD_START = 300.0
"""Seconds. A message that a caller waits for is ranked as if the caller had come this much earlier."""

PORTION = 100
"""How many subscribers are told in one turn of the event loop. With all consequences, that takes 2 ms."""

CONCERNS_ACCOUNT = (AuthError, AddressBlocked, ClientClosed, ConfigError)
"""Outcomes that end everything that waits. A `ConfigError` comes from a limiter that is set up wrongly."""


@attrs.define
class Tally:
    """What has been counted since the client was made."""

    requests: Counter[str] = attrs.field(factory=Counter)
    request_seconds: defaultdict[str, float] = attrs.field(factory=lambda: defaultdict(float))
    """By kind, how long the requests took together, in seconds."""
    wait_seconds: defaultdict[str, float] = attrs.field(factory=lambda: defaultdict(float))
    """By kind, how long they waited for the limits together, in seconds."""
    refusals: Counter[int] = attrs.field(factory=Counter)
    done: Counter[str] = attrs.field(factory=Counter)
    """Tracked messages that are done, by outcome."""
    records: int = 0
    retries: int = 0
    replies_read: int = 0
    """Replies to checks that could be read."""


@attrs.frozen
class Conclusion:
    """What a reply means beyond its messages' outcomes."""

    account_error: SmscError | None = None
    """The vendor refuses the whole account. Nothing more may be sent for the checks that wait."""
    rate_limited: RateLimited | None = None
    mistakes: tuple[Exception, ...] = ()
    """Unexpected errors in this library; each made the outcome of one message an error."""


class PendingChecks:
    """The pending checks of one client, and their subscribers.

    Args:
        max_bulk: the largest number of messages in a bulk request.
        retries: how often a message is asked again after its request failed.
        mirrors: how many addresses there are to try without a pause.
        zone: the time zone of the records' text dates.
        outbox: takes the outcomes.
    """

    def __init__(self, *, max_bulk: int, retries: int, mirrors: int, zone: tzinfo, outbox: Outbox) -> None:
        self.tally: Tally = Tally()
        self._dispatcher = Dispatcher(max_bulk)
        self._outage = backoff.Outage()
        self._retries = retries
        self._mirrors = mirrors
        self._zone = zone
        self._outbox = outbox
        self._checks: dict[Identity, PendingCheck] = {}
        self._start_deadlines: StartDeadlines[Subscriber] = StartDeadlines()
        self._recent = RecentRecords()
        # The request to send next. Its messages have left the dispatcher; `cancel_selection` puts them back. Until
        # `commit` they are not sent: further subscribers may join, and `fail_waiting` ends them.
        self._selected: Request | None = None
        # The epoch is how often everything that waited was ended; `_refusal` is the last error that ended it. If a
        # request of an earlier epoch fails, its checks end with that error instead of a retry.
        self._epoch = 0
        self._refusal: SmscError | None = None

    @property
    def is_empty(self) -> bool:
        """Whether no check is waiting or in flight, and every outcome is handed over."""
        return not self._checks and not self._outbox.is_busy

    @property
    def has_work(self) -> bool:
        """Whether anything waits, or will be due in a feed."""
        return self._dispatcher.has_work

    @property
    def waiting(self) -> int:
        """How many checks wait, including those that are backing off. Messages of feeds are not counted."""
        return self._dispatcher.waiting

    @property
    def waiting_with_deadline(self) -> int:
        """How many of the waiting callers have a `max_wait`."""
        return len(self._start_deadlines)

    @property
    def has_callers(self) -> bool:
        """Whether a caller waits at this moment for a message that is neither in flight nor backing off."""
        return self._dispatcher.has_caller_checks

    @property
    def has_last_calls(self) -> bool:
        """Whether a feed has messages near their archive deadline."""
        return any(feed.due_at() == -inf for feed in self._dispatcher.feeds)

    @property
    def replies_read(self) -> int:
        """How many replies to checks could be read."""
        return self.tally.replies_read

    def count_request(self, kind: str) -> None:
        """A request of this kind is sent."""
        self.tally.requests[kind] += 1

    def count_seconds(self, kind: str, *, took: float, waited: float) -> None:
        """A request of this kind has ended. It took `took` seconds, after it had waited for `waited` seconds."""
        self.tally.request_seconds[kind] += took
        self.tally.wait_seconds[kind] += waited

    def count_done(self, outcome: str) -> None:
        """A tracked message is done, with this outcome."""
        self.tally.done[outcome] += 1

    @property
    def batch_limit(self) -> int:
        """How many messages the next bulk request may have."""
        return self._dispatcher.bisection.limit

    @property
    def records_kept(self) -> int:
        """How many recent records are kept to be given again."""
        return len(self._recent)

    @property
    def is_in_outage(self) -> bool:
        """Whether the server is taken to be unreachable."""
        return self._outage.is_on

    def add_feed(self, feed: Feed) -> None:
        """From now on ask this feed for messages when a request is selected."""
        self._dispatcher.feeds[feed] = None

    def remove_feed(self, feed: Feed) -> None:
        """Do not ask this feed any more."""
        self._dispatcher.feeds.pop(feed, None)

    # Subscribers that come and go.

    def ask(self, detail: Detail, subscriber: Subscriber, *, now: float, head_start: float = 0.0) -> PendingCheck:
        """Have the subscriber's message asked. Subscribers to the same message share a check."""
        check, is_new = self._check_for(detail, subscriber, now - head_start, head_start)
        check.since = min(check.since, now)
        if is_new:
            self._dispatcher.add(check)
        if subscriber.start_by < inf and check.state is not CheckState.IN_FLIGHT:
            self._start_deadlines.join(subscriber, check, subscriber.start_by)
        return check

    def adopt(
        self, detail: Detail, subscriber: Subscriber, *, rank: float, since: float = inf
    ) -> tuple[PendingCheck, bool]:
        """A check for the subscriber's message, to go into a request that is being selected, and whether it may go.

        It may not go if there was a check for the message already. Then that check's outcome is also the subscriber's.
        The message waits since the instant `since`; `inf` means that it does not wait.
        """
        check, is_new = self._check_for(detail, subscriber, rank, 0.0)
        if is_new:
            check.state = CheckState.IN_FLIGHT
            check.since = since
        return check, is_new

    def _check_for(
        self, detail: Detail, subscriber: Subscriber, rank: float, head_start: float
    ) -> tuple[PendingCheck, bool]:
        ref = subscriber.ref
        identity = ref.identity
        check = self._checks.get(identity)
        is_new = check is None or (check.is_sent and check.detail < detail) or self._is_failing(check)
        if check is None or is_new:
            check = PendingCheck(str(ref.id), ref.phone, identity, detail, rank, head_start, epoch=self._epoch)
            self._checks[identity] = check
        else:
            self._dispatcher.promote(check, rank, head_start=head_start)
            check.detail = max(check.detail, detail)
        check.subscribers[subscriber] = None
        return check, is_new

    def drop(self, check: PendingCheck, subscriber: Subscriber) -> None:
        """The subscriber no longer waits. A request that is in flight continues."""
        self._start_deadlines.leave(subscriber)
        self._outbox.forget(subscriber)
        if subscriber not in check.subscribers:  # it may have moved to another check for the same message
            check = self._checks.get(check.identity, check)
        check.subscribers.pop(subscriber, None)
        if check.subscribers or check.state not in (CheckState.WAITING, CheckState.BACKING_OFF):
            return
        if self._is_failing(check):
            check.state = CheckState.DONE
        else:
            self._dispatcher.withdraw(check)
        self._forget(check)

    def drop_all(self, subscribers: Iterator[tuple[PendingCheck, Subscriber]]) -> None:
        """These subscribers no longer wait. They are dropped in portions."""
        self._outbox.go_through(self._drop_each(subscribers))

    def _drop_each(self, subscribers: Iterator[tuple[PendingCheck, Subscriber]]) -> Iterator[None]:
        for check, subscriber in subscribers:
            self.drop(check, subscriber)
            yield

    def known(self, ref: MessageRef, detail: Detail, *, max_age: float, now: float) -> StatusRecord | None:
        """A record of this message, at this level of detail or above, that came in at most `max_age` seconds ago."""
        record = self._recent.find(ref.identity, detail, since=now - max_age)
        return None if record is None else attrs.evolve(record, ref=ref)

    def keep_records(self, max_age: float) -> None:
        """From now on keep records for `known` for at least `max_age` seconds, as far as memory allows."""
        self._recent.want(max_age)

    def forget_record(self, ref: MessageRef) -> None:
        """Do not give this message's record again, if there is one."""
        self._recent.forget(ref.identity)

    def turn_down(self, pacer: Pacer, now: float) -> float:
        """Tell one portion of the subscribers that cannot be served in time. Returns when to call this again."""
        if not self._start_deadlines:
            return inf

        def start_at(check: PendingCheck) -> float:
            return max(self._dispatcher.start_at(check, pacer, now=now), self._outage.until_at)

        soonest = max(self._dispatcher.soonest_at(pacer, now=now), self._outage.until_at)
        late = self._start_deadlines.take_too_late(start_at, soonest=soonest, now=now, at_most=PORTION)
        for subscriber, check, at in late:
            self.drop(check, subscriber)
            self._outbox.tell(subscriber, too_late(check.last_error, max(0.0, at - now)))
        return now if len(late) >= PORTION else self._start_deadlines.due_at(now=now)

    def turn_down_unavailable(self, cause: Exception, *, now: float, again_in: float) -> bool:
        """The limiter failed, and will be asked again in `again_in` seconds. Tell subscribers that cannot wait so long.

        One call tells one portion of them. Returns whether there may be more.
        """
        at = now + again_in
        late = self._start_deadlines.take_too_late(lambda _check: at, soonest=at, now=now, at_most=PORTION)
        for subscriber, check, _ in late:
            self.drop(check, subscriber)
            self._outbox.tell(subscriber, unavailable(cause))
        return len(late) >= PORTION

    def _watch_start_deadline(self, check: PendingCheck) -> None:
        for subscriber in check.subscribers:
            if subscriber.start_by < inf:
                self._start_deadlines.join(subscriber, check, subscriber.start_by)

    def forget_all(self) -> None:
        """Forget all subscribers without telling them: they no longer exist."""
        self._epoch += 1
        self._outbox.clear()
        self._dispatcher.feeds.clear()
        gone = [self._dispatcher.drain(), self._start_deadlines.drain(), _clear_steps(self._checks)]
        self._checks, self._start_deadlines, self._selected = {}, StartDeadlines(), None
        for steps in gone:
            self._outbox.go_through(steps)

    # What an answer means.

    def conclude(
        self,
        request: Request,
        verdict: list[StatusRecord | SmscError | None] | SmscError,
        *,
        checked_at: datetime,
        jitter: Callable[[], float],
        now: float,
    ) -> Conclusion:
        """Apply the result of a request: each of its messages gets its outcome, or waits again.

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
            self.tally.replies_read += 1
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
            self._dispatcher.bisection.refused_alone(request.checks[0])
        self.answer_all(request, verdict)
        return Conclusion(account_error=verdict if concerns_account else None)

    def _divide(self, request: Request, error: SmscError) -> None:
        """Ask the messages again in smaller requests, because one of them, or their number, may be to blame."""
        self._dispatcher.bulk_refused(request.checks)
        for check in request.checks:
            self._requeue(check, error)

    def _distribute(
        self, request: Request, outcomes: list[StatusRecord | SmscError | None], checked_at: datetime, now: float
    ) -> Iterator[Exception]:
        """Give each message its own outcome. Yields the unexpected errors."""
        for check, outcome in zip(request.checks, outcomes, strict=True):
            try:
                self._distribute_one(check, outcome, checked_at, now)
            except Exception as error:  # the others get their own outcomes
                self._answer(check, unexpected(error))
                yield error
        if request.bulk:
            self._dispatcher.bulk_succeeded(len(request.checks))

    def _distribute_one(
        self, check: PendingCheck, outcome: StatusRecord | SmscError | None, checked_at: datetime, now: float
    ) -> None:
        if isinstance(outcome, StatusRecord):
            self._answer_with(check, outcome, checked_at, now)
        elif outcome is not None:
            self._answer(check, outcome)
        else:
            check.misses += 1
            missed = ProtocolError("the reply left this message out")
            if check.misses >= MAX_MISSES:
                self._answer(check, missed)
            else:
                self._ask_again(check, missed)

    def _request_failed(
        self, request: Request, error: TransportError | ProtocolError, jitter: Callable[[], float], now: float
    ) -> None:
        """There was no usable reply. That counts as a failure of the server, until any request is answered."""
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
                    self._dispatcher.bisection.refused_alone(check)
                self._answer(check, error)
                continue
            pause = 0.0 if check.tries < self._mirrors else backoff.delay(check.tries, jitter())
            self._ask_again(check, error, due_at=now + pause)

    def _ask_again(self, check: PendingCheck, error: SmscError, *, due_at: float = -inf) -> None:
        """Let the check wait again; but if all its subscribers have plans of their own, tell them the error instead."""
        if _has_plan(check):
            self.tally.retries += 1
            self._answer(check, error)
        else:
            self._requeue(check, error, due_at=due_at)

    def _requeue(self, check: PendingCheck, error: SmscError, *, due_at: float = -inf) -> None:
        if check.epoch != self._epoch and self._refusal is not None:
            self._answer(check, self._refusal)
            return
        check.last_error = error
        self.tally.retries += 1
        if not check.subscribers:
            self._dispatcher.withdraw(check)
            self._forget(check)
            return
        twin = self._checks.get(check.identity)
        if twin is not None and twin is not check:
            # Meanwhile asked anew at a higher level of detail: that request answers these subscribers too.
            self._dispatcher.withdraw(check)
            twin.subscribers |= check.subscribers
            twin.last_error = error
            check.subscribers = {}
            self._dispatcher.promote(twin, check.rank)
            check = twin
        else:
            check.epoch = self._epoch
            check.since = max(check.since, due_at)
            self._checks[check.identity] = check
            self._dispatcher.add(check, due_at=due_at)
        if check.state is not CheckState.IN_FLIGHT:
            self._watch_start_deadline(check)

    def _answer_with(self, check: PendingCheck, record: StatusRecord, checked_at: datetime, now: float) -> None:
        self.tally.records += 1
        subscriber = next(iter(check.subscribers), None)
        ref = subscriber.ref if subscriber is not None else MessageRef(check.id, check.phone)
        bind(record, ref, checked_at, self._zone)
        self._recent.keep(check.identity, record, check.detail, now=now)
        self._answer(check, record)

    def answer_all(self, request: Request, error: SmscError) -> None:
        """Give this error to each of the request's messages that has no outcome yet."""
        for check in request.checks:
            if check.state is CheckState.IN_FLIGHT:
                self._answer(check, error)

    def _answer(self, check: PendingCheck, outcome: StatusRecord | SmscError) -> None:
        check.state = CheckState.DONE
        self._dispatcher.bisection.done(check)
        self._forget(check)
        if len(check.subscribers) > PORTION:
            self._outbox.go_through(self._tell_all(check, outcome))
        else:
            for subscriber in list(check.subscribers):
                self._tell(check, subscriber, outcome)

    def _tell_all(self, check: PendingCheck, outcome: StatusRecord | SmscError) -> Iterator[None]:
        for subscriber in list(check.subscribers):
            self._tell(check, subscriber, outcome)
            yield

    def _tell(self, check: PendingCheck, subscriber: Subscriber, outcome: StatusRecord | SmscError) -> None:
        if subscriber not in check.subscribers:  # an earlier one has dropped it meanwhile
            return
        del check.subscribers[subscriber]
        if subscriber.start_by < inf:
            self._start_deadlines.leave(subscriber)
        self._outbox.tell(subscriber, outcome)

    # What goes next.

    def select(self, pacer: Pacer, *, in_flight: int, now: float) -> Request | None:
        """The request that may start now, if there is one.

        Nothing is final until `commit`, so this may be called again at any time. `in_flight` is the number of this
        client's open requests. During an outage only one request is sent at a time.
        """
        self.cancel_selection()
        if self._outage.until_at > now or (self._outage.is_on and in_flight):
            return None
        self._selected = self._dispatcher.take(pacer, at_most=1 if self._outage.is_on else inf, now=now)
        return self._selected

    def commit(self, wanted: object) -> Request | None:
        """Return the selected request, which is sent now.

        If the permit is for another request, this returns `None`, and every message goes on waiting. `wanted` is what
        the limiter's permit names: the request itself, or one with the same tokens.
        """
        request = self._selected
        if request is None or not _takes_same_tokens(wanted, request):
            self.cancel_selection()
            return None
        self._selected = None
        detail = request.detail
        for check in request.checks:
            check.detail = detail
            check.is_sent = True
            check.is_alone = len(request.checks) == 1
            for subscriber in check.subscribers if self._start_deadlines else ():
                self._start_deadlines.leave(subscriber)
        return request

    def waited(self, request: Request, *, now: float) -> float:
        """How long the limits have delayed a request that starts now, in seconds.

        A request has waited as long as its message that waited longest. Pauses after failures do not count.
        """
        return max(0.0, now - max(request.since, self._outage.until_at))

    def wants_bulk(self, slots: int, *, now: float) -> bool:
        """Whether a bulk request would be sent if its slot were free.

        It would if more messages wait than `slots` single requests take, or if a message of a feed is due.
        """
        feeds = self._dispatcher.feeds
        return self._dispatcher.waiting > slots or any(feed.due_at() <= now for feed in feeds)

    def cancel_selection(self) -> bool:
        """Put the messages of the selected request back at their old positions.

        Returns whether there was a selected request.
        """
        request, self._selected = self._selected, None
        if request is None:
            return False
        for check in request.checks:
            if check.subscribers:
                self._dispatcher.add(check)
                self._watch_start_deadline(check)
            else:
                self._dispatcher.withdraw(check)
                self._forget(check)
        return True

    def due_at(self, pacer: Pacer, *, in_flight: int, now: float) -> float:
        """When to select again after `select` returned nothing; `inf` if only an event can change that."""
        if self._outage.until_at > now:
            return self._outage.until_at
        return inf if self._outage.is_on and in_flight else self._dispatcher.due_at(pacer, now=now)

    def _forget(self, check: PendingCheck) -> None:
        if self._checks.get(check.identity) is check:
            del self._checks[check.identity]

    def refused(self, error: SmscError) -> bool:
        """Count a refusal by the vendor. Returns whether it concerns the whole account."""
        if isinstance(error, ApiError):
            self.tally.refusals[error.code] += 1
        return isinstance(error, CONCERNS_ACCOUNT)

    def fail_waiting(self, error: SmscError) -> None:
        """End every check that is not in flight with this error, in portions."""
        self._epoch += 1
        self._refusal = error
        start_deadlines, self._start_deadlines = self._start_deadlines, StartDeadlines()
        selected, self._selected = self._selected, None
        not_sent = selected.checks if selected else ()
        for check in not_sent:
            check.state = CheckState.WAITING
        self._outbox.go_through(self._fail(chain(not_sent, self._dispatcher.drain()), error))
        self._outbox.go_through(start_deadlines.drain())

    def _fail(self, checks: Iterable[PendingCheck | None], error: SmscError) -> Iterator[None]:
        for check in checks:
            if check is not None and check.state is not CheckState.DONE:
                self._answer(check, error)
            yield

    def _is_failing(self, check: PendingCheck) -> bool:
        """Whether `fail_waiting` has removed the check, but its subscribers have not been told yet."""
        return check.epoch != self._epoch and check.state in (CheckState.WAITING, CheckState.BACKING_OFF)


def _has_plan(check: PendingCheck) -> bool:
    """Whether the check has subscribers, and all of them decide themselves when to ask again."""
    return bool(check.subscribers) and all(subscriber.has_plan for subscriber in check.subscribers)


def _takes_same_tokens(wanted: Any, request: Request) -> bool:
    """Whether a permit for `wanted` also permits this request."""
    return wanted is request or (wanted.bulk == request.bulk and set(wanted.keys) == set(request.keys))


def _clear_steps(checks: dict[Identity, PendingCheck]) -> Iterator[None]:
    while checks:
        checks.popitem()
        yield
