"""Waking those who wait."""

from __future__ import annotations

import anyio
import pytest

from smsc_status._runtime.signals import Signal

pytestmark = pytest.mark.anyio


async def test_a_signal_wakes_all_waiters() -> None:
    """Two consumers of one stream, say."""
    signal = Signal()
    woken: list[int] = []

    async def wait(number: int) -> None:
        await signal.wait()
        woken.append(number)

    async with anyio.create_task_group() as group:
        for number in range(3):
            group.start_soon(wait, number)
        await anyio.sleep(1)
        assert not woken
        signal.send()
        await anyio.sleep(1)
        assert sorted(woken) == [0, 1, 2]


async def test_a_signal_wakes_no_later_waiter() -> None:
    """Each waits for the next one."""
    signal = Signal()
    signal.send()
    with anyio.move_on_after(1) as scope:
        await signal.wait()
    assert scope.cancelled_caught
    for _ in range(2):
        async with anyio.create_task_group() as group:
            group.start_soon(signal.wait)
            await anyio.sleep(1)
            signal.send()


async def test_a_cancelled_waiter_takes_nothing_from_the_others() -> None:
    """All waiters wait for the same signal."""
    signal = Signal()
    async with anyio.create_task_group() as group:
        group.start_soon(signal.wait)
        with anyio.move_on_after(1):
            await signal.wait()
        signal.send()
