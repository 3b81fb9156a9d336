"""What telemetry costs a lone `check`.

`python -m benchmarks.telemetry [CALLS [ROUNDS]]`

The server is the emulator, in the same process and without sockets. So the check is as fast as it can be, and the
shares are the largest that there can be. The clients have their turns one after the other. The figures are medians of
the turns, and medians of the ratios to the turn without telemetry in the same round. Spans go to a
`BatchSpanProcessor`, whose thread's CPU time counts, and metrics to one reader. Both keep what they get in memory.

- off: `telemetry=False`.
- no provider: OpenTelemetry's API is loaded, but the program has set no provider.
- two spans by hand: without the library's telemetry, each check is put into a span, and another one with the same
  attributes is made for its request and linked to it. This is what the SDK alone takes.
- metrics, traces, both: with the SDK. "One in ten" is a sampler's share of the traces.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from operator import truediv
from statistics import median
from time import perf_counter, process_time
from typing import NamedTuple

import httpx
from opentelemetry.context import Context
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from opentelemetry.trace import Link, SpanKind, Tracer

from benchmarks.client import PHONE
from smsc_status import StatusClient
from smsc_status.emulator import Emulator
from smsc_status.telemetry import Telemetry

OFF, BY_HAND = "off", "two spans by hand"

AT_START: dict[str, str | int | float] = {
    "http.request.method": "POST",
    "server.address": "localhost",
    "server.port": 80,
    "url.full": "http://localhost/sys/status.php",
    "smsc.request.kind": "single",
    "smsc.request.messages": 1,
    "smsc.request.wait": 0.1,
}


class Cost(NamedTuple):
    """The seconds that a check takes, and how many times as many as without telemetry."""

    wall: float
    wall_ratio: float
    cpu: float
    cpu_ratio: float


async def measure(*, calls: int, rounds: int) -> dict[str, Cost]:
    """What a check costs, in each way."""
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracers, few, meters = TracerProvider(), TracerProvider(ParentBasedTraceIdRatio(0.1)), MeterProvider([reader])
    for provider in (tracers, few):
        provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = tracers.get_tracer("by hand")
    ways: dict[str, Telemetry | bool | None] = {
        OFF: False,
        "no provider": None,
        "metrics": Telemetry(meter_provider=meters),
        BY_HAND: False,
        "traces": Telemetry(tracer_provider=tracers),
        "traces, one in ten": Telemetry(tracer_provider=few),
        "both": Telemetry(tracer_provider=tracers, meter_provider=meters),
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    async with AsyncExitStack() as stack:
        turns = {}
        for name, telemetry in ways.items():
            client = await stack.enter_async_context(_client(telemetry, messages=calls * (rounds + 1)))
            turns[name] = _turn(client, calls, tracer if name == BY_HAND else None)
        gc.collect()
        gc.freeze()
        for number in range(rounds + 1):  # the first round warms up
            names = list(turns)
            first = number % len(names)  # each has every place in the order as often
            for name in names[first:] + names[:first]:
                cpu, began_at = process_time(), perf_counter()
                await turns[name]()
                if number:
                    times[name].append(((perf_counter() - began_at) / calls, (process_time() - cpu) / calls))
            exporter.clear()
    gc.unfreeze()
    assert reader.get_metrics_data() is not None
    tracers.shutdown()
    meters.shutdown()
    return {name: _cost(took, times[OFF]) for name, took in times.items()}


def _cost(took: list[tuple[float, float]], off: list[tuple[float, float]]) -> Cost:
    """The medians of the times, and of their ratios to the turn without telemetry in the same round."""
    (wall, cpu), (wall_off, cpu_off) = zip(*took, strict=True), zip(*off, strict=True)
    return Cost(median(wall), median(map(truediv, wall, wall_off)), median(cpu), median(map(truediv, cpu, cpu_off)))


def _client(telemetry: Telemetry | bool | None, *, messages: int) -> StatusClient:
    emulator = Emulator()
    sent_at = emulator.now() - 3600
    for id in range(1, messages + 1):
        emulator.world.add(id, PHONE, sent_at=sent_at, life=[(0, 1, 0)])
    transport = httpx.ASGITransport(app=emulator)
    return StatusClient(apikey="demo-key", base_url="http://localhost", transport=transport, telemetry=telemetry)


def _turn(client: StatusClient, calls: int, tracer: Tracer | None) -> Callable[[], Awaitable[None]]:
    ids = itertools.count(1)

    async def turn() -> None:
        for _ in range(calls):
            await client.check(next(ids), PHONE)

    if tracer is None:
        return turn

    async def turn_in_spans() -> None:
        for _ in range(calls):
            check = tracer.start_span("smsc.check")
            links = [Link(check.get_span_context())]
            request = tracer.start_span("POST", Context(), SpanKind.CLIENT, AT_START, links)
            await client.check(next(ids), PHONE)
            request.set_attributes({"http.response.status_code": 200, "smsc.request.outcome": "answered"})
            request.end()
            check.set_attributes({"smsc.status": "Delivered", "smsc.channel": "sms"})
            check.end()

    return turn_in_spans


def main(calls: int = 40, rounds: int = 60) -> None:
    """Print the table."""
    print(f"{'':18} {'µs':>6} {'x off':>6} {'CPU µs':>7} {'x off':>6}")
    for name, cost in asyncio.run(measure(calls=calls, rounds=rounds)).items():
        wall, cpu = cost.wall * 1e6, cost.cpu * 1e6
        print(f"{name:18} {wall:6,.0f} {cost.wall_ratio:6.2f} {cpu:7,.0f} {cost.cpu_ratio:6.2f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
