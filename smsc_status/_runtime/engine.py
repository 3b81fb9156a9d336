"""The engine: it sends the requests of one client in the background.

A worker asks the limiter for the next request that may start, sends it, and passes the reply to the pending checks,
which tell the subscribers. Requests belong to workers, so a caller who is cancelled does not cancel a request. While
something waits to be asked, one worker waits at the limiter. After its last request a worker stays, idle, until there
is work again.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextvars import Context
from datetime import datetime, tzinfo
from functools import partial
from math import inf
from typing import Any
from weakref import WeakSet

import anyio
import attrs
from anyio.lowlevel import checkpoint

from smsc_status import _loops
from smsc_status._core.scheduling import backoff
from smsc_status._core.scheduling.checks import PendingCheck, Request
from smsc_status._core.scheduling.dispatch import Dispatcher
from smsc_status._core.scheduling.pacing import Pacer, RequestEnd
from smsc_status._core.scheduling.pending import PORTION, PendingChecks
from smsc_status._core.scheduling.recent import RecentRecords
from smsc_status._core.scheduling.subscribers import Subscriber, own, unavailable, unexpected
from smsc_status._core.scheduling.tally import Tally
from smsc_status._core.scheduling.verdicts import Conclusion, Verdicts
from smsc_status._core.wire import protocol
from smsc_status._core.wire.protocol import Outcome, Wire
from smsc_status._runtime import permits
from smsc_status._runtime.followers import Cancellable, Follower
from smsc_status._runtime.http import Address, HttpExchange, NoReply, Reply
from smsc_status._runtime.observer import Observer
from smsc_status._runtime.outbox import PortionedOutbox
from smsc_status._runtime.permits import Permits
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
from smsc_status.limiter import Limiter, Permit, Selector, Slots, WantedT
from smsc_status.models import Detail, Limits, MessageRef, StatusRecord

COALESCING_SECONDS = 0.1
"""So long requests wait while inputs are being read, at most once a second. Then a bulk request is fuller."""

SILENT_SECONDS = 0.5
"""A limiter that has not answered for so long is told of to callers whose time is over."""

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
        self._permits = Permits(limiter, self._spawn_unless_closed)
        self._outbox = PortionedOutbox(all_done=self.look_again)
        dispatcher, outage = Dispatcher(limiter.limits.max_bulk), backoff.Outage()
        self.tally: Tally = Tally()
        """What it has counted so far."""
        self.pending: PendingChecks = PendingChecks(dispatcher, outage, self._outbox)
        self._recent = RecentRecords()
        self._verdicts = Verdicts(
            self.pending,
            dispatcher,
            outage,
            self._recent,
            self.tally,
            retries=retries,
            mirrors=self._exchange.mirrors,
            zone=zone,
        )
        self.closed: bool = False
        self._find_observer = find_observer
        self.observer: Observer | None = None
        """Who observes the client. Whether anybody does is looked up when the client is bound to an event loop."""
        self.enlisted: set[Cancellable] = set()
        """The streams, trackers and deletions at work: they learn if the account is refused or the client is closed."""
        self._followers: dict[Follower, None] = {}
        self._loop: object = None
        self._binding = threading.Lock()
        self._has_waiting_worker = False
        # What wakes the worker that has nothing to do, if there is one.
        self._idle_worker: anyio.Event | None = None
        self._is_urgent = False
        self._is_wake_scheduled = False
        self._has_warned_of_refusal = False
        # Since the last reply with records.
        self._has_warned_of_account = False
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

    def drop(self, check: PendingCheck, subscriber: Subscriber) -> None:
        """The subscriber no longer waits. A request in flight goes on. Call `look_again` when all are dropped."""
        self.pending.drop(check, subscriber)

    def drop_all(self, subscribers: Iterator[tuple[PendingCheck, Subscriber]]) -> None:
        """These subscribers no longer wait. They are dropped in portions."""
        self.pending.drop_all(subscribers)

    def keep_records(self, max_age: float) -> None:
        """From now on keep records for `known` for at least `max_age` seconds, as far as memory allows."""
        self._recent.want(max_age)

    def known(self, ref: MessageRef, detail: Detail, *, max_age: float, now: float) -> StatusRecord | None:
        """A record of this message, at this level of detail or above, that came in at most `max_age` seconds ago."""
        record = self._recent.find(ref.identity, detail, since=now - max_age)
        return None if record is None else attrs.evolve(record, ref=ref)

    def forget_record(self, ref: MessageRef) -> None:
        """Do not give this message's record again, if there is one."""
        self._recent.forget(ref.identity)

    @property
    def limits(self) -> Limits:
        """What the limiter keeps."""
        return self.limiter.limits

    def slots(self) -> Slots:
        """The account's slots, as the limiter knows them."""
        return self.limiter.slots()

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

    def enlist(self, work: Cancellable) -> None:
        """From now on, tell this work if the account is refused or the client is closed."""
        self.enlisted.add(work)

    def delist(self, work: Cancellable) -> None:
        """Do not tell this work any more."""
        self.enlisted.discard(work)

    def follow(self, follower: Follower) -> None:
        """From now on, ask this tracker for messages when a request is selected."""
        self.enlist(follower)
        self._followers[follower] = None
        self.pending.add_feed(follower)
        self.look_again()

    def unfollow(self, follower: Follower) -> None:
        """Stop asking this tracker for messages."""
        self.delist(follower)
        self._followers.pop(follower, None)
        self.pending.remove_feed(follower)

    async def acquire(self, select: Selector[WantedT]) -> Permit[WantedT]:
        """See `Permits.acquire`."""
        return await self._permits.acquire(select)

    async def release(self, permit: Permit[Any], how: RequestEnd) -> None:
        """See `Permits.release`."""
        await self._permits.release(permit, how)

    def begin(
        self, kind: str, *, messages: int, waited: float, links: Callable[[], Iterable[object]], now: float
    ) -> SentRequest:
        """A permitted request of this kind, to be sent at once. See `SentRequest` for the arguments."""
        self.tally.requests[kind] += 1
        address = self._exchange.address
        return SentRequest(kind, self.observer, messages=messages, waited=waited, address=address, links=links, now=now)

    async def send(
        self, permit: Permit[Any], fields: Callable[[], dict[str, str]], sent: SentRequest
    ) -> Reply | NoReply:
        """Send a permitted request with these fields. The caller releases the permit, and ends `sent`.

        If this is cancelled or fails, it releases the permit and ends `sent` itself. The request then counts as
        abandoned if it was being sent.
        """
        how = RequestEnd.NOT_SENT
        try:
            send_by = permit.granted_at + self._exchange.timeout
            if sent.messages > PORTION:  # selecting them has taken long, so other tasks have their turn
                await checkpoint()
            form = fields()
            with sent.current():
                how = RequestEnd.ABANDONED
                reply = await self._exchange.post(form, messages=sent.messages, send_by=send_by)
        except BaseException:
            sent.abandoned()
            with anyio.CancelScope(shield=True):
                await self._permits.release(permit, how)
            raise
        sent.replied(reply)
        self.tally.count_ended(sent.kind, took=sent.seconds, waited=sent.waited)
        return reply

    def count_done(self, outcome: str) -> None:
        """A tracked message is done, with this outcome."""
        self.tally.done[outcome] += 1

    def hide_secrets(self, error: SmscError) -> None:
        """Take the credentials out of an error: a reply may have repeated them."""
        self._exchange.hide_secrets(error)

    def spawn(self, work: Callable[[], Awaitable[None]], *, context: Context | None = None) -> _loops.BackgroundTask:
        """Run the work in the background. If it is not over when the client is closed, it is cancelled then."""
        return _loops.spawn(work, context=context, among=self._background)

    def _spawn_unless_closed(self, work: Callable[[], Awaitable[None]]) -> None:
        if not self.closed:
            self.spawn(work)

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

    async def leave_limiter(self) -> None:
        """Tell the limiter that this client is done with it, if it wants to know.

        It may count something more then. So whoever observes the client is left after that.
        """
        leave = getattr(self.limiter, "leave", None)
        try:
            if leave is not None:
                await leave()
        finally:
            self._leave_observer()

    def unavailable(self) -> LimiterUnavailable | None:
        """Why nothing can be sent now, if the limiter has failed, or has not answered for `SILENT_SECONDS`."""
        if self._limiter_failure is not None:
            return unavailable(self._limiter_failure[0])
        silence = getattr(self.limiter, "silence", None)
        seconds = 0.0 if silence is None else silence()
        return (
            LimiterUnavailable(f"the limiter has not answered for {seconds:.1f} s")
            if seconds >= SILENT_SECONDS
            else None
        )

    @property
    def loop(self) -> object:
        """The event loop to which it is bound, if any."""
        return self._loop

    @property
    def waiting(self) -> int:
        """How many distinct messages wait for a request. Messages of trackers are not counted."""
        return self.pending.waiting

    @property
    def open_requests(self) -> int:
        """How many of its requests have messages without an outcome yet: in flight, or their replies are being read."""
        return len(self._open)

    @property
    def is_in_outage(self) -> bool:
        """Whether the server is taken to be unreachable."""
        return self.pending.is_in_outage

    @property
    def replies_read(self) -> int:
        """How many replies to checks could be read."""
        return self.tally.replies_read

    @property
    def records_kept(self) -> int:
        """How many recent records are kept to be given again."""
        return len(self._recent)

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
        if self._is_wake_scheduled or self.closed:
            return
        self._is_wake_scheduled = True
        if self._idle_worker is not None:
            self._idle_worker.set()  # it goes on after one turn, too
        else:
            _loops.call_soon(self._wake_worker)

    def _wake_worker(self) -> None:
        if self.closed or self._loop is not _loops.this_loop():
            return
        self._is_wake_scheduled = False
        if self._idle_worker is not None:
            self._idle_worker.set()
            return
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
            permits.warn(error)
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

        If nothing else waits, this worker carries out the request itself. Then it goes on, unless another worker waits
        by now, at the limiter or for work.
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
            if self._idle_worker is not None:
                self.look_again()  # messages of this request may wait for a retry
                return
            if not self.pending.has_work:
                await self._wait_for_work()
            self._has_waiting_worker = True

    async def _wait_for_work(self) -> None:
        self._idle_worker = has_work = anyio.Event()
        try:
            await has_work.wait()
        finally:
            self._is_wake_scheduled = False
            # If the client has left this loop, another worker may be idle by now.
            self._idle_worker = None if self._idle_worker is has_work else self._idle_worker

    async def _carry_out_in_background(self, permit: Permit[Request], request: Request) -> None:
        """Carry out a request while the worker goes on to the next one."""
        await self._carry_out(permit, request)
        if not self._has_waiting_worker:  # no worker would see that messages of this request wait for a retry
            self.look_again()

    async def _permit(self) -> tuple[Permit[Request], Request]:
        """The permit for the next request, and that request."""
        misses = 0
        while True:
            permit = await self._permits.acquire(self._select, failed=self._acquire_failed)
            try:
                request = self.pending.commit(permit.wanted)
            except Exception as error:  # what the limiter gave is no permit
                permits.warn(error)
                self._acquire_failed(error, backoff.delay(misses + 1, random.random()))
            else:
                if request is not None:
                    self._limiter_failure = None
                    return permit, request
                await self._permits.release(permit, RequestEnd.NOT_SENT)
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

    def _select(self, pacer: Pacer, *, now: float) -> Request | float:
        if self._loop is not _loops.this_loop():
            return inf  # this call is for a worker of a loop that the client has left
        if self.pending.cancel_selection():  # the limiter asks again before the last selection got its permit
            self.pending.turn_down(pacer, now=now)
        if self._is_coalescing(now):
            return self._coalesce_until
        while True:
            request = self.pending.select(pacer, in_flight=len(self._open), now=now)
            if request is not None:
                return request
            waiting = self.pending.waiting
            turn_down_at = self.pending.turn_down(pacer, now=now)
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
        except Exception as error:  # a mistake in this library: what fails on the way comes as a `NoReply`
            logger.exception("a request could not be sent: unexpected error")
            self._open.discard(request)
            self.pending.answer_all(request, unexpected(error))
            return
        except BaseException:
            self._open.discard(request)
            self.pending.answer_all(request, ClientClosed("the client was closed"))
            raise
        await self._conclude(permit, request, sent, reply)

    async def _conclude(
        self, permit: Permit[Request], request: Request, sent: SentRequest, reply: Reply | NoReply
    ) -> None:
        """Read the reply, give its messages their outcomes, and release the permit."""
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
            conclusion = self._verdicts.conclude(
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
                await self._permits.release(permit, how)
        if is_released:  # the limiter called the selectors before messages of this request could wait again
            self.look_again()

    async def _release_replied(self, permit: Permit[Any]) -> None:
        with anyio.CancelScope(shield=True):
            await self._permits.release(permit, RequestEnd.REPLIED)

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
        if self._verdicts.refused(error):
            self._refuse_account(error)

    def _refuse_account(self, error: SmscError) -> None:
        level = logging.DEBUG if self._has_warned_of_account else logging.WARNING
        self._has_warned_of_account = True
        logger.log(level, "the server refuses the account (%s): everything that waits is given back", error)
        self._fail_waiting(error)

    def _tell_date(self, reply: Reply) -> None:
        if self._followers and (date := protocol.reply_date(reply.headers)) is not None:
            for follower in list(self._followers):
                follower.told(date)

    def _note_verdict(self, reply: Reply, verdict: list[Outcome] | SmscError) -> None:
        if isinstance(verdict, TransportError | ProtocolError):
            self._exchange.leave_mirror_of(reply)
        if isinstance(verdict, list):
            self._has_warned_of_account = False
        for error in verdict if isinstance(verdict, list) else [verdict]:
            if isinstance(error, SmscError):
                self.hide_secrets(error)

    def _fail_waiting(self, error: SmscError) -> None:
        """Fail everything that waits: the account is refused, or the client is closed."""
        self.pending.fail_waiting(error)
        for other in list(self.enlisted):
            other.give_up(own(error))

    def _leave_loop(self) -> None:
        """Drop all work and sockets of the loop that this engine was bound to: they can't be used in another loop."""
        left, self._background = self._background, set()
        for background in list(left):  # a copy: if that loop still runs, tasks may end meanwhile
            _loops.call_in(self._loop, background.cancel)
        self.pending.forget_all()
        self.enlisted.clear()
        self._followers.clear()
        self._has_waiting_worker = self._is_wake_scheduled = False
        self._idle_worker = None
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
