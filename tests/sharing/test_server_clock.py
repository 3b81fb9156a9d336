"""The log's time, from the server's clock and the own one. All numbers are microseconds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsc_status._sharing.server_clock import DRIFT_PPM, ServerClock

SECOND = 1_000_000
TOLERANCE = SECOND // 2


class World:
    """A server and a process, and the real time. The process's clock shows the real time."""

    def __init__(self) -> None:
        self.real = 100 * SECOND
        self.offset = 1_000_000 * SECOND
        self.clock = ServerClock(TOLERANCE)
        self.last = 0
        self.logged: int | None = None

    def ask(self, there: int = 100, back: int = 100, clock: ServerClock | None = None) -> int:
        """One reply; returns the step that was found."""
        sent = self.real
        raw = sent + there + self.offset
        self.real += there + back
        return (clock or self.clock).observe(raw, sent=sent, received=self.real, logged=self.logged, last=self.last)

    def append(self, clock: ServerClock | None = None) -> bool:
        """What the script does; returns whether it appended."""
        clock = clock or self.clock
        low, high = clock.bounds(self.real)
        raw = self.real + 100 + self.offset
        is_within = low <= raw <= high
        if is_within:
            self.logged = clock.correction
            self.last = max(raw + clock.correction, self.last)
        self.ask(clock=clock)
        return is_within

    def error(self) -> int:
        """How far the process's log time is off the real one, since the beginning."""
        now = self.clock.now(self.real)
        assert now is not None
        return now - self.real - 1_000_000 * SECOND


def test_the_time_is_unknown_before_the_first_reply() -> None:
    clock = ServerClock(TOLERANCE)
    assert not clock.is_known
    assert clock.now(5) is None


def test_now_is_never_ahead_and_comes_close() -> None:
    """It may be behind by the round trip at most, and a faster reply makes it better."""
    world = World()
    world.ask(there=0, back=1000)
    assert -1000 <= world.error() <= 0
    world.ask(there=10, back=10)
    assert -25 <= world.error() <= 0
    world.ask(there=SECOND, back=SECOND)  # a slow reply makes it no worse, beside the drift
    assert -25 - 2 * DRIFT_PPM - 2 <= world.error() <= 0


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 3000), st.integers(0, 60 * SECOND)), min_size=1))
def test_without_a_step_nothing_is_corrected(trips: list[tuple[int, int, int]]) -> None:
    """Whatever the delays are, the intervals overlap, and the time is never ahead."""
    world = World()
    for there, back, pause in trips:
        assert world.ask(there, back) == 0
        assert world.error() <= 0
        world.real += pause
    assert world.clock.correction == 0


@pytest.mark.parametrize("rate", [-DRIFT_PPM, -100, 100, DRIFT_PPM])
def test_a_slow_drift_breaks_nothing(rate: int) -> None:
    """NTP changes the rate of a clock by 500 ppm at most."""
    world = World()
    world.ask()
    for _ in range(1000):
        world.real += 10 * SECOND
        world.offset += 10 * rate
        assert world.append()
    assert world.clock.correction == 0


@pytest.mark.parametrize("step", [30 * SECOND, -30 * SECOND, SECOND, -SECOND])
def test_a_step_is_refused_corrected_and_the_time_goes_on_evenly(step: int) -> None:
    world = World()
    world.ask()
    world.offset += step
    assert not world.append()
    assert abs(world.clock.correction + step) <= 1000
    assert world.append()
    assert -1000 <= world.error() <= 0
    world.offset -= step  # and back again
    assert not world.append()
    assert world.append()
    assert -2000 <= world.error() <= 0


@pytest.mark.parametrize("step", [400_000, -400_000])
def test_small_steps_do_not_add_up(step: int) -> None:
    """One within the tolerance is let through. The next one is corrected together with it."""
    world = World()
    world.ask()
    world.offset += step
    assert world.append()
    assert world.clock.correction == 0
    world.offset += step
    assert not world.append()
    assert abs(world.clock.correction + 2 * step) <= 1000
    assert abs(world.error()) <= 1000 + max(step, 0)  # the stamps never go back


def test_a_reader_takes_over_a_correction_and_makes_none_of_its_own() -> None:
    world = World()
    reader = ServerClock(TOLERANCE)
    world.ask()
    world.ask(clock=reader)
    world.offset += 30 * SECOND
    assert not world.append()
    assert world.append()
    assert world.ask(clock=reader) == 0
    assert reader.correction == world.clock.correction != 0
    assert world.append(reader)


def test_a_reader_does_not_keep_its_own_correction() -> None:
    """Both have noticed the same step. The one in the log counts."""
    world = World()
    reader = ServerClock(TOLERANCE)
    world.ask()
    world.ask(clock=reader)
    world.offset += 30 * SECOND
    assert world.ask(clock=reader) > 0
    world.append()
    assert world.append()
    world.ask(clock=reader)
    assert reader.correction == world.logged


def test_a_clock_that_was_set_back_while_nobody_looked_is_seen_by_the_last_stamp() -> None:
    """A new process has only the log. Its time goes on from the last stamp."""
    world = World()
    world.ask()
    assert world.append()
    world.offset -= 30 * SECOND
    new = ServerClock(TOLERANCE)
    assert world.ask(clock=new) < 0
    now = new.now(world.real)
    assert now is not None
    assert world.last <= now <= world.last + 1000
    assert world.append(new)


def test_a_command_that_arrives_late_is_beyond_the_bounds() -> None:
    """Whether it is late or the clock was set, the server can't know."""
    world = World()
    world.ask()
    low, high = world.clock.bounds(world.real)
    raw = world.real + world.offset
    assert low < raw - TOLERANCE + 1000
    assert raw + TOLERANCE < high < raw + TOLERANCE + 1000
