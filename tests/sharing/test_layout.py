"""Whatever happens to a file's bytes, no wrong entry is read."""

from __future__ import annotations

from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smsc_status import ConfigError, LimiterUnavailable
from smsc_status._sharing.file import FileStore
from smsc_status._sharing.layout import Damaged, Header, cell, read_cell, read_records, records
from smsc_status._sharing.store import NoLog

T = TypeVar("T")
DATA = [b"", b"one", bytes(300), b"\x93smsclog" * 3, b"last"]


def run(call: Coroutine[Any, Any, T]) -> T:
    """The result of a call that does not wait."""
    with pytest.raises(StopIteration) as ended:
        call.send(None)
    result: T = ended.value.value
    return result


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damage") / "account.log"


@pytest.fixture(scope="module")
def raw(path: Path) -> bytes:
    store = FileStore(path)
    log = run(store.begin(DATA[:1], instead_of="")).log
    for after, data in enumerate(DATA[1:], 1):
        assert run(store.append(data, log=log, after=after)).is_appended
    return path.read_bytes()


@pytest.mark.slow
@settings(deadline=None, max_examples=400)
@given(data=st.data())
def test_damage_gives_an_error_or_the_entries_that_were_written(path: Path, raw: bytes, data: st.DataObject) -> None:
    """A flipped bit, a cut, strange bytes in the middle, strange bytes at the end; to a reader and to a newcomer."""
    path.write_bytes(raw)
    store = FileStore(path)
    whole = run(store.append(None, log="", after=0))
    is_reader = data.draw(st.booleans(), "is_reader")
    if not is_reader:
        store = FileStore(path)
    changed = bytearray(raw)
    at = data.draw(st.integers(0, len(raw) - 1), "at")
    how = data.draw(st.sampled_from(["flip", "cut", "overwrite", "end"]), "how")
    if how == "flip":
        changed[at] ^= 1 << data.draw(st.integers(0, 7), "bit")
    elif how == "cut":
        del changed[at:]
    elif how == "overwrite":
        some = data.draw(st.binary(min_size=1, max_size=40), "some")
        changed[at : at + len(some)] = some
    else:
        changed += data.draw(st.binary(max_size=40), "some")
    path.write_bytes(changed)
    after = data.draw(st.integers(0, len(DATA)), "after")
    try:
        tail = run(store.append(None, log=whole.log, after=after))
    except (NoLog, ConfigError, LimiterUnavailable):
        assert how != "end"
    else:
        assert tail.log == whole.log
        assert tail.entries == whole.entries[after:]


@given(st.lists(st.tuples(st.binary(max_size=50), st.floats(0, 1e9))), st.integers(0, 2**32 - 1))
def test_records_are_read_as_they_were_written(written: list[tuple[bytes, float]], checksum: int) -> None:
    raw, last = records(written, checksum)
    found = read_records(raw, number=3, checksum=checksum)
    assert [(entry.data, entry.at) for entry in found.entries] == written
    assert [entry.number for entry in found.entries] == list(range(3, 3 + len(written)))
    assert not written or found.checksums[-1] == last


def test_the_record_that_has_been_changed_is_named() -> None:
    raw, _ = records([(b"one", 1.0), (b"two", 2.0), (b"three", 3.0)], 0)
    with pytest.raises(Damaged, match="record 8 has been changed"):
        read_records(raw.replace(b"two", b"TWO"), number=7, checksum=0)


def test_a_record_can_not_be_left_out() -> None:
    """Its checksum is part of the next one's."""
    first, checksum = records([(b"one", 1.0)], 0)
    rest, _ = records([(b"two", 2.0)], checksum)
    read_records(first + rest, number=1, checksum=0)
    with pytest.raises(Damaged, match="record 1 has been changed"):
        read_records(rest, number=1, checksum=0)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    for read, errors in (
        (Header.of, (ConfigError, Damaged)),
        (read_cell, (Damaged,)),
        (lambda raw: read_records(raw, number=1, checksum=0), (Damaged,)),
    ):
        with suppress(*errors):
            read(raw)


def test_a_cell_has_sixteen_bytes() -> None:
    """So one small write changes it."""
    assert len(cell(2**63, 2**32 - 1)) == 16
    assert read_cell(cell(2**63, 2**32 - 1)) == (2**63, 2**32 - 1)


def test_a_header_that_is_cut_off_is_damaged(raw: bytes) -> None:
    with pytest.raises(Damaged, match="cut off"):
        Header.of(raw[:60])
