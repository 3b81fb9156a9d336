"""The limiter beside five libraries and a plain dict: is it exact, does it wait fairly, what does it cost?

`python -m benchmarks.limiter [KEYS [ROUNDS]]`. All limiters keep "five calls a key in any minute, wait until
allowed", in virtual time; how each is set up is in `peers`, what its clock is in `clock`. Costs are real: medians of
interleaved runs of CPU time, in one process.
"""

from __future__ import annotations

import asyncio
import gc
import random
import sys
import tracemalloc
from bisect import bisect_left
from collections.abc import Callable
from statistics import median
from time import process_time

import attrs

from benchmarks import clock, peers
from benchmarks.peers import ALL, FLOOR, OURS, PERIOD, Entry, ForgettingLog, Peer, PlainLog
from smsc_status import Limits, LocalLimiter
from smsc_status._core.scheduling.pacing import Pacer, RequestEnd

REPLIED = RequestEnd.REPLIED
DELAY = 2.0
TEN_MINUTES = 600.0
PAUSE = 13.0
"""In which a token has come back, by whatever rule."""


@attrs.define
class Found:
    """What was measured of one limiter."""

    one_key: float = 0.0
    many_keys: float = 0.0
    bytes_live: float = 0.0
    bytes_left: float = 0.0
    tidied_in: float = 0.0
    largest: int = 0
    fresh_waits: float = 0.0
    cancelled_cost: float = 0.0


# What a server sees.


def largest_count(arrivals: list[float]) -> int:
    """The most arrivals in any 60 s, the ends of which do not both count."""
    arrivals.sort()
    return max(bisect_left(arrivals, at + PERIOD) - number for number, at in enumerate(arrivals))


async def _hammer(peer: Peer, until_at: float, draw: random.Random, arrivals: list[float]) -> None:
    loop = clock.this_loop()
    while loop.time() < until_at:
        taken = await peer.take("hot")
        await asyncio.sleep(draw.uniform(0.0, DELAY))
        arrivals.append(loop.time())
        await peer.give_back(taken)


def seen_by_server(entry: Entry, *, seed: int, callers: int = 10) -> int:
    """Callers want one key for ten minutes; each call arrives after up to two seconds, and its reply is there then."""

    async def main() -> int:
        peer = entry.make()
        arrivals: list[float] = []
        draw = random.Random(seed)
        await asyncio.gather(*(_hammer(peer, TEN_MINUTES, draw, arrivals) for _ in range(callers)))
        await peer.aclose()
        return largest_count(arrivals)

    return clock.run(main)


def seen_of_aiometer(*, seed: int) -> int:
    """The same of what aiometer runs."""

    async def main() -> int:
        arrivals: list[float] = []
        draw = random.Random(seed)

        async def call(_: int) -> None:
            await asyncio.sleep(draw.uniform(0.0, DELAY))
            arrivals.append(clock.this_loop().time())

        await peers.run_by_aiometer(call, int(TEN_MINUTES / PERIOD * peers.COUNT))
        return largest_count(arrivals)

    return clock.run(main)


# Who waits for whom.


async def _use_up(peer: Peer, key: str) -> None:
    for _ in range(peers.COUNT):
        await peer.give_back(await peer.take(key))


async def _seconds(peer: Peer, key: str) -> float:
    loop = clock.this_loop()
    began_at = loop.time()
    await peer.give_back(await peer.take(key))
    return loop.time() - began_at


def fresh_key_waits(entry: Entry) -> float:
    """For how many seconds, while somebody waits for another key that is used up?"""

    async def main() -> float:
        peer = entry.make()
        await _use_up(peer, "hot")
        blocked = asyncio.create_task(peer.take("hot"))
        await asyncio.sleep(1)
        waited = await _seconds(peer, "fresh")
        blocked.cancel()
        await asyncio.wait([blocked])
        await peer.aclose()
        return waited

    return clock.run(main)


def wait_after(entry: Entry, *, cancelled: int) -> float:
    """How long one waits for a key that is used up, after so many waited for it before and were cancelled."""

    async def main() -> float:
        peer = entry.make()
        await _use_up(peer, "hot")
        waiters = [asyncio.create_task(peer.take("hot")) for _ in range(cancelled)]
        await asyncio.sleep(1)
        for waiter in waiters:
            waiter.cancel()
        await asyncio.gather(*waiters, return_exceptions=True)
        waited = await _seconds(peer, "hot")
        await peer.aclose()
        return waited

    return clock.run(main)


# What it costs.


def names(count: int) -> list[str]:
    """So many keys."""
    return [f"key {number}" for number in range(count)]


def seconds_a_call(entry: Entry, keys: list[str], *, pause: float) -> float:
    """CPU time of taking and giving back one after the other, none of which has to wait."""

    async def main() -> float:
        peer = entry.make()
        loop = clock.this_loop()
        began_at, virtual_at = process_time(), loop.time()
        for key in keys:
            await peer.give_back(await peer.take(key))
            loop.jump(pause)
        took = process_time() - began_at
        assert loop.time() - virtual_at < len(keys) * pause + 0.01, f"{entry.name} has waited"
        await peer.aclose()
        return took / len(keys)

    return clock.run(main)


def bytes_a_key(entry: Entry, keys: list[str]) -> tuple[float, float]:
    """While each of the keys has been used once, and two minutes later; the names are the caller's own."""

    async def main() -> tuple[float, float]:
        peer = entry.make()
        await _seconds(peer, "the first")  # makes what is made once
        tracemalloc.start()
        try:
            for key in keys:
                await peer.give_back(await peer.take(key))
            live = tracemalloc.get_traced_memory()[0]
            clock.this_loop().jump(2 * PERIOD + 2)
            await peer.tidy()
            gc.collect()
            left = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
            await peer.aclose()
        return live / len(keys), left / len(keys)

    return clock.run(main)


def seconds_to_tidy(entry: Entry, keys: list[str]) -> float:
    """How long it takes, when their minute is over, to forget keys that were used once."""

    async def main() -> float:
        peer = entry.make()
        for key in keys:
            await peer.give_back(await peer.take(key))
        clock.this_loop().jump(2 * PERIOD + 2)
        began_at = process_time()
        await peer.tidy()
        took = process_time() - began_at
        await peer.aclose()
        return took

    return clock.run(main)


# The core by itself: no loop, no clock, no waiting.

Core = Callable[[list[tuple[int, ...]], float], None]


def _plain(requests: list[tuple[int, ...]], pause: float) -> None:
    log, now = PlainLog(), 0.0
    for keys in requests:
        for key in keys:
            log.take(key, now)
        now += pause


def _forgetting(requests: list[tuple[int, ...]], pause: float) -> None:
    log, now = ForgettingLog(), 0.0
    for keys in requests:
        for key in keys:
            log.take(key, now)
        now += pause


def _pacer(requests: list[tuple[int, ...]], pause: float) -> None:
    pacer, now, bulk = Pacer(Limits(connections=peers.MANY)), 0.0, len(requests[0]) > 1
    for keys in requests:
        pacer.started(keys, bulk, now)
        pacer.finished(keys, bulk, REPLIED, now)
        now += pause


def _asked_pacer(requests: list[tuple[int, ...]], pause: float) -> None:
    pacer, now, bulk = Pacer(Limits(connections=peers.MANY)), 0.0, len(requests[0]) > 1
    for keys in requests:
        for key in keys:
            assert pacer.tokens(key, now=now)
        pacer.started(keys, bulk, now)
        pacer.finished(keys, bulk, REPLIED, now)
        now += pause


CORES: dict[str, Core] = {
    "plain dict, an exact log of what is sent": _plain,
    "the same, forgetting keys": _forgetting,
    "pacer, start and finish": _pacer,
    "pacer, asked, start and finish": _asked_pacer,
}


def core_costs(count: int, rounds: int) -> dict[str, list[float]]:
    """CPU seconds an id: of one id again and again, of ids asked once, of ids in bulk requests of a thousand."""
    workloads: list[tuple[list[tuple[int, ...]], float]] = [
        ([(7,)] * count, PAUSE),
        ([(id,) for id in range(count)], PERIOD / count),
        ([tuple(range(id, min(id + 1000, count))) for id in range(0, count, 1000)], PERIOD + 1),
    ]
    runs: dict[str, list[list[float]]] = {name: [[] for _ in workloads] for name in CORES}
    for _ in range(rounds):
        gc.collect()
        for number, (requests, pause) in enumerate(workloads):
            for name, core in CORES.items():
                began_at = process_time()
                core(requests, pause)
                runs[name][number].append((process_time() - began_at) / count)
    return {name: [median(times) for times in columns] for name, columns in runs.items()}


# Many who wait, for places alone.


def crowd_costs(count: int) -> float:
    """CPU seconds each, where so many want a key of their own at once, four at a time, for a second."""

    async def main() -> float:
        limiter = LocalLimiter()

        async def go(key: str) -> None:
            permit = await limiter.acquire(peers.Wanted(key).select)
            await asyncio.sleep(1)
            await limiter.release(permit, REPLIED)

        began_at = process_time()
        await asyncio.gather(*map(go, names(count)))
        took = process_time() - began_at
        assert clock.this_loop().time() < count / limiter.limits.connections + 1.5
        return took / count

    return clock.run(main)


def print_crowds(counts: list[int]) -> None:
    """In Markdown."""
    print("| so many wait at once for four places | " + " | ".join(f"{count:,}" for count in counts), "|")
    print("|---|" + "---:|" * len(counts))
    print("| CPU time each, µs | " + " | ".join(f"{crowd_costs(count) * 1e6:.0f}" for count in counts), "|")


# All of it.


def measure(keys: int, rounds: int) -> dict[str, Found]:
    """Everything, of everyone."""
    found = {entry.name: Found() for entry in ALL}
    for entry in ALL:
        it = found[entry.name]
        it.largest = max(seen_by_server(entry, seed=seed) for seed in range(rounds))
        it.fresh_waits = fresh_key_waits(entry)
        it.cancelled_cost = wait_after(entry, cancelled=10) - wait_after(entry, cancelled=0)
        few = names(max(1, keys // 5))
        it.bytes_live, it.bytes_left = bytes_a_key(entry, few)
        it.tidied_in = seconds_to_tidy(entry, few)
    for attribute, line, pause in [
        ("one_key", ["key"] * max(1, keys // 10), PAUSE),
        ("many_keys", names(keys), PERIOD / keys),
    ]:
        times: dict[str, list[float]] = {entry.name: [] for entry in ALL}
        for _ in range(rounds):
            gc.collect()
            for entry in ALL:
                times[entry.name].append(seconds_a_call(entry, line, pause=pause))
        for name, seconds in times.items():
            setattr(found[name], attribute, median(seconds))
    return found


def print_table(found: dict[str, Found], keys: int, rounds: int) -> None:
    """In Markdown; ratios in brackets: to the plain dict, and how many times as long as we it takes."""
    floor, ours = found[FLOOR.name], found[OURS.name]
    print(
        f"| | one key, µs | {keys:,} keys, µs | bytes a live key | left two minutes later "
        f"| tidying {keys // 5:,} keys, s | most in 60 s | fresh key waits, s | ten cancelled cost, s | |"
    )
    print("|---|" + "---:|" * 8 + "---|")
    for entry in ALL:
        it = found[entry.name]
        times = [
            f"{mine * 1e6:.1f} ({mine / plain:.1f}, {mine / our:.2f})"
            for mine, plain, our in (
                (it.one_key, floor.one_key, ours.one_key),
                (it.many_keys, floor.many_keys, ours.many_keys),
            )
        ]
        cells = [
            *times,
            f"{it.bytes_live:,.0f}",
            f"{max(0.0, it.bytes_left):,.0f}",
            f"{it.tidied_in:.2f}",
            f"{it.largest}",
            f"{it.fresh_waits:.0f}",
            f"{max(0.0, it.cancelled_cost):.0f}",
            entry.notes,
        ]
        print(f"| {entry.name} |", " | ".join(cells), "|")
    most = max(seen_of_aiometer(seed=seed) for seed in range(rounds))
    print(f"| aiometer | | | | | | {most} | | | no keys, no acquire: runs a list of calls, evenly spaced |")


def print_cores(costs: dict[str, list[float]]) -> None:
    """In Markdown; ratios to the plain dict in brackets."""
    floor = costs[next(iter(CORES))]
    print("| the core, µs an id | one id | each id once | in bulk requests of 1,000 |")
    print("|---|---:|---:|---:|")
    for name, columns in costs.items():
        cells = [f"{mine * 1e6:.2f} ({mine / plain:.1f})" for mine, plain in zip(columns, floor, strict=True)]
        print(f"| {name} |", " | ".join(cells), "|")


def main(keys: int = 100_000, rounds: int = 5) -> None:
    """Print the tables."""
    print_table(measure(keys, rounds), keys, rounds)
    print()
    print_cores(core_costs(keys, 2 * rounds))
    print()
    print_crowds([keys // 400, keys // 100, keys // 25])


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
