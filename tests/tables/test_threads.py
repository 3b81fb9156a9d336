"""Calls that block run in threads that hold nobody."""

from __future__ import annotations

import threading
import time

import anyio
import pytest

from smsc_status.tables._threads import in_thread

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])]


async def test_a_call_gives_what_the_function_returns(anyio_backend: str) -> None:
    assert await in_thread(threading.get_ident) != threading.get_ident()


async def test_a_call_raises_what_the_function_raises(anyio_backend: str) -> None:
    with pytest.raises(ZeroDivisionError):
        await in_thread(lambda: 1 / 0)


async def test_a_caller_who_is_cancelled_does_not_wait(anyio_backend: str) -> None:
    """And nothing happens when the function returns at last."""
    may_return = threading.Event()
    began_at = time.monotonic()
    with anyio.move_on_after(0.01) as scope:
        await in_thread(lambda: may_return.wait(60))
    assert scope.cancelled_caught
    assert time.monotonic() - began_at < 30
    may_return.set()


async def test_a_call_that_never_returns_does_not_hold_the_exit(anyio_backend: str) -> None:
    """The interpreter does not wait for a daemon."""
    assert await in_thread(lambda: threading.current_thread().daemon)
