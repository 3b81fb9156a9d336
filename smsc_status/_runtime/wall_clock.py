"""Reads the present date from the user's clock or the system's."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime

logger = logging.getLogger("smsc_status")


def guarded(clock: Callable[[], datetime] | None) -> Callable[[], datetime]:
    """The user's clock, or the system's if there is none.

    If the user's clock raises, or gives a date without a time zone, the system's clock is read instead. That is logged
    once.
    """
    if clock is None:
        return _system_clock
    has_failed = False

    def read() -> datetime:
        nonlocal has_failed
        try:
            date = clock()
            date.timestamp()
            if date.utcoffset() is not None:
                return date
            problem = f"{date!r} has no time zone"
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
        if not has_failed:
            has_failed = True
            logger.warning("wall_clock failed (%s): the system's clock is used instead", problem)
        return _system_clock()

    return read


def _system_clock() -> datetime:
    return datetime.now(UTC)
