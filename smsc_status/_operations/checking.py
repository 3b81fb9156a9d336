"""`check`: a caller waits for one message. It goes before streams, which still get their turn."""

from __future__ import annotations

from math import inf
from typing import Any

import anyio
import attrs
from anyio.lowlevel import checkpoint

from smsc_status import _loops
from smsc_status._core.scheduling.pending import CALLER_HEAD_START
from smsc_status._core.scheduling.subscribers import own
from smsc_status._runtime.engine import Engine
from smsc_status.errors import ProtocolError, RequestTimeout, SmscError, TransportError
from smsc_status.models import Detail, MessageRef, StatusRecord

TURN_DOWN_SECONDS = 0.1
"""So long after its `max_wait` a caller still waits to be turned down. A limiter that does not answer does
not turn anybody down."""


@attrs.define(eq=False)
class _Call:
    ref: MessageRef
    start_by: float
    link: object
    done: anyio.Event = attrs.field(factory=anyio.Event)
    outcome: StatusRecord | SmscError | None = None

    has_plan = False

    def on_result(self, outcome: StatusRecord | SmscError) -> None:
        self.outcome = outcome
        self.done.set()


async def check(
    engine: Engine, ref: MessageRef[Any], detail: Detail, *, max_wait: float, max_age: float, timeout: float | None
) -> StatusRecord[Any]:
    """The message's record, as `StatusClient.check` says; `max_wait` is `inf` where there is none.

    Raises:
        SmscError: why there is none.
    """
    await engine.bind()
    if engine.observer is None:
        return await _check(engine, ref, detail, max_wait=max_wait, max_age=max_age, timeout=timeout, link=None)
    observed = engine.observer.call_started("check")
    try:
        record = await _check(
            engine, ref, detail, max_wait=max_wait, max_age=max_age, timeout=timeout, link=observed.link
        )
    except BaseException as error:
        observed.ended(error)
        raise
    observed.ended(record)
    return record


async def _check(
    engine: Engine,
    ref: MessageRef[Any],
    detail: Detail,
    *,
    max_wait: float,
    max_age: float,
    timeout: float | None,
    link: object,
) -> StatusRecord[Any]:
    now = _loops.now()
    if max_age > 0:
        engine.keep_records(max_age)
        known = engine.known(ref, detail, max_age=max_age, now=now)
        if known is not None:
            await checkpoint()
            return known
    call = _Call(ref, now + max_wait, link)
    error = None
    pending_check = engine.ask(detail, call, head_start=CALLER_HEAD_START, now=now)
    try:
        longest = inf if timeout is None else timeout
        if max_wait < longest:
            with anyio.move_on_after(min(max_wait + TURN_DOWN_SECONDS, longest)):
                await call.done.wait()
            error = None if pending_check.is_sent else engine.unavailable()
        if call.outcome is None and error is None:
            if longest == inf:
                await call.done.wait()
            else:
                with anyio.move_on_after(longest - (_loops.now() - now)):
                    await call.done.wait()
    finally:
        if call.outcome is None:
            was_sent = pending_check.is_sent
            engine.drop(pending_check, call)
            engine.look_again()
    if call.outcome is None:
        if error is None and not was_sent:
            error = engine.unavailable()
        raise error or _timed_out(f"no answer within {timeout:g} s", pending_check.last_error)
    if isinstance(call.outcome, SmscError):
        call.outcome.pending = (ref,)
        raise call.outcome
    return call.outcome


def _timed_out(text: str, last: SmscError | None) -> RequestTimeout:
    """The error of a check whose time is over. `last` is how its last request failed, if one did."""
    if last is None:
        return RequestTimeout(text)
    error = RequestTimeout(text)
    if isinstance(last, TransportError | ProtocolError):  # other errors do not say when the server may be asked again
        error.http_status, error.retry_after = last.http_status, last.retry_after
    error.__cause__ = own(last)
    return error
