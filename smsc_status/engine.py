"""Questions in, outcomes out: the shell around the dispatcher.

Callers leave claims on questions. One pump, alive while something waits, asks the limiter for the next request that may
go; each request runs in the background, so that no caller's cancellation touches it, and its outcome goes to whoever
still has a claim.
"""

from __future__ import annotations

import copy
import logging
import random
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from contextvars import Context
from datetime import UTC, datetime, tzinfo
from math import inf
from typing import Any, Protocol

import anyio
import attrs
from anyio.lowlevel import checkpoint

from smsc_status import loops
from smsc_status.core import backoff, protocol
from smsc_status.core.dispatch import Dispatcher, Question, Request, State
from smsc_status.core.pacing import Pacer, Settlement
from smsc_status.core.protocol import Outcome, Wire
from smsc_status.errors import (
    AddressBlocked,
    ApiError,
    AuthError,
    ClientClosed,
    ConfigError,
    LimitExceeded,
    ProtocolError,
    RateLimited,
    SmscError,
    TransportError,
)
from smsc_status.exchange import Exchange, Lost, Reply
from smsc_status.limiter import Limiter, Permit
from smsc_status.models import Detail, Identity, MessageRef, StatusRecord, bind

MAX_MISSES = 3
"""How often a reply may leave a message out before that is its outcome."""

CACHED_RECORDS = 10_000
"""How many records are kept for `max_age`, and for a message that comes twice in a stream: a few megabytes."""

MANY = 64
LOOK_AGAIN = 0.05
"""With more impatient callers than `MANY`, they are looked through once in so many seconds."""

CLOSING = 10.0
"""How long closing waits for what it has cancelled, in seconds."""

CONCERNS_ACCOUNT = (AuthError, AddressBlocked, ClientClosed)

logger = logging.getLogger("smsc_status")


class Claim(Protocol):
    """Somebody who waits for a message."""

    @property
    def ref(self) -> MessageRef:
        """The message, as this one put it in."""

    @property
    def start_by(self) -> float:
        """The instant by which its request must have started; `inf` if that does not matter."""

    def answered(self, outcome: StatusRecord | SmscError) -> None:
        """Here it is. Called once, synchronously: no awaiting, no raising."""


class Waiting(Protocol):
    """Something else that waits for the limits on this client's behalf."""

    def give_up(self, error: SmscError) -> None:
        """Unless it is on its way: nothing is to be sent any more, for this reason."""


@attrs.define
class Tally:
    """What has been counted since the engine was made."""

    requests: Counter[str] = attrs.field(factory=Counter)
    refusals: Counter[int] = attrs.field(factory=Counter)
    records: int = 0
    retries: int = 0


class Engine:
    """The checks of one client."""

    def __init__(
        self,
        make_exchange: Callable[[], Exchange],
        *,
        limiter: Limiter,
        wire: Wire,
        retries: int,
        zone: tzinfo,
        wall_clock: Callable[[], datetime] | None,
    ) -> None:
        self._make_exchange = make_exchange
        self._exchange = make_exchange()
        self.limiter = limiter
        self.wire = wire
        self.retries = retries
        self._zone = zone
        self._wall_clock = wall_clock or _system_clock
        self.tally = Tally()
        self.closed = False
        self.others: set[Waiting] = set()
        self._loop: object = None
        self._dispatcher = Dispatcher(limiter.limits.max_bulk)
        self._outage = backoff.Outage()
        self._asked: dict[Identity, Question] = {}
        self._impatient: dict[Claim, Question] = {}
        self._recent: OrderedDict[Identity, tuple[StatusRecord, Detail, float]] = OrderedDict()
        self._pump: loops.Background | None = None
        self._nudged = False
        self._epoch = 0
        self._refusal: SmscError | None = None
        self._turned_down_at = -inf
        # What the limiter has let go, and the pump has not taken over yet.
        self._granted: Request | None = None
        self._open = 0
        self._background: set[loops.Background] = set()
        self._warned = False

    # For callers.

    @property
    def waiting(self) -> int:
        """How many distinct messages wait for a request."""
        return self._dispatcher.waiting

    async def bind(self) -> None:
        """Belong to the running event loop from now on.

        Raises:
            ConfigError: the client is closed, or at work in another event loop.
        """
        if self.closed:
            raise ConfigError("this client is closed: expected an open one")
        loop = loops.this_loop()
        if self._loop is loop:
            return
        if self._loop is not None:
            if (self._asked or self._open) and not loops.has_ended(self._loop):
                raise ConfigError("this client is at work in another event loop: expected one client a loop")
            self._forget_loop()
        self._loop = loop
        await self._exchange.opened()

    def ask(self, detail: Detail, claim: Claim, *, head_start: float = 0.0) -> Question:
        """Have the claim's message asked; those who ask for the same one share a request."""
        ref = claim.ref
        identity = ref.identity
        rank = loops.now() - head_start
        question = self._asked.get(identity)
        if question is not None and question.state is State.ASKED and question.detail < detail:
            question = None
        if question is None:
            question = Question(str(ref.id), ref.phone, identity, detail, rank, epoch=self._epoch)
            self._asked[identity] = question
            self._dispatcher.add(question)
        else:
            self._dispatcher.promote(question, rank)
            question.detail = max(question.detail, detail)
        question.claims.append(claim)
        if claim.start_by < inf and question.state is not State.ASKED:
            self._impatient[claim] = question
        self._nudge()
        return question

    def drop(self, question: Question, claim: Claim) -> None:
        """The claim is given up; a request that is on its way stays so. To be followed by `look_again`."""
        self._impatient.pop(claim, None)
        if claim not in question.claims:  # it has moved to another question for the same message
            question = self._asked.get(question.identity, question)
        if claim in question.claims:
            question.claims.remove(claim)
        if not question.claims and question.state in (State.WAITING, State.PAUSED):
            self._dispatcher.withdraw(question)
            self._forget(question)

    def look_again(self) -> None:
        """Claims were given up: others of the same ids may have a way now."""
        if self._dispatcher.waiting:
            self._nudge()

    def recent(self, ref: MessageRef, detail: Detail, *, since: float) -> StatusRecord | None:
        """A record of this message, at this level or above, that came in at or after the instant `since`."""
        record, level, at = self._recent.get(ref.identity, (None, detail, -inf))
        return attrs.evolve(record, ref=ref) if record is not None and at >= since and level >= detail else None

    async def send(self, permit: Permit[Any], fields: dict[str, str], kind: str) -> Reply | Lost:
        """Send a permitted request, for the caller to settle; cancelled, it counts as given up and is settled."""
        self.tally.requests[kind] += 1
        try:
            return await self._exchange.post(fields)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self.limiter.settle(permit, Settlement.GIVEN_UP)
            raise

    def hide_secrets(self, error: SmscError) -> None:
        """Take out of an error what a reply has echoed of the credentials."""
        self._exchange.hide_secrets(error)

    def spawn(self, work: Callable[[], Awaitable[None]], *, context: Context | None = None) -> loops.Background:
        """Background work that ends at the latest when the client is closed."""

        async def tracked() -> None:
            try:
                await work()
            finally:
                self._background.discard(background)

        background = loops.spawn(tracked, context=context)
        self._background.add(background)
        return background

    async def aclose(self) -> None:
        """Give up what is on its way, fail what waits, and close every socket."""
        if self.closed:
            return
        self.closed = True
        self._fail_waiting(ClientClosed("the client was closed"))
        if self._loop not in (None, loops.this_loop()):
            self._forget_loop()
        with anyio.move_on_after(CLOSING):  # a transport may not listen to its cancellation
            while self._background:
                work = list(self._background)
                for background in work:
                    background.cancel()
                for background in work:
                    await background.wait()
        await self._exchange.aclose()

    # The pump.

    def _nudge(self) -> None:
        """Something new waits: look at it after one turn of the loop, so that calls made together are seen together."""
        if self._nudged or self.closed:
            return
        if loops.is_in_task():
            self._nudged = True
            self.spawn(self._look)
        else:
            self.limiter.reconsider()

    async def _look(self) -> None:
        await checkpoint()
        self._nudged = False
        if self._pump is None:
            self._pump = self.spawn(self._pump_out)
        else:
            self.limiter.reconsider()

    async def _pump_out(self) -> None:
        while True:
            permit = await self.limiter.take(self._choose)
            if self._granted is permit.wanted:
                self._start(permit)
            else:
                await self.limiter.settle(permit, Settlement.NEVER_LEFT)

    def _choose(self, pacer: Pacer, *, now: float) -> Request | float:
        if self._loop is not loops.this_loop():
            return inf  # this pump was left behind in another loop
        while True:
            request = self._take(pacer, now)
            if request is not None:
                return request
            waiting = self._dispatcher.waiting
            again_at = self._turn_down(pacer, now) if self._impatient else inf
            if self._dispatcher.waiting == waiting:
                return min(again_at, self._again_at(pacer, now))

    def _take(self, pacer: Pacer, now: float) -> Request | None:
        outage = self._outage
        if outage.until_at > now or (outage.is_on and self._open):
            return None
        self._granted = self._dispatcher.take(pacer, at_most=1 if outage.is_on else inf, now=now)
        return self._granted

    def _again_at(self, pacer: Pacer, now: float) -> float:
        outage = self._outage
        if outage.until_at > now:
            return outage.until_at
        return inf if outage.is_on and self._open else self._dispatcher.due_at(pacer, now=now)

    def _turn_down(self, pacer: Pacer, now: float) -> float:
        """Tell those who can't be served in time; when is the next of the others to be told?"""
        if len(self._impatient) > MANY and now < self._turned_down_at + LOOK_AGAIN:
            return self._turned_down_at + LOOK_AGAIN
        self._turned_down_at = now
        next_at = inf
        for claim, question in list(self._impatient.items()):
            start_at = max(self._dispatcher.start_at(question, pacer, now=now), self._outage.until_at)
            if start_at <= claim.start_by and now < claim.start_by:
                next_at = min(next_at, claim.start_by)
                continue
            self.drop(question, claim)
            claim.answered(_too_late(question.last_error, max(0.0, start_at - now)))
        return next_at

    def _start(self, permit: Permit[Request]) -> None:
        self._granted = None
        for question in permit.wanted.questions if self._impatient else ():
            for claim in question.claims:
                self._impatient.pop(claim, None)
        self._open += 1
        self.spawn(lambda: self._run(permit))

    async def _run(self, permit: Permit[Request]) -> None:
        request = permit.wanted
        detail = request.detail
        for question in request.questions:
            question.detail = detail
        messages = [(question.id, question.phone) for question in request.questions]
        fields = protocol.fields(self.wire, messages, bulk=request.bulk, detail=detail)
        try:
            reply = await self.send(permit, fields, "bulk" if request.bulk else "single")
        except BaseException:
            self._open -= 1
            self._answer_all(request, ClientClosed("the client was closed"))
            raise
        how = reply.how if isinstance(reply, Lost) else Settlement.REPLIED
        try:
            verdict = reply.error if isinstance(reply, Lost) else self._read(request, detail, reply)
            how = Settlement.REFUSED if isinstance(verdict, RateLimited) else how
            self._conclude(request, verdict)
        except Exception as error:  # such as a wall clock of the user's own that fails
            self._answer_all(request, _unexpected(error))
            raise
        finally:
            self._open -= 1
            await self.limiter.settle(permit, how)

    def _read(self, request: Request, detail: Detail, reply: Reply) -> list[Outcome] | SmscError:
        asked = [question.identity for question in request.questions]
        verdict = protocol.read(
            self.wire, reply.status, reply.headers, reply.body, asked=asked, bulk=request.bulk, detail=detail
        )
        for error in verdict if isinstance(verdict, list) else [verdict]:
            if isinstance(error, SmscError):
                self.hide_secrets(error)
        return verdict

    # What an answer means.

    def _conclude(self, request: Request, verdict: list[Outcome] | SmscError) -> None:
        if isinstance(verdict, TransportError):
            self._lose(request, verdict)
            return
        self._outage.answered()
        if isinstance(verdict, list):
            self._hand_out(request, verdict)
        elif isinstance(verdict, CONCERNS_ACCOUNT):
            self._answer_all(request, verdict)
            self.refused(verdict)
        elif isinstance(verdict, RateLimited):
            self.refused(verdict)
            self._warn_of_refusal(request)
            self._ask_again(request, verdict)
        elif protocol.concerns_size(verdict) and len(request.questions) > 1:
            self.refused(verdict)
            self._dispatcher.bulk_refused(request.questions)
            self._ask_again(request, verdict)
        else:
            self.refused(verdict)
            if len(request.questions) == 1:
                self._dispatcher.division.named(request.questions[0])
            self._answer_all(request, verdict)

    def _hand_out(self, request: Request, outcomes: list[Outcome]) -> None:
        checked_at, now = self._wall_clock(), loops.now()
        for question, outcome in zip(request.questions, outcomes, strict=True):
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
                    self._requeue(question, missed)
        if request.bulk:
            self._dispatcher.bulk_answered(len(request.questions))

    def _lose(self, request: Request, error: TransportError) -> None:
        now = loops.now()
        self._outage.failed(jitter=random.random(), now=now)
        wait = getattr(error, "retry_after", None) or 0.0
        for question in request.questions:
            question.tries += 1
            if question.tries > self.retries:
                self._answer(question, error)
                continue
            pause = 0.0 if question.tries < self._exchange.places else backoff.delay(question.tries, random.random())
            self._requeue(question, error, due_at=now + max(pause, min(wait, backoff.LONGEST)))

    def _ask_again(self, request: Request, error: SmscError) -> None:
        for question in request.questions:
            self._requeue(question, error)

    def _requeue(self, question: Question, error: SmscError, *, due_at: float = -inf) -> None:
        if question.epoch != self._epoch and self._refusal is not None:
            self._answer(question, self._refusal)
            return
        question.last_error = error
        self.tally.retries += 1
        if not question.claims:
            self._dispatcher.withdraw(question)
            self._forget(question)
            return
        twin = self._asked.get(question.identity)
        if twin is not None and twin is not question:
            # Asked anew at a higher level meanwhile: that request answers these claims too.
            self._dispatcher.withdraw(question)
            twin.claims += question.claims
            question.claims = []
            self._dispatcher.promote(twin, question.rank)
            question = twin
        else:
            self._asked[question.identity] = question
            self._dispatcher.add(question, due_at=due_at)
        for claim in question.claims:
            if claim.start_by < inf and question.state is not State.ASKED:
                self._impatient[claim] = question

    def _answer_with(self, question: Question, record: StatusRecord, checked_at: datetime, now: float) -> None:
        self.tally.records += 1
        ref = question.claims[0].ref if question.claims else MessageRef(question.id, question.phone)
        bind(record, ref, checked_at, self._zone)
        self._recent[question.identity] = record, question.detail, now
        self._recent.move_to_end(question.identity)
        if len(self._recent) > CACHED_RECORDS:
            self._recent.popitem(last=False)
        self._answer(question, record)

    def _answer_all(self, request: Request, error: SmscError) -> None:
        for question in request.questions:
            if question.state is State.ASKED:
                self._answer(question, error)

    def _answer(self, question: Question, outcome: StatusRecord | SmscError) -> None:
        question.state = State.DONE
        self._dispatcher.division.done(question)
        self._forget(question)
        claims, question.claims = question.claims, []
        for claim in claims:
            self._impatient.pop(claim, None)
            claim.answered(_for_claim(outcome, claim.ref))

    def _forget(self, question: Question) -> None:
        if self._asked.get(question.identity) is question:
            del self._asked[question.identity]

    def refused(self, error: SmscError) -> None:
        """The vendor said no to a request; if it minds the account, nothing more is sent for those who wait now."""
        if isinstance(error, ApiError):
            self.tally.refusals[error.code] += 1
        if isinstance(error, CONCERNS_ACCOUNT):
            logger.warning("the server refuses the account (%s): everything that waits is given back", error)
            self._fail_waiting(error)

    def forget_record(self, ref: MessageRef) -> None:
        """What was known of this message is not true any more."""
        self._recent.pop(ref.identity, None)

    def _fail_waiting(self, error: SmscError) -> None:
        """The account is refused, or the client closed: nothing more is sent for those who wait now."""
        self._epoch += 1
        self._refusal = error
        granted, self._granted = self._granted, None
        for question in [*(granted.questions if granted else ()), *self._dispatcher.drain()]:
            self._answer(question, error)
        for other in list(self.others):
            other.give_up(_own(error))

    def _forget_loop(self) -> None:
        """The loop that this engine worked in has ended, and took its tasks and sockets along."""
        for background in self._background:
            loops.call_in(self._loop, background.cancel)
        # Who waited in that loop is gone, too: there is nobody to tell.
        self._dispatcher.drain()
        self._asked.clear()
        self._impatient.clear()
        self.others.clear()
        self._pump = self._granted = None
        self._nudged = False
        self._open = 0
        self._background.clear()
        self._exchange = self._make_exchange()

    def _warn_of_refusal(self, request: Request) -> None:
        level = logging.DEBUG if self._warned else logging.WARNING
        self._warned = True
        what = "a bulk request" if request.bulk else f"a request for id {request.questions[0].id}"
        logger.log(level, "the server says that %s comes too often: does somebody else use this account?", what)


def _unexpected(error: Exception) -> SmscError:
    return ProtocolError(f"the answer could not be used: {type(error).__name__}")


def _for_claim(outcome: StatusRecord | SmscError, ref: MessageRef) -> StatusRecord | SmscError:
    """The outcome as this claim's own: its own ref, or an error that nobody else raises."""
    if isinstance(outcome, StatusRecord):
        return outcome if outcome.ref is ref else attrs.evolve(outcome, ref=ref)
    return _own(outcome)


def _own(error: SmscError) -> SmscError:
    mine = copy.copy(error)
    mine.__cause__ = error.__cause__
    return mine


def _too_late(last: SmscError | None, retry_after: float) -> SmscError:
    if isinstance(last, RateLimited):
        return RateLimited(last.code, last.text, retry_after)
    if last is not None:
        return _own(last)
    return LimitExceeded(f"no slot comes free in time; try again in {retry_after:.1f} s", retry_after)


def _system_clock() -> datetime:
    return datetime.now(UTC)
