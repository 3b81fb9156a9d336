"""`delete`: one message, in a request of its own. It is sent again only if it surely was not sent."""

from __future__ import annotations

import random
from functools import partial
from math import inf

import anyio
import attrs

from smsc_status import _loops
from smsc_status._core.scheduling import backoff
from smsc_status._core.scheduling.pacing import Pacer, RequestEnd
from smsc_status._core.wire import protocol
from smsc_status._runtime.engine import Engine
from smsc_status._runtime.http import NoReply, Reply
from smsc_status._runtime.sent_request import SentRequest
from smsc_status.errors import ClientClosed, ConfigError, RateLimited, SmscError
from smsc_status.limiter import Permit
from smsc_status.models import Key, MessageRef


@attrs.define
class _Single:
    """A deletion as the limits see it: it takes a token of its id, as a check does."""

    keys: tuple[Key, ...]
    bulk: bool = False
    is_wanted: bool = True

    def select(self, pacer: Pacer, *, now: float) -> _Single | float:
        if not self.is_wanted:
            return inf
        token_at = pacer.due_at(self.keys[0], now=now)
        at = max(token_at, pacer.singles_due_at(now=now), pacer.slot_due_at(now=now))
        return self if at <= now else at


class Deletion:
    """One deletion. It runs in the background, so that its caller's cancellation does not touch a request in flight."""

    def __init__(self, engine: Engine, ref: MessageRef) -> None:
        self._engine = engine
        self._permits = engine.permits
        self._ref = ref
        self._single = _Single((ref.identity[0],))
        self._since = _loops.now()
        self._link: object = None
        self._is_sent = False
        self._error: SmscError | None = None
        self._ended = anyio.Event()

    async def carry_out(self) -> SmscError | None:
        """Delete it. `None` if that is done, or else why not.

        If it is cancelled while it waits for its slot, nothing is sent.
        """
        call = None if self._engine.observer is None else self._engine.observer.call_started("delete")
        if call is not None:
            self._link = call.link
        work = self._engine.spawn(self._run)
        self._engine.enlist(self)
        try:
            await self._ended.wait()
        except BaseException as error:
            if call is not None:
                call.ended(error)
            raise
        finally:
            self._engine.delist(self)
            self._single.is_wanted = False  # a deletion that could not connect is not tried again
            if not self._is_sent:
                work.cancel()
        if call is not None:
            call.ended(self._error)
        return self._error

    def give_up(self, error: SmscError) -> None:
        """See `Cancellable.give_up`."""
        if not self._is_sent:
            self._single.is_wanted = False
            self._end(error)

    def _end(self, error: SmscError | None) -> None:
        if not self._ended.is_set():
            self._error = error
            self._ended.set()

    async def _run(self) -> None:
        try:
            self._end(await self._try())
        finally:
            self._end(ClientClosed("the client was closed"))

    async def _try(self) -> SmscError | None:
        single = self._single
        tries = 0
        while True:
            try:
                permit = await self._permits.acquire(single.select)
            except ConfigError as error:  # the limiter is set up wrongly
                return error
            if not single.is_wanted:  # given up just as its permit came
                await self._permits.release(permit, RequestEnd.NOT_SENT)
                return None
            self._is_sent = True
            now = _loops.now()
            sent = self._engine.begin(
                "delete", messages=1, waited=now - self._since, links=lambda: [self._link], now=now
            )
            try:
                reply = await self._send(permit, sent)
                if isinstance(reply, Reply):
                    return await self._read(permit, reply, sent)
                sent.ended(reply.error)
            finally:
                sent.abandoned()
            await self._permits.release(permit, reply.how)
            tries += 1
            is_over = tries > self._engine.retries or not single.is_wanted
            if reply.how is not RequestEnd.NOT_SENT or is_over:
                return reply.error
            self._is_sent = False
            await anyio.sleep(backoff.delay(tries, random.random()))
            self._since = _loops.now()

    async def _send(self, permit: Permit[_Single], sent: SentRequest) -> Reply | NoReply:
        fields = partial(protocol.deletion_fields, self._engine.wire, str(self._ref.id), self._ref.phone)
        return await self._engine.send(permit, fields, sent)

    async def _read(self, permit: Permit[_Single], reply: Reply, sent: SentRequest) -> SmscError | None:
        error = protocol.read_deletion(self._engine.wire, reply.status, reply.headers, reply.body)
        sent.ended(error)
        how = RequestEnd.REFUSED if isinstance(error, RateLimited) else RequestEnd.REPLIED
        await self._permits.release(permit, how)
        if error is None:
            self._engine.forget_record(self._ref)
            return None
        if isinstance(error, RateLimited):  # the id has no slot for a whole period now
            limits = self._engine.limits
            error.retry_after = limits.period + limits.margin
        self._engine.hide_secrets(error)
        self._engine.refused(error)
        return error
