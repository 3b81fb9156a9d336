"""The log in a file: what is appended, what is read, and what is dropped."""

# ruff: noqa: ASYNC240 (the tests look at small local files)

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Any, NoReturn

import anyio
import pytest
from file_support import begun, contents, flip, room_for, whole

from smsc_status._sharing import file as file_module
from smsc_status._sharing import layout
from smsc_status._sharing import locked as locked_module
from smsc_status._sharing.file import FileStore, clock
from smsc_status._sharing.layout import START, Found, Header
from smsc_status._sharing.store import NoLog
from smsc_status.errors import ConfigError

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "account.log"


# What is appended and read.


async def test_a_log_begins_with_the_given_entries(path: Path) -> None:
    before = clock()
    tail = await FileStore(path).begin([b"one", b"two"], instead_of="")
    assert contents(tail) == [(1, b"one"), (2, b"two")]
    assert tail.is_whole
    assert not tail.is_appended
    assert all(before <= entry.at <= clock() for entry in tail.entries)
    assert await whole(path) == tail


async def test_data_is_appended_to_the_last_entry(path: Path) -> None:
    store, log = await begun(path, b"one")
    tail = await store.append(b"two", log=log, after=1)
    assert contents(tail) == [(2, b"two")]
    assert tail.is_appended
    assert not tail.is_whole
    assert contents(await whole(path)) == [(1, b"one"), (2, b"two")]


async def test_a_file_without_changes_is_read_without_the_lock(path: Path) -> None:
    store, log = await begun(path, b"one")
    with path.open() as theirs, anyio.fail_after(1):
        fcntl.flock(theirs, fcntl.LOCK_EX)
        assert store.append_at_once(None, log=log, after=1) == await store.append(None, log=log, after=1)
        assert store.append_at_once(None, log=log, after=0) is None
    await FileStore(path).append(b"two", log=log, after=1)
    assert contents(await store.append(None, log=log, after=1)) == [(2, b"two")]


async def test_what_was_read_is_not_read_again_for_a_call_that_asks_for_an_older_entry(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a call does that has waited for the lock while another one has read on."""
    store, log = await begun(path, b"one")
    other = FileStore(path)
    for number in range(1, 2 * file_module.REMEMBERED):
        await other.append(b"%d" % number, log=log, after=number)
    last = 2 * file_module.REMEMBERED
    await store.append(None, log=log, after=1)
    sizes = []

    def read_records(raw: bytes, **options: Any) -> Found:
        sizes.append(len(raw))
        return layout.read_records(raw, **options)

    monkeypatch.setattr(file_module, "read_records", read_records)
    for after in (last - file_module.REMEMBERED, last - 1):
        tail = await store.append(b"not appended", log=log, after=after)
        assert [entry.number for entry in tail.entries] == list(range(after + 1, last + 1))
        assert not tail.is_whole
    assert not sizes
    after = last - file_module.REMEMBERED - 1
    tail = await store.append(b"not appended", log=log, after=after)
    assert [entry.number for entry in tail.entries] == list(range(after + 1, last + 1))
    assert len(sizes) == 1


async def test_data_is_not_appended_if_something_newer_is_there(path: Path) -> None:
    store, log = await begun(path, b"one")
    other = FileStore(path)
    await other.append(b"theirs", log=log, after=1)
    tail = await store.append(b"mine", log=log, after=1)
    assert contents(tail) == [(2, b"theirs")]
    assert not tail.is_appended
    assert (await store.append(b"mine", log=log, after=2)).is_appended


async def test_a_caller_that_has_lost_an_answer_reads_it_again(path: Path) -> None:
    """As after a cancelled call: the store has read further than its caller knows."""
    store, log = await begun(path, b"one")
    await store.append(b"two", log=log, after=1)
    tail = await store.append(b"three", log=log, after=1)
    assert contents(tail) == [(2, b"two")]
    assert not tail.is_whole


async def test_another_log_is_given_whole(path: Path) -> None:
    store, log = await begun(path, b"one")
    other = await FileStore(path).begin([b"new"], instead_of=log)
    assert other.log != log
    tail = await store.append(b"mine", log=log, after=1)
    assert tail == other


async def test_of_two_that_begin_the_second_gets_the_log_of_the_first(path: Path) -> None:
    first = await FileStore(path).begin([b"first"], instead_of="")
    second = await FileStore(path).begin([b"second"], instead_of="another")
    assert second == first


async def test_only_new_bytes_are_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, log = await begun(path, b"x" * 5000)
    sizes = []
    pread = os.pread

    def counted(fd: int, size: int, at: int) -> bytes:
        sizes.append(size)
        return pread(fd, size, at)

    monkeypatch.setattr(os, "pread", counted)
    await store.append(b"two", log=log, after=1)
    assert sizes == [START]


async def test_stamps_never_go_back(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, log = await begun(path, b"one")
    now = clock()
    assert abs(store.now() - now) < 1
    monkeypatch.setattr(file_module, "clock", lambda: now - 0.5)
    tail = await store.append(b"two", log=log, after=1)
    assert tail.entries[0].at == (await whole(path)).entries[0].at


async def test_the_file_is_absolute_and_can_be_read_by_its_owner_only(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    store = FileStore(path.name)
    assert store.where == str(path)
    mask = os.umask(0)
    try:
        await store.begin([], instead_of="")
    finally:
        os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o600
    await store.aclose()


async def test_a_directory_that_a_group_shares_gets_a_file_for_the_group(path: Path) -> None:
    path.parent.chmod(0o2770)
    mask = os.umask(0o077)
    try:
        await begun(path)
    finally:
        os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o660


@pytest.mark.parametrize("is_root", [True, False])
async def test_a_new_file_has_the_modes_and_the_group_of_the_old_one(
    path: Path, monkeypatch: pytest.MonkeyPatch, is_root: bool
) -> None:
    _store, _log = await begun(path, b"one")
    path.chmod(0o664)
    owners = []
    monkeypatch.setattr(os, "geteuid", lambda: 0 if is_root else 1000)
    monkeypatch.setattr(os, "fchown", lambda fd, *owner: owners.append(owner))
    monkeypatch.setattr(locked_module, "_is_at", lambda path, found: True)
    over = os.stat_result([*path.stat()[:4], 12, 34, *path.stat()[6:]])
    locked_module.put_file(str(path), b"", over=over)
    assert owners == ([(12, 34)] if is_root else [(-1, 34)])
    assert path.stat().st_mode & 0o777 == 0o664


async def test_a_group_that_can_not_be_kept_is_no_obstacle(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> NoReturn:
        raise PermissionError

    store, log = await begun(path, b"one")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert not (await store.begin([b"same group"], instead_of=log)).is_appended
    monkeypatch.setattr(os, "fchown", refuse)
    over = os.stat_result([*path.stat()[:5], 34, *path.stat()[6:]])
    # This step alone: without root no file of another group can be made.
    locked_module._set_modes(os.open(path, os.O_RDWR | os.O_CLOEXEC), str(path.parent), over)


# Waiting for entries.


async def test_wait_ends_when_somebody_appends(path: Path) -> None:
    store, log = await begun(path, b"one")
    began_at = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: store.wait(log=log, after=1))
        await anyio.sleep(5)
        await FileStore(path).append(b"two", log=log, after=1)
    assert 5 <= anyio.current_time() - began_at <= 5.021


@pytest.mark.parametrize("is_other", [True, False])
async def test_wait_returns_at_once_if_there_is_something_to_read(path: Path, is_other: bool) -> None:
    store, log = await begun(path, b"one", b"two")
    began_at = anyio.current_time()
    await store.wait(log="another" if is_other else log, after=2 if is_other else 1)
    await FileStore(path).wait(log=log, after=2)
    path.unlink()
    await store.wait(log=log, after=2)
    assert anyio.current_time() == began_at


# Old entries.


async def long_log(path: Path, count: int = 100) -> tuple[FileStore, str]:
    store, log = await begun(path)
    for number in range(count):
        await store.append(b"%03d" % number + b"x" * 997, log=log, after=number)
    return store, log


async def test_old_entries_are_dropped(path: Path) -> None:
    store, log = await long_log(path)
    reader = FileStore(path)
    all_entries = (await reader.append(None, log="", after=0)).entries
    path.with_name(".account.log.0123.new").touch()  # left by a killed process
    path.with_name(".account.log.dir.new").mkdir()  # can't be removed so
    await store.drop(log=log, before=81)
    assert sorted(os.listdir(path.parent)) == [".account.log.dir.new", path.name]
    assert path.stat().st_size < 25_000
    assert Header.of(path.read_bytes()).generation == 1
    # Who has read up to the end goes on; who knows a part that is still there gets the rest; others begin anew.
    assert (await reader.append(b"more", log=log, after=100)).is_appended
    assert contents(await store.append(None, log=log, after=100)) == [(101, b"more")]
    tail = await FileStore(path).append(None, log=log, after=80)
    assert (tail.entries[:-1], tail.is_whole) == (all_entries[80:], False)
    tail = await FileStore(path).append(b"not appended", log=log, after=79)
    assert (tail.entries[:-1], tail.is_whole) == (all_entries[80:], True)


async def test_the_one_that_drops_reads_on(path: Path) -> None:
    store, log = await long_log(path)
    await store.drop(log=log, before=1000)
    assert [entry.number for entry in (await whole(path)).entries] == [100]  # the last one stays
    assert (await store.append(b"more", log=log, after=100)).is_appended


@pytest.mark.parametrize(
    ("count", "log_is", "before"), [(60, None, 60), (100, "another", 90), (100, None, 20), (100, None, 0)]
)
async def test_what_is_not_worth_dropping_stays(path: Path, count: int, log_is: str | None, before: int) -> None:
    store, log = await long_log(path, count)
    kept = path.read_bytes()
    await store.drop(log=log_is or log, before=before)
    assert path.read_bytes() == kept


async def test_a_fifth_is_worth_dropping_and_only_one_process_drops_it(path: Path) -> None:
    """The others find another header. They need not read the whole file."""
    store, log = await long_log(path)
    other = FileStore(path)
    await other.append(None, log="", after=0)
    await store.drop(log=log, before=21)
    await other.drop(log=log, before=30)
    header = Header.of(path.read_bytes())
    assert (header.generation, header.first) == (1, 21)


async def test_a_drop_that_is_not_worth_it_does_not_wait_for_the_lock(path: Path) -> None:
    store, log = await long_log(path)
    with path.open() as theirs, anyio.fail_after(1):
        fcntl.flock(theirs, fcntl.LOCK_EX)
        await store.drop(log=log, before=20)


async def test_where_there_is_no_log_nothing_is_dropped(path: Path) -> None:
    await FileStore(path).drop(log="", before=5)
    store, log = await long_log(path)
    flip(path, START)
    kept = path.read_bytes()
    await store.drop(log=log, before=90)
    assert path.read_bytes() == kept


async def test_if_there_is_no_room_to_drop_the_log_goes_on(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store, log = await long_log(path)
    with room_for(100):
        await store.drop(log=log, before=90)
    assert "can't be dropped" in caplog.text
    assert os.listdir(path.parent) == [path.name]
    assert (await store.append(b"more", log=log, after=100)).is_appended


# What is forgotten.


@pytest.mark.parametrize("version", [b"", b"\x09"])
async def test_a_log_is_deleted(path: Path, version: bytes) -> None:
    """One of another version too: nobody could delete it otherwise."""
    store, log = await begun(path, b"one")
    raw = path.read_bytes()
    path.write_bytes(raw[:8] + version + raw[8 + len(version) :])
    await store.forget()
    assert not path.exists()
    with pytest.raises(NoLog) as caught:
        await store.append(None, log=log, after=1)
    assert caught.value.quiet_from is not None
    await store.forget()


async def test_an_empty_file_is_deleted_and_another_file_is_not(path: Path) -> None:
    path.touch()
    await FileStore(path).forget()
    assert not path.exists()
    path.write_text("a letter")
    with pytest.raises(ConfigError, match="expected a log of smsc_status"):
        await FileStore(path).forget()
    assert path.read_text() == "a letter"


async def test_nothing_is_appended_at_once_while_the_file_is_locked(path: Path) -> None:
    store, log = await begun(path, b"one")
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert store.append_at_once(b"two", log=log, after=1) is None
    tail = store.append_at_once(b"two", log=log, after=1)
    assert tail is not None
    assert tail.is_appended


async def test_a_store_warns_once_in_a_minute(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store, _ = await begun(path, b"one")
    for _ in range(2):
        # The warning alone: its causes can't be made to come twice here.
        store._warn("it happened")
    assert len(caplog.records) == 1
