"""Short words for what many tests need."""

from __future__ import annotations

import gc
from collections.abc import Iterable
from types import BuiltinFunctionType, FrameType, FunctionType, MethodType, ModuleType, TracebackType
from typing import Any

import anyio
import httpx
from network import Network

from smsc_status import MessageRef, StatusClient
from smsc_status._runtime.engine import Engine
from smsc_status.emulator import Emulator

PHONE = "79990000000"
LOOPS = "asyncio", "trio"


def loop_by_turns(*numbers: int) -> str:
    """The event loop for the case with these numbers in its dimensions; the next case has the other loop.

    For a test of what does not depend on the loop. One module alone knows the loop (see `tests/test_architecture.py`),
    so it is enough that each value of each dimension meets each loop once, and it costs half as much. One dimension's
    values have the loops by turns.
    """
    return LOOPS[sum(numbers) % len(LOOPS)]


def delivered(emulator: Emulator, ids: Iterable[int | str], phone: str = PHONE) -> list[MessageRef]:
    """Messages of these ids, all delivered an hour ago."""
    sent_at = emulator.now() - 3600
    return [emulator.world.add(id, phone, sent_at=sent_at, life=[(0, 1, 0)]) for id in ids]


def client_of(emulator: Emulator, *, round_trip: float = 0.1, **options: Any) -> StatusClient:
    """A client of an emulator in this process, that far away."""
    options = {"apikey": "demo-key", "base_url": "http://localhost"} | options
    transport = options.pop("transport", None) or Network(emulator, round_trip=round_trip)
    return StatusClient(transport=transport, **options)


def engine_of(client: StatusClient) -> Engine:
    """The client's engine, to be asked what no user of a client needs to know."""
    return client._engine


class Answering(httpx.AsyncBaseTransport):
    """Answers each request with the next of the given replies or errors; the last one for ever."""

    def __init__(self, *answers: bytes | httpx.Response | Exception, after: float = 0.0) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.after = after

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        await anyio.sleep(self.after)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, bytes):
            return httpx.Response(200, content=answer)
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)


def answered_by(*answers: bytes | httpx.Response | Exception, after: float = 0.0, **options: Any) -> StatusClient:
    """A client whose server gives these answers."""
    options = {"apikey": "demo-key", "base_url": "http://localhost"} | options
    return StatusClient(transport=Answering(*answers, after=after), **options)


def held_by(error: BaseException) -> list[str]:
    """Every text that can be reached from an error without its class and the frames of its traceback."""
    things = things_held_by(error)
    texts = [thing for thing in things if isinstance(thing, str)]
    return texts + [bytes(thing).decode(errors="replace") for thing in things if isinstance(thing, bytes)]


def things_held_by(error: BaseException) -> list[object]:
    """Every object that can be reached in that way."""
    shut = (type, ModuleType, FunctionType, BuiltinFunctionType, MethodType, FrameType, TracebackType)
    found: dict[int, object] = {}
    left: list[object] = [error]
    while left:
        thing = left.pop()
        if id(thing) not in found and not isinstance(thing, shut):
            found[id(thing)] = thing
            left += gc.get_referents(thing)
    return list(found.values())
