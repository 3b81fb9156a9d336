"""Law 2: everything that is put in comes out exactly once, as a record or as a failure with its message and reason."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import datetime
from typing import Any, Self

import anyio
import httpx
import pytest
from helpers import PHONE, Answering, answered_by, client_of, delivered, loop_by_turns
from network import Network

from smsc_status import (
    AddressBlocked,
    AuthError,
    ClientClosed,
    ConfigError,
    Detail,
    FailedCheck,
    Format,
    Limits,
    MessageRef,
    ParametersError,
    ProtocolError,
    SmscError,
    StatusClient,
    StatusRecord,
    TrackingTimeout,
)
from smsc_status.emulator import Emulator

pytestmark = pytest.mark.anyio

FINAL = (1, 2, 3, 20, 22, 24, 25)
REFUSED_BY_THE_VENDOR = 2_147_483_648
"""An id that the emulator takes no request with."""

SMALL = Limits(max_bulk=50)
"""So that some of a few messages are answered, and others not yet."""

BAD: list[Any] = [("a,b", PHONE), (True, PHONE), (1, "7,8"), (1,), None, (1, PHONE, datetime(2026, 1, 1)), "12"]
"""Items that are no messages."""

both_kinds = pytest.mark.parametrize("kind", ["stream", "track"])
both_inputs = pytest.mark.parametrize("is_async", [False, True], ids=["iterable", "async iterable"])


def sent(emulator: Emulator, id: int | str, phone: str = PHONE, *, status: int = 1) -> MessageRef:
    """A message that was sent an hour ago, and has had this status since."""
    life = [(0, status, 0 if status < 3 else 1)]
    return emulator.world.add(id, phone, sent_at=emulator.now() - 3600, life=life)


def known_messages(emulator: Emulator) -> list[MessageRef]:
    """Ids of both kinds, twins, and a mailing of one id, with various statuses."""
    refs = [sent(emulator, id, status=FINAL[id % len(FINAL)]) for id in range(1, 41)]
    refs += [sent(emulator, f"order-{n}", status=FINAL[n % len(FINAL)]) for n in range(10)]
    refs += [sent(emulator, 7, f"7999{n:07}", status=FINAL[n % len(FINAL)]) for n in range(100)]
    twins = [MessageRef(str(ref.id), ref.phone, ref.sent_at) for ref in refs[::5]]
    return [*twins[:10], *refs, *twins[10:], refs[3]]


def given_as(items: Iterable[Any], *, is_async: bool) -> Any:
    """The items as an iterator, or as an async generator."""

    async def generated() -> AsyncIterator[Any]:
        for item in items:
            yield item

    return generated() if is_async else iter(items)


def objects_of(items: Iterable[Any]) -> Counter[int]:
    """How often each object is there; equal messages count apart."""
    return Counter(map(id, items))


def assert_once_each(outcomes: Iterable[StatusRecord | FailedCheck], put_in: Iterable[Any]) -> None:
    """Each object that was put in came out as often as it was put in."""
    assert objects_of(outcome.ref for outcome in outcomes) == objects_of(put_in)


def assert_true(outcomes: Iterable[StatusRecord | FailedCheck], emulator: Emulator) -> None:
    """A record has the status that the server holds for its message; a failure has a reason."""
    for outcome in outcomes:
        if isinstance(outcome, StatusRecord):
            assert outcome.status == emulator.world.status_at(outcome.ref, emulator.now()), outcome.ref
        else:
            assert isinstance(outcome.error, SmscError)
            assert str(outcome.error)


def failures_of(outcomes: Iterable[StatusRecord | FailedCheck]) -> list[FailedCheck]:
    return [outcome for outcome in outcomes if isinstance(outcome, FailedCheck)]


async def check_each(client: StatusClient, refs: Iterable[MessageRef]) -> list[StatusRecord | FailedCheck]:
    """What comes of one call a message, all at once; the refs are the caller's own."""
    outcomes: list[StatusRecord | FailedCheck] = []

    async def check(ref: MessageRef) -> None:
        try:
            record = await client.check(ref.id, ref.phone)
        except SmscError as error:
            given_back.extend(error.pending)
            outcomes.append(FailedCheck(ref, error))
        else:
            assert record.ref == ref
            answered.append(ref)
            outcomes.append(record)

    answered: list[MessageRef] = []
    given_back: list[MessageRef] = []
    refs = list(refs)
    async with anyio.create_task_group() as group:
        for ref in refs:
            group.start_soon(check, ref)
    failed = [outcome.ref for outcome in failures_of(outcomes)]
    assert objects_of([*answered, *failed]) == objects_of(refs)
    assert given_back == failed
    return outcomes


# Of a server that works.


@pytest.mark.slow
async def test_each_of_many_callers_gets_the_answer_to_its_own_message() -> None:
    """Also callers of one message, callers of a mailing, and the caller of a message that the vendor refuses."""
    emulator = Emulator()
    refs = known_messages(emulator)
    refused, unknown = MessageRef(REFUSED_BY_THE_VENDOR, PHONE), MessageRef(4000, PHONE)
    async with client_of(emulator) as client:
        outcomes = await check_each(client, [*refs, refused, unknown])
    assert_true(outcomes, emulator)
    [failure] = failures_of(outcomes)
    assert failure.ref is refused
    assert isinstance(failure.error, ParametersError)
    assert [outcome.ref for outcome in outcomes if isinstance(outcome, StatusRecord) and not outcome.is_found] == [
        unknown
    ]


@pytest.mark.slow
@both_inputs
async def test_a_stream_gives_out_each_item_once(is_async: bool) -> None:
    """Each with the caller's own object: messages, twins, a mailing, unknown messages, and what is no message."""
    emulator = Emulator()
    refs = known_messages(emulator)
    refused, unknown = MessageRef(REFUSED_BY_THE_VENDOR, PHONE), MessageRef(4000, PHONE)
    items = [*BAD[:3], *refs[:80], refused, unknown, *BAD[3:], *refs[80:]]
    async with client_of(emulator) as client:
        outcomes = [outcome async for outcome in client.stream(given_as(items, is_async=is_async))]
    assert_once_each(outcomes, items)
    assert_true(outcomes, emulator)
    errors = {id(failure.ref): type(failure.error) for failure in failures_of(outcomes)}
    assert errors == {id(item): ConfigError for item in BAD} | {id(refused): ParametersError}


@pytest.mark.slow
@both_inputs
async def test_a_tracker_ends_each_item_once(is_async: bool) -> None:
    """A message that changes comes out with each change, and ends once; nothing comes of it after its end."""
    emulator = Emulator()
    done = known_messages(emulator)
    young = [
        emulator.world.add(id, PHONE, sent_at=emulator.now(), life=[(0, 0), (30 + id % 7, 1)])
        for id in range(5000, 5020)
    ]
    unknown = MessageRef(4000, PHONE)
    items = [*BAD[:3], *done, *young, unknown, *BAD[3:]]
    outcomes: list[StatusRecord | FailedCheck] = []
    ended: Counter[int] = Counter()
    async with client_of(emulator) as client:
        async for outcome in client.track(given_as(items, is_async=is_async), expire_after=4500.0):
            outcomes.append(outcome)
            ended[id(outcome.ref)] += isinstance(outcome, FailedCheck) or outcome.is_final
    assert +ended == objects_of(items)
    assert_true([outcome for outcome in outcomes if isinstance(outcome, FailedCheck) or outcome.is_final], emulator)
    errors = {id(failure.ref): type(failure.error) for failure in failures_of(outcomes)}
    assert errors == {id(item): ConfigError for item in BAD} | {id(unknown): TrackingTimeout}
    last = {id(outcome.ref): outcome for outcome in outcomes}
    assert all(isinstance(outcome, FailedCheck) or outcome.is_final for outcome in last.values())


@pytest.mark.slow
async def test_the_same_message_twice_is_asked_once_and_comes_out_twice() -> None:
    """Side by side, or far apart in the input; each with the caller's own object."""
    emulator = Emulator()
    refs = delivered(emulator, range(1, 2001))
    twins = [MessageRef(str(ref.id), ref.phone) for ref in refs]
    async with client_of(emulator) as client:
        outcomes = [outcome async for outcome in client.stream([refs[0], twins[0], *refs[1:], *twins[1:]])]
        stats = client.stats()
    assert stats.records == 2000
    assert_once_each(outcomes, [*refs, *twins])


@pytest.mark.parametrize("count", [2, 12])
async def test_callers_of_one_message_share_a_request_and_each_gets_the_record(count: int) -> None:
    emulator = Emulator()
    [ref] = delivered(emulator, [1])
    async with client_of(emulator) as client:
        outcomes = await check_each(client, [MessageRef(1, PHONE) for _ in range(count)])
        requests = client.stats().requests
    assert [outcome.ref for outcome in outcomes] == [ref] * count
    assert not failures_of(outcomes)
    assert requests == {"single": 1, "bulk": 0, "delete": 0}


@both_kinds
@both_inputs
async def test_an_error_of_the_input_is_raised_after_all_that_was_read_has_come_out(kind: str, is_async: bool) -> None:
    emulator = Emulator()
    refs = delivered(emulator, range(1, 11))

    def broken() -> Iterator[MessageRef]:
        yield from refs
        raise LookupError("the input's own")

    async with client_of(emulator) as client:
        outcomes = getattr(client, kind)(given_as(broken(), is_async=is_async))
        got = [await anext(outcomes) for _ in range(10)]
        with pytest.raises(LookupError, match="the input's own"):
            await anext(outcomes)
        assert [outcome async for outcome in outcomes] == []
    assert_once_each(got, refs)


# Of a server, or a way to it, that fails.

FAULTS = {
    **dict.fromkeys(("cut", "cut_halfway", "http_429", "http_500", "http_503", "html", "empty", "broken"), 0.06),
    **dict.fromkeys(("late_arrival", "delay", "spurious_9"), 0.06),
    **dict.fromkeys(("missing_records", "repeated_records", "reordered_records", "foreign_records"), 0.3),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "seed", "anyio_backend"),
    [(kind, seed, loop_by_turns(n, seed)) for n, kind in enumerate(["check", "stream", "track"]) for seed in range(3)],
    indirect=["anyio_backend"],
)
async def test_faults_of_every_kind_lose_no_message(kind: str, seed: int) -> None:
    """All at once, with stuck and cut connections besides; what fails has used up its tries."""
    emulator = Emulator(seed=seed, faults=FAULTS)
    refs = known_messages(emulator)
    transport = Network(emulator, seed=seed, delay=1.0, stuck=0.05, cut=0.05)
    async with client_of(emulator, transport=transport, timeout=10.0, limits=SMALL, retries=30) as client:
        if kind == "check":
            outcomes = await check_each(client, refs)
        else:
            outcomes = [outcome async for outcome in getattr(client, kind)(refs)]
            assert_once_each(outcomes, refs)
    assert_true(outcomes, emulator)
    assert emulator.faults.happened.total() > 3
    # Nobody uses up thirty retries. A message that three replies have left out fails all the same.
    assert all("left this message out" in str(failed.error) for failed in failures_of(outcomes))


@pytest.mark.slow
async def test_one_bad_message_costs_the_others_nothing() -> None:
    """The vendor refuses the whole bulk request; smaller ones find the culprit."""
    emulator = Emulator()
    refs = delivered(emulator, range(1, 100))
    refused = MessageRef(REFUSED_BY_THE_VENDOR, PHONE)
    put_in = [*refs[:50], refused, *refs[50:]]
    async with client_of(emulator) as client:
        outcomes = [outcome async for outcome in client.stream(put_in)]
    assert_once_each(outcomes, put_in)
    [failure] = failures_of(outcomes)
    assert failure.ref is refused
    assert isinstance(failure.error, ParametersError)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "anyio_backend"),  # whose a record is, is found by a module that knows no loop
    [
        (fault, loop_by_turns(n))
        for n, fault in enumerate(["missing_records", "repeated_records", "reordered_records", "foreign_records"])
    ],
    indirect=["anyio_backend"],
)
async def test_a_reply_may_leave_out_repeat_reorder_or_add_records(fault: str) -> None:
    emulator = Emulator(seed=5, faults={fault: 1.0})
    refs = [sent(emulator, id, status=FINAL[id % len(FINAL)]) for id in range(1, 300)]
    async with client_of(emulator, limits=Limits(max_bulk=50)) as client:
        outcomes = [outcome async for outcome in client.stream(refs)]
    assert emulator.faults.happened[fault]
    assert_once_each(outcomes, refs)
    assert_true(outcomes, emulator)
    assert not failures_of(outcomes)


async def test_a_message_that_every_reply_leaves_out_fails_alone() -> None:
    rows = [{"status": 1, "last_timestamp": 1, "id": k, "phone": PHONE} for k in range(2, 11)]
    refs = [MessageRef(k, PHONE) for k in range(1, 11)]
    async with answered_by(json.dumps(rows).encode(), limits=Limits(period=1, margin=0)) as client:
        outcomes = await check_each(client, refs)
    [failure] = failures_of(outcomes)
    assert failure.ref is refs[0]
    assert isinstance(failure.error, ProtocolError)


@pytest.mark.parametrize(
    ("format", "body"),
    [
        (Format.PLAIN, b"Status = 20, check_time = 24.11.2026 10:00:00, err = x"),
        (Format.CSV, b"20,1795503600,x"),
        (Format.XML, b"<sms><status>20</status><err>x</err></sms>"),
        (Format.JSON, b'{"status": 20, "err": {"x": 1}}'),
    ],
    ids=lambda value: value.name if isinstance(value, Format) else "",
)
async def test_a_status_that_can_be_read_comes_out_although_another_column_can_not(format: Format, body: bytes) -> None:
    """That column is `None`, and named in `unclear`."""
    ref = MessageRef(1, PHONE)
    async with answered_by(body, format=format) as client:
        [record] = [outcome async for outcome in client.stream([ref])]
    assert isinstance(record, StatusRecord), record
    assert record.ref is ref
    assert (record.status, record.err, record.unclear) == (20, None, ("err",))


# Of callers that leave, and of ends before the end.


@pytest.mark.parametrize("moment", [0.0, 0.05, 0.1, 0.15])
async def test_callers_that_stay_are_answered_once_though_others_of_the_same_messages_leave(moment: float) -> None:
    """Before the request, while it is on its way, and after its answer."""
    emulator = Emulator()
    refs = delivered(emulator, range(1, 31))
    stayed: list[StatusRecord | FailedCheck] = []
    streamed: list[StatusRecord | FailedCheck] = []

    async def stay(client: StatusClient) -> None:
        stayed.extend(await check_each(client, refs))

    async def stream(client: StatusClient) -> None:
        streamed.extend([outcome async for outcome in client.stream(refs)])

    async with (
        client_of(emulator) as client,
        anyio.create_task_group() as group,
        anyio.create_task_group() as leaving,
    ):
        leaving.start_soon(check_each, client, refs)
        group.start_soon(stay, client)
        group.start_soon(stream, client)
        leaving.start_soon(_take_all, client.stream(refs), [])
        await anyio.sleep(moment)
        leaving.cancel_scope.cancel()
    assert [outcome.ref for outcome in sorted(stayed, key=lambda outcome: int(outcome.ref.id))] == refs
    assert_once_each(streamed, refs)
    assert not failures_of([*stayed, *streamed])


async def _take_all(outcomes: Any, into: list[Any]) -> None:
    """Whatever ends the outcomes, those before it are there."""
    async for outcome in outcomes:
        into.append(outcome)  # noqa: PERF401 (a list of its own would be lost with the error)


@pytest.mark.slow
@both_kinds
@both_inputs
async def test_what_had_not_come_out_when_it_was_closed_is_pending(kind: str, is_async: bool) -> None:
    """Each item as it was put in, bad ones and twins too; put in again, it comes out."""
    emulator = Emulator()
    items = [*BAD[:3], *known_messages(emulator), *BAD[3:]]
    async with client_of(emulator, limits=SMALL) as client:
        outcomes = getattr(client, kind)(given_as(items, is_async=is_async))
        came: list[StatusRecord | FailedCheck] = []
        async with outcomes:
            while len(came) < 30:
                came.append(await anext(outcomes))
                await anyio.sleep(0.01)  # more is answered than is taken
        left = outcomes.pending()
        assert [outcome async for outcome in outcomes] == []
        assert objects_of(outcomes.pending()) == objects_of(left)
        again = [outcome async for outcome in getattr(client, kind)(left)]
    assert len(left) == len(items) - 30
    assert objects_of([outcome.ref for outcome in came] + left) == objects_of(items)
    assert_once_each(again, left)
    assert_true([*came, *again], emulator)


@pytest.mark.slow
async def test_what_a_closed_stream_has_not_given_out_is_pending_in_the_order_of_the_input() -> None:
    emulator = Emulator()
    refs = delivered(emulator, range(1, 3001))
    async with client_of(emulator) as client:
        came = []
        async with client.stream(refs) as stream:
            async for outcome in stream:
                came.append(outcome.ref)
                if len(came) == 500:
                    break
    taken = set(came)
    assert stream.pending() == [ref for ref in refs if ref not in taken]


@both_kinds
async def test_a_closed_client_gives_back_what_has_not_come_out(kind: str) -> None:
    """`ClientClosed` has it, after what was ready has come out."""
    emulator = Emulator()
    refs = known_messages(emulator)
    client = client_of(emulator, limits=SMALL)
    outcomes = getattr(client, kind)(refs)
    came = [await anext(outcomes) for _ in range(3)]
    await client.aclose()
    with pytest.raises(ClientClosed) as caught:
        await _take_all(outcomes, came)
    assert caught.value.pending
    assert objects_of([*(outcome.ref for outcome in came), *caught.value.pending]) == objects_of(refs)


@pytest.mark.slow
@both_kinds
async def test_an_account_error_gives_back_what_has_not_come_out(kind: str) -> None:
    """Twins twice; put in again once the account is taken, all of it comes out."""
    emulator = Emulator()
    refs = known_messages(emulator)
    came: list[StatusRecord | FailedCheck] = []
    async with client_of(emulator, limits=SMALL) as client:
        outcomes = getattr(client, kind)(refs)
        came += [await anext(outcomes) for _ in range(3)]
        emulator.blocked = True
        with pytest.raises(AddressBlocked) as caught:
            await _take_all(outcomes, came)
        with pytest.raises(StopAsyncIteration):
            await anext(outcomes)
        left = caught.value.pending
        emulator.blocked = False
        again = [outcome async for outcome in getattr(client, kind)(left)]
    assert left
    assert objects_of([*(outcome.ref for outcome in came), *left]) == objects_of(refs)
    assert_once_each(again, left)
    assert_true([*came, *again], emulator)


@both_kinds
async def test_a_message_put_in_twice_is_pending_twice_when_the_account_is_refused_at_once(kind: str) -> None:
    refs = [MessageRef(id, PHONE) for id in (1, 2, 3, 1)]
    async with answered_by(b'{"error": "who", "error_code": 2}') as client:
        outcomes = getattr(client, kind)(refs)
        with pytest.raises(AuthError) as caught:
            await anext(outcomes)
    assert objects_of(caught.value.pending) == objects_of(refs)


async def test_each_caller_is_told_of_an_account_error_with_its_own_message() -> None:
    refs = [MessageRef(id, PHONE) for id in (1, 2, 3, 1)]
    async with answered_by(b'{"error": "who", "error_code": 2}') as client:
        outcomes = await check_each(client, refs)
    assert [type(failure.error) for failure in failures_of(outcomes)] == [AuthError] * 4


async def test_a_request_that_is_never_answered_costs_its_messages_no_outcome() -> None:
    """The reason is the last attempt's."""
    refs = [MessageRef(id, PHONE) for id in range(1, 21)]
    transport = Answering(httpx.ReadError("cut"))
    async with StatusClient(apikey="k", base_url="http://localhost", transport=transport, retries=1) as client:
        outcomes = [outcome async for outcome in client.stream(refs, detail=Detail.FULL)]
    assert_once_each(outcomes, refs)
    assert all("cut" in str(failure.error.__cause__) for failure in failures_of(outcomes))
    assert len(failures_of(outcomes)) == 20


# What the caller's own code raises.


class Falsy(Exception):
    """An error that counts as false."""

    def __len__(self) -> int:
        return 0


class Outcome(BaseException):
    """What a test framework raises to end a test."""


OWN_ERRORS = [ValueError, Falsy, Outcome]


async def drained(outcomes: Any) -> int:
    return len([outcome async for outcome in outcomes])


@pytest.mark.parametrize("error", OWN_ERRORS)
@pytest.mark.parametrize("kind", ["stream", "track"])
async def test_whatever_an_input_raises_reaches_the_caller_after_what_was_read(
    kind: str, error: type[BaseException]
) -> None:
    emulator = Emulator()
    refs = delivered(emulator, range(1, 11))

    async def messages() -> AsyncIterator[MessageRef]:
        for ref in refs:
            yield ref
        raise error

    async with client_of(emulator) as client:
        outcomes = getattr(client, kind)(messages())
        with anyio.fail_after(200):
            came = [(await anext(outcomes)).ref for _ in range(10)]
            with pytest.raises(error):
                await anext(outcomes)
        assert {ref.id for ref in came} == {ref.id for ref in refs}


@pytest.mark.parametrize("error", OWN_ERRORS)
async def test_whatever_until_raises_reaches_the_caller_and_no_message_is_lost(error: type[BaseException]) -> None:
    """The others of its request can be asked again at once."""
    emulator = Emulator()
    refs = delivered(emulator, range(1, 21))

    def until(record: StatusRecord) -> bool:
        raise error

    async with client_of(emulator) as client:
        outcomes = client.track(refs, until=until)
        with anyio.fail_after(200), pytest.raises(error):
            await drained(outcomes)
        assert {ref.id for ref in outcomes.pending()} == {ref.id for ref in refs}
        with anyio.fail_after(200):
            assert (await client.check(refs[7].id, refs[7].phone)).is_delivered


@pytest.mark.parametrize("kind", ["stream", "track"])
async def test_an_input_that_raises_the_end_of_another_kind_of_input_is_an_error(kind: str) -> None:
    """It does not pass for the end of the messages."""
    emulator = Emulator()
    refs = delivered(emulator, range(1, 4))

    class Messages:
        def __init__(self) -> None:
            self.left = list(refs)

        def __iter__(self) -> Self:
            return self

        def __next__(self) -> MessageRef:
            if self.left:
                return self.left.pop()
            raise StopAsyncIteration

    async with client_of(emulator) as client:
        with anyio.fail_after(200), pytest.raises(RuntimeError, match="StopAsyncIteration"):
            await drained(getattr(client, kind)(Messages()))
