"""The seam to the event loop."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import sys

import anyio
import anyio.lowlevel
import outcome
import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock
from virtual import VirtualLoop

from smsc_status import _loops


@pytest.mark.anyio
async def test_background_work_outlives_its_caller_and_ends_when_told() -> None:
    seen: list[str] = []

    async def work() -> None:
        try:
            await anyio.sleep(100)
        finally:
            seen.append("ended")

    with anyio.move_on_after(1):
        background = _loops.spawn(work)
        await anyio.sleep_forever()
    await anyio.sleep(1)
    assert not seen
    background.cancel()
    await background.wait()
    assert seen == ["ended"]


@pytest.mark.anyio
async def test_an_error_in_the_background_is_logged_and_goes_no_further(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        raise ValueError("a bug")

    await _loops.spawn(work).wait()
    assert "unexpected error" in caplog.text


@pytest.mark.anyio
async def test_background_work_runs_in_no_caller_s_context_unless_told() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")
    variable.set("caller's")
    seen: list[str] = []

    async def work() -> None:
        seen.append(variable.get())

    await _loops.spawn(work).wait()
    await _loops.spawn(work, context=contextvars.copy_context()).wait()
    assert seen == ["none", "caller's"]


def test_time_goes_on_from_loop_to_loop() -> None:
    """A day in one virtual loop is a day later in the next, and where no loop runs."""

    async def day() -> tuple[float, float]:
        begun_at = _loops.now()
        await anyio.sleep(86_400)
        return begun_at, _loops.now()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        first = runner.run(day())
    between = _loops.now()
    second = trio.run(day, clock=MockClock(autojump_threshold=0))
    assert first[1] - first[0] == pytest.approx(86_400, abs=5)
    assert first[1] <= between <= second[0] < first[1] + 60
    assert second[1] > second[0] + 86_399


def test_calls_reach_other_loops_while_they_live(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    known: list[object] = []

    async def main() -> None:
        called = anyio.Event()
        known.append(_loops.this_loop())
        assert not _loops.has_ended(known[-1])
        await anyio.to_thread.run_sync(_loops.call_in, known[-1], called.set)
        await called.wait()

    anyio.run(main, backend="asyncio")
    anyio.run(main, backend="trio")
    for loop in known:
        assert _loops.has_ended(loop)
        _loops.call_in(loop, lambda: None)
    assert caplog.text.count("has ended") == 2


@pytest.mark.parametrize("is_trio_there", [False, True])
def test_here_and_now_is_the_loop_and_the_instant(monkeypatch: pytest.MonkeyPatch, is_trio_there: bool) -> None:
    """In one call, which is quicker in a program without trio."""
    if not is_trio_there:
        monkeypatch.delitem(sys.modules, "trio")

    async def main() -> None:
        here, now = _loops.here_and_now()
        assert here is asyncio.get_running_loop() is _loops.this_loop()
        await asyncio.sleep(5)
        assert _loops.here_and_now()[1] == pytest.approx(now + 5)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())
    with pytest.raises(RuntimeError):
        _loops.here_and_now()


def test_trio_as_a_guest_of_asyncio_is_trio() -> None:
    """Whichever loop runs the task that asks."""
    seen: list[object] = []

    async def guest() -> None:
        await _loops.spawn(work).wait()

    async def work() -> None:
        await trio.lowlevel.checkpoint()
        seen.append(_loops.this_loop())

    async def host() -> None:
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[outcome.Outcome[None]] = loop.create_future()
        trio.lowlevel.start_guest_run(
            guest, run_sync_soon_threadsafe=loop.call_soon_threadsafe, done_callback=ended.set_result
        )
        (await ended).unwrap()
        await _loops.spawn(note_host).wait()

    async def note_host() -> None:
        await asyncio.sleep(0)
        seen.append(_loops.this_loop())

    asyncio.run(host())
    assert [type(loop).__module__.partition(".")[0] for loop in seen] == ["trio", "asyncio"]
    assert _loops.has_ended(seen[1])


@pytest.mark.anyio
async def test_what_is_called_soon_is_called_after_one_turn_in_no_caller_s_context() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")
    variable.set("caller's")
    seen: list[object] = []
    _loops.call_soon(lambda: seen.append((variable.get(), _loops.this_loop())))
    assert not seen
    await anyio.sleep(0.01)
    assert seen == [("none", _loops.this_loop())]


@pytest.mark.anyio
async def test_a_callback_may_ask_anyio_for_the_time() -> None:
    """And so may a limiter of one's own in its `wake`. A callback has no task, by which anyio knows asyncio."""
    seen: list[float] = []
    _loops.call_soon(lambda: seen.append(anyio.current_time()))
    _loops.later(0.005, lambda: seen.append(anyio.current_time()))
    await anyio.sleep(0.01)
    assert len(seen) == 2


@pytest.mark.anyio
async def test_background_work_cancelled_before_it_begins_ends_at_its_first_pause() -> None:
    seen: list[str] = []

    async def work() -> None:
        await anyio.lowlevel.checkpoint()
        seen.append("went on")

    background = _loops.spawn(work)
    background.cancel()
    await background.wait()
    await background.wait()
    assert not seen


@pytest.mark.anyio
async def test_background_work_is_among_the_others_until_it_has_ended() -> None:
    """Also where it ends before whoever has started it goes on."""
    among: set[_loops.BackgroundTask] = set()
    go_on = anyio.Event()
    background = _loops.spawn(go_on.wait, among=among)
    assert among == {background}
    go_on.set()
    await background.wait()
    assert not among


@pytest.mark.anyio
async def test_what_is_called_later_is_called_at_its_instant() -> None:
    seen: list[float] = []
    _loops.later(5, lambda: seen.append(_loops.now()))
    began_at = _loops.now()
    await anyio.sleep(4.9)
    assert not seen
    await anyio.sleep(0.2)
    assert seen == [pytest.approx(began_at + 5)]


def test_a_loop_of_asyncio_may_stand_still() -> None:
    """One of trio's runs until it has ended."""
    loop = asyncio.new_event_loop()
    known: list[object] = [loop]

    async def look() -> None:
        assert _loops.is_running(_loops.this_loop())
        known.append(_loops.this_loop())

    loop.run_until_complete(look())
    trio.run(look)
    assert [_loops.is_running(one) for one in known] == [False, False, False]
    assert [_loops.has_ended(one) for one in known] == [False, False, True]
    loop.close()
    assert _loops.has_ended(loop)


def test_in_a_forked_process_the_loops_of_its_parent_have_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is called in them, for that would reach the parent; and time goes on."""
    monkeypatch.setattr(_loops, "_timeline", _loops.Timeline())
    monkeypatch.setattr(_loops, "_parent_loops", type(_loops._parent_loops)())
    monkeypatch.setattr(_loops, "_never_destroyed", [])
    monkeypatch.setattr(_loops, "_tasks", {})
    called: list[int] = []

    async def main() -> None:
        # The module keeps this to itself: it can only be seen from inside what a fork takes over.
        loop, begun_at = _loops._timeline.here_and_now()
        background = _loops.spawn(anyio.sleep_forever)
        await anyio.sleep(5)
        left_at = _loops._timeline.now()
        assert left_at >= begun_at + 5
        _loops._disown_parent_loops()
        assert _loops.has_ended(loop)
        assert not _loops.is_running(loop)
        assert loop in _loops._never_destroyed
        _loops.call_in(loop, lambda: called.append(1))
        await anyio.sleep(1)
        assert left_at <= _loops._timeline.now() < left_at + 5
        background.cancel()
        await background.wait()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())
    assert not called


def test_work_is_run_between_two_runs_of_an_asyncio_loop_and_in_no_other_loop() -> None:
    """In one that runs it would fail, and in one that is closed too."""
    worked_in: list[object] = []

    async def work() -> None:
        worked_in.append(_loops.this_loop())

    async def main() -> object:
        _loops.run_between(_loops.this_loop(), work)
        return _loops.this_loop()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.run(main())
        assert worked_in == []
        _loops.run_between(loop, work)
        assert worked_in == [loop]
    _loops.run_between(loop, work)
    _loops.run_between(trio.run(main), work)
    _loops.run_between(None, work)
    assert worked_in == [loop]
