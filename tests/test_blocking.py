"""The client for code that is not async. In real time, as its callers are threads."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, assert_type

import anyio
import httpx
import pytest
from anyio.lowlevel import checkpoint
from helpers import PHONE, delivered

from smsc_status import (
    ConfigError,
    DeleteError,
    FailedCheck,
    LimitExceeded,
    Limits,
    MessageRef,
    StatusRecord,
)
from smsc_status._runtime import background
from smsc_status.blocking import BlockingClient, BlockingStream
from smsc_status.emulator import Emulator


def client_of(transport: Any, **options: Any) -> BlockingClient:
    """A client of an emulator, or of another transport, in this process."""
    if isinstance(transport, Emulator):
        transport = httpx.ASGITransport(app=transport)
    return BlockingClient(apikey="demo-key", base_url="http://localhost", transport=transport, **options)


class Stuck(httpx.AsyncBaseTransport):
    """Answers nothing until it is told to."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = httpx.ASGITransport(app=emulator)
        self.is_stuck = True

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        while self.is_stuck:  # noqa: ASYNC110 (another thread changes it)
            await anyio.sleep(0.01)
        return await self.emulator.handle_async_request(request)


def at_work() -> int:
    """How many calls are at work in the background thread, beside this one."""

    def count() -> int:
        return sum("Call._run" in str(task.get_coro()) for task in asyncio.all_tasks()) - 1

    counted: int = background.call(background.plainly, count)
    return counted


def until(is_so: Callable[[], bool]) -> None:
    """Wait until it is so."""
    for _ in range(1000):
        if is_so():
            return
        time.sleep(0.01)
    raise AssertionError("it does not become so")


@pytest.fixture(autouse=True)
def new_background_thread() -> None:
    """A thread that another test has begun without the measurement of coverage would not be measured here either."""
    background.end()


@pytest.fixture
def emulator() -> Emulator:
    emulator = Emulator()
    delivered(emulator, range(1, 51))
    return emulator


def typed(client: BlockingClient, refs: list[MessageRef[int]]) -> None:
    """Type checkers know the types of the data, as they do of the async client."""
    assert_type(client.check(1, PHONE), StatusRecord)
    assert_type(client.check(refs[0], max_age=10), StatusRecord[int])
    stream = client.stream(refs)
    assert_type(stream.pending(), list[MessageRef[int]])
    for outcome in stream:
        assert_type(outcome, StatusRecord[int] | FailedCheck[int])
    for batch in client.track(refs, until=lambda record: record.ref.data > 0).batches(2, 0.1):
        assert_type(batch, list[StatusRecord[int] | FailedCheck[int]])
    assert_type(client.stream([(1, PHONE)]), BlockingStream[StatusRecord | FailedCheck, None])


@pytest.mark.slow
@pytest.mark.measured
def test_every_call_is_that_of_the_async_client(emulator: Emulator) -> None:
    """`check`, `stream`, `track`, `batches`, `delete`, `stats`."""
    refs = [MessageRef(ref.id, PHONE, ref.sent_at, id) for id, ref in enumerate(delivered(emulator, range(1, 6)), 1)]
    with client_of(emulator) as client:
        assert client.check(1, PHONE).is_delivered
        assert client.check(refs[0]).ref is refs[0]
        assert sorted(outcome.ref.data for outcome in client.stream(refs)) == [1, 2, 3, 4, 5]
        with client.track(refs[:2]) as tracked:
            assert {outcome.ref.data for outcome in tracked} == {1, 2}
            assert tracked.pending() == []
        assert [len(batch) for batch in client.stream(refs).batches(2, 10.0)] == [2, 2, 1]
        client.delete(2, PHONE)
        with pytest.raises(DeleteError):
            client.delete(MessageRef(404, PHONE))
        typed(client, refs[2:3])
        assert client.stats().requests["delete"] == 2
        assert repr(client) == "<BlockingClient of http://localhost>"


def test_the_errors_are_those_of_the_async_client(emulator: Emulator) -> None:
    """Raised in the calling thread."""
    client = client_of(emulator)
    for call in (
        lambda: client.check("no good", PHONE),
        lambda: client.stream(5),  # type: ignore[call-overload] # that is what is tested
        lambda: client.stream((1, PHONE)),  # type: ignore[arg-type] # likewise
        lambda: client.track([], speed=0),
        lambda: client.stream([]).batches(0, 1.0),
    ):
        with pytest.raises(ConfigError):
            call()
    for phone in range(79, 84):
        client.check(1, str(phone))
    with pytest.raises(LimitExceeded) as caught:
        client.check(1, "84", max_wait=0)
    assert caught.value.retry_after > 10
    client.close()
    with pytest.raises(ConfigError, match="closed"):
        client.check(1, PHONE)
    with pytest.raises(ConfigError):
        BlockingClient(apikey="k", login="l")


def test_no_secret_is_in_the_frames_of_an_error() -> None:
    """Neither of the constructor nor of `from_env`."""
    for make in (BlockingClient, BlockingClient.from_env):
        with pytest.raises(ConfigError) as caught:
            make(apikey="s3cret", base_url="nonsense")
        frames = [entry.frame for entry in caught.traceback if "smsc_status" in str(entry.path)]
        assert frames
        assert "s3cret" not in str([frame.f_locals for frame in frames])


def test_from_env_reads_the_environment(monkeypatch: pytest.MonkeyPatch, emulator: Emulator) -> None:
    """As that of the async client."""
    monkeypatch.setenv("SMSC_APIKEY", "demo-key")
    with BlockingClient.from_env(base_url="http://localhost", transport=httpx.ASGITransport(app=emulator)) as client:
        assert client.check(1, PHONE).is_delivered


def test_threads_share_one_client_and_its_bulk_requests(emulator: Emulator) -> None:
    """Each gets its own record; they wait for each other in no other way than tasks do."""
    transport = Stuck(emulator)
    with client_of(transport) as client, ThreadPoolExecutor(40) as threads:
        checks = [threads.submit(client.check, id, PHONE) for id in range(1, 41)]
        try:
            until(lambda: at_work() == 40)
        finally:
            transport.is_stuck = False
        records = [check.result() for check in checks]
        assert [record.ref.id for record in records] == list(range(1, 41))
        requests = client.stats().requests
    assert requests["bulk"] == 1
    assert requests["single"] < 40
    assert sum(thread.name == "smsc_status" for thread in threading.enumerate()) == 1


def test_threads_that_iterate_over_one_stream_share_its_outcomes(emulator: Emulator) -> None:
    """Each outcome comes once."""
    with client_of(emulator) as client, ThreadPoolExecutor(4) as threads:
        stream = client.stream((id, PHONE) for id in range(1, 51))
        got = [outcome.ref.id for part in threads.map(lambda _: list(stream), range(4)) for outcome in part]
    assert sorted(got) == list(range(1, 51))


# The input.


def test_the_input_is_read_by_the_thread_that_iterates(emulator: Emulator) -> None:
    """A cursor of SQLite refuses any other."""
    table = sqlite3.connect(":memory:")
    table.execute("CREATE TABLE message (id INTEGER)")
    table.executemany("INSERT INTO message VALUES (?)", [(id,) for id in range(1, 51)])
    with client_of(emulator) as client:
        rows = table.execute("SELECT id FROM message")
        outcomes = list(client.stream((id, PHONE) for (id,) in rows))
    assert sorted(outcome.ref.id for outcome in outcomes) == list(range(1, 51))
    table.close()


def test_an_endless_input_is_read_as_it_is_needed(emulator: Emulator) -> None:
    """A part of it is held, and no more is read while nobody iterates."""
    count = 0

    def endless() -> Iterator[tuple[int, str]]:
        nonlocal count
        for count in itertools.count(1):
            yield count, PHONE

    with client_of(emulator, limits=Limits(max_bulk=10)) as client:
        stream = client.stream(endless())
        next(stream)
        read = count
        time.sleep(0.1)
        assert read == count <= 10 * 4 + 200
        assert len(list(itertools.islice(stream, 20))) == 20


def test_a_slow_input_does_not_hold_up_an_outcome_for_long(emulator: Emulator) -> None:
    """An outcome that has come is given before the next hundred messages are read."""
    count = 0

    def slow() -> Iterator[tuple[int, str]]:
        nonlocal count
        for count in range(1, 51):
            time.sleep(0.05)
            yield count, PHONE

    with client_of(emulator) as client, client.stream(slow()) as stream:
        next(stream)
        assert count < 20


def test_an_error_of_the_input_comes_after_the_outcomes(emulator: Emulator) -> None:
    """Of all that was read before it."""

    def broken() -> Iterator[tuple[int, str]]:
        yield 1, PHONE
        yield 2, PHONE
        raise OSError("the disk is gone")

    with client_of(emulator) as client:
        stream = client.stream(broken())
        assert {next(stream).ref.id, next(stream).ref.id} == {1, 2}
        with pytest.raises(OSError, match="disk"):
            next(stream)
        assert list(stream) == []


def test_an_async_input_is_read_in_the_background(emulator: Emulator) -> None:
    """Where there is an event loop for it."""

    async def messages() -> AsyncIterator[tuple[int, str]]:
        await checkpoint()
        yield 1, PHONE

    with client_of(emulator) as client:
        assert [outcome.ref.id for outcome in client.stream(messages())] == [1]


# The end.


@pytest.mark.slow
@pytest.mark.parametrize("end", ["dropped", "closed", "left"])
def test_a_stream_that_is_left_stops(end: str, emulator: Emulator) -> None:
    """Nothing more is asked."""
    old = emulator.world.add(99, PHONE, sent_at=emulator.now() - 3600, life=[(0, 0)])
    with client_of(emulator) as client:
        if end == "left":
            with client.track([old]) as stream:
                next(stream)
        else:
            stream = client.track([old])
            next(stream)
            assert client.stats().tracked > 0
        if end == "closed":
            stream.close()
            assert stream.pending()
        del stream
        gc.collect()
        until(lambda: client.stats().tracked == 0)


def test_a_call_in_the_background_thread_is_refused(emulator: Emulator) -> None:
    """It would wait for itself for ever."""
    refs = delivered(emulator, [1])
    with client_of(emulator) as client, pytest.raises(ConfigError, match="background thread"):
        list(client.track(refs, until=lambda record: client.check(2, PHONE).is_final))


def test_after_the_end_of_the_thread_the_next_call_starts_another(emulator: Emulator) -> None:
    """And all open clients are closed."""
    client = client_of(emulator)
    client.check(1, PHONE)
    background.end()
    assert not any(thread.name == "smsc_status" for thread in threading.enumerate())
    with pytest.raises(ConfigError, match="closed"):
        client.check(1, PHONE)
    background.end()
    background.end()  # there is nothing to be ended


def test_a_forked_process_leaves_the_thread_to_its_parent(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """No thread is started, ended or used during a fork."""
    kept: list[object] = []
    monkeypatch.setattr("smsc_status._loops.keep", kept.append)
    with client_of(emulator) as client:
        client.check(1, PHONE)
        # These are what the module has a fork call: before it, and in the child.
        before = list(background._running)
        background._lock_for_fork()
        assert not background._lock.acquire(blocking=False)
        background._leave_to_parent()
        assert kept == [before]
        assert background._running == []
        background._running += before  # this process is the parent after all
        assert client.check(2, PHONE).is_delivered


# Ctrl-C.


@pytest.fixture
def interrupted() -> Iterator[Callable[[], None]]:
    """Has the main thread interrupted a moment later, as by Ctrl-C."""
    main = threading.main_thread().ident
    assert main is not None
    timer = threading.Timer(0.2, signal.pthread_kill, (main, signal.SIGINT))
    yield timer.start
    timer.join()


def test_ctrl_c_ends_the_waiting_for_a_check_and_the_client_goes_on(
    emulator: Emulator, interrupted: Callable[[], None]
) -> None:
    """At once, although its request is on its way."""
    transport = Stuck(emulator)
    with client_of(transport) as client:
        began_at = time.monotonic()
        interrupted()
        with pytest.raises(KeyboardInterrupt):
            client.check(1, PHONE)
        assert time.monotonic() - began_at < 2
        until(lambda: not at_work())
        transport.is_stuck = False
        assert client.check(2, PHONE).is_delivered


@pytest.mark.parametrize("size", [0, 10])
def test_after_ctrl_c_a_stream_goes_on_and_nothing_is_lost(
    size: int, emulator: Emulator, interrupted: Callable[[], None]
) -> None:
    """What has come meanwhile is pending, and comes next."""
    transport = Stuck(emulator)
    refs = [MessageRef(id, PHONE) for id in range(1, 6)]
    with client_of(transport) as client:
        stream: Any = client.stream(refs)
        iterated = stream.batches(size, 0.1) if size else stream
        interrupted()
        with pytest.raises(KeyboardInterrupt):
            next(iterated)
        until(lambda: not at_work())
        transport.is_stuck = False
        until(lambda: client.stats().records == 5)
        assert sorted(ref.id for ref in iterated.pending()) == [1, 2, 3, 4, 5]
        got = list(iterated)
        assert sorted(o.ref.id for one in got for o in (one if size else [one])) == [1, 2, 3, 4, 5]


@pytest.mark.slow
def test_an_outcome_that_came_when_nobody_waited_any_more_is_pending(emulator: Emulator) -> None:
    """It is given next. A tracked message that goes on is pending only once."""
    old = emulator.world.add(99, PHONE, sent_at=emulator.now() - 3600, life=[(0, 0)])
    with client_of(emulator) as client:
        for stream in (client.stream([(1, PHONE)]), client.track([old]), client.stream([(2, PHONE)])):
            stream._got.append(next(stream))  # as if Ctrl-C had come between
            assert [ref.id for ref in stream.pending()] == [stream._got[0].ref.id]
            assert next(stream).ref.id in (1, 2, 99)
            stream.close()


def test_an_interrupted_input_keeps_what_it_gave(emulator: Emulator) -> None:
    """Ctrl-C may come while a message is read."""

    class Interrupted:
        ids = iter([1, 2, -1, 3])

        def __iter__(self) -> Interrupted:
            return self

        def __next__(self) -> tuple[int, str]:
            if (id := next(self.ids)) < 0:
                raise KeyboardInterrupt
            return id, PHONE

    with client_of(emulator) as client:
        stream = client.stream(Interrupted())
        with pytest.raises(KeyboardInterrupt):
            list(stream)
        assert sorted(outcome.ref.id for outcome in stream) == [1, 2, 3]


# The process.

PROGRAM = """
import os, sys, threading
import httpx
from smsc_status.blocking import BlockingClient
from smsc_status.emulator import Emulator

emulator = Emulator()
for id in range(1, 9):
    emulator.world.add(id, "79990000000", sent_at=emulator.now() - 3600, life=[(0, 1, 0)])
client = BlockingClient(apikey="demo-key", base_url="http://localhost", transport=httpx.ASGITransport(app=emulator))
"""


def run(program: str) -> str:
    """What a program prints, which must end well and complain of nothing."""
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", PROGRAM + textwrap.dedent(program)]
    root = str(Path(__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": root}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.slow
def test_a_process_ends_without_closing_its_client_and_leaves_nothing() -> None:
    """No open socket, no task, no thread that holds it up; a stream may be under way."""
    program = """
        stream = client.track([emulator.world.add(9, "7", sent_at=emulator.now() - 3600, life=[(0, 0)])])
        print(next(stream).status)
    """
    assert run(program) == "0\n"


@pytest.mark.slow
def test_a_call_when_the_interpreter_goes_away_does_not_hang() -> None:
    """At exit, after the background thread has ended. A handler of `atexit` may still call."""
    program = """
        import atexit

        class Last:
            def __init__(self):
                self.check = client.check

            def __del__(self):
                try:
                    self.check(3, "79990000000")
                except Exception as error:
                    print(error)

        last = Last()
        print(client.check(1, "79990000000").status)
        atexit.register(lambda: print(client.check(2, "79990000000").status))
    """
    assert run(program) == "1\n1\na blocking call while the interpreter goes away: expected one before\n"


def test_a_call_while_the_interpreter_goes_away_is_refused(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    with client_of(httpx.ASGITransport(app=emulator)) as client:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "is_finalizing", lambda: True)
            with pytest.raises(ConfigError, match="while the interpreter goes away"):
                client.stats()
        client.stats()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="only where a process can be forked")
def test_a_client_of_before_a_fork_works_in_parent_and_child() -> None:
    """Each has a thread of its own, also if other threads are in the middle of a call."""
    assert (
        run("""
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads, which is what is tested
        print(client.check(1, "79990000000").status, flush=True)
        busy = [threading.Thread(target=client.check, args=(id, "79990000000")) for id in (2, 3, 4)]
        for thread in busy:
            thread.start()
        for id in (5, 6):
            pid = os.fork()
            if pid == 0:
                streamed = [outcome.status for outcome in client.stream([(7, "79990000000")])]
                print("child", client.check(id, "79990000000").status, streamed)
                sys.exit()
            assert os.waitpid(pid, 0)[1] == 0
        for thread in busy:
            thread.join()
        print("parent", client.check(8, "79990000000").status, flush=True)
    """)
        == "1\nchild 1 [1]\nchild 1 [1]\nparent 1\n"
    )
