"""The caller's own data travels with a message. Type checkers read this file, and it runs."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, assert_type

import attrs
import pytest
from helpers import PHONE, client_of, delivered

from smsc_status import (
    Batches,
    ConfigError,
    DeleteError,
    FailedCheck,
    HlrRecord,
    MessageRef,
    OutcomeStream,
    StatusClient,
    StatusRecord,
    TrackStream,
)
from smsc_status.emulator import Emulator


@attrs.frozen
class Row:
    """A row of a caller's table."""

    key: int


Refs = list[MessageRef[Row]]


def refs_of(emulator: Emulator, *ids: int) -> Refs:
    return [
        MessageRef(ref.id, ref.phone, ref.sent_at, Row(100 + key)) for key, ref in enumerate(delivered(emulator, ids))
    ]


# The type checkers' part. Each `assert_type` fails in mypy, and in pyright, if the type is another.


async def use(client: StatusClient, refs: Refs) -> list[Row]:
    rows: list[Row] = []
    stream = client.stream(refs)
    assert_type(stream, OutcomeStream[Row])
    assert_type(stream.pending(), Refs)
    async for outcome in stream:
        assert_type(outcome, StatusRecord[Row] | FailedCheck[Row])
        assert_type(outcome.ref.data, Row)
        if isinstance(outcome, FailedCheck):
            assert_type(outcome, FailedCheck[Row])
        else:
            assert_type(outcome, StatusRecord[Row])
        rows.append(outcome.ref.data)
    tracked = client.track(refs, until=lambda record: record.ref.data.key > 0)
    assert_type(tracked, TrackStream[Row])
    batches = tracked.batches(10, 1.0)
    assert_type(batches, Batches[Row])
    async for batch in batches:
        rows += [outcome.ref.data for outcome in batch]
    record = await client.check(refs[0])
    assert_type(record, StatusRecord[Row])
    rows.append(record.ref.data)
    return rows


async def generated(refs: Refs) -> AsyncIterator[MessageRef[Row]]:
    for ref in refs:
        yield ref


def types(client: StatusClient, refs: Refs, mixed: list[MessageRef[Row] | tuple[int, str]]) -> None:
    """What is inferred where nothing, or another thing, is said."""
    assert_type(MessageRef(1, PHONE), MessageRef[None])
    assert_type(MessageRef(1, PHONE).data, None)
    assert_type(MessageRef(1, PHONE, data="a"), MessageRef[str])
    assert_type(client.stream([(1, PHONE)]), OutcomeStream[None])
    assert_type(client.stream([MessageRef(1, PHONE), (2, PHONE)]), OutcomeStream[None])
    assert_type(client.stream(generated(refs)), OutcomeStream[Row])
    assert_type(client.track(generated(refs)), TrackStream[Row])
    assert_type(client.stream(mixed), OutcomeStream[Row | None])
    assert_type(client.track(mixed), TrackStream[Row | None])


async def unchanged(client: StatusClient) -> StatusRecord:
    """Annotations without data mean that there is none, as they always did."""
    ref: MessageRef = MessageRef(1, PHONE)
    record: StatusRecord = await client.check(ref)
    outcomes: list[StatusRecord | FailedCheck] = [outcome async for outcome in client.stream([ref])]
    assert_type(outcomes[0].ref.data, None)
    return record


def wider(record: StatusRecord[Row]) -> StatusRecord[object]:
    """A function that does not care for the data takes every record."""
    return record


# What happens.


def test_data_is_kept_and_neither_compared_nor_shown_unless_it_is_there() -> None:
    """A message is an id and a phone, whatever its sender keeps beside them."""
    data = ["a row"]
    ref = MessageRef(7, PHONE, data=data)
    assert ref.data is data
    assert ref == MessageRef(7, PHONE)
    assert hash(ref) == hash(MessageRef(7, PHONE))
    assert repr(ref) == f"MessageRef(id=7, phone='{PHONE}', sent_at=None, data=['a row'])"
    assert repr(MessageRef(7, PHONE)) == f"MessageRef(id=7, phone='{PHONE}', sent_at=None)"
    assert len(repr(MessageRef(7, PHONE, data="x" * 1000))) < 200


def test_data_survives_pickling_and_copying() -> None:
    """With its message, and with a record of it."""
    record = StatusRecord(status=1, ref=MessageRef(7, PHONE, data=Row(1)))
    for other in (pickle.loads(pickle.dumps(record)), copy.deepcopy(record)):
        assert other.ref.data == Row(1)


def test_a_parametrised_class_makes_ordinary_objects() -> None:
    """Without a dict of their own."""
    ref = MessageRef[Row](7, PHONE, data=Row(1))
    assert type(ref) is MessageRef
    assert type(HlrRecord[Row](status=1, ref=ref)) is HlrRecord
    assert not any(hasattr(thing, "__dict__") for thing in (ref, HlrRecord(status=1), FailedCheck(ref, ConfigError())))


@pytest.mark.anyio
async def test_data_comes_back_by_every_way_of_asking() -> None:
    """`stream`, `track` in batches, and `check`."""
    emulator = Emulator()
    refs = refs_of(emulator, 1, 2, 3)
    async with client_of(emulator) as client:
        rows = await use(client, refs)
        types(client, refs, [*refs])
        assert (await unchanged(client)).ref.data is None
    assert sorted(row.key for row in rows) == [100, 100, 100, 101, 101, 102, 102]


@pytest.mark.anyio
async def test_equal_messages_keep_each_their_own_data() -> None:
    """They are asked once. A record that is given again has the asker's data, too."""
    emulator = Emulator()
    (ref,) = delivered(emulator, [1])
    twins = [MessageRef(ref.id, ref.phone, data=data) for data in ("a", "b")]
    async with client_of(emulator) as client:
        streamed = [outcome.ref.data async for outcome in client.stream(twins)]
        tracked = [outcome.ref.data async for outcome in client.track(twins)]
        again = await client.check(MessageRef(ref.id, ref.phone, data="c"), max_age=100)
    assert sorted(streamed) == sorted(tracked) == ["a", "b"]
    assert again.ref.data == "c"


@pytest.mark.anyio
async def test_a_failure_has_its_message_s_data() -> None:
    """Also one that the server refused to delete, by the error's `pending`."""
    ref = MessageRef(404, PHONE, data=Row(1))
    async with client_of(Emulator()) as client:
        with pytest.raises(DeleteError) as caught:
            await client.delete(ref)
    assert caught.value.pending[0] is ref
    failure: Any = FailedCheck(ref, caught.value)
    assert failure.ref.data == Row(1)


@pytest.mark.anyio
@pytest.mark.parametrize("call", ["check", "delete"])
async def test_a_ref_is_given_alone_and_an_id_with_a_phone(call: str) -> None:
    """The error names what is wrong."""
    client = client_of(Emulator())
    with pytest.raises(ConfigError, match="phone '79' beside a MessageRef: expected only the ref"):
        await getattr(client, call)(MessageRef(1, PHONE), "79")
    with pytest.raises(ConfigError, match="phone None: expected a str"):
        await getattr(client, call)(1)


@pytest.mark.slow
def test_pyright_knows_the_types_of_a_user_s_data() -> None:
    """mypy reads this file with all others."""
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, __file__]
    root = Path(__file__).parents[1]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, timeout=120, check=False)
    assert done.returncode == 0, done.stdout
