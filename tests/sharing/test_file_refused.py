"""The log in a file: when there is none, and when it can't be used."""

# ruff: noqa: ASYNC240 (the tests look at small local files)

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import attrs
import pytest
from file_support import begun, contents, flip, no_log, rewrite_header, room_for, whole

from smsc_status import ConfigError, LimiterUnavailable
from smsc_status._sharing import file as file_module
from smsc_status._sharing.file import FileStore, clock, machine
from smsc_status._sharing.layout import FORMAT, HEADER_BYTES, START

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "account.log"


# When there is no log.


async def test_no_file_is_a_first_start(path: Path) -> None:
    assert (await no_log(FileStore(path))).quiet_from is None
    path.touch()
    assert (await no_log(FileStore(path))).quiet_from is None
    assert (await FileStore(path).begin([b"one"], instead_of="")).is_whole


@pytest.mark.parametrize("remove", [Path.unlink, lambda path: path.write_bytes(b"")], ids=["deleted", "emptied"])
async def test_a_file_that_has_been_deleted_has_forgotten_requests(path: Path, remove: Callable[[Path], None]) -> None:
    store, log = await begun(path, b"one")
    remove(path)
    before = clock()
    error = await no_log(store, log, 1)
    assert error.quiet_from is not None
    assert before <= error.quiet_from <= clock()


async def test_a_log_of_before_the_machine_started_is_over(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _, log = await begun(path, b"one")
    rewrite_header(path, machine=attrs.evolve(machine(), boot=bytes(16)))
    os.utime(path, (0, time.time() - clock() - 60))
    error = await no_log(FileStore(path))
    assert error.quiet_from == 0.0
    assert not caplog.records
    assert (await FileStore(path).begin([b"new"], instead_of="")).log != log


async def test_a_file_that_another_machine_writes_to_as_well_is_noticed(path: Path) -> None:
    await begun(path, b"one")
    rewrite_header(path, machine=attrs.evolve(machine(), boot=bytes(16)))
    error = await no_log(FileStore(path))
    assert "another machine" in error.reason
    assert error.quiet_from is not None
    assert error.quiet_from > 0


@pytest.mark.parametrize("at", [9 + 60, HEADER_BYTES + 3, HEADER_BYTES + 14, START, START + 6, START + 20, -1])
async def test_a_flipped_bit_ends_the_log(path: Path, at: int, caplog: pytest.LogCaptureFixture) -> None:
    await begun(path, b"one", b"two")
    flip(path, at)
    store = FileStore(path)
    before = clock()
    error = await no_log(store)
    assert error.quiet_from is not None
    assert error.quiet_from >= before
    await no_log(store)
    assert not caplog.records  # whoever uses the store tells of it
    assert contents(await store.begin([b"new"], instead_of="")) == [(1, b"new")]


@pytest.mark.parametrize("known", [True, False], ids=["a reader", "a newcomer"])
async def test_a_file_that_was_put_back_from_a_copy_is_noticed(path: Path, known: bool) -> None:
    store, log = await begun(path, b"one", b"two")
    copy = path.read_bytes()
    await store.append(b"three", log=log, after=2)
    path.write_bytes(copy)
    await no_log(store if known else FileStore(path), log, 3)


async def test_a_copy_that_has_gone_on_in_another_way_is_noticed(path: Path) -> None:
    store, log = await begun(path, b"one", b"two")
    copy = path.read_bytes()
    await store.append(b"three", log=log, after=2)
    path.write_bytes(copy)
    await FileStore(path).append(b"other", log=log, after=2)
    await no_log(store, log, 3)


async def test_stamps_ahead_of_the_clock_end_the_log(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _store, _log = await begun(path, b"one")
    now = clock()
    monkeypatch.setattr(file_module, "clock", lambda: now - 100)
    assert (await no_log(FileStore(path))).quiet_from == now - 100


# Files that are refused.


async def refused(path: Path, kind: type[Exception], *words: str) -> None:
    before = path.read_bytes() if path.is_file() else None
    for call in (
        FileStore(path).append(None, log="", after=0),
        FileStore(path).begin([b"x"], instead_of=""),
    ):
        with pytest.raises(kind) as caught:
            await call
        assert all(word in str(caught.value) for word in (str(path), *words)), str(caught.value)
    assert before is None or path.read_bytes() == before


@pytest.mark.parametrize("content", [b"Dear diary", b"\x93", b"\x93smsclo\0" + bytes(200)])
async def test_a_foreign_file_is_never_overwritten(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    await refused(path, ConfigError, "expected a log of smsc_status")


async def test_another_version_is_refused(path: Path) -> None:
    await begun(path, b"one")
    flip(path, 9)
    await refused(path, ConfigError, f"version {FORMAT + 256}", f"expected {FORMAT}")


async def test_another_time_namespace_is_refused(path: Path) -> None:
    await begun(path, b"one")
    rewrite_header(path, machine=attrs.evolve(machine(), time_namespace=77))
    await refused(path, ConfigError, "time namespace 77", str(machine().time_namespace))


async def test_an_old_kernel_has_no_time_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_module, "_TIME_NAMESPACE", "/proc/self/ns/none")
    assert machine.__wrapped__().time_namespace == 0


async def test_a_symbolic_link_is_not_followed(path: Path) -> None:
    target = path.with_name("target")
    path.symlink_to(target)
    await refused(path, LimiterUnavailable, "symbolic link")
    await begun(target)
    await refused(path, LimiterUnavailable, "symbolic link")


async def test_a_directory_or_a_pipe_is_refused(path: Path) -> None:
    path.mkdir()
    await refused(path, LimiterUnavailable, "Is a directory")
    pipe = path / "pipe"
    os.mkfifo(pipe)
    await refused(pipe, ConfigError, "expected a file")


async def test_a_missing_directory_is_named(path: Path) -> None:
    with pytest.raises(LimiterUnavailable, match="No such file"):
        await FileStore(path / "below").begin([], instead_of="")


async def test_a_read_only_file_system_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> NoReturn:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "open", refuse)
    await refused(path, LimiterUnavailable, "Read-only file system")


# No space.


async def test_without_space_nothing_half_written_counts(path: Path) -> None:
    store, log = await begun(path, b"one")
    size = path.stat().st_size
    with room_for(size + 10), pytest.raises(LimiterUnavailable, match="too large"):
        await store.append(b"two", log=log, after=1)
    assert path.stat().st_size == size + 10
    assert contents(await whole(path)) == [(1, b"one")]
    assert path.stat().st_size == size
    assert (await store.append(b"two", log=log, after=1)).is_appended
    assert contents(await whole(path)) == [(1, b"one"), (2, b"two")]


async def test_without_space_the_old_log_stays(path: Path) -> None:
    store, log = await begun(path, b"one")
    with room_for(20), pytest.raises(LimiterUnavailable, match="too large"):
        await store.begin([b"new"], instead_of=log)
    assert os.listdir(path.parent) == [path.name]
    assert (await whole(path)).log == log
