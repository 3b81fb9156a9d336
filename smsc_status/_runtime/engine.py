"""The engine: it sends the requests of one client in the background.

A worker asks the limiter for the next request that may start, sends it, and passes the reply to the pending checks,
which tell the subscribers. Requests belong to workers, so a caller who is cancelled does not cancel a request. While
something waits to be asked, one worker waits at the limiter. After its last request a worker stays there, idle.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Awaitable, Callable, Iterable
from contextvars import Context
from datetime import datetime, tzinfo
from functools import partial
from math import inf
from typing import Any
from weakref import WeakSet

import anyio
from anyio.lowlevel import checkpoint

from smsc_status import _loops
from smsc_status._core.scheduling import backoff
from smsc_status._core.scheduling.checks import PendingCheck, Request
from smsc_status._core.scheduling.pacing import Pacer, RequestEnd
from smsc_status._core.scheduling.pending import PORTION, Conclusion, PendingChecks
from smsc_status._core.scheduling.subscribers import Subscriber, own, unavailable, unexpected
from smsc_status._core.wire import protocol
from smsc_status._core.wire.protocol import Outcome, Wire
from smsc_status._runtime.followers import Cancellable, Follower
from smsc_status._runtime.http import Address, HttpExchange, NoReply, Reply
from smsc_status._runtime.observer import Observer
from smsc_status._runtime.outbox import PortionedOutbox
from smsc_status._runtime.reading import read
from smsc_status._runtime.sent_request import SentRequest
from smsc_status._runtime.wall_clock import guarded
from smsc_status.errors import (
    ClientClosed,
    ConfigError,
    LimiterUnavailable,
    ProtocolError,
    RateLimited,
    SmscError,
    TransportError,
)
from smsc_status.limiter import Limiter, Permit, Selector, WantedT
from smsc_status.models import Detail, Limits

COALESCING_SECONDS = 0.1
"""While inputs are being read, requests wait for this long at most once a second, so that a bulk request is fuller."""

CLOSING = 10.0
"""How long `aclose` waits for what it has cancelled, in seconds. It waits as long again for the sockets."""


logger = logging.getLogger("smsc_status")


class Engine:
    """Sends the requests of one client."""

    def __init__(
        self,
        make_exchange: Callable[[], HttpExchange],
        *,
        limiter: Limiter,
        wire: Wire,
        retries: int,
        zone: tzinfo,
        wall_clock: Callable[[], datetime] | None,
        find_observer: Callable[[Address], Observer | None],
    ) -> None:
        self._reinitialize = partial(
            Engine.__init__,
            make_exchange=make_exchange,
            limiter=limiter,
            wire=wire,
            retries=retries,
            zone=zone,
            wall_clock=wall_clock,
            find_observer=find_observer,
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
        self._find_observer = find_observer
        self.observer: Observer | None = None
        """Who observes the client. Whether anybody does is looked up when the client is bound to an event loop."""
        self.cancellables: set[Cancellable] = set()
        self._followers: dict[Follower, None] = {}
        self._loop: object = None
        self._binding = threading.Lock()
        self._has_waiting_worker = False
        self._is_urgent = False
        self._is_wake_scheduled = False
        self._has_warned_of_refusal = False
        # How the limiter failed, and the instant before which it is not asked again.
        self._limiter_failure: tuple[Exception, float] | None = None
        self._failed_wakes = 0
        # How many inputs are being read, and until when requests wait for them.
        self._readers = 0
        self._coalesce_until = -inf
        # The requests whose messages have no outcomes yet: in flight, or their replies are being read.
        self._open: set[Request] = set()
        self._background: set[_loops.BackgroundTask] = set()

    # For callers.

    async def bind(self) -> None:
        """Bind this engine to the running event loop.

        Raises:
            ConfigError: the client is closed, or in use in another event loop.
        """
        if self.closed:
            raise ConfigError("this client is closed: expected an open one")
        if self._loop is _loops.this_loop():
            return
        loop, _ = _loops.here_and_now()
        with self._binding:  # two threads may bind at once
            if self._loop is not None:
                is_at_work = bool(self._open) or not self.pending.is_empty
                if _loops.is_running(self._loop) or (is_at_work and not _loops.has_ended(self._loop)):
                    raise ConfigError("this client is at work in another event loop: expected one client a loop")
                self._leave_loop()
            self._loop = loop
            self.observer = self._find_observer(self._exchange.address)
        await self._exchange.opened()

    def ask(self, detail: Detail, subscriber: Subscriber, *, head_start: float = 0.0, now: float) -> PendingCheck:
        """Ask about the subscriber's message. It goes as early as if it had come `head_start` seconds ago."""
        check = self.pending.ask(detail, subscriber, head_start=head_start, now=now)
        self._schedule_wake()
        return check

    @property
    def limits(self) -> Limits:
        """What the limiter keeps."""
        return self.limiter.limits

    def look_again(self) -> None:
        """Look for work again: what waits has changed in another way than by `ask`."""
        if self.pending.has_work:
            self._schedule_wake()

    async def read_on_later(self) -> None:
        """Let other tasks run before the caller reads more of its input.

        Requests wait meanwhile for the rest of the input, for at most `COALESCING_SECONDS`.
        """
        now = _loops.now()
        if now > self._coalesce_until + 1.0:
            self._coalesce_until = now + COALESCING_SECONDS
        self._readers += 1
        try:
            await checkpoint()
        finally:
            self._readers -= 1
            self.look_again()

    def follow(self, follower: Follower) -> None:
        """From now on, ask this tracker for messages when a request is selected."""
        self.cancellables.add(follower)
        self._followers[follower] = None
        self.pending.add_feed(follower)
        self.look_again()

    def unfollow(self, follower: Follower) -> None:
        """Stop asking this tracker for messages."""
        self.cancellables.discard(follower)
        self._followers.pop(follower, None)
        self.pending.remove_feed(follower)

    async def acquire(
        self, select: Selector[WantedT], *, failed: Callable[[Exception, float], None] | None = None
    ) -> Permit[WantedT]:
        """A permit for a request. If the limiter fails, it is asked again, with growing pauses.

        After each failure `failed` is called with the error and the seconds until the limiter is asked again.

        Raises:
            ConfigError: the limiter can't be used as it is set up.
        """
        tries = 0
        while True:
            try:
                return await self.limiter.acquire(select)
            except ConfigError:
                raise
            except Exception as error:
                tries += 1
                self._warn_of_limiter(error)
                pause = backoff.delay(tries, random.random())
                if failed is not None:
                    failed(error, pause)
            await anyio.sleep(pause)

    def begin(
        self, kind: str, *, messages: int, waited: float, links: Callable[[], Iterable[object]], now: float
    ) -> SentRequest:
        """A permitted request of this kind, to be sent at once. See `SentRequest` for the arguments."""
        self.pending.count_request(kind)
        address = self._exchange.address
        return SentRequest(kind, self.observer, messages=messages, waited=waited, address=address, links=links, now=now)

    async def send(
        self, permit: Permit[Any], fields: Callable[[], dict[str, str]], sent: SentRequest
    ) -> Reply | NoReply:
        """Send a permitted request with these fields. The caller releases the permit, and ends `sent`.

        If it is cancelled, the request counts as abandoned once it is being sent, and the permit is released here.
        """
        how = RequestEnd.NOT_SENT
        try:
            send_by = permit.granted_at + self._exchange.timeout
            if sent.messages > PORTION:  # selecting them has taken long, so other tasks have their turn
                await checkpoint()
            with sent.current():
                how = RequestEnd.ABANDONED
                reply = await self._exchange.post(fields(), messages=sent.messages, send_by=send_by)
        except BaseException:
            sent.abandoned()
            with anyio.CancelScope(shield=True):
                await self.release(permit, how)
            raise
        sent.replied(reply)
        self.pending.count_seconds(sent.kind, took=sent.seconds, waited=sent.waited)
        return reply

    async def release(self, permit: Permit[Any], how: RequestEnd) -> None:
        """Tell the limiter how a request has ended. If the limiter fails, it is told again in the background.

        If this is cancelled because the client is closed, the limiter is told all the same.
        """
        try:
            await self.limiter.release(permit, how)
        except Exception as error:
            self._warn_of_limiter(error)
            if not self.closed:
                self.spawn(partial(self._release_at_last, permit, how, failures=1))
        except GeneratorExit:  # the event loop was closed
            raise
        except BaseException:
            with anyio.move_on_after(CLOSING, shield=True):
                await self._release_at_last(permit, how, failures=0)
            raise

    async def _release_at_last(self, permit: Permit[Any], how: RequestEnd, *, failures: int) -> None:
        while True:
            if failures:
                await anyio.sleep(backoff.delay(failures, random.random()))
            failures += 1
            try:
                await self.limiter.release(permit, how)
            except Exception as error:
                self._warn_of_limiter(error)
            else:
                return

    def hide_secrets(self, error: SmscError) -> None:
        """Take the credentials out of an error: a reply may have repeated them."""
        self._exchange.hide_secrets(error)

    def spawn(self, work: Callable[[], Awaitable[None]], *, context: Context | None = None) -> _loops.BackgroundTask:
        """Run the work in the background. If it is not over when the client is closed, it is cancelled then."""
        return _loops.spawn(work, context=context, among=self._background)

    async def aclose(self) -> None:
        """Abandon requests in flight, fail what waits, and close every socket. Cancellation does not interrupt it."""
        if self.closed:
            return
        self.closed = True
        self._fail_waiting(ClientClosed("the client was closed"))
        if self._loop not in (None, _loops.this_loop()):
            self._leave_loop()
        with anyio.CancelScope(shield=True):
            for background in list(self._background):
                background.cancel()
            await self._all_told()
            with anyio.move_on_after(CLOSING):  # a transport may ignore its cancellation
                while self._background:
                    work = list(self._background)
                    for background in work:
                        background.cancel()
                    for background in work:
                        await background.wait()
            with anyio.move_on_after(CLOSING):
                await self._exchange.aclose()
            await self._all_told()
        self._leave_observer()

    def unavailable(self) -> LimiterUnavailable | None:
        """Why nothing can be sent now, if the limiter has failed."""
        return None if self._limiter_failure is None else unavailable(self._limiter_failure[0])

    @property
    def loop(self) -> object:
        """The event loop to which it is bound, if any."""
        return self._loop

    @property
    def background_tasks(self) -> int:
        """How many tasks of its own are at work."""
        return len(self._background)

    @property
    def is_telling(self) -> bool:
        """Whether outcomes have yet to be handed to their subscribers."""
        return self._outbox.is_busy

    async def tell_more(self) -> None:
        """Wait for one turn of the loop, in which the next outcomes are handed over."""
        self._outbox.next_turn()
        await checkpoint()

    async def _all_told(self) -> None:
        while self.is_telling:
            await self.tell_more()

    # The workers.

    def _schedule_wake(self) -> None:
        """Look for work after one turn of the loop, so that calls made together can share a request (coalescing)."""
        if not self._is_wake_scheduled and not self.closed:
            self._is_wake_scheduled = True
            _loops.call_soon(self._wake_worker)

    def _wake_worker(self) -> None:
        if self.closed or self._loop is not _loops.this_loop():
            return
        self._is_wake_scheduled = False
        if not self._has_waiting_worker:
            self._start_worker()
            return
        if self._limiter_failure is not None and self._limiter_failure[1] > _loops.now():
            self._turn_down_unavailable(*self._limiter_failure)
            return
        try:
            self.limiter.wake(self._select)
            self._failed_wakes = 0
        except Exception as error:
            self._warn_of_limiter(error)
            self._failed_wakes += 1
            pause = backoff.delay(self._failed_wakes, random.random())
            self._limiter_failure = failure = (error, _loops.now() + pause)
            self._turn_down_unavailable(*failure)
            self.spawn(partial(self._wake_after, pause, failure))

    async def _wake_after(self, pause: float, failure: tuple[Exception, float]) -> None:
        """Wake the waiting worker after the pause: it may not know of the work that came meanwhile."""
        await anyio.sleep(pause)
        if self._limiter_failure is failure:  # otherwise it has failed again meanwhile
            self._limiter_failure = None
        self._wake_worker()

    def _start_worker(self) -> None:
        self._has_waiting_worker = True
        self.spawn(self._work)

    async def _work(self) -> None:
        """Start one request after the other while something waits.

        If nothing else waits, this worker carries out the request itself. Then it waits at the limiter again, unless
        another worker does so by now.
        """
        while True:
            try:
                permit, request = await self._permit()
            except ConfigError as error:  # the limiter is set up wrongly, so asking it again does not help
                self._has_waiting_worker = False
                self.pending.cancel_selection()
                self._fail_waiting(error)
                return
            self._open.add(request)
            if self.pending.has_work:
                self.spawn(partial(self._carry_out_in_background, permit, request))
                continue
            self._has_waiting_worker = False
            await self._carry_out(permit, request)
            if self._has_waiting_worker:  # another worker was started meanwhile
                return
            self._has_waiting_worker = True

    async def _carry_out_in_background(self, permit: Permit[Request], request: Request) -> None:
        """Carry out a request while the worker goes on to the next one."""
        await self._carry_out(permit, request)
        if not self._has_waiting_worker:  # no worker would see that messages of this request wait for a retry
            self.look_again()

    async def _permit(self) -> tuple[Permit[Request], Request]:
        """The permit for the next request, and that request."""
        misses = 0
        while True:
            permit = await self.acquire(self._select, failed=self._acquire_failed)
            try:
                request = self.pending.commit(permit.wanted)
            except Exception as error:  # what the limiter gave is no permit
                self._warn_of_limiter(error)
                self._acquire_failed(error, backoff.delay(misses + 1, random.random()))
            else:
                if request is not None:
                    self._limiter_failure = None
                    return permit, request
                await self.release(permit, RequestEnd.NOT_SENT)
            misses += 1
            if misses > 1:  # a limiter that permits something other than the selection must not be asked without pause
                await anyio.sleep(backoff.delay(misses - 1, random.random()))

    def _acquire_failed(self, error: Exception, pause: float) -> None:
        self.pending.cancel_selection()
        self._limiter_failure = error, _loops.now() + pause
        self._turn_down_unavailable(*self._limiter_failure)

    def _turn_down_unavailable(self, error: Exception, next_try_at: float) -> None:
        now = _loops.now()
        if self.pending.turn_down_unavailable(error, now=now, again_in=next_try_at - now):
            self._schedule_wake()

    def _warn_of_limiter(self, error: Exception) -> None:
        logger.warning("the limiter failed, and is asked again: %s", _shown(error), exc_info=error)

    def _select(self, pacer: Pacer, *, now: float) -> Request | float:
        if self._loop is not _loops.this_loop():
            return inf  # this call is for a worker of a loop that the client has left
        if self.pending.cancel_selection():  # the limiter asks again before the last selection got its permit
            self.pending.turn_down(pacer, now)
        if self._is_coalescing(now):
            return self._coalesce_until
        while True:
            request = self.pending.select(pacer, in_flight=len(self._open), now=now)
            if request is not None:
                return request
            waiting = self.pending.waiting
            turn_down_at = self.pending.turn_down(pacer, now)
            if turn_down_at <= now or self.pending.waiting == waiting:
                self._is_urgent = self.pending.has_last_calls
                self._limiter_failure = None  # it works again
                return min(turn_down_at, self.pending.due_at(pacer, in_flight=len(self._open), now=now))

    def is_urgent(self, *, now: float) -> bool:
        """Whether this client goes before other clients of its limiter.

        It does so while a caller waits for a `check`, and while messages near their archive deadline wait.
        """
        return self._is_urgent or self.pending.has_callers

    def has_work(self) -> bool:
        """Whether this client has anything to send."""
        return self._loop is _loops.this_loop() and self.pending.has_work

    def wants_bulk(self, *, now: float) -> bool:
        """Whether this client would use the bulk slot if it were free."""
        return self.pending.wants_bulk(self.limits.connections, now=now)

    def _is_coalescing(self, now: float) -> bool:
        """Whether to wait for inputs that are being read, because a bulk request would not be full yet."""
        return bool(self._readers) and now < self._coalesce_until and self.pending.waiting < self.pending.batch_limit

    async def _carry_out(self, permit: Permit[Request], request: Request) -> None:
        messages = [(check.id, check.phone) for check in request.checks]
        fields = partial(protocol.fields, self.wire, messages, bulk=request.bulk, detail=request.detail)
        now, kind = _loops.now(), "bulk" if request.bulk else "single"
        waited = self.pending.waited(request, now=now)
        sent = self.begin(kind, messages=len(messages), waited=waited, links=request.links, now=now)
        try:
            reply = await self.send(permit, fields, sent)
        except BaseException:
            self._open.discard(request)
            self.pending.answer_all(request, ClientClosed("the client was closed"))
            raise
        how = reply.how if isinstance(reply, NoReply) else RequestEnd.REPLIED
        is_released = False

        def release_now() -> None:
            nonlocal is_released
            self.spawn(partial(self._release_replied, permit))
            is_released = True

        try:
            came_at, checked_at = sent.came_at or _loops.now(), self.wall_clock()
            if isinstance(reply, NoReply):
                verdict: list[Outcome] | SmscError = reply.error
            else:
                verdict = await read(self.wire, request, reply, at_pause=release_now)
                self._note_verdict(reply, verdict)
            if isinstance(reply, Reply) and not isinstance(verdict, TransportError | ProtocolError):
                self._tell_date(reply)  # otherwise a proxy may have answered, not the server
            how = RequestEnd.REFUSED if isinstance(verdict, RateLimited) else how
            sent.ended(verdict if isinstance(verdict, SmscError) else None)
            conclusion = self.pending.conclude(
                request, verdict, checked_at=checked_at, jitter=random.random, now=came_at
            )
            self._act_on(request, conclusion)
        except Exception as error:  # a bug, or a mistake in an object that the user supplied
            logger.exception("an answer could not be used: unexpected error")
            sent.ended(unexpected(error))
            self.pending.answer_all(request, unexpected(error))
        except GeneratorExit:  # the event loop was closed, and nobody waits in it any more
            raise
        except BaseException:  # cancelled while the reply was read
            self.pending.answer_all(request, ClientClosed("the client was closed"))
            raise
        finally:
            sent.abandoned()
            self._open.discard(request)
            if not is_released:
                await self.release(permit, how)
        if is_released:  # the limiter called the selectors before messages of this request could wait again
            self.look_again()

    async def _release_replied(self, permit: Permit[Any]) -> None:
        with anyio.CancelScope(shield=True):
            await self.release(permit, RequestEnd.REPLIED)

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
        """Take note that the vendor has refused a request that is not a check."""
        if self.pending.refused(error):
            self._refuse_account(error)

    def _refuse_account(self, error: SmscError) -> None:
        logger.warning("the server refuses the account (%s): everything that waits is given back", error)
        self._fail_waiting(error)

    def _tell_date(self, reply: Reply) -> None:
        if self._followers and (date := protocol.reply_date(reply.headers)) is not None:
            for follower in list(self._followers):
                follower.told(date)

    def _note_verdict(self, reply: Reply, verdict: list[Outcome] | SmscError) -> None:
        if isinstance(verdict, TransportError | ProtocolError):
            self._exchange.leave_mirror_of(reply)
        for error in verdict if isinstance(verdict, list) else [verdict]:
            if isinstance(error, SmscError):
                self.hide_secrets(error)

    def _fail_waiting(self, error: SmscError) -> None:
        """Fail everything that waits: the account is refused, or the client is closed."""
        self.pending.fail_waiting(error)
        for other in list(self.cancellables):
            other.give_up(own(error))

    def _leave_loop(self) -> None:
        """Drop all work and sockets of the loop that this engine was bound to: they can't be used in another loop."""
        left, self._background = self._background, set()
        for background in list(left):  # a copy: if that loop still runs, tasks may end meanwhile
            _loops.call_in(self._loop, background.cancel)
        self.pending.forget_all()
        self.cancellables.clear()
        self._followers.clear()
        self._has_waiting_worker = self._is_wake_scheduled = False
        self._limiter_failure = None
        self._leave_observer()
        self._open = set()  # not cleared: a task of that loop may yet end, and must not be counted here
        self._exchange = self._make_exchange()

    def _leave_observer(self) -> None:
        observer, self.observer = self.observer, None
        if observer is not None:
            observer.close()

    def reset_after_fork(self) -> None:
        """Start afresh in a forked process: what waits, the requests in flight and the sockets belong to the parent."""
        _loops.keep(dict(vars(self)))
        is_closed = self.closed
        self._reinitialize(self)
        self.closed = is_closed


_all: WeakSet[Engine] = WeakSet()


def _reset_after_fork() -> None:
    for engine in list(_all):
        engine.reset_after_fork()


_loops.at_fork(_reset_after_fork)


def _shown(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
