"""A process, or an event loop, that stops between a permit and its request does not send the request when it goes on.

Real sockets, in real time: the emulator notes when the headers and the whole of each request arrive.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import attrs
import httpx
import pytest
from anyio.lowlevel import checkpoint
from helpers import PHONE, answered_by, delivered, engine_of
from stopped_client import LIMITS, TIMEOUT

from smsc_status import LocalLimiter, RequestTimeout, StatusClient, TransportError, _loops
from smsc_status._runtime.http import _RequestProgress
from smsc_status.emulator import Emulator, EmulatorServer
from smsc_status.limiter import Permit

PROGRAM = Path(__file__).with_name("stopped_client.py")
LONGER, SHORTER = TIMEOUT + 0.4, TIMEOUT / 3
A_MOMENT = 0.1
"""How long a request that was sent in time may take to arrive, in seconds."""

needs_signals = pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no process can be stopped here")


class Noting(Emulator):
    """Notes when requests arrive, by the clock that permits go by."""

    def __init__(self) -> None:
        super().__init__()
        self.headers_at: list[float] = []
        self.whole_at: list[float] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def noted() -> Any:
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body"):
                self.whole_at.append(_loops.boot_now())
            return message

        if scope["type"] == "http":
            self.headers_at.append(_loops.boot_now())
        await super().__call__(scope, noted, send)

    def late(self, granted: list[float]) -> tuple[int, int]:
        """How many requests arrived outside the time of every permit: their headers, and the whole of them."""
        late = [
            [at for at in seen if not any(begun <= at <= begun + TIMEOUT + A_MOMENT for begun in granted)]
            for seen in (self.headers_at, self.whole_at)
        ]
        return len(late[0]), len(late[1])


@pytest.fixture
def server() -> Iterator[EmulatorServer]:
    emulator = Noting()
    delivered(emulator, [1])
    with EmulatorServer(emulator) as running:
        yield running


@attrs.frozen
class Seen:
    """What has come of a process that was stopped and went on."""

    end: str
    permits: int
    headers: int
    whole: int
    late: tuple[int, int]


def stopped(server: EmulatorServer, backend: str, place: str, *, seconds: float, checked: str = "on") -> Seen:
    """Run the program, which stops itself, and let it go on after so many seconds."""
    command = [sys.executable, str(PROGRAM), server.url, backend, place, checked]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            _, status = os.waitpid(process.pid, os.WUNTRACED)
            assert os.WIFSTOPPED(status)
            time.sleep(seconds)
            os.kill(process.pid, signal.SIGCONT)
            output, _ = process.communicate(timeout=30)
        finally:
            process.kill()
    said = json.loads(output)
    emulator = server.emulator
    assert isinstance(emulator, Noting)
    return Seen(
        end=said["end"],
        permits=len(said["granted"]),
        headers=len(emulator.headers_at),
        whole=len(emulator.whole_at),
        late=emulator.late(said["granted"]),
    )


both = pytest.mark.parametrize("backend", ["asyncio", "trio"])


@pytest.mark.slow
@needs_signals
@both
def test_a_process_that_was_stopped_before_the_headers_sends_nothing_until_a_new_permit(
    backend: str, server: EmulatorServer
) -> None:
    """Then it sends the message again."""
    seen = stopped(server, backend, "headers", seconds=LONGER)
    assert seen == Seen(end="delivered", permits=2, headers=1, whole=1, late=(0, 0))


@pytest.mark.slow
@needs_signals
@both
def test_a_process_that_was_stopped_before_the_body_sends_no_whole_request_until_a_new_permit(
    backend: str, server: EmulatorServer
) -> None:
    """The headers had left in time."""
    seen = stopped(server, backend, "body", seconds=LONGER)
    assert seen == Seen(end="delivered", permits=2, headers=2, whole=1, late=(0, 0))


@pytest.mark.slow
@needs_signals
@both
@pytest.mark.parametrize("place", ["headers", "body"])
def test_a_process_that_was_stopped_for_less_than_the_time_sends_its_request(
    place: str, backend: str, server: EmulatorServer
) -> None:
    seen = stopped(server, backend, place, seconds=SHORTER)
    assert seen == Seen(end="delivered", permits=1, headers=1, whole=1, late=(0, 0))


@pytest.mark.slow
@needs_signals
@both
@pytest.mark.parametrize(("place", "part"), [("headers", 0), ("body", 1)])
def test_without_the_check_at_that_place_it_would_arrive_late(
    place: str, part: int, backend: str, server: EmulatorServer
) -> None:
    """So the tests above would notice if a check were missing."""
    assert stopped(server, backend, place, seconds=LONGER, checked="off").late[part] == 1


class Blocked(LocalLimiter):
    """The first of its permits is followed by a callback that blocks the event loop."""

    def __init__(self, seconds: float) -> None:
        super().__init__(LIMITS)
        self.granted: list[float] = []
        self._seconds = seconds

    async def acquire(self, select: Any) -> Permit[Any]:
        permit = await super().acquire(select)
        if not self.granted:
            _loops.call_soon(lambda: time.sleep(self._seconds))
            await checkpoint()
            await checkpoint()
        self.granted.append(permit.granted_at)
        return permit


@pytest.mark.slow
@both
@pytest.mark.parametrize("is_own", [False, True], ids=["sockets", "a transport of the user's own"])
@pytest.mark.parametrize("seconds", [LONGER, SHORTER])
def test_a_loop_that_was_blocked_after_a_permit_sends_nothing_if_the_time_is_over(
    seconds: float, is_own: bool, backend: str, server: EmulatorServer
) -> None:
    """Then it waits for a new permit. A transport that tells no events is not called."""
    emulator = server.emulator
    assert isinstance(emulator, Noting)
    limiter = Blocked(seconds)
    transport = httpx.ASGITransport(app=emulator) if is_own else None

    async def main() -> None:
        async with StatusClient(
            apikey="demo-key", base_url=server.url, transport=transport, limiter=limiter, timeout=TIMEOUT, retries=1
        ) as client:
            assert (await client.check(1, PHONE)).is_delivered
            assert client.stats().retries == (seconds == LONGER)

    anyio.run(main, backend=backend)
    assert len(limiter.granted) == 1 + (seconds == LONGER)
    assert len(emulator.headers_at) == len(emulator.whole_at) == 1
    assert emulator.late(limiter.granted) == (0, 0)
    assert server.total_connections == (not is_own)


@pytest.mark.slow
@both
def test_without_the_check_before_a_transport_of_the_user_s_own_it_would_arrive_late(
    backend: str, server: EmulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator = server.emulator
    assert isinstance(emulator, Noting)
    limiter = Blocked(LONGER)
    monkeypatch.setattr(_RequestProgress, "raise_if_late", lambda progress: None)

    async def main() -> None:
        transport = httpx.ASGITransport(app=emulator)
        async with StatusClient(
            apikey="demo-key", base_url=server.url, transport=transport, limiter=limiter, timeout=TIMEOUT
        ) as client:
            assert (await client.check(1, PHONE)).is_delivered

    anyio.run(main, backend=backend)
    assert emulator.late(limiter.granted) == (1, 1)


class Early(LocalLimiter):
    """The time of its first permits began long before they were made."""

    def __init__(self, times: int, seconds: float) -> None:
        super().__init__()
        self.times = times
        self._seconds = seconds

    async def acquire(self, select: Any) -> Permit[Any]:
        permit = await super().acquire(select)
        self.times -= 1
        if self.times >= 0:
            permit.granted_at -= self._seconds
        return permit


@pytest.mark.anyio
async def test_a_limiter_may_give_an_instant_from_which_the_time_counts() -> None:
    """One that writes a log reads the clock before it writes."""
    emulator = Emulator()
    delivered(emulator, [1])
    for seconds, tries in [(15.0, 0), (30.0, 3)]:
        transport = httpx.ASGITransport(app=emulator)
        limiter = Early(3, seconds)
        async with StatusClient(
            apikey="demo-key", base_url="http://localhost", transport=transport, limiter=limiter
        ) as client:
            assert (await client.check(1, PHONE)).is_delivered
            assert client.stats().retries == tries
            assert engine_of(client).limiter.slots().open_requests == 0


@pytest.mark.anyio
async def test_a_request_that_began_late_is_given_up_with_its_time() -> None:
    """Others count it as over by then."""
    client = answered_by(b"", after=100.0, limiter=Early(1, 25.0), retries=0)
    async with client:
        began_at = anyio.current_time()
        with pytest.raises(RequestTimeout):
            await client.check(1, PHONE)
        assert anyio.current_time() - began_at < 6


@pytest.mark.anyio
async def test_a_request_that_is_always_late_fails_after_its_tries() -> None:
    transport = httpx.ASGITransport(app=Emulator())
    async with StatusClient(
        apikey="demo-key", base_url="http://localhost", transport=transport, limiter=Early(9, 30.0), retries=2
    ) as client:
        with pytest.raises(TransportError, match="nothing was sent within 30 s of the limiter's permit"):
            await client.check(1, PHONE)
        assert client.stats().requests["single"] == 3


@pytest.mark.slow
@both
@pytest.mark.parametrize("place", ["headers", "body"])
def test_a_late_deletion_is_repeated_only_if_nothing_of_it_was_sent(
    place: str, backend: str, server: EmulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If its headers have left, its caller is told."""
    skipped = 0.0
    original, clock = _RequestProgress.on_event, _loops.boot_now

    async def on_event(progress: Any, event: str, info: Any) -> None:
        nonlocal skipped
        if event == f"http11.send_request_{place}.started" and not skipped:
            skipped = 100.0
        await original(progress, event, info)

    monkeypatch.setattr(_RequestProgress, "on_event", on_event)
    monkeypatch.setattr(_loops, "boot_now", lambda: clock() + skipped)

    async def main() -> None:
        async with StatusClient(apikey="demo-key", base_url=server.url, limits=LIMITS) as client:
            if place == "headers":
                await client.delete(1, PHONE)
            else:
                with pytest.raises(RequestTimeout, match="not all was sent"):
                    await client.delete(1, PHONE)
            assert client.stats().requests["delete"] == 1 + (place == "headers")

    anyio.run(main, backend=backend)
    assert isinstance(server.emulator, Noting)
    assert len(server.emulator.whole_at) == (place == "headers")


def test_the_clock_of_permits_counts_sleep_where_the_system_has_such_a_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or else it is the usual monotonic one."""
    read: list[int] = []

    def read_clock(clock: int) -> float:
        read.append(clock)
        return 7.0

    monkeypatch.setattr(time, "clock_gettime", read_clock, raising=False)
    monkeypatch.setattr(_loops, "_BOOT_CLOCK", 3)
    assert _loops.boot_now() == 7.0
    assert Permit(None).granted_at == 7.0  # type: ignore[type-var]  # for nothing
    assert Permit(None, granted_at=5.0).granted_at == 5.0  # type: ignore[type-var]  # for nothing
    monkeypatch.setattr(_loops, "_BOOT_CLOCK", None)
    assert abs(_loops.boot_now() - time.monotonic()) < 60
    assert read == [3, 3]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no clock is sure to count sleep")
def test_on_linux_the_clock_of_permits_counts_sleep() -> None:
    # The clock itself: no test can put the machine to sleep.
    assert time.CLOCK_BOOTTIME == _loops._BOOT_CLOCK
