"""More messages than can be asked once a minute: which of them wait, how long, and which are lost to the archive?

`python -m benchmarks.overload [TIMES]` has two parts. In the first, `TIMES` (default 3) times as many messages as the
lanes can ask in a minute wait for hours, while new ones are sent, as many as on the simulated day. In the second, many
messages have the same archive deadline, as many as can just be asked before it, among three times as many others.

How stale an answer gets: a message is due again after at most `longest_turn` times the time that it takes to ask about
all messages in turn. The bulk lane takes messages in the order in which they were due, so a message then waits only for
the bulk requests that are filled by those before it. So the worst case is `longest_turn` + 1 times the time that the
bulk lane alone needs for all waiting messages, and the turns of two more bulk requests.
"""

from __future__ import annotations

import random
import sys

import attrs

from benchmarks import lanes
from benchmarks.day import MEAN_ROUND_TRIP
from benchmarks.lanes import Sent
from smsc_status import Limits
from smsc_status._core.tracking.tracked import Policy

HOUR = 3600.0
YOUNG_A_SECOND = 100_000 / (12 * HOUR)


def checks_a_minute(limits: Limits, policy: Policy) -> float:
    """How many messages the lanes can ask in a minute."""
    singles = limits.connections * policy.eagerness / MEAN_ROUND_TRIP
    return 60 * (singles + limits.max_bulk / (limits.period + limits.margin))


def crowd(waiting: int, *, seconds: float, seed: int = 1) -> list[Sent]:
    """`waiting` messages that do not end within `seconds`, and new ones that are sent meanwhile."""
    draw = random.Random(seed)
    old = [Sent(draw.uniform(0, 60), seconds) for _ in range(waiting)]
    young = int(YOUNG_A_SECOND * seconds)
    new = [Sent(draw.uniform(0, seconds), lanes.end_of(number, seed=seed)) for number in range(1, young + 1)]
    return sorted(old + new)


def rush(count: int, *, new_a_second: float = YOUNG_A_SECOND, seed: int = 1) -> list[Sent]:
    """`count` messages with one archive deadline, and messages that compete with them.

    The former are sent in the hour before 18:00 in Moscow and end at least two hours before the sweep at 03:00. Three
    times as many are sent in the hour after 18:00 and end after the sweep. New ones are sent all the time.
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
    """The result of a run."""

    messages: int
    outcome: lanes.Outcome
    bound: float
    """The greatest age that an answer may reach, in seconds."""


def waiting(times: float, *, limits: Limits, hours: float = 3.0) -> Found:
    """Let `times` as many messages as the lanes can ask in a minute wait for `hours`."""
    policy = Policy()
    rate = checks_a_minute(limits, policy)
    many = int(times * rate)
    day = crowd(many, seconds=hours * HOUR)
    outcome = lanes.Lanes(day, policy, limits).run(until=hours * HOUR)
    cycle = limits.period + limits.margin
    in_turn = outcome.most_tracked / limits.max_bulk * cycle
    return Found(many, outcome, (policy.longest_turn + 1) * in_turn + 2 * cycle)


def main(times: float = 3.0) -> None:
    """Print both parts."""
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
