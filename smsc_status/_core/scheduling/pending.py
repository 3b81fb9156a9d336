"""Which messages wait for an answer, who waits for each, and which go next.

A *pending check* is one distinct message that is to be asked. Its *subscribers* are those that wait for it. Calls for
the same message share one pending check.

This module does no more than note all this: nothing here waits, and nothing is sent. Outcomes go into an outbox, which
the runtime empties in portions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from math import inf
from typing import Any

from smsc_status._core.scheduling.backoff import Outage
from smsc_status._core.scheduling.checks import CheckState, Feed, PendingCheck, Request
from smsc_status._core.scheduling.dispatch import Dispatcher
from smsc_status._core.scheduling.pacing import Pacer
from smsc_status._core.scheduling.start_deadlines import StartDeadlines
from smsc_status._core.scheduling.subscribers import Outbox, Subscriber, too_late, unavailable
from smsc_status.errors import SmscError
from smsc_status.models import Detail, Identity, StatusRecord

CALLER_HEAD_START = 300.0
"""Seconds. A message that a caller waits for is ranked as if the caller had come this much earlier."""

PORTION = 100
"""How many subscribers are told in one turn of the event loop. With all that they do then, that takes 2 ms."""


class PendingChecks:
    """The pending checks of one client, and their subscribers.

    Args:
        dispatcher: orders the checks that wait.
        outage: says when nothing is sent because the server is out of reach.
        outbox: takes the outcomes.
    """

    def __init__(self, dispatcher: Dispatcher, outage: Outage, outbox: Outbox) -> None:
        self._dispatcher = dispatcher
        self._outage = outage
        self._outbox = outbox
        self._checks: dict[Identity, PendingCheck] = {}
        self._start_deadlines: StartDeadlines[Subscriber] = StartDeadlines()
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
        return self._dispatcher.has_last_calls

    @property
    def batch_limit(self) -> int:
        """How many messages the next bulk request may have."""
        return self._dispatcher.batch_limit

    @property
    def is_in_outage(self) -> bool:
        """Whether the server is taken to be unreachable."""
        return self._outage.is_on

    def add_feed(self, feed: Feed) -> None:
        """From now on ask this feed for messages when a request is selected."""
        self._dispatcher.add_feed(feed)

    def remove_feed(self, feed: Feed) -> None:
        """Do not ask this feed any more."""
        self._dispatcher.remove_feed(feed)

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
        """The subscriber waits for a check of its message, for a request that is being selected.

        The message waits since the instant `since`; `inf` means that it does not wait.

        Returns:
            The check, and whether it is new. Only a new one goes into the request. An older one answers the subscriber.
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
        check.subscribers[subscriber] = head_start
        return check, is_new

    def drop(self, check: PendingCheck, subscriber: Subscriber) -> None:
        """The subscriber no longer waits. A request that is in flight continues."""
        self._start_deadlines.leave(subscriber)
        self._outbox.forget(subscriber)
        if subscriber not in check.subscribers:  # it may have moved to another check for the same message
            check = self._checks.get(check.identity, check)
        check.subscribers.pop(subscriber, None)
        if check.head_start and not any(check.subscribers.values()) and not self._is_failing(check):
            self._dispatcher.demote(check)
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

    def turn_down(self, pacer: Pacer, *, now: float) -> float:
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
        self._dispatcher.remove_feeds()
        gone = [self._dispatcher.drain(), self._start_deadlines.drain(), _clear_steps(self._checks)]
        self._checks, self._start_deadlines, self._selected = {}, StartDeadlines(), None
        for steps in gone:
            self._outbox.go_through(steps)

    # What a request has brought.

    def put_back(self, check: PendingCheck, error: SmscError, *, due_at: float = -inf) -> bool:
        """Let a check that was sent wait again, because of this error. It is not sent before `due_at`.

        If everything that waited has been ended since it was sent, it ends with the same error. It does not wait again
        either if nobody waits for it any more, or if another check for the same message answers its subscribers.

        Returns:
            Whether it waits again.
        """
        if check.epoch != self._epoch and self._refusal is not None:
            self.answer(check, self._refusal)
            return False
        check.last_error = error
        if not check.subscribers:
            self._dispatcher.withdraw(check)
            self._forget(check)
            return False
        twin = self._checks.get(check.identity)
        if twin is not None and twin is not check:
            # Meanwhile asked anew at a higher level of detail: that request answers these subscribers too.
            self._dispatcher.withdraw(check)
            twin.subscribers |= check.subscribers
            twin.last_error = error
            check.subscribers = {}
            self._dispatcher.promote(twin, check.rank)
            if twin.state is not CheckState.IN_FLIGHT:
                self._watch_start_deadline(twin)
            return False
        check.epoch = self._epoch
        check.since = max(check.since, due_at)
        self._checks[check.identity] = check
        self._dispatcher.add(check, due_at=due_at)
        self._watch_start_deadline(check)
        return True

    def answer_all(self, request: Request, error: SmscError) -> None:
        """Give this error to each of the request's messages that has no outcome yet."""
        for check in request.checks:
            if check.state is CheckState.IN_FLIGHT:
                self.answer(check, error)

    def answer(self, check: PendingCheck, outcome: StatusRecord | SmscError) -> None:
        """The check ends: everybody who waits for it gets this outcome."""
        check.state = CheckState.DONE
        self._dispatcher.ended(check)
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
        return self._dispatcher.wants_bulk(slots, now=now)

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

    def fail_waiting(self, error: SmscError) -> None:
        """End every check that has not been sent with this error, in portions."""
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
                self.answer(check, error)
            yield

    def _is_failing(self, check: PendingCheck) -> bool:
        """Whether `fail_waiting` has removed the check, but its subscribers have not been told yet."""
        return check.epoch != self._epoch and check.state in (CheckState.WAITING, CheckState.BACKING_OFF)


def _takes_same_tokens(wanted: Any, request: Request) -> bool:
    """Whether a permit for `wanted` also permits this request."""
    return wanted is request or (wanted.bulk == request.bulk and set(wanted.keys) == set(request.keys))


def _clear_steps(checks: dict[Identity, PendingCheck]) -> Iterator[None]:
    while checks:
        checks.popitem()
        yield
