"""Looks at arguments before anything is done with them."""

from __future__ import annotations

from math import isfinite

from smsc_status.errors import ConfigError


def seconds(value: float, name: str, *, positive: bool = False) -> float:
    """A finite time in seconds, at least 0; with `positive`, more than 0.

    Raises:
        ConfigError: it is something else.
    """
    good = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    if not good or value < 0 or (positive and value == 0):
        raise ConfigError(f"{name} {value!r}: expected seconds, {'more than' if positive else 'at least'} 0")
    return float(value)


def whole(value: int, name: str, *, at_least: int, or_none: bool = False) -> int:
    """A whole number that is not too small. `or_none` says that the caller takes `None`, too.

    Raises:
        ConfigError: it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        expected = f"expected a whole number, at least {at_least}{', or None' if or_none else ''}"
        raise ConfigError(f"{name} {value!r}: {expected}")
    return value
