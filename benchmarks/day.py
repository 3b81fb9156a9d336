"""A simulated day of tracking: how soon is the end of a message noticed, and what would other policies do?

`python -m benchmarks.day [MESSAGES [HOURS]]` compares the scheduler with polling in turn, with fixed intervals and with
the informed bound. Then it tries other values of each number of the policy, over a quarter of the day. Last it runs the
whole client against the emulator over a tenth of the day, and the same tenth in `lanes`, to show that both agree.

`python -m benchmarks.day client [MESSAGES [HOURS]]` runs the whole client over the whole day, which takes minutes.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta

import anyio
import httpx
import trio
from trio.testing import MockClock

from benchmarks import bound, lanes
from smsc_status import Limits, MessageRef, StatusClient, StatusRecord
from smsc_status._core.tracking.tracked import Policy
from smsc_status.codes import FINAL
from smsc_status.emulator import Emulator

SEED = 1
OURS = Policy()
MEAN_ROUND_TRIP = sum(lanes.ROUND_TRIPS) / 2


def fixed(interval: float) -> Policy:
    """A policy that asks about every message at this interval, whatever its age. The longest-waiting goes first."""
    return Policy(least_interval=interval, longest_interval=interval, least_share=0.0, young=0.0)


IN_TURN = fixed(0.01)
INTERVALS = (10.0, 20.0, 30.0, 60.0)

OTHERS = {
    "as it is": OURS,
    "eagerness 0": Policy(eagerness=0.0),
    "eagerness 0.25": Policy(eagerness=0.25),
    "eagerness 0.75": Policy(eagerness=0.75),
    "eagerness 1": Policy(eagerness=1.0),
    "least_interval 2": Policy(least_interval=2.0),
    "least_interval 6": Policy(least_interval=6.0),
    "least_share 0": Policy(least_share=0.0),
    "least_share 0.02": Policy(least_share=0.02),
    "young 0": Policy(young=0.0),
    "young 60": Policy(young=60.0),
    "young 600": Policy(young=600.0),
    "longest_turn 1": Policy(longest_turn=1.0),
    "longest_turn 6": Policy(longest_turn=6.0),
    "longest_interval 300": Policy(longest_interval=300.0),
}


def _run(messages: int, seconds: float, policy: Policy) -> lanes.Outcome:
    return lanes.Lanes(lanes.a_day(messages, seconds, seed=SEED), policy, seed=SEED).run()


def run_all(policies: Iterable[Policy], *, messages: int, seconds: float) -> list[lanes.Outcome]:
    """The same day with each policy. A long day runs on all cores."""
    if messages < 5000:
        return [_run(messages, seconds, policy) for policy in policies]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        runs = [pool.submit(_run, messages, seconds, policy) for policy in policies]
        return [run.result() for run in runs]


HEADER = "mean  median   95 %  worst   checks   of them  lost  limits"


def row(outcome: lanes.Outcome) -> str:
    """The figures of one run: delays in seconds, checks for each message, the share of single checks."""
    return (
        f"{outcome.mean:6.2f}  {outcome.quantile(0.5):6.2f} {outcome.quantile(0.95):6.1f} {outcome.quantile(1):6.0f} "
        f"{outcome.polled / len(outcome.delays):8.1f} {outcome.singles / outcome.polled:9.0%} {outcome.lost:5d}  "
        f"{'kept' if outcome.is_within_limits else 'BROKEN'}"
    )


def bounds(messages: int, seconds: float, outcome: lanes.Outcome) -> dict[str, bound.Bound]:
    """The informed bound with as many checks as this run used, and with all checks that the limits allow."""
    lives = [lanes.end_of(number, seed=SEED + 1) for number in range(1, min(messages, 50_000) + 1)]
    limits = Limits()
    capacity = limits.connections / MEAN_ROUND_TRIP + limits.max_bulk / (limits.period + limits.margin)
    spent = {
        "as many checks": outcome.polled / messages,
        "all that the limits leave": min(capacity * seconds / messages, 100.0),
    }
    return {name: bound.informed(lives, checks=checks, reply=MEAN_ROUND_TRIP / 2) for name, checks in spent.items()}


def compare(messages: int, seconds: float) -> None:
    """Print this library's scheduler beside the others, and beside the bound."""
    print(f"{messages:,} messages sent over {seconds / 3600:g} h, round trips of 50 to 300 ms, max_bulk 1000")
    print("from a message's end to its record, s".ljust(42), HEADER)
    policies = {"tracking": OURS, "in turn": IN_TURN} | {
        f"every {interval:g} s": fixed(interval) for interval in INTERVALS
    }
    outcomes = dict(zip(policies, run_all(policies.values(), messages=messages, seconds=seconds), strict=True))
    for name, outcome in outcomes.items():
        print(f"  {name:40}", row(outcome))
    ours = outcomes.pop("tracking")
    for name, best in bounds(messages, seconds, ours).items():
        print(
            f"  {'informed bound, ' + name:40} {best.mean:6.2f}  {best.quantile(0.5):6.2f} {best.quantile(0.95):6.1f}"
            f"        {best.checks:8.1f}    the mean is {ours.mean / best.mean:.2f} of it, "
            f"the 95th percentile {ours.quantile(0.95) / best.quantile(0.95):.2f}"
        )


def vary(messages: int, seconds: float) -> None:
    """Print the figures for other values of the policy's numbers."""
    print(f"{messages:,} messages sent over {seconds / 3600:g} h: other policies")
    for name, outcome in zip(OTHERS, run_all(OTHERS.values(), messages=messages, seconds=seconds), strict=True):
        print(f"  {name:40}", row(outcome))


class Distant(httpx.AsyncBaseTransport):
    """An emulator at some distance: each request takes a random round trip."""

    def __init__(self, emulator: Emulator) -> None:
        self._server = httpx.ASGITransport(app=emulator)
        self._random = random.Random(SEED)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Wait for the way there, answer, and wait for the way back."""
        round_trip = self._random.uniform(*lanes.ROUND_TRIPS)
        there = round_trip * self._random.random()
        await anyio.sleep(there)
        response = await self._server.handle_async_request(request)
        await anyio.sleep(round_trip - there)
        return response


async def _follow(day: list[lanes.Sent]) -> lanes.Outcome:
    start = datetime.fromtimestamp(lanes.START, UTC)
    began_at = anyio.current_time()

    def now() -> datetime:
        return start + timedelta(seconds=anyio.current_time() - began_at)

    emulator = Emulator(seed=SEED, wall_clock=now)

    async def feed() -> AsyncIterator[MessageRef]:
        for number, sent in enumerate(day, 1):
            await anyio.sleep(max(0.0, sent.at - (anyio.current_time() - began_at)))
            yield emulator.world.add(number, lanes.phone_of(number), sent_at=lanes.START + sent.at)

    outcome = lanes.Outcome()
    ended: set[MessageRef] = set()
    async with StatusClient(
        apikey="demo-key", base_url="http://localhost", wall_clock=now, transport=Distant(emulator)
    ) as client:
        async for told in client.track(feed()):
            if not isinstance(told, StatusRecord):
                outcome.lost += 1
            elif told.status in FINAL:
                # The status may change from one final status to another while the reply is in transit.
                answered_at = (told.checked_at.timestamp() - before for before in (0.0, lanes.ROUND_TRIPS[1]))
                assert told.status in {emulator.world.status_at(told.ref, at) for at in answered_at}, told
                assert told.ref not in ended, told
                ended.add(told.ref)
                sent = day[int(told.ref.id) - 1]
                outcome.delays.append(told.checked_at.timestamp() - lanes.START - sent.at - sent.ends_after)
        stats = client.stats()
    outcome.is_within_limits = emulator.referee.no_violations
    outcome.singles, outcome.bulk = stats.requests["single"], stats.requests["bulk"]
    outcome.polled = stats.records
    return outcome


def follow(messages: int, seconds: float) -> lanes.Outcome:
    """The same day with the whole client, against the emulator."""
    return trio.run(_follow, lanes.a_day(messages, seconds, seed=SEED), clock=MockClock(autojump_threshold=0))


def main(messages: float = 100_000, hours: float = 12.0) -> None:
    """Print all tables."""
    messages, seconds = int(messages), hours * 3600
    compare(messages, seconds)
    vary(messages // 4, seconds / 4)
    few, briefly = max(1, messages // 10), seconds / 10
    print(f"{few:,} messages sent over {briefly / 3600:g} h")
    print(f"  {'the client against the emulator':40}", row(follow(few, briefly)))
    print(f"  {'the lanes without it':40}", row(_run(few, briefly, OURS)))


if __name__ == "__main__":
    numbers = [float(word) for word in sys.argv[1:] if word != "client"]
    if "client" in sys.argv:
        messages, hours = [*numbers, *(100_000.0, 12.0)[len(numbers) :]]
        print(HEADER)
        print(row(follow(int(messages), hours * 3600)))
    else:
        main(*numbers)
