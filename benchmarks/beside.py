"""A tracking job in one process, beside a web app's rare `check` in another: what each costs the other.

`python -m benchmarks.beside [MESSAGES [SECONDS]]`: the job follows so many messages (default 20,000), and a check comes
every so many seconds (default 4, at irregular instants).

Three accounts are at work at the same time, each with an emulator in a process of its own, which answers after 0.1 s:
the job alone, the checks alone, and both. The processes of one account share it by a file. All messages are final, so
the job ends when each of them has been asked once.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from statistics import quantiles
from time import perf_counter
from typing import Any

import anyio

from benchmarks.client import PHONE
from benchmarks.fleet import ROOT, emulator
from smsc_status import MessageRef, StatusClient

API_KEY = "demo-key"
MOST_CHECKS = 10_000


async def follow(url: str, share: str, count: int) -> float:
    """The seconds that the job takes for `count` messages."""
    async with StatusClient(apikey=API_KEY, base_url=url, share=share) as client:
        sys.stdin.readline()
        sent_at = datetime.now(UTC) - timedelta(hours=1)
        began_at = perf_counter()
        refs = (MessageRef(id, PHONE, sent_at) for id in range(1, count + 1))
        found = [outcome async for outcome in client.track(refs)]
        assert len(found) == count
        return perf_counter() - began_at


async def check(url: str, share: str, first: int, every: float) -> list[float]:
    """The seconds that each check takes, until the standard input is closed."""
    took: list[float] = []
    draw = random.Random(1)

    async def check_now_and_then() -> None:
        await client.check(first, PHONE)  # the first one connects
        for id in range(first + 1, first + MOST_CHECKS):
            await anyio.sleep(draw.uniform(0.0, 2 * every))
            began_at = perf_counter()
            await client.check(id, PHONE)
            took.append(perf_counter() - began_at)

    async with StatusClient(apikey=API_KEY, base_url=url, share=share) as client, anyio.create_task_group() as tasks:
        sys.stdin.readline()
        tasks.start_soon(check_now_and_then)
        await anyio.to_thread.run_sync(sys.stdin.read)
        tasks.cancel_scope.cancel()
    return took


@contextmanager
def process(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A process that does one of these, from its first line of input on."""
    with subprocess.Popen(  # noqa: S603 (this very module)
        [sys.executable, "-m", "benchmarks.beside", "work", *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def start(running: subprocess.Popen[str]) -> None:
    """Let the process begin."""
    assert running.stdin is not None
    running.stdin.write("go\n")
    running.stdin.flush()


def result(running: subprocess.Popen[str]) -> Any:
    """What the process has found, when it has ended."""
    return json.loads(running.communicate()[0])


def measure(count: int, every: float) -> tuple[float, float, list[float], list[float]]:
    """The seconds of the job alone and beside checks, and those of the checks alone and beside the job."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        urls = [stack.enter_context(emulator(count + MOST_CHECKS)) for _ in range(3)]
        jobs = [stack.enter_context(process("follow", url, f"{folder}/{url[-5:]}", count)) for url in urls[:2]]
        checks = [
            stack.enter_context(process("check", url, f"{folder}/{url[-5:]}", count + 1, every)) for url in urls[1:]
        ]
        for running in jobs + checks:
            start(running)
        alone, beside = map(result, jobs)
        beside_job, checks_alone = map(result, checks)
    return alone, beside, checks_alone, beside_job


def main(count: int = 20_000, every: float = 4.0) -> None:
    """Print the figures."""
    alone, beside, checks_alone, beside_job = measure(count, every)
    print(f"the job: {alone:.1f} s alone, {beside:.1f} s beside checks ({beside / alone:.3f})")
    for name, took in (("alone", checks_alone), ("beside the job", beside_job)):
        cuts = quantiles(took, n=20, method="inclusive")
        print(f"{len(took)} checks {name}: median {cuts[9] * 1e3:.0f} ms, 95 in a hundred {cuts[18] * 1e3:.0f} ms")


if __name__ == "__main__":
    if sys.argv[1:2] == ["work"]:
        kind, url_, share_, number, *rest = sys.argv[2:]
        work: Any = (
            follow(url_, share_, int(number)) if kind == "follow" else check(url_, share_, int(number), float(*rest))
        )
        print(json.dumps(asyncio.run(work)))
    else:
        main(*map(int, sys.argv[1:2]), *map(float, sys.argv[2:3]))
