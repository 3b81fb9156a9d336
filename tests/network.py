"""What lies between a client and the emulator in tests: delays, cuts, and requests that arrive after all."""

from __future__ import annotations

import random
from collections import Counter

import anyio
import attrs
import httpx

from smsc_status import _loops
from smsc_status.emulator import Emulator


@attrs.define(eq=False)
class _Trip:
    """One request on its way; `answer` is set when its reply is back at the client."""

    request: httpx.Request
    answered: anyio.Event
    answer: httpx.Response | None = None
    has_arrived: bool = False
    is_given_up: bool = False


class Network(httpx.AsyncBaseTransport):
    """Carries requests to an emulator and replies back.

    Args:
        emulator: where they go.
        seed: of everything that is drawn.
        delay: the longest delay each way, in seconds; drawn evenly from 0.
        round_trip: a fixed time from request to reply instead, half of it each way.
        stuck: the share of requests that do not arrive while the client waits.
        cut: the share of connections that are cut within 10 s.
        late: the share of those given up before they arrived that arrive all the same, up to `late_by` seconds later.
    """

    def __init__(
        self,
        emulator: Emulator,
        *,
        seed: int = 0,
        delay: float = 0.0,
        round_trip: float | None = None,
        stuck: float = 0.0,
        cut: float = 0.0,
        late: float = 0.5,
        late_by: float = 5.0,
    ) -> None:
        self._server = httpx.ASGITransport(app=emulator)
        self._random = random.Random(seed)
        self._delay = delay
        self._round_trip = round_trip
        self._stuck = stuck
        self._cut = cut
        self._late = late
        self._late_by = late_by
        self.bodies: list[bytes] = []
        self.happened: Counter[str] = Counter()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        draw = self._random.random
        self.bodies.append(await request.aread())
        trip = _Trip(request, anyio.Event())
        if draw() >= self._stuck:
            _loops.spawn(lambda: self._travel(trip, self._one_way()))
        else:
            self.happened["stuck"] += 1
        patience = draw() * 10 if draw() < self._cut else None
        try:
            with anyio.move_on_after(patience):
                await trip.answered.wait()
        finally:
            trip.is_given_up = trip.answer is None
            if trip.is_given_up and not trip.has_arrived and draw() < self._late:
                self.happened["late"] += 1
                delay = draw() * self._late_by
                _loops.spawn(lambda: self._travel(trip, delay, late=True))
        if trip.answer is None:
            self.happened["cut"] += 1
            raise httpx.ReadError("cut")
        return trip.answer

    def _one_way(self) -> float:
        return self._random.random() * self._delay if self._round_trip is None else self._round_trip / 2

    async def _travel(self, trip: _Trip, delay: float, *, late: bool = False) -> None:
        await anyio.sleep(delay)
        if trip.has_arrived or (trip.is_given_up and not late):
            return
        trip.has_arrived = True
        self.happened["arrived"] += 1
        request = trip.request
        copy = httpx.Request(request.method, request.url, headers=request.headers, content=request.content)
        response = await self._server.handle_async_request(copy)
        await response.aread()
        await anyio.sleep(self._one_way())
        if not trip.is_given_up:
            trip.answer = httpx.Response(response.status_code, headers=response.headers, content=response.content)
            trip.answered.set()
