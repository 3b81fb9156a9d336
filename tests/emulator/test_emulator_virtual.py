"""The virtual asyncio loop: its time jumps, and a program that can't go on ends."""

from __future__ import annotations

import asyncio
import sys
import threading
import time

import anyio
import pytest
import trio

from smsc_status.emulator import virtual
from smsc_status.emulator.virtual import VirtualLoop, jump


def test_a_day_takes_no_time() -> None:
    async def main() -> float:
        began_at = anyio.current_time()
        await anyio.sleep(86_400)
        return anyio.current_time() - began_at

    began_at = time.monotonic()
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert runner.run(main()) == 86_400
    assert time.monotonic() - began_at < 10


def test_timers_fire_in_their_order_each_at_its_instant() -> None:
    fired = []

    async def sleeper(seconds: float) -> None:
        await anyio.sleep(seconds)
        fired.append(anyio.current_time())

    async def main() -> None:
        async with anyio.create_task_group() as group:
            for seconds in 30, 10, 20:
                group.start_soon(sleeper, seconds)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())
    assert fired == [10, 20, 30]


def test_a_loop_in_which_nothing_can_happen_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual, "_DEADLOCK_AFTER", 0.01)
    loop = VirtualLoop()
    never = loop.create_future()
    with pytest.raises(RuntimeError, match="deadlock"):
        loop.run_until_complete(never)
    loop.close()


def test_another_thread_may_wake_the_loop() -> None:
    async def main() -> float:
        woken = asyncio.Event()
        loop = asyncio.get_running_loop()
        threading.Timer(0.05, loop.call_soon_threadsafe, [woken.set]).start()
        await woken.wait()
        return loop.time()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert runner.run(main()) == 0  # the thread took real time only


@pytest.mark.anyio
async def test_a_jump_moves_the_clock_of_either_loop_at_once() -> None:
    """Our tests run in virtual time."""
    before = anyio.current_time()
    assert jump(60)
    assert anyio.current_time() == pytest.approx(before + 60)


def test_nothing_jumps_in_real_time_or_where_no_loop_runs() -> None:
    async def main() -> bool:
        before = anyio.current_time()
        return jump(3600) or anyio.current_time() - before > 3000

    assert not jump(3600)
    assert not asyncio.run(main())
    assert not trio.run(main)


def test_trio_is_not_imported_in_order_to_ask_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra. Where nobody has imported it, it does not run."""
    monkeypatch.delitem(sys.modules, "trio.testing")
    assert not jump(3600)
    assert "trio.testing" not in sys.modules
