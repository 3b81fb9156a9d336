"""The log in a file: it is locked while it is used, and replaced in one step."""

# ruff: noqa: ASYNC240 (the tests look at small local files)

from __future__ import annotations

import fcntl
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import httpx
import pytest
from file_support import begun, contents, no_log, rewrite_header, whole

from smsc_status import StatusClient
from smsc_status._sharing import file as file_module
from smsc_status._sharing import locked as locked_module
from smsc_status._sharing.file import FileStore
from smsc_status._sharing.layout import START
from smsc_status.emulator import Emulator
from smsc_status.errors import LimiterUnavailable

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "account.log"


# The lock.


@contextmanager
def held(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        yield fd
    finally:
        os.close(fd)


async def test_a_locked_file_is_waited_for_in_pauses(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store, log = await begun(path, b"one")
    async with anyio.create_task_group() as tasks:
        with held(path):
            tasks.start_soon(lambda: store.append(b"two", log=log, after=1))
            await anyio.sleep(1.9)
            assert not caplog.records
            await anyio.sleep(0.2)
            assert [record.levelno for record in caplog.records] == [logging.WARNING]
            assert str(path) in caplog.text
            await anyio.sleep(2.8)
            assert len(caplog.records) == 1
        await anyio.sleep(0.021)
        assert path.stat().st_size > START + 19


async def test_a_file_that_stays_locked_is_out_of_reach(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is warned of once, and not at each try."""
    store, log = await begun(path, b"one")
    with held(path):
        for _ in range(2):
            with (
                anyio.fail_after(5.1),
                pytest.raises(LimiterUnavailable, match="another process has locked it for 5 s"),
            ):
                await store.append(b"two", log=log, after=1)
    assert len(caplog.records) == 1
    assert (await store.append(b"two", log=log, after=1)).is_appended


async def test_a_caller_that_may_wait_for_a_while_is_told_that_the_file_stays_locked(path: Path) -> None:
    emulator = Emulator()
    transport = httpx.ASGITransport(app=emulator)
    emulator.world.add(1, "79990000001", sent_at=emulator.now() - 600, life=[(0, 1, 0)])
    async with StatusClient(apikey="demo-key", transport=transport, share=path) as client:
        await client.check(1, "79990000001")
        with held(path):
            with anyio.fail_after(10), pytest.raises(LimiterUnavailable, match="has not answered for 1"):
                await client.check(1, "79990000001", max_wait=1.0)
            with anyio.fail_after(10), pytest.raises(LimiterUnavailable, match="another process has locked it"):
                await client.check(1, "79990000001", timeout=6.0)
        with anyio.fail_after(10):
            await client.check(1, "79990000001")


async def test_the_lock_is_given_back_although_a_child_has_a_copy(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, log = await begun(path, b"one")
    copies = []
    write = locked_module.write

    def copied(fd: int, content: bytes, at: int) -> None:
        copies.append(os.dup(fd))
        write(fd, content, at)

    monkeypatch.setattr(file_module, "write", copied)
    await store.append(b"two", log=log, after=1)
    monkeypatch.undo()
    with anyio.fail_after(1):
        await whole(path)
    for copy in copies:
        os.close(copy)


async def test_a_file_that_is_replaced_between_opening_and_locking_is_opened_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, log = await begun(path, b"one")
    flock = fcntl.flock

    def replaced(fd: int, how: int) -> None:
        monkeypatch.setattr(fcntl, "flock", flock)
        kept = path.read_bytes()
        path.unlink()
        path.write_bytes(kept)
        flock(fd, how)

    monkeypatch.setattr(fcntl, "flock", replaced)
    assert (await store.append(b"two", log=log, after=1)).is_appended
    assert contents(await whole(path)) == [(1, b"one"), (2, b"two")]


async def test_a_file_that_is_deleted_between_opening_and_locking_is_missing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, log = await begun(path, b"one")
    flock = fcntl.flock

    def deleted(fd: int, how: int) -> None:
        monkeypatch.setattr(fcntl, "flock", flock)
        path.unlink()
        flock(fd, how)

    monkeypatch.setattr(fcntl, "flock", deleted)
    await no_log(store, log, 1)


async def test_a_fork_waits_until_the_file_is_unlocked(path: Path) -> None:
    await begun(path, b"one")
    with locked_module.locked(str(path)):
        thread = threading.Thread(target=locked_module._hold)  # what the module has each fork call
        thread.start()
        thread.join(0.05)
        assert thread.is_alive()
    thread.join()
    # What the module has each fork call afterwards.
    locked_module._transactions.release()


async def test_a_log_that_others_have_put_there_meanwhile_is_not_replaced(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, log = await begun(path, b"one")
    write = locked_module.write
    kept = path.read_bytes()

    def meanwhile(fd: int, content: bytes, at: int) -> None:
        monkeypatch.setattr(locked_module, "write", write)
        path.unlink()
        path.write_bytes(kept)
        rewrite_header(path, log="11" * 16)
        write(fd, content, at)

    monkeypatch.setattr(locked_module, "write", meanwhile)
    assert (await store.begin([b"new"], instead_of=log)).log == "11" * 16
    assert os.listdir(path.parent) == [path.name]


async def test_a_log_that_others_begin_first_is_taken(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link
    began = []

    def meanwhile(new: str, old: str) -> None:
        monkeypatch.setattr(os, "link", link)
        link(new, old)
        began.append(path.stat().st_ino)
        link(new, old)

    monkeypatch.setattr(os, "link", meanwhile)
    await FileStore(path).begin([b"one"], instead_of="")
    assert [path.stat().st_ino] == began


async def test_a_new_file_that_somebody_has_swept_away_is_written_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def swept(new: str, old: str) -> None:
        monkeypatch.setattr(os, "link", link)
        os.unlink(new)
        link(new, old)

    monkeypatch.setattr(os, "link", swept)
    assert contents(await FileStore(path).begin([b"one"], instead_of="")) == [(1, b"one")]
