"""Law 1: the limits hold as the server sees them, whatever happens on the way."""

from __future__ import annotations

import asyncio
from bisect import insort
from collections import defaultdict
from collections.abc import Collection
from typing import Any

import pytest
import trio
from storm import Storm, make_storm, rage
from trio.testing import MockClock
from virtual import VirtualLoop

from smsc_status import Limits, LocalLimiter
from smsc_status._core.scheduling.pacing import BULK, Pacer, RequestEnd
from smsc_status.models import Key

pytestmark = pytest.mark.slow

SEEDS = range(3)


def run_storm(seed: int, limiter: LocalLimiter | None = None, *, backend: str = "asyncio", **how: Any) -> Storm:
    limiter = limiter or LocalLimiter()

    async def main() -> Storm:
        storm = make_storm(seed)
        await rage(storm, seed, limiter, **how)
        return storm

    if backend == "trio":
        return trio.run(main, clock=MockClock(autojump_threshold=0))
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main())


def broken_limits(storm: Storm) -> dict[str, int]:
    referee = storm.emulator.referee
    peaks = {
        "checks of an id": (referee.peak_checks_per_id, 5),
        "bulk requests": (referee.peak_bulk, 1),
        "open requests": (referee.peak_open, 4),
    }
    return {name: seen for name, (seen, allowed) in peaks.items() if seen > allowed}


@pytest.mark.parametrize("seed", SEEDS)
def test_no_limit_is_broken_and_nothing_is_lost_in_a_storm(seed: int) -> None:
    """As counted on arrival: five checks of an id and one bulk request in any minute, four requests open.

    And law 2 in the same run: what was not cancelled came out exactly once, with the status that the server held.
    """
    storm = run_storm(seed, backend="trio" if seed == 1 else "asyncio")
    assert not broken_limits(storm)
    assert not storm.emulator.referee.refusals
    assert not storm.wrong
    assert storm.came_out + storm.cancelled == storm.asked
    # The storm was one: each of these happened, and the limits were used to the full.
    assert min(storm.network.happened[what] for what in ("stuck", "cut", "late")) > 5
    assert storm.records > 1000
    assert storm.cancelled.total() > 100
    assert storm.emulator.referee.peak_checks_per_id == 5
    assert storm.emulator.referee.peak_open == 4


class TokensBackAtSendTime(Pacer):  # it breaks the pacer from inside, and so it knows its tables
    """An exact log of send times: a token comes back a period after its request started, not after its reply."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._started: defaultdict[tuple[Key, ...], list[float]] = defaultdict(list)

    def started(self, keys: Collection[Key], bulk: bool, now: float) -> None:
        self._started[tuple(keys)].append(now)
        super().started(keys, bulk, now)

    def finished(self, keys: Collection[Key], bulk: bool, how: RequestEnd, now: float) -> None:
        super().finished(keys, bulk, RequestEnd.REPLIED, now)
        late_at = now + self._back_after
        back_at = self._started[tuple(keys)].pop(0) + self._back_after
        for name in (*keys, BULK) if bulk else keys:
            known = self._out[name]
            if isinstance(known, list):
                known.remove(late_at)
                insort(known, back_at, lo=1)
            else:
                self._out[name] = back_at


def test_the_storm_catches_tokens_that_come_back_at_send_time() -> None:
    """A test of the test: the classic mistake does not pass it."""
    assert any(broken_limits(run_storm(seed, with_pacer(TokensBackAtSendTime))) for seed in range(3))


def test_the_storm_catches_requests_that_do_not_linger() -> None:
    """A test of the test: without `linger`, requests that arrive late are one too many."""
    assert any(broken_limits(run_storm(seed, LocalLimiter(Limits(linger=0)))) for seed in range(3))


def with_pacer(kind: type[Pacer]) -> LocalLimiter:
    limiter = LocalLimiter()
    limiter.pacer = kind(limiter.limits)
    return limiter
