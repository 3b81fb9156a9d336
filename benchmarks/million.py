"""A million messages that wait: the memory that each takes, and the time of polling one.

`python -m benchmarks.million [MESSAGES]`

The bytes are counted by `tracemalloc`, once after all messages were added and once after all were polled. The caller's
`MessageRef`s do not count. The time of a poll is that of the plan alone: taking a message for a bulk request, taking in
its record, and putting it back. It is the median over the bulk requests that ask about every message once. These span
seventeen hours, so some messages come near their archive deadline, and their last calls begin.
"""

from __future__ import annotations

import gc
import random
import sys
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from statistics import median
from time import perf_counter

from benchmarks.lanes import take_bulk
from smsc_status import MessageRef, StatusRecord
from smsc_status._core.tracking.polling import PollScheduler
from smsc_status._core.tracking.tracked import Policy

START = datetime(2026, 3, 10, 6, 0, tzinfo=UTC).timestamp()
MAX_BULK = 1000
CYCLE = 61.0


def refs_of(count: int, *, a_second: float = 46.0) -> list[MessageRef]:
    """Messages that were sent up to now, `a_second` in each second: a million over the last six hours."""
    draw = random.Random(1)
    return [
        MessageRef(
            number, f"79{number % 10**9:09d}", datetime.fromtimestamp(START - draw.uniform(0, count / a_second), UTC)
        )
        for number in range(1, count + 1)
    ]


def new_plan() -> PollScheduler:
    """An empty plan with the vendor's limits."""
    plan = PollScheduler(Policy(), max_bulk=MAX_BULK, cycle=CYCLE, slots=4, checks=5)
    plan.dates.offset = START
    return plan


def ask_all(plan: PollScheduler, count: int) -> tuple[list[float], list[float]]:
    """Poll `count` messages in bulk. Returns the seconds of each bulk request, before the last calls and among them."""
    before: list[float] = []
    called: list[float] = []
    now = 0.0
    for _ in range(-(-count // MAX_BULK)):
        now += CYCLE
        records = [StatusRecord(status=0, last_timestamp=int(START)) for _ in range(MAX_BULK)]
        began_at = perf_counter()
        taken = take_bulk(plan, MAX_BULK, now=now)
        for item, record in zip(taken, records, strict=False):
            plan.polled(item, record, done=False, now=now + 0.2)
            plan.ending(item)
            plan.put_back(item, now=now + 0.2)
        took = perf_counter() - began_at
        (called if plan.last_calls else before).append(took)
    return before, called


def add_all(plan: PollScheduler, refs: list[MessageRef]) -> None:
    """Add all messages to the plan."""
    for ref in refs:
        plan.add(ref, now=0.0)


def bytes_of(work: Callable[[], object]) -> int:
    """The bytes by which the work makes the memory grow."""
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    work()
    gc.collect()
    return tracemalloc.get_traced_memory()[0] - before


def bytes_a_message(refs: list[MessageRef]) -> tuple[float, float]:
    """The bytes for each message after all were added, and after all were polled."""
    tracemalloc.start()
    try:
        add_all(new_plan(), refs[:10_000])  # fills the caches of a fixed size, which are not part of any message
        plan = new_plan()
        added = bytes_of(lambda: add_all(plan, refs))
        asked = bytes_of(lambda: ask_all(plan, len(refs)))
    finally:
        tracemalloc.stop()
    return added / len(refs), (added + asked) / len(refs)


def main(messages: int = 1_000_000) -> None:
    """Print the figures."""
    refs = refs_of(messages)
    plan = new_plan()
    began_at = perf_counter()
    add_all(plan, refs)
    took = (perf_counter() - began_at) / messages
    before, called = ask_all(plan, messages)
    began_at = perf_counter()
    plan.due(now=1e6)
    plan.stalest(now=1e6)
    glance = perf_counter() - began_at
    print(f"{messages:,} messages that wait, max_bulk={MAX_BULK}")
    print(f"  to add one                  {took * 1e6:7.2f} µs")
    print(f"  to poll one, by the scheduler {median(before) / MAX_BULK * 1e6:7.2f} µs")
    if called:
        print(f"  the same at its last call   {median(called) / MAX_BULK * 1e6:7.2f} µs")
    print(f"  the slowest bulk request    {max(before + called) * 1e3:7.1f} ms")
    print(f"  stats() of all              {glance * 1e3:7.0f} ms")
    del plan
    added, polled_too = bytes_a_message(refs)
    print(f"  bytes a message, added      {added:7.0f}")
    print(f"  bytes a message, polled     {polled_too:7.0f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
