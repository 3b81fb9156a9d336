"""Takes permits from the limiter and gives them back. A limiter that fails is asked again, with growing pauses."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio

from smsc_status import _loops
from smsc_status._core.scheduling import backoff
from smsc_status._core.scheduling.pacing import RequestEnd
from smsc_status.errors import ConfigError, LimiterUnavailable
from smsc_status.limiter import Limiter, Permit, Selector, WantedT

LONGEST_RELEASE = 5.0
"""Seconds. So long at most a caller that was cancelled goes on to tell the limiter how its request has ended. A client
that is closed waits for it, and containers are often killed ten seconds after they were asked to stop."""
REPEAT_SECONDS = 60.0
"""A failure is logged as a warning at most once in this time. While a limiter is away, each request meets it."""

logger = logging.getLogger("smsc_status")


class Permits:
    """One client's permits.

    Args:
        limiter: gives them.
        run_later: runs work in the background, unless the client is closed.
    """

    def __init__(self, limiter: Limiter, run_later: Callable[[Callable[[], Awaitable[None]]], None]) -> None:
        self._limiter = limiter
        self._run_later = run_later
        # When each failure was logged as a warning.
        self._warned_at: dict[str, float] = {}

    async def acquire(
        self, select: Selector[WantedT], *, failed: Callable[[Exception, float], None] | None = None
    ) -> Permit[WantedT]:
        """A permit for a request.

        After each failure of the limiter `failed` is called with the error and the seconds until it is asked again.

        Raises:
            ConfigError: the limiter can't be used as it is set up.
        """
        tries = 0
        while True:
            try:
                return await self._limiter.acquire(select)
            except ConfigError:
                raise
            except Exception as error:
                tries += 1
                self._warn(error)
                pause = backoff.delay(tries, random.random())
                if failed is not None:
                    failed(error, pause)
            await anyio.sleep(pause)

    async def release(self, permit: Permit[Any], how: RequestEnd) -> None:
        """Tell the limiter how a request has ended. If the limiter fails, it is told again in the background.

        If this is cancelled, the limiter is told all the same, within `LONGEST_RELEASE`.
        """
        try:
            await self._limiter.release(permit, how)
        except Exception as error:
            self._warn(error)
            self._run_later(partial(self._release_at_last, permit, how, failures=1))
        except GeneratorExit:  # the event loop was closed
            raise
        except BaseException:
            with anyio.move_on_after(LONGEST_RELEASE, shield=True):
                await self._release_at_last(permit, how, failures=0)
            raise

    async def _release_at_last(self, permit: Permit[Any], how: RequestEnd, *, failures: int) -> None:
        while True:
            if failures:
                await anyio.sleep(backoff.delay(failures, random.random()))
            failures += 1
            try:
                await self._limiter.release(permit, how)
            except Exception as error:
                self._warn(error)
            else:
                return

    def _warn(self, error: Exception) -> None:
        now, what = _loops.now(), repr(error)
        self._warned_at = {text: at for text, at in self._warned_at.items() if now < at + REPEAT_SECONDS}
        if what in self._warned_at:
            warn(error, level=logging.DEBUG)
        else:
            self._warned_at[what] = now
            warn(error)


def warn(error: Exception, *, level: int = logging.WARNING) -> None:
    """Log a failure of the limiter.

    The text of a `LimiterUnavailable` says what is wrong. Any other error may be a mistake in a limiter of the user's
    own, so its traceback is logged too.
    """
    what = f"{type(error).__name__}: {error}"
    traceback = None if isinstance(error, LimiterUnavailable) else error
    logger.log(level, "the limiter failed, and is asked again: %s", what, exc_info=traceback)
