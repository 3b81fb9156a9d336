"""Keeps the failures of telemetry away from the client."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import update_wrapper
from typing import Concatenate, ParamSpec, TypeVar

logger = logging.getLogger("smsc_status")

SelfT = TypeVar("SelfT")
P = ParamSpec("P")

_warned_of: set[str] = set()


def guarded(method: Callable[Concatenate[SelfT, P], None]) -> Callable[Concatenate[SelfT, P], None]:
    """The method, which raises no `Exception`: a processor that fails must not cost a check its answer.

    Each method warns of its first failure. The warning has no text of the error's, which may be anything.
    """

    def safe(self: SelfT, /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            method(self, *args, **kwargs)
        except Exception as error:
            if method.__qualname__ not in _warned_of:
                _warned_of.add(method.__qualname__)
                logger.warning("telemetry failed, and what it would have told is lost: %s", type(error).__name__)

    update_wrapper(safe, method)
    return safe
