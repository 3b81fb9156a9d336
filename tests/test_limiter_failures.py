"""A limiter of the user's own that fails, or thinks better of it: nobody waits for ever, and nothing is lost."""

from __future__ import annotations

import copy
import logging
from collections.abc import Awaitable, Callable
from itertools import pairwise
from math import inf
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest
from anyio.abc import TaskGroup
from engine_support import note
from helpers import PHONE, Answering, client_of, delivered, engine_of

from smsc_status import (
    LimiterUnavailable,
    LimitExceeded,
    LocalLimiter,
    MessageRef,
    StatusClient,
    StatusRecord,
    _loops,
)
from smsc_status._core.scheduling.checks import Request
from smsc_status._core.scheduling.pacing import Pacer, RequestEnd
from smsc_status._runtime.permits import LONGEST_RELEASE
from smsc_status.emulator import Emulator
from smsc_status.limiter import Permit

pytestmark = pytest.mark.anyio


class Failing(LocalLimiter):
    """Fails, in the methods named, while it is away."""

    def __init__(self, *where: str) -> None:
        super().__init__()
        self.where = where
        self.times = 0.0
        """How many calls fail yet."""
        self.away_until = -inf
        self.failed = 0

    def _fail(self, name: str) -> None:
        is_away = anyio.current_time() < self.away_until
        if name in self.where and (is_away or self.times > 0):
            self.times -= not is_away
            self.failed += 1
            raise ConnectionError("the store is away")

    async def acquire(self, select: Any) -> Any:
        self._fail("take")
        permit = await super().acquire(select)
        try:
            self._fail("consent")
        except ConnectionError:
            await super().release(permit, RequestEnd.NOT_SENT)
            raise
        return permit

    async def release(self, permit: Any, how: RequestEnd) -> None:
        self._fail("release")
        await super().release(permit, how)

    def wake(self, select: Any = None) -> None:
        self._fail("wake")
        super().wake(select)


async def check(client: StatusClient, refs: list[MessageRef]) -> int:
    async with anyio.create_task_group() as group:
        for ref in refs:
            group.start_soon(client.check, ref.id, ref.phone)
    return len(refs)


async def stream(client: StatusClient, refs: list[MessageRef]) -> int:
    outcomes = [outcome async for outcome in client.stream(refs)]
    assert all(isinstance(outcome, StatusRecord) for outcome in outcomes)
    return len(outcomes)


async def track(client: StatusClient, refs: list[MessageRef]) -> int:
    outcomes = [outcome async for outcome in client.track(refs)]
    assert all(isinstance(outcome, StatusRecord) for outcome in outcomes)
    return len(outcomes)


async def delete(client: StatusClient, refs: list[MessageRef]) -> int:
    for ref in refs:
        await client.delete(ref.id, ref.phone)
    return len(refs)


async def have_a_worker_wait_at_the_limiter(client: StatusClient, group: TaskGroup) -> None:
    """From now on, for a minute: a sixth check of one id waits for a token."""
    for _ in range(6):
        group.start_soon(client.check, 1, PHONE)
        await anyio.sleep(1)


Work = Callable[[StatusClient, list[MessageRef]], Awaitable[int]]
of_each_work = pytest.mark.parametrize("work", [check, stream, track, delete])


@of_each_work
@pytest.mark.parametrize("where", ["take", "consent", "release", "wake"])
async def test_a_limiter_that_fails_once_costs_no_message(work: Work, where: str) -> None:
    """It is asked again soon."""
    emulator = Emulator()
    refs = delivered(emulator, range(1, 41))
    limiter = Failing(where)
    async with client_of(emulator, limiter=limiter) as client, anyio.create_task_group() as others:
        await have_a_worker_wait_at_the_limiter(client, others)
        limiter.times = 1
        began_at = anyio.current_time()
        with anyio.fail_after(100):
            assert await work(client, refs) == 40
        assert anyio.current_time() - began_at <= 70
        assert limiter.failed == 1 or (where, work) == ("wake", delete)
        await anyio.sleep(80)
        assert limiter.is_idle()
    assert emulator.referee.no_violations


@pytest.mark.slow
@of_each_work
@pytest.mark.parametrize("where", [("take",), ("consent",), ("release",), ("wake",), ("take", "wake", "release")])
async def test_a_limiter_that_is_away_for_a_minute_costs_no_message(work: Work, where: tuple[str, ...]) -> None:
    """Then all goes on, and it has not been asked in a tight loop."""
    emulator = Emulator()
    refs = delivered(emulator, range(1, 41))
    limiter = Failing(*where)
    async with client_of(emulator, limiter=limiter) as client, anyio.create_task_group() as others:
        await have_a_worker_wait_at_the_limiter(client, others)
        limiter.away_until = anyio.current_time() + 60
        began_at = anyio.current_time()
        with anyio.fail_after(300):
            assert await work(client, refs) == 40
        assert anyio.current_time() - began_at <= 200
        assert limiter.failed <= 60
        await anyio.sleep(200)
        assert limiter.is_idle()
    assert emulator.referee.no_violations


@pytest.mark.parametrize("where", ["take", "wake"])
async def test_a_caller_that_can_not_wait_for_a_limiter_that_is_away_is_told_so(where: str) -> None:
    """With the cause, at once or when it is known, also while the next attempt is far off; and then all goes on."""
    emulator = Emulator()
    delivered(emulator, range(1, 10))
    limiter = Failing(where)
    async with client_of(emulator, limiter=limiter) as client, anyio.create_task_group() as others:
        if where == "wake":
            await have_a_worker_wait_at_the_limiter(client, others)
        limiter.away_until = anyio.current_time() + 60
        patient: list[StatusRecord] = []

        async def wait() -> None:
            patient.append(await client.check(2, PHONE))

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await anyio.sleep(40)
            for id in (3, 4, 5):
                began_at = anyio.current_time()
                with pytest.raises(LimiterUnavailable) as caught:
                    await client.check(id, PHONE, max_wait=1)
                assert isinstance(caught.value.__cause__, ConnectionError)
                assert anyio.current_time() - began_at <= 1
        await anyio.sleep(90)
        assert patient[0].status == 1
        assert (await client.check(6, PHONE, max_wait=1)).status == 1
        assert client.stats().waiting == 0


async def test_the_first_caller_is_told_that_the_limiter_is_away() -> None:
    """No other caller has waited before."""
    emulator = Emulator()
    delivered(emulator, [1, 2])
    limiter = Failing("take")
    limiter.away_until = anyio.current_time() + 60
    async with client_of(emulator, limiter=limiter) as client:
        began_at = anyio.current_time()
        for id in (1, 2):
            with pytest.raises(LimiterUnavailable) as caught:
                await client.check(id, PHONE, max_wait=1)
            assert isinstance(caught.value.__cause__, ConnectionError)
        assert anyio.current_time() - began_at <= 2.5
        assert (await client.check(1, PHONE)).status == 1


class Breaking(LocalLimiter):
    """Its store can go away, which also breaks off whatever waits for it."""

    is_away = False
    wakes = 0
    acquiring: anyio.CancelScope

    def go_away(self) -> None:
        self.is_away = True
        self.acquiring.cancel()

    async def acquire(self, select: Any) -> Any:
        with anyio.CancelScope() as self.acquiring:
            if not self.is_away:
                return await super().acquire(select)
        raise ConnectionError("the store is away")

    def wake(self, select: Any = None) -> None:
        self.wakes += 1
        if self.is_away:
            raise ConnectionError("the store is away")
        super().wake(select)


async def test_a_limiter_that_fails_again_during_a_pause_is_not_asked_before_the_longer_pause_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each of the two ways to ask it keeps to the pause of the other."""
    monkeypatch.setattr("smsc_status._runtime.engine.random.random", lambda: 0.0)  # each first pause takes 0.5 s
    emulator = Emulator()
    delivered(emulator, [1, 2])
    limiter = Breaking()
    async with client_of(emulator, limiter=limiter) as client, anyio.create_task_group() as group:
        await have_a_worker_wait_at_the_limiter(client, group)
        limiter.is_away = True
        wakes = limiter.wakes
        group.start_soon(client.check, 2, PHONE)
        await anyio.sleep(0.3)
        assert limiter.wakes == wakes + 1
        limiter.go_away()
        await anyio.sleep(0.4)
        assert limiter.wakes == wakes + 1
        limiter.is_away = False


class Odd(LocalLimiter):
    """Once gives something that is no permit for a request."""

    def __init__(self, odd: Any) -> None:
        super().__init__()
        self.odd = [odd]

    async def acquire(self, select: Any) -> Any:
        permit = await super().acquire(select)
        if self.odd:
            await super().release(permit, RequestEnd.NOT_SENT)
            return self.odd.pop()
        return permit


@pytest.mark.parametrize("odd", [None, Permit(None)], ids=["nothing", "a permit for nothing"])  # type: ignore[type-var]  # it is odd on purpose
@pytest.mark.parametrize("work", [check, stream, track])
async def test_a_limiter_that_gives_no_permit_once_is_asked_again(work: Work, odd: Any) -> None:
    """As if it had raised an error."""
    emulator = Emulator()
    refs = delivered(emulator, range(1, 11))
    async with client_of(emulator, limiter=Odd(odd)) as client:
        with anyio.fail_after(30):
            assert await work(client, refs) == 10


class Hesitant(LocalLimiter):
    """Lets selectors select, and then does not use what they chose, so many times; `pause` lies between."""

    def __init__(self, times: float, pause: float = 5.0) -> None:
        super().__init__()
        self.times = times
        self.pause = pause
        self._made: dict[Any, Any] = {}

    def _hesitating(self, select: Any) -> Any:
        def hesitate(pacer: Pacer, *, now: float) -> Any:
            wanted = select(pacer, now=now)
            if isinstance(wanted, float | int) or self.times <= 0:
                return wanted
            self.times -= 1
            return now + self.pause

        return self._made.setdefault(select, hesitate)

    async def acquire(self, select: Any) -> Any:
        return await super().acquire(self._hesitating(select))

    def wake(self, select: Any = None) -> None:
        super().wake(self._made.get(select, select))


@of_each_work
async def test_a_selected_request_that_was_not_used_waits_on_unchanged(work: Work) -> None:
    """In its old turn, with all its tries."""
    emulator = Emulator()
    refs = delivered(emulator, range(1, 41))
    limiter = Hesitant(times=3)
    async with client_of(emulator, limiter=limiter) as client:
        with anyio.fail_after(200):
            assert await work(client, refs) == 40
        assert limiter.times == 0
        assert client.stats().retries == 0
        assert client.stats().waiting == 0
        await anyio.sleep(80)
        assert limiter.is_idle()
    assert emulator.referee.no_violations


async def test_a_caller_that_can_not_wait_until_the_limiter_uses_its_request_is_told_so() -> None:
    """As soon as the limiter selects again; others wait on."""
    emulator = Emulator()
    delivered(emulator, [1, 2])
    results: dict[int, Any] = {}

    async def note(id: int, **options: Any) -> None:
        try:
            results[id] = await client.check(id, PHONE, **options)
        except LimitExceeded as error:
            results[id] = error

    async with client_of(emulator, limiter=Hesitant(times=20, pause=0.5)) as client, anyio.create_task_group() as group:
        group.start_soon(note, 1)
        group.start_soon(note, 2)
        await anyio.sleep(0.2)
        group.start_soon(lambda: note(3, max_wait=2))
        group.start_soon(lambda: note(1, max_wait=2))
        await anyio.sleep(3)
        assert set(results) == {1, 3}
        assert all(isinstance(result, LimitExceeded) for result in results.values())
        results.clear()
    assert {id: result.status for id, result in results.items()} == {1: 1, 2: 1}


async def assert_one_request_answers(limiter: LocalLimiter) -> None:
    """A caller's message goes once, and the limiter has its slot back."""
    emulator = Emulator()
    delivered(emulator, [1])
    async with client_of(emulator, limiter=limiter) as client:
        assert (await client.check(1, PHONE)).status == 1
        assert client.stats().requests["single"] == 1
        assert limiter.slots().open_requests == 0


async def test_a_limiter_that_selects_twice_has_a_message_sent_once() -> None:
    """Nothing else is held for it."""

    class Late(LocalLimiter):
        """Gives leave for the first choice after a second one."""

        has_erred = False

        async def acquire(self, select: Any) -> Any:
            permit = await super().acquire(select)
            if not self.has_erred:
                self.has_erred = True
                select(Pacer(self.limits), now=0.0)
            return permit

    await assert_one_request_answers(Late())


async def test_a_limiter_that_permits_something_else_each_time_is_asked_with_pauses() -> None:
    """It gives the event loop no turn by itself; and when it is right at last, the message goes once."""

    class Wrong(LocalLimiter):
        """Gives leave for another request than the one that was chosen, ten times."""

        def __init__(self) -> None:
            super().__init__()
            self.asked_at: list[float] = []

        async def acquire(self, select: Any) -> Any:
            self.asked_at.append(anyio.current_time())
            permit = await super().acquire(select)
            if len(self.asked_at) <= 10:
                await super().release(permit, RequestEnd.NOT_SENT)
                permit = await super().acquire(lambda pacer, *, now: Request((), (7,), bulk=False))
            return permit

    limiter = Wrong()
    await assert_one_request_answers(limiter)
    assert limiter.slots().open_requests == 0
    assert limiter.pacer.free_slots(now=_loops.now()) == 4, "no permit counts as abandoned"
    pauses = [after - before for before, after in pairwise(limiter.asked_at)]
    assert len(pauses) >= 10
    assert pauses[0] == 0
    assert all(pause >= 0.25 for pause in pauses[1:10])
    assert sum(pauses[1:10]) > 30


@of_each_work
@pytest.mark.parametrize(
    "copied", [copy.copy, lambda wanted: Request((), wanted.keys[::-1], wanted.bulk)], ids=["copied", "made anew"]
)
async def test_a_limiter_may_permit_a_copy_of_the_selected_request(copied: Any, work: Work) -> None:
    """One that is shared by machines may have read it from its store. Each message is asked once."""

    class Copying(LocalLimiter):
        async def acquire(self, select: Any) -> Any:
            permit = await super().acquire(select)
            permit.wanted = copied(permit.wanted) if isinstance(permit.wanted, Request) else permit.wanted
            return permit

    emulator = Emulator()
    refs = delivered(emulator, range(1, 41))
    limiter = Copying()
    async with client_of(emulator, limiter=limiter) as client:
        with anyio.fail_after(100):
            assert await work(client, refs) == 40
        assert client.stats().records == (0 if work is delete else 40)
        assert client.stats().waiting == 0
        await anyio.sleep(80)
        assert limiter.is_idle()
    assert emulator.referee.no_violations


async def test_a_selected_request_is_not_sent_when_nobody_waits_for_it_any_more() -> None:
    """It is forgotten, and who asks for it anew is answered."""
    emulator = Emulator()
    delivered(emulator, [1])
    limiter = Hesitant(times=1)
    async with client_of(emulator, limiter=limiter) as client:
        with anyio.move_on_after(1):
            await client.check(1, PHONE)
        await anyio.sleep(100)
        assert limiter.times == 0
        assert client.stats().waiting == 0
        assert sum(client.stats().requests.values()) == 0
        assert engine_of(client).pending.is_empty
        assert (await client.check(1, PHONE)).status == 1


async def test_a_closed_client_does_not_tell_a_limiter_that_is_away_again() -> None:
    """Its last request ends after the closing, for the transport does not listen; nothing of it is at work then."""

    class Deaf(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(100)
            return httpx.Response(200, content=b'{"status": 1}')

    limiter = Failing("release")
    limiter.away_until = inf
    client = StatusClient(apikey="k", base_url="http://localhost", transport=Deaf(), limiter=limiter)
    with anyio.move_on_after(1):
        await client.check(1, PHONE)
    await client.aclose()
    await anyio.sleep(1000)
    assert limiter.failed == 1


class Slow(LocalLimiter):
    """Takes a second to note the end of a request."""

    async def release(self, permit: Permit[Any], how: RequestEnd) -> None:
        await anyio.sleep(1.0)
        await super().release(permit, how)


@pytest.mark.parametrize("kind", ["check", "delete"])
async def test_closing_while_a_limiter_of_one_s_own_is_told_of_a_reply_waits_until_it_knows(kind: str) -> None:
    """Or else the request would hold a slot for ever."""
    limiter, transport = Slow(), Answering(b'{"status": 1}' if kind == "check" else b"OK", after=1.0)
    client = StatusClient(apikey="k", base_url="http://localhost", transport=transport, limiter=limiter)
    async with anyio.create_task_group() as group:
        group.start_soon(note, [], getattr(client, kind)(1, PHONE))
        await anyio.sleep(1.5)
        assert limiter.slots().open_requests == 1
        await client.aclose()
        assert limiter.slots().open_requests == 0
    assert not limiter.is_idle()
    await anyio.sleep(61.0)
    assert limiter.is_idle()


class Asleep(LocalLimiter):
    """Never notes the end of a request."""

    async def release(self, permit: Permit[Any], how: RequestEnd) -> None:
        await anyio.sleep_forever()


async def test_a_limiter_that_waits_when_its_event_loop_is_closed_is_not_told_again() -> None:
    """Nothing can wait any more: a coroutine that does not end when it is closed is an error."""
    client = StatusClient(apikey="k", base_url="http://localhost", transport=Answering(b""), limiter=Asleep())
    async with client:
        ending = engine_of(client).release(Permit(Request((), (7,), bulk=False)), RequestEnd.REPLIED)
        ending.send(None)
        ending.close()


async def test_a_closed_client_does_not_wait_for_ever_for_a_limiter_that_does_not_answer() -> None:
    transport = Answering(b'{"status": 1}')
    client = StatusClient(apikey="k", base_url="http://localhost", transport=transport, limiter=Asleep())
    await client.check(1, PHONE)
    began_at = anyio.current_time()
    await client.aclose()
    assert anyio.current_time() - began_at == pytest.approx(LONGEST_RELEASE)
    assert LONGEST_RELEASE < 10  # seconds that a container has until it is killed


@pytest.mark.parametrize(("error", "is_explained"), [(LimiterUnavailable("away"), True), (OSError("a mistake"), False)])
async def test_a_limiter_that_is_away_is_warned_of_once_a_minute(
    error: Exception, is_explained: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Each request meets it, again and again. The text of `LimiterUnavailable` is enough, and has no traceback."""

    class Away(LocalLimiter):
        is_away = False
        failed = 0

        async def acquire(self, select: Any) -> Any:
            return self._when_there(await super().acquire(select))

        async def release(self, permit: Permit[Any], how: RequestEnd) -> None:
            self._when_there(None)
            await super().release(permit, how)

        def _when_there(self, result: Any) -> Any:
            self.failed += self.is_away
            if self.is_away:
                raise copy.copy(error)
            return result

    limiter, transport = Away(), Answering(b'{"status": 1}', after=1.0)
    async with StatusClient(apikey="k", base_url="http://localhost", transport=transport, limiter=limiter) as client:
        async with anyio.create_task_group() as group:
            for id in range(1, 4):
                group.start_soon(client.check, id, PHONE)
                await anyio.sleep(0.2)
            limiter.is_away = True
        await anyio.sleep(30)
        assert limiter.failed > 6
        warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
        assert [record.getMessage() for record in warnings] == [
            f"the limiter failed, and is asked again: {type(error).__name__}: {error}"
        ]
        assert (warnings[0].exc_info is None) is is_explained
        await anyio.sleep(100)
        warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
        assert 2 <= len(warnings) <= 3
        limiter.is_away = False
        await anyio.sleep(100)


async def test_a_deletion_whose_caller_was_cancelled_while_connecting_is_not_sent_later() -> None:
    """It is tried again only while its caller waits for it."""
    transport = Answering(httpx.ConnectError("refused"), httpx.ConnectError("refused"), b"OK", after=2.0)
    async with StatusClient(apikey="k", base_url="http://localhost", transport=transport) as client:
        with anyio.move_on_after(1):
            await client.delete(1, PHONE)
        await anyio.sleep(100)
        assert len(transport.requests) == 1
        assert engine_of(client).background_tasks == 0
        await client.delete(2, PHONE)
        assert len(transport.requests) == 3


async def test_a_deletion_that_waits_for_a_limiter_that_is_away_can_be_cancelled() -> None:
    """Nothing is sent then."""
    transport = Answering(b"OK")
    limiter = Failing("take")
    limiter.away_until = anyio.current_time() + 60
    async with StatusClient(apikey="k", base_url="http://localhost", transport=transport, limiter=limiter) as client:
        with anyio.move_on_after(5):
            await client.delete(1, PHONE)
        await anyio.sleep(200)
    assert not transport.requests
