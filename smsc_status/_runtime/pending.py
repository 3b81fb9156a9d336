"""Who waits for what: subscribers on checks, and what each answer means for them.

All of it is bookkeeping, done at once: nothing here waits, and nothing is sent. But where very many are told, that is
done in portions, one in each turn of the event loop, so that nothing else in the loop has to wait for long.
"""

from __future__ import annotations

import copy
import logging
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, tzinfo
from itertools import chain
from math import inf
from typing import Protocol, TypeVar

import attrs

from smsc_status import _loops
from smsc_status._core.scheduling import backoff
from smsc_status._core.scheduling.dispatch import CheckState, Dispatcher, PendingCheck, Request
from smsc_status._core.scheduling.pacing import Pacer
from smsc_status._core.scheduling.recent import RecentRecords
from smsc_status._core.scheduling.start_deadlines import StartDeadlines
from smsc_status._core.wire import protocol
from smsc_status._core.wire.drafts import bind
from smsc_status._core.wire.protocol import Outcome
from smsc_status._runtime.portions import PORTION, Portions
from smsc_status.errors import (
    AddressBlocked,
    ApiError,
    AuthError,
    ClientClosed,
    LimiterUnavailable,
    LimitExceeded,
    ProtocolError,
    RateLimited,
    RequestTimeout,
    SmscError,
    TransportError,
)
from smsc_status.models import Detail, Identity, MessageRef, StatusRecord

MAX_MISSES = 3
"""How often a reply may leave a message out before that is its outcome."""

CALLER_HEAD_START = 300.0
"""A caller who waits at this moment stands in line as if he had come so many seconds earlier."""

CONCERNS_ACCOUNT = (AuthError, AddressBlocked, ClientClosed)

logger = logging.getLogger("smsc_status")

ErrorT = TypeVar("ErrorT", bound=SmscError)


class Subscriber(Protocol):
    """Somebody who waits for a message."""

    @property
    def ref(self) -> MessageRef:
        """The message, as this one put it in."""

    @property
    def start_by(self) -> float:
        """The instant by which its request must have started; `inf` if that does not matter."""

    @property
    def has_plan(self) -> bool:
        """Whether it asks again by a plan of its own when a request gets no answer; or else the desk does."""

    def on_result(self, outcome: StatusRecord | SmscError) -> None:
        """Here it is. Called once, synchronously; if it raises, once more with an error."""


@attrs.define
class Tally:
    """What has been counted since the engine was made."""

    requests: Counter[str] = attrs.field(factory=Counter)
    refusals: Counter[int] = attrs.field(factory=Counter)
    done: Counter[str] = attrs.field(factory=Counter)
    """Tracked messages that are done, by outcome."""
    records: int = 0
    retries: int = 0


class PendingChecks:
    """The checks of one client, and those who wait for them.

    Args:
        max_bulk: the largest number of messages in a bulk request.
        retries: how often a lost message is asked again.
        mirrors: how many addresses there are to try at once.
        zone: in which the text dates of records are read.
        wall_clock: gives the present aware datetime; by default the system's.
        account_refused: told when an answer concerns the whole account.
        all_told: told when everybody has been told who could not be told at once.
    """

    def __init__(
        self,
        *,
        max_bulk: int,
        retries: int,
        mirrors: int,
        zone: tzinfo,
        wall_clock: Callable[[], datetime] | None,
        account_refused: Callable[[SmscError], None],
        all_told: Callable[[], None],
    ) -> None:
        self.dispatcher: Dispatcher = Dispatcher(max_bulk)
        self.outage: backoff.Outage = backoff.Outage()
        self.tally: Tally = Tally()
        self._retries = retries
        self._mirrors = mirrors
        self._zone = zone
        self.wall_clock: Callable[[], datetime] = _guarded(wall_clock) if wall_clock is not None else _system_clock
        self._account_refused = account_refused
        self.replies_read: int = 0
        """How many replies to checks could be read."""
        self._asked: dict[Identity, PendingCheck] = {}
        self._start_deadlines: StartDeadlines[Subscriber] = StartDeadlines()
        self.recent: RecentRecords = RecentRecords()
        # How often the account was refused, and why last: what was asked before is not asked again.
        self._epoch = 0
        self._refusal: SmscError | None = None
        self._warned = False
        self.portions: Portions[Subscriber, StatusRecord | SmscError] = Portions(self._tell, all_told)

    @property
    def is_empty(self) -> bool:
        """Whether no check is open, waiting or on its way."""
        return not self._asked and not self.portions.is_busy

    # Those who come and go.

    def ask(self, detail: Detail, subscriber: Subscriber, *, head_start: float = 0.0) -> PendingCheck:
        """Have the subscriber's message asked; those who ask for the same one share a check."""
        rank = _loops.now() - head_start
        check, is_new = self._check_for(detail, subscriber, rank, head_start)
        if is_new:
            self.dispatcher.add(check)
        if subscriber.start_by < inf and check.state is not CheckState.IN_FLIGHT:
            self._start_deadlines.join(subscriber, check, subscriber.start_by)
        return check

    def adopt(self, detail: Detail, subscriber: Subscriber, *, rank: float) -> tuple[PendingCheck, bool]:
        """A check for the subscriber's message, to go into a request that is being selected; and whether it may go.

        It may not if it was there already: its answer is the subscriber's too.
        """
        check, is_new = self._check_for(detail, subscriber, rank, 0.0)
        if is_new:
            check.state = CheckState.IN_FLIGHT
        return check, is_new

    def _check_for(
        self, detail: Detail, subscriber: Subscriber, rank: float, head_start: float
    ) -> tuple[PendingCheck, bool]:
        ref = subscriber.ref
        identity = ref.identity
        check = self._asked.get(identity)
        is_new = check is None or (check.is_sent and check.detail < detail) or self._is_failing(check)
        if check is None or is_new:
            check = PendingCheck(str(ref.id), ref.phone, identity, detail, rank, head_start, epoch=self._epoch)
            self._asked[identity] = check
        else:
            self.dispatcher.promote(check, rank, head_start=head_start)
            check.detail = max(check.detail, detail)
        check.subscribers[subscriber] = None
        return check, is_new

    def drop(self, check: PendingCheck, subscriber: Subscriber) -> None:
        """The subscriber is given up; a request that is on its way stays so."""
        self._start_deadlines.leave(subscriber)
        self.portions.forget(subscriber)
        if subscriber not in check.subscribers:  # it has moved to another check for the same message
            check = self._asked.get(check.identity, check)
        check.subscribers.pop(subscriber, None)
        if check.subscribers or check.state not in (CheckState.WAITING, CheckState.BACKING_OFF):
            return
        if self._is_failing(check):
            check.state = CheckState.DONE
        else:
            self.dispatcher.withdraw(check)
        self._forget(check)

    def drop_all(self, subscribers: Iterator[tuple[PendingCheck, Subscriber]]) -> None:
        """So many subscribers are given up, in portions."""
        self.portions.go_through(self._drop_each(subscribers))

    def _drop_each(self, subscribers: Iterator[tuple[PendingCheck, Subscriber]]) -> Iterator[None]:
        for check, subscriber in subscribers:
            self.drop(check, subscriber)
            yield

    def known(self, ref: MessageRef, detail: Detail, *, max_age: float) -> StatusRecord | None:
        """A record of this message, at this level or above, that came in at most `max_age` seconds ago."""
        record = self.recent.find(ref.identity, detail, since=_loops.now() - max_age)
        return None if record is None else attrs.evolve(record, ref=ref)

    def turn_down(self, pacer: Pacer, now: float) -> float:
        """Tell those who can't be served in time, one portion; when are the next of the others to be told?"""

        def start_at(check: PendingCheck) -> float:
            return max(self.dispatcher.start_at(check, pacer, now=now), self.outage.until_at)

        soonest = max(self.dispatcher.soonest_at(pacer, now=now), self.outage.until_at)
        late = self._start_deadlines.take_too_late(start_at, soonest=soonest, now=now, at_most=PORTION)
        for subscriber, check, at in late:
            self.drop(check, subscriber)
            self.portions.tell(subscriber, _too_late(check.last_error, max(0.0, at - now)))
        return now if len(late) >= PORTION else self._start_deadlines.look_at(now=now)

    def turn_down_unavailable(self, cause: Exception, *, now: float, again_in: float) -> bool:
        """The limiter failed, and will be asked again in so many seconds: tell those who can't wait for that.

        One portion of them; whether there are more.
        """
        at = now + again_in
        late = self._start_deadlines.take_too_late(lambda _question: at, soonest=at, now=now, at_most=PORTION)
        for subscriber, check, _ in late:
            self.drop(check, subscriber)
            error = LimiterUnavailable(f"the limiter can't be reached: {type(cause).__name__}")
            error.__cause__ = cause
            self.portions.tell(subscriber, error)
        return len(late) >= PORTION

    def put_back(self, request: Request) -> None:
        """What was selected for a request is not sent now: it waits again, at its old position."""
        for check in request.checks:
            if check.subscribers:
                self.dispatcher.add(check)
                self._watch_start_deadline(check)
            else:
                self.dispatcher.withdraw(check)
                self._forget(check)

    def _watch_start_deadline(self, check: PendingCheck) -> None:
        for subscriber in check.subscribers:
            if subscriber.start_by < inf:
                self._start_deadlines.join(subscriber, check, subscriber.start_by)

    def started(self, request: Request) -> None:
        """The request is on its way, at the level of detail that it has now; nobody needs to be turned down for it."""
        detail = request.detail
        for check in request.checks:
            check.detail = detail
            check.is_sent = True
            check.is_alone = len(request.checks) == 1
            for subscriber in check.subscribers if self._start_deadlines else ():
                self._start_deadlines.leave(subscriber)

    def forget_all(self) -> None:
        """Who waited is gone, and can't be told."""
        self._epoch += 1
        self.portions.clear()
        self.dispatcher.feeds.clear()
        gone = [self.dispatcher.drain(), self._start_deadlines.let_go(), _let_go(self._asked)]
        self._asked, self._start_deadlines = {}, StartDeadlines()
        for steps in gone:
            self.portions.go_through(steps)

    # What an answer means.

    def conclude(self, request: Request, verdict: list[Outcome] | SmscError) -> None:
        """What came of a request: its messages are answered, or wait again."""
        if isinstance(verdict, TransportError | ProtocolError):
            self._lose(request, verdict)
            return
        self.outage.record_success()
        if isinstance(verdict, list):
            self.replies_read += 1
            self._hand_out(request, verdict)
        elif isinstance(verdict, CONCERNS_ACCOUNT):
            self.answer_all(request, verdict)
            self.refused(verdict)
        elif isinstance(verdict, RateLimited):
            self.refused(verdict)
            self._warn_of_refusal(request, verdict)
            for check in request.checks:
                self._ask_again(check, verdict)
        elif protocol.concerns_size(verdict) and len(request.checks) > 1:
            self.refused(verdict)
            self._divide(request, verdict)
        else:
            self.refused(verdict)
            self.dispatcher.bisection.named(request.checks[0])
            self.answer_all(request, verdict)

    def _divide(self, request: Request, error: SmscError) -> None:
        """One of the messages, or their number, is to blame: they are asked again in smaller requests."""
        self.dispatcher.bulk_refused(request.checks)
        for check in request.checks:
            self._requeue(check, error)

    def _hand_out(self, request: Request, outcomes: list[Outcome]) -> None:
        checked_at, now = self.wall_clock(), _loops.now()
        for check, outcome in zip(request.checks, outcomes, strict=True):
            try:
                self._hand_out_one(check, outcome, checked_at, now)
            except Exception as error:  # whatever it is, the others get their own
                logger.exception("an answer could not be used: unexpected error")
                self._answer(check, unexpected(error))
        if request.bulk:
            self.dispatcher.bulk_succeeded(len(request.checks))

    def _hand_out_one(self, check: PendingCheck, outcome: Outcome, checked_at: datetime, now: float) -> None:
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

    def _lose(self, request: Request, error: TransportError | ProtocolError) -> None:
        """No reply, or none that can be used: the server's state, as long as others are not answered meanwhile."""
        now = _loops.now()
        self.outage.record_failure(jitter=random.random(), now=now, retry_after=error.retry_after)
        if len(request.checks) > 1 and protocol.concerns_size(error):
            self._divide(request, error)
            return
        if len(request.checks) > 1 and isinstance(error, RequestTimeout):
            self.dispatcher.bulk_timed_out(len(request.checks))
        for check in request.checks:
            check.tries += 1
            if self.outage.is_on:  # the next probe is another message's
                check.rank = now - check.head_start
            if check.tries > self._retries and not _has_plan(check):
                if isinstance(error, ProtocolError) and len(request.checks) == 1:
                    self.dispatcher.bisection.named(check)
                self._answer(check, error)
                continue
            pause = 0.0 if check.tries < self._mirrors else backoff.delay(check.tries, random.random())
            self._ask_again(check, error, due_at=now + pause)

    def _ask_again(self, check: PendingCheck, error: SmscError, *, due_at: float = -inf) -> None:
        """It waits again, or those who have a plan of their own are told."""
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
            self.dispatcher.withdraw(check)
            self._forget(check)
            return
        twin = self._asked.get(check.identity)
        if twin is not None and twin is not check:
            # Asked anew at a higher level meanwhile: that request answers these subscribers too.
            self.dispatcher.withdraw(check)
            twin.subscribers |= check.subscribers
            twin.last_error = error
            check.subscribers = {}
            self.dispatcher.promote(twin, check.rank)
            check = twin
        else:
            check.epoch = self._epoch
            self._asked[check.identity] = check
            self.dispatcher.add(check, due_at=due_at)
        if check.state is not CheckState.IN_FLIGHT:
            self._watch_start_deadline(check)

    def _answer_with(self, check: PendingCheck, record: StatusRecord, checked_at: datetime, now: float) -> None:
        self.tally.records += 1
        subscriber = next(iter(check.subscribers), None)
        ref = subscriber.ref if subscriber is not None else MessageRef(check.id, check.phone)
        bind(record, ref, checked_at, self._zone)
        self.recent.keep(check.identity, record, check.detail, now=now)
        self._answer(check, record)

    def answer_all(self, request: Request, error: SmscError) -> None:
        """None of the request's messages that has no answer yet will get another than this."""
        for check in request.checks:
            if check.state is CheckState.IN_FLIGHT:
                self._answer(check, error)

    def _answer(self, check: PendingCheck, outcome: StatusRecord | SmscError) -> None:
        check.state = CheckState.DONE
        self.dispatcher.bisection.done(check)
        self._forget(check)
        telling = self._tell_all(check, outcome)
        if len(check.subscribers) > PORTION:
            self.portions.go_through(telling)
        else:
            for _ in telling:
                pass

    def _tell_all(self, check: PendingCheck, outcome: StatusRecord | SmscError) -> Iterator[None]:
        for subscriber in list(check.subscribers):
            if subscriber in check.subscribers:  # else it has been given up meanwhile
                del check.subscribers[subscriber]
                self._start_deadlines.leave(subscriber)
                self.portions.tell(subscriber, outcome)
            yield

    def _tell(self, subscriber: Subscriber, outcome: StatusRecord | SmscError) -> None:
        try:
            subscriber.on_result(_for_subscriber(outcome, subscriber.ref))
        except Exception as error:  # whatever it is, the others are told, and this one that it has none
            logger.exception("an outcome could not be handed over: unexpected error")
            try:
                subscriber.on_result(unexpected(error))
            except Exception:
                logger.exception("nor could that be told: unexpected error")

    def _forget(self, check: PendingCheck) -> None:
        if self._asked.get(check.identity) is check:
            del self._asked[check.identity]

    def refused(self, error: SmscError) -> None:
        """The vendor said no to a request; if it minds the account, nothing more is sent for those who wait now."""
        if isinstance(error, ApiError):
            self.tally.refusals[error.code] += 1
        if isinstance(error, CONCERNS_ACCOUNT):
            logger.warning("the server refuses the account (%s): everything that waits is given back", error)
            self._account_refused(error)

    def fail_waiting(self, error: SmscError, granted: Request | None) -> None:
        """Everything that waits, and what was granted and is not on its way yet, ends with this error; in portions."""
        self._epoch += 1
        self._refusal = error
        impatient, self._start_deadlines = self._start_deadlines, StartDeadlines()
        granted_ones = granted.checks if granted else ()
        for check in granted_ones:
            check.state = CheckState.WAITING
        self.portions.go_through(self._fail(chain(granted_ones, self.dispatcher.drain()), error))
        self.portions.go_through(impatient.let_go())

    def _fail(self, checks: Iterable[PendingCheck | None], error: SmscError) -> Iterator[None]:
        for check in checks:
            if check is not None and check.state is not CheckState.DONE:
                self._answer(check, error)
            yield

    def _is_failing(self, check: PendingCheck) -> bool:
        """Whether it was taken out of the line, and its end is still to be told."""
        return check.epoch != self._epoch and check.state in (CheckState.WAITING, CheckState.BACKING_OFF)

    def _warn_of_refusal(self, request: Request, error: RateLimited) -> None:
        level = logging.DEBUG if self._warned else logging.WARNING
        self._warned = True
        what = "a bulk request" if request.bulk else f"a request for id {request.checks[0].id}"
        logger.log(level, "the server refuses %s (%s): does somebody else use this account?", what, error)


def _has_plan(check: PendingCheck) -> bool:
    """Whether all who wait for it ask again by themselves."""
    return bool(check.subscribers) and all(subscriber.has_plan for subscriber in check.subscribers)


def _let_go(asked: dict[Identity, PendingCheck]) -> Iterator[None]:
    while asked:
        asked.popitem()
        yield


def _for_subscriber(outcome: StatusRecord | SmscError, ref: MessageRef) -> StatusRecord | SmscError:
    """The outcome as this subscriber's own: its own ref, or an error that nobody else raises."""
    if isinstance(outcome, StatusRecord):
        return outcome if outcome.ref is ref else attrs.evolve(outcome, ref=ref)
    return own(outcome)


def own(error: ErrorT) -> ErrorT:
    """A copy of the error, for one who raises it alone."""
    mine = copy.copy(error)
    mine.__cause__ = error.__cause__
    return mine


def unexpected(error: Exception) -> SmscError:
    """What comes out where a mistake of ours has spoilt an answer."""
    return ProtocolError(f"the answer could not be used: {type(error).__name__}")


def _too_late(last: SmscError | None, retry_after: float) -> SmscError:
    if isinstance(last, RateLimited):
        return RateLimited(last.code, last.text, retry_after)
    if isinstance(last, TransportError | ProtocolError):
        mine = own(last)
        mine.retry_after = retry_after
        return mine
    # Nothing has happened yet, or a bulk request was refused: which of its messages is to blame is not known.
    return LimitExceeded(f"no slot comes free in time; try again in {retry_after:.1f} s", retry_after)


def _system_clock() -> datetime:
    return datetime.now(UTC)


def _guarded(clock: Callable[[], datetime]) -> Callable[[], datetime]:
    """The user's clock; where it raises or shows no aware datetime, the system's."""
    has_failed = False

    def read() -> datetime:
        nonlocal has_failed
        try:
            date = clock()
            date.timestamp()
            if date.utcoffset() is not None:
                return date
            problem = f"{date!r} has no time zone"
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
        if not has_failed:
            has_failed = True
            logger.warning("wall_clock failed (%s): the system's clock is used instead", problem)
        return _system_clock()

    return read
