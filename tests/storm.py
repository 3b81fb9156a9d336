"""The worst day of a client: many tasks, long delays, cancellations, cut connections, late arrivals; all seeded."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import suppress

import anyio
import attrs
from network import Network

from smsc_status import FailedCheck, LocalLimiter, MessageRef, SmscError, StatusClient, StatusRecord
from smsc_status.codes import Status
from smsc_status.emulator import Emulator, Referee

IDS = 300
PHONES = 10
TASKS = 200
HOT_IDS = 10
FINAL = (Status.DELIVERED, Status.READ, Status.EXPIRED, Status.UNDELIVERABLE, Status.FORBIDDEN)


@attrs.define
class Storm:
    """What went in, what came out, and what the server saw."""

    emulator: Emulator
    network: Network
    statuses: dict[MessageRef, int]
    asked: Counter[MessageRef] = attrs.field(factory=Counter)
    came_out: Counter[MessageRef] = attrs.field(factory=Counter)
    cancelled: Counter[MessageRef] = attrs.field(factory=Counter)
    wrong: list[object] = attrs.field(factory=list)
    hot: list[MessageRef] = attrs.field(factory=list)
    deleted: set[MessageRef] = attrs.field(factory=set)
    records: int = 0

    def take(self, outcome: StatusRecord | FailedCheck, ref: MessageRef) -> None:
        self.came_out[ref] += 1
        if isinstance(outcome, FailedCheck):
            return
        self.records += 1
        expected = {self.statuses[ref]} | ({Status.NOT_FOUND} if ref in self.deleted else set())
        if outcome.ref != ref or outcome.status not in expected:
            self.wrong.append((ref, outcome))


def make_storm(seed: int) -> Storm:
    emulator = Emulator(seed=seed, latency=2.0, referee=Referee(count_invalid=True))
    draw = random.Random(seed)
    statuses = {}
    for id in range(1, IDS + 1):
        for k in range(PHONES):
            status = draw.choice(FINAL)
            ref = emulator.world.add(
                id, f"7999{id:03}{k:04}", sent_at=emulator.now() - 3600, life=[(0.0, status, 0 if status < 3 else 1)]
            )
            statuses[ref] = int(status)
    network = Network(emulator, seed=seed, delay=5.0, stuck=0.05, cut=0.05)
    return Storm(emulator, network, statuses, hot=list(statuses)[: HOT_IDS * PHONES])


async def rage(storm: Storm, seed: int, limiter: LocalLimiter, *, tasks: int = TASKS) -> None:
    """Let all tasks loose; returns when each is done."""
    draw = random.Random(seed + 1)
    refs = list(storm.statuses)
    draw.shuffle(refs)
    share = len(refs) // tasks
    clients = [
        StatusClient(
            apikey="demo-key", base_url="http://localhost", transport=storm.network, limiter=limiter, timeout=8.0
        )
        for _ in range(2)
    ]
    async with clients[0], clients[1], anyio.create_task_group() as group:
        for n in range(tasks):
            part = refs[n * share : (n + 1) * share]
            group.start_soon(_work, storm, clients[n % 2], part, random.Random(f"{seed} {n}"))


async def _work(storm: Storm, client: StatusClient, refs: list[MessageRef], draw: random.Random) -> None:
    await anyio.sleep(draw.random() * 60)
    if draw.random() < 0.4:
        await _stream(storm, client, refs, draw)
        return
    for ref in refs:
        if draw.random() < 0.1:
            await _delete(storm, client, ref, draw)
        await _check(storm, client, ref, draw)
        await _check(storm, client, draw.choice(storm.hot), draw)


def _patience(draw: random.Random) -> float | None:
    return draw.random() * 60 if draw.random() < 1 / 3 else None


async def _check(storm: Storm, client: StatusClient, ref: MessageRef, draw: random.Random) -> None:
    storm.asked[ref] += 1
    with anyio.move_on_after(_patience(draw)) as scope:
        try:
            storm.take(await client.check(ref.id, ref.phone), ref)
        except SmscError as error:
            storm.take(FailedCheck(ref, error), ref)
    if scope.cancelled_caught:
        storm.cancelled[ref] += 1


async def _delete(storm: Storm, client: StatusClient, ref: MessageRef, draw: random.Random) -> None:
    storm.deleted.add(ref)
    with anyio.move_on_after(_patience(draw)):
        with suppress(SmscError):
            await client.delete(ref.id, ref.phone)


async def _stream(storm: Storm, client: StatusClient, refs: list[MessageRef], draw: random.Random) -> None:
    storm.asked.update(refs)
    left = set(refs)
    stream = client.stream(refs)
    with anyio.move_on_after(_patience(draw)) as scope:
        async with stream:
            async for outcome in stream:
                storm.take(outcome, outcome.ref)
                left.remove(outcome.ref)
    if scope.cancelled_caught:
        storm.cancelled.update(left)
