"""What was seen of a message before is not given again. In virtual time."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import anyio
import pytest
from helpers import PHONE
from test_tracker import Day, statuses

from smsc_status import ConfigError, FailedCheck, MessageRef, Status, StatusClient, StatusRecord

pytestmark = pytest.mark.anyio

STORY = [(0, -1), (30, 0), (600, 1, 0)]
"""A message waits, is on its way, and is delivered after ten minutes."""


def seeing(ref: MessageRef, seen: tuple[int, int | None] | None) -> MessageRef:
    return MessageRef(ref.id, ref.phone, ref.sent_at, seen=seen)


@pytest.mark.parametrize(
    ("seen", "news"),
    [
        pytest.param(None, [0, 1], id="nothing"),
        pytest.param((0, None), [1], id="the present status"),
        pytest.param((Status.ACCEPTED, None), [1], id="the same as an enum"),
        pytest.param((-1, None), [0, 1], id="an earlier status"),
        pytest.param((0, 6), [0, 1], id="another error"),
        pytest.param((1, 0), [0, 1], id="a later status"),
    ],
)
async def test_the_first_record_is_given_if_it_differs_from_what_was_seen(
    seen: tuple[int, int | None] | None, news: list[int]
) -> None:
    """In status or in error. Every change after it is given, too."""
    day = Day()
    ref = seeing(day.add(1, STORY, ago=60), seen)
    async with day.client() as client:
        outcomes = [outcome async for outcome in client.track([ref])]
    assert statuses(outcomes) == news
    assert all(outcome.ref is ref for outcome in outcomes)


async def test_a_message_is_ended_by_a_last_record_that_was_seen_before() -> None:
    """It comes out once, for else nobody would know that the message is done; then it is not pending."""
    day = Day()
    ref = seeing(day.add(1, STORY, ago=3600), (1, 0))
    async with day.client() as client, client.track([ref]) as tracked:
        outcomes = [outcome async for outcome in tracked]
        assert tracked.pending() == []
        assert client.stats().done == {"Delivered": 1}
    assert statuses(outcomes) == [1]


async def test_until_decides_which_record_is_the_last_one() -> None:
    """What was seen is no end by itself, and a seen record may be one."""
    day = Day()
    read = [*STORY, (900, 2, 0)]
    refs = [seeing(day.add(id, read, ago=700), seen) for id, seen in ((1, (1, 0)), (2, None))]
    async with day.client() as client:
        tracked = client.track(refs, until=lambda record: record.status == Status.READ)
        outcomes = [(outcome.ref.id, outcome.status) async for outcome in tracked if isinstance(outcome, StatusRecord)]
        ended = [outcome async for outcome in client.track([refs[0]], until=lambda record: True)]
    assert sorted(outcomes) == [(1, 2), (2, 1), (2, 2)]
    assert statuses(ended) == [2]


async def test_a_tracker_that_starts_again_gives_only_what_is_new() -> None:
    """Two runs with a restart in between give what one run gives: nothing is lost, and nothing comes twice."""
    day = Day()
    refs = [day.add(id, [(0, -1), (id, 0), (7 * id, 1, 0)]) for id in range(1, 13)]
    table: dict[MessageRef, list[tuple[int, int | None]]] = {ref: [] for ref in refs}
    ended: list[MessageRef] = []

    async def run(client: StatusClient, refs: list[MessageRef], seconds: float) -> list[MessageRef]:
        async with client.track(refs) as tracked:
            with anyio.move_on_after(seconds):
                async for outcome in tracked:
                    assert isinstance(outcome, StatusRecord)
                    table[outcome.ref].append((outcome.status, outcome.err))
                    ended.extend([outcome.ref] * outcome.is_final)
            return tracked.pending()

    async with day.client() as client:
        left = await run(client, refs, 40)
        assert 0 < len(left) < 12
        again = [seeing(ref, table[ref][-1] if table[ref] else None) for ref in left]
        assert any(ref.seen is not None for ref in again)
        assert await run(client, again, 1e6) == []
    assert sorted(ref.id for ref in ended if isinstance(ref.id, int)) == list(range(1, 13))
    for answers in table.values():
        assert all(one != other for one, other in pairwise(answers))


async def test_a_check_and_a_stream_give_their_record_in_any_case() -> None:
    """They are asked for the present status, and not for a change."""
    day = Day()
    ref = seeing(day.add(1, STORY, ago=60), (0, None))
    async with day.client() as client:
        assert (await client.check(ref)).status == 0
        assert [outcome.ref async for outcome in client.stream([ref])] == [ref]


async def test_a_message_that_fails_comes_out_whatever_was_seen() -> None:
    """A failure is always new."""
    day = Day()
    ref = seeing(MessageRef(404, PHONE, day.now()), (-3, None))
    async with day.client() as client:
        outcomes = [outcome async for outcome in client.track([ref], expire_after=600)]
    assert [type(outcome) for outcome in outcomes] == [FailedCheck]


@pytest.mark.parametrize("seen", [0, (0,), (0, None, 1), [0, None], (None, 0), (True, 0), (0, True), ("0", None), "01"])
def test_what_is_no_status_and_error_is_refused_by_an_error_that_names_it(seen: Any) -> None:
    """Before anything is sent."""
    with pytest.raises(ConfigError, match=r"^seen .*: expected \(status, err\)"):
        MessageRef(1, PHONE, seen=seen)


def test_what_was_seen_is_shared_and_neither_compared_nor_shown_unless_it_is_there() -> None:
    """A million messages have only a few different statuses."""
    one, other = (MessageRef(1, PHONE, seen=tuple(seen)) for seen in ([0, 5], [0, 5]))
    assert one.seen is other.seen
    assert one == MessageRef(1, PHONE)
    assert repr(one) == f"MessageRef(id=1, phone='{PHONE}', sent_at=None, seen=(0, 5))"


def test_a_record_s_own_values_can_be_given_as_seen() -> None:
    """They need no conversion."""
    record = StatusRecord(status=0, err=None)
    assert MessageRef(1, PHONE, seen=(record.status, record.err)).seen == (0, None)
