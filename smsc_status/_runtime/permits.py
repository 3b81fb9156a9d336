"""Takes permits from the limiter and gives them back. A limiter that fails is asked again, with growing pauses."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio

from smsc_status._core.scheduling import backoff
from smsc_status._core.scheduling.pacing import RequestEnd
from smsc_status.errors import ConfigError
from smsc_status.limiter import Limiter, Permit, Selector, WantedT

LONGEST_RELEASE = 10.0
"""Seconds. So long at most a caller that was cancelled goes on to tell the limiter how its request has ended."""

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
                warn(error)
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
            warn(error)
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
                warn(error)
            else:
                return


def warn(error: Exception) -> None:
    """Log a failure of the limiter."""
    what = f"{type(error).__name__}: {error}"
    logger.warning("the limiter failed, and is asked again: %s", what, exc_info=error)
