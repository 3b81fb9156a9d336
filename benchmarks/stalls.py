"""The longest time for which the library holds an asyncio event loop, so that nothing else can run in it.

`python -m benchmarks.stalls [MESSAGES [ROUNDS]]`

A callback asks to be called again in the loop's next turn and measures how long it has to wait. The figure is the
longest wait, as the median of several rounds. Only the CPU time of this process counts (of all its threads), so that
other programs on the machine do not matter. The server is a transport in the same loop, and the time in which it makes
its answers does not count. "By hand" is the same work as plain code would do it, in one go. The collector of cyclic
garbage is off, because the length of its pauses depends on everything that the program holds. A further column shows
the same with the collector on.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from functools import partial
from heapq import heappush
from statistics import median
from time import perf_counter, process_time
from typing import Any
from urllib.parse import parse_qs, urlencode
from xml.etree import ElementTree as ET

import attrs
import httpx

from benchmarks.decode import Sample, sample_of
from smsc_status import Detail, Format, MessageRef, SmscError, StatusClient
from smsc_status._core.wire import codecs

MAX_BULK = 1000
WARMING_UP = 20
LONG_TEXT = 14_000
WRONG_LOGIN = b'{\n"error": "authorise error",\n"error_code": 2\n}'

_FLAG = re.compile(rb'"flag": (\d+)')

Case = Callable[["Heartbeat"], Awaitable[None]]
Answer = Callable[[dict[str, str]], bytes]


@attrs.define
class Stopwatch:
    """Measures the seconds that pass, and the CPU seconds that this process uses."""

    passed: float = attrs.field(factory=perf_counter)
    used: float = attrs.field(factory=process_time)

    def lap(self) -> tuple[float, float]:
        """Both since the last call, or since the start."""
        passed, used = perf_counter(), process_time()
        lap = passed - self.passed, used - self.used
        self.passed, self.used = passed, used
        return lap

    def leave_out(self, passed: float, used: float) -> None:
        """Leave these seconds out of the present lap."""
        self.passed += passed
        self.used += used


class Heartbeat:
    """Beats once in each turn of the running loop while it watches. `longest` is the longest time between two beats."""

    def __init__(self, *, collecting: bool) -> None:
        self.longest = 0.0
        self._collecting = collecting
        self._is_watching = False
        self._watch = Stopwatch()

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Watch while the block runs, from the next turn of the loop on."""
        if self._collecting:
            gc.collect()  # so that all rounds begin in the same way
        else:
            gc.disable()
        self._is_watching = True
        self._watch.lap()
        self._beat()
        await asyncio.sleep(0)
        try:
            yield
        finally:
            await asyncio.sleep(0)  # one more beat, to measure the last turn of the work
            self._is_watching = False
            await asyncio.sleep(0)  # the beat that is scheduled already, so that it does not measure what comes later
            gc.enable()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Do not count the time in which the block runs."""
        watch = Stopwatch()
        try:
            yield
        finally:
            self._watch.leave_out(*watch.lap())

    def _beat(self) -> None:
        self.longest = max(self.longest, min(self._watch.lap()))
        if self._is_watching:
            asyncio.get_running_loop().call_soon(self._beat)


class Server(httpx.AsyncBaseTransport):
    """A transport that holds its answers back until `answering` is set."""

    def __init__(self, heart: Heartbeat, answer: Answer) -> None:
        self.asked, self.answering = asyncio.Event(), asyncio.Event()
        self._heart = heart
        self._answer = answer

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer what the form asks."""
        self.asked.set()
        await self.answering.wait()
        with self._heart.paused():
            form = {name: values[0] for name, values in parse_qs(request.content.decode()).items()}
            return httpx.Response(200, content=self._answer(form))


def client_of(server: Server, **options: object) -> StatusClient:
    """A client of this server."""
    return StatusClient(apikey="demo-key", base_url="http://localhost", transport=server, **options)  # type: ignore[arg-type]  # passed on


def phone_of(id: int) -> str:
    """The phone of the message with this id."""
    return f"79{id:09d}"


def refs_of(count: int) -> list[MessageRef]:
    """`count` messages that were sent just now."""
    now = datetime.now(UTC)
    return [MessageRef(id, phone_of(id), now) for id in range(1, count + 1)]


class Crowd:
    """Tasks that each wait for one awaitable, until all of them have failed."""

    def __init__(self, waits: Iterable[Awaitable[object]]) -> None:
        self._ended = asyncio.Event()
        self._tasks = {asyncio.create_task(self._wait(one)) for one in waits}
        self._left = len(self._tasks)

    async def _wait(self, one: Awaitable[object]) -> None:
        try:
            await one
        except (SmscError, ConnectionError):
            self._left -= 1
            if not self._left:
                self._ended.set()

    async def ended(self) -> None:
        """Wait until every task has failed."""
        await self._ended.wait()


@asynccontextmanager
async def waiting(heart: Heartbeat, count: int) -> AsyncIterator[tuple[Server, StatusClient, Crowd]]:
    """`count` waiting `check`s, with as many requests in flight as the limits allow."""
    server = Server(heart, lambda form: WRONG_LOGIN)
    client = client_of(server)
    crowd = Crowd(client.check(id, phone_of(id)) for id in range(1, count + 1))
    await server.asked.wait()
    await asyncio.sleep(0.05)
    try:
        yield server, client, crowd
    finally:
        await client.aclose()


async def close_a_client(heart: Heartbeat, *, count: int) -> None:
    """`aclose` while `count` `check`s wait."""
    async with waiting(heart, count) as (_, client, crowd), heart.watching():
        await client.aclose()
        await crowd.ended()


async def refuse_the_account(heart: Heartbeat, *, count: int) -> None:
    """Error 2 while `count` `check`s wait."""
    async with waiting(heart, count) as (server, _, crowd), heart.watching():
        server.answering.set()
        await crowd.ended()


async def fail_futures(heart: Heartbeat, *, count: int) -> None:
    """The same as either of these by hand: a future for each message fails."""
    futures = [asyncio.get_running_loop().create_future() for _ in range(count)]
    crowd = Crowd(futures)
    await asyncio.sleep(0.05)
    async with heart.watching():
        for future in futures:
            future.set_exception(ConnectionError())
        await crowd.ended()


class Replies:
    """Answers with the records of a sample.

    `odd`: a number in each record is written as a text, which is not documented.
    """

    def __init__(self, sample: Sample, format: Format, detail: Detail, *, odd: bool = False) -> None:
        self.refs = sample.refs
        self.format, self.detail = format, detail
        self._odd = odd
        self._records = {str(record.id): record for record in sample.records}
        self._made: dict[str, bytes] = {}

    def answer(self, form: dict[str, str]) -> bytes:
        """The body. It is made only once, because making it takes much longer than reading it."""
        if form["id"] not in self._made:
            records = [self._records[id] for id in form["id"].split(",") if id]
            how: Any = {"format": self.format, "detail": self.detail, "bulk": "," in form["id"]}
            body = codecs.encode(records, charset="utf-8", **how)
            self._made[form["id"]] = _FLAG.sub(rb'"flag": "\1"', body) if self._odd else body
        return self._made[form["id"]]


async def stream_the_first(heart: Heartbeat, *, replies: Replies) -> None:
    """The time to the first outcome of a stream of all messages."""
    server = Server(heart, replies.answer)
    server.answering.set()
    async with client_of(server) as client, heart.watching(), client.stream(replies.refs) as outcomes:
        await anext(outcomes)


async def ask_by_hand(heart: Heartbeat, *, replies: Replies) -> None:
    """The same by hand: the form of a bulk request, and its answer."""
    refs = replies.refs[:MAX_BULK]
    body = replies.answer({"id": ",".join(str(ref.id) for ref in refs) + ","})
    async with heart.watching():
        urlencode({"id": ",".join(str(ref.id) for ref in refs), "phone": ",".join(ref.phone for ref in refs)})
        rows = {row["id"]: row for row in json.loads(body)}
        assert len(rows) == len(refs)


async def take_in(heart: Heartbeat, *, count: int) -> None:
    """`track`, until it follows `count` messages. No answer comes meanwhile."""
    refs = refs_of(count)
    async with client_of(Server(heart, lambda form: WRONG_LOGIN)) as client:
        outcomes = client.track(refs, look_ahead=None)
        first = asyncio.create_task(anext(outcomes))
        async with heart.watching():
            has_all = False
            while not has_all:
                await asyncio.sleep(0)
                with heart.paused():
                    has_all = client.stats().tracked == count
        await outcomes.aclose()
        await asyncio.gather(first, return_exceptions=True)


async def queue_by_hand(heart: Heartbeat, *, count: int) -> None:
    """The same by hand: a heap of the messages by the instant of their next check."""
    refs = refs_of(count)
    async with heart.watching():
        queue: list[tuple[float, int, MessageRef]] = []
        for number, ref in enumerate(refs):
            heappush(queue, (0.0, number, ref))


async def read_a_reply(heart: Heartbeat, *, replies: Replies) -> None:
    """From the answer to one bulk request to its outcomes."""
    server = Server(heart, replies.answer)
    async with client_of(server, format=replies.format, detail=replies.detail) as client:

        async def take_all() -> None:
            left = len(replies.refs)
            async for outcome in client.stream(replies.refs):
                assert getattr(outcome, "status", None) is not None, outcome
                left -= 1
            assert not left

        taking = asyncio.create_task(take_all())
        await server.asked.wait()
        await asyncio.sleep(0.05)
        async with heart.watching():
            server.answering.set()
            await taking


async def read_by_hand(heart: Heartbeat, *, replies: Replies) -> None:
    """The same by hand: the same bytes are only parsed or split."""
    body = replies.answer({"id": ",".join(str(ref.id) for ref in replies.refs) + ","})
    async with heart.watching():
        match replies.format:
            case Format.JSON:
                json.loads(body)
            case Format.XML:
                ET.fromstring(body)  # noqa: S314 - our own bytes
            case Format.CSV:
                [line.split(",") for line in body.decode().split("\n")]
            case Format.PLAIN:
                [line.split(", ") for line in body.decode().split("\n")]


def seconds_held(case: Case, rounds: int, *, collecting: bool = False) -> float:
    """The median of the longest times for which the loop was held."""
    longest = []
    for _ in range(rounds):
        heart = Heartbeat(collecting=collecting)
        asyncio.run(case(heart))  # type: ignore[arg-type]  # a coroutine
        longest.append(heart.longest)
    return median(longest)


def with_long_texts(sample: Sample) -> Sample:
    """The same messages, with texts as long as the longest e-mails of a newsletter."""
    text = ("Слово, word; " * LONG_TEXT)[:LONG_TEXT]
    return Sample(sample.refs, [attrs.evolve(record, message=text) for record in sample.records])


def cases_of(count: int) -> Iterator[tuple[str, Case, Case]]:
    """The cases to measure: the name, the library's way, and the way by hand."""
    for waiting in (count // 10, count):
        by_hand = partial(fail_futures, count=waiting)
        yield f"`aclose`, {waiting:,} `check`s waiting", partial(close_a_client, count=waiting), by_hand
        yield f"error 2, {waiting:,} `check`s waiting", partial(refuse_the_account, count=waiting), by_hand
    sample = sample_of(count)
    replies = Replies(sample, Format.JSON, Detail.BASIC)
    first, by_hand = partial(stream_the_first, replies=replies), partial(ask_by_hand, replies=replies)
    yield f"`stream` of {count:,}, to the first outcome", first, by_hand
    yield f"`track`, taking in {count:,}", partial(take_in, count=count), partial(queue_by_hand, count=count)
    few = sample_of(min(count, MAX_BULK))
    long = with_long_texts(few)
    bodies = {format.name: Replies(few, format, Detail.BASIC) for format in Format}
    bodies["JSON, an undocumented value each"] = Replies(few, Format.JSON, Detail.BASIC, odd=True)
    texts = f"texts of {LONG_TEXT:,}"
    bodies |= {f"{format.name}, {texts}": Replies(long, format, Detail.FULL) for format in Format}
    bodies[f"JSON, {texts}, an undocumented value each"] = Replies(long, Format.JSON, Detail.FULL, odd=True)
    for what, replies in bodies.items():
        ours, by_hand = partial(read_a_reply, replies=replies), partial(read_by_hand, replies=replies)
        yield f"a reply of {len(few.refs):,}: {what}", ours, by_hand


def main(count: int = 100_000, rounds: int = 5) -> None:
    """Print the table."""
    logging.getLogger("smsc_status").addHandler(logging.NullHandler())
    for _, ours, by_hand in cases_of(WARMING_UP):  # so that everything that is loaded at its first use is loaded
        seconds_held(ours, 1)
        seconds_held(by_hand, 1)
    print("| the longest time for which the loop is held, ms | smsc_status | by hand | smsc_status, collector on |")
    print("|---|---:|---:|---:|")
    for name, ours, by_hand in cases_of(count):
        took = [seconds_held(ours, rounds), seconds_held(by_hand, rounds), seconds_held(ours, rounds, collecting=True)]
        print(f"| {name} |" + "".join(f" {seconds * 1e3:,.1f} |" for seconds in took), flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
