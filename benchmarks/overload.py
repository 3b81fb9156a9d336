"""More messages than can be asked once a minute: who waits, how long, and who is saved from the archive?

`python -m benchmarks.overload [TIMES]`: `TIMES` (3) as many messages as the lanes can ask in a minute wait for hours,
while new ones are sent, as many as on the simulated day; then so many with one deadline ahead that all of them can just
be asked before it, among three times as many others.

How stale an answer gets: a message is due again after at most `longest_turn` times what asking everyone in turn takes,
and the bulk lane goes by when a message was due, so it then waits for the bulk requests that those before it fill, and
no longer. Together, at the worst: `longest_turn` + 1 times the messages that wait, by the bulk lane alone, and two
bulk requests' turns.
"""

from __future__ import annotations

import random
import sys

import attrs

from benchmarks import lanes
from benchmarks.day import MEAN_ROUND_TRIP
from benchmarks.lanes import Sent
from smsc_status import Limits
from smsc_status._core.tracking.polling import Policy

HOUR = 3600.0
YOUNG_A_SECOND = 100_000 / (12 * HOUR)


def checks_a_minute(limits: Limits, policy: Policy) -> float:
    """How many the lanes can ask."""
    singles = limits.connections * policy.eagerness / MEAN_ROUND_TRIP
    return 60 * (singles + limits.max_bulk / (limits.period + limits.margin))


def crowd(waiting: int, *, seconds: float, seed: int = 1) -> list[Sent]:
    """So many that end only when it is over, and those who are sent meanwhile."""
    draw = random.Random(seed)
    old = [Sent(draw.uniform(0, 60), seconds) for _ in range(waiting)]
    young = int(YOUNG_A_SECOND * seconds)
    new = [Sent(draw.uniform(0, seconds), lanes.end_of(number, seed=seed)) for number in range(1, young + 1)]
    return sorted(old + new)


def rush(count: int, *, new_a_second: float = YOUNG_A_SECOND, seed: int = 1) -> list[Sent]:
    """So many sent just before 18:00 in Moscow that end two hours before the sweep at 03:00 or sooner; their rivals.

    These are three times as many sent just after 18:00, which end after the sweep, and new ones all the time.
    """
    draw = random.Random(seed)
    at_18 = 9 * HOUR
    at_1 = at_18 + 7 * HOUR
    old = [Sent(at, draw.uniform(HOUR, at_1 - at)) for at in (draw.uniform(at_18 - HOUR, at_18) for _ in range(count))]
    old += [Sent(draw.uniform(at_18, at_18 + HOUR), 11 * HOUR) for _ in range(3 * count)]
    young = int(new_a_second * 10 * HOUR)
    new = [Sent(draw.uniform(at_18, at_18 + 10 * HOUR), lanes.end_of(n, seed=seed)) for n in range(1, young + 1)]
    return sorted(old + new)


@attrs.frozen
class Found:
    """What came of a run."""

    messages: int
    outcome: lanes.Outcome
    bound: float
    """How stale an answer may get, in seconds."""


def waiting(times: float, *, limits: Limits, hours: float = 3.0) -> Found:
    """`times` as many messages as the lanes can ask in a minute, for some hours."""
    policy = Policy()
    rate = checks_a_minute(limits, policy)
    many = int(times * rate)
    day = crowd(many, seconds=hours * HOUR)
    outcome = lanes.Lanes(day, policy, limits).run(until=hours * HOUR)
    cycle = limits.period + limits.margin
    in_turn = outcome.most_tracked / limits.max_bulk * cycle
    return Found(many, outcome, (policy.longest_turn + 1) * in_turn + 2 * cycle)


def main(times: float = 3.0) -> None:
    """Print both."""
    limits = Limits()
    found = waiting(times, limits=limits)
    outcome = found.outcome
    print(f"{found.messages:,} messages wait, {checks_a_minute(limits, Policy()):,.0f} can be asked in a minute")
    print(f"  stalest answer       {outcome.stalest:8.0f} s (bound: {found.bound:.0f} s)")
    print(
        f"  new ones meanwhile   {outcome.quantile(0.5):8.1f} s median delay, {outcome.quantile(0.95):.1f} s the 95th"
    )
    print(f"  limits               {'kept' if outcome.is_within_limits else 'BROKEN':>8}")
    print(f"  lost to the archive  {outcome.lost:8}")
    count = int(50_000 * times)
    outcome = lanes.Lanes(rush(count), Policy(), limits).run()
    print(f"{count:,} messages with one deadline, two hours after the last of them ends")
    print(f"  lost to the archive  {outcome.lost:8}")
    print(f"  limits               {'kept' if outcome.is_within_limits else 'BROKEN':>8}")


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
