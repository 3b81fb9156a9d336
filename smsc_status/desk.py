"""Who waits for what: claims on questions, and what each answer means for them.

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

from smsc_status import loops
from smsc_status.core import backoff, protocol
from smsc_status.core.dispatch import Dispatcher, Question, Request, State
from smsc_status.core.pacing import Pacer
from smsc_status.core.patience import Patience
from smsc_status.core.protocol import Outcome
from smsc_status.core.recent import RecentRecords
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
from smsc_status.models import Detail, Identity, MessageRef, StatusRecord, bind
from smsc_status.portions import PORTION, Portions

MAX_MISSES = 3
"""How often a reply may leave a message out before that is its outcome."""

HASTE = 300.0
"""A caller who waits at this moment stands in line as if he had come so many seconds earlier."""

CONCERNS_ACCOUNT = (AuthError, AddressBlocked, ClientClosed)

logger = logging.getLogger("smsc_status")

ErrorT = TypeVar("ErrorT", bound=SmscError)


class Claim(Protocol):
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

    def answered(self, outcome: StatusRecord | SmscError) -> None:
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


class Desk:
    """The questions of one client, and those who wait for them.

    Args:
        max_bulk: the largest number of messages in a bulk request.
        retries: how often a lost message is asked again.
        places: how many addresses there are to try at once.
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
        places: int,
        zone: tzinfo,
        wall_clock: Callable[[], datetime] | None,
        account_refused: Callable[[SmscError], None],
        all_told: Callable[[], None],
    ) -> None:
        self.dispatcher = Dispatcher(max_bulk)
        self.outage = backoff.Outage()
        self.tally = Tally()
        self._retries = retries
        self._places = places
        self._zone = zone
        self.wall_clock = _guarded(wall_clock) if wall_clock is not None else _system_clock
        self._account_refused = account_refused
        self.replies_read = 0
        """How many replies to checks could be read."""
        self._asked: dict[Identity, Question] = {}
        self._impatient: Patience[Claim] = Patience()
        self.recent = RecentRecords()
        # How often the account was refused, and why last: what was asked before is not asked again.
        self._epoch = 0
        self._refusal: SmscError | None = None
        self._warned = False
        self.portions: Portions[Claim, StatusRecord | SmscError] = Portions(self._tell, all_told)

    @property
    def is_empty(self) -> bool:
        """Whether no question is open, waiting or on its way."""
        return not self._asked and not self.portions.is_busy

    # Those who come and go.

    def ask(self, detail: Detail, claim: Claim, *, head_start: float = 0.0) -> Question:
        """Have the claim's message asked; those who ask for the same one share a question."""
        rank = loops.now() - head_start
        question, is_new = self._question_for(detail, claim, rank, head_start)
        if is_new:
            self.dispatcher.add(question)
        if claim.start_by < inf and question.state is not State.ASKED:
            self._impatient.join(claim, question, claim.start_by)
        return question

    def adopt(self, detail: Detail, claim: Claim, *, rank: float) -> tuple[Question, bool]:
        """A question for the claim's message, to go into a request that is being selected; and whether it may go.

        It may not if it was there already: its answer is the claim's too.
        """
        question, is_new = self._question_for(detail, claim, rank, 0.0)
        if is_new:
            question.state = State.ASKED
        return question, is_new

    def _question_for(self, detail: Detail, claim: Claim, rank: float, head_start: float) -> tuple[Question, bool]:
        ref = claim.ref
        identity = ref.identity
        question = self._asked.get(identity)
        is_new = question is None or (question.is_sent and question.detail < detail) or self._is_failing(question)
        if question is None or is_new:
            question = Question(str(ref.id), ref.phone, identity, detail, rank, head_start, epoch=self._epoch)
            self._asked[identity] = question
        else:
            self.dispatcher.promote(question, rank, head_start=head_start)
            question.detail = max(question.detail, detail)
        question.claims[claim] = None
        return question, is_new

    def drop(self, question: Question, claim: Claim) -> None:
        """The claim is given up; a request that is on its way stays so."""
        self._impatient.leave(claim)
        self.portions.forget(claim)
        if claim not in question.claims:  # it has moved to another question for the same message
            question = self._asked.get(question.identity, question)
        question.claims.pop(claim, None)
        if question.claims or question.state not in (State.WAITING, State.PAUSED):
            return
        if self._is_failing(question):
            question.state = State.DONE
        else:
            self.dispatcher.withdraw(question)
        self._forget(question)

    def drop_all(self, claims: Iterator[tuple[Question, Claim]]) -> None:
        """So many claims are given up, in portions."""
        self.portions.go_through(self._drop_each(claims))

    def _drop_each(self, claims: Iterator[tuple[Question, Claim]]) -> Iterator[None]:
        for question, claim in claims:
            self.drop(question, claim)
            yield

    def known(self, ref: MessageRef, detail: Detail, *, max_age: float) -> StatusRecord | None:
        """A record of this message, at this level or above, that came in at most `max_age` seconds ago."""
        record = self.recent.find(ref.identity, detail, since=loops.now() - max_age)
        return None if record is None else attrs.evolve(record, ref=ref)

    def turn_down(self, pacer: Pacer, now: float) -> float:
        """Tell those who can't be served in time, one portion; when are the next of the others to be told?"""

        def start_at(question: Question) -> float:
            return max(self.dispatcher.start_at(question, pacer, now=now), self.outage.until_at)

        soonest = max(self.dispatcher.soonest_at(pacer, now=now), self.outage.until_at)
        late = self._impatient.take_too_late(start_at, soonest=soonest, now=now, at_most=PORTION)
        for claim, question, at in late:
            self.drop(question, claim)
            self.portions.tell(claim, _too_late(question.last_error, max(0.0, at - now)))
        return now if len(late) >= PORTION else self._impatient.look_at(now=now)

    def turn_down_unavailable(self, cause: Exception, *, now: float, again_in: float) -> bool:
        """The limiter failed, and will be asked again in so many seconds: tell those who can't wait for that.

        One portion of them; whether there are more.
        """
        at = now + again_in
        late = self._impatient.take_too_late(lambda _question: at, soonest=at, now=now, at_most=PORTION)
        for claim, question, _ in late:
            self.drop(question, claim)
            error = LimiterUnavailable(f"the limiter can't be reached: {type(cause).__name__}")
            error.__cause__ = cause
            self.portions.tell(claim, error)
        return len(late) >= PORTION

    def put_back(self, request: Request) -> None:
        """What was selected for a request is not sent now: it waits again, at its old place in the order."""
        for question in request.questions:
            if question.claims:
                self.dispatcher.add(question)
                self._watch_impatient(question)
            else:
                self.dispatcher.withdraw(question)
                self._forget(question)

    def _watch_impatient(self, question: Question) -> None:
        for claim in question.claims:
            if claim.start_by < inf:
                self._impatient.join(claim, question, claim.start_by)

    def started(self, request: Request) -> None:
        """The request is on its way, at the level of detail that it has now; nobody needs to be turned down for it."""
        detail = request.detail
        for question in request.questions:
            question.detail = detail
            question.is_sent = True
            question.is_alone = len(request.questions) == 1
            for claim in question.claims if self._impatient else ():
                self._impatient.leave(claim)

    def forget_all(self) -> None:
        """Who waited is gone, and can't be told."""
        self._epoch += 1
        self.portions.clear()
        self.dispatcher.feeds.clear()
        gone = [self.dispatcher.drain(), self._impatient.let_go(), _let_go(self._asked)]
        self._asked, self._impatient = {}, Patience()
        for steps in gone:
            self.portions.go_through(steps)

    # What an answer means.

    def conclude(self, request: Request, verdict: list[Outcome] | SmscError) -> None:
        """What came of a request: its messages are answered, or wait again."""
        if isinstance(verdict, TransportError | ProtocolError):
            self._lose(request, verdict)
            return
        self.outage.answered()
        if isinstance(verdict, list):
            self.replies_read += 1
            self._hand_out(request, verdict)
        elif isinstance(verdict, CONCERNS_ACCOUNT):
            self.answer_all(request, verdict)
            self.refused(verdict)
        elif isinstance(verdict, RateLimited):
            self.refused(verdict)
            self._warn_of_refusal(request, verdict)
            for question in request.questions:
                self._ask_again(question, verdict)
        elif protocol.concerns_size(verdict) and len(request.questions) > 1:
            self.refused(verdict)
            self._divide(request, verdict)
        else:
            self.refused(verdict)
            self.dispatcher.division.named(request.questions[0])
            self.answer_all(request, verdict)

    def _divide(self, request: Request, error: SmscError) -> None:
        """One of the messages, or their number, is to blame: they are asked again in smaller requests."""
        self.dispatcher.bulk_refused(request.questions)
        for question in request.questions:
            self._requeue(question, error)

    def _hand_out(self, request: Request, outcomes: list[Outcome]) -> None:
        checked_at, now = self.wall_clock(), loops.now()
        for question, outcome in zip(request.questions, outcomes, strict=True):
            try:
                self._hand_out_one(question, outcome, checked_at, now)
            except Exception as error:  # whatever it is, the others get their own
                logger.exception("an answer could not be used: unexpected error")
                self._answer(question, unexpected(error))
        if request.bulk:
            self.dispatcher.bulk_answered(len(request.questions))

    def _hand_out_one(self, question: Question, outcome: Outcome, checked_at: datetime, now: float) -> None:
        if isinstance(outcome, StatusRecord):
            self._answer_with(question, outcome, checked_at, now)
        elif outcome is not None:
            self._answer(question, outcome)
        else:
            question.misses += 1
            missed = ProtocolError("the reply left this message out")
            if question.misses >= MAX_MISSES:
                self._answer(question, missed)
            else:
                self._ask_again(question, missed)

    def _lose(self, request: Request, error: TransportError | ProtocolError) -> None:
        """No reply, or none that can be used: the server's state, as long as others are not answered meanwhile."""
        now = loops.now()
        self.outage.failed(jitter=random.random(), now=now, retry_after=error.retry_after)
        if len(request.questions) > 1 and protocol.concerns_size(error):
            self._divide(request, error)
            return
        if len(request.questions) > 1 and isinstance(error, RequestTimeout):
            self.dispatcher.bulk_timed_out(len(request.questions))
        for question in request.questions:
            question.tries += 1
            if self.outage.is_on:  # the next probe is another message's
                question.rank = now - question.head_start
            if question.tries > self._retries and not _has_plan(question):
                if isinstance(error, ProtocolError) and len(request.questions) == 1:
                    self.dispatcher.division.named(question)
                self._answer(question, error)
                continue
            pause = 0.0 if question.tries < self._places else backoff.delay(question.tries, random.random())
            self._ask_again(question, error, due_at=now + pause)

    def _ask_again(self, question: Question, error: SmscError, *, due_at: float = -inf) -> None:
        """It waits again, or those who have a plan of their own are told."""
        if _has_plan(question):
            self.tally.retries += 1
            self._answer(question, error)
        else:
            self._requeue(question, error, due_at=due_at)

    def _requeue(self, question: Question, error: SmscError, *, due_at: float = -inf) -> None:
        if question.epoch != self._epoch and self._refusal is not None:
            self._answer(question, self._refusal)
            return
        question.last_error = error
        self.tally.retries += 1
        if not question.claims:
            self.dispatcher.withdraw(question)
            self._forget(question)
            return
        twin = self._asked.get(question.identity)
        if twin is not None and twin is not question:
            # Asked anew at a higher level meanwhile: that request answers these claims too.
            self.dispatcher.withdraw(question)
            twin.claims |= question.claims
            twin.last_error = error
            question.claims = {}
            self.dispatcher.promote(twin, question.rank)
            question = twin
        else:
            question.epoch = self._epoch
            self._asked[question.identity] = question
            self.dispatcher.add(question, due_at=due_at)
        if question.state is not State.ASKED:
            self._watch_impatient(question)

    def _answer_with(self, question: Question, record: StatusRecord, checked_at: datetime, now: float) -> None:
        self.tally.records += 1
        claim = next(iter(question.claims), None)
        ref = claim.ref if claim is not None else MessageRef(question.id, question.phone)
        bind(record, ref, checked_at, self._zone)
        self.recent.keep(question.identity, record, question.detail, now=now)
        self._answer(question, record)

    def answer_all(self, request: Request, error: SmscError) -> None:
        """None of the request's messages that has no answer yet will get another than this."""
        for question in request.questions:
            if question.state is State.ASKED:
                self._answer(question, error)

    def _answer(self, question: Question, outcome: StatusRecord | SmscError) -> None:
        question.state = State.DONE
        self.dispatcher.division.done(question)
        self._forget(question)
        telling = self._tell_all(question, outcome)
        if len(question.claims) > PORTION:
            self.portions.go_through(telling)
        else:
            for _ in telling:
                pass

    def _tell_all(self, question: Question, outcome: StatusRecord | SmscError) -> Iterator[None]:
        for claim in list(question.claims):
            if claim in question.claims:  # else it has been given up meanwhile
                del question.claims[claim]
                self._impatient.leave(claim)
                self.portions.tell(claim, outcome)
            yield

    def _tell(self, claim: Claim, outcome: StatusRecord | SmscError) -> None:
        try:
            claim.answered(_for_claim(outcome, claim.ref))
        except Exception as error:  # whatever it is, the others are told, and this one that it has none
            logger.exception("an outcome could not be handed over: unexpected error")
            try:
                claim.answered(unexpected(error))
            except Exception:
                logger.exception("nor could that be told: unexpected error")

    def _forget(self, question: Question) -> None:
        if self._asked.get(question.identity) is question:
            del self._asked[question.identity]

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
        impatient, self._impatient = self._impatient, Patience()
        granted_ones = granted.questions if granted else ()
        for question in granted_ones:
            question.state = State.WAITING
        self.portions.go_through(self._fail(chain(granted_ones, self.dispatcher.drain()), error))
        self.portions.go_through(impatient.let_go())

    def _fail(self, questions: Iterable[Question | None], error: SmscError) -> Iterator[None]:
        for question in questions:
            if question is not None and question.state is not State.DONE:
                self._answer(question, error)
            yield

    def _is_failing(self, question: Question) -> bool:
        """Whether it was taken out of the line, and its end is still to be told."""
        return question.epoch != self._epoch and question.state in (State.WAITING, State.PAUSED)

    def _warn_of_refusal(self, request: Request, error: RateLimited) -> None:
        level = logging.DEBUG if self._warned else logging.WARNING
        self._warned = True
        what = "a bulk request" if request.bulk else f"a request for id {request.questions[0].id}"
        logger.log(level, "the server refuses %s (%s): does somebody else use this account?", what, error)


def _has_plan(question: Question) -> bool:
    """Whether all who wait for it ask again by themselves."""
    return bool(question.claims) and all(claim.has_plan for claim in question.claims)


def _let_go(asked: dict[Identity, Question]) -> Iterator[None]:
    while asked:
        asked.popitem()
        yield


def _for_claim(outcome: StatusRecord | SmscError, ref: MessageRef) -> StatusRecord | SmscError:
    """The outcome as this claim's own: its own ref, or an error that nobody else raises."""
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
