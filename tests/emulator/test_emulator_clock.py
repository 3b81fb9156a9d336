"""Emulated time runs at its own speed, from a date of its own, inside an event loop and outside."""

import asyncio
import time
from datetime import UTC, datetime

import anyio
import pytest
import trio
from trio.testing import MockClock

from smsc_status.emulator._clock import EmulatedClock
from smsc_status.emulator.virtual import VirtualLoop
from smsc_status.errors import ConfigError

DATE = datetime(2024, 3, 5, 12, tzinfo=UTC)


def virtually(main: object) -> None:
    trio.run(main, clock=MockClock(autojump_threshold=0))  # type: ignore[arg-type]  # returns something


def test_a_minute_takes_a_second_at_speed_60() -> None:
    clock = EmulatedClock(60, lambda: DATE)

    async def main() -> None:
        assert clock.now() == DATE.timestamp()
        await anyio.sleep(1)
        assert clock.elapsed() == pytest.approx(60)
        assert clock.now() == pytest.approx(DATE.timestamp() + 60)
        assert (clock.wall_clock() - DATE).total_seconds() == pytest.approx(60)

    virtually(main)


def test_the_clock_s_date_is_that_of_its_first_use() -> None:
    clock = EmulatedClock(1, lambda: DATE)

    async def main() -> None:
        assert clock.elapsed() == 0
        await anyio.sleep(5)
        assert clock.now() == pytest.approx(DATE.timestamp())
        assert clock.elapsed() == pytest.approx(5)

    virtually(main)


def test_outside_an_event_loop_the_clock_stands_still() -> None:
    clock = EmulatedClock(1, lambda: DATE)
    assert (clock.now(), clock.elapsed()) == (DATE.timestamp(), 0)

    async def main() -> None:
        clock.elapsed()
        await anyio.sleep(7)
        clock.elapsed()

    virtually(main)
    assert clock.now() == pytest.approx(DATE.timestamp() + 7)


def test_by_default_the_clock_begins_now() -> None:
    before = time.time()
    assert before <= EmulatedClock().now() <= time.time()


def test_a_change_of_clocks_loses_no_time() -> None:
    seconds = [100.0]
    clock = EmulatedClock(10, lambda: DATE)
    clock.use(lambda: seconds[0])
    assert clock.elapsed() == 0
    seconds[0] += 2
    assert clock.elapsed() == 20
    clock.use(lambda: 5.0)
    assert clock.elapsed() == 20


@pytest.mark.parametrize("speed", [0, -1, float("inf"), float("nan")])
def test_a_speed_that_can_not_be_is_refused(speed: float) -> None:
    with pytest.raises(ConfigError, match="speed"):
        EmulatedClock(speed)


@pytest.mark.parametrize("speed", [1, 60])
def test_in_virtual_time_the_event_loop_advances_with_the_clock(speed: float) -> None:
    clock = EmulatedClock(speed, lambda: DATE)

    async def main() -> None:
        before = anyio.current_time()
        clock.advance(3600)
        assert anyio.current_time() == pytest.approx(before + 3600 / speed)
        assert clock.now() == pytest.approx(DATE.timestamp() + 3600)
        await anyio.sleep(60 / speed)
        assert clock.elapsed() == pytest.approx(3660)

    virtually(main)
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        clock = EmulatedClock(speed, lambda: DATE)
        runner.run(main())


def test_in_real_time_only_the_clock_advances() -> None:
    clock = EmulatedClock(60, lambda: DATE)

    async def main() -> None:
        before = anyio.current_time()
        clock.advance(3600)
        assert anyio.current_time() - before < 5
        assert clock.now() == pytest.approx(DATE.timestamp() + 3600, abs=300)

    asyncio.run(main())


def test_what_advanced_before_an_event_loop_runs_stays_so_in_it() -> None:
    clock = EmulatedClock(2, lambda: DATE)
    clock.advance(100)
    clock.advance(20)
    assert (clock.now(), clock.elapsed()) == (DATE.timestamp() + 120, 120)

    async def main() -> None:
        assert clock.elapsed() == pytest.approx(120)
        await anyio.sleep(5)
        assert clock.now() == pytest.approx(DATE.timestamp() + 130)

    virtually(main)
    clock.advance(1)
    assert clock.now() == pytest.approx(DATE.timestamp() + 131)


def test_a_clock_of_a_server_advances_by_itself() -> None:
    """The event loop that runs is another one than the server's."""
    clock = EmulatedClock(2, lambda: DATE)
    clock.use(lambda: 7.0)

    async def main() -> None:
        before = anyio.current_time()
        clock.advance(50)
        assert anyio.current_time() == before

    virtually(main)
    assert (clock.now(), clock.elapsed()) == (DATE.timestamp() + 50, 50)


@pytest.mark.parametrize("seconds", [-1, float("inf"), float("nan"), True, "60"])
def test_the_clock_advances_only_by_seconds_from_zero_on(seconds: float) -> None:
    clock = EmulatedClock(1, lambda: DATE)
    with pytest.raises(ConfigError, match="expected seconds, at least 0"):
        clock.advance(seconds)
    clock.advance(0)
    assert clock.elapsed() == 0


def test_in_another_event_loop_the_clock_goes_on() -> None:
    """The clock of each loop begins elsewhere."""
    clock = EmulatedClock(2, lambda: DATE)

    async def main() -> None:
        before = clock.elapsed()
        await anyio.sleep(50)
        assert clock.elapsed() == pytest.approx(before + 100)

    for _ in range(2):
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(main())
        virtually(main)
    assert clock.now() == pytest.approx(DATE.timestamp() + 400)
