"""What clients are asked when metrics are read: in any thread, and never after they are closed."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest
from helpers import PHONE, answered_by, client_of, delivered
from network import Network
from watching import Watch

from smsc_status import LocalLimiter, StatusClient, _loops
from smsc_status.emulator import Emulator
from smsc_status.limiter import Slots
from smsc_status.telemetry import _guard, _sampling
from smsc_status.telemetry._telemetry import _reset_after_fork

pytestmark = pytest.mark.anyio

SERVER = ("server.address", "localhost"), ("server.port", 80)
GAUGES = "smsc.messages.waiting", "smsc.messages.tracked", "smsc.messages.overdue", "smsc.messages.stalest_answer"
REAL = pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])


@pytest.fixture
def watch() -> Watch:
    return Watch()


class Client:
    """Something that can be in a set of weak references."""


def test_a_client_that_opens_while_clients_are_listed_does_not_disturb_the_list(watch: Watch) -> None:
    """It waits until the reader has its list."""
    instruments, late = watch.instruments, Client()
    opening = threading.Thread(target=instruments.enter, args=(late,))

    class Listed(weakref.WeakSet[Any]):
        def __iter__(self) -> Iterator[Any]:
            for client in super().__iter__():
                opening.start()
                opening.join(0.1)
                yield client

    first: Any = Client()
    instruments._clients = Listed([first])
    assert instruments.clients == [first]
    opening.join()
    assert len(instruments._clients) == 2  # to list them would open one more


async def test_the_clients_of_a_server_are_added_up(watch: Watch) -> None:
    """And of the oldest answers the oldest counts."""

    async def waits(client: StatusClient) -> None:
        with anyio.move_on_after(5):
            await client.check(7, PHONE)

    emulators = Emulator(), Emulator()
    for emulator in emulators:
        delivered(emulator, [7])
    async with (
        client_of(emulators[0], telemetry=watch.telemetry) as one,
        client_of(emulators[1], telemetry=watch.telemetry) as other,
        anyio.create_task_group() as tasks,
    ):
        for client in (one, other):
            for _ in range(5):
                await client.check(7, PHONE)
            tasks.start_soon(waits, client)
        await anyio.sleep(1)
        assert one.stats().waiting == 1
        assert watch.series("smsc.messages.waiting") == {SERVER: 2}


async def test_what_is_tracked_is_measured_as_stats_say(watch: Watch) -> None:
    """While the server is out of reach, messages are overdue and their answers grow old."""

    async def follow() -> None:
        async for _ in client.track([(id, PHONE) for id in range(1, 51)]):
            pass

    async with (
        answered_by(httpx.ConnectError("no"), telemetry=watch.telemetry) as client,
        answered_by(b"", telemetry=watch.telemetry),
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(follow)
        await anyio.sleep(600)
        stats = client.stats()
        assert stats.overdue > 0
        assert stats.stalest > 500
        found = {name: watch.series(name) for name in GAUGES}
        tasks.cancel_scope.cancel()
    assert found["smsc.messages.tracked"] == {SERVER: stats.tracked}
    assert stats.tracked == 50
    assert found["smsc.messages.overdue"] == {SERVER: stats.overdue}
    assert found["smsc.messages.stalest_answer"] == {SERVER: stats.stalest}


# Other threads.


@REAL
async def test_a_reader_in_another_thread_gets_what_is_true_now(
    anyio_backend: str, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client is asked in its own event loop, once for all metrics of a read."""
    async with answered_by(b"", after=30, telemetry=watch.telemetry) as client, anyio.create_task_group() as tasks:
        asked: list[int] = []
        stats = client.stats

        def counted() -> Any:
            asked.append(threading.get_ident())
            return stats()

        (sampled,) = watch.instruments.clients
        monkeypatch.setattr(sampled, "_stats", lambda: counted)
        for id in range(1, 8):
            tasks.start_soon(client.check, id, PHONE)
        for id in range(8, 10):
            with anyio.move_on_after(0.01):
                await client.check(id, PHONE)
        found = await anyio.to_thread.run_sync(lambda: {name: watch.series(name) for name in GAUGES})
        assert found["smsc.messages.waiting"] == {SERVER: client.stats().waiting}
        assert asked == [threading.get_ident()]
        tasks.cancel_scope.cancel()


@REAL
async def test_a_blocked_loop_holds_a_reader_up_once_and_briefly(
    anyio_backend: str, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many clients it has. The reader then gets the last sample; the first time there is none, and other
    metrics come all the same.
    """
    monkeypatch.setattr(_sampling, "ANSWER_TIMEOUT", 0.05)
    async with AsyncExitStack() as clients:
        for _ in range(5):
            await clients.enter_async_context(answered_by(b"", telemetry=watch.telemetry))
        found: list[tuple[object, float]] = []

        def read() -> None:
            began_at = time.monotonic()
            metrics = watch.metrics()
            found.append((metrics.get("smsc.messages.waiting"), time.monotonic() - began_at))

        reader = threading.Thread(target=read)
        reader.start()
        reader.join()  # in the event loop, as a program does that shuts its provider down
        assert found[0][0] is None
        assert 0.05 <= found[0][1] < 0.19  # four metrics need the client's word
        await anyio.sleep(0.01)
        reader = threading.Thread(target=read)
        reader.start()
        reader.join()
        assert found[1][0] is not None  # the loop has said it late


async def test_a_client_whose_loop_has_ended_is_not_asked(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor one whose loop stands still: then the last sample counts."""
    async with answered_by(b"", telemetry=watch.telemetry):
        assert watch.series("smsc.messages.waiting") == {SERVER: 0}
        (sampled,) = watch.instruments.clients
        monkeypatch.setattr(sampled, "_ask", lambda: pytest.fail("it was asked"))
        monkeypatch.setattr(_sampling, "_is_here", lambda _: False)
        monkeypatch.setattr(_loops, "is_running", lambda _: False)
        assert watch.series("smsc.messages.waiting") == {SERVER: 0}
        monkeypatch.setattr(_loops, "has_ended", lambda _: True)
        assert watch.series("smsc.messages.waiting") == {}
        monkeypatch.undo()


async def test_a_request_whose_loop_has_ended_is_not_active(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that is closed without cancelling its tasks tells nobody of it."""
    emulator = Emulator()
    (ref,) = delivered(emulator, [1])
    slow = Network(emulator, round_trip=9)
    client = client_of(emulator, telemetry=watch.telemetry, transport=slow)
    async with client, anyio.create_task_group() as tasks:
        tasks.start_soon(client.check, ref.id, ref.phone)
        await anyio.sleep(1)
        assert list(watch.series("http.client.active_requests").values()) == [1]
        monkeypatch.setattr(_loops, "has_ended", lambda _: True)
        assert list(watch.series("http.client.active_requests").values()) == [0]
        monkeypatch.undo()


class Odd(LocalLimiter):
    """A limiter of the user's own: it can't say how it is, and counts in its own way."""

    tally = 7

    def slots(self) -> Slots:
        raise OSError("no answer")


@REAL
async def test_a_limiter_that_cannot_say_how_it_is_ends_nothing(
    anyio_backend: str, watch: Watch, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An error in the event loop, for a reader in another thread, would end trio's run."""
    monkeypatch.setattr(_guard, "_warned_of", set())
    async with answered_by(b'{"status": 1}', limiter=Odd(), telemetry=watch.telemetry) as client:
        await client.check(1, PHONE)
        found = await anyio.to_thread.run_sync(watch.metrics)
        assert "smsc.messages.waiting" not in found
        assert found["smsc.limiter.appends"].data.data_points[0].value == 0  # type: ignore[union-attr] # a sum's
        assert (await client.check(2, PHONE)).is_delivered
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "telemetry failed, and what it would have told is lost: OSError"
    ]


def test_where_no_loop_runs_no_client_is_here() -> None:
    # This question alone: telemetry asks it only of the threads of its readers.
    assert not _sampling._is_here(object())


# The end.


async def test_a_closed_client_is_asked_no_more_and_is_gone(watch: Watch) -> None:
    """What it has counted remains; nothing of telemetry's holds it."""

    async def used() -> weakref.ref[StatusClient]:
        client = answered_by(b'{"status": 1}', telemetry=watch.telemetry)
        async with client:
            await client.check(1, PHONE)
            assert all(watch.series(name) for name in GAUGES)
        return weakref.ref(client)

    gone = await used()
    assert not any(watch.series(name) for name in GAUGES)
    assert watch.series("http.client.active_requests") == {}
    assert list(watch.series("smsc.requests").values()) == [1]
    gc.collect()
    assert gone() is None


async def test_a_client_that_nobody_closes_is_not_kept(watch: Watch) -> None:
    """It goes as soon as nobody has it."""
    client = answered_by(b"", telemetry=watch.telemetry)
    # By hand, because a client would keep its observer itself.
    observer = watch.telemetry._observe(weakref.WeakMethod(client.stats), ("localhost", 80), None)
    assert watch.series("smsc.messages.waiting") == {SERVER: 0}
    gone = weakref.ref(client)
    del client
    gc.collect()
    assert gone() is None
    assert watch.series("smsc.messages.waiting") == {}
    del observer
    gc.collect()
    assert not watch.instruments.clients


async def test_a_forked_process_counts_from_zero(watch: Watch) -> None:
    """The clients, the requests in flight and the counts are its parent's."""
    async with answered_by(b'{"status": 1}', telemetry=watch.telemetry) as client:
        await client.check(1, PHONE)
        _reset_after_fork()  # as the child does
        assert watch.series("smsc.requests") == {}
        assert watch.series("smsc.request.wait") == {}
        assert not any(watch.series(name) for name in GAUGES)
