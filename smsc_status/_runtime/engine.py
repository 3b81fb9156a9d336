"""Questions in, outcomes out: the shell around the desk.

Workers in the background, so that no caller's cancellation touches a request, take from the limiter the next one that
may go, carry it out, and hand its outcomes to whoever still has a subscriber. While something waits, one of them stands by.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Awaitable, Callable
from contextvars import Context
from datetime import datetime, tzinfo
from functools import partial
from math import inf
from typing import Any, Protocol
from weakref import WeakSet

import anyio
from anyio.lowlevel import checkpoint

from smsc_status import _loops
from smsc_status._core.scheduling import backoff
from smsc_status._core.scheduling.dispatch import Feed, PendingCheck, Request
from smsc_status._core.scheduling.pacing import Pacer, RequestEnd
from smsc_status._core.scheduling.pending import Conclusion, PendingChecks, Subscriber, own, unexpected
from smsc_status._core.wire import protocol
from smsc_status._core.wire.protocol import Outcome, Wire
from smsc_status._runtime.http import HttpExchange, NoReply, Reply
from smsc_status._runtime.outbox import PortionedOutbox
from smsc_status._runtime.wall_clock import guarded
from smsc_status.errors import ClientClosed, ConfigError, ProtocolError, RateLimited, SmscError, TransportError
from smsc_status.limiter import Limiter, Permit, Selector, WantedT
from smsc_status.models import Detail, Limits

GATHERING = 0.1
"""For so many seconds, and once in a second, requests wait for messages that are being read at this moment."""

CLOSING = 10.0
"""How long closing waits for what it has cancelled, in seconds."""


logger = logging.getLogger("smsc_status")


class Cancellable(Protocol):
    """Something else that waits for the limits on this client's behalf."""

    def give_up(self, error: SmscError) -> None:
        """Unless it is on its way: nothing is to be sent any more, for this reason."""


class Follower(Feed, Cancellable, Protocol):
    """A tracker: a feed of messages, which also wants to know the server's date."""

    def told(self, date: float) -> None:
        """A reply has just said that it is this date, in seconds since 1970."""


class Engine:
    """The checks of one client."""

    def __init__(
        self,
        make_exchange: Callable[[], HttpExchange],
        *,
        limiter: Limiter,
        wire: Wire,
        retries: int,
        zone: tzinfo,
        wall_clock: Callable[[], datetime] | None,
    ) -> None:
        self._make_anew = partial(
            Engine.__init__,
            make_exchange=make_exchange,
            limiter=limiter,
            wire=wire,
            retries=retries,
            zone=zone,
            wall_clock=wall_clock,
        )
        _all.add(self)
        self._make_exchange = make_exchange
        self._exchange = make_exchange()
        self.limiter = limiter
        self.wire = wire
        self.retries = retries
        self.wall_clock: Callable[[], datetime] = guarded(wall_clock)
        self._outbox = PortionedOutbox(all_done=self.look_again)
        self.pending: PendingChecks = PendingChecks(
            max_bulk=limiter.limits.max_bulk,
            retries=retries,
            mirrors=self._exchange.mirrors,
            zone=zone,
            outbox=self._outbox,
        )
        self.closed: bool = False
        self.cancellables: set[Cancellable] = set()
        self._followers: dict[Follower, None] = {}
        self._loop: object = None
        self._binding = threading.Lock()
        # Whether one of the workers waits for the limiter.
        self._stands_by = False
        self._is_urgent = False
        self._nudged = False
        self._has_warned_of_refusal = False
        # The limiter has failed in this way, and is not asked again before this instant.
        self._failed: tuple[Exception, float] | None = None
        self._failed_looks = 0
        # How many inputs are being read, and until when requests wait for that.
        self._readers = 0
        self._gather_until = -inf
        self._open = 0
        self._background: set[_loops.BackgroundTask] = set()

    # For callers.

    async def bind(self) -> None:
        """Belong to the running event loop from now on.

        Raises:
            ConfigError: the client is closed, or at work in another event loop.
        """
        if self.closed:
            raise ConfigError("this client is closed: expected an open one")
        if self._loop is _loops.this_loop():
            return
        loop, _ = _loops.here_and_now()
        with self._binding:  # two threads may come at once
            if self._loop is not None:
                is_at_work = bool(self._open) or not self.pending.is_empty
                if _loops.is_running(self._loop) or (is_at_work and not _loops.has_ended(self._loop)):
                    raise ConfigError("this client is at work in another event loop: expected one client a loop")
                self._forget_loop()
            self._loop = loop
        await self._exchange.opened()

    def ask(self, detail: Detail, subscriber: Subscriber, *, head_start: float = 0.0) -> PendingCheck:
        """Have the subscriber's message asked, `head_start` seconds ahead of its turn."""
        check = self.pending.ask(detail, subscriber, head_start=head_start, now=_loops.now())
        self._nudge()
        return check

    @property
    def limits(self) -> Limits:
        """What the limiter keeps."""
        return self.limiter.limits

    def look_again(self) -> None:
        """What waits has changed by other means than `ask`."""
        if self.pending.has_work:
            self._nudge()

    async def read_on_later(self) -> None:
        """Let cancellables have their turn; the caller reads on then, and requests wait for what he reads, but not long."""
        now = _loops.now()
        if now > self._gather_until + 1.0:
            self._gather_until = now + GATHERING
        self._readers += 1
        try:
            await checkpoint()
        finally:
            self._readers -= 1
            self.look_again()

    def follow(self, follower: Follower) -> None:
        """From now on this one is asked for messages when a request is selected."""
        self.cancellables.add(follower)
        self._followers[follower] = None
        self.pending.add_feed(follower)
        self.look_again()

    def unfollow(self, follower: Follower) -> None:
        """It is not asked any more."""
        self.cancellables.discard(follower)
        self._followers.pop(follower, None)
        self.pending.remove_feed(follower)

    async def acquire(
        self, select: Selector[WantedT], *, failed: Callable[[Exception, float], None] | None = None
    ) -> Permit[WantedT]:
        """Leave to send a request. A limiter that fails is asked again, with growing pauses.

        `failed` is told each time what it has raised, and in how many seconds it is asked again.
        """
        tries = 0
        while True:
            try:
                return await self.limiter.acquire(select)
            except Exception as error:
                tries += 1
                self._warn_of_limiter(error)
                pause = backoff.delay(tries, random.random())
                if failed is not None:
                    failed(error, pause)
            await anyio.sleep(pause)

    async def send(self, permit: Permit[Any], fields: dict[str, str], kind: str, *, messages: int) -> Reply | NoReply:
        """Send a permitted request about so many messages, for the caller to release.

        Cancelled, it counts as given up and is released.
        """
        self.pending.count_request(kind)
        try:
            return await self._exchange.post(fields, messages=messages)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self.release(permit, RequestEnd.ABANDONED)
            raise

    async def release(self, permit: Permit[Any], how: RequestEnd) -> None:
        """Tell the limiter how a request has ended; one that fails is told again, in the background."""
        try:
            await self.limiter.release(permit, how)
        except Exception as error:
            self._warn_of_limiter(error)
            if not self.closed:
                self.spawn(partial(self._release_at_last, permit, how))

    async def _release_at_last(self, permit: Permit[Any], how: RequestEnd) -> None:
        tries = 0
        while True:
            tries += 1
            await anyio.sleep(backoff.delay(tries, random.random()))
            try:
                await self.limiter.release(permit, how)
            except Exception as error:
                self._warn_of_limiter(error)
            else:
                return

    def hide_secrets(self, error: SmscError) -> None:
        """Take out of an error what a reply has echoed of the credentials."""
        self._exchange.hide_secrets(error)

    def spawn(self, work: Callable[[], Awaitable[None]], *, context: Context | None = None) -> _loops.BackgroundTask:
        """BackgroundTask work that ends at the latest when the client is closed."""
        return _loops.spawn(work, context=context, among=self._background)

    async def aclose(self) -> None:
        """Give up what is on its way, fail what waits, and close every socket; whoever cancels it waits for that."""
        if self.closed:
            return
        self.closed = True
        self._fail_waiting(ClientClosed("the client was closed"))
        if self._loop not in (None, _loops.this_loop()):
            self._forget_loop()
        with anyio.CancelScope(shield=True):
            for background in list(self._background):
                background.cancel()
            await self._all_told()
            with anyio.move_on_after(CLOSING):  # a transport may not listen to its cancellation
                while self._background:
                    work = list(self._background)
                    for background in work:
                        background.cancel()
                    for background in work:
                        await background.wait()
            with anyio.move_on_after(CLOSING):
                await self._exchange.aclose()
            await self._all_told()

    @property
    def background_tasks(self) -> int:
        """How many tasks of its own are at work."""
        return len(self._background)

    @property
    def is_telling(self) -> bool:
        """Whether outcomes are still on their way to their subscribers."""
        return self._outbox.is_busy

    async def tell_more(self) -> None:
        """Let one turn of the loop pass, in which the next outcomes are handed over."""
        self._outbox.next_turn()
        await checkpoint()

    async def _all_told(self) -> None:
        while self.is_telling:
            await self.tell_more()

    # The workers.

    def _nudge(self) -> None:
        """Something new waits: look at it after one turn of the loop, so that calls made together are seen together."""
        if not self._nudged and not self.closed:
            self._nudged = True
            _loops.call_soon(self._look)

    def _look(self) -> None:
        if self.closed or self._loop is not _loops.this_loop():
            return
        self._nudged = False
        self._has_warned_of_refusal = False
        if not self._stands_by:
            self._call_worker()
            return
        if self._failed is not None and self._failed[1] > _loops.now():
            self._turn_down_unavailable(*self._failed)
            return
        try:
            self.limiter.wake(self._select)
            self._failed_looks = 0
        except Exception as error:
            self._warn_of_limiter(error)
            self._failed_looks += 1
            pause = backoff.delay(self._failed_looks, random.random())
            self._failed = error, _loops.now() + pause
            self._turn_down_unavailable(*self._failed)
            self.spawn(partial(self._look_after, pause))

    async def _look_after(self, pause: float) -> None:
        """What came meanwhile has not been looked at: the worker that stands by may wait for nothing but that."""
        await anyio.sleep(pause)
        self._failed = None
        self._look()

    def _call_worker(self) -> None:
        self._stands_by = True
        self.spawn(self._work)

    async def _work(self) -> None:
        """Start one request after the other, while something waits; carry out the last one, then stand by again."""
        while True:
            permit, request = await self._permit()
            self._open += 1
            if self.pending.has_work:
                self.spawn(partial(self._carry_out_beside, permit, request))
                continue
            self._stands_by = False
            await self._carry_out(permit, request)
            if self._stands_by:  # another worker, called meanwhile
                return
            self._stands_by = True

    async def _carry_out_beside(self, permit: Permit[Request], request: Request) -> None:
        """Carry it out while the worker goes on. That one may be busy itself when messages of this one wait again."""
        await self._carry_out(permit, request)
        if not self._stands_by:
            self.look_again()

    async def _permit(self) -> tuple[Permit[Request], Request]:
        """Leave to send the next request, and that request."""
        misses = 0
        while True:
            permit = await self.acquire(self._select, failed=self._acquire_failed)
            request = self.pending.commit(permit.wanted)
            if request is not None:
                return permit, request
            await self.release(permit, RequestEnd.NOT_SENT)
            misses += 1
            if misses > 1:  # a limiter that does not permit what was chosen must not be asked without a pause
                await anyio.sleep(backoff.delay(misses - 1, random.random()))

    def _acquire_failed(self, error: Exception, pause: float) -> None:
        self.pending.cancel_selection()
        self._failed = error, _loops.now() + pause
        self._turn_down_unavailable(*self._failed)

    def _turn_down_unavailable(self, error: Exception, again_at: float) -> None:
        now = _loops.now()
        if self.pending.turn_down_unavailable(error, now=now, again_in=again_at - now):
            self._nudge()

    def _warn_of_limiter(self, error: Exception) -> None:
        logger.warning("the limiter failed, and is asked again: %s", _shown(error), exc_info=error)

    def _select(self, pacer: Pacer, *, now: float) -> Request | float:
        if self._loop is not _loops.this_loop():
            return inf  # this worker was left behind in another loop
        if self.pending.cancel_selection():  # asked again before it could use what it was given
            self.pending.turn_down(pacer, now)
        if self._is_gathering(now):
            return self._gather_until
        while True:
            request = self.pending.select(pacer, in_flight=self._open, now=now)
            if request is not None:
                return request
            waiting = self.pending.waiting
            again_at = self.pending.turn_down(pacer, now)
            if again_at <= now or self.pending.waiting == waiting:
                self._is_urgent = self.pending.has_last_calls
                return min(again_at, self.pending.due_at(pacer, in_flight=self._open, now=now))

    def is_urgent(self, *, now: float) -> bool:
        """Whether this client goes before other clients of its limiter.

        It does while a caller waits for a `check`, and while messages near their archive deadline wait.
        """
        return self._is_urgent or self.pending.has_callers

    def _is_gathering(self, now: float) -> bool:
        """Whether more is read just now, so that a bulk request would not be full yet."""
        return bool(self._readers) and now < self._gather_until and self.pending.waiting < self.pending.batch_limit

    async def _carry_out(self, permit: Permit[Request], request: Request) -> None:
        detail = request.detail
        messages = [(check.id, check.phone) for check in request.checks]
        fields = protocol.fields(self.wire, messages, bulk=request.bulk, detail=detail)
        try:
            kind = "bulk" if request.bulk else "single"
            reply = await self.send(permit, fields, kind, messages=len(messages))
        except BaseException:
            self._open -= 1
            self.pending.answer_all(request, ClientClosed("the client was closed"))
            raise
        how = reply.how if isinstance(reply, NoReply) else RequestEnd.REPLIED
        try:
            verdict = reply.error if isinstance(reply, NoReply) else self._read(request, detail, reply)
            if isinstance(reply, Reply) and not isinstance(verdict, TransportError | ProtocolError):
                self._tell_date(reply)  # else something between the server and us may have answered
            how = RequestEnd.REFUSED if isinstance(verdict, RateLimited) else how
            self._act_on(request, self._conclude(request, verdict))
        except Exception as error:  # such as a wall clock of the user's own that fails
            logger.exception("an answer could not be used: unexpected error")
            self.pending.answer_all(request, unexpected(error))
        finally:
            self._open -= 1
            await self.release(permit, how)

    def _conclude(self, request: Request, verdict: list[Outcome] | SmscError) -> Conclusion:
        return self.pending.conclude(
            request, verdict, checked_at=self.wall_clock(), jitter=random.random, now=_loops.now()
        )

    def _act_on(self, request: Request, conclusion: Conclusion) -> None:
        for mistake in conclusion.mistakes:
            logger.error("an answer could not be used: unexpected error", exc_info=mistake)
        if conclusion.rate_limited is not None:
            self._warn_of_refusal(request, conclusion.rate_limited)
        if conclusion.account_error is not None:
            self._refuse_account(conclusion.account_error)

    def _warn_of_refusal(self, request: Request, error: RateLimited) -> None:
        level = logging.DEBUG if self._has_warned_of_refusal else logging.WARNING
        self._has_warned_of_refusal = True
        what = "a bulk request" if request.bulk else f"a request for id {request.checks[0].id}"
        logger.log(level, "the server refuses %s (%s): does somebody else use this account?", what, error)

    def refused(self, error: SmscError) -> None:
        """The vendor said no to a request that is not a check."""
        if self.pending.refused(error):
            self._refuse_account(error)

    def _refuse_account(self, error: SmscError) -> None:
        logger.warning("the server refuses the account (%s): everything that waits is given back", error)
        self._fail_waiting(error)

    def _tell_date(self, reply: Reply) -> None:
        if self._followers and (date := protocol.reply_date(reply.headers)) is not None:
            for follower in list(self._followers):
                follower.told(date)

    def _read(self, request: Request, detail: Detail, reply: Reply) -> list[Outcome] | SmscError:
        asked = [check.identity for check in request.checks]
        verdict = protocol.read(
            self.wire, reply.status, reply.headers, reply.body, asked=asked, bulk=request.bulk, detail=detail
        )
        if isinstance(verdict, TransportError | ProtocolError):
            self._exchange.avoid(reply)
        for error in verdict if isinstance(verdict, list) else [verdict]:
            if isinstance(error, SmscError):
                self.hide_secrets(error)
        return verdict

    def _fail_waiting(self, error: SmscError) -> None:
        """The account is refused, or the client closed: nothing more is sent for those who wait now."""
        self.pending.fail_waiting(error)
        for other in list(self.cancellables):
            other.give_up(own(error))

    def _forget_loop(self) -> None:
        """The loop that this engine worked in has ended, and took its tasks and sockets along."""
        left, self._background = self._background, set()
        for background in list(left):  # that loop may still be at work, and end one of them meanwhile
            _loops.call_in(self._loop, background.cancel)
        self.pending.forget_all()
        self.cancellables.clear()
        self._followers.clear()
        self._stands_by = self._nudged = False
        self._failed = None
        self._open = 0
        self._exchange = self._make_exchange()

    def begin_anew(self) -> None:
        """In a process that was forked: what waits and what is on its way is the parent's, as are the sockets."""
        _loops.keep(dict(vars(self)))
        is_closed = self.closed
        self._make_anew(self)
        self.closed = is_closed


_all: WeakSet[Engine] = WeakSet()


def _begin_anew() -> None:
    for engine in list(_all):
        engine.begin_anew()


_loops.at_fork(_begin_anew)


def _shown(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
