"""Reads a reply. A long one is read in portions, and other tasks have their turn between these."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from anyio.lowlevel import checkpoint

from smsc_status._core.scheduling.checks import Request
from smsc_status._core.wire import protocol
from smsc_status._core.wire.protocol import Outcome, Wire
from smsc_status._runtime.http import Reply
from smsc_status.errors import SmscError


async def read(
    wire: Wire, request: Request, reply: Reply, *, at_pause: Callable[[], None]
) -> list[Outcome] | SmscError:
    """What a reply to checks says.

    `at_pause` is called once, before the first pause. A short reply is read without a pause, and refusals are short.
    """
    asked = [check.identity for check in request.checks]
    reading = protocol.read_in_portions(
        wire, reply.status, reply.headers, reply.body, asked=asked, bulk=request.bulk, detail=request.detail
    )
    has_paused = False
    with closing(reading):
        while True:
            try:
                next(reading)
            except StopIteration as end:
                verdict: list[Outcome] | SmscError = end.value
                break
            if not has_paused:
                has_paused = True
                at_pause()
            await checkpoint()
    if has_paused:  # to handle the outcomes of a long reply takes as long as a portion
        await checkpoint()
    return verdict
