"""The limiter beside five libraries and a plain dict: is it exact, does it wait fairly, what does it cost?

`python -m benchmarks.limiter [KEYS [ROUNDS]]`: every limiter is to allow five calls for each key in any minute, and to
make further calls wait, in virtual time. `peers` says how each is set up, and `clock` which clock it reads. Costs are
in real CPU time: medians of interleaved runs in one process.
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
"""Seconds after which a token has come back, by the rule of any of the limiters."""


@attrs.define
class Found:
    """The figures of one limiter."""

    one_key: float = 0.0
    many_keys: float = 0.0
    bytes_live: float = 0.0
    bytes_left: float = 0.0
    tidied_in: float = 0.0
    largest: int = 0
    fresh_waits: float = 0.0
    cancelled_cost: float = 0.0


# What the server sees.


def largest_count(arrivals: list[float]) -> int:
    """The largest number of arrivals in any 60 s. Two arrivals exactly 60 s apart are not in the same 60 s."""
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
    """The largest number of arrivals in any 60 s, while callers call one key for ten minutes without a pause.

    Each call arrives after up to two seconds, and its reply comes at that instant.
    """

    async def main() -> int:
        peer = entry.make()
        arrivals: list[float] = []
        draw = random.Random(seed)
        await asyncio.gather(*(_hammer(peer, TEN_MINUTES, draw, arrivals) for _ in range(callers)))
        await peer.aclose()
        return largest_count(arrivals)

    return clock.run(main)


def seen_of_aiometer(*, seed: int) -> int:
    """The same for calls that aiometer runs."""

    async def main() -> int:
        arrivals: list[float] = []
        draw = random.Random(seed)

        async def call(_: int) -> None:
            await asyncio.sleep(draw.uniform(0.0, DELAY))
            arrivals.append(clock.this_loop().time())

        await peers.run_by_aiometer(call, int(TEN_MINUTES / PERIOD * peers.COUNT))
        return largest_count(arrivals)

    return clock.run(main)


# Waiting.


async def _use_up(peer: Peer, key: str) -> None:
    for _ in range(peers.COUNT):
        await peer.give_back(await peer.take(key))


async def _seconds(peer: Peer, key: str) -> float:
    loop = clock.this_loop()
    began_at = loop.time()
    await peer.give_back(await peer.take(key))
    return loop.time() - began_at


def fresh_key_waits(entry: Entry) -> float:
    """The seconds for which a call for a fresh key waits, while another call waits for a key that is used up."""

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
    """The seconds for which a call for a used-up key waits, after `cancelled` earlier calls for it were cancelled."""

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


# Costs.


def names(count: int) -> list[str]:
    """`count` keys."""
    return [f"key {number}" for number in range(count)]


def seconds_a_call(entry: Entry, keys: list[str], *, pause: float) -> float:
    """The CPU time of a call that does not have to wait: taking a permit and giving it back."""

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
    """The bytes for each key, just after each was used once, and two minutes later. The keys' names do not count."""

    async def main() -> tuple[float, float]:
        peer = entry.make()
        await _seconds(peer, "the first")  # so that what is made only once exists already
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
    """The CPU time of forgetting keys that were used once, when their minute is over."""

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
    """CPU seconds for each id: one id again and again, each id once, and ids in bulk requests of a thousand."""
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


# Many who wait, only for slots.


def crowd_costs(count: int) -> float:
    """CPU seconds for each of `count` callers who wait at once, each for a key of its own.

    Four at a time hold a slot, for a second each.
    """

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
    """Print the costs in Markdown."""
    print("| callers who wait at once for four slots | " + " | ".join(f"{count:,}" for count in counts), "|")
    print("|---|" + "---:|" * len(counts))
    print("| CPU time each, µs | " + " | ".join(f"{crowd_costs(count) * 1e6:.0f}" for count in counts), "|")


# All figures.


def measure(keys: int, rounds: int) -> dict[str, Found]:
    """All figures of all limiters."""
    found = {entry.name: Found() for entry in ALL}
    for entry in ALL:
        it = found[entry.name]
        it.largest = max(seen_by_server(entry, seed=seed) for seed in range(rounds))
        it.fresh_waits = fresh_key_waits(entry)
        it.cancelled_cost = wait_after(entry, cancelled=10) - wait_after(entry, cancelled=0)
        few = names(max(1, keys // 5))
        it.bytes_live, it.bytes_left = bytes_a_key(entry, few)
        it.tidied_in = seconds_to_tidy(entry, few)
    for attribute, sequence, pause in [
        ("one_key", ["key"] * max(1, keys // 10), PAUSE),
        ("many_keys", names(keys), PERIOD / keys),
    ]:
        times: dict[str, list[float]] = {entry.name: [] for entry in ALL}
        for _ in range(rounds):
            gc.collect()
            for entry in ALL:
                times[entry.name].append(seconds_a_call(entry, sequence, pause=pause))
        for name, seconds in times.items():
            setattr(found[name], attribute, median(seconds))
    return found


def print_table(found: dict[str, Found], keys: int, rounds: int) -> None:
    """Print the figures in Markdown. In brackets: the ratios to the plain dict and to this library."""
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
    """Print the costs in Markdown. In brackets: the ratios to the plain dict."""
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
