"""Permits of a limiter that may fail: then it is asked again, with growing pauses."""

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

LAST_TRY = 10.0
"""Seconds for which a failing limiter is told of a request's end before the client is closed."""

logger = logging.getLogger("smsc_status")


class Permits:
    """The permits for the requests of one client.

    Args:
        limiter: gives them, and takes them back.
        later: runs work in the background, unless the client is closed.
    """

    def __init__(self, limiter: Limiter, *, later: Callable[[Callable[[], Awaitable[None]]], None]) -> None:
        self._limiter = limiter
        self._later = later

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
                return await self._limiter.acquire(select)
            except ConfigError:
                raise
            except Exception as error:
                tries += 1
                warn_of_limiter(error)
                pause = backoff.delay(tries, random.random())
                if failed is not None:
                    failed(error, pause)
            await anyio.sleep(pause)

    async def release(self, permit: Permit[Any], how: RequestEnd) -> None:
        """Tell the limiter how a request has ended. If the limiter fails, it is told again in the background.

        If this is cancelled because the client is closed, the limiter is told all the same.
        """
        try:
            await self._limiter.release(permit, how)
        except Exception as error:
            warn_of_limiter(error)
            self._later(partial(self._release_at_last, permit, how, failures=1))
        except GeneratorExit:  # the event loop was closed
            raise
        except BaseException:
            with anyio.move_on_after(LAST_TRY, shield=True):
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
                warn_of_limiter(error)
            else:
                return


def warn_of_limiter(error: Exception) -> None:
    """Log that the limiter failed."""
    shown = f"{type(error).__name__}: {error}"
    logger.warning("the limiter failed, and is asked again: %s", shown, exc_info=error)
